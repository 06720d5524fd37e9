//! What was moved so far, counted by many tasks and read by one.
//!
//! Owns [`Tally`]. Invariant: counts only grow. Timers: none.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of a client's or a server's work. They are statistics: nothing is ordered by them.
#[derive(Debug, Default)]
pub struct Tally {
    sent: AtomicU64,
    received: AtomicU64,
    exchanges: AtomicU64,
    connections: AtomicU64,
}

impl Tally {
    /// Bytes were given to the stack.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes were taken from the stack.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A stream was asked and answered.
    pub fn exchanged(&self) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was made.
    pub fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes given to the stack.
    pub fn sent_bytes(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes taken from the stack.
    pub fn received_bytes(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Streams asked and answered.
    pub fn exchanges(&self) -> u64 {
        self.exchanges.load(Ordering::Relaxed)
    }

    /// Connections made.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}
