//! The application on a connection: streams that carry a request, data one way, and data back.

use quic_proto::connection::Connection;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, Side, StreamId};
use quic_proto::streams::{ReadError, WriteError};
use std::collections::BTreeMap;

/// One stream of a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transfer {
    dir: Dir,
    up: u64,
    down: u64,
}

impl Transfer {
    /// `up` bytes to the server and `down` bytes back on one stream.
    pub const fn bidi(up: u64, down: u64) -> Self {
        Self { dir: Dir::Bi, up, down }
    }

    /// `up` bytes to the server on a unidirectional stream.
    pub const fn uni(up: u64) -> Self {
        Self { dir: Dir::Uni, up, down: 0 }
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

#[derive(Debug, Default)]
struct Sending {
    request: Option<[u8; 8]>,
    offset: u64,
    total: u64,
    finished: bool,
    delivered: bool,
}

#[derive(Debug, Default)]
struct Receiving {
    request: [u8; 8],
    offset: u64,
    expected: Option<u64>,
    ended: bool,
}

/// The streams of one connection.
#[derive(Debug)]
pub(super) struct Streams {
    side: Side,
    reads: bool,
    waiting: Vec<Transfer>,
    started: bool,
    sending: BTreeMap<StreamId, Sending>,
    receiving: BTreeMap<StreamId, Receiving>,
    pub(super) received: u64,
}

impl Streams {
    pub(super) fn client(reads: bool) -> Self {
        Self::new(Side::Client, reads)
    }

    pub(super) fn server(reads: bool) -> Self {
        Self::new(Side::Server, reads)
    }

    fn new(side: Side, reads: bool) -> Self {
        Self {
            side,
            reads,
            waiting: Vec::new(),
            started: false,
            sending: BTreeMap::new(),
            receiving: BTreeMap::new(),
            received: 0,
        }
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
                return Err(format!("stream {id} was stopped with {code}"));
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, connection: &mut Connection) -> Result<(), String> {
        let mut blocked = [false; 2];
        let mut later = Vec::new();
        while let Some(transfer) = self.waiting.pop() {
            let opened = if blocked[transfer.dir as usize] { None } else { connection.open(transfer.dir) };
            let Some(id) = opened else {
                blocked[transfer.dir as usize] = true;
                later.push(transfer);
                continue;
            };
            let request = Some(transfer.down.to_be_bytes());
            self.sending.insert(id, Sending { request, total: REQUEST + transfer.up, ..Sending::default() });
            if transfer.dir == Dir::Bi {
                self.receiving
                    .insert(id, Receiving { expected: Some(transfer.down), ..Receiving::default() });
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
        let Ok(mut stream) = connection.send_stream(id) else {
            return Err(format!("stream {id} cannot be written"));
        };
        let mut block = [0; 8192];
        while sending.offset < sending.total {
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
                Err(error) => return Err(format!("writing stream {id}: {error}")),
            }
        }
        sending.finished = true;
        stream.finish().map_err(|error| format!("finishing stream {id}: {error}"))
    }

    fn read(&mut self, connection: &mut Connection, id: StreamId) -> Result<(), String> {
        if !self.reads {
            return Ok(());
        }
        let peer = !self.side;
        let Some(receiving) = self.receiving.get_mut(&id).filter(|receiving| !receiving.ended) else {
            return Ok(());
        };
        let Ok(mut stream) = connection.recv_stream(id) else { return Ok(()) };
        let mut block = [0; 8192];
        loop {
            let read = match stream.read(&mut block) {
                Ok(read) => read,
                Err(ReadError::Blocked) => return Ok(()),
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
