//! The application on a connection: streams that carry a request, data one way, and data back.

use quic_proto::connection::Connection;
use quic_proto::error::AppError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, Side, StreamId};
use quic_proto::invariants::Version;
use quic_proto::streams::{ReadError, WriteError};
use std::collections::BTreeMap;

/// One stream of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    dir: Dir,
    up: u64,
    down: u64,
    reset_at: Option<u64>,
    stop_at: Option<u64>,
}

impl Transfer {
    /// `up` bytes to the server and `down` bytes back on one stream.
    pub const fn bidi(up: u64, down: u64) -> Self {
        Self { dir: Dir::Bi, up, down, reset_at: None, stop_at: None }
    }

    /// `up` bytes to the server on a unidirectional stream.
    pub const fn uni(up: u64) -> Self {
        Self { dir: Dir::Uni, up, down: 0, reset_at: None, stop_at: None }
    }

    /// The same on a bidirectional stream, for protocols without others.
    #[must_use]
    pub const fn both_ways(mut self) -> Self {
        self.dir = Dir::Bi;
        self
    }

    /// The client resets the stream once it has written `bytes` of it, if it is that long. The server resets its direction in turn.
    #[must_use]
    pub const fn reset_at(mut self, bytes: u64) -> Self {
        self.reset_at = Some(bytes);
        self
    }

    /// The client asks the server to stop once it has read `bytes`.
    #[must_use]
    pub const fn stop_at(mut self, bytes: u64) -> Self {
        self.stop_at = Some(bytes);
        self
    }

    /// How many bytes of stream data the server gets; `None` if that is left open, because the stream is reset.
    pub const fn to_server(&self) -> Option<u64> {
        if self.reset_at.is_some() { None } else { Some(REQUEST + self.up) }
    }

    /// How many bytes of stream data the client gets; `None` if that is left open.
    pub const fn to_client(&self) -> Option<u64> {
        if self.reset_at.is_some() || self.stop_at.is_some() { None } else { Some(self.down) }
    }
}

/// The byte at `offset` of what `side` sends on stream `id`.
pub fn pattern(id: StreamId, side: Side, offset: u64) -> u8 {
    let mixed =
        (offset ^ id.as_u64().rotate_left(17) ^ ((side as u64) << 40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

/// A request: how many bytes shall come back.
const REQUEST: u64 = 8;

/// The code of resets, and of stops.
const CANCELLED: u64 = 77;

/// Whether a stream that ended with this code did so because somebody gave it up. Google QUIC stops with 0, as it has no code for that, and
/// answers a reset by itself, with 7 (`RST_ACKNOWLEDGEMENT`).
const fn is_cancelled(code: u64) -> bool {
    matches!(code, CANCELLED | 0 | 7)
}

/// How the application deals with streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Manner {
    /// Whether it reads at all for now.
    pub(super) reads: bool,
    /// The most bytes that it reads or writes at once.
    pub(super) block: usize,
}

#[derive(Debug, Default)]
struct Sending {
    request: Option<[u8; 8]>,
    offset: u64,
    total: u64,
    reset_at: Option<u64>,
    finished: bool,
    delivered: bool,
}

#[derive(Debug, Default)]
struct Receiving {
    request: [u8; 8],
    offset: u64,
    expected: Option<u64>,
    stop_at: Option<u64>,
    ended: bool,
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    side: Side,
    manner: Manner,
    waiting: Vec<Transfer>,
    started: bool,
    sending: BTreeMap<StreamId, Sending>,
    receiving: BTreeMap<StreamId, Receiving>,
    pub(super) received: u64,
}

impl Streams {
    pub(super) fn new(side: Side, manner: Manner) -> Self {
        Self {
            side,
            manner,
            waiting: Vec::new(),
            started: false,
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            received: 0,
        }
    }

    pub(super) fn is_client(&self) -> bool {
        self.side.is_client()
    }

    /// Whether the handshake was completed.
    pub(super) fn is_started(&self) -> bool {
        self.started
    }

    /// The handshake is complete: `transfers` may begin.
    pub(super) fn start(&mut self, transfers: Vec<Transfer>) {
        self.waiting = transfers;
        self.waiting.reverse();
        self.started = true;
    }

    /// Whether a client's transfers are done, with all data read and all that was sent acknowledged.
    pub(super) fn is_finished(&self) -> bool {
        self.side.is_client()
            && self.started
            && self.waiting.is_empty()
            && self.sending.values().all(|sending| sending.delivered)
            && self.receiving.values().all(|receiving| receiving.ended)
    }

    /// Whether a client's transfers are written to their ends, whatever became of them.
    pub(super) fn is_written(&self) -> bool {
        self.started && self.waiting.is_empty() && self.sending.values().all(|sending| sending.finished)
    }

    /// From now on, what comes is read, beginning with what waits.
    pub(super) fn read_on(&mut self, connection: &mut Connection) -> Result<(), String> {
        self.manner.reads = true;
        let waiting: Vec<_> = self.receiving.keys().copied().collect();
        waiting.into_iter().try_for_each(|id| self.read(connection, id))
    }

    pub(super) fn on_event(&mut self, connection: &mut Connection, event: &Event) -> Result<(), String> {
        match *event {
            Event::Connected | Event::Stream(StreamEvent::Available(_)) => self.open(connection)?,
            Event::Stream(StreamEvent::Opened(dir)) => {
                while let Some(id) = connection.accept(dir) {
                    self.receiving.insert(id, Receiving::default());
                    self.read(connection, id)?;
                }
            }
            Event::Stream(StreamEvent::Readable(id)) => self.read(connection, id)?,
            Event::Stream(StreamEvent::Writable(id)) => self.write(connection, id)?,
            Event::Stream(StreamEvent::Finished(id)) => {
                if let Some(sending) = self.sending.get_mut(&id) {
                    sending.delivered = true;
                }
            }
            Event::Stream(StreamEvent::Stopped(id, code)) => {
                return self.on_stopped(id, code.as_u64());
            }
            _ => {}
        }
        Ok(())
    }

    fn on_stopped(&mut self, id: StreamId, code: u64) -> Result<(), String> {
        if !is_cancelled(code) {
            return Err(format!("stream {id} was stopped with {code}"));
        }
        if let Some(sending) = self.sending.get_mut(&id) {
            (sending.finished, sending.delivered) = (true, true);
        }
        Ok(())
    }

    fn open(&mut self, connection: &mut Connection) -> Result<(), String> {
        let mut blocked = [false; 2];
        let mut later = Vec::new();
        while let Some(transfer) = self.waiting.pop() {
            let opened = (!blocked[transfer.dir as usize]).then(|| connection.open(transfer.dir));
            let Some(Ok(id)) = opened else {
                blocked[transfer.dir as usize] = true;
                later.push(transfer);
                continue;
            };
            let request = Some(transfer.down.to_be_bytes());
            let (total, reset_at) = (REQUEST + transfer.up, transfer.reset_at);
            self.sending.insert(id, Sending { request, total, reset_at, ..Sending::default() });
            if transfer.dir == Dir::Bi {
                let (expected, stop_at) = (Some(transfer.down), transfer.stop_at);
                self.receiving.insert(id, Receiving { expected, stop_at, ..Receiving::default() });
            }
            self.write(connection, id)?;
        }
        later.reverse();
        self.waiting = later;
        Ok(())
    }

    fn write(&mut self, connection: &mut Connection, id: StreamId) -> Result<(), String> {
        let side = self.side;
        let Some(sending) = self.sending.get_mut(&id).filter(|sending| !sending.finished) else {
            return Ok(());
        };
        if connection.is_closing() {
            return Ok(());
        }
        let Ok(mut stream) = connection.send_stream(id) else {
            return Err(format!("stream {id} cannot be written"));
        };
        let mut block = vec![0; self.manner.block];
        while sending.offset < sending.total {
            if sending.reset_at.is_some_and(|at| at <= sending.offset) {
                (sending.finished, sending.delivered) = (true, true);
                return stream.reset(AppError::from(CANCELLED as u32)).map_err(|error| error.to_string());
            }
            let len = (sending.total - sending.offset).min(block.len() as u64) as usize;
            for (at, byte) in block[..len].iter_mut().enumerate() {
                let offset = sending.offset + at as u64;
                *byte = match sending.request {
                    Some(request) if offset < REQUEST => request[offset as usize],
                    _ => pattern(id, side, offset),
                };
            }
            match stream.write(&block[..len]) {
                Ok(written) => sending.offset += written as u64,
                Err(WriteError::Blocked) => return Ok(()),
                Err(WriteError::Stopped(code)) => return self.on_stopped(id, code.as_u64()),
                Err(error) => return Err(format!("writing stream {id}: {error}")),
            }
        }
        sending.finished = true;
        stream.finish().map_err(|error| format!("finishing stream {id}: {error}"))
    }

    fn read(&mut self, connection: &mut Connection, id: StreamId) -> Result<(), String> {
        if !self.manner.reads {
            return Ok(());
        }
        let peer = !self.side;
        let Some(receiving) = self.receiving.get_mut(&id).filter(|receiving| !receiving.ended) else {
            return Ok(());
        };
        let Ok(mut stream) = connection.recv_stream(id) else { return Ok(()) };
        let mut block = vec![0; self.manner.block];
        loop {
            if receiving.stop_at.is_some_and(|at| at <= receiving.offset) {
                receiving.ended = true;
                return stream.stop(AppError::from(CANCELLED as u32)).map_err(|error| error.to_string());
            }
            let read = match stream.read(&mut block) {
                Ok(read) => read,
                Err(ReadError::Blocked) => return Ok(()),
                Err(ReadError::Reset(code)) if is_cancelled(code.as_u64()) => {
                    receiving.ended = true;
                    // The server gives its direction up as well. If it has begun to answer, it was told to the end.
                    if self.side.is_server() && id.dir() == Dir::Bi && !connection.is_closing() {
                        let reset = connection.send_stream(id).and_then(|mut stream| stream.reset(code));
                        // Google QUIC did so before we heard of it.
                        if reset.is_err() && connection.version() == Version::V1 {
                            return Err(format!("stream {id} cannot be reset"));
                        }
                    }
                    return Ok(());
                }
                Err(error) => return Err(format!("reading stream {id}: {error}")),
            };
            for byte in &block[..read.len] {
                let offset = receiving.offset;
                let expected = if receiving.expected.is_none() && offset < REQUEST {
                    receiving.request[offset as usize] = *byte;
                    *byte
                } else {
                    pattern(id, peer, offset)
                };
                if *byte != expected {
                    return Err(format!("stream {id}: byte {offset} is {byte:#04x}, not {expected:#04x}"));
                }
                receiving.offset += 1;
            }
            self.received += read.len as u64;
            if read.fin {
                receiving.ended = true;
                return self.ended(connection, id);
            }
        }
    }

    /// The peer has sent all: a client checks the length, a server answers.
    fn ended(&mut self, connection: &mut Connection, id: StreamId) -> Result<(), String> {
        let Some(receiving) = self.receiving.get(&id) else { return Ok(()) };
        if let Some(expected) = receiving.expected {
            let got = receiving.offset;
            return if got == expected {
                Ok(())
            } else {
                Err(format!("stream {id} ended after {got} of {expected} bytes"))
            };
        }
        if receiving.offset < REQUEST {
            return Err(format!("stream {id} ended within its request"));
        }
        if id.dir() == Dir::Uni {
            return Ok(());
        }
        let total = u64::from_be_bytes(receiving.request);
        self.sending.insert(id, Sending { total, ..Sending::default() });
        self.write(connection, id)
    }
}
