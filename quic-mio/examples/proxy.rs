//! A proxy that serves TCP and QUIC in one loop: what comes on a TCP connection or on a QUIC stream goes to a TCP server, and what that
//! says comes back.
//!
//! `cargo run -p quic-mio --example proxy -- 127.0.0.1:4433 127.0.0.1:8080` listens on port 4433 of both kinds.

mod support;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use quic_mio::{ConnectionHandle, Endpoint, Occurrence};
use quic_proto::error::AppError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, StreamId};
use quic_proto::streams::{ReadError, WriteError};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The application protocol.
pub const ALPN: &[u8] = b"hq-interop";
const LISTENER: Token = Token(0);
const QUIC: Token = Token(1);
/// Each pair of ends has two tokens, from here on.
const FIRST: usize = 2;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(listen), Some(backend)) = (args.next(), args.next()) else {
        return Err("usage: proxy LISTEN BACKEND".into());
    };
    let listen = listen.parse()?;
    let endpoint = Endpoint::server(support::server(ALPN)?, listen)?;
    let proxy = Proxy::new(Poll::new()?, TcpListener::bind(listen)?, endpoint, backend.parse()?)?;
    Ok(proxy.serve(&AtomicBool::new(false))?)
}

/// The loop and its sources.
pub struct Proxy {
    poll: Poll,
    listener: TcpListener,
    endpoint: Endpoint,
    backend: SocketAddr,
    pairs: HashMap<usize, Pair>,
    streams: HashMap<(ConnectionHandle, StreamId), usize>,
    next: usize,
}

/// A client's end and the server's, and what is on its way between them.
struct Pair {
    front: Front,
    back: TcpStream,
    up: Pipe,
    down: Pipe,
}

enum Front {
    Tcp(TcpStream),
    Quic(ConnectionHandle, StreamId),
}

impl Proxy {
    /// Puts the sources into the loop.
    pub fn new(
        poll: Poll,
        mut listener: TcpListener,
        mut endpoint: Endpoint,
        backend: SocketAddr,
    ) -> io::Result<Self> {
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        endpoint.register(poll.registry(), QUIC)?;
        let (pairs, streams) = Default::default();
        Ok(Self { poll, listener, endpoint, backend, pairs, streams, next: 0 })
    }

    /// Serves until `stop` is set and the loop is woken.
    pub fn serve(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        while !stop.load(Ordering::Acquire) {
            self.poll.poll(&mut events, self.endpoint.next_timeout(Instant::now()))?;
            for event in &events {
                match event.token() {
                    LISTENER => self.accept_tcp()?,
                    QUIC => drop(self.endpoint.on_event(event)),
                    Token(token) if token >= FIRST => self.pump((token - FIRST) / 2),
                    _ => {}
                }
            }
            let now = Instant::now();
            while let Some(occurrence) = self.endpoint.drive(now)? {
                match occurrence {
                    Occurrence::Incoming(client) => drop(self.endpoint.accept(now, client)),
                    Occurrence::Event(handle, event) => self.on_quic(handle, &event)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn accept_tcp(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.join(Front::Tcp(stream))?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn on_quic(&mut self, handle: ConnectionHandle, event: &Event) -> io::Result<()> {
        match *event {
            Event::Stream(StreamEvent::Opened(Dir::Bi)) => {
                while let Some(id) = self.endpoint.connection(handle).and_then(|c| c.accept(Dir::Bi)) {
                    self.streams.insert((handle, id), self.next);
                    self.join(Front::Quic(handle, id))?;
                }
            }
            Event::Stream(
                StreamEvent::Readable(id) | StreamEvent::Writable(id) | StreamEvent::Stopped(id, _),
            ) => {
                if let Some(number) = self.streams.get(&(handle, id)) {
                    self.pump(*number);
                }
            }
            Event::Closed(_) => {
                let pairs = &mut self.pairs;
                self.streams.retain(|(owner, _), number| *owner != handle || pairs.remove(number).is_none());
            }
            _ => {}
        }
        Ok(())
    }

    /// Opens a connection to the server for a new client.
    fn join(&mut self, mut front: Front) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let (both, registry) = (Interest::READABLE | Interest::WRITABLE, self.poll.registry());
        if let Front::Tcp(stream) = &mut front {
            registry.register(stream, Token(FIRST + 2 * number), both)?;
        }
        let mut back = TcpStream::connect(self.backend)?;
        registry.register(&mut back, Token(FIRST + 2 * number + 1), both)?;
        let (up, down) = Default::default();
        self.pairs.insert(number, Pair { front, back, up, down });
        self.pump(number);
        Ok(())
    }

    /// Moves what can be moved between two ends. They part when both have ended, or one failed.
    fn pump(&mut self, number: usize) {
        let Some(Pair { front, back, up, down }) = self.pairs.get_mut(&number) else { return };
        let moved = match front {
            Front::Tcp(stream) => {
                up.pump(&mut &*stream, &mut &*back).and(down.pump(&mut &*back, &mut &*stream))
            }
            Front::Quic(handle, id) => {
                let mut stream = QuicStream { endpoint: &mut self.endpoint, handle: *handle, id: *id };
                up.pump(&mut stream, &mut &*back).and_then(|()| down.pump(&mut &*back, &mut stream))
            }
        };
        let over = up.finished && down.finished;
        if let (Front::Quic(handle, id), true) = (&*front, moved.is_err() || over) {
            self.streams.remove(&(*handle, *id));
            // After an orderly end neither part is there any more.
            if let Some(connection) = self.endpoint.connection(*handle).filter(|_| !over) {
                let _ = connection.send_stream(*id).map(|mut stream| stream.reset(AppError::from(1)));
                let _ = connection.recv_stream(*id).map(|mut stream| stream.stop(AppError::from(1)));
            }
        }
        if moved.is_err() || over {
            self.pairs.remove(&number);
        }
    }
}

/// What is on its way in one direction: never more than a buffer, so that a slow reader slows its writer down.
#[derive(Default)]
struct Pipe {
    buffer: Vec<u8>,
    ended: bool,
    finished: bool,
}

impl Pipe {
    fn pump(&mut self, from: &mut impl Read, to: &mut (impl Write + Finish)) -> io::Result<()> {
        let mut block = [0; 1 << 14];
        while !self.finished {
            if self.buffer.is_empty() && !self.ended {
                match from.read(&mut block) {
                    Ok(0) => self.ended = true,
                    Ok(len) => self.buffer.extend_from_slice(&block[..len]),
                    Err(error) if is_not_yet(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            } else if self.buffer.is_empty() {
                self.finished = true;
                to.finish()?;
            } else {
                match to.write(&self.buffer) {
                    Ok(len) => drop(self.buffer.drain(..len)),
                    Err(error) if is_not_yet(&error) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

/// Whether a call is to be made again when the loop says so. A TCP stream is writable once it is connected.
fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted)
}

/// Tells a reader that nothing follows.
trait Finish {
    fn finish(&mut self) -> io::Result<()>;
}

impl Finish for &TcpStream {
    fn finish(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

/// A stream as readers and writers see one.
struct QuicStream<'a> {
    endpoint: &'a mut Endpoint,
    handle: ConnectionHandle,
    id: StreamId,
}

fn gone<E>(_: E) -> io::Error {
    ErrorKind::ConnectionAborted.into()
}

impl Read for QuicStream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let connection = self.endpoint.connection(self.handle).ok_or(ErrorKind::ConnectionAborted)?;
        match connection.recv_stream(self.id).map_err(gone).map(|mut stream| stream.read_bytes(buf.len()))? {
            Ok(chunk) => {
                let chunk = chunk.unwrap_or_default();
                buf[..chunk.len()].copy_from_slice(&chunk);
                Ok(chunk.len())
            }
            Err(ReadError::Blocked) => Err(ErrorKind::WouldBlock.into()),
            Err(error) => Err(gone(error)),
        }
    }
}

impl Write for QuicStream<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let connection = self.endpoint.connection(self.handle).ok_or(ErrorKind::ConnectionAborted)?;
        match connection.send_stream(self.id).map_err(gone)?.write(buf) {
            Err(WriteError::Blocked) => Err(ErrorKind::WouldBlock.into()),
            written => written.map_err(gone),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Finish for QuicStream<'_> {
    fn finish(&mut self) -> io::Result<()> {
        let connection = self.endpoint.connection(self.handle).ok_or(ErrorKind::ConnectionAborted)?;
        connection.send_stream(self.id).map_err(gone)?.finish().map_err(gone)
    }
}
