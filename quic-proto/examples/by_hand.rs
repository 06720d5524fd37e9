//! QUIC by hand: a loop around `std::net::UdpSocket`, for those who use neither adapter. A client greets, a server greets back.
//!
//! `cargo run -p quic-proto --example by_hand`. It sends one datagram a call and notices no ECN; `quic-udp` does better.
#![allow(clippy::disallowed_methods, reason = "the application is who owns the clock")]

use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::crypto::rustls::{ClientOptions, Identity, RustlsClient, server_config};
use quic_proto::error::AppError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::Dir;
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::time::{Duration, Instant, UnixTime};
use quic_proto::{Connection, Endpoint};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::error::Error;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::SystemTime;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let tls = server_config(Identity { chain: vec![made.cert.der().clone()], key }, &[b"greet"])?;
    let (socket, mut endpoint) = bind(Some(ServerConfig::new(Arc::new(tls), &secret()?).build()?))?;
    let address = socket.local_addr()?;
    let server = std::thread::spawn(move || run(&socket, &mut endpoint, greet_back));

    let options = ClientOptions { alpn: vec![b"greet".to_vec()], ..ClientOptions::default() };
    let config = ClientConfig::new(Arc::new(RustlsClient::danger_accept_any_certificate(options)?));
    let (socket, mut endpoint) = bind(None)?;
    endpoint.connect(Instant::EPOCH, FourTuple::to(address), "localhost", &config)?;
    run(&socket, &mut endpoint, greet)?;
    server.join().expect("the server does not panic")
}

/// What the client does when something happens.
fn greet(connection: &mut Connection, now: Instant, event: &Event) -> Outcome {
    match event {
        Event::Connected => {
            let id = connection.open(Dir::Bi)?;
            connection.send_stream(id)?.write(b"hello")?;
            connection.send_stream(id)?.finish()?;
        }
        Event::Stream(StreamEvent::Readable(id)) => {
            let answer = connection.recv_stream(*id)?.read_bytes(100)?.unwrap_or_default();
            assert_eq!(answer, "hello to you too");
            connection.close(now, AppError::from(0), b"bye");
        }
        _ => {}
    }
    Ok(())
}

/// What the server does.
fn greet_back(connection: &mut Connection, _: Instant, event: &Event) -> Outcome {
    if let Event::Stream(StreamEvent::Opened(dir)) = event {
        while let Some(id) = connection.accept(*dir) {
            let greeting = connection.recv_stream(id)?.read_bytes(100)?.unwrap_or_default();
            connection.send_stream(id)?.write(&[&greeting, &b" to you too"[..]].concat())?;
            connection.send_stream(id)?.finish()?;
        }
    }
    Ok(())
}

/// The loop. It ends when the first connection has come and gone.
fn run(
    socket: &UdpSocket,
    endpoint: &mut Endpoint,
    mut act: impl FnMut(&mut Connection, Instant, &Event) -> Outcome,
) -> Outcome {
    let (local, start) = (socket.local_addr()?, std::time::Instant::now());
    let (mut buf, mut ended) = (vec![0; 1 << 16], false);
    while !ended || endpoint.connections() > 0 {
        let now = Instant::EPOCH + start.elapsed();
        endpoint.handle_timeout(now);
        while let Some(client) = endpoint.poll_incoming() {
            endpoint.accept(now, client)?;
        }
        while let Some((handle, event)) = endpoint.poll_event() {
            ended |= matches!(event, Event::Closed(_));
            if let Some(connection) = endpoint.connection(handle) {
                act(connection, now, &event)?;
            }
        }
        while let Some(transmit) = endpoint.poll_transmit(now, &mut buf, NonZeroUsize::MIN) {
            socket.send_to(&buf[..transmit.len], transmit.path.remote)?;
        }
        let wait = endpoint.next_timeout().map(|at| (at - now).max(Duration::from_millis(1)));
        socket.set_read_timeout(wait.or(ended.then_some(Duration::from_millis(1))))?;
        match socket.recv_from(&mut buf) {
            Ok((len, remote)) => {
                let path = FourTuple { local: Some(local), remote };
                let now = Instant::EPOCH + start.elapsed();
                endpoint.handle_datagram(now, Datagram { path, ecn: None, payload: &mut buf[..len] });
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn bind(server: Option<Arc<ServerConfig>>) -> Outcome<(UdpSocket, Endpoint)> {
    let (config, rng) = (EndpointConfig::new(&secret()?), Box::new(SeededRng::from_seed(secret()?)));
    let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let endpoint = Endpoint::new(config, server, rng, UnixTime::from_secs(epoch));
    Ok((UdpSocket::bind("127.0.0.1:0")?, endpoint))
}

fn secret() -> Outcome<[u8; 32]> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the system gives no randomness")?;
    Ok(bytes)
}

#[test]
fn they_greet_each_other() {
    main().unwrap();
}
