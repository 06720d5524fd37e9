//! Randomness as an argument.
//!
//! An [`Rng`] is given to the endpoint; each connection gets a child of it, and parts borrow `&mut dyn Rng` where they need one.
//! With the same seed and the same inputs the same bytes come out, which is what makes a failure reproducible.

use rand_chacha::ChaCha12Rng;
use rand_core::{Rng as _, SeedableRng};

/// A source of random bytes.
///
/// Connection ids, reset tokens and path challenges come from it (RFC 9000 §5.1, §8.2.1, §10.3 ask that they be hard to guess), so
/// that outside of tests the seed must come from the operating system.
pub trait Rng: Send {
    /// Fills `dest` with random bytes.
    fn fill(&mut self, dest: &mut [u8]);

    /// A generator for a part of the system, independent of what this one gives out afterwards.
    fn child(&mut self) -> Box<dyn Rng>;

    /// A random 64-bit number.
    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A random number below `bound`; zero if `bound` is zero. The bias is below `bound / 2^64`.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// The default generator: ChaCha with 12 rounds from a 32-byte seed. Cryptographically strong if the seed is.
///
/// ```
/// use quic_proto::rng::{Rng, SeededRng};
/// let (mut a, mut b) = (SeededRng::from_u64(7), SeededRng::from_u64(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
#[derive(Debug)]
pub struct SeededRng(ChaCha12Rng);

impl SeededRng {
    /// A generator from 32 bytes; take them from the operating system outside of tests.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(ChaCha12Rng::from_seed(seed))
    }

    /// A generator from a number, for tests and simulations.
    pub fn from_u64(seed: u64) -> Self {
        Self(ChaCha12Rng::seed_from_u64(seed))
    }
}

impl Rng for SeededRng {
    fn fill(&mut self, dest: &mut [u8]) {
        self.0.fill_bytes(dest);
    }

    fn child(&mut self) -> Box<dyn Rng> {
        let mut seed = [0; 32];
        self.fill(&mut seed);
        Box::new(Self::from_seed(seed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_differ_and_repeat() {
        let draw = || {
            let mut rng = SeededRng::from_u64(1);
            let (mut a, mut b) = (rng.child(), rng.child());
            (a.next_u64(), b.next_u64(), rng.next_u64())
        };
        let (a, b, c) = draw();
        assert!(a != b && b != c && a != c);
        assert_eq!((a, b, c), draw());
    }

    #[test]
    fn below_stays_below() {
        let mut rng = SeededRng::from_u64(2);
        assert!((0..1000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }
}
