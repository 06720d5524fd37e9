//! Two ends, a wire each way, and the clock.
//!
//! The wires lose nothing and have no limit; a batch of datagrams takes [`DELAY`]. After each batch that an end receives it is asked for
//! what it wants to send, as a driver does that reads a socket with UDP receive offload. Buffers go round, so that the link itself does not
//! allocate in steady state.

use crate::BATCH;
use crate::counting::allocations;
use std::collections::VecDeque;

/// How long a datagram is under way, in nanoseconds.
pub const DELAY: u64 = 5_000_000;

/// Largest datagram, in bytes, that an end could want to write.
pub const MAX_DATAGRAM: usize = 1500;

/// Datagrams of one size (the last may be shorter) that travel together.
#[derive(Debug)]
pub struct Batch {
    /// Their bytes, and what else is in the buffer.
    pub data: Vec<u8>,
    /// How many bytes of it they are.
    pub len: usize,
    /// The size of each.
    pub segment: usize,
}

/// A connection with its endpoint and its application.
pub trait End {
    /// Datagrams came. They may be decrypted in place.
    fn receive(&mut self, now: u64, batch: &mut Batch);
    /// Writes what is to be sent, over whatever `batch` held before. `false` if there is nothing.
    fn transmit(&mut self, now: u64, batch: &mut Batch) -> bool;
    /// Does what is due.
    fn timeout(&mut self, now: u64);
    /// When something will be due, in nanoseconds.
    fn next_timeout(&mut self) -> Option<u64>;
    /// Bytes that the application received.
    fn received(&self) -> u64;
    /// Whether all was sent and acknowledged (a client), or received (a server).
    fn is_done(&self) -> bool;
}

/// What a transfer cost, after its first quarter.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Datagrams that the sender sent from the very start.
    pub datagrams: u64,
    /// Datagrams that the sender sent.
    pub packets: u64,
    /// Datagrams that the receiver sent back.
    pub replies: u64,
    /// Real time.
    pub nanos: u64,
    /// Heap allocations.
    pub allocations: u64,
}

#[derive(Clone, Copy)]
struct Marks {
    packets: [u64; 2],
    at: std::time::Instant,
    allocations: u64,
}

/// Wires in both directions; `0` is the client.
struct Link<'a> {
    ends: [&'a mut dyn End; 2],
    /// What travels to each end, with the time of arrival.
    wires: [VecDeque<(u64, Batch)>; 2],
    spare: Vec<Batch>,
    packets: [u64; 2],
}

impl Link<'_> {
    /// Sends what an end has to send.
    fn flush(&mut self, from: usize, now: u64) {
        loop {
            let mut batch = self.spare.pop().unwrap_or_else(|| Batch {
                data: Vec::with_capacity(BATCH * MAX_DATAGRAM),
                len: 0,
                segment: MAX_DATAGRAM,
            });
            if !self.ends[from].transmit(now, &mut batch) {
                self.spare.push(batch);
                return;
            }
            self.packets[from] += batch.len.div_ceil(batch.segment) as u64;
            self.wires[1 - from].push_back((now + DELAY, batch));
        }
    }

    /// The next thing that happens, and to which end.
    fn next(&mut self) -> (u64, usize) {
        let mut next = (u64::MAX, 0);
        for at in 0..2 {
            let arrival = self.wires[at].front().map_or(u64::MAX, |(time, _)| *time);
            next = next.min((arrival.min(self.ends[at].next_timeout().unwrap_or(u64::MAX)), at));
        }
        next
    }

    fn marks(&self) -> Marks {
        Marks { packets: self.packets, at: std::time::Instant::now(), allocations: allocations() }
    }
}

/// Runs a transfer of `bytes` from `client` to `server`.
///
/// # Panics
/// If it comes to a standstill.
pub fn run(client: &mut dyn End, server: &mut dyn End, bytes: u64) -> Cost {
    let wires = [VecDeque::new(), VecDeque::new()];
    let mut link = Link { ends: [client, server], wires, spare: Vec::new(), packets: [0; 2] };
    let mut start = None;
    let mut now = 0;
    link.flush(0, now);
    while !(link.ends[0].is_done() && link.ends[1].is_done()) {
        let (time, at) = link.next();
        assert_ne!(time, u64::MAX, "the transfer has come to a standstill");
        now = now.max(time);
        if link.wires[at].front().is_some_and(|(arrival, _)| *arrival <= now) {
            if let Some((_, mut batch)) = link.wires[at].pop_front() {
                link.ends[at].receive(now, &mut batch);
                link.spare.push(batch);
            }
        } else {
            link.ends[at].timeout(now);
        }
        link.flush(at, now);
        if start.is_none() && link.ends[1].received() >= bytes / 4 {
            start = Some(link.marks());
        }
    }
    assert_eq!(link.ends[1].received(), bytes, "bytes were lost");
    let end = link.marks();
    let start = start.unwrap_or(end);
    Cost {
        datagrams: end.packets[0],
        packets: end.packets[0] - start.packets[0],
        replies: end.packets[1] - start.packets[1],
        nanos: end.at.duration_since(start.at).as_nanos() as u64,
        allocations: end.allocations - start.allocations,
    }
}
