//! A checked cursor over a buffer to be sent.
//!
//! Invariants: the position never passes the end; a write that does not fit writes nothing and sets a flag that stays, so that a
//! caller may write many fields and look once. [`Writer::attempt`] tries a whole frame and takes it back if it did not fit. No timers.

use super::varint;

/// Writes to a slice, front to back.
///
/// ```
/// use quic_proto::codec::Writer;
/// let mut buffer = [0; 4];
/// let mut writer = Writer::new(&mut buffer);
/// assert!(writer.attempt(|w| { w.u8(1); w.varint(15293); }));
/// assert!(!writer.attempt(|w| { w.u8(2); w.u32(3); }));
/// assert_eq!(writer.written(), [1, 0x7b, 0xbd]);
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
    overflowed: bool,
}

impl<'a> Writer<'a> {
    /// A writer at the start of `buffer`.
    pub const fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0, overflowed: false }
    }

    /// How many bytes were written.
    pub const fn len(&self) -> usize {
        self.at
    }

    /// Whether nothing was written yet.
    pub const fn is_empty(&self) -> bool {
        self.at == 0
    }

    /// How many bytes still fit.
    pub const fn remaining(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Whether a write did not fit.
    pub const fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        &self.buffer[..self.at]
    }

    /// The whole buffer, written and unwritten.
    pub fn buffer_mut(&mut self) -> &mut [u8] {
        self.buffer
    }

    /// The unwritten rest; [`advance`](Self::advance) makes what is put there count.
    pub fn rest_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.at..]
    }

    /// Counts the next `len` bytes as written.
    pub fn advance(&mut self, len: usize) {
        let _ = self.reserve(len);
    }

    /// The next `len` bytes, counted as written, for the caller to fill; `None` if they do not fit.
    pub fn reserve(&mut self, len: usize) -> Option<&mut [u8]> {
        if self.overflowed || len > self.remaining() {
            self.overflowed = true;
            return None;
        }
        let start = self.at;
        self.at += len;
        Some(&mut self.buffer[start..self.at])
    }

    /// Runs `write`; if something did not fit, takes back all that it wrote and returns `false`.
    pub fn attempt(&mut self, write: impl FnOnce(&mut Self)) -> bool {
        if self.overflowed {
            return false;
        }
        let before = self.at;
        write(self);
        if self.overflowed {
            self.at = before;
            self.overflowed = false;
            return false;
        }
        true
    }

    /// Writes one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes(&[value]);
    }

    /// Writes a big-endian 16-bit number.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a big-endian 32-bit number.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a big-endian 64-bit number.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Writes a variable-length integer in its shortest form; `value` is at most 2^62-1, see [`varint::encode`].
    pub fn varint(&mut self, value: u64) {
        if self.overflowed {
            return;
        }
        match varint::encode(value, self.rest_mut()) {
            Some(len) => self.at += len,
            None => self.overflowed = true,
        }
    }

    /// Writes a variable-length integer of at most 16383 in two bytes, so that it can be overwritten with another one later.
    pub fn varint2(&mut self, value: u16) {
        self.bytes(&varint::two_bytes(value));
    }

    /// Writes `bytes`.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if let Some(room) = self.reserve(bytes.len()) {
            room.copy_from_slice(bytes);
        }
    }

    /// Writes the length of `bytes` as a variable-length integer and then `bytes`.
    pub fn varint_bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.bytes(bytes);
    }

    /// Writes `len` zero bytes.
    pub fn zeros(&mut self, len: usize) {
        if let Some(room) = self.reserve(len) {
            room.fill(0);
        }
    }

    /// Overwrites what was written at position `at`. To patch what was not written counts as an overflow.
    pub fn patch(&mut self, at: usize, bytes: &[u8]) {
        match self.buffer[..self.at].get_mut(at..).and_then(|tail| tail.get_mut(..bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.overflowed = true,
        }
    }

    /// Overwrites a [`varint2`](Self::varint2) at position `at`.
    pub fn patch_varint2(&mut self, at: usize, value: u16) {
        self.patch(at, &varint::two_bytes(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Reader;

    #[test]
    fn writes_what_a_reader_reads() {
        let mut buffer = [0xff; 64];
        let mut writer = Writer::new(&mut buffer);
        assert!(writer.is_empty());
        writer.u8(1);
        writer.u16(2);
        writer.u32(3);
        writer.u64(4);
        writer.varint(1 << 40);
        writer.varint2(5);
        writer.varint_bytes(b"abc");
        writer.zeros(2);
        writer.patch_varint2(23, 6);
        assert!(!writer.overflowed());
        assert_eq!(writer.len(), 31);
        let mut reader = Reader::new(writer.written());
        assert_eq!((reader.u8(), reader.u16(), reader.u32(), reader.u64()), (Ok(1), Ok(2), Ok(3), Ok(4)));
        assert_eq!((reader.varint(), reader.varint()), (Ok(1 << 40), Ok(6)));
        assert_eq!(reader.varint_bytes(), Ok(&b"abc"[..]));
        assert_eq!(reader.rest(), [0, 0]);
    }

    #[test]
    fn overflow_sticks_and_writes_nothing() {
        let mut buffer = [9; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.u16(1);
        writer.u16(2);
        writer.u8(3);
        writer.varint(3);
        assert!(writer.overflowed());
        assert!(!writer.attempt(|w| w.u8(4)));
        assert!(writer.reserve(0).is_none());
        assert_eq!((writer.written(), writer.remaining()), (&[0, 1][..], 1));
        assert_eq!(buffer, [0, 1, 9]);
    }

    #[test]
    fn a_failed_attempt_is_taken_back() {
        let mut buffer = [0; 4];
        let mut writer = Writer::new(&mut buffer);
        writer.u8(1);
        assert!(!writer.attempt(|w| {
            w.u16(2);
            w.u16(3);
        }));
        assert_eq!((writer.len(), writer.overflowed()), (1, false));
        assert!(writer.attempt(|w| w.bytes(&[4, 5, 6])));
        assert_eq!(writer.written(), [1, 4, 5, 6]);
    }

    #[test]
    fn only_what_was_written_is_patched() {
        let mut buffer = [0; 4];
        let mut writer = Writer::new(&mut buffer);
        writer.u16(0);
        writer.patch(1, &[7]);
        assert_eq!((writer.written(), writer.overflowed()), (&[0, 7][..], false));
        writer.patch(1, &[7, 7]);
        assert!(writer.overflowed());
    }
}
