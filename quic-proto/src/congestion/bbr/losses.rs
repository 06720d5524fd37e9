//! Which losses are too many: the draft's `BBR.LossThresh`, told from what the path loses by itself.
//!
//! A flight of a hundred packets on a path that loses one in a hundred at random loses more than two every few round trips. Two rules keep that
//! from being taken for congestion; both depart from the draft, which [the module head](super) says.
//!
//! - A round trip outside of a probe lowers the short-term bounds if more than the tolerated share of its flight was lost, not by any loss.
//! - What is tolerated, there and in a probe, is `LossThresh` beyond what was lost during the last Cruise. That share counts up to another
//!   `LossThresh`, so that a queue that overflows all the time is no path that loses.
//!
//! Invariant: the tolerated share is between one and two times `LossThresh`. No timers.

use super::probe_bw::AckPhase;
use super::{Bbr, State};
use crate::congestion::delivery_rate::{DeliveryRate, RateSample};

/// `BBR.LossThresh`: "the maximum tolerated per-round-trip packet loss rate when probing for bandwidth".
const LOSS_THRESH: f64 = 0.02;

/// Losses of this round, and of the last Cruise.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Losses {
    /// Bytes that were lost in the round, behind the packet whose loss began it: that one is why there is such a round, and tells nothing of
    /// the share. All of them, if the packets of a round are few.
    in_round: u64,
    /// CE marks count as loss beyond the threshold.
    marked: bool,
    /// The share that was lost in the last Cruise.
    cruise: f64,
    /// What had been delivered and lost when the Cruise that goes on began to be measured.
    cruise_began: Option<(u64, u64)>,
}

impl Losses {
    /// A packet was lost that did not begin the round.
    pub(super) fn on_lost(&mut self, bytes: u64) {
        self.in_round += bytes;
    }

    /// The path marked packets.
    pub(super) fn on_marks(&mut self) {
        self.marked = true;
    }

    /// The round ends, whose flight was that large: was too much of it lost? Where nothing is to be learnt from loss, marks count still.
    pub(super) fn end_round(&mut self, in_flight: u64, learns: bool) -> bool {
        let excess = self.marked || (learns && exceeds(self.in_round, in_flight, self.tolerated()));
        (self.in_round, self.marked) = (0, false);
        excess
    }

    /// The share of a flight whose loss tells of no congestion.
    fn tolerated(&self) -> f64 {
        LOSS_THRESH + self.cruise.min(LOSS_THRESH)
    }

    /// `IsInflightTooHigh()`: whether more of the flight was lost than is tolerated.
    pub(super) fn is_inflight_too_high(&self, rs: &RateSample) -> bool {
        exceeds(rs.lost, rs.in_flight, self.tolerated())
    }

    /// `InflightAtLoss()`: at which volume in flight the losses became too many, within the packet of `size` bytes.
    pub(super) fn inflight_at_loss(&self, rs: &RateSample, size: u64) -> u64 {
        let tolerated = self.tolerated();
        let before = rs.in_flight.saturating_sub(size) as f64;
        let lost_before = rs.lost.saturating_sub(size) as f64;
        let prefix = (tolerated * before - lost_before) / (1.0 - tolerated);
        (before + prefix).max(0.0) as u64
    }

    /// The Cruise is over, and with it what it tells, unless less than a flight was delivered.
    fn end_cruise(&mut self, delivery: &DeliveryRate, flight: u64) {
        let Some((delivered, lost)) = self.cruise_began.take() else { return };
        let (delivered, lost) = (delivery.delivered() - delivered, delivery.lost() - lost);
        if delivered > 0 && delivered >= flight {
            self.cruise = lost as f64 / (lost + delivered) as f64;
        }
    }
}

impl Bbr {
    /// A round began: in Cruise, with what the last probe lost out of the way, it tells what the path loses.
    pub(super) fn measure_cruise(&mut self) {
        let (losses, delivery) = (&mut self.model.losses, &self.delivery);
        if self.state == State::ProbeBwCruise && self.cycle.ack_phase == AckPhase::Init {
            losses.cruise_began.get_or_insert((delivery.delivered(), delivery.lost()));
        }
    }

    /// The next probe begins.
    pub(super) fn end_cruise(&mut self) {
        let flight = self.target_inflight();
        self.model.losses.end_cruise(&self.delivery, flight);
    }
}

/// Whether more than a share of the flight was lost.
fn exceeds(lost: u64, in_flight: u64, share: f64) -> bool {
    lost as f64 > in_flight as f64 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    /// "(`lost_prev` + `lost_prefix`) / (`inflight_prev` + `lost_prefix`) >= BBR.LossThresh", solved for the prefix.
    #[test]
    fn the_volume_at_which_losses_crossed_the_threshold() {
        let losses = Losses::default();
        let rs = RateSample { in_flight: 100_000, lost: 3000, ..RateSample::default() };
        assert!(losses.is_inflight_too_high(&rs));
        // 99,000 in flight and 2,000 lost before the packet: already beyond, by 20 / 0.98 bytes.
        assert_eq!(losses.inflight_at_loss(&rs, 1000), 98_979);
        let rs = RateSample { in_flight: 100_000, lost: 2000, ..RateSample::default() };
        assert!(!losses.is_inflight_too_high(&rs), "two per cent are tolerated");
        assert_eq!(losses.inflight_at_loss(&RateSample { lost: 2500, ..rs }, 1000), 99_000 + 489);
        let rs = RateSample { in_flight: 1000, lost: 90_000, ..rs };
        assert_eq!(losses.inflight_at_loss(&rs, 1000), 0);
    }

    #[test]
    fn what_a_cruise_loses_is_tolerated_up_to_the_threshold_again() {
        for (cruise, tolerated) in [(0.0, 0.02), (0.01, 0.03), (0.02, 0.04), (0.5, 0.04)] {
            let losses = Losses { cruise, ..Losses::default() };
            assert!((losses.tolerated() - tolerated).abs() < 1e-9);
            let rs = RateSample { in_flight: 1_000_000, lost: 35_000, ..RateSample::default() };
            assert_eq!(losses.is_inflight_too_high(&rs), tolerated < 0.035);
        }
    }

    #[test]
    fn a_round_has_lost_too_much_beyond_the_threshold_or_with_a_mark() {
        let mut losses = Losses::default();
        losses.on_lost(2000);
        assert!(!losses.end_round(100_000, true));
        losses.on_lost(2000);
        losses.on_lost(1);
        assert!(losses.end_round(100_000, true));
        assert!(!losses.end_round(100_000, true), "rounds are judged one by one");
        losses.on_marks();
        assert!(losses.end_round(100_000, false));
        losses.on_lost(50_000);
        assert!(!losses.end_round(100_000, false), "it tells nothing of the path");
        losses.cruise = 0.01;
        losses.on_lost(3000);
        assert!(!losses.end_round(100_000, true), "one per cent is the path's");
        losses.on_lost(3001);
        assert!(losses.end_round(100_000, true));
    }
}
