//! Key agreement by X25519, with keys that serve more than once: a server config lives for days.
//!
//! Invariant: keys come from the caller's randomness. No timers.

use crate::rng::Rng;
use ::x25519_dalek::{PublicKey, StaticSecret};
use std::fmt;

/// Length of public keys and of shared secrets.
pub const LEN: usize = 32;

/// A private key; wiped from memory when it is dropped.
#[derive(Clone)]
pub struct PrivateKey(StaticSecret);

/// The peer's public key is one of the few that make every shared secret zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the public key has a low order")]
pub struct LowOrder;

impl PrivateKey {
    /// A new key.
    pub fn generate(rng: &mut dyn Rng) -> Self {
        let mut bytes = [0; LEN];
        rng.fill(&mut bytes);
        Self::from_bytes(bytes)
    }

    /// A key of any 32 bytes.
    pub fn from_bytes(bytes: [u8; LEN]) -> Self {
        Self(bytes.into())
    }

    /// The public key.
    pub fn public(&self) -> [u8; LEN] {
        PublicKey::from(&self.0).to_bytes()
    }

    /// The secret shared with whoever has the private key of `public`.
    ///
    /// # Errors
    /// If the secret would be the same for everybody.
    pub fn agree(&self, public: &[u8; LEN]) -> Result<[u8; LEN], LowOrder> {
        let shared = self.0.diffie_hellman(&PublicKey::from(*public));
        if shared.was_contributory() { Ok(shared.to_bytes()) } else { Err(LowOrder) }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, recorded};
    use crate::rng::SeededRng;

    #[test]
    fn recorded_exchanges() {
        let key = |json: &serde_json::Value| <[u8; LEN]>::try_from(bytes(json)).unwrap();
        for pair in recorded("handshake-echo-ecdsa", "x25519_keypair") {
            assert_eq!(PrivateKey::from_bytes(key(&pair["private"])).public(), key(&pair["public"]));
        }
        for exchange in recorded("handshake-echo-ecdsa", "x25519_shared") {
            let shared =
                PrivateKey::from_bytes(key(&exchange["private"])).agree(&key(&exchange["peer_public"]));
            assert_eq!(shared, Ok(key(&exchange["shared"])));
        }
    }

    #[test]
    fn keys_come_from_the_generator() {
        let draw = || PrivateKey::generate(&mut SeededRng::from_u64(7));
        let (a, b) = (draw(), PrivateKey::generate(&mut SeededRng::from_u64(8)));
        assert_eq!(a.public(), draw().public());
        assert_ne!(a.public(), b.public());
        assert_eq!(a.agree(&b.public()), b.agree(&a.public()));
        assert_eq!(format!("{a:?}"), "PrivateKey(…)", "no secret in a log");
    }

    #[test]
    fn points_of_low_order_are_refused() {
        let key = PrivateKey::from_bytes([7; 32]);
        let mut one = [0; LEN];
        one[0] = 1;
        for public in [[0; LEN], one] {
            assert_eq!(key.agree(&public), Err(LowOrder));
        }
    }
}
