//! Connection ids and stateless reset tokens.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The longest connection id of QUIC v1 (RFC 9000 §17.2), in bytes.
pub const MAX_CID_LEN: usize = 20;

/// A connection id of 0 to 20 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cid {
    len: u8,
    bytes: [u8; MAX_CID_LEN],
}

/// A connection id of more than 20 bytes was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a connection id has at most {MAX_CID_LEN} bytes, not {0}")]
pub struct CidTooLong(pub usize);

impl Cid {
    /// The connection id of no bytes.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_CID_LEN] };

    /// A connection id of these bytes.
    ///
    /// # Errors
    /// If there are more than 20 of them.
    pub fn new(bytes: &[u8]) -> Result<Self, CidTooLong> {
        let mut cid = Self { len: bytes.len() as u8, ..Self::EMPTY };
        cid.bytes.get_mut(..bytes.len()).ok_or(CidTooLong(bytes.len()))?.copy_from_slice(bytes);
        Ok(cid)
    }
}

/// One write of the bytes that count: an id is hashed for every datagram. Ids of different lengths may share a prefix, but no key has
/// anything behind its id.
impl Hash for Cid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self);
    }
}

impl Deref for Cid {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

/// A stateless reset token (RFC 9000 §10.3). Compares in constant time; its bytes are not printed.
#[derive(Clone, Copy, Eq)]
pub struct ResetToken(pub [u8; 16]);

impl PartialEq for ResetToken {
    // RFC 9000 §10.3.1: "An endpoint MUST NOT … leak information about the value of the token".
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
    }
}

impl Hash for ResetToken {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for ResetToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_checked() {
        assert_eq!(&*Cid::new(&[7; 20]).unwrap(), &[7; 20]);
        assert_eq!(Cid::new(&[7; 21]), Err(CidTooLong(21)));
        assert_eq!(Cid::new(&[0xab, 1]).unwrap().to_string(), "ab01");
        assert_ne!(Cid::new(&[0]).unwrap(), Cid::EMPTY);
    }
}
