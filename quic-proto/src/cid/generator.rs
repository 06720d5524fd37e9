//! Where connection ids come from.

use crate::id::{Cid, MAX_CID_LEN};
use crate::rng::Rng;

/// Makes the connection ids of an endpoint. All have the same length, since short headers do not tell it (RFC 9000 §5.2).
pub trait CidGenerator: Send + Sync {
    /// A new id of [`CidGenerator::len`] bytes. Unless that is zero, ids should be hard to guess and to link (RFC 9000 §5.1).
    fn generate(&self, rng: &mut dyn Rng) -> Cid;

    /// The length of all ids, 0 to 20 bytes.
    fn len(&self) -> usize;

    /// Whether the ids have no bytes: connections are then told apart by address alone, and cannot migrate.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A length that no connection id can have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a connection id has at most {MAX_CID_LEN} bytes, not {0}")]
pub struct CidLength(pub usize);

/// Random connection ids, 8 bytes long unless told otherwise.
///
/// ```
/// use quic_proto::cid::{CidGenerator, RandomCids};
/// let mut rng = quic_proto::rng::SeededRng::from_u64(1);
/// assert_eq!(RandomCids::default().generate(&mut rng).len(), 8);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RandomCids {
    len: usize,
}

impl RandomCids {
    /// Ids of `len` bytes.
    ///
    /// # Errors
    /// If that is more than 20.
    pub const fn new(len: usize) -> Result<Self, CidLength> {
        if len <= MAX_CID_LEN { Ok(Self { len }) } else { Err(CidLength(len)) }
    }
}

impl Default for RandomCids {
    // RFC 9000 §8.1: an id with "at least 64 bits of entropy" that comes back validates the peer's address.
    fn default() -> Self {
        Self { len: 8 }
    }
}

impl CidGenerator for RandomCids {
    fn generate(&self, rng: &mut dyn Rng) -> Cid {
        let mut bytes = [0; MAX_CID_LEN];
        let bytes = &mut bytes[..self.len];
        rng.fill(bytes);
        Cid::new(bytes).expect("invariant: the length was checked when the generator was made")
    }

    fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    #[test]
    fn lengths() {
        let mut rng = SeededRng::from_u64(1);
        for len in 0..=20 {
            let cids = RandomCids::new(len).unwrap();
            assert_eq!((cids.generate(&mut rng).len(), cids.len(), cids.is_empty()), (len, len, len == 0));
        }
        assert_eq!(RandomCids::new(21), Err(CidLength(21)));
        let cids = RandomCids::default();
        assert_ne!(cids.generate(&mut rng), cids.generate(&mut rng));
    }
}
