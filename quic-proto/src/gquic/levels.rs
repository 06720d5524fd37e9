//! At which level which of our packets was sent, as far as acknowledgements must be checked for it.
//!
//! An ACK must not be of a lower level than a packet that it acknowledges: whoever can write at the null level, which is anybody, could
//! else acknowledge data that the peer never got.
//!
//! Invariant: what is kept is the number of the first packet of each level, the few packets of the initial level after that of the first
//! forward-secure one, and how many of those there were. No timers.

use super::keys::Level;
use super::wire::ack::AckRanges;
use crate::id::PacketNumber;
use smallvec::SmallVec;

/// So many late packets of the initial level are remembered; of a handshake that repeats its SHLO more often the ACKs are refused no
/// more, but ignored by number.
const MAX_LATE: usize = 32;

/// The levels of sent packets.
#[derive(Default)]
pub(super) struct SentLevels {
    first_initial: Option<PacketNumber>,
    first_secure: Option<PacketNumber>,
    /// How many forward-secure packets there were.
    secure: u32,
    /// Initial level packets sent after the first forward-secure one.
    late_initial: SmallVec<[PacketNumber; 4]>,
}

impl SentLevels {
    /// A packet was sent.
    pub(super) fn on_sent(&mut self, level: Level, number: PacketNumber) {
        match level {
            Level::Null => {}
            Level::Initial => {
                self.first_initial.get_or_insert(number);
                if self.first_secure.is_some() && self.late_initial.len() < MAX_LATE {
                    self.late_initial.push(number);
                }
            }
            Level::ForwardSecure => {
                self.first_secure.get_or_insert(number);
                self.secure = self.secure.saturating_add(1);
            }
        }
    }

    /// How many forward-secure packets were sent.
    pub(super) fn secure(&self) -> u32 {
        self.secure
    }

    /// Whether an ACK in a packet of `level` may acknowledge these.
    pub(super) fn may_acknowledge(&self, level: Level, largest: PacketNumber, ranges: AckRanges<'_>) -> bool {
        let first = match level {
            Level::ForwardSecure => None,
            Level::Initial => self.first_secure,
            Level::Null => self.first_initial.into_iter().chain(self.first_secure).min(),
        };
        let Some(first) = first.filter(|first| largest >= *first) else { return true };
        if level == Level::Null {
            return false;
        }
        let mut above = ranges.flat_map(|range| first.max(*range.start())..=*range.end());
        above.all(|number| self.late_initial.contains(&number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::frame::{Frame, Frames};

    fn allowed(levels: &SentLevels, level: Level, largest: u8, first_block: u8) -> bool {
        let payload = [0x40, largest, 0, 0, first_block, 0];
        let Some(Ok(Frame::Ack(ack))) = Frames::new(&payload).next() else { panic!() };
        levels.may_acknowledge(level, ack.largest, ack.ranges)
    }

    #[test]
    fn acknowledgements_stay_at_their_level() {
        let mut levels = SentLevels::default();
        for (number, level) in
            [(1, Level::Null), (2, Level::Initial), (3, Level::ForwardSecure), (4, Level::Initial)]
        {
            levels.on_sent(level, number);
        }
        assert!(allowed(&levels, Level::Null, 1, 1));
        assert!(!allowed(&levels, Level::Null, 2, 1));
        assert!(allowed(&levels, Level::Initial, 2, 2));
        assert!(!allowed(&levels, Level::Initial, 3, 1));
        assert!(allowed(&levels, Level::Initial, 4, 1), "the SHLO again");
        assert!(!allowed(&levels, Level::Initial, 4, 2));
        assert!(allowed(&levels, Level::ForwardSecure, 4, 4));
    }
}
