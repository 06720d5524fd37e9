//! Packets that came before the keys that open them (RFC 9001 §5.7).
//!
//! The network reorders, and a server's first 1-RTT packets often come before the end of its handshake. Keeping them saves the peer a
//! retransmission. They are not authenticated, so that anybody can send them: the stash is small, counts bytes and packets, keeps the
//! oldest and drops what comes when it is full.
//!
//! Timers: none; the handshake's own timeout frees what is never opened.

use crate::id::Level;
use crate::net::Ecn;
use crate::time::Instant;
use std::collections::VecDeque;

/// How much a stash keeps of each level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StashLimits {
    /// Packets.
    pub packets: usize,
    /// Bytes of packets.
    pub bytes: usize,
}

impl Default for StashLimits {
    /// An initial congestion window: what a server may send before it hears from the client (RFC 9002 §7.2).
    fn default() -> Self {
        Self { packets: 16, bytes: 16 * 1500 }
    }
}

/// A packet that waits for its keys.
#[derive(Debug)]
pub struct StashedPacket {
    /// The ECN codepoint of its datagram.
    pub ecn: Option<Ecn>,
    /// When it came.
    pub received: Instant,
    /// The packet, without others of its datagram.
    pub packet: Vec<u8>,
}

/// Packets that wait for their keys, by level.
#[derive(Debug, Default)]
pub struct Stash {
    limits: StashLimits,
    /// By [`Level`]; nothing is ever kept of [`Level::Initial`], whose keys come with the first packet.
    levels: [Shelf; 4],
}

#[derive(Debug, Default)]
struct Shelf {
    packets: VecDeque<StashedPacket>,
    bytes: usize,
    closed: bool,
}

impl Stash {
    /// An empty stash.
    pub fn new(limits: StashLimits) -> Self {
        Self { limits, levels: Default::default() }
    }

    /// Keeps a copy of a packet; `false` if there is no room for it, or its level was [discarded](Self::discard).
    pub fn push(&mut self, level: Level, ecn: Option<Ecn>, received: Instant, packet: &[u8]) -> bool {
        let shelf = &mut self.levels[level as usize];
        let room = shelf.packets.len() < self.limits.packets
            && packet.len() <= self.limits.bytes.saturating_sub(shelf.bytes);
        if level == Level::Initial || shelf.closed || !room {
            return false;
        }
        shelf.bytes += packet.len();
        shelf.packets.push_back(StashedPacket { ecn, received, packet: packet.to_vec() });
        true
    }

    /// The oldest packet of a level whose keys have come.
    pub fn pop(&mut self, level: Level) -> Option<StashedPacket> {
        let shelf = &mut self.levels[level as usize];
        let packet = shelf.packets.pop_front()?;
        shelf.bytes -= packet.packet.len();
        Some(packet)
    }

    /// Forgets a level for good: its keys will not come, or have gone.
    pub fn discard(&mut self, level: Level) {
        self.levels[level as usize] = Shelf { closed: true, ..Shelf::default() };
    }

    /// Whether no packet waits at any level.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|shelf| shelf.packets.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(stash: &mut Stash, level: Level, packet: &[u8]) -> bool {
        stash.push(level, Some(Ecn::Ect0), Instant::from_millis(3), packet)
    }

    #[test]
    fn keeps_the_oldest_up_to_its_limits() {
        let mut stash = Stash::new(StashLimits { packets: 3, bytes: 10 });
        assert!(push(&mut stash, Level::OneRtt, b"first"));
        assert!(!push(&mut stash, Level::OneRtt, b"second"), "too many bytes");
        assert!(push(&mut stash, Level::OneRtt, b"third"));
        assert!(push(&mut stash, Level::OneRtt, b""));
        assert!(!push(&mut stash, Level::OneRtt, b""), "too many packets");
        assert!(push(&mut stash, Level::Handshake, b"other"), "each level has room of its own");
        let packet = stash.pop(Level::OneRtt).unwrap();
        assert_eq!((&packet.packet[..], packet.ecn), (&b"first"[..], Some(Ecn::Ect0)));
        assert_eq!(packet.received, Instant::from_millis(3));
        assert!(push(&mut stash, Level::OneRtt, b"12345"), "its room is free again");
        assert_eq!(stash.pop(Level::OneRtt).unwrap().packet, b"third");
    }

    #[test]
    fn nothing_for_levels_that_are_gone() {
        let mut stash = Stash::default();
        assert!(push(&mut stash, Level::ZeroRtt, b"early"));
        assert!(!stash.is_empty());
        stash.discard(Level::ZeroRtt);
        assert!(stash.is_empty() && stash.pop(Level::ZeroRtt).is_none());
        assert!(!push(&mut stash, Level::ZeroRtt, b"early"));
        assert!(!push(&mut stash, Level::Initial, b"initial"));
    }
}
