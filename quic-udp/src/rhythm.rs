//! The rhythm of an adapter: how much it receives, gives the application to do, and sends, before others have their turn.
//!
//! Owns the measures that all adapters share, and [`Lead`], how far an endpoint may send ahead of what it hears. `benches/NOTES.md` has the
//! figures that they come from.
//!
//! Invariants: none of it changes what is sent, only when. Timers: none.

use quic_proto::event::Event;

/// Full batches that are taken from the socket before anything is sent. What waits longer may find the system's buffer full.
pub const RECEIVES: usize = 4;

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

/// Bytes that are sent in a row, without a datagram from anybody in between.
const LEAD: usize = 512 << 10;

/// How far an endpoint has sent ahead: bytes since it last received something or had nothing to send.
///
/// Windows let a sender go on for milliseconds in which its peer, or the task that drives it, waits for a processor; and then the buffer of
/// the peer's socket is full. Who is [far](Self::is_far) ahead waits for a datagram, or for the next tick of its timer, about a millisecond:
/// so 4 Gbit/s pass in silence, and a buffer of 4 MiB lasts eight times as long as the lead.
#[derive(Clone, Copy, Default, Debug)]
pub struct Lead(usize);

impl Lead {
    /// So many bytes were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.0 = self.0.saturating_add(bytes);
    }

    /// Something was received, there was nothing to send, or the endpoint has waited.
    pub fn reset(&mut self) {
        self.0 = 0;
    }

    /// Whether to wait.
    pub fn is_far(self) -> bool {
        self.0 >= LEAD
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_ends_a_lead_and_a_word_begins_a_new_one() {
        let mut lead = Lead::default();
        while !lead.is_far() {
            lead.sent(1 << 16);
        }
        lead.sent(usize::MAX);
        assert!(lead.is_far());
        lead.reset();
        assert!(!lead.is_far());
    }
}
