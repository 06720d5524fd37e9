//! Telling random loss from congestion, for [`Algorithm::CubicTolerant`](super::Algorithm::CubicTolerant).
//!
//! Radio links and long lines lose packets for reasons of their own, and a sender that takes each loss for a full queue leaves most of such a
//! path unused: at 1 % of loss and 40 ms CUBIC gets 4 Mbit/s out of whatever there is. Here a recovery period is judged when it ends, after
//! the window was reduced for a round trip as RFC 9438 §4.6 wants it. It is excused, and the reduction taken back, if nothing but the
//! loss speaks for congestion:
//!
//! - **No queue stands.** The smallest round-trip time of the period, whose packets shared the path with the lost ones, is above
//!   that of the path by an eighth at most. A drop-tail queue that overflows is full for all of a round trip, so that its losses
//!   are seen for what they are where it holds more than an eighth of a bandwidth-delay product. The least of a round trip, since
//!   bursts and jitter tell of no standing queue (TCP Veno compares the same two times, to decide how far to reduce).
//! - **Loss is rare.** What is excused is paid for from a budget that each acknowledged byte fills by one fiftieth, so that over time no
//!   more than 2 % of what arrives is excused: what `BBRv3` tolerates of a round trip (`BBR.LossThresh`). The budget holds as much as the loss
//!   of one round trip at that share, and of a thousand packets where that is more: a single loss is more than 2 % of a small window,
//!   and losses come in bursts. It begins half full, as a loss in the first round trips would end slow start long before the path is known.
//!
//! So a sender behind a queue of less than an eighth, or behind a policer, which has none, makes others there live with 2 % of loss, as
//! `BBRv3` does, and takes much of their share if they answer each loss. That is why it is to be chosen, and not the default. quiche takes losses
//! back as well, by their number, whatever the delay says.
//!
//! Never excused: CE marks, persistent congestion, and a period of which no round-trip time is known.
//!
//! Invariant: the bytes excused are at most ten packets and a fiftieth of the bytes acknowledged. No timers.

use super::{AckSample, CongestionEvent};
use crate::time::Duration;

/// One byte of so many may be lost.
const SHARE: u64 = 50;
/// The budget may always hold what this many packets fill it by.
const MIN_PACKETS: u64 = 1000;
/// What it holds at first.
const FIRST_PACKETS: u64 = MIN_PACKETS / 2;
/// The part of the smallest round-trip time by which that of a period without a queue may be above it.
const STANDING: u32 = 8;

/// The budget, and what is known of the recovery period under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerance {
    /// Bytes of which the loss can be excused, times [`SHARE`].
    budget: u64,
    /// Bytes lost in this period.
    lost: u64,
    /// The smallest round-trip time of packets acknowledged in this period.
    least: Option<Duration>,
    /// The path's smallest round-trip time, as of the latest acknowledgement.
    path: Duration,
    /// Not only losses began this period.
    marked: bool,
}

impl Tolerance {
    /// Nothing was lost yet, on a path with datagrams of `mtu` bytes.
    pub(super) fn new(mtu: u16) -> Self {
        let budget = FIRST_PACKETS * u64::from(mtu);
        Self { budget, lost: 0, least: None, path: Duration::ZERO, marked: false }
    }

    /// A recovery period begins.
    pub(super) fn begin(&mut self, event: &CongestionEvent) {
        (self.lost, self.least, self.marked) = (0, None, false);
        self.on_loss(event);
    }

    /// More of the flight turned out to be lost.
    pub(super) fn on_loss(&mut self, event: &CongestionEvent) {
        self.lost = self.lost.saturating_add(event.lost_bytes);
        self.marked |= event.ecn;
    }

    /// An acknowledgement; `recovering` if it is of packets sent before the period under way.
    pub(super) fn on_ack(&mut self, sample: &AckSample, recovering: bool, window: u64, mtu: u16) {
        let most = window.max(MIN_PACKETS * u64::from(mtu));
        self.budget = self.budget.saturating_add(sample.bytes).min(most);
        self.path = sample.rtt.min;
        if recovering {
            let rtt = sample.now - sample.sent;
            self.least = Some(self.least.map_or(rtt, |least| least.min(rtt)));
        }
    }

    /// The period is over. Whether it is excused; it is asked once.
    pub(super) fn excuses(&mut self) -> bool {
        let no_queue = self.least.is_some_and(|least| least <= self.path + self.path / STANDING);
        let price = self.lost.saturating_mul(SHARE);
        let excused = no_queue && !self.marked && price <= self.budget;
        if excused {
            self.budget -= price;
        }
        excused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::{DeliveryMark, RttSample};
    use crate::time::Instant;
    use proptest::prelude::*;

    const MTU: u16 = 1000;
    const PATH: u64 = 40;

    fn ack(rtt: u64, bytes: u64) -> AckSample {
        let path = Duration::from_millis(PATH);
        AckSample {
            now: Instant::from_millis(1000),
            bytes,
            sent: Instant::from_millis(1000 - rtt),
            in_flight: 0,
            mark: DeliveryMark::default(),
            drained: false,
            rtt: RttSample { latest: path, min: path, smoothed: path },
        }
    }

    fn loss(lost_bytes: u64) -> CongestionEvent {
        CongestionEvent {
            now: Instant::EPOCH,
            sent: Instant::EPOCH,
            lost_bytes,
            persistent: false,
            ecn: false,
            in_flight: 0,
            prior_in_flight: 0,
        }
    }

    /// With a budget for so many packets, in a window of a hundred.
    fn with_budget(packets: u64) -> Tolerance {
        let mut tolerance = Tolerance { budget: 0, ..Tolerance::new(MTU) };
        tolerance.on_ack(&ack(PATH, packets * SHARE * 1000), false, 100_000, MTU);
        tolerance
    }

    fn period(tolerance: &mut Tolerance, lost: u64, rtts: &[u64]) -> bool {
        tolerance.begin(&loss(lost));
        rtts.iter().for_each(|rtt| tolerance.on_ack(&ack(*rtt, 0), true, 100_000, MTU));
        tolerance.excuses()
    }

    #[test]
    fn a_standing_queue_is_not_excused() {
        assert!(period(&mut with_budget(1), 1000, &[60, 45, 80]));
        assert!(
            !period(&mut with_budget(1), 1000, &[60, 46, 80]),
            "more than an eighth in all of the period"
        );
        assert!(!period(&mut with_budget(1), 1000, &[]), "nothing is known");
    }

    #[test]
    fn each_loss_is_paid_for_by_fifty_that_arrive() {
        let mut tolerance = with_budget(3);
        assert!(period(&mut tolerance, 2000, &[PATH]));
        assert!(!period(&mut tolerance, 2000, &[PATH]));
        assert!(period(&mut tolerance, 1000, &[PATH]), "what was not excused costs nothing");
        tolerance.on_ack(&ack(PATH, 49_000), false, 100_000, MTU);
        assert!(!period(&mut tolerance, 1000, &[PATH]));
        tolerance.on_ack(&ack(PATH, 1000), false, 100_000, MTU);
        assert!(period(&mut tolerance, 1000, &[PATH]));
    }

    #[test]
    fn the_first_losses_are_excused() {
        let mut tolerance = Tolerance::new(MTU);
        assert!(!period(&mut tolerance, 11_000, &[PATH]));
        assert!(period(&mut tolerance, 10_000, &[PATH]));
        assert!(!period(&mut tolerance, 1000, &[PATH]));
    }

    #[test]
    fn the_budget_is_bounded() {
        let mut tolerance = with_budget(1 << 20);
        assert!(!period(&mut tolerance, 21_000, &[PATH]), "the loss of a thousand packets");
        assert!(period(&mut tolerance, 20_000, &[PATH]));
        tolerance.on_ack(&ack(PATH, u64::MAX), false, 5_000_000, MTU);
        tolerance.begin(&loss(101_000));
        tolerance.on_ack(&ack(PATH, 0), true, 5_000_000, MTU);
        assert!(!tolerance.excuses(), "that of a large window");
        tolerance.begin(&loss(100_000));
        tolerance.on_ack(&ack(PATH, 0), true, 5_000_000, MTU);
        assert!(tolerance.excuses());
    }

    #[test]
    fn all_losses_of_a_period_count() {
        let mut tolerance = with_budget(2);
        tolerance.begin(&loss(1000));
        tolerance.on_loss(&loss(1500));
        tolerance.on_ack(&ack(PATH, 0), true, 100_000, MTU);
        assert!(!tolerance.excuses());
    }

    #[test]
    fn marks_are_not_excused() {
        let marks = CongestionEvent { ecn: true, ..loss(0) };
        let mut tolerance = with_budget(2);
        tolerance.begin(&marks);
        tolerance.on_ack(&ack(PATH, 0), true, 100_000, MTU);
        assert!(!tolerance.excuses());
        tolerance.begin(&loss(1000));
        tolerance.on_loss(&marks);
        tolerance.on_ack(&ack(PATH, 0), true, 100_000, MTU);
        assert!(!tolerance.excuses());
    }

    proptest! {
        /// Whatever happens, no more than ten packets and a fiftieth of what was acknowledged is excused.
        #[test]
        fn no_more_than_two_per_cent(steps in proptest::collection::vec((0u64..200_000, 0u64..10_000), 1..200)) {
            let (mut tolerance, mut acked, mut excused) = (Tolerance::new(MTU), 0, 0);
            for (bytes, lost) in steps {
                acked += bytes;
                tolerance.on_ack(&ack(PATH, bytes), false, 100_000, MTU);
                if period(&mut tolerance, lost, &[PATH]) {
                    excused += lost;
                }
                prop_assert!(excused * SHARE <= acked + 500_000);
            }
        }
    }
}
