//! Delivery rate samples (draft-ietf-ccwg-bbr, "Delivery Rate Samples"): how fast the path delivered the flight that a packet was part of.
//!
//! Owns: the counts of what was delivered and lost on a path, and whether the application is the limit. With each packet that is sent a
//! [`DeliveryMark`] of them is remembered; when the packet is acknowledged, the difference is a sample. It is the rate at which data was
//! acknowledged or at which it was sent, whichever is lower, so that acknowledgements that come in a lump do not exaggerate.
//!
//! Invariant: a sample never claims more than was delivered since its packet was sent. No timers.
//!
//! Flow control counts as a limit of the application here, unlike in the draft: a peer that opens its window late tells nothing of the path.

use super::AckSample;
use crate::time::{Duration, Instant};

/// The draft's per-packet state, 24 bytes: counts modulo 2^32, of which only differences within a flight matter, and times as distances
/// from when the packet was sent. Nothing but a place to keep it for controllers that do not care for delivery rates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeliveryMark {
    /// P.delivered.
    delivered: u32,
    /// P.lost.
    lost: u32,
    /// `P.tx_in_flight`, the packet included; saturates.
    in_flight: u32,
    /// How long before the packet was sent `P.delivered_time` was.
    since_delivery: Ticks,
    /// How long before the packet was sent `P.first_send_time` was: the draft's `send_elapsed`.
    since_first_send: Ticks,
    /// `P.is_app_limited`.
    app_limited: bool,
}

/// Time in units of 16 ns: fine enough for any rate, and more than a minute fits. Saturates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Ticks(u32);

impl Ticks {
    fn between(earlier: Instant, later: Instant) -> Self {
        let nanos = later.as_nanos().saturating_sub(earlier.as_nanos());
        Self(u32::try_from(nanos >> 4).unwrap_or(u32::MAX))
    }

    fn duration(self) -> Duration {
        Duration::from_nanos(u64::from(self.0) << 4)
    }
}

impl DeliveryMark {
    /// C.inflight when the packet was sent, the packet included.
    pub(super) fn in_flight(self) -> u64 {
        u64::from(self.in_flight)
    }

    /// Whether the application was the limit when the packet was sent.
    pub(super) fn app_limited(self) -> bool {
        self.app_limited
    }
}

/// The draft's RS: what an acknowledgement tells of the path.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct RateSample {
    /// `RS.delivery_rate`, in bytes per second; zero if it is not reliable.
    pub(super) rate: f64,
    /// RS.delivered: bytes delivered since the packet was sent.
    pub(super) delivered: u64,
    /// `RS.prior_delivered`: what had been delivered when the packet was sent.
    pub(super) prior_delivered: u64,
    /// `RS.is_app_limited`.
    pub(super) app_limited: bool,
    /// `RS.tx_in_flight`.
    pub(super) in_flight: u64,
    /// RS.lost: bytes that were declared lost since the packet was sent.
    pub(super) lost: u64,
    /// `RS.newly_acked`.
    pub(super) newly_acked: u64,
    /// RS.rtt.
    pub(super) rtt: Duration,
}

/// The draft's per-connection state C, for one path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DeliveryRate {
    delivered: u64,
    delivered_time: Instant,
    first_send_time: Instant,
    lost: u64,
    /// What must be delivered until the gap that the application left is out of the pipe.
    app_limited: Option<u64>,
}

impl DeliveryRate {
    /// C.delivered.
    pub(super) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// C.lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// Whether the application is the limit.
    pub(super) fn is_app_limited(&self) -> bool {
        self.app_limited.is_some()
    }

    /// `MarkConnectionAppLimited()`.
    pub(super) fn mark_app_limited(&mut self, in_flight: u64) {
        self.app_limited = Some(self.delivered + in_flight);
    }

    /// `OnPacketSent()`: `in_flight` includes the packet.
    pub(super) fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64) -> DeliveryMark {
        if in_flight <= bytes {
            (self.first_send_time, self.delivered_time) = (now, now);
        }
        DeliveryMark {
            delivered: self.delivered as u32,
            lost: self.lost as u32,
            in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            since_delivery: Ticks::between(self.delivered_time, now),
            since_first_send: Ticks::between(self.first_send_time, now),
            app_limited: self.app_limited.is_some(),
        }
    }

    /// A packet was declared lost. Returns RS.lost as of that packet: what was lost since it was sent, itself included.
    pub(super) fn on_lost(&mut self, bytes: u64, mark: DeliveryMark) -> u64 {
        self.lost += bytes;
        self.lost_since(mark)
    }

    /// C.lost - P.lost.
    pub(super) fn lost_since(&self, mark: DeliveryMark) -> u64 {
        u64::from((self.lost as u32).wrapping_sub(mark.lost))
    }

    /// `UpdateRateSample()` for the newest of the packets that an ACK frame acknowledges, and `GenerateRateSample()`.
    pub(super) fn on_ack(&mut self, sample: &AckSample) -> RateSample {
        let &AckSample { now, sent, bytes, mark, .. } = sample;
        // What it was when the packet was sent: the difference to what it is now fits 32 bits.
        let before = u64::from((self.delivered as u32).wrapping_sub(mark.delivered));
        let prior_delivered = self.delivered.saturating_sub(before);
        self.delivered += bytes;
        self.delivered_time = now;
        self.first_send_time = sent;
        // "Clear app-limited field if bubble is ACKed and gone."
        if self.app_limited.is_some_and(|until| self.delivered > until) {
            self.app_limited = None;
        }
        // ack_elapsed reaches from the delivery before the packet was sent to this one.
        let rtt = now - sent;
        let ack_elapsed = rtt + mark.since_delivery.duration();
        let interval = ack_elapsed.max(mark.since_first_send.duration());
        let delivered = self.delivered - prior_delivered;
        // "Normally we expect interval >= MinRTT"; else there is "no reliable rate sample".
        let reliable = interval >= sample.rtt.min && interval > Duration::ZERO;
        RateSample {
            rate: if reliable { delivered as f64 / interval.as_secs_f64() } else { 0.0 },
            delivered,
            prior_delivered,
            app_limited: mark.app_limited,
            in_flight: mark.in_flight(),
            lost: self.lost_since(mark),
            newly_acked: bytes,
            rtt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::RttSample;

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    fn ack(delivery: &mut DeliveryRate, now: u64, sent: u64, bytes: u64, mark: DeliveryMark) -> RateSample {
        let min = Duration::from_millis(40);
        let rtt = RttSample { latest: min, min, smoothed: min };
        delivery.on_ack(&AckSample {
            now: at(now),
            bytes,
            sent: at(sent),
            in_flight: 0,
            mark,
            drained: false,
            rtt,
        })
    }

    #[test]
    fn a_steady_flow_measures_its_rate() {
        let mut delivery = DeliveryRate::default();
        // A packet of 1000 bytes each 10 ms; each comes back after 40 ms.
        let mut marks = Vec::new();
        let mut sample = RateSample::default();
        for tick in 0..20u64 {
            if let Some(first) = tick.checked_sub(4) {
                sample = ack(&mut delivery, 10 * tick, 10 * first, 1000, marks[first as usize]);
            }
            marks.push(delivery.on_sent(at(10 * tick), 1000, 1000 * (tick.min(4) + 1)));
        }
        assert!((sample.rate - 100_000.0).abs() < 1.0, "{}", sample.rate);
        assert_eq!((sample.delivered, sample.in_flight), (4000, 5000));
        assert_eq!(
            (sample.rtt, sample.prior_delivered, delivery.delivered()),
            (Duration::from_millis(40), 12_000, 16_000)
        );
    }

    /// "when the estimator notices that the `ack_rate` for a flight is faster than the send rate for the flight, it filters out the
    /// implausible `ack_rate"`: here the acknowledgements of a second come at once.
    #[test]
    fn acknowledgements_in_a_lump_do_not_exaggerate() {
        let mut delivery = DeliveryRate::default();
        let marks: Vec<_> = (0..100u64).map(|n| delivery.on_sent(at(10 * n), 1000, 1000 * (n + 1))).collect();
        let first = ack(&mut delivery, 1000, 0, 1000, marks[0]);
        assert!((first.rate - 1000.0).abs() < 1.0);
        let last = ack(&mut delivery, 1001, 990, 99_000, marks[99]);
        assert_eq!(last.delivered, 100_000);
        assert!((last.rate - 100_000.0 / 1.001).abs() < 1.0, "{}", last.rate);
    }

    #[test]
    fn an_interval_below_the_smallest_round_trip_is_not_reliable() {
        let mut delivery = DeliveryRate::default();
        let mark = delivery.on_sent(at(0), 1000, 1000);
        assert_eq!(ack(&mut delivery, 39, 0, 1000, mark).rate, 0.0);
    }

    /// "it marks all bandwidth samples for the next round trip as application-limited".
    #[test]
    fn a_gap_left_by_the_application_is_tracked_until_it_is_out_of_the_pipe() {
        let mut delivery = DeliveryRate::default();
        let first = delivery.on_sent(at(0), 1000, 1000);
        delivery.mark_app_limited(1000);
        let second = delivery.on_sent(at(20), 1000, 2000);
        assert!(!first.app_limited() && second.app_limited());
        ack(&mut delivery, 40, 0, 1000, first);
        assert!(delivery.is_app_limited(), "what was sent after the gap is still under way");
        let third = delivery.on_sent(at(40), 1000, 2000);
        assert!(ack(&mut delivery, 60, 20, 1000, second).app_limited);
        assert!(!delivery.is_app_limited() && third.app_limited());
        assert!(!delivery.on_sent(at(60), 1000, 2000).app_limited());
    }

    #[test]
    fn losses_since_a_packet_was_sent_are_counted() {
        let mut delivery = DeliveryRate { lost: u64::from(u32::MAX), ..DeliveryRate::default() };
        let first = delivery.on_sent(at(0), 1000, 1000);
        assert_eq!(delivery.on_lost(1000, first), 1000, "counts may wrap");
        let second = delivery.on_sent(at(10), 1000, 2000);
        assert_eq!(delivery.on_lost(500, second), 500);
        assert_eq!(ack(&mut delivery, 50, 0, 1000, first).lost, 1500);
    }

    #[test]
    fn counts_wrap() {
        let mut delivery = DeliveryRate { delivered: (1 << 40) - 500, ..DeliveryRate::default() };
        let mark = delivery.on_sent(at(0), 1000, 1000);
        let sample = ack(&mut delivery, 50, 0, 1000, mark);
        assert_eq!((sample.prior_delivered, sample.delivered), ((1 << 40) - 500, 1000));
    }
}
