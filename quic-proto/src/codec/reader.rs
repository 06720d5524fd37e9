//! A checked cursor over received bytes.
//!
//! Invariant: the position never passes the end; a read that fails leaves it where it was. No timers.

use super::varint;

/// The bytes ended before what was to be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unexpected end of the input")]
pub struct UnexpectedEnd;

/// Reads from a slice, front to back. What it hands out borrows from the slice, not from the reader.
///
/// ```
/// use quic_proto::codec::{Reader, UnexpectedEnd};
/// let mut reader = Reader::new(&[0x7b, 0xbd, 1, 2]);
/// assert_eq!(reader.varint(), Ok(15293));
/// assert_eq!(reader.bytes(2), Ok(&[1, 2][..]));
/// assert_eq!(reader.u8(), Err(UnexpectedEnd));
/// ```
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes are left.
    pub const fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// How many bytes were read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// What is left, without reading it.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// The next byte, without reading it.
    pub fn peek_u8(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// If too few bytes are left, as for every method below.
    pub fn u8(&mut self) -> Result<u8, UnexpectedEnd> {
        let byte = self.peek_u8().ok_or(UnexpectedEnd)?;
        self.at += 1;
        Ok(byte)
    }

    /// Reads a big-endian 16-bit number.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn u16(&mut self) -> Result<u16, UnexpectedEnd> {
        self.array().map(u16::from_be_bytes)
    }

    /// Reads a big-endian 32-bit number.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn u32(&mut self) -> Result<u32, UnexpectedEnd> {
        self.array().map(u32::from_be_bytes)
    }

    /// Reads a big-endian 64-bit number.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn u64(&mut self) -> Result<u64, UnexpectedEnd> {
        self.array().map(u64::from_be_bytes)
    }

    /// Reads a variable-length integer, at most 2^62-1.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn varint(&mut self) -> Result<u64, UnexpectedEnd> {
        let (value, len) = varint::decode(self.rest()).ok_or(UnexpectedEnd)?;
        self.at += len;
        Ok(value)
    }

    /// Reads `N` bytes.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], UnexpectedEnd> {
        let array = *self.rest().first_chunk().ok_or(UnexpectedEnd)?;
        self.at += N;
        Ok(array)
    }

    /// Reads `len` bytes.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], UnexpectedEnd> {
        let bytes = self.rest().get(..len).ok_or(UnexpectedEnd)?;
        self.at += len;
        Ok(bytes)
    }

    /// Reads a variable-length integer and then that many bytes.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn varint_bytes(&mut self) -> Result<&'a [u8], UnexpectedEnd> {
        let before = self.at;
        let len = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        self.bytes(len).inspect_err(|_| self.at = before)
    }

    /// Passes over `len` bytes.
    ///
    /// # Errors
    /// If too few bytes are left.
    pub fn skip(&mut self, len: usize) -> Result<(), UnexpectedEnd> {
        self.bytes(len).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_in_order() {
        let bytes = [1, 0, 2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 0x40, 5, 9, 9, 2, 7, 8];
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.u8(), reader.u16(), reader.u32(), reader.u64()), (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!(reader.varint(), Ok(5));
        assert_eq!((reader.position(), reader.remaining(), reader.peek_u8()), (17, 5, Some(9)));
        assert_eq!(reader.skip(2), Ok(()));
        assert_eq!(reader.varint_bytes(), Ok(&[7, 8][..]));
        assert!(reader.is_empty() && reader.rest().is_empty() && reader.peek_u8().is_none());
    }

    #[test]
    fn a_failed_read_changes_nothing() {
        let mut reader = Reader::new(&[0x80, 3, 7]);
        assert_eq!(reader.u32(), Err(UnexpectedEnd));
        assert_eq!(reader.u64(), Err(UnexpectedEnd));
        assert_eq!(reader.varint(), Err(UnexpectedEnd));
        assert_eq!(reader.bytes(4), Err(UnexpectedEnd));
        assert_eq!(reader.bytes(usize::MAX), Err(UnexpectedEnd));
        assert_eq!(reader.skip(1), Ok(()));
        assert_eq!(reader.varint_bytes(), Err(UnexpectedEnd));
        assert_eq!(reader.rest(), [3, 7]);
    }
}
