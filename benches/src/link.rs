//! Two ends, a wire each way, and the clock.
//!
//! The wires lose nothing and have no limit; a batch of datagrams takes [`DELAY`]. After each batch that an end receives it is asked for
//! what it wants to send, as a driver does that reads a socket with UDP receive offload. Buffers go round, so that the link itself does not
//! allocate in steady state.

use crate::BATCH;
use crate::counting::{Account, allocations, charge};
use crate::library::{Library, News};
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

/// What runs over connections.
pub trait Application<L: Library> {
    /// The library has news.
    fn on_news(&mut self, library: &mut L, connection: L::Connection, news: News<L::Stream>);
    /// How much of the workload is done, in units of its own.
    fn progress(&self) -> u64;
}

/// A library with its application.
pub struct End<L, A> {
    /// The library.
    pub library: L,
    /// The application.
    pub application: A,
}

/// What a part of a run cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Datagrams that the client and the server sent.
    pub datagrams: [u64; 2],
    /// Real time.
    pub nanos: u64,
    /// Heap allocations of both libraries.
    pub allocations: u64,
}

/// Where counters stood.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    datagrams: [u64; 2],
    at: std::time::Instant,
    allocations: u64,
}

impl Marks {
    /// What it cost from there to `end`.
    pub fn until(&self, end: &Self) -> Cost {
        Cost {
            datagrams: std::array::from_fn(|at| end.datagrams[at] - self.datagrams[at]),
            nanos: end.at.duration_since(self.at).as_nanos() as u64,
            allocations: end.allocations - self.allocations,
        }
    }
}

const ACCOUNTS: [Account; 2] = [Account::Client, Account::Server];

/// Wires in both directions between a client, which is `0`, and a server.
pub struct Link<L, A> {
    /// The two ends.
    pub ends: [End<L, A>; 2],
    /// What travels to each end, with the time of arrival.
    wires: [VecDeque<(u64, Batch)>; 2],
    spare: Vec<Batch>,
    datagrams: [u64; 2],
    now: u64,
}

impl<L: Library, A: Application<L>> Link<L, A> {
    /// Nothing is under way yet.
    pub fn new(ends: [End<L, A>; 2]) -> Self {
        Self { ends, wires: [VecDeque::new(), VecDeque::new()], spare: Vec::new(), datagrams: [0; 2], now: 0 }
    }

    /// The client starts a connection.
    pub fn connect(&mut self) {
        charge(Account::Client, || self.ends[0].library.connect(self.now));
        self.flush(0);
    }

    /// Goes on until `done`.
    ///
    /// # Panics
    /// If it comes to a standstill.
    pub fn run_until(&mut self, mut done: impl FnMut(&[End<L, A>; 2]) -> bool) {
        while !done(&self.ends) {
            let (time, at) = self.next();
            assert_ne!(time, u64::MAX, "it has come to a standstill");
            self.step(time, at);
        }
    }

    /// Goes on for `time` nanoseconds.
    pub fn run_for(&mut self, time: u64) {
        let end = self.now + time;
        loop {
            let (time, at) = self.next();
            if time > end {
                self.now = end;
                return;
            }
            self.step(time, at);
        }
    }

    /// Where the counters stand.
    pub fn marks(&self) -> Marks {
        Marks { datagrams: self.datagrams, at: std::time::Instant::now(), allocations: allocations() }
    }

    /// The next thing that happens, and to which end.
    fn next(&mut self) -> (u64, usize) {
        let mut next = (u64::MAX, 0);
        for at in 0..2 {
            let arrival = self.wires[at].front().map_or(u64::MAX, |(time, _)| *time);
            let timeout = self.ends[at].library.next_timeout().unwrap_or(u64::MAX);
            next = next.min((arrival.min(timeout), at));
        }
        next
    }

    fn step(&mut self, time: u64, at: usize) {
        self.now = self.now.max(time);
        let now = self.now;
        let End { library, application } = &mut self.ends[at];
        let arrived = self.wires[at].front().is_some_and(|(arrival, _)| *arrival <= now);
        let batch = if arrived { self.wires[at].pop_front() } else { None };
        charge(ACCOUNTS[at], || {
            match batch {
                Some((_, mut batch)) => {
                    library.receive(now, &mut batch);
                    charge(Account::Rest, || self.spare.push(batch));
                }
                None => library.timeout(now),
            }
            while let Some((connection, news)) = library.poll(now) {
                application.on_news(library, connection, news);
            }
        });
        self.flush(at);
    }

    /// Sends what an end has to send.
    fn flush(&mut self, from: usize) {
        loop {
            let mut batch = self.spare.pop().unwrap_or_else(|| Batch {
                data: Vec::with_capacity(BATCH * MAX_DATAGRAM),
                len: 0,
                segment: MAX_DATAGRAM,
            });
            let library = &mut self.ends[from].library;
            if !charge(ACCOUNTS[from], || library.transmit(self.now, &mut batch)) {
                self.spare.push(batch);
                return;
            }
            self.datagrams[from] += batch.len.div_ceil(batch.segment) as u64;
            self.wires[1 - from].push_back((self.now + DELAY, batch));
        }
    }
}
