//! The round-trip time estimate of one path (RFC 9002 §5).
//!
//! Owns: the latest, minimum and smoothed RTT and its variation. Invariant: `min` never exceeds `latest` once there is a sample.
//! No timers, but the durations that the loss timer is made of.

use crate::congestion::RttSample;
use crate::time::{Duration, Instant};

/// RFC 9002 §6.1.2: the RECOMMENDED timer granularity.
pub const GRANULARITY: Duration = Duration::from_millis(1);

/// RFC 9002 §6.2.2: "the initial RTT SHOULD be set to 333 milliseconds".
pub const INITIAL_RTT: Duration = Duration::from_millis(333);

/// The RTT estimate of one path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rtt {
    latest: Duration,
    min: Duration,
    smoothed: Duration,
    var: Duration,
    first_sample: Option<Instant>,
    /// What follows from the above, kept because it is asked for with every packet but changes with acknowledgements only.
    pto_base: Duration,
    loss_delay: Duration,
}

impl Default for Rtt {
    fn default() -> Self {
        Self::new(INITIAL_RTT)
    }
}

impl Rtt {
    /// No sample yet: `smoothed_rtt = kInitialRtt`, `rttvar = kInitialRtt / 2` (RFC 9002 §5.3).
    pub fn new(initial: Duration) -> Self {
        let zero = Duration::ZERO;
        Self {
            latest: zero,
            min: zero,
            smoothed: initial,
            var: initial / 2,
            first_sample: None,
            pto_base: zero,
            loss_delay: zero,
        }
        .derived()
    }

    /// Takes a sample: `latest` is the time from sending the largest newly acknowledged packet to its ACK, `ack_delay` what the peer
    /// says that it held the ACK back.
    pub fn update(
        &mut self,
        now: Instant,
        latest: Duration,
        ack_delay: Duration,
        max_ack_delay: Duration,
        handshake_confirmed: bool,
    ) {
        self.latest = latest;
        if self.first_sample.is_none() {
            // §5.3: the first sample replaces the initial values; no delay is subtracted from it.
            *self = Self { min: latest, first_sample: Some(now), ..Self::new(latest) };
            self.latest = latest;
            *self = self.derived();
            return;
        }
        // §5.2: "min_rtt MUST be set to the lesser of min_rtt and latest_rtt on all other samples"; the delay does not count there.
        self.min = self.min.min(latest);
        // §5.3: "MUST use the lesser of the acknowledgment delay and the peer's max_ack_delay after the handshake is confirmed".
        let ack_delay = if handshake_confirmed { ack_delay.min(max_ack_delay) } else { ack_delay };
        // §5.3: "MUST NOT subtract the acknowledgment delay from the RTT sample if the resulting value is smaller than the min_rtt".
        let adjusted =
            latest.checked_sub(ack_delay).filter(|adjusted| *adjusted >= self.min).unwrap_or(latest);
        self.var = self.var * 3 / 4 + self.smoothed.abs_diff(adjusted) / 4;
        self.smoothed = self.smoothed * 7 / 8 + adjusted / 8;
        *self = self.derived();
    }

    /// An answer came after this time, of which no acknowledgement tells. Until there is a sample that is a better guess than a longer one.
    pub fn assume(&mut self, answered: Duration) {
        let answered = answered.max(GRANULARITY);
        if self.first_sample.is_none() && answered < self.smoothed {
            *self = Self::new(answered);
        }
    }

    /// With the values that follow from the samples.
    fn derived(self) -> Self {
        Self {
            // RFC 9002 §6.2.1.
            pto_base: self.smoothed + (self.var * 4).max(GRANULARITY),
            // RFC 9002 §6.1.2: kTimeThreshold is 9/8.
            loss_delay: (self.latest.max(self.smoothed) * 9 / 8).max(GRANULARITY),
            ..self
        }
    }

    /// §5.2: "SHOULD set the `min_rtt` to the newest RTT sample after persistent congestion is established".
    pub fn on_persistent_congestion(&mut self) {
        if self.first_sample.is_some() {
            self.min = self.latest;
        }
    }

    /// The latest sample; zero before the first.
    pub fn latest(&self) -> Duration {
        self.latest
    }

    /// The smallest sample; zero before the first.
    pub fn min(&self) -> Duration {
        self.min
    }

    /// The smoothed RTT.
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The smoothed RTT, if there was a sample.
    pub fn measured(&self) -> Option<Duration> {
        self.first_sample.map(|_| self.smoothed)
    }

    /// The mean variation of the samples.
    pub fn var(&self) -> Duration {
        self.var
    }

    /// When the first sample was taken.
    pub fn first_sample(&self) -> Option<Instant> {
        self.first_sample
    }

    /// What congestion controllers are told.
    pub fn sample(&self) -> RttSample {
        RttSample { latest: self.latest, min: self.min, smoothed: self.smoothed }
    }

    /// The probe timeout without the peer's delay and without backoff (§6.2.1).
    pub fn pto_base(&self) -> Duration {
        self.pto_base
    }

    /// How long after it was sent a packet is lost if a later one was acknowledged (§6.1.2): kTimeThreshold is 9/8.
    pub fn loss_delay(&self) -> Duration {
        self.loss_delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_first_pto_is_a_second() {
        // RFC 9002 §6.2.2: "This results in handshakes starting with a PTO of 1 second".
        assert_eq!(Rtt::default().pto_base(), MS * 999);
    }

    #[test]
    fn samples_are_smoothed() {
        let mut rtt = Rtt::default();
        rtt.update(Instant::from_millis(1), MS * 100, MS * 50, MS * 25, true);
        assert_eq!((rtt.min(), rtt.smoothed(), rtt.var()), (MS * 100, MS * 100, MS * 50));
        // Delay 60 is limited to 25: adjusted 115; var = 3/4·50 + 1/4·15; smoothed = 7/8·100 + 1/8·115.
        rtt.update(Instant::from_millis(2), MS * 140, MS * 60, MS * 25, true);
        assert_eq!(rtt.var(), Duration::from_micros(41_250));
        assert_eq!(rtt.smoothed(), Duration::from_micros(101_875));
        assert_eq!((rtt.min(), rtt.latest()), (MS * 100, MS * 140));
        assert_eq!(rtt.loss_delay(), Duration::from_micros(157_500));
        assert_eq!(rtt.first_sample(), Some(Instant::from_millis(1)));
    }

    #[test]
    fn a_guess_only_improves_and_yields_to_samples() {
        let mut rtt = Rtt::new(MS * 100);
        rtt.assume(MS * 200);
        assert_eq!(rtt, Rtt::new(MS * 100));
        rtt.assume(MS * 40);
        assert_eq!(rtt, Rtt::new(MS * 40));
        assert_eq!(rtt.first_sample(), None);
        rtt.update(Instant::EPOCH, MS * 60, Duration::ZERO, MS * 25, false);
        rtt.assume(MS);
        assert_eq!((rtt.min(), rtt.smoothed(), rtt.var()), (MS * 60, MS * 60, MS * 30));
        rtt = Rtt::default();
        rtt.assume(Duration::ZERO);
        assert_eq!(rtt.smoothed(), GRANULARITY);
    }

    #[test]
    fn an_implausible_delay_is_ignored() {
        let mut rtt = Rtt::default();
        rtt.update(Instant::EPOCH, MS * 100, Duration::ZERO, MS * 25, true);
        rtt.update(Instant::EPOCH, MS * 110, MS * 20, MS * 25, true);
        assert_eq!(rtt.smoothed(), Duration::from_micros(101_250));
    }

    #[test]
    fn the_peers_maximum_counts_only_once_confirmed() {
        let mut rtt = Rtt::default();
        rtt.update(Instant::EPOCH, MS * 100, Duration::ZERO, MS * 25, false);
        rtt.update(Instant::EPOCH, MS * 180, MS * 80, MS * 25, false);
        assert_eq!(rtt.smoothed(), MS * 100);
    }

    #[test]
    fn persistent_congestion_refreshes_the_minimum() {
        let mut rtt = Rtt::default();
        rtt.update(Instant::EPOCH, MS, Duration::ZERO, MS * 25, true);
        rtt.update(Instant::EPOCH, MS * 9, Duration::ZERO, MS * 25, true);
        rtt.on_persistent_congestion();
        assert_eq!(rtt.min(), MS * 9);
        assert!(Rtt::new(Duration::ZERO).pto_base() >= GRANULARITY);
    }
}
