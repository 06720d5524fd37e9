//! The examples do what they say.
#![allow(clippy::duplicate_mod, reason = "each example has the support module as its own")]

#[allow(dead_code, unreachable_pub, reason = "its `main` is not called")]
#[path = "../examples/echo_server.rs"]
mod echo_server;
#[allow(dead_code, unreachable_pub, reason = "its `main` is not called")]
#[path = "../examples/file_client.rs"]
mod file_client;
#[allow(dead_code, unreachable_pub, reason = "its `main` is not called")]
#[path = "../examples/proxy.rs"]
mod proxy;
#[path = "../examples/support/mod.rs"]
mod support;

use mio::{Events, Poll, Token, Waker};
use quic_mio::{Endpoint, Occurrence};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::Dir;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

/// The token of the wakers that stop loops.
const STOP: Token = Token(usize::MAX);

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

/// A loop on a thread of its own, stopped when it is dropped.
struct Running {
    stop: Arc<(AtomicBool, Waker)>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    fn start(serve: impl FnOnce(Poll, &AtomicBool) + Send + 'static) -> Self {
        let poll = Poll::new().unwrap();
        let stop = Arc::new((AtomicBool::new(false), Waker::new(poll.registry(), STOP).unwrap()));
        let theirs = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || serve(poll, &theirs.0)));
        Self { stop, thread }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.0.store(true, Ordering::Release);
        self.stop.1.wake().unwrap();
        let ended = self.thread.take().unwrap().join();
        assert!(thread::panicking() || ended.is_ok());
    }
}

/// Answers `GET /n` with n bytes, and then ends the connection.
fn tcp_server() -> SocketAddr {
    let listener = TcpListener::bind(any()).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let (mut request, mut byte) = (Vec::new(), [0]);
                while !request.ends_with(b"\r\n") && stream.read(&mut byte).unwrap() == 1 {
                    request.push(byte[0]);
                }
                let path = String::from_utf8(request).unwrap();
                let len: usize = path.trim().strip_prefix("GET /").unwrap().parse().unwrap();
                stream.write_all(&file(len)).unwrap();
            });
        }
    });
    addr
}

fn file(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at ^ (at >> 8) ^ len) as u8).collect()
}

#[test]
fn the_proxy_serves_tcp_and_quic_in_one_loop() {
    let backend = tcp_server();
    let endpoint = Endpoint::server(support::server(proxy::ALPN).unwrap(), any()).unwrap();
    let listener = mio::net::TcpListener::bind(any()).unwrap();
    let (quic, tcp) = (endpoint.local_addr(), listener.local_addr().unwrap());
    let _running = Running::start(move |poll, stop| {
        proxy::Proxy::new(poll, listener, endpoint, backend).unwrap().serve(stop).unwrap();
    });

    let over_tcp = thread::spawn(move || {
        for len in [0, 1, 3_000_000] {
            let mut stream = TcpStream::connect(tcp).unwrap();
            stream.write_all(format!("GET /{len}\r\n").as_bytes()).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            assert!(all == file(len), "{} of {len} bytes", all.len());
        }
    });
    // More than the server allows at once.
    let lens: Vec<usize> = (0..120).map(|number| number * number * 50).chain([2_000_000]).collect();
    let paths: Vec<String> = lens.iter().map(|len| format!("/{len}")).collect();
    let files = file_client::fetch(&support::client(file_client::ALPN).unwrap(), quic, &paths).unwrap();
    for (len, got) in lens.iter().zip(files) {
        assert!(got == file(*len), "{} of {len} bytes", got.len());
    }
    over_tcp.join().unwrap();
}

#[test]
fn the_client_tells_why_it_got_nothing() {
    let endpoint = Endpoint::server(support::server(echo_server::ALPN).unwrap(), any()).unwrap();
    let addr = endpoint.local_addr();
    let _running = Running::start(move |poll, stop| echo_server::serve(poll, endpoint, stop).unwrap());
    // It speaks another protocol.
    let config = support::client(file_client::ALPN).unwrap();
    let error = file_client::fetch(&config, addr, &["/1".into()]).unwrap_err();
    let error = error.downcast::<ConnectionError>().unwrap();
    assert!(matches!(*error, ConnectionError::PeerTransport(_)), "{error}");
}

/// Another thread has the loop write; when the server is stopped it says so.
#[test]
fn the_echo_server_echoes_what_other_threads_have_the_loop_send() {
    let endpoint = Endpoint::server(support::server(echo_server::ALPN).unwrap(), any()).unwrap();
    let addr = endpoint.local_addr();
    let mut server =
        Some(Running::start(move |poll, stop| echo_server::serve(poll, endpoint, stop).unwrap()));
    let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
    let waker = Arc::new(Waker::new(poll.registry(), STOP).unwrap());
    let mut endpoint = Endpoint::client(any()).unwrap();
    endpoint.register(poll.registry(), Token(0)).unwrap();
    let config = support::client(echo_server::ALPN).unwrap();
    let handle = endpoint.connect(Instant::now(), addr, "localhost", &config).unwrap();
    let (mut thread, mut got, mut reason, mut stopping) = (None, Vec::new(), None, None);
    while reason.is_none() {
        poll.poll(&mut events, endpoint.next_timeout(Instant::now())).unwrap();
        for event in &events {
            assert_eq!(endpoint.on_event(event), event.token() == Token(0));
        }
        let now = Instant::now();
        while let Some(occurrence) = endpoint.drive(now).unwrap() {
            match occurrence {
                Occurrence::Event(_, Event::Connected) => {
                    let remote = endpoint.remote(Arc::clone(&waker));
                    thread = Some(thread::spawn(move || remote.wake(handle).unwrap()));
                }
                Occurrence::Woken(woken) => {
                    assert_eq!(woken, handle);
                    let connection = endpoint.connection(handle).unwrap();
                    let id = connection.open(Dir::Bi).unwrap();
                    connection.send_stream(id).unwrap().write(b"from elsewhere").unwrap();
                    connection.send_stream(id).unwrap().finish().unwrap();
                }
                Occurrence::Event(_, Event::Stream(StreamEvent::Readable(id))) => {
                    let mut stream = endpoint.connection(handle).unwrap().recv_stream(id).unwrap();
                    while let Ok(Some(chunk)) = stream.read_bytes(100) {
                        got.extend_from_slice(&chunk);
                    }
                    if got.len() == 14 {
                        stopping = server.take().map(|running| thread::spawn(move || drop(running)));
                    }
                }
                Occurrence::Event(_, Event::Closed(why)) => reason = Some(why),
                _ => {}
            }
        }
    }
    assert_eq!(got, b"from elsewhere");
    let expected =
        ConnectionError::PeerApplication { code: AppError::from(0), reason: b"going away".as_slice().into() };
    assert_eq!(reason, Some(expected));
    thread.unwrap().join().unwrap();
    stopping.unwrap().join().unwrap();
}
