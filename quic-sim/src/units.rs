//! Words for quantities, so that a scenario reads like a sentence: `mbit(10)`, `ms(20)`, `percent(1)`, `kib(64)`.
//!
//! Owns [`Rate`] and [`Probability`]. Invariants: a rate is at least one bit per second; a probability is within 0 ..= 1 and never
//! NaN. No timers.

use std::fmt;
use std::time::Duration;

use quic_proto::rng::Rng;

/// `n` nanoseconds.
pub const fn ns(n: u64) -> Duration {
    Duration::from_nanos(n)
}

/// `n` microseconds.
pub const fn us(n: u64) -> Duration {
    Duration::from_micros(n)
}

/// `n` milliseconds.
pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// `n` seconds.
pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// `n` kibibytes, in bytes; saturates.
pub const fn kib(n: usize) -> usize {
    n.saturating_mul(1024)
}

/// `n` mebibytes, in bytes; saturates.
pub const fn mib(n: usize) -> usize {
    n.saturating_mul(1024 * 1024)
}

/// `n` thousand bits per second.
pub const fn kbit(n: u64) -> Rate {
    Rate::bits_per_second(n.saturating_mul(1_000))
}

/// `n` million bits per second.
pub const fn mbit(n: u64) -> Rate {
    Rate::bits_per_second(n.saturating_mul(1_000_000))
}

/// `n` thousand million bits per second.
pub const fn gbit(n: u64) -> Rate {
    Rate::bits_per_second(n.saturating_mul(1_000_000_000))
}

/// A probability of `n` per cent; takes integers and fractions: `percent(1)`, `percent(0.5)`.
pub fn percent(n: impl Into<f64>) -> Probability {
    Probability::new(n.into() / 100.0)
}

/// How fast a link puts bytes on the wire. Bytes are those of UDP payloads; no header is added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u64);

impl Rate {
    /// A rate in bits per second; zero is raised to one, since a link that never moves is a black-out.
    pub const fn bits_per_second(bits: u64) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }

    /// The rate in bits per second.
    pub const fn as_bits_per_second(self) -> u64 {
        self.0
    }

    /// How long `bytes` take, rounded up to a whole nanosecond.
    pub fn time_for(self, bytes: usize) -> Duration {
        let nanos = (bytes as u128 * 8 * 1_000_000_000).div_ceil(u128::from(self.0));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How many bytes pass in `time`, rounded down: the bandwidth-delay product, if `time` is the round trip.
    pub fn bytes_in(self, time: Duration) -> usize {
        let bytes = time.as_nanos().saturating_mul(u128::from(self.0)) / 8_000_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bit/s", self.0)
    }
}

/// How likely something is; never, by default.
#[derive(Clone, Copy, PartialEq, PartialOrd, Default)]
pub struct Probability(f64);

impl Probability {
    /// It never happens.
    pub const NEVER: Self = Self(0.0);
    /// It always happens.
    pub const ALWAYS: Self = Self(1.0);

    /// A probability; values outside of 0 ..= 1 are clamped, NaN becomes zero.
    pub const fn new(p: f64) -> Self {
        if p.is_nan() { Self::NEVER } else { Self(p.clamp(0.0, 1.0)) }
    }

    /// The probability as a number within 0 ..= 1.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Throws the dice. What never happens draws nothing from `rng`, so that switching an impairment off elsewhere in a link
    /// costs nothing.
    pub fn roll(self, rng: &mut dyn Rng) -> bool {
        // 53 bits are what a double holds exactly: the draw is uniform in [0, 1) and the same on every machine.
        self.0 > 0.0 && ((rng.next_u64() >> 11) as f64) < self.0 * (1_u64 << 53) as f64
    }
}

impl fmt::Debug for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

/// A duration drawn uniformly from zero to `max`, both included.
pub(crate) fn uniform(rng: &mut dyn Rng, max: Duration) -> Duration {
    let nanos = u64::try_from(max.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(rng.below(nanos.saturating_add(1))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quic_proto::rng::SeededRng;

    #[test]
    fn rates_are_exact_and_round_up() {
        assert_eq!(mbit(10).time_for(1250), ms(1));
        assert_eq!(gbit(1).time_for(1), ns(8));
        assert_eq!(Rate::bits_per_second(3).time_for(1), ns(2_666_666_667));
        assert_eq!(Rate::bits_per_second(0), Rate::bits_per_second(1));
        assert_eq!(mbit(8).bytes_in(ms(100)), 100_000);
        assert_eq!(gbit(u64::MAX).bytes_in(Duration::MAX), usize::MAX);
    }

    #[test]
    fn probabilities_are_clamped_and_fair() {
        let mut rng = SeededRng::from_u64(1);
        assert_eq!(Probability::new(f64::NAN), Probability::NEVER);
        assert_eq!(percent(250), Probability::ALWAYS);
        assert!((0..1000).all(|_| Probability::ALWAYS.roll(&mut rng)));
        assert!((0..1000).all(|_| !Probability::NEVER.roll(&mut rng)));
        let hits = (0..100_000).filter(|_| percent(2.5).roll(&mut rng)).count();
        // Mean 2500, standard deviation 49: five of them either way.
        assert!((2250..2750).contains(&hits), "{hits}");
    }

    #[test]
    fn uniform_reaches_both_ends() {
        let mut rng = SeededRng::from_u64(2);
        let draws: Vec<_> = (0..200).map(|_| uniform(&mut rng, ns(3)).as_nanos()).collect();
        assert!((0..=3).all(|n| draws.contains(&n)) && draws.iter().all(|n| *n <= 3));
        assert_eq!(uniform(&mut rng, Duration::ZERO), Duration::ZERO);
    }
}
