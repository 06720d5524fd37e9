//! All streams that are neither unused nor over.
//!
//! Owns: the streams in a slab, the map from ids to slots, and spare buffers of streams that are over. Invariants: every occupied slot
//! is in the map and no other; a slot is reused under another id only, so that a [`Handle`] tells whether it is stale. No timers.
//!
//! A peer chooses ids only below a limit of ours, so that the map's hash need not be keyed. The last stream looked up is remembered,
//! which answers most look-ups of a bulk transfer.

use super::StreamRules;
use super::intents::STOP;
use super::reassembler::Reassembler;
use super::recv::RecvHalf;
use super::send::SendHalf;
use super::send_buffer::SendBuffer;
use crate::id::StreamId;
use crate::util::{BuildIdHasher, ChunkPool};
use std::collections::HashMap;

/// Spare buffers kept of each kind, and how many entries each may have.
const MAX_SPARES: usize = 64;
const MAX_SPARE_CAPACITY: usize = 64;

/// Names a stream without a search: its slot, and its id to see whether the slot is still its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Handle {
    pub(super) slot: u32,
    pub(super) id: StreamId,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) send: Option<SendHalf>,
    pub(super) recv: Option<RecvHalf>,
    pub(super) priority: i32,
    /// Whether its bytes count for the connection's flow control.
    pub(super) metered: bool,
    /// The queue of the schedule in which it belongs, if any.
    pub(super) class: Option<super::schedule::Class>,
    /// In which queues of the schedule there is an entry for it.
    pub(super) queued: [bool; 2],
    /// Frames that it wants sent: the bits of `intents`.
    pub(super) wants: u8,
    /// Whether it is in the queue of streams with such frames.
    pub(super) wants_queued: bool,
    /// Whether it is in the queue of streams that wait for room in the send buffer.
    pub(super) waiting_queued: bool,
    /// Whether it is in the list of streams that wait for the peer's limit.
    pub(super) stalled_listed: bool,
    /// Whether the peer, who opened it, may open another one in its place.
    pub(super) vacated: bool,
}

impl Stream {
    /// Whether the application wants no more, but the peer cannot be asked to stop yet.
    pub(super) fn stop_waits(&self, rules: &StreamRules) -> bool {
        let open = self.send.as_ref().is_some_and(|send| send.end().is_none());
        rules.stop_tells_end && self.wants & STOP != 0 && open
    }

    /// Whether the peer may need a higher limit: in Recv only (RFC 9000 §3.2: in Size Known no more MAX_STREAM_DATA need be sent), and
    /// not if it is asked to stop.
    #[inline]
    pub(super) fn wants_credit(&self, rules: &StreamRules) -> bool {
        let Some(recv) = &self.recv else { return false };
        recv.is_size_open() && (!recv.is_stopped() || self.stop_waits(rules))
    }
}

#[derive(Default, Debug)]
pub(super) struct Table {
    slots: Vec<Option<Stream>>,
    free: Vec<u32>,
    map: HashMap<u64, u32, BuildIdHasher>,
    last: Option<Handle>,
    spare_send: Vec<SendBuffer>,
    spare_recv: Vec<Reassembler>,
}

impl Table {
    /// Bytes of memory behind the table, without the buffers of streams.
    pub(super) fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Option<Stream>>()
            + self.free.capacity() * size_of::<u32>()
            + self.map.capacity() * size_of::<(u64, u32)>()
            + self.spare_send.capacity() * size_of::<SendBuffer>()
            + self.spare_recv.capacity() * size_of::<Reassembler>()
    }

    /// Gives back memory that is only kept for streams to come.
    pub(super) fn rest(&mut self) {
        if self.map.is_empty() {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        self.map.shrink_to_fit();
        self.spare_send = Vec::new();
        self.spare_recv = Vec::new();
    }

    /// The slot of a stream.
    #[inline]
    pub(super) fn find(&mut self, id: StreamId) -> Option<u32> {
        if let Some(last) = self.last
            && last.id == id
        {
            return Some(last.slot);
        }
        let slot = *self.map.get(&id.as_u64())?;
        self.last = Some(Handle { slot, id });
        Some(slot)
    }

    /// The stream in a slot that was just found.
    #[inline]
    pub(super) fn get(&mut self, slot: u32) -> Option<&mut Stream> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// The stream of a handle, if it still exists.
    #[inline]
    pub(super) fn live(&mut self, handle: Handle) -> Option<&mut Stream> {
        self.get(handle.slot).filter(|stream| stream.id == handle.id)
    }

    /// Adds a stream, whose id must be new.
    pub(super) fn insert(
        &mut self,
        id: StreamId,
        metered: bool,
        send: Option<SendHalf>,
        recv: Option<RecvHalf>,
    ) -> u32 {
        let stream = Stream {
            id,
            send,
            recv,
            priority: 0,
            metered,
            class: None,
            queued: [false; 2],
            wants: 0,
            wants_queued: false,
            waiting_queued: false,
            stalled_listed: false,
            vacated: false,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        self.slots[slot as usize] = Some(stream);
        self.map.insert(id.as_u64(), slot);
        slot
    }

    /// Removes a stream; its memory goes to the pool and the spares.
    pub(super) fn remove(&mut self, slot: u32, pool: &mut ChunkPool) {
        let Some(stream) = self.slots.get_mut(slot as usize).and_then(Option::take) else { return };
        self.map.remove(&stream.id.as_u64());
        self.free.push(slot);
        if self.last.is_some_and(|last| last.slot == slot) {
            self.last = None;
        }
        if let Some(mut buffer) = stream.send.map(|send| send.buffer) {
            buffer.clear(pool);
            if self.spare_send.len() < MAX_SPARES && buffer.capacity() <= MAX_SPARE_CAPACITY {
                self.spare_send.push(buffer);
            }
        }
        if let Some(mut reassembler) = stream.recv.map(|recv| recv.reassembler) {
            reassembler.clear(pool);
            if self.spare_recv.len() < MAX_SPARES && reassembler.capacity() <= MAX_SPARE_CAPACITY {
                self.spare_recv.push(reassembler);
            }
        }
    }

    /// An empty send buffer.
    pub(super) fn spare_send(&mut self) -> SendBuffer {
        self.spare_send.pop().unwrap_or_default()
    }

    /// An empty reassembler.
    pub(super) fn spare_recv(&mut self) -> Reassembler {
        self.spare_recv.pop().unwrap_or_default()
    }

    /// How many streams there are.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// How many slots there are, for a walk over all.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stale_handles_are_noticed() {
        let (mut table, mut pool) = (Table::default(), ChunkPool::new());
        let (first, second) = (StreamId::from_u64(0), StreamId::from_u64(4));
        let slot = table.insert(first, true, None, None);
        let handle = Handle { slot, id: first };
        assert_eq!(table.find(first), Some(slot));
        table.remove(slot, &mut pool);
        assert_eq!(table.find(first), None);
        assert_eq!(table.insert(second, true, None, None), slot, "the slot is reused");
        assert!(table.live(handle).is_none());
        table.rest();
        assert_eq!((table.find(second), table.len()), (Some(slot), 1));
        table.remove(slot, &mut pool);
        table.rest();
        assert_eq!(table.memory(), 0);
        assert!(table.live(Handle { slot, id: second }).is_none());
    }
}
