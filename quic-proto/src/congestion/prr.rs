//! Proportional Rate Reduction (RFC 9937): how the window goes down in a recovery period.
//!
//! A window that is cut at once stops the sender until the flight has drained to it, and then lets it burst. Here the window follows the
//! flight: for what is delivered, a proportion is sent, so that by the end of the period the flight is what the reduction asked for. RFC
//! 9002 §7.3.2 permits it ("Implementations MAY reduce the congestion window immediately upon entering a recovery period or use other
//! mechanisms, such as Proportional Rate Reduction"), and so does RFC 9438 §4.6.
//!
//! Invariant: over the period, what is sent is at most `target / flight` of what is delivered as long as the flight is above the target,
//! and below it never more than what is delivered and a datagram for each acknowledgement. No timers.

use super::{AckSample, CongestionEvent};

/// A recovery period under way. Names in quotes are those of RFC 9937 §6.
#[derive(Clone, Copy, Debug)]
pub(super) struct Prr {
    /// What was in flight when the period began ("`RecoverFS`").
    flight: u64,
    /// Where the window has to be at its end ("ssthresh").
    target: u64,
    mtu: u64,
    /// Bytes delivered since ("`prr_delivered`").
    delivered: u64,
    /// Bytes sent since ("`prr_out`").
    out: u64,
    window: u64,
    /// The latest finding of losses came with the acknowledgement that is being processed.
    lossy: bool,
}

impl Prr {
    /// The period begins with `event`, and the window is to be `target`.
    pub(super) fn new(event: &CongestionEvent, target: u64, mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        // "Force a fast retransmit upon entering recovery"; RFC 9002 §7.3.2 allows it a single packet as well.
        let window = event.in_flight + mtu;
        Self { flight: event.prior_in_flight.max(1), target, mtu, delivered: 0, out: 0, window, lossy: true }
    }

    /// The congestion window of the moment.
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    pub(super) fn on_sent(&mut self, bytes: u64) {
        self.out += bytes;
    }

    /// More of the flight turned out to be lost: what may be sent stays as it was.
    pub(super) fn on_loss(&mut self, event: &CongestionEvent) {
        let allowed = self.window.saturating_sub(event.in_flight + event.lost_bytes);
        self.window = event.in_flight + allowed;
        self.lossy = true;
    }

    /// An acknowledgement of packets sent before the period began.
    pub(super) fn on_ack(&mut self, sample: &AckSample) {
        self.delivered += sample.bytes;
        let safe = !std::mem::take(&mut self.lossy);
        let mut allowed = if sample.in_flight > self.target {
            let share = u128::from(self.delivered) * u128::from(self.target);
            let due = share.div_ceil(u128::from(self.flight));
            u64::try_from(due).unwrap_or(u64::MAX).saturating_sub(self.out)
        } else {
            // The conservative reduction bound, and the slow start one while nothing more is lost ("SafeACK").
            let conserved = self.delivered.saturating_sub(self.out).max(sample.bytes);
            (conserved + if safe { self.mtu } else { 0 }).min(self.target - sample.in_flight)
        };
        if self.out == 0 {
            // Less than a datagram cannot be sent.
            allowed = allowed.max(self.mtu);
        }
        self.window = sample.in_flight + allowed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::{DeliveryMark, RttSample};
    use crate::time::Instant;

    const MTU: u16 = 1000;

    /// A flow with `flight` packets of 1000 bytes in flight of which the first is lost, found out by the next three's acknowledgements.
    struct Flow {
        prr: Prr,
        in_flight: u64,
    }

    impl Flow {
        fn loses_one(flight: u64, target: u64) -> Self {
            let in_flight = (flight - 2) * 1000;
            let event = CongestionEvent { prior_in_flight: flight * 1000, ..event(in_flight, 1000) };
            let mut flow = Self { prr: Prr::new(&event, target * 1000, MTU), in_flight: in_flight + 1000 };
            flow.ack();
            flow
        }

        fn ack(&mut self) {
            self.in_flight -= 1000;
            self.prr.on_ack(&AckSample {
                now: Instant::EPOCH,
                bytes: 1000,
                sent: Instant::EPOCH,
                in_flight: self.in_flight,
                mark: DeliveryMark::default(),
                drained: false,
                rtt: RttSample::default(),
            });
        }

        /// Sends all that may be sent; returns how many packets.
        fn send(&mut self) -> u64 {
            let mut packets = 0;
            while self.in_flight + 1000 <= self.prr.window() {
                self.in_flight += 1000;
                self.prr.on_sent(1000);
                packets += 1;
            }
            packets
        }
    }

    fn event(in_flight: u64, lost_bytes: u64) -> CongestionEvent {
        CongestionEvent {
            now: Instant::EPOCH,
            sent: Instant::EPOCH,
            lost_bytes,
            persistent: false,
            ecn: false,
            in_flight,
            prior_in_flight: in_flight + lost_bytes,
        }
    }

    #[test]
    fn the_lost_packet_is_sent_again_at_once() {
        assert_eq!(Flow::loses_one(100, 70).send(), 1);
        // Without an acknowledgement as well: a timer found the loss.
        assert_eq!(Prr::new(&event(99_000, 1000), 70_000, MTU).window(), 100_000);
    }

    /// RFC 9937 §5: the window is spread over the round trip, seven packets for ten that are delivered, and at the end it is there.
    #[test]
    fn what_is_sent_is_in_proportion_to_what_is_delivered() {
        let mut flow = Flow::loses_one(100, 70);
        let (mut sent, mut longest_silence, mut silence) = (flow.send(), 0, 0);
        for acks in 1..97u64 {
            flow.ack();
            let packets = flow.send();
            silence = if packets == 0 { silence + 1 } else { 0 };
            longest_silence = longest_silence.max(silence);
            sent += packets;
            assert!(sent <= 1 + (acks + 1) * 7 / 10 + 1, "{sent} for {acks}");
        }
        assert!(longest_silence <= 2, "{longest_silence}");
        assert_eq!(flow.in_flight, 70_000);
    }

    /// Many losses at once take the flight below the target: it grows back by what is delivered, and a packet for each acknowledgement.
    #[test]
    fn heavy_loss_is_made_up_for_as_in_slow_start() {
        let mut prr = Prr::new(&event(20_000, 80_000), 70_000, MTU);
        let sample = |in_flight| AckSample {
            now: Instant::EPOCH,
            bytes: 1000,
            sent: Instant::EPOCH,
            in_flight,
            mark: DeliveryMark::default(),
            drained: false,
            rtt: RttSample::default(),
        };
        prr.on_ack(&sample(19_000));
        assert_eq!(prr.window(), 20_000, "further loss was indicated: conservation only");
        prr.on_sent(1000);
        prr.on_ack(&sample(19_000));
        assert_eq!(prr.window(), 21_000);
    }

    #[test]
    fn the_window_never_passes_the_target_from_below() {
        let mut flow = Flow::loses_one(100, 70);
        flow.in_flight = 69_500;
        flow.ack();
        assert!(flow.prr.window() <= 70_000);
    }

    #[test]
    fn more_losses_do_not_allow_more() {
        let mut prr = Prr::new(&event(90_000, 10_000), 70_000, MTU);
        assert_eq!(prr.window(), 91_000);
        prr.on_loss(&event(85_000, 5_000));
        assert_eq!(prr.window(), 86_000);
        prr.on_loss(&event(0, 85_000));
        assert_eq!(prr.window(), 1_000);
    }
}
