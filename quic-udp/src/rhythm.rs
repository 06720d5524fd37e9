//! The rhythm of an adapter: how much it gives the application to do, and sends, before others have their turn.
//!
//! Owns the measures that all adapters share, and [`Lead`], how far an endpoint may send ahead of what it hears. `benches/NOTES.md` has the
//! figures that they come from.
//!
//! Invariants: none of it changes what is sent, only when. Timers: none.

use quic_proto::event::Event;

/// Full batches that are sent before the socket is read again: a hundred microseconds' work. With one, the answers to what came in a
/// batch would not leave together.
pub const SENDS: usize = 2;

/// How much the application is given to do at once, as [`work`] counts it. Less breaks up batches of packets; with much more the two ends of many requests
/// or handshakes take turns.
pub const ENOUGH: usize = 64;

/// How much an event gives the application to do: one of a stream is 1, and a step of a handshake is [enough](ENOUGH).
pub fn work(event: &Event) -> usize {
    if matches!(event, Event::Stream(_)) { 1 } else { ENOUGH }
}

/// Bytes that may be sent for each datagram that came: one acknowledgement stands for as much where its sender takes messages of
/// [this size](crate::ReceiveBatch) from its socket.
const FOR_EACH: usize = 64 << 10;

/// Bytes that may be sent in a row, however much came.
const MOST: usize = 8 * FOR_EACH;

/// How far an endpoint may still send ahead of what it hears, in bytes.
///
/// Windows let a sender go on for milliseconds in which its peer, or the task that drives it, waits for a processor; and then the buffer of
/// the peer's socket is full. And what waits in that buffer is what answers to others have to wait for. So who has sent [far](Self::is_far)
/// ahead waits for a datagram, or for the next tick of its timer, about a millisecond: 4 Gbit/s pass in silence, and a buffer of 4 MiB lasts
/// eight times as long as the longest lead. A peer that reads as fast as it can, and says so once for all that it found, is sent two batches
/// meanwhile. Many acknowledgements at a time, as they come after a delay or from a fast interface, are worth more.
#[derive(Clone, Copy, Debug)]
pub struct Lead(usize);

impl Lead {
    /// So many bytes were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.0 = self.0.saturating_sub(bytes);
    }

    /// So many datagrams came at a time, if any.
    pub fn heard(&mut self, datagrams: usize) {
        if datagrams > 0 {
            self.0 = datagrams.saturating_mul(FOR_EACH).min(MOST);
        }
    }

    /// There was nothing to send, or the endpoint has waited.
    pub fn reset(&mut self) {
        self.0 = MOST;
    }

    /// Whether to wait.
    pub fn is_far(self) -> bool {
        self.0 == 0
    }
}

impl Default for Lead {
    fn default() -> Self {
        Self(MOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many full batches are sent before the end of a lead.
    fn batches(mut lead: Lead) -> usize {
        let mut count = 0;
        while !lead.is_far() {
            lead.sent(65_340);
            count += 1;
        }
        count
    }

    #[test]
    fn silence_ends_a_lead_and_a_word_begins_a_new_one() {
        let mut lead = Lead::default();
        assert_eq!(batches(lead), 9);
        lead.sent(usize::MAX);
        assert!(lead.is_far());
        lead.heard(0);
        assert!(lead.is_far());
        lead.heard(1);
        assert!(!lead.is_far());
        lead.sent(usize::MAX);
        lead.reset();
        assert_eq!(batches(lead), 9);
    }

    #[test]
    fn what_came_counts_up_to_a_limit() {
        let after = |datagrams| {
            let mut lead = Lead::default();
            lead.heard(datagrams);
            batches(lead)
        };
        assert_eq!([1, 2, 4, 8, 9, usize::MAX].map(after), [2, 3, 5, 9, 9, 9]);
    }
}
