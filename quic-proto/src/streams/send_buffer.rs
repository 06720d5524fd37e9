//! What an application wrote and the peer has not acknowledged.
//!
//! Owns: the bytes, in segments by offset, and which of them are unsent, lost or acknowledged out of order. Invariants:
//! `base <= unsent <= end`; segments are contiguous and cover `base..end` (the first may begin below `base`); `lost` and `acked` are
//! disjoint and lie within `base..unsent`; `acked` does not begin at `base`. No timers.
//!
//! New data is read at a cursor, O(1); an acknowledgement at `base` frees from the front, O(1) per segment; only retransmissions
//! look up their segment, by a binary search.

use crate::util::{CHUNK, Chunk, ChunkPool, RangeSet};
use bytes::Bytes;
use std::collections::VecDeque;
use std::ops::Range;

#[derive(Debug)]
enum Data {
    /// Copied, with the number of bytes filled.
    Copied(Chunk, usize),
    /// Kept as the application gave it.
    Kept(Bytes),
}

#[derive(Debug)]
struct Segment {
    start: u64,
    data: Data,
}

impl Segment {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match &self.data {
            Data::Copied(chunk, filled) => chunk.get(0, *filled),
            Data::Kept(bytes) => bytes,
        }
    }

    #[inline]
    fn end(&self) -> u64 {
        let len = match &self.data {
            Data::Copied(_, filled) => *filled,
            Data::Kept(bytes) => bytes.len(),
        };
        self.start + len as u64
    }
}

/// Bytes below this are copied into chunks even if given as `Bytes`: a segment costs more than they do.
const COPY_BELOW: usize = 256;

/// See the module.
#[derive(Default, Debug)]
pub(super) struct SendBuffer {
    segments: VecDeque<Segment>,
    /// Index of the segment in which `unsent` lies, if there is unsent data.
    cursor: usize,
    base: u64,
    unsent: u64,
    end: u64,
    lost: RangeSet,
    acked: RangeSet,
}

impl SendBuffer {
    /// Copies `data` to the end.
    pub(super) fn write(&mut self, mut data: &[u8], pool: &mut ChunkPool) {
        while !data.is_empty() {
            if let Some(Segment { data: Data::Copied(chunk, filled), .. }) = self.segments.back_mut()
                && *filled < CHUNK
            {
                let len = data.len().min(CHUNK - *filled);
                chunk.fill(*filled, &data[..len]);
                *filled += len;
                self.end += len as u64;
                data = &data[len..];
            } else {
                self.segments.push_back(Segment { start: self.end, data: Data::Copied(pool.take(), 0) });
            }
        }
    }

    /// Appends `data` without copying it (unless it is very short).
    pub(super) fn write_bytes(&mut self, data: Bytes, pool: &mut ChunkPool) {
        if data.len() < COPY_BELOW {
            return self.write(&data, pool);
        }
        let start = self.end;
        self.end += data.len() as u64;
        self.segments.push_back(Segment { start, data: Data::Kept(data) });
    }

    /// The offset behind the last byte written.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The offset of the first byte that was never sent.
    #[inline]
    pub(super) fn unsent(&self) -> u64 {
        self.unsent
    }

    /// Whether there are lost bytes to send again.
    #[inline]
    pub(super) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Whether all that was written is acknowledged.
    #[inline]
    pub(super) fn is_all_acked(&self) -> bool {
        self.base == self.end
    }

    /// How many bytes are held: written, and not in the acknowledged front.
    #[inline]
    pub(super) fn held(&self) -> u64 {
        self.end - self.base
    }

    /// What to send next: lost bytes first, then new ones.
    #[inline]
    pub(super) fn next(&self) -> Range<u64> {
        self.lost.first().unwrap_or(self.unsent..self.end)
    }

    /// Copies the bytes from `offset` to `out` and notes them as sent. They must be the front of [`Self::next`].
    pub(super) fn send(&mut self, offset: u64, out: &mut [u8]) {
        let end = offset + out.len() as u64;
        if offset == self.unsent {
            self.cursor = self.copy(self.cursor, offset, out);
            self.unsent = end;
        } else {
            let index = self.segments.partition_point(|segment| segment.end() <= offset);
            self.copy(index, offset, out);
            self.lost.remove(offset..end);
        }
    }

    /// Notes that the peer has `range`; returns how many bytes were freed.
    pub(super) fn on_acked(&mut self, range: Range<u64>, pool: &mut ChunkPool) -> u64 {
        let range = range.start.max(self.base)..range.end.min(self.unsent);
        if range.is_empty() {
            return 0;
        }
        if !self.lost.is_empty() {
            // Declared lost too early: need not be sent again.
            self.lost.remove(range.clone());
        }
        if range.start > self.base {
            self.acked.insert(range);
            return 0;
        }
        let before = self.base;
        self.base = range.end;
        while let Some(first) = self.acked.first()
            && first.start <= self.base
        {
            self.base = self.base.max(first.end);
            self.acked.pop_min();
        }
        while let Some(front) = self.segments.front()
            && front.end() <= self.base
        {
            if let Some(Segment { data: Data::Copied(chunk, _), .. }) = self.segments.pop_front() {
                pool.put(chunk);
            }
            self.cursor = self.cursor.saturating_sub(1);
        }
        self.base - before
    }

    /// Notes that `range` was lost; what is not acknowledged meanwhile is sent again.
    pub(super) fn on_lost(&mut self, range: Range<u64>) {
        let range = range.start.max(self.base)..range.end.min(self.unsent);
        if self.acked.is_empty() {
            self.lost.insert(range);
        } else {
            for gap in self.acked.gaps_rev(range) {
                self.lost.insert(gap);
            }
        }
    }

    /// Forgets all bytes and returns how many were held; offsets start anew from zero.
    pub(super) fn clear(&mut self, pool: &mut ChunkPool) -> u64 {
        let held = self.held();
        for segment in self.segments.drain(..) {
            if let Data::Copied(chunk, _) = segment.data {
                pool.put(chunk);
            }
        }
        (self.base, self.unsent, self.end, self.cursor) = (0, 0, 0, 0);
        self.lost.clear();
        self.acked.clear();
        held
    }

    /// How many segments there is room for without an allocation.
    pub(super) fn capacity(&self) -> usize {
        self.segments.capacity()
    }

    /// Copies from segment `index` on; returns the index of the segment in which the following byte lies.
    #[inline]
    fn copy(&self, mut index: usize, mut offset: u64, mut out: &mut [u8]) -> usize {
        while !out.is_empty() {
            let Some(segment) = self.segments.get(index) else {
                debug_assert!(false, "invariant: segments cover base..end");
                break;
            };
            let bytes = &segment.bytes()[(offset - segment.start) as usize..];
            let len = bytes.len().min(out.len());
            let (head, rest) = out.split_at_mut(len);
            head.copy_from_slice(&bytes[..len]);
            out = rest;
            offset += len as u64;
            // The last segment may still grow: the cursor stays on it, at its end.
            if len == bytes.len() && (index + 1 < self.segments.len() || !self.can_grow(index)) {
                index += 1;
            } else if len == 0 {
                debug_assert!(false, "invariant: callers stay within base..end");
                break;
            }
        }
        index
    }

    fn can_grow(&self, index: usize) -> bool {
        matches!(self.segments.get(index), Some(Segment { data: Data::Copied(_, filled), .. }) if *filled < CHUNK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn byte(offset: u64) -> u8 {
        (offset * 31 + offset / 256) as u8
    }

    #[derive(Clone, Debug)]
    enum Op {
        Write(usize),
        WriteBytes(usize),
        Send(usize),
        Ack(usize),
        Lose(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0..6000usize).prop_map(Op::Write),
            (0..6000usize).prop_map(Op::WriteBytes),
            (1..1500usize).prop_map(Op::Send),
            (1..1500usize).prop_map(Op::Send),
            any::<usize>().prop_map(Op::Ack),
            any::<usize>().prop_map(Op::Lose),
        ]
    }

    proptest! {
        #[test]
        fn every_byte_sent_is_right_and_all_is_freed(ops in prop::collection::vec(op(), 1..80)) {
            let (mut pool, mut buffer) = (ChunkPool::new(), SendBuffer::default());
            let mut flight: Vec<Range<u64>> = Vec::new();
            let mut held = 0;
            let send = |buffer: &mut SendBuffer, flight: &mut Vec<Range<u64>>, max: usize| {
                let next = buffer.next();
                let len = max.min((next.end - next.start) as usize);
                let mut out = vec![0; len];
                if len > 0 {
                    buffer.send(next.start, &mut out);
                    let range = next.start..next.start + len as u64;
                    prop_assert!(range.clone().zip(&out).all(|(at, sent)| byte(at) == *sent));
                    flight.push(range);
                }
                Ok(())
            };
            for op in ops {
                match op {
                    Op::Write(len) | Op::WriteBytes(len) => {
                        let data: Vec<u8> = (buffer.end()..buffer.end() + len as u64).map(byte).collect();
                        held += len as u64;
                        if matches!(op, Op::Write(_)) { buffer.write(&data, &mut pool) }
                        else { buffer.write_bytes(data.into(), &mut pool) }
                    }
                    Op::Send(max) => send(&mut buffer, &mut flight, max)?,
                    Op::Ack(at) if !flight.is_empty() => {
                        let range = flight.swap_remove(at % flight.len());
                        held -= buffer.on_acked(range, &mut pool);
                    }
                    Op::Lose(at) if !flight.is_empty() => {
                        let range = flight.swap_remove(at % flight.len());
                        buffer.on_lost(range);
                    }
                    _ => {}
                }
                prop_assert_eq!(held, buffer.held());
            }
            while !buffer.is_all_acked() {
                send(&mut buffer, &mut flight, 1200)?;
                if let Some(range) = flight.pop() { held -= buffer.on_acked(range, &mut pool); }
            }
            prop_assert_eq!(held, 0);
            prop_assert_eq!(pool.bytes_in_use(), 0);
        }
    }

    #[test]
    fn late_acknowledgements_stop_retransmissions() {
        let (mut pool, mut buffer) = (ChunkPool::new(), SendBuffer::default());
        buffer.write(&[7; 100], &mut pool);
        buffer.send(0, &mut [0; 100]);
        buffer.on_lost(0..100);
        assert_eq!(buffer.next(), 0..100);
        assert_eq!(buffer.on_acked(0..40, &mut pool), 40);
        assert_eq!(buffer.next(), 40..100);
        assert_eq!(buffer.on_acked(60..100, &mut pool), 0);
        buffer.on_lost(0..100);
        assert_eq!(buffer.next(), 40..60);
    }
}
