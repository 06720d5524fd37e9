//! What will happen and when.
//!
//! Owns the event queue. Invariant: events come out in order of their time, and those of one time in the order in which they were
//! put in; that is what makes a run repeatable. No timers of its own: it is the list of all of them.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use quic_proto::time::Instant;

#[derive(Debug)]
struct Scheduled<E> {
    at: Instant,
    sequence: u64,
    event: E,
}

impl<E> Scheduled<E> {
    const fn key(&self) -> (Instant, u64) {
        (self.at, self.sequence)
    }
}

impl<E> PartialEq for Scheduled<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Scheduled<E> {}

impl<E> PartialOrd for Scheduled<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Scheduled<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Events ordered by (time, sequence).
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    heap: BinaryHeap<Reverse<Scheduled<E>>>,
    sequence: u64,
}

impl<E> Agenda<E> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, event: E) {
        self.heap.push(Reverse(Scheduled { at, sequence: self.sequence, event }));
        self.sequence += 1;
    }

    /// When the next event is.
    pub(crate) fn next_time(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(next)| next.at)
    }

    pub(crate) fn pop(&mut self) -> Option<E> {
        self.heap.pop().map(|Reverse(next)| next.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_time_then_sequence() {
        let mut agenda = Agenda::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b'), (5, 'e')] {
            agenda.push(Instant::from_millis(at), event);
        }
        assert_eq!(agenda.next_time(), Some(Instant::from_millis(1)));
        let order: String = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, "abcde");
    }
}
