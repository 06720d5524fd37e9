//! A node that sends numbered datagrams at fixed intervals, and remembers what it received.
#![allow(dead_code, reason = "each test crate uses a part")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use quic_proto::net::{Datagram, Ecn, FourTuple, Transmit};
use quic_proto::time::{Duration, Instant};
use quic_sim::{Node, Scenario};

pub(crate) struct Flood {
    pub(crate) to: SocketAddr,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) left: u64,
    pub(crate) every: Duration,
    pub(crate) size: usize,
    pub(crate) ecn: Option<Ecn>,
    /// Number, time, codepoint, and whether the bytes were intact.
    pub(crate) received: Vec<(u64, Instant, Option<Ecn>, bool)>,
    /// Where each datagram came from and went to.
    pub(crate) paths: Vec<FourTuple>,
    pub(crate) echo: bool,
    answers: Vec<SocketAddr>,
    next: u64,
    due: Instant,
}

impl Flood {
    pub(crate) fn new(to: SocketAddr, left: u64, every: Duration, size: usize) -> Self {
        Self {
            to,
            local: None,
            left,
            every,
            size,
            ecn: None,
            received: Vec::new(),
            paths: Vec::new(),
            echo: false,
            answers: Vec::new(),
            next: 0,
            due: Instant::EPOCH,
        }
    }

    pub(crate) fn echo(to: SocketAddr) -> Self {
        Self { echo: true, ..Self::new(to, 0, Duration::ZERO, 8) }
    }
}

impl Node for Flood {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        let (head, rest) = datagram.payload.split_at(8);
        let number = u64::from_be_bytes(head.try_into().expect("eight bytes"));
        let intact = rest.iter().all(|byte| *byte == filler(number));
        self.received.push((number, now, datagram.ecn, intact));
        self.paths.push(datagram.path);
        if self.echo {
            self.answers.push(datagram.path.remote);
        }
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], _max: NonZeroUsize) -> Option<Transmit> {
        let to = if let Some(answer) = self.answers.pop() {
            answer
        } else {
            if self.left == 0 || self.due > now {
                return None;
            }
            self.left -= 1;
            self.due += self.every;
            self.to
        };
        buf[..8].copy_from_slice(&self.next.to_be_bytes());
        buf[8..self.size].fill(filler(self.next));
        self.next += 1;
        let path = FourTuple { local: self.local, remote: to };
        Some(Transmit { path, ecn: self.ecn, len: self.size, segment_size: None, departure: None })
    }

    fn next_timeout(&self) -> Option<Instant> {
        (self.left > 0).then_some(self.due)
    }
}

/// Differs for numbers that differ in one byte, so that no single change of a datagram goes unnoticed.
fn filler(number: u64) -> u8 {
    number.to_be_bytes().iter().fold(0, |all, byte| all ^ byte)
}

/// A client that sends `count` datagrams of `size` bytes, one `every` so often, to a server that only listens.
pub(crate) fn flood(count: u64, every: Duration, size: usize) -> Scenario<Flood> {
    Scenario::between(
        move |setup| Flood::new(setup.server, count, every, size),
        |setup| Flood::new(setup.server, 0, Duration::ZERO, 8),
    )
}
