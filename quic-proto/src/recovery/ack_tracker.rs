//! The receiving side of one packet number space: which packets came, and when to say so (RFC 9000 §13.2).
//!
//! Owns: the ranges of received numbers, the ECN counts, and whether an ACK is owed now or later. Invariants: at most [`MAX_RANGES`]
//! ranges are kept; every number below `floor` counts as received, so that no packet is processed twice; the largest number is never
//! forgotten. Timer: `Timer::Ack`, from [`AckTracker::deadline`].

use crate::id::PacketNumber;
use crate::net::{Ecn, EcnCounts};
use crate::time::{Duration, Instant};
use crate::util::RangeSet;
use std::ops::RangeInclusive;

/// How many ranges are remembered; the oldest go first. An ACK frame of so many still fits a packet.
pub const MAX_RANGES: usize = 64;

/// RFC 9000 §13.2.2: "A receiver SHOULD send an ACK frame after receiving at least two ack-eliciting packets."
const ELICITING_THRESHOLD: u32 = 2;

/// How many packets after a gap are each acknowledged at once. A sender that lost something has a small window now, which grows by what it
/// hears; it gains nothing from fewer ACKs, and waits for the last of an odd number. RFC 9000 §13.2.2 asks for no fewer than one for two.
const AFTER_DISORDER: u32 = 32;

/// The packets received in one space.
#[derive(Clone, Debug)]
pub struct AckTracker {
    max_ack_delay: Duration,
    threshold: u32,
    ranges: RangeSet,
    floor: PacketNumber,
    largest: Option<(PacketNumber, Instant)>,
    largest_eliciting: Option<PacketNumber>,
    pending: u32,
    /// How many more packets are acknowledged at once, since some came out of order.
    prompt: u32,
    immediate: bool,
    deadline: Option<Instant>,
    ecn: EcnCounts,
}

impl AckTracker {
    /// For Initial and Handshake packets: RFC 9000 §13.2.1: "An endpoint MUST acknowledge all ack-eliciting Initial and Handshake
    /// packets immediately".
    pub fn immediate() -> Self {
        Self::new(Duration::ZERO, 1)
    }

    /// For application data: an ACK is held back for at most `max_ack_delay`, which we told the peer in our transport parameters.
    pub fn delayed(max_ack_delay: Duration) -> Self {
        Self::new(max_ack_delay, ELICITING_THRESHOLD)
    }

    /// After how many ack-eliciting packets an ACK is owed at once; at least 1.
    pub fn set_threshold(&mut self, packets: u32) {
        self.threshold = packets.max(1);
    }

    /// How long an ACK is held back from now on.
    pub fn set_max_delay(&mut self, delay: Duration) {
        self.max_ack_delay = delay;
    }

    /// Whether a packet with this number was received already, or is so old that nobody knows.
    pub fn is_duplicate(&self, number: PacketNumber) -> bool {
        number < self.floor || self.ranges.contains(number)
    }

    /// A packet that is authentic and no duplicate was processed.
    pub fn on_received(&mut self, now: Instant, number: PacketNumber, ack_eliciting: bool, ecn: Option<Ecn>) {
        if self.is_duplicate(number) {
            // §13.4.1: "duplicate QUIC packets are not processed and do not increase ECN counts"; nor is anything owed for them.
            return;
        }
        match ecn {
            Some(Ecn::Ect0) => self.ecn.ect0 += 1,
            Some(Ecn::Ect1) => self.ecn.ect1 += 1,
            Some(Ecn::Ce) => self.ecn.ce += 1,
            None => {}
        }
        if self.largest.is_none_or(|(largest, _)| number > largest) {
            self.largest = Some((number, now));
        }
        if ack_eliciting {
            self.owe(now, number, ecn);
        }
        self.ranges.insert(number..number + 1);
        if self.ranges.len() > MAX_RANGES
            && let Some(oldest) = self.ranges.pop_min()
        {
            // §13.2.3: "Maintaining a minimum packet number that increases as ranges are discarded is one way".
            self.floor = oldest.end;
        }
    }

    /// Whether an ACK must be sent now.
    pub fn ack_owed(&self) -> bool {
        self.immediate
    }

    /// Whether an ACK would tell the peer of ack-eliciting packets that none told it of yet: it goes along with anything that is sent.
    pub fn has_pending(&self) -> bool {
        self.pending > 0
    }

    /// When an ACK that is held back is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The deadline may have passed: if it did, the ACK is owed now.
    pub fn on_timeout(&mut self, now: Instant) {
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            self.immediate = true;
        }
    }

    /// The largest number received.
    pub fn largest(&self) -> Option<PacketNumber> {
        self.largest.map(|(number, _)| number)
    }

    /// The ranges to acknowledge, the highest first; the first one ends with the largest number.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<PacketNumber>> + Clone + '_ {
        self.ranges.iter().rev().map(|range| range.start..=range.end - 1)
    }

    /// The ECN counts; `None` as long as no packet was marked, in which case the ACK frame has none (§13.4.1).
    pub fn ecn(&self) -> Option<EcnCounts> {
        Some(self.ecn).filter(|counts| *counts != EcnCounts::default())
    }

    /// How long the largest packet has waited for its ACK (§13.2.5).
    pub fn delay(&self, now: Instant) -> Duration {
        self.largest.map_or(Duration::ZERO, |(_, received)| now - received)
    }

    /// An ACK frame was sent.
    pub fn on_ack_sent(&mut self) {
        self.pending = 0;
        self.immediate = false;
        self.deadline = None;
    }

    /// An ACK frame up to `largest` was acknowledged: the peer knows of those packets (§13.2.4).
    pub fn on_ack_acked(&mut self, largest: PacketNumber) {
        // The number itself is kept: "A receiver SHOULD include an ACK Range containing the largest received packet number in every
        // ACK frame" (§13.2.3), and it may still be the largest.
        self.ranges.remove_below(largest);
        self.floor = self.floor.max(largest);
    }

    fn new(max_ack_delay: Duration, threshold: u32) -> Self {
        Self {
            max_ack_delay,
            threshold,
            ranges: RangeSet::new(),
            floor: 0,
            largest: None,
            largest_eliciting: None,
            pending: 0,
            prompt: 0,
            immediate: false,
            deadline: None,
            ecn: EcnCounts::default(),
        }
    }

    /// An ack-eliciting packet asks for an ACK, now or later. Called before the number is in `ranges`.
    fn owe(&mut self, now: Instant, number: PacketNumber, ecn: Option<Ecn>) {
        self.pending += 1;
        // §13.2.1: at once "when the received packet has a packet number less than another ack-eliciting packet that has been
        // received, or when [it is] larger than the highest-numbered ack-eliciting packet … and there are missing packets between";
        // "packets marked with … CE SHOULD be acknowledged immediately".
        let disorder = self.largest_eliciting.is_some_and(|largest| {
            number < largest || !self.ranges.contains_range(&((largest + 1).max(self.floor)..number))
        });
        self.largest_eliciting = self.largest_eliciting.max(Some(number));
        let prompt = disorder || self.prompt > 0;
        self.prompt = if disorder { AFTER_DISORDER } else { self.prompt.saturating_sub(1) };
        if prompt || ecn == Some(Ecn::Ce) || self.pending >= self.threshold {
            self.immediate = true;
            self.deadline = None;
        } else if !self.immediate {
            self.deadline.get_or_insert(now + self.max_ack_delay);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn tracker() -> AckTracker {
        AckTracker::delayed(Duration::from_millis(25))
    }

    #[test]
    fn every_second_packet_is_acknowledged_at_once() {
        let mut acks = tracker();
        acks.on_received(at(0), 0, true, None);
        assert!(!acks.ack_owed() && acks.has_pending());
        assert_eq!(acks.deadline(), Some(at(25)));
        acks.on_received(at(5), 1, true, None);
        assert!(acks.ack_owed());
        assert_eq!(acks.deadline(), None);
        assert_eq!(acks.delay(at(7)), Duration::from_millis(2));
        acks.on_ack_sent();
        assert!(!acks.ack_owed() && !acks.has_pending());
    }

    #[test]
    fn the_deadline_is_that_of_the_oldest() {
        let mut acks = tracker();
        acks.set_threshold(10);
        acks.on_received(at(0), 0, true, None);
        acks.on_received(at(20), 1, true, None);
        acks.on_timeout(at(24));
        assert!(!acks.ack_owed());
        acks.on_timeout(at(25));
        assert!(acks.ack_owed());
    }

    #[test]
    fn handshake_packets_are_acknowledged_at_once() {
        let mut acks = AckTracker::immediate();
        acks.on_received(at(0), 0, false, None);
        assert!(!acks.ack_owed(), "§13.2.1: never in response to a packet that does not elicit it");
        acks.on_received(at(0), 1, true, None);
        assert!(acks.ack_owed());
    }

    #[test]
    fn disorder_and_marks_are_told_at_once() {
        let mut acks = tracker();
        acks.on_received(at(0), 0, true, None);
        acks.on_ack_sent();
        acks.on_received(at(0), 1, false, None);
        acks.on_received(at(0), 2, true, None);
        assert!(!acks.ack_owed(), "1 was received: no gap");
        acks.on_ack_sent();
        acks.on_received(at(0), 5, true, None);
        assert!(acks.ack_owed(), "a gap");
        acks.on_ack_sent();
        acks.on_received(at(0), 4, true, None);
        assert!(acks.ack_owed(), "out of order");
        acks.on_ack_sent();
        acks.on_received(at(0), 6, true, Some(Ecn::Ce));
        assert!(acks.ack_owed(), "a mark");
        assert_eq!(acks.ecn(), Some(EcnCounts { ect0: 0, ect1: 0, ce: 1 }));
        acks.on_received(at(0), 6, true, Some(Ecn::Ce));
        assert_eq!(acks.ecn().map(|counts| counts.ce), Some(1), "duplicates do not count");
    }

    #[test]
    fn after_disorder_every_packet_is_acknowledged_for_a_while() {
        let mut acks = tracker();
        let mut told = |number| {
            acks.on_received(at(0), number, true, None);
            let owed = acks.ack_owed();
            acks.on_ack_sent();
            owed
        };
        assert!(!told(0) && told(2));
        let last = 2 + u64::from(AFTER_DISORDER);
        assert!((3..=last).all(&mut told));
        assert!(!told(last + 1));
        assert!(told(1), "late");
        assert!((last + 2..=last + 33).all(&mut told));
        assert!(!told(last + 34));
    }

    #[test]
    fn acknowledged_acks_forget_ranges_but_not_the_largest() {
        let mut acks = tracker();
        for number in [0, 1, 3, 4] {
            acks.on_received(at(0), number, true, None);
        }
        assert_eq!(acks.ranges().collect::<Vec<_>>(), [3..=4, 0..=1]);
        acks.on_ack_acked(4);
        assert_eq!(acks.ranges().collect::<Vec<_>>(), [4..=4]);
        assert!(acks.is_duplicate(2), "below the floor nobody knows any more");
        acks.on_received(at(0), 5, true, None);
        assert_eq!(acks.ranges().collect::<Vec<_>>(), [4..=5]);
    }

    proptest! {
        #[test]
        fn nothing_is_processed_twice(numbers in proptest::collection::vec(0u64..600, 1..400)) {
            let (mut acks, mut seen) = (tracker(), BTreeSet::new());
            for number in numbers {
                if !acks.is_duplicate(number) {
                    prop_assert!(seen.insert(number));
                }
                acks.on_received(at(0), number, true, None);
                prop_assert!(acks.ranges().count() <= MAX_RANGES);
                prop_assert_eq!(acks.ranges().next().map(|range| *range.end()), acks.largest());
                prop_assert!(acks.ranges().flatten().all(|number| seen.contains(&number)));
            }
        }
    }
}
