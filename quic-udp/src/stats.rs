//! What a socket did: how many datagrams and bytes a system call carries, for one.
//!
//! Owns [`SocketStats`] and the [`Counters`] behind it. Invariant: a count is taken once a system call, not once a datagram. Timers: none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a socket's work since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct SocketStats {
    /// Datagrams given to the system.
    pub sent_datagrams: u64,
    /// Bytes of UDP payload in them.
    pub sent_bytes: u64,
    /// System calls that took them.
    pub send_calls: u64,
    /// Datagrams received.
    pub received_datagrams: u64,
    /// Bytes of UDP payload in them.
    pub received_bytes: u64,
    /// System calls that gave them.
    pub receive_calls: u64,
    /// Datagrams that the system refused to send; for the protocol they are lost on the way.
    pub refused_datagrams: u64,
}

impl std::ops::AddAssign for SocketStats {
    fn add_assign(&mut self, other: Self) {
        self.sent_datagrams += other.sent_datagrams;
        self.sent_bytes += other.sent_bytes;
        self.send_calls += other.send_calls;
        self.received_datagrams += other.received_datagrams;
        self.received_bytes += other.received_bytes;
        self.receive_calls += other.receive_calls;
        self.refused_datagrams += other.refused_datagrams;
    }
}

/// Counters of one direction. Read from other threads than the one that counts, hence atomic; nothing is ordered by them.
#[derive(Default)]
struct Direction {
    datagrams: AtomicU64,
    bytes: AtomicU64,
    calls: AtomicU64,
}

impl Direction {
    fn add(&self, datagrams: usize, bytes: usize) {
        self.datagrams.fetch_add(datagrams as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    sent: Direction,
    received: Direction,
    refused: AtomicU64,
}

impl Counters {
    /// A call sent this much.
    pub(crate) fn sent(&self, datagrams: usize, bytes: usize) {
        self.sent.add(datagrams, bytes);
    }

    /// A call received this much.
    pub(crate) fn received(&self, datagrams: usize, bytes: usize) {
        self.received.add(datagrams, bytes);
    }

    /// The system refused this many.
    pub(crate) fn refused(&self, datagrams: usize) {
        self.refused.fetch_add(datagrams as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> SocketStats {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SocketStats {
            sent_datagrams: count(&self.sent.datagrams),
            sent_bytes: count(&self.sent.bytes),
            send_calls: count(&self.sent.calls),
            received_datagrams: count(&self.received.datagrams),
            received_bytes: count(&self.received.bytes),
            receive_calls: count(&self.received.calls),
            refused_datagrams: count(&self.refused),
        }
    }
}
