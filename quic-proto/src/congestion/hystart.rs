//! `HyStart++` (RFC 9406): leaving the first slow start before the queue overflows.
//!
//! Owns the rounds of the first slow start and the smallest round-trip time of each. When a round's minimum is clearly above that of the
//! round before, a queue is building up: growth slows down to a quarter ("conservative slow start", CSS) for five rounds. If the
//! round-trip times fall again meanwhile, it was jitter, and slow start resumes; else slow start ends without a loss.
//!
//! Invariant: the growth per acknowledged byte is one, a quarter, or none. No timers: rounds end with acknowledgements.
//! The limit L of §4.3 is for senders that do not pace; RFC 9002 §7.3.1 has none, and this one paces.

use super::AckSample;
use crate::time::{Duration, Instant};

/// `MIN_RTT_THRESH` of §4.3.
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
/// `MAX_RTT_THRESH` of §4.3.
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
/// `MIN_RTT_DIVISOR` of §4.3.
const MIN_RTT_DIVISOR: u32 = 8;
/// `N_RTT_SAMPLE` of §4.3.
const SAMPLES: u32 = 8;
/// `CSS_GROWTH_DIVISOR` of §4.3.
const CSS_GROWTH_DIVISOR: u64 = 4;
/// `CSS_ROUNDS` of §4.3.
const CSS_ROUNDS: u32 = 5;

/// The state of the first slow start.
#[derive(Clone, Copy, Debug)]
pub(super) struct HyStart {
    /// The round ends when something sent from now on is acknowledged (`windowEnd` of §4.2, as a time).
    round: Instant,
    last_min: Option<Duration>,
    current_min: Duration,
    samples: u32,
    css: Option<Css>,
}

/// Conservative slow start.
#[derive(Clone, Copy, Debug)]
struct Css {
    /// `cssBaselineMinRtt` of §4.2.
    baseline: Duration,
    /// Rounds that are over.
    rounds: u32,
}

/// What an acknowledgement does to the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Step {
    /// The bytes that the window grows by.
    pub(super) growth: u64,
    /// Slow start is over.
    pub(super) ends: bool,
}

impl HyStart {
    pub(super) fn new() -> Self {
        Self { round: Instant::EPOCH, last_min: None, current_min: Duration::MAX, samples: 0, css: None }
    }

    /// An acknowledgement in slow start, which is the `initial` one as long as there is no threshold.
    pub(super) fn on_ack(&mut self, sample: &AckSample, initial: bool) -> Step {
        // §4.3: "An implementation SHOULD use HyStart++ only for the initial slow start".
        if initial { self.on_initial_ack(sample) } else { Step { growth: sample.bytes, ends: false } }
    }

    fn on_initial_ack(&mut self, sample: &AckSample) -> Step {
        let divisor = if self.css.is_some() { CSS_GROWTH_DIVISOR } else { 1 };
        let growth = sample.bytes / divisor;
        if sample.sent >= self.round && self.begin_round(sample.now) {
            return Step { growth, ends: true };
        }
        self.current_min = self.current_min.min(sample.now - sample.sent);
        self.samples += 1;
        if self.samples >= SAMPLES {
            self.judge();
        }
        Step { growth, ends: false }
    }

    /// Returns whether the rounds of CSS are over: "If `CSS_ROUNDS` rounds are complete, enter congestion avoidance" (§4.2).
    fn begin_round(&mut self, now: Instant) -> bool {
        if self.samples > 0 {
            self.last_min = Some(self.current_min);
        }
        (self.round, self.current_min, self.samples) = (now, Duration::MAX, 0);
        let Some(css) = &mut self.css else { return false };
        // §4.2: "If the transition into CSS happens in the middle of a round, that partial round counts towards the limit."
        css.rounds += 1;
        css.rounds >= CSS_ROUNDS
    }

    fn judge(&mut self) {
        match (self.css, self.last_min) {
            (Some(css), _) => {
                // "resume slow start including HyStart++"
                if self.current_min < css.baseline {
                    self.css = None;
                }
            }
            (None, Some(last)) => {
                let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                if self.current_min >= last + threshold {
                    self.css = Some(Css { baseline: self.current_min, rounds: 0 });
                }
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::congestion::{DeliveryMark, RttSample};

    fn sample(sent: Instant, now: Instant) -> AckSample {
        AckSample {
            now,
            bytes: 1000,
            sent,
            in_flight: 0,
            mark: DeliveryMark::default(),
            drained: false,
            rtt: RttSample::default(),
        }
    }

    /// Feeds rounds of ten acknowledgements of 1000 bytes; each has its smallest round-trip time, in milliseconds.
    struct Rounds {
        hystart: HyStart,
        now: u64,
    }

    impl Rounds {
        fn new() -> Self {
            Self { hystart: HyStart::new(), now: 1000 }
        }

        /// One round; returns the bytes that the window grew by, and whether slow start ended.
        fn round(&mut self, rtt: u64) -> (u64, bool) {
            let sent = self.now;
            self.now += rtt;
            let (mut growth, mut ends) = (0, false);
            for _ in 0..10 {
                let sample = sample(Instant::from_millis(sent), Instant::from_millis(self.now));
                let step = self.hystart.on_ack(&sample, true);
                growth += step.growth;
                ends |= step.ends;
            }
            (growth, ends)
        }
    }

    #[test]
    fn constant_delay_is_plain_slow_start() {
        let mut rounds = Rounds::new();
        for _ in 0..20 {
            assert_eq!(rounds.round(50), (10_000, false));
        }
    }

    #[test]
    fn a_rise_of_the_delay_slows_down_and_then_ends_slow_start() {
        let mut rounds = Rounds::new();
        rounds.round(40);
        rounds.round(40);
        // 40 / 8 = 5 ms are the threshold. Eight samples are needed: the first eight steps of the round grow in full.
        assert_eq!(rounds.round(45), (8 * 1000 + 2 * 250, false));
        for _ in 1..CSS_ROUNDS {
            assert_eq!(rounds.round(45), (2500, false));
        }
        let (_, ends) = rounds.round(45);
        assert!(ends, "five rounds, the partial one counted");
    }

    /// §4.3: "An implementation SHOULD use HyStart++ only for the initial slow start".
    #[test]
    fn a_later_slow_start_is_plain() {
        let mut hystart = HyStart::new();
        let mut now = Instant::from_millis(1000);
        for rtt in [40, 80, 120, 160, 200, 240, 280] {
            let sent = now;
            now += Duration::from_millis(rtt);
            for _ in 0..10 {
                assert_eq!(hystart.on_ack(&sample(sent, now), false), Step { growth: 1000, ends: false });
            }
        }
    }

    #[test]
    fn a_small_rise_is_ignored() {
        for (before, after) in [(40, 44), (10, 13), (400, 415)] {
            let mut rounds = Rounds::new();
            rounds.round(before);
            assert_eq!(rounds.round(after), (10_000, false), "{before} to {after}");
        }
        // The threshold is clamped to 4 and 16 ms.
        for (before, after) in [(10, 14), (400, 416)] {
            let mut rounds = Rounds::new();
            rounds.round(before);
            assert!(rounds.round(after).0 < 10_000, "{before} to {after}");
        }
    }

    #[test]
    fn jitter_resumes_slow_start() {
        let mut rounds = Rounds::new();
        rounds.round(40);
        rounds.round(60);
        assert_eq!(rounds.round(60), (2500, false));
        assert_eq!(rounds.round(41), (8 * 250 + 2 * 1000, false));
        assert_eq!(rounds.round(41), (10_000, false));
    }

    #[test]
    fn rounds_of_few_samples_decide_nothing() {
        let mut hystart = HyStart::new();
        for round in 0..50u64 {
            let (sent, now) =
                (Instant::from_millis(100 * round), Instant::from_millis(100 * round + 10 + round));
            for _ in 0..SAMPLES - 1 {
                assert_eq!(hystart.on_ack(&sample(sent, now), true), Step { growth: 1000, ends: false });
            }
        }
    }
}
