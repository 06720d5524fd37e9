//! What a peer sent on a stream and the application has not read.
//!
//! Owns: pages by offset, and which bytes of them arrived. Invariants: `read <= contiguous`; all of `read..contiguous` is there;
//! the ranges in `beyond` start above `contiguous`; page `i` holds the offsets from `(first_page + i) * CHUNK`. No timers.
//!
//! Every byte is copied once, into the page where its offset says; what came twice is not copied again. Memory is bounded by the
//! flow-control window (pages) and by one gap for each [`BYTES_PER_GAP`] of window (bookkeeping), however a peer cuts its data.

use crate::util::{CHUNK, Chunk, ChunkPool, RangeSet};
use bytes::Bytes;
use std::collections::VecDeque;

const PAGE: u64 = CHUNK as u64;

/// One gap (16 bytes of bookkeeping) is permitted for so many bytes of window.
const BYTES_PER_GAP: u64 = 256;

/// Gaps that are permitted whatever the window is.
const MIN_GAPS: u64 = 64;

/// See the module.
#[derive(Default, Debug)]
pub(super) struct Reassembler {
    pages: VecDeque<Option<Chunk>>,
    first_page: u64,
    read: u64,
    contiguous: u64,
    beyond: RangeSet,
}

/// There are so many gaps that the data was not taken. It has to come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TooManyGaps;

impl Reassembler {
    /// Takes `data` at `offset`. Its end is within the flow-control limit; `window` is the size of the stream's window.
    #[inline]
    pub(super) fn insert(
        &mut self,
        offset: u64,
        data: &[u8],
        window: u64,
        pool: &mut ChunkPool,
    ) -> Result<(), TooManyGaps> {
        let end = offset + data.len() as u64;
        if end <= self.contiguous {
            return Ok(());
        }
        if offset > self.contiguous {
            return self.insert_beyond(offset, data, window, pool);
        }
        let data = &data[(self.contiguous - offset) as usize..];
        self.copy_in(self.contiguous, data, pool);
        self.contiguous = end;
        while let Some(first) = self.beyond.first()
            && first.start <= self.contiguous
        {
            self.contiguous = self.contiguous.max(first.end);
            self.beyond.pop_min();
        }
        Ok(())
    }

    /// How many bytes can be read now.
    #[inline]
    pub(super) fn readable(&self) -> u64 {
        self.contiguous - self.read
    }

    /// The offset of the next byte to read.
    #[inline]
    pub(super) fn read_offset(&self) -> u64 {
        self.read
    }

    /// The offset up to which everything arrived.
    #[inline]
    pub(super) fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// Copies as much as there is to `out` and returns how much it was.
    pub(super) fn read(&mut self, out: &mut [u8], pool: &mut ChunkPool) -> usize {
        let mut done = 0;
        while done < out.len() && self.read < self.contiguous {
            let (at, len) = self.front(out.len() - done);
            let Some(Some(page)) = self.pages.front() else { break };
            out[done..done + len].copy_from_slice(page.get(at, at + len));
            done += len;
            self.advance(len, pool);
        }
        done
    }

    /// Hands out up to `max` of the next bytes, from one page, without a copy; empty if there are none.
    pub(super) fn read_bytes(&mut self, max: usize, pool: &mut ChunkPool) -> Bytes {
        let (at, len) = self.front(max);
        if len == 0 {
            return Bytes::new();
        }
        let Some(Some(page)) = self.pages.front_mut() else { return Bytes::new() };
        // What was read by copy before is skipped; it must not be lent.
        page.skip(at);
        let bytes = page.lend(at + len);
        self.advance(len, pool);
        bytes
    }

    /// Forgets all bytes; offsets start anew from zero.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool) {
        for page in self.pages.drain(..).flatten() {
            pool.put(page);
        }
        self.beyond.clear();
        (self.first_page, self.read, self.contiguous) = (0, 0, 0);
    }

    /// How many pages there is room for without an allocation.
    pub(super) fn capacity(&self) -> usize {
        self.pages.capacity()
    }

    fn insert_beyond(
        &mut self,
        offset: u64,
        data: &[u8],
        window: u64,
        pool: &mut ChunkPool,
    ) -> Result<(), TooManyGaps> {
        let range = offset..offset + data.len() as u64;
        if self.beyond.contains_range(&range) {
            return Ok(());
        }
        // Counting before merging is slightly strict, and spares a second search.
        if self.beyond.len() as u64 >= (window / BYTES_PER_GAP).max(MIN_GAPS) {
            return Err(TooManyGaps);
        }
        self.copy_in(offset, data, pool);
        self.beyond.insert(range);
        Ok(())
    }

    /// Copies `data` to its pages.
    #[inline]
    fn copy_in(&mut self, mut offset: u64, mut data: &[u8], pool: &mut ChunkPool) {
        while !data.is_empty() {
            let index = (offset / PAGE - self.first_page) as usize;
            let at = (offset % PAGE) as usize;
            let len = data.len().min(CHUNK - at);
            while self.pages.len() <= index {
                self.pages.push_back(None);
            }
            self.pages[index].get_or_insert_with(|| pool.take()).fill(at, &data[..len]);
            offset += len as u64;
            data = &data[len..];
        }
    }

    /// Where in the first page the next bytes are, and how many of them.
    #[inline]
    fn front(&self, max: usize) -> (usize, usize) {
        let at = (self.read % PAGE) as usize;
        let len = self.readable().min(max as u64).min((CHUNK - at) as u64) as usize;
        (at, len)
    }

    /// Notes that `len` bytes of the first page were read.
    fn advance(&mut self, len: usize, pool: &mut ChunkPool) {
        self.read += len as u64;
        // A page that was read to its end goes back, and also one that is read as far as anything came.
        let idle = self.read == self.contiguous && self.beyond.is_empty();
        if self.read.is_multiple_of(PAGE) {
            if let Some(Some(page)) = self.pages.pop_front() {
                pool.put(page);
            }
            self.first_page += 1;
        } else if idle && let Some(Some(page)) = self.pages.front_mut().map(Option::take) {
            pool.put(page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WINDOW: u64 = 1 << 20;

    fn byte(offset: u64) -> u8 {
        (offset * 31 + offset / 256) as u8
    }

    fn bytes(offset: u64, len: u64) -> Vec<u8> {
        (offset..offset + len).map(byte).collect()
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_sent(
            frames in prop::collection::vec((0..20_000u64, 1..3000u64, 0..5000usize, any::<bool>()), 1..60)
        ) {
            let (mut pool, mut buffer) = (ChunkPool::new(), Reassembler::default());
            let mut arrived = vec![false; 24_000];
            let mut at = 0u64;
            for (offset, len, max, copy) in frames {
                buffer.insert(offset, &bytes(offset, len), WINDOW, &mut pool).unwrap();
                arrived[offset as usize..(offset + len) as usize].fill(true);
                let expected = arrived.iter().position(|here| !here).unwrap_or(arrived.len()) as u64;
                prop_assert_eq!(buffer.contiguous(), expected.max(at));
                let got = if copy {
                    let mut out = vec![0; max];
                    let len = buffer.read(&mut out, &mut pool);
                    prop_assert_eq!(len as u64, (max as u64).min(expected - at));
                    out.truncate(len);
                    Bytes::from(out)
                } else {
                    buffer.read_bytes(max, &mut pool)
                };
                prop_assert_eq!(&got[..], &bytes(at, got.len() as u64)[..]);
                at += got.len() as u64;
                prop_assert_eq!(buffer.read_offset(), at);
            }
            buffer.clear(&mut pool);
            prop_assert_eq!(pool.bytes_in_use(), 0);
        }
    }

    #[test]
    fn gaps_are_bounded_by_the_window_and_the_stream_recovers() {
        let (mut pool, mut buffer) = (ChunkPool::new(), Reassembler::default());
        let window = 64 * 1024;
        let taken = (0..window / 2)
            .take_while(|i| buffer.insert(2 * i + 1, &[byte(2 * i + 1)], window, &mut pool).is_ok())
            .count();
        assert_eq!(taken as u64, window / BYTES_PER_GAP);
        assert_eq!(buffer.insert(window - 1, &[0], window, &mut pool), Err(TooManyGaps));
        assert_eq!(buffer.insert(0, &bytes(0, window), window, &mut pool), Ok(()));
        assert_eq!(buffer.readable(), window);
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let (mut pool, mut buffer) = (ChunkPool::new(), Reassembler::default());
        for i in 0..16 {
            buffer.insert(i * PAGE + 9, &[1], 16 * PAGE, &mut pool).unwrap();
        }
        assert_eq!(pool.bytes_in_use() as u64, 16 * PAGE);
    }

    #[test]
    fn a_drained_stream_keeps_no_page() {
        let (mut pool, mut buffer) = (ChunkPool::new(), Reassembler::default());
        buffer.insert(0, b"hello", WINDOW, &mut pool).unwrap();
        assert_eq!(buffer.read(&mut [0; 9], &mut pool), 5);
        assert_eq!(pool.bytes_in_use(), 0);
        buffer.insert(5, b"again", WINDOW, &mut pool).unwrap();
        assert_eq!(&buffer.read_bytes(9, &mut pool)[..], b"again");
    }
}
