//! Packets that cannot be opened yet.
//!
//! A server is forward secure at once, so that its packets can overtake the SHLO that brings the client's keys. What waits here does not
//! count as received and is not acknowledged until it is opened. Anybody can send such packets: few are kept, the oldest first.
//!
//! Invariant: at most [`MAX_PACKETS`] packets. Timers: none; the end of the handshake empties it.

use std::collections::VecDeque;

/// As many as quic-go keeps.
const MAX_PACKETS: usize = 10;
/// The largest datagram that a peer sends, in bytes.
const MAX_LEN: usize = 1500;

/// Packets that wait for keys.
#[derive(Default)]
pub(super) struct Stash {
    packets: VecDeque<Vec<u8>>,
}

impl Stash {
    /// Keeps a copy of a packet; `false` if there is no room for it.
    pub(super) fn push(&mut self, packet: &[u8]) -> bool {
        let room = self.packets.len() < MAX_PACKETS && packet.len() <= MAX_LEN;
        if room {
            self.packets.push_back(packet.to_vec());
        }
        room
    }

    /// Takes all packets out, in the order in which they came.
    pub(super) fn take(&mut self) -> VecDeque<Vec<u8>> {
        std::mem::take(&mut self.packets)
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_oldest_up_to_its_limits() {
        let mut stash = Stash::default();
        assert!(!stash.push(&[0; MAX_LEN + 1]));
        for number in 0..MAX_PACKETS {
            assert!(stash.push(&[number as u8]));
        }
        assert!(!stash.push(&[0]));
        let packets = stash.take();
        assert_eq!(packets.iter().map(|packet| packet[0]).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert!(stash.is_empty());
    }
}
