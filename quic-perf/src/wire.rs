//! The eight bytes that open a stream of the client's.
//!
//! Owns [`ResponseSize`] and its decoder. Invariant: once eight bytes have come the size does not change. Timers: none.

/// Asks for an answer without end; the client cuts it off (§2.3.1).
pub const UNLIMITED: u64 = u64::MAX;

/// §2.3.1: "Every stream opened by the client uses the first 8 bytes of the stream data to encode a 64-bit unsigned integer in
/// network byte order to indicate the length of data the client wishes the server to respond with."
pub const HEADER: usize = 8;

/// Finds the size of the answer at the front of a stream, however it is cut into pieces.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseSize {
    bytes: [u8; HEADER],
    have: usize,
}

impl ResponseSize {
    /// Takes the next piece of the stream. Returns how many of its bytes belonged to the header.
    pub fn take(&mut self, piece: &[u8]) -> usize {
        let len = piece.len().min(HEADER - self.have);
        self.bytes[self.have..self.have + len].copy_from_slice(&piece[..len]);
        self.have += len;
        len
    }

    /// The size; `None` while the header is not complete.
    pub fn get(&self) -> Option<u64> {
        (self.have == HEADER).then(|| u64::from_be_bytes(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_in_network_byte_order_however_it_is_cut() {
        let stream = [0, 0, 0, 0, 0, 0, 4, 1, 9, 9];
        for cut in 0..stream.len() {
            let mut size = ResponseSize::default();
            let taken = size.take(&stream[..cut]);
            assert_eq!(size.get().is_some(), cut >= HEADER);
            assert_eq!(taken + size.take(&stream[cut..]), HEADER);
            assert_eq!(size.get(), Some(1025));
        }
    }

    #[test]
    fn all_ones_are_unlimited() {
        let mut size = ResponseSize::default();
        size.take(&[0xff; 8]);
        assert_eq!(size.get(), Some(UNLIMITED));
    }
}
