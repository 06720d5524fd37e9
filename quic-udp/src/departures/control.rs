//! Ancillary data of a message (cmsg(3)), written without pointers: each item has a header of its length, level and type, then its value,
//! and begins at a multiple of the size of a word.
//!
//! Owns [`Control`]. Invariant: what is written ends on such a multiple. Timers: none.

/// A word, to which everything is aligned; on Linux it is the type of the length too.
const WORD: usize = size_of::<usize>();
/// The length, the level and the type.
const HEADER: usize = WORD + 2 * size_of::<libc::c_int>();
/// A time, a codepoint, a segment size and an address with its interface: what a message can have at most.
const ROOM: usize = 4 * HEADER + 8 + 8 + 8 + 24;

/// The items of one message.
pub(super) struct Control {
    bytes: [u8; ROOM],
    len: usize,
}

impl Default for Control {
    fn default() -> Self {
        Self { bytes: [0; ROOM], len: 0 }
    }
}

impl Control {
    /// Adds an item.
    pub(super) fn push(&mut self, level: libc::c_int, kind: libc::c_int, value: &[u8]) {
        let mut put = |at: usize, bytes: &[u8]| {
            let at = self.len + at;
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &(HEADER + value.len()).to_ne_bytes());
        put(WORD, &level.to_ne_bytes());
        put(WORD + size_of_val(&level), &kind.to_ne_bytes());
        put(HEADER, value);
        self.len += (HEADER + value.len()).next_multiple_of(WORD);
    }

    /// All items.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
