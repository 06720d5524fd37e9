//! ECN validation of a path: RFC 9000 §13.4.2 by the algorithm of appendix A.4.
//!
//! Owns the state (testing, unknown, capable, failed) and the counts that the peer reported last, for each packet number space.
//! Invariants: a path that failed is never marked again. Timers: none; the test ends after ten packets.

use crate::id::SpaceId;
use crate::net::{Ecn, EcnCounts};

/// Packets that are marked before the peer's counts have shown that it works.
const TEST_PACKETS: u64 = 10;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Testing,
    Unknown,
    Capable,
    Failed,
}

/// Whether packets on a path are marked ECT(0).
#[derive(Clone, Debug)]
pub struct EcnState {
    state: State,
    /// Counts of the last ACK that was processed, by space.
    reported: [EcnCounts; 3],
    /// Marked packets sent on any path of the connection, by space.
    sent: [u64; 3],
    /// Marked packets sent on this path, and those of them that were lost.
    marked: u64,
    lost: u64,
}

impl EcnState {
    /// The first path of a connection; tested only if the socket can set and read codepoints.
    pub fn new(enabled: bool) -> Self {
        let state = if enabled { State::Testing } else { State::Failed };
        Self { state, reported: Default::default(), sent: [0; 3], marked: 0, lost: 0 }
    }

    /// Another path of the connection: "existing ECN counts are remembered as a baseline" (appendix A.4).
    #[must_use]
    pub fn for_new_path(&self, enabled: bool) -> Self {
        Self { reported: self.reported, sent: self.sent, ..Self::new(enabled) }
    }

    /// The codepoint for the next packet.
    pub fn mark(&self) -> Option<Ecn> {
        matches!(self.state, State::Testing | State::Capable).then_some(Ecn::Ect0)
    }

    /// Whether the path is known to keep marks.
    pub fn is_capable(&self) -> bool {
        self.state == State::Capable
    }

    /// A packet was sent with the codepoint ECT(0).
    pub fn on_marked_sent(&mut self, space: SpaceId) {
        self.sent[space as usize] += 1;
        self.marked += 1;
        if self.state == State::Testing && self.marked >= TEST_PACKETS {
            self.state = State::Unknown;
        }
    }

    /// This many marked packets of this path were lost. If all were, the marks may be why (§13.4.2).
    pub fn on_marked_lost(&mut self, packets: u64) {
        self.lost = self.lost.saturating_add(packets);
        if self.state == State::Unknown && self.lost >= self.marked {
            self.state = State::Failed;
        }
    }

    /// An ACK frame that raised the largest acknowledged number newly acknowledged `acked` marked packets of this path (§13.4.2.1: "An
    /// endpoint MUST NOT fail ECN validation as a result of processing an ACK frame that does not increase the largest acknowledged
    /// packet number": do not call for such). Whether the count of CE grew on a path that is capable: a congestion event.
    pub fn on_ack(&mut self, space: SpaceId, counts: Option<EcnCounts>, acked: u64) -> bool {
        if self.state == State::Failed {
            return false;
        }
        let old = self.reported[space as usize];
        let Some(new) = counts else {
            // §13.4.2.1: "ECN validation fails if the corresponding ECN counts are not present in the ACK frame."
            if acked > 0 {
                self.state = State::Failed;
            }
            return false;
        };
        if !self.is_consistent(space, old, new, acked) {
            self.state = State::Failed;
            return false;
        }
        self.reported[space as usize] = new;
        if acked > 0 {
            self.state = State::Capable;
        }
        self.state == State::Capable && new.ce > old.ce
    }

    fn is_consistent(&self, space: SpaceId, old: EcnCounts, new: EcnCounts, acked: u64) -> bool {
        let (Some(ect0), Some(ce)) = (new.ect0.checked_sub(old.ect0), new.ce.checked_sub(old.ce)) else {
            return false;
        };
        // §13.4.2.1: fails "if the sum of the increase in ECT(0) and ECN-CE counts is less than the number of newly acknowledged packets
        // that were originally sent with an ECT(0) marking"; "when an endpoint receives a non-zero ECN count corresponding to an ECT
        // codepoint that it never applied"; and if a count exceeds what was sent.
        ect0.saturating_add(ce) >= acked && new.ect1 == 0 && new.ect0 <= self.sent[space as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPACE: SpaceId = SpaceId::Data;

    fn counts(ect0: u64, ect1: u64, ce: u64) -> Option<EcnCounts> {
        Some(EcnCounts { ect0, ect1, ce })
    }

    fn after_sending(packets: u64) -> EcnState {
        let mut ecn = EcnState::new(true);
        for _ in 0..packets {
            ecn.on_marked_sent(SPACE);
        }
        ecn
    }

    #[test]
    fn ten_packets_are_marked_until_the_counts_come_back() {
        let mut ecn = after_sending(9);
        assert_eq!(ecn.mark(), Some(Ecn::Ect0));
        ecn.on_marked_sent(SPACE);
        assert_eq!(ecn.mark(), None);
        assert!(!ecn.on_ack(SPACE, counts(10, 0, 0), 10));
        assert!(ecn.is_capable());
        assert_eq!(ecn.mark(), Some(Ecn::Ect0));
        ecn.on_marked_sent(SPACE);
        assert!(ecn.on_ack(SPACE, counts(10, 0, 1), 1), "a mark is a congestion event");
        assert!(!ecn.on_ack(SPACE, counts(10, 0, 1), 0), "once");
    }

    #[test]
    fn failures_of_section_13_4_2_1() {
        for (reported, acked) in [
            (None, 1),
            (counts(0, 0, 0), 1),
            (counts(1, 0, 1), 3),
            (counts(0, 3, 0), 3),
            (counts(6, 0, 0), 3),
        ] {
            let mut ecn = after_sending(5);
            assert!(!ecn.on_ack(SPACE, reported, acked));
            assert_eq!(ecn.mark(), None, "{reported:?}");
            assert!(!ecn.on_ack(SPACE, counts(5, 0, 5), 1), "failed for good");
        }
        let mut ecn = after_sending(5);
        ecn.on_ack(SPACE, counts(3, 0, 0), 3);
        ecn.on_ack(SPACE, counts(2, 0, 2), 1);
        assert_eq!(ecn.mark(), None, "a count went down");
    }

    #[test]
    fn all_marked_packets_lost() {
        let mut ecn = after_sending(10);
        ecn.on_marked_lost(9);
        assert!(!ecn.on_ack(SPACE, None, 0), "nothing marked was acknowledged: no verdict");
        assert_eq!(ecn.state, State::Unknown);
        ecn.on_marked_lost(1);
        assert_eq!(ecn.state, State::Failed);
    }

    #[test]
    fn a_new_path_counts_from_where_the_old_one_was() {
        let mut ecn = after_sending(10);
        ecn.on_ack(SPACE, counts(10, 0, 0), 10);
        let mut next = ecn.for_new_path(true);
        assert_eq!(next.mark(), Some(Ecn::Ect0));
        next.on_marked_sent(SPACE);
        next.on_ack(SPACE, counts(10, 0, 0), 1);
        assert_eq!(next.mark(), None, "the mark was wiped out on the new path");
        assert_eq!(EcnState::new(false).mark(), None);
    }
}
