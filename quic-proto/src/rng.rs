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
/// Every connection has one and draws from it now and then, so that it is small: it keeps one block of the key stream, where the library's
/// keeps four, and makes the others again when they are wanted.
///
/// ```
/// use quic_proto::rng::{Rng, SeededRng};
/// let (mut a, mut b) = (SeededRng::from_u64(7), SeededRng::from_u64(7));
/// assert_eq!(a.next_u64(), b.next_u64());
/// ```
#[derive(Debug)]
pub struct SeededRng {
    seed: [u8; 32],
    /// Words of the key stream that were made.
    made: u64,
    block: [u8; BLOCK],
    /// Bytes of the block that were given out.
    given: usize,
}

/// Bytes in a block of ChaCha.
const BLOCK: usize = 64;

/// Bytes in a word. Each call takes whole words: what it leaves of the last one is lost.
const WORD: usize = 4;

impl SeededRng {
    /// A generator from 32 bytes; take them from the operating system outside of tests.
    pub const fn from_seed(seed: [u8; 32]) -> Self {
        Self { seed, made: 0, block: [0; BLOCK], given: BLOCK }
    }

    /// A generator from a number, for tests and simulations.
    pub fn from_u64(seed: u64) -> Self {
        Self::from_seed(ChaCha12Rng::seed_from_u64(seed).get_seed())
    }

    fn next_block(&mut self) {
        let mut stream = ChaCha12Rng::from_seed(self.seed);
        stream.set_word_pos(self.made.into());
        stream.fill_bytes(&mut self.block);
        self.made += (BLOCK / WORD) as u64;
        self.given = 0;
    }
}

impl Rng for SeededRng {
    fn fill(&mut self, dest: &mut [u8]) {
        let mut rest = dest;
        while !rest.is_empty() {
            if self.given == BLOCK {
                self.next_block();
            }
            let ready = &self.block[self.given..];
            let (now, later) = rest.split_at_mut(rest.len().min(ready.len()));
            now.copy_from_slice(&ready[..now.len()]);
            self.given += now.len().next_multiple_of(WORD);
            rest = later;
        }
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

    /// The key stream is the library's, in whatever pieces it is drawn.
    #[test]
    fn a_block_at_a_time_gives_the_same_bytes() {
        let (mut ours, mut theirs) = (SeededRng::from_seed([7; 32]), ChaCha12Rng::from_seed([7; 32]));
        for len in (0..300).chain([8, 3, 64, 61, 1000, 4]) {
            let (mut a, mut b) = (vec![0; len], vec![0; len]);
            ours.fill(&mut a);
            theirs.fill_bytes(&mut b);
            assert_eq!(a, b, "{len} bytes");
        }
        let mut theirs = ChaCha12Rng::seed_from_u64(3);
        let mut word = [0; 8];
        theirs.fill_bytes(&mut word);
        assert_eq!(SeededRng::from_u64(3).next_u64(), u64::from_le_bytes(word));
    }

    #[test]
    fn below_stays_below() {
        let mut rng = SeededRng::from_u64(2);
        assert!((0..1000).all(|_| rng.below(7) < 7));
        assert_eq!(rng.below(0), 0);
    }
}
