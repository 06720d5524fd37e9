//! CUBIC, RFC 9438, on top of the recovery period and the limits of RFC 9002 §7.
//!
//! Owns the window, the shape of the current cubic curve (the *epoch*: one stage of congestion avoidance) and what is needed to
//! undo the last reduction. The first slow start is HyStart++ (§4.10), a recovery period goes by PRR (§4.6). All windows are in bytes, as
//! §4.1 allows; where a formula counts segments, the MTU is factored in.
//!
//! Invariants: time in which the window was not used up is not part of an epoch (§4.2); an undone reduction leaves no trace (§4.9.2);
//! CE marks are never undone, since a mark cannot be late.

use super::hystart::HyStart;
use super::prr::Prr;
use super::tolerance::Tolerance;
use super::{
    AckSample, CongestionEvent, Controller, DeliveryMark, FlightPeak, RecoveryPeriod, initial_window,
    minimum_window,
};
use crate::time::{Duration, Instant};

pub(super) const NAME: &str = "cubic";
pub(super) const TOLERANT_NAME: &str = "cubic-tolerant";

/// The constant C of §4.1: segments per second cubed.
const C: f64 = 0.4;
/// The decrease factor of §4.6.
const BETA: f64 = 0.7;
/// The increase factor that makes the Reno-friendly region as fast as Reno (§4.3).
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// CUBIC with the state of one path.
#[derive(Clone, Debug)]
pub struct Cubic {
    mtu: u16,
    curve: Curve,
    /// Since when the window has not been used up, if it is not.
    idle_since: Option<Instant>,
    last_ack: Instant,
    undo: Option<Curve>,
    hystart: HyStart,
    /// The recovery period under way.
    prr: Option<Prr>,
    peak: FlightPeak,
    /// Boxed, as most connections have none.
    tolerance: Option<Box<Tolerance>>,
}

/// What §4.9.2 saves and restores: the window and its curve.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// In a recovery period, what the window will be at its end.
    window: f64,
    ssthresh: f64,
    /// The window before the last reduction.
    prior: f64,
    /// The window at which the curve is flat; zero as long as it is not known.
    w_max: f64,
    epoch: Option<Epoch>,
    recovery: RecoveryPeriod,
}

/// A stage of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    /// When it began, moved on by all time that does not count.
    start: Instant,
    /// Seconds until the window is at `w_max` again.
    k: f64,
    /// What Reno's window would be now (§4.3).
    w_est: f64,
}

impl Cubic {
    /// The initial state on a path with datagrams of `mtu` bytes.
    pub fn new(mtu: u16) -> Self {
        Self {
            mtu,
            curve: Curve {
                window: initial_window(mtu) as f64,
                ssthresh: f64::INFINITY,
                prior: 0.0,
                w_max: 0.0,
                epoch: None,
                recovery: RecoveryPeriod::default(),
            },
            idle_since: None,
            last_ack: Instant::EPOCH,
            undo: None,
            hystart: HyStart::new(),
            prr: None,
            peak: FlightPeak::new(mtu),
            tolerance: None,
        }
    }

    /// The same, but a loss that nothing else speaks for is not taken for congestion; see [`Algorithm::CubicTolerant`](super::Algorithm).
    pub fn tolerant(mtu: u16) -> Self {
        Self { tolerance: Some(Box::new(Tolerance::new(mtu))), ..Self::new(mtu) }
    }

    /// The recovery period under way is over, if there is one.
    fn end_recovery(&mut self) {
        if self.prr.take().is_some()
            && self.tolerance.as_mut().is_some_and(|tolerance| tolerance.excuses())
            && let Some(undo) = self.undo.take()
        {
            // What else turns out to be lost of that flight has been answered.
            self.curve = Curve { recovery: self.curve.recovery, ..undo };
        }
    }

    fn grow(&mut self, sample: &AckSample) {
        if self.in_slow_start() {
            self.slow_start(sample);
        } else if self.peak.filled(self.curve.window as u64, self.mtu) {
            self.avoid_congestion(sample);
        } else if self.curve.epoch.is_some() {
            self.idle_since.get_or_insert(sample.now);
        }
    }

    fn slow_start(&mut self, sample: &AckSample) {
        let curve = &mut self.curve;
        let step = self.hystart.on_ack(sample, curve.ssthresh == f64::INFINITY);
        let limit = (self.peak.slow_start_limit() as f64).max(curve.window);
        curve.window = (curve.window + step.growth as f64).min(limit);
        if step.ends {
            // RFC 9438 §4.10: "In this special case, CUBIC sets cwnd_prior = cwnd and switches to congestion avoidance."
            (curve.ssthresh, curve.prior) = (curve.window, curve.window);
        }
    }

    /// The window is used again, or about to be reduced: the time in which it was not does not count.
    fn resume(&mut self, now: Instant) {
        if let (Some(since), Some(epoch)) = (self.idle_since.take(), &mut self.curve.epoch) {
            // §4.2: "The elapsed time t … MUST NOT include periods during which cwnd has not been updated due to
            // application-limited behavior".
            epoch.start += now.saturating_duration_since(since.max(epoch.start));
        }
    }

    /// Congestion avoidance, §4.2 to §4.5.
    fn avoid_congestion(&mut self, sample: &AckSample) {
        self.resume(sample.now);
        let segment = f64::from(self.mtu);
        let curve = &mut self.curve;
        // An ACK frame never stands for more than a window of growth, even if it acknowledges more bytes than that.
        let acked = (sample.bytes as f64).min(curve.window);
        let mut epoch = curve.epoch.unwrap_or_else(|| curve.begin_epoch(sample.now, segment));
        // §4.3: "Once W_est has grown to reach the cwnd at the time of most recently setting ssthresh … the sender SHOULD set
        // alpha to 1".
        let alpha = if epoch.w_est >= curve.prior { 1.0 } else { ALPHA };
        epoch.w_est += alpha * segment * acked / curve.window;
        curve.epoch = Some(epoch);

        let elapsed = sample.now.saturating_duration_since(epoch.start);
        if curve.at(&epoch, elapsed, segment) < epoch.w_est {
            curve.window = curve.window.max(epoch.w_est);
        } else {
            let target = curve
                .at(&epoch, elapsed.saturating_add(sample.rtt.smoothed), segment)
                .clamp(curve.window, 1.5 * curve.window);
            curve.window += (target - curve.window) * acked / curve.window;
        }
    }
}

impl Curve {
    /// The first acknowledgement in congestion avoidance begins an epoch (§4.2).
    fn begin_epoch(&mut self, now: Instant, segment: f64) -> Epoch {
        // §4.8 and §4.10: after a timeout, or if slow start ended without a loss, K is 0 and W_max the current window.
        self.w_max = self.w_max.max(self.window);
        let k = ((self.w_max - self.window) / segment / C).cbrt();
        Epoch { start: now, k, w_est: self.window }
    }

    /// `W_cubic(t)` of §4.2, in bytes.
    fn at(&self, epoch: &Epoch, elapsed: Duration, segment: f64) -> f64 {
        C * (elapsed.as_secs_f64() - epoch.k).powi(3) * segment + self.w_max
    }

    /// The reduction of §4.6, with fast convergence (§4.7).
    fn reduce(&mut self, now: Instant, minimum: f64) {
        self.recovery.since = Some(now);
        self.w_max =
            if self.window < self.w_max { self.window * f64::midpoint(1.0, BETA) } else { self.window };
        self.prior = self.window;
        // §4.6 allows the window in place of the flight size, since the window does not grow while it is not used.
        self.window = (self.window * BETA).max(minimum);
        self.ssthresh = self.window;
        self.epoch = None;
    }
}

impl Controller for Cubic {
    fn on_sent(&mut self, _now: Instant, bytes: u64, in_flight: u64, _drained: bool) -> DeliveryMark {
        self.peak.on_sent(in_flight);
        if let Some(prr) = &mut self.prr {
            prr.on_sent(bytes);
        }
        // Nothing was in flight: the time since the last acknowledgement was idle, though no acknowledgement said so.
        if in_flight <= bytes && self.curve.epoch.is_some() {
            self.idle_since.get_or_insert(self.last_ack);
        }
        DeliveryMark::default()
    }

    fn on_ack(&mut self, sample: &AckSample) {
        self.last_ack = sample.now;
        // RFC 9002 §7.3.2: in a recovery period the window does not grow.
        let recovering = self.curve.recovery.covers(sample.sent);
        if let Some(tolerance) = &mut self.tolerance {
            tolerance.on_ack(sample, recovering, self.curve.window as u64, self.mtu);
        }
        if recovering {
            if let Some(prr) = &mut self.prr {
                prr.on_ack(sample);
            }
            return;
        }
        // "A recovery period ends and the sender enters congestion avoidance when a packet sent during the recovery period is acknowledged."
        self.end_recovery();
        self.grow(sample);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        let minimum = minimum_window(self.mtu) as f64;
        if !self.curve.recovery.covers(event.sent) {
            self.end_recovery();
            self.resume(event.now);
            self.undo = Some(self.curve);
            self.curve.reduce(event.now, minimum);
            self.prr = Some(Prr::new(event, self.curve.window as u64, self.mtu));
            self.peak.on_reduction();
            if let Some(tolerance) = &mut self.tolerance {
                tolerance.begin(event);
            }
        } else if let Some(prr) = &mut self.prr {
            prr.on_loss(event);
            if let Some(tolerance) = &mut self.tolerance {
                tolerance.on_loss(event);
            }
        }
        if event.ecn {
            self.undo = None;
        }
        if event.persistent {
            // RFC 9002 §7.6.2: "the sender's congestion window MUST be reduced to the minimum congestion window". The stage after
            // the slow start that follows has K = 0 (RFC 9438 §4.8), which forgetting W_max brings about.
            self.curve.window = minimum;
            self.curve.w_max = 0.0;
            self.curve.epoch = None;
            self.curve.recovery.since = None;
            self.prr = None;
            self.peak.on_reduction();
        }
    }

    /// §4.9.2: everything is as it was before the reduction, unless the window has outgrown that already.
    fn on_spurious_congestion(&mut self) {
        if let Some(undo) = self.undo.take()
            && self.curve.window < self.curve.prior
        {
            self.curve = undo;
            self.prr = None;
        }
    }

    fn window(&self) -> u64 {
        self.prr.map_or(self.curve.window as u64, |prr| prr.window().max(minimum_window(self.mtu)))
    }

    fn in_slow_start(&self) -> bool {
        self.curve.window < self.curve.ssthresh
    }

    fn ssthresh(&self) -> u64 {
        // Infinity saturates to `u64::MAX`.
        self.curve.ssthresh as u64
    }

    fn on_mtu(&mut self, mtu: u16) {
        // RFC 9002 §7.2: "If the maximum datagram size changes during the connection, the initial congestion window SHOULD be
        // recalculated with the new size."
        if self.window() == initial_window(self.mtu) && self.curve.ssthresh == f64::INFINITY {
            self.curve.window = initial_window(mtu) as f64;
        }
        self.mtu = mtu;
        self.curve.window = self.curve.window.max(minimum_window(mtu) as f64);
    }

    fn name(&self) -> &'static str {
        if self.tolerance.is_some() { TOLERANT_NAME } else { NAME }
    }

    fn fresh(&mut self, mtu: u16) -> Box<dyn Controller> {
        Box::new(if self.tolerance.is_some() { Self::tolerant(mtu) } else { Self::new(mtu) })
    }
}

#[cfg(test)]
mod tests;
