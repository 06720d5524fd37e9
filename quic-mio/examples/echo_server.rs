//! Sends every stream back to who wrote it, and never holds more of one than it can pass on.
//!
//! `cargo run -p quic-mio --example echo_server -- 127.0.0.1:4433`, then `quic echo 127.0.0.1:4433`.

mod support;

use bytes::Bytes;
use mio::{Events, Poll, Token};
use quic_mio::{Connection, ConnectionHandle, Endpoint, Occurrence};
use quic_proto::error::AppError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, StreamId};
use quic_proto::streams::{ReadError, WriteError};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// The application protocol.
pub const ALPN: &[u8] = b"echo";
const QUIC: Token = Token(0);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:4433".into()).parse()?;
    let endpoint = Endpoint::server(support::server(ALPN)?, addr)?;
    eprintln!("listening on {}", endpoint.local_addr());
    Ok(serve(Poll::new()?, endpoint, &AtomicBool::new(false))?)
}

/// Serves until `stop` is set and the loop is woken.
pub fn serve(mut poll: Poll, mut endpoint: Endpoint, stop: &AtomicBool) -> io::Result<()> {
    endpoint.register(poll.registry(), QUIC)?;
    let mut events = Events::with_capacity(64);
    // What was read of each stream and has no room on its way back.
    let mut streams: HashMap<(ConnectionHandle, StreamId), Bytes> = HashMap::new();
    loop {
        poll.poll(&mut events, endpoint.next_timeout(Instant::now()))?;
        for event in &events {
            endpoint.on_event(event);
        }
        let now = Instant::now();
        if stop.load(Ordering::Acquire) {
            endpoint.close(now, AppError::from(0), b"going away");
        }
        while let Some(occurrence) = endpoint.drive(now)? {
            match occurrence {
                Occurrence::Incoming(client) => drop(endpoint.accept(now, client)),
                Occurrence::Event(handle, Event::Closed(_)) => {
                    streams.retain(|(owner, _), _| *owner != handle);
                }
                Occurrence::Event(handle, Event::Stream(event)) => {
                    let Some(connection) = endpoint.connection(handle) else { continue };
                    for id in concerned(connection, event) {
                        let unsent = streams.entry((handle, id)).or_default();
                        if pass_on(connection, id, unsent) {
                            streams.remove(&(handle, id));
                        }
                    }
                }
                _ => {}
            }
        }
        if stop.load(Ordering::Acquire) && endpoint.open_connections() == 0 {
            return Ok(());
        }
    }
}

/// The streams on which something can be done now.
fn concerned(connection: &mut Connection, event: StreamEvent) -> Vec<StreamId> {
    match event {
        StreamEvent::Opened(Dir::Bi) => std::iter::from_fn(|| connection.accept(Dir::Bi)).collect(),
        StreamEvent::Opened(Dir::Uni) => {
            // There is no way back on these.
            while let Some(id) = connection.accept(Dir::Uni) {
                let _ = connection.recv_stream(id).map(|mut stream| stream.stop(AppError::from(0)));
            }
            Vec::new()
        }
        StreamEvent::Readable(id) | StreamEvent::Writable(id) => vec![id],
        _ => Vec::new(),
    }
}

/// Moves what came back to where it came from. Returns whether the stream is done.
fn pass_on(connection: &mut Connection, id: StreamId, unsent: &mut Bytes) -> bool {
    loop {
        if unsent.is_empty() {
            let Ok(mut recv) = connection.recv_stream(id) else { return true };
            let read = recv.read_bytes(usize::MAX);
            let Ok(mut send) = connection.send_stream(id) else { return true };
            match read {
                Ok(Some(chunk)) => *unsent = chunk,
                Ok(None) => {
                    let _ = send.finish();
                    return true;
                }
                Err(ReadError::Blocked) => return false,
                Err(ReadError::Reset(code)) => {
                    let _ = send.reset(code);
                    return true;
                }
                Err(ReadError::Closed) => return true,
            }
        }
        let Ok(mut send) = connection.send_stream(id) else { return true };
        match send.write_bytes(unsent) {
            Ok(_) => {}
            Err(WriteError::Blocked) => return false,
            Err(WriteError::Stopped(code)) => {
                let _ = connection.recv_stream(id).map(|mut recv| recv.stop(code));
                return true;
            }
            Err(WriteError::Closed) => return true,
        }
    }
}
