//! The controller of RFC 9002 §7 and appendix B, similar to TCP `NewReno`.
//!
//! Owns window, threshold and the recovery period. The first slow start is HyStart++ (RFC 9406), a recovery period goes by PRR. It does not undo reductions: RFC 9002 describes no response to spurious loss.

use super::hystart::HyStart;
use super::prr::Prr;
use super::{
    AckSample, CongestionEvent, Controller, DeliveryMark, FlightPeak, RecoveryPeriod, initial_window,
    minimum_window,
};
use crate::time::Instant;

pub(super) const NAME: &str = "newreno";

/// `NewReno` with the state of one path.
#[derive(Clone, Debug)]
pub struct NewReno {
    mtu: u16,
    /// In a recovery period, what the window will be at its end.
    window: u64,
    ssthresh: u64,
    /// Bytes acknowledged in congestion avoidance that have not made the window grow yet.
    acked: u64,
    hystart: HyStart,
    recovery: RecoveryPeriod,
    /// The recovery period under way.
    prr: Option<Prr>,
    peak: FlightPeak,
}

impl NewReno {
    /// The initial state on a path with datagrams of `mtu` bytes.
    pub fn new(mtu: u16) -> Self {
        Self {
            mtu,
            window: initial_window(mtu),
            ssthresh: u64::MAX,
            acked: 0,
            hystart: HyStart::new(),
            recovery: RecoveryPeriod::default(),
            prr: None,
            peak: FlightPeak::new(mtu),
        }
    }

    fn grow(&mut self, sample: &AckSample) {
        if self.in_slow_start() {
            let step = self.hystart.on_ack(sample, self.ssthresh == u64::MAX);
            let grown = self.window.saturating_add(step.growth);
            self.window = grown.min(self.peak.slow_start_limit()).max(self.window);
            if step.ends {
                // RFC 9406 §4.2: "enter congestion avoidance", with "ssthresh = cwnd".
                self.ssthresh = self.window;
            }
            return;
        }
        if !self.peak.filled(self.window, self.mtu) {
            return;
        }
        // RFC 9002 §7.3.3: "MUST limit the increase to the congestion window to at most one maximum datagram size for each
        // congestion window that is acknowledged". Counting bytes to a whole window keeps to that without fractions.
        self.acked = self.acked.saturating_add(sample.bytes);
        if self.acked >= self.window {
            self.acked -= self.window;
            self.window = self.window.saturating_add(u64::from(self.mtu));
        }
        // One ACK frame of more than two windows cannot come from a window-limited sender; what is left must not pile up.
        self.acked = self.acked.min(self.window);
    }
}

impl Controller for NewReno {
    fn on_sent(&mut self, _now: Instant, bytes: u64, in_flight: u64, _drained: bool) -> DeliveryMark {
        self.peak.on_sent(in_flight);
        if let Some(prr) = &mut self.prr {
            prr.on_sent(bytes);
        }
        DeliveryMark::default()
    }

    fn on_ack(&mut self, sample: &AckSample) {
        // RFC 9002 §7.3.2: in a recovery period the window does not grow.
        if self.recovery.covers(sample.sent) {
            if let Some(prr) = &mut self.prr {
                prr.on_ack(sample);
            }
            return;
        }
        // "A recovery period ends and the sender enters congestion avoidance when a packet sent during the recovery period is acknowledged."
        self.prr = None;
        self.grow(sample);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        let minimum = minimum_window(self.mtu);
        if !self.recovery.covers(event.sent) {
            self.recovery.since = Some(event.now);
            // RFC 9002 §7.3.2: "MUST set the slow start threshold to half the value of the congestion window".
            self.window = (self.window / 2).max(minimum);
            self.ssthresh = self.window;
            // What was acknowledged since the window last grew counts on: a datagram is much where windows are small. (Appendix B.5, which
            // grows the window by fractions, does not take those back either.)
            self.prr = Some(Prr::new(event, self.window, self.mtu));
            self.peak.on_reduction();
        } else if let Some(prr) = &mut self.prr {
            prr.on_loss(event);
        }
        if event.persistent {
            // RFC 9002 §7.6.2: "the sender's congestion window MUST be reduced to the minimum congestion window".
            self.window = minimum;
            self.acked = 0;
            self.recovery.since = None;
            self.prr = None;
            self.peak.on_reduction();
        }
    }

    fn window(&self) -> u64 {
        self.prr.map_or(self.window, |prr| prr.window().max(minimum_window(self.mtu)))
    }

    fn in_slow_start(&self) -> bool {
        self.window < self.ssthresh
    }

    fn ssthresh(&self) -> u64 {
        self.ssthresh
    }

    fn on_mtu(&mut self, mtu: u16) {
        // RFC 9002 §7.2: "If the maximum datagram size changes during the connection, the initial congestion window SHOULD be
        // recalculated with the new size."
        if self.window == initial_window(self.mtu) && self.ssthresh == u64::MAX {
            self.window = initial_window(mtu);
        }
        self.mtu = mtu;
        self.window = self.window.max(minimum_window(mtu));
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn fresh(&mut self, mtu: u16) -> Box<dyn Controller> {
        Box::new(Self::new(mtu))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::RttSample;
    use proptest::prelude::*;

    const MTU: u16 = 1200;

    fn ack(sent: u64, now: u64, bytes: u64) -> AckSample {
        AckSample {
            now: Instant::from_millis(now),
            bytes,
            sent: Instant::from_millis(sent),
            in_flight: 0,
            mark: DeliveryMark::default(),
            drained: false,
            rtt: RttSample::default(),
        }
    }

    fn loss(sent: u64, now: u64, persistent: bool) -> CongestionEvent {
        CongestionEvent {
            now: Instant::from_millis(now),
            sent: Instant::from_millis(sent),
            lost_bytes: 1200,
            persistent,
            ecn: false,
            in_flight: 0,
            prior_in_flight: 1200,
        }
    }

    /// A packet is sent, with which `flight` bytes are in flight.
    fn sends(reno: &mut NewReno, flight: u64) {
        reno.on_sent(Instant::EPOCH, 1200, flight, false);
    }

    #[test]
    fn slow_start_grows_by_what_is_acknowledged() {
        let mut reno = NewReno::new(MTU);
        sends(&mut reno, 12_000);
        reno.on_ack(&ack(0, 50, 12_000));
        assert_eq!(reno.window(), 24_000);
        assert!(reno.in_slow_start());
    }

    /// RFC 9406 §4.2: five rounds of conservative slow start, then congestion avoidance, without a loss.
    #[test]
    fn slow_start_may_end_without_a_loss() {
        let mut reno = NewReno::new(MTU);
        let mut now = 1000;
        // The round-trip time rises from 40 to 60 ms, and stays there.
        for rtt in [40, 60, 60, 60, 60, 60, 60] {
            let sent = now;
            now += rtt;
            let window = reno.window();
            sends(&mut reno, window);
            (0..10).for_each(|_| reno.on_ack(&ack(sent, now, 1200)));
        }
        assert!(!reno.in_slow_start());
        // Datagrams: 10 at the start, 10 and 8 in full, 43 by a quarter; what came after is congestion avoidance.
        assert_eq!(reno.ssthresh(), 46_500);
        reno.on_congestion(&loss(now, now + 60, false));
        assert_eq!(reno.ssthresh(), 23_250, "a reduction like any other");
    }

    /// Appendix A of draft-ietf-ccwg-ratelimited-increase, with our datagrams.
    #[test]
    fn a_window_that_is_not_used_grows_to_twice_the_largest_flight() {
        let mut reno = NewReno::new(MTU);
        for (flight, window) in [(4, 14), (8, 20), (4, 20), (20, 40)] {
            sends(&mut reno, flight * 1200);
            reno.on_ack(&ack(50, 100, flight * 1200));
            assert_eq!(reno.window(), window * 1200);
        }
    }

    #[test]
    fn in_congestion_avoidance_it_grows_to_a_datagram_beyond_the_largest_flight() {
        let mut reno = NewReno::new(MTU);
        reno.on_congestion(&loss(10, 100, false));
        let after = ack(101, 200, 6000);
        reno.on_ack(&after);
        assert_eq!(reno.window(), 6000, "the reduction made the largest flight void");
        sends(&mut reno, 6000);
        reno.on_ack(&after);
        assert_eq!(reno.window(), 7200);
        reno.on_ack(&after);
        reno.on_ack(&after);
        assert_eq!(reno.window(), 7200);
    }

    #[test]
    fn one_reduction_for_each_recovery_period() {
        let mut reno = NewReno::new(MTU);
        reno.on_congestion(&loss(10, 100, false));
        assert_eq!((reno.window, reno.ssthresh()), (6000, 6000));
        reno.on_congestion(&loss(100, 150, false));
        assert_eq!(reno.window, 6000, "sent before the recovery period began");
        reno.on_ack(&ack(90, 150, 6000));
        assert_eq!(reno.window, 6000, "no growth in recovery");
        reno.on_congestion(&loss(101, 200, false));
        assert_eq!(reno.window, 3000);
        reno.on_congestion(&loss(201, 300, false));
        assert_eq!(reno.window, 2400, "never below two datagrams");
        reno.on_ack(&ack(301, 400, 0));
        assert_eq!(reno.window(), 2400, "the period is over");
    }

    #[test]
    fn congestion_avoidance_adds_a_datagram_for_each_window() {
        let mut reno = NewReno::new(MTU);
        reno.on_congestion(&loss(10, 100, false));
        sends(&mut reno, 6000);
        for _ in 0..4 {
            reno.on_ack(&ack(101, 200, 1200));
        }
        assert_eq!(reno.window(), 6000);
        reno.on_ack(&ack(101, 200, 1200));
        assert_eq!(reno.window(), 7200);
        assert!(!reno.in_slow_start());
    }

    #[test]
    fn what_was_acknowledged_before_a_reduction_counts_on() {
        let mut reno = NewReno::new(MTU);
        reno.on_congestion(&loss(10, 100, false));
        sends(&mut reno, 6000);
        reno.on_ack(&ack(101, 200, 2000));
        reno.on_congestion(&loss(201, 300, false));
        assert_eq!(reno.window, 3000);
        sends(&mut reno, 3000);
        reno.on_ack(&ack(301, 400, 999));
        assert_eq!(reno.window(), 3000, "a byte less than a window");
        reno.on_ack(&ack(301, 400, 1));
        assert_eq!(reno.window(), 4200);
        sends(&mut reno, 4200);
        reno.on_ack(&ack(301, 400, 4199));
        reno.on_congestion(&loss(401, 500, false));
        assert_eq!(reno.window, 2400, "it was half of 4200, and is the least");
        sends(&mut reno, 3600);
        reno.on_ack(&ack(501, 600, 1));
        assert_eq!(reno.window(), 3600);
        reno.on_ack(&ack(501, 600, 1799));
        assert_eq!(reno.window(), 3600, "of 5999 bytes 2400 made it grow; one is missing");
        reno.on_ack(&ack(501, 600, 1));
        assert_eq!(reno.window(), 4800);
    }

    #[test]
    fn persistent_congestion_starts_over_slowly() {
        let mut reno = NewReno::new(MTU);
        reno.on_congestion(&loss(10, 100, true));
        assert_eq!((reno.window(), reno.ssthresh()), (2400, 6000));
        assert!(reno.in_slow_start());
        sends(&mut reno, 2400);
        reno.on_ack(&ack(90, 150, 1200));
        assert_eq!(reno.window(), 3600);
    }

    #[test]
    fn the_initial_window_follows_the_mtu() {
        let mut reno = NewReno::new(1200);
        reno.on_mtu(1452);
        assert_eq!(reno.window(), 14_520);
        reno.on_congestion(&loss(1, 2, true));
        reno.on_mtu(9000);
        assert_eq!(reno.window(), 18_000);
    }

    proptest! {
        /// Whatever happens, in whatever order: the window stays within its bounds and grows only by what was acknowledged, to twice
        /// the largest flight at most.
        #[test]
        fn bounded(steps in proptest::collection::vec((0u8..5, 0u64..1000, 0u64..100_000), 1..200)) {
            let mut reno = NewReno::new(MTU);
            let mut now = 0;
            for (kind, step, bytes) in steps {
                now += step;
                let before = reno.window;
                match kind {
                    0 | 1 => {
                        reno.on_ack(&ack(now.saturating_sub(100), now, bytes));
                        prop_assert!(reno.window >= before && reno.window <= before + bytes.max(1200));
                        let limit = reno.peak.slow_start_limit().max(reno.peak.0 + 2 * 1200);
                        prop_assert!(reno.window <= before.max(limit));
                    }
                    2 => sends(&mut reno, bytes),
                    _ => {
                        reno.on_congestion(&loss(now.saturating_sub(100), now, kind == 4));
                        prop_assert!(reno.window <= before);
                    }
                }
                prop_assert!(reno.window() >= 2400);
            }
        }
    }
}
