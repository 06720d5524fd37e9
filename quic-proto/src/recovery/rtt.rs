//! (minimal copy for the path module; the full estimator replaces it)
use crate::time::Duration;

/// The round-trip time of a path.
#[derive(Clone, Copy, Debug)]
pub struct Rtt {
    smoothed: Duration,
    var: Duration,
}

impl Rtt {
    /// Before the first sample.
    pub fn new(initial: Duration) -> Self {
        Self { smoothed: initial, var: initial / 2 }
    }

    /// The smoothed estimate.
    pub fn smoothed(&self) -> Duration {
        self.smoothed
    }

    /// The probe timeout without the peer's acknowledgement delay.
    pub fn pto_base(&self) -> Duration {
        self.smoothed + (4 * self.var).max(Duration::from_millis(1))
    }
}
