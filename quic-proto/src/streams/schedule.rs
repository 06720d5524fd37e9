//! Which stream sends next.
//!
//! Owns: one queue for each class of work and in it one ring for each priority. Invariants: a stream has at most one entry in each
//! queue (`queued`); an entry counts only while the stream's `class` is this queue's, others are dropped when they come to the
//! front; `live` counts those that count. No timers.
//!
//! Equals take turns. A turn lasts for some packets: a change of streams in each packet would cost frames and cache misses.

use super::table::{Handle, Stream, Table};
use std::collections::VecDeque;

/// Why a stream is to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// It needs no credit of the connection.
    Free = 0,
    /// It sends new bytes within that credit.
    Metered = 1,
}

/// Bytes of a turn.
const TURN: usize = 8 * 1024;

/// Empty rings kept, so that streams that come and go cost no allocation.
const MAX_RINGS: usize = 8;

#[derive(Debug)]
struct Ring {
    priority: i32,
    entries: VecDeque<Handle>,
}

#[derive(Default, Debug)]
struct Queue {
    /// Highest priority first.
    rings: Vec<Ring>,
    live: usize,
    turn: usize,
}

#[derive(Default, Debug)]
pub(super) struct Schedule {
    queues: [Queue; 2],
}

impl Schedule {
    /// Gives back memory that is only kept for streams to come.
    pub(super) fn rest(&mut self) {
        for queue in &mut self.queues {
            queue.rings.retain(|ring| !ring.entries.is_empty());
            queue.rings.shrink_to_fit();
        }
    }

    /// Notes what kind of work a stream has now.
    #[inline]
    pub(super) fn set(&mut self, slot: u32, stream: &mut Stream, class: Option<Class>) {
        if stream.class == class {
            return;
        }
        if let Some(old) = stream.class {
            self.queues[old as usize].live -= 1;
        }
        stream.class = class;
        if let Some(new) = class {
            let queue = &mut self.queues[new as usize];
            queue.live += 1;
            if !stream.queued[new as usize] {
                stream.queued[new as usize] = true;
                queue.ring(stream.priority).push_back(Handle { slot, id: stream.id });
            }
        }
    }

    /// Moves a stream to another priority. Walks over its ring; priorities change rarely.
    pub(super) fn set_priority(&mut self, slot: u32, stream: &mut Stream, priority: i32) {
        let handle = Handle { slot, id: stream.id };
        for (queue, queued) in self.queues.iter_mut().zip(stream.queued) {
            if queued {
                queue.ring(stream.priority).retain(|entry| *entry != handle);
                queue.ring(priority).push_back(handle);
            }
        }
        stream.priority = priority;
    }

    /// Whether a stream has work of this class.
    #[inline]
    pub(super) fn has(&self, class: Class) -> bool {
        self.queues[class as usize].live > 0
    }

    /// The stream whose turn it is; `metered` says whether the connection has credit. Of equals, one that needs none goes first:
    /// RFC 9000 §13.3: "Endpoints SHOULD prioritize retransmission of data over sending new data, unless priorities specified by the
    /// application indicate otherwise".
    #[inline]
    pub(super) fn front(&mut self, table: &mut Table, metered: bool) -> Option<Handle> {
        let free = self.front_of(Class::Free, table);
        let new = if metered { self.front_of(Class::Metered, table) } else { None };
        match (free, new) {
            (Some((free, low)), Some((new, high))) => Some(if high > low { new } else { free }),
            (free, new) => free.or(new).map(|(handle, _)| handle),
        }
    }

    /// Notes that the stream at the front of a class sent `len` bytes.
    #[inline]
    pub(super) fn on_sent(&mut self, class: Class, priority: i32, len: usize) {
        let queue = &mut self.queues[class as usize];
        queue.turn += len;
        if queue.turn >= TURN {
            queue.turn = 0;
            let ring = queue.ring(priority);
            if ring.len() > 1 {
                ring.rotate_left(1);
            }
        }
    }

    fn front_of(&mut self, class: Class, table: &mut Table) -> Option<(Handle, i32)> {
        let queue = &mut self.queues[class as usize];
        if queue.live == 0 {
            return None;
        }
        for ring in &mut queue.rings {
            while let Some(&handle) = ring.entries.front() {
                match table.live(handle) {
                    Some(stream) if stream.class == Some(class) => return Some((handle, ring.priority)),
                    Some(stream) => stream.queued[class as usize] = false,
                    None => {}
                }
                ring.entries.pop_front();
                queue.turn = 0;
            }
        }
        None
    }
}

impl Queue {
    fn ring(&mut self, priority: i32) -> &mut VecDeque<Handle> {
        let at = match self.rings.binary_search_by(|ring| priority.cmp(&ring.priority)) {
            Ok(at) => at,
            Err(mut at) => {
                if self.rings.len() >= MAX_RINGS {
                    self.rings.retain(|ring| !ring.entries.is_empty());
                    at = self.rings.partition_point(|ring| ring.priority > priority);
                }
                self.rings.insert(at, Ring { priority, entries: VecDeque::new() });
                at
            }
        };
        &mut self.rings[at].entries
    }
}
