//! A hash for numbers that count upwards, stream ids for one.
//!
//! Invariant: it is not keyed, so that it is only for numbers with which nobody can make collisions: those of a peer below a limit of ours.

use std::hash::{BuildHasherDefault, Hasher};

/// Builds [`IdHasher`]s, for maps.
pub type BuildIdHasher = BuildHasherDefault<IdHasher>;

/// Spreads consecutive numbers over a map.
#[derive(Default, Debug)]
pub struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // Fibonacci hashing; the upper half is well mixed and the map looks at both ends of the result.
        let mixed = (self.0 ^ id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}
