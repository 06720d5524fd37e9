//! Time as an argument.
//!
//! Nothing in this crate reads a clock: every entry point takes an [`Instant`], and the caller decides what it means. An adapter
//! maps its monotonic clock to nanoseconds since it started; a simulator counts virtual nanoseconds. The wall clock, needed for
//! the expiry of tokens and tickets only, is an [`UnixTime`] given once with the epoch of the instants.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
pub use std::time::Duration;

/// A point in time: nanoseconds since an epoch of the caller's choice, the same for all calls into one endpoint.
///
/// There is no `now()`. Arithmetic saturates at both ends of the range (584 years), so no input can overflow it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const EPOCH: Self = Self(0);
    /// The last instant that can be expressed; stands for "never".
    pub const MAX: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The instant `micros` microseconds after the epoch, saturating.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// The instant `millis` milliseconds after the epoch, saturating.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero if `earlier` is later than `self`.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A `Duration` in whole nanoseconds, saturating at `u64::MAX`.
fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(u64::from(duration.subsec_nanos()))
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(nanos(rhs)))
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, rhs: Duration) {
        *self = *self + rhs;
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(rhs)))
    }
}

impl Sub for Instant {
    type Output = Duration;
    fn sub(self, rhs: Self) -> Duration {
        self.saturating_duration_since(rhs)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}s", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

/// Wall-clock time: seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct UnixTime {
    secs: u64,
    micros: u32,
}

impl UnixTime {
    /// The time `secs` seconds after 1970-01-01T00:00:00Z.
    pub const fn from_secs(secs: u64) -> Self {
        Self { secs, micros: 0 }
    }

    /// The time `micros` microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: u64) -> Self {
        Self { secs: micros / 1_000_000, micros: (micros % 1_000_000) as u32 }
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub const fn as_secs(self) -> u64 {
        self.secs
    }

    /// Microseconds since 1970-01-01T00:00:00Z, saturating.
    pub const fn as_micros(self) -> u64 {
        self.secs.saturating_mul(1_000_000).saturating_add(self.micros as u64)
    }

    /// Time passed since `earlier`; zero if `earlier` is later than `self`.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.as_micros().saturating_sub(earlier.as_micros()))
    }

    /// The wall-clock time at `now`, if `self` was the wall-clock time at [`Instant::EPOCH`].
    pub const fn at(self, now: Instant) -> Self {
        let micros = self.micros as u64 + now.0 / 1_000;
        Self { secs: self.secs.saturating_add(micros / 1_000_000), micros: (micros % 1_000_000) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Instant::MAX + Duration::from_secs(1), Instant::MAX);
        assert_eq!(Instant::EPOCH - Duration::from_secs(1), Instant::EPOCH);
        assert_eq!(Instant::from_millis(1) - Instant::from_millis(3), Duration::ZERO);
        assert_eq!(Instant::from_millis(3) - Instant::from_millis(1), Duration::from_millis(2));
        assert_eq!(Instant::EPOCH + Duration::MAX, Instant::MAX);
    }

    #[test]
    fn wall_clock_follows_the_epoch() {
        let at = UnixTime::from_secs(10).at(Instant::from_millis(2_500));
        assert_eq!((at.as_secs(), at.as_micros()), (12, 12_500_000));
        assert_eq!(at.at(Instant::from_millis(1_500)), UnixTime::from_secs(14));
        assert_eq!(UnixTime::from_micros(12_500_000), at);
        assert_eq!(at.saturating_duration_since(UnixTime::from_secs(12)), Duration::from_millis(500));
        assert_eq!(UnixTime::from_secs(12).saturating_duration_since(at), Duration::ZERO);
        assert_eq!(UnixTime::from_secs(u64::MAX).at(Instant::MAX).as_secs(), u64::MAX);
    }
}
