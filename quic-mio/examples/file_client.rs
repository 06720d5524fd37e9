//! Fetches files by `hq-interop`: on each stream a line `GET /path`, then the file, then the end.
//!
//! `cargo run -p quic-mio --example file_client -- 127.0.0.1:4433 /a /b` from a server that `quic serve` started. It takes any certificate.

mod support;

use mio::{Events, Poll, Token};
use quic_mio::{ClientConfig, Connection, Endpoint, Occurrence};
use quic_proto::error::AppError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, StreamId};
use quic_proto::streams::ReadError;
use std::collections::HashMap;
use std::error::Error;
use std::net::SocketAddr;
use std::time::Instant;

/// The application protocol.
pub const ALPN: &[u8] = b"hq-interop";
const QUIC: Token = Token(0);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let addr = args.next().ok_or("usage: file_client ADDRESS PATH…")?.parse()?;
    let paths: Vec<String> = args.collect();
    for (path, file) in paths.iter().zip(fetch(&support::client(ALPN)?, addr, &paths)?) {
        eprintln!("{path}: {} bytes", file.len());
    }
    Ok(())
}

/// The files at `paths`, in their order, on one connection.
pub fn fetch(
    config: &ClientConfig,
    addr: SocketAddr,
    paths: &[String],
) -> Result<Vec<Vec<u8>>, Box<dyn Error>> {
    let any = if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let (mut poll, mut events) = (Poll::new()?, Events::with_capacity(16));
    let mut endpoint = Endpoint::client(any.parse()?)?;
    endpoint.register(poll.registry(), QUIC)?;
    let handle = endpoint.connect(Instant::now(), addr, "localhost", config)?;
    let mut files = Files { paths, asked: HashMap::new(), got: vec![Vec::new(); paths.len()], whole: 0 };
    let mut closed = None;
    while closed.is_none() || endpoint.open_connections() > 0 {
        poll.poll(&mut events, endpoint.next_timeout(Instant::now()))?;
        for event in &events {
            endpoint.on_event(event);
        }
        let now = Instant::now();
        while let Some(occurrence) = endpoint.drive(now)? {
            let at = endpoint.time(now);
            let Occurrence::Event(_, event) = occurrence else { continue };
            let Some(connection) = endpoint.connection(handle) else { continue };
            match event {
                Event::Connected | Event::Stream(StreamEvent::Available(Dir::Bi)) => files.ask(connection)?,
                Event::Stream(StreamEvent::Readable(id)) => files.read(connection, id)?,
                Event::Closed(reason) => closed = Some(reason),
                _ => {}
            }
            if files.whole == paths.len() {
                connection.close(at, AppError::from(0), b"thank you");
            }
        }
    }
    match closed {
        Some(reason) if files.whole < paths.len() => Err(reason.into()),
        _ => Ok(files.got),
    }
}

/// What was asked for and what came of it.
struct Files<'a> {
    paths: &'a [String],
    /// Which path each stream is for.
    asked: HashMap<StreamId, usize>,
    got: Vec<Vec<u8>>,
    whole: usize,
}

impl Files<'_> {
    /// Asks for what was not asked for, as far as the server allows streams.
    fn ask(&mut self, connection: &mut Connection) -> Result<(), Box<dyn Error>> {
        while let Some(path) = self.paths.get(self.asked.len()) {
            let Ok(id) = connection.open(Dir::Bi) else { break };
            let mut stream = connection.send_stream(id)?;
            // A line has room in any window that a server would open.
            stream.write(format!("GET {path}\r\n").as_bytes())?;
            stream.finish()?;
            self.asked.insert(id, self.asked.len());
        }
        Ok(())
    }

    /// Reads what came of a file.
    fn read(&mut self, connection: &mut Connection, id: StreamId) -> Result<(), Box<dyn Error>> {
        let Some(place) = self.asked.get(&id) else { return Ok(()) };
        loop {
            match connection.recv_stream(id)?.read_bytes(usize::MAX) {
                Ok(Some(chunk)) => self.got[*place].extend_from_slice(&chunk),
                Ok(None) => {
                    self.whole += 1;
                    return Ok(());
                }
                Err(ReadError::Blocked) => return Ok(()),
                Err(error) => return Err(format!("{}: {error}", self.paths[*place]).into()),
            }
        }
    }
}
