//! The sending side of one packet number space: numbers given out, packets not settled yet, ranges acknowledged.
//!
//! Owns: the ring of tracked packets and the set of acknowledged numbers within its span, so that an ACK frame costs time for its
//! ranges and for what it newly acknowledges, however often the peer repeats a range. Invariants: every outstanding packet is at or
//! beyond `cursor`, every packet below `cursor` that is in the ring is lost; `acked` holds nothing below the ring.
//! No timers; `loss_time` and `last_eliciting` feed the one in `pto`.

use super::loss::Run;
use super::sent::{SentPacket, State, Tracked};
use crate::congestion::DeliveryMark;
use crate::error::{TransportError, TransportErrorCode};
use crate::id::PacketNumber;
use crate::rng::Rng;
use crate::time::Instant;
use crate::util::{RangeSet, RingMap};
use smallvec::SmallVec;
use std::ops::RangeInclusive;

/// How many numbers may lie between the oldest packet that is not settled and the newest: bounds the memory of a peer that does not
/// acknowledge. At 1,200 bytes a packet it permits 150 MB in flight.
pub const MAX_TRACKED: usize = 1 << 17;

/// How many skipped numbers are remembered; skips are far apart, so that more than these are hardly ever unsettled.
const SKIPS: usize = 4;

/// The first skip comes within this many packets, the later ones about this many times [`SKIP_GROWTH`] apart. Arbitrary: rare enough
/// that the extra ACK range costs nothing, and well inside what an attacker must acknowledge blindly to gain anything.
const FIRST_SKIP: u64 = 256;
const SKIP_GROWTH: u64 = 16;

/// The numbers of a space: the next, and those left out on purpose.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    next: PacketNumber,
    skip_at: Option<PacketNumber>,
    skipped: [Option<PacketNumber>; SKIPS],
}

impl Numbers {
    fn new(first: PacketNumber) -> Self {
        Self { next: first, skip_at: None, skipped: [None; SKIPS] }
    }

    /// The number of the next packet. RFC 9000 §21.4: "An endpoint MAY skip packet numbers when sending
    /// packets to detect this behavior", optimistic ACKs.
    fn next(&mut self, skips: bool, rng: &mut dyn Rng) -> PacketNumber {
        if skips {
            let at = *self.skip_at.get_or_insert_with(|| self.next + 16 + rng.below(FIRST_SKIP));
            if self.next >= at {
                self.skipped.rotate_right(1);
                self.skipped[0] = Some(self.next);
                self.next += 1;
                self.skip_at = Some(self.next + FIRST_SKIP + rng.below(FIRST_SKIP * SKIP_GROWTH));
            }
        }
        self.next
    }

    /// Whether `number` was left out.
    pub(super) fn skipped(&self, number: PacketNumber) -> bool {
        self.skipped.contains(&Some(number))
    }

    /// How many numbers in `range` were left out.
    pub(super) fn skipped_in(&self, range: &RangeInclusive<PacketNumber>) -> u64 {
        self.skipped.iter().flatten().filter(|number| range.contains(number)).count() as u64
    }
}

/// The sending side of one packet number space.
#[derive(Clone, Debug)]
pub(super) struct Space {
    pub(super) ring: RingMap<Tracked>,
    pub(super) numbers: Numbers,
    pub(super) largest_acked: Option<PacketNumber>,
    /// The first number that loss detection has not settled.
    pub(super) cursor: PacketNumber,
    /// How many ack-eliciting packets are outstanding, on whatever path.
    pub(super) eliciting: u32,
    /// When the last ack-eliciting packet was sent.
    pub(super) last_eliciting: Option<Instant>,
    /// When the packet at `cursor` will be lost by time.
    pub(super) loss_time: Option<Instant>,
    pub(super) probes_owed: u8,
    pub(super) run: Option<Run>,
    /// The number of the last packet that was declared lost.
    pub(super) last_lost: Option<PacketNumber>,
    acked: RangeSet,
}

impl Space {
    pub(super) fn new(first: PacketNumber) -> Self {
        Self {
            ring: RingMap::new(),
            numbers: Numbers::new(first),
            largest_acked: None,
            cursor: first,
            eliciting: 0,
            last_eliciting: None,
            loss_time: None,
            probes_owed: 0,
            run: None,
            last_lost: None,
            acked: RangeSet::new(),
        }
    }

    pub(super) fn next_number(&mut self, skips: bool, rng: &mut dyn Rng) -> PacketNumber {
        self.numbers.next(skips, rng)
    }

    /// Whether the ring is at its bound, after what can be forgotten was.
    pub(super) fn is_full(&self) -> bool {
        self.ring.span() >= MAX_TRACKED
            && self
                .ring
                .first()
                .is_some_and(|(_, first)| first.packet.in_flight && first.state == State::Outstanding)
    }

    pub(super) fn on_sent(&mut self, number: PacketNumber, packet: SentPacket, mark: DeliveryMark) {
        debug_assert!(number >= self.numbers.next, "a number that was given out, once");
        self.make_room();
        self.numbers.next = self.numbers.next.max(number + 1);
        if packet.ack_eliciting {
            self.eliciting += 1;
            self.last_eliciting = Some(packet.time);
            self.probes_owed = self.probes_owed.saturating_sub(1);
        }
        self.ring.push(number, Tracked { packet, state: State::Outstanding, mark });
    }

    /// Refuses the acknowledgement of what was not sent.
    pub(super) fn check_sent(&self, range: &RangeInclusive<PacketNumber>) -> Result<(), TransportError> {
        // RFC 9000 §13.1: "An endpoint SHOULD treat receipt of an acknowledgment for a packet it did not send as a connection error
        // of type PROTOCOL_VIOLATION"; a number that was skipped is such a one (§21.4).
        if *range.end() >= self.numbers.next || self.numbers.skipped_in(range) > 0 {
            let reason = "acknowledgment of a packet that was never sent";
            return Err(TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason));
        }
        Ok(())
    }

    /// Takes the packets of `range` out that were not acknowledged before, and hands them to `settle`. Those without an acknowledged one
    /// between them come oldest first: the owners of what they carried forget it from the front. `false` if all packets below the range
    /// are settled too, so that lower ranges need not be looked at.
    pub(super) fn take_acked(
        &mut self,
        range: RangeInclusive<PacketNumber>,
        mut settle: impl FnMut(PacketNumber, Tracked),
    ) -> Result<bool, TransportError> {
        self.check_sent(&range)?;
        let Some(first) = self.ring.first_key().filter(|first| first <= range.end()) else {
            return Ok(false);
        };
        let known = first.max(*range.start())..range.end() + 1;
        for gap in self.acked.gaps_rev(known.clone()) {
            for number in gap {
                let Some(tracked) = self.ring.remove(number) else { continue };
                if tracked.packet.ack_eliciting && tracked.state == State::Outstanding {
                    self.eliciting -= 1;
                }
                settle(number, tracked);
            }
        }
        self.acked.insert(known);
        Ok(true)
    }

    /// To be called once all ranges of a frame were taken.
    pub(super) fn after_acks(&mut self) {
        self.acked.remove_below(self.ring.first_key().unwrap_or(self.numbers.next));
    }

    /// Forgets all packets: hands them to `settle`, oldest first. Numbers go on.
    pub(super) fn forget(&mut self, mut settle: impl FnMut(Tracked)) {
        while let Some(tracked) = self.ring.first_key().and_then(|first| self.ring.remove(first)) {
            settle(tracked);
        }
        self.acked.clear();
        self.cursor = self.numbers.next;
        self.eliciting = 0;
        self.last_eliciting = None;
        self.loss_time = None;
        self.probes_owed = 0;
        self.run = None;
    }

    /// Forgets the packets that `which` tells, without a word to anybody. Returns how many of their bytes were in flight on the path
    /// `generation`.
    pub(super) fn remove_where(&mut self, generation: u32, mut which: impl FnMut(&Tracked) -> bool) -> u64 {
        let numbers: SmallVec<[PacketNumber; 8]> =
            self.ring.iter().filter(|(_, tracked)| which(tracked)).map(|(number, _)| number).collect();
        let mut flight = 0;
        for tracked in numbers.into_iter().filter_map(|number| self.ring.remove(number)) {
            flight += tracked.flight(generation);
            self.eliciting -= u32::from(tracked.packet.ack_eliciting && tracked.state == State::Outstanding);
        }
        flight
    }

    /// At the bound, forgets packets at the front that nobody waits for: lone ACKs, and losses that might have been acknowledged late.
    fn make_room(&mut self) {
        while self.ring.span() >= MAX_TRACKED && !self.is_full() {
            let Some(first) = self.ring.first_key() else { return };
            if let Some(tracked) = self.ring.remove(first)
                && tracked.packet.ack_eliciting
                && tracked.state == State::Outstanding
            {
                self.eliciting -= 1;
            }
        }
    }
}
