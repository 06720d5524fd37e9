//! Fixed-size pieces of memory, reused.
//!
//! Owns: the idle chunks of one connection, and handles on chunks that were lent out as [`Bytes`]. Invariants: a chunk has room for
//! [`CHUNK`] bytes and so never grows; `in_use` counts what [`ChunkPool::take`] gave and [`ChunkPool::put`] did not get back. No timers.
//!
//! A chunk lent with [`Chunk::lend`] shares its memory with the application. The pool keeps the empty handle, and when the
//! application has dropped its `Bytes`, the handle gets the whole memory back: lending costs no allocation in a steady state.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes per chunk. Three packets or so: small enough that a hundred streams with a few bytes each stay in a cache.
pub const CHUNK: usize = 4096;

/// Idle chunks kept beyond which memory goes back to the allocator (2 MiB). As many handles of lent chunks are kept; more are simply forgotten
/// and freed by their last user.
const MAX_IDLE: usize = 512;

/// How many lent chunks are tried before a new one is allocated.
const TRIES: usize = 2;

/// A pool of chunks.
#[derive(Default, Debug)]
pub struct ChunkPool {
    idle: Vec<BytesMut>,
    lent: VecDeque<BytesMut>,
    in_use: usize,
    /// How many idle chunks, and how many handles, are kept: none until somebody takes a chunk.
    keeps: usize,
}

/// One chunk, or what is left of it after its front was lent.
#[derive(Debug)]
pub struct Chunk {
    bytes: BytesMut,
    /// How many bytes were lent from the front; positions count from the chunk's original start.
    lent: usize,
}

impl ChunkPool {
    /// An empty pool; it allocates nothing until a chunk is taken.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty chunk.
    #[inline]
    pub fn take(&mut self) -> Chunk {
        self.in_use += 1;
        self.keeps = MAX_IDLE;
        match self.idle.pop() {
            Some(bytes) => Chunk { bytes, lent: 0 },
            None => self.take_slowly(),
        }
    }

    /// Takes a chunk back.
    #[inline]
    pub fn put(&mut self, chunk: Chunk) {
        self.in_use = self.in_use.saturating_sub(1);
        if chunk.lent == 0 && self.idle.len() < self.keeps {
            let mut bytes = chunk.bytes;
            bytes.clear();
            self.idle.push(bytes);
        } else {
            self.put_slowly(chunk);
        }
    }

    /// Gives back all idle memory, and until the next chunk is taken what is put back too.
    pub fn rest(&mut self) {
        self.idle = Vec::new();
        self.lent = VecDeque::new();
        self.keeps = 0;
    }

    /// Bytes in chunks that were taken and not put back.
    pub fn bytes_in_use(&self) -> usize {
        self.in_use * CHUNK
    }

    /// Bytes in chunks that wait to be taken.
    pub fn bytes_idle(&self) -> usize {
        self.idle.len() * CHUNK
    }

    fn put_slowly(&mut self, chunk: Chunk) {
        if chunk.lent > 0 && self.lent.len() < self.keeps {
            let mut handle = chunk.bytes;
            handle.clear();
            self.lent.push_back(handle);
        }
    }

    fn take_slowly(&mut self) -> Chunk {
        for _ in 0..TRIES.min(self.lent.len()) {
            let Some(mut bytes) = self.lent.pop_front() else { break };
            if bytes.try_reclaim(CHUNK) {
                return Chunk { bytes, lent: 0 };
            }
            self.lent.push_back(bytes);
        }
        Chunk { bytes: BytesMut::with_capacity(CHUNK), lent: 0 }
    }
}

impl Chunk {
    /// The bytes at `from..to`, counted from the chunk's original start; `from` must not be below what was lent, nor `to` above what was
    /// filled.
    #[inline]
    pub fn get(&self, from: usize, to: usize) -> &[u8] {
        &self.bytes[from - self.lent..to - self.lent]
    }

    /// Writes `data` at `at`; `at` must not be below what was lent and `data` must end within the chunk. What lies between the bytes that
    /// were there and `at` becomes zero.
    #[inline]
    pub fn fill(&mut self, at: usize, data: &[u8]) {
        let at = at - self.lent;
        // Data mostly comes in order: then it is copied to memory that nobody has cleared before.
        if at < self.bytes.len() {
            let (old, new) = data.split_at(data.len().min(self.bytes.len() - at));
            self.bytes[at..at + old.len()].copy_from_slice(old);
            self.bytes.extend_from_slice(new);
        } else {
            self.bytes.resize(at, 0);
            self.bytes.extend_from_slice(data);
        }
    }

    /// Hands out the bytes up to `to` without a copy, from the end of what was lent before. They leave this chunk.
    pub fn lend(&mut self, to: usize) -> Bytes {
        let bytes = self.bytes.split_to(to - self.lent).freeze();
        self.lent = to;
        bytes
    }

    /// Gives up the bytes below `to`: they can no longer be read or lent. Nothing happens if they were lent already.
    pub fn skip(&mut self, to: usize) {
        if to > self.lent {
            self.lend(to);
        }
    }

    /// How many bytes were lent (or skipped) from the front.
    pub fn lent(&self) -> usize {
        self.lent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_reused() {
        let mut pool = ChunkPool::new();
        let mut chunk = pool.take();
        chunk.fill(CHUNK - 3, b"abc");
        assert_eq!(chunk.get(CHUNK - 2, CHUNK), b"bc");
        let address = chunk.get(0, 1).as_ptr();
        assert_eq!(pool.bytes_in_use(), CHUNK);
        pool.put(chunk);
        assert_eq!((pool.bytes_in_use(), pool.bytes_idle()), (0, CHUNK));
        let mut again = pool.take();
        again.fill(0, b"d");
        assert_eq!(again.get(0, 1).as_ptr(), address);
    }

    #[test]
    fn a_chunk_is_filled_in_any_order() {
        let mut chunk = ChunkPool::new().take();
        chunk.fill(2, b"cd");
        assert_eq!(chunk.get(0, 4), b"\0\0cd", "nothing of an earlier user shows");
        chunk.fill(0, b"abCDef");
        assert_eq!(chunk.get(0, 6), b"abCDef");
        chunk.fill(1, b"B");
        assert_eq!(chunk.get(0, 6), b"aBCDef");
    }

    #[test]
    fn lent_memory_comes_back_when_its_user_is_done() {
        let mut pool = ChunkPool::new();
        let mut chunk = pool.take();
        chunk.fill(0, b"hello");
        let address = chunk.get(0, 1).as_ptr();
        let (hel, lo) = (chunk.lend(3), chunk.lend(5));
        chunk.fill(5, b"!");
        assert_eq!(chunk.get(5, 6), b"!");
        pool.put(chunk);
        let mut other = pool.take();
        other.fill(0, b"x");
        assert_ne!(other.get(0, 1).as_ptr(), address, "still in use by the application");
        assert_eq!((&hel[..], &lo[..]), (&b"hel"[..], &b"lo"[..]));
        drop((hel, lo));
        let mut again = pool.take();
        again.fill(0, &[7; CHUNK]);
        assert_eq!(again.get(0, CHUNK).as_ptr(), address);
    }

    #[test]
    fn a_resting_pool_keeps_nothing() {
        let mut pool = ChunkPool::new();
        let (first, second) = (pool.take(), pool.take());
        pool.put(first);
        pool.rest();
        assert_eq!((pool.bytes_in_use(), pool.bytes_idle()), (CHUNK, 0));
        pool.put(second);
        assert_eq!((pool.bytes_in_use(), pool.bytes_idle()), (0, 0));
        let chunk = pool.take();
        pool.put(chunk);
        assert_eq!(pool.bytes_idle(), CHUNK);
    }

    #[test]
    fn idle_memory_is_bounded() {
        let mut pool = ChunkPool::new();
        let chunks: Vec<_> = (0..MAX_IDLE + 10).map(|_| pool.take()).collect();
        for chunk in chunks {
            pool.put(chunk);
        }
        assert_eq!(pool.bytes_idle(), MAX_IDLE * CHUNK);
    }
}
