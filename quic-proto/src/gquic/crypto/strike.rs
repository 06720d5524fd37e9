//! Client nonces, and a server's memory of them: a complete client hello must not be taken twice.
//!
//! A nonce holds the time at which the client made it, so that the server needs to remember only those of the last minutes. Invariants: at
//! most as many are kept as the register has room for; when one must go it is the oldest, and from then on nothing that old counts as
//! fresh. No timers: what is too old goes when the next one comes.

use super::server_config::ORBIT_LEN;
use crate::rng::Rng;
use crate::time::{Duration, UnixTime};
use std::collections::BTreeSet;

/// How far the clocks of client and server may differ for a nonce to count.
pub const WINDOW: Duration = Duration::from_secs(600);
/// How many nonces are kept, about 3 MB of them. More full handshakes in ten minutes only mean that older hellos are answered with a
/// rejection.
pub const CAPACITY: usize = 1 << 16;

/// The value of NONC: the time in seconds (4 bytes, big-endian), the orbit of the server config, and 20 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClientNonce([u8; Self::LEN]);

impl ClientNonce {
    /// Its length.
    pub const LEN: usize = 32;

    /// A new nonce for a config of this orbit.
    pub fn generate(rng: &mut dyn Rng, now: UnixTime, orbit: &[u8; ORBIT_LEN]) -> Self {
        let mut bytes = [0; Self::LEN];
        let (time, rest) = bytes.split_at_mut(4);
        let (of_orbit, random) = rest.split_at_mut(ORBIT_LEN);
        time.copy_from_slice(&(now.as_secs() as u32).to_be_bytes());
        of_orbit.copy_from_slice(orbit);
        rng.fill(random);
        Self(bytes)
    }

    /// The nonce of these bytes.
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Whether it was made for a config of this orbit.
    pub fn has_orbit(&self, orbit: &[u8; ORBIT_LEN]) -> bool {
        self.0[4..4 + ORBIT_LEN] == *orbit
    }

    /// Seconds by which it is younger than `now`; negative if it is older. Right as long as both are within 68 years.
    fn seconds_ahead(&self, now: UnixTime) -> i64 {
        let [a, b, c, d, ..] = self.0;
        i64::from(u32::from_be_bytes([a, b, c, d]).wrapping_sub(now.as_secs() as u32) as i32)
    }
}

/// What the register says about a nonce.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// Never seen; from now on it is.
    Fresh,
    /// Seen before: the hello is a replay.
    Replayed,
    /// Too old or too far ahead to tell: the hello may be a replay.
    Unknown,
}

/// Remembers client nonces.
#[derive(Clone, Debug)]
pub struct StrikeRegister {
    capacity: usize,
    /// The time of a nonce, in seconds, and the nonce.
    seen: BTreeSet<(u64, ClientNonce)>,
    /// Nonces of this time and before are not known any more.
    horizon: u64,
}

impl StrikeRegister {
    /// A register with room for `capacity` nonces, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), seen: BTreeSet::new(), horizon: 0 }
    }

    /// Whether `nonce` is fresh at `now`; if so, it is not any more.
    pub fn strike(&mut self, nonce: ClientNonce, now: UnixTime) -> Freshness {
        let window = WINDOW.as_secs();
        self.horizon = self.horizon.max(now.as_secs().saturating_sub(window + 1));
        while self.seen.first().is_some_and(|(time, _)| *time <= self.horizon) {
            self.seen.pop_first();
        }
        let ahead = nonce.seconds_ahead(now);
        let time = now.as_secs().saturating_add_signed(ahead);
        if ahead.unsigned_abs() > window || time <= self.horizon {
            return Freshness::Unknown;
        }
        if !self.seen.insert((time, nonce)) {
            return Freshness::Replayed;
        }
        if self.seen.len() > self.capacity
            && let Some((oldest, _)) = self.seen.pop_first()
        {
            self.horizon = oldest;
        }
        Freshness::Fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;
    use proptest::prelude::*;

    const ORBIT: [u8; ORBIT_LEN] = [7; ORBIT_LEN];

    fn at(secs: u64) -> UnixTime {
        UnixTime::from_secs(secs)
    }

    fn nonce(seed: u64, secs: u64) -> ClientNonce {
        ClientNonce::generate(&mut SeededRng::from_u64(seed), at(secs), &ORBIT)
    }

    #[test]
    fn nonces_have_time_and_orbit() {
        let nonce = nonce(1, 0x1_6b03_e2f7);
        assert_eq!(nonce.as_bytes()[..12], [&[0x6b, 3, 0xe2, 0xf7], &ORBIT[..]].concat());
        assert!(nonce.has_orbit(&ORBIT) && !nonce.has_orbit(&[8; ORBIT_LEN]));
        assert_eq!(nonce, ClientNonce::from_bytes(*nonce.as_bytes()));
        assert_eq!(nonce.seconds_ahead(at(0x1_6b03_e2f0)), 7, "the upper bits of the time do not matter");
        assert_eq!(nonce.seconds_ahead(at(0x1_6b03_e300)), -9);
    }

    #[test]
    fn a_nonce_counts_once() {
        let mut register = StrikeRegister::new(100);
        let now = 1_000_000;
        assert_eq!(register.strike(nonce(1, now), at(now)), Freshness::Fresh);
        assert_eq!(register.strike(nonce(1, now), at(now)), Freshness::Replayed);
        assert_eq!(register.strike(nonce(2, now), at(now)), Freshness::Fresh, "of the same second");
        assert_eq!(register.strike(nonce(1, now), at(now + 600)), Freshness::Replayed);
        assert_eq!(
            register.strike(nonce(1, now), at(now + 601)),
            Freshness::Unknown,
            "forgotten, but not fresh"
        );
        assert_eq!(register.strike(nonce(3, now + 601), at(now)), Freshness::Unknown, "too far ahead");
        assert_eq!(register.strike(nonce(4, now), at(now)), Freshness::Unknown, "the clock was set back");
    }

    #[test]
    fn memory_is_bounded() {
        let mut register = StrikeRegister::new(10);
        let now = 1_000_000;
        for seed in 0..1000 {
            assert_eq!(register.strike(nonce(seed, now + seed / 10), at(now + seed / 10)), Freshness::Fresh);
            assert!(register.seen.len() <= 10);
        }
        assert_eq!(register.strike(nonce(999, now + 99), at(now + 99)), Freshness::Replayed);
        assert_eq!(register.strike(nonce(5, now), at(now + 99)), Freshness::Unknown, "old ones made room");
        // Old ones are forgotten when a new one comes.
        assert_eq!(register.strike(nonce(5000, now + 5000), at(now + 5000)), Freshness::Fresh);
        assert_eq!(register.seen.len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_fresh_twice(
            steps in proptest::collection::vec((0u64..30, 0u64..2000, 0u64..100), 1..300), capacity in 1usize..20,
        ) {
            let mut register = StrikeRegister::new(capacity);
            let mut fresh = BTreeSet::new();
            let mut now = 1_000_000;
            for (seed, time, passes) in steps {
                now += passes;
                let nonce = nonce(seed, now - 1000 + time);
                if register.strike(nonce, at(now)) == Freshness::Fresh {
                    prop_assert!(fresh.insert(nonce));
                }
                prop_assert!(register.seen.len() <= capacity);
            }
        }
    }
}
