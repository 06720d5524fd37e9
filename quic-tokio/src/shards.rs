//! The shards of an endpoint: one socket and one driver for each core.
//!
//! Owns [`ShardList`], which every handle of the endpoint and every driver points to, and [`Waiting`], a place in a queue of each shard.
//! A connection belongs to one shard for life, and its handles know nothing of the others. An endpoint that was not told otherwise has one.
//!
//! In some versions servers send packets without an id, which no rule leads to their connection. Once a shard has such a connection, all
//! shards are asked whose a datagram is.
//!
//! Invariants: no two shards are locked at once. All shards have the same clock, so that one can give a datagram to another with its time.
//!
//! Timers: none.

use crate::state::{Guard, Shared, State};
use crate::wakers::Waiters;
use quic_proto::net::Datagram;
use quic_proto::time::Instant;
use quic_udp::Shards;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

pub(crate) struct ShardList {
    shards: Box<[Arc<Shared>]>,
    /// Which datagram is whose; `None` if there is one shard.
    rule: Option<Shards>,
    /// Whether the rule may be wrong.
    search: AtomicBool,
    /// Who is the next to be asked first.
    turn: AtomicUsize,
}

impl Deref for ShardList {
    type Target = [Arc<Shared>];
    fn deref(&self) -> &[Arc<Shared>] {
        &self.shards
    }
}

impl ShardList {
    pub(crate) fn new(shards: Vec<Arc<Shared>>, rule: Option<Shards>) -> Self {
        Self { shards: shards.into(), rule, search: AtomicBool::new(false), turn: AtomicUsize::new(0) }
    }

    /// All shards, beginning with another one each time, so that none is always the last.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = (usize, &Arc<Shared>)> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed) % self.len();
        let order = (first..self.len()).chain(0..first);
        order.map(|number| (number, &self.shards[number]))
    }

    /// Whether a datagram that shard `own` got may belong to another one.
    pub(crate) fn may_be_elsewhere(&self, own: usize, datagram: &Datagram<'_>) -> bool {
        let Some(rule) = self.rule else { return false };
        self.search.load(Ordering::Relaxed) || rule.of(datagram.payload).is_some_and(|owner| owner != own)
    }

    /// A shard has connections to which packets come without an id: from now on the rule is not trusted alone.
    pub(crate) fn search_from_now_on(&self) {
        self.search.store(true, Ordering::Relaxed);
    }

    /// The shard that knows a datagram, the one that the rule names first.
    fn search(&self, named: Option<usize>, datagram: &Datagram<'_>) -> Option<usize> {
        let owns = |shard: &usize| self.shards[*shard].lock_quietly().endpoint.owns(datagram);
        named.into_iter().chain(0..self.len()).find(owns).or(named)
    }

    /// Gives a datagram that shard `own` got to the one that it belongs to. No shard may be locked.
    pub(crate) fn hand_over(&self, own: usize, now: Instant, datagram: Datagram<'_>) {
        let named = self.rule.and_then(|rule| rule.of(datagram.payload));
        let owner = if self.search.load(Ordering::Relaxed) { self.search(named, &datagram) } else { named };
        let owner = owner.unwrap_or(own);
        let mut state = self.shards[owner].lock();
        state.endpoint.handle_datagram(now, datagram);
        if owner != own {
            state.forwarded += 1;
            state.needs_driver();
        }
    }

    /// Locks one shard after the other.
    pub(crate) fn for_each(&self, mut act: impl FnMut(&mut Guard<'_>)) {
        for shard in &self.shards {
            act(&mut shard.lock());
        }
    }
}

/// Places in a queue that each shard has, given back when the future that waits ends or is dropped.
pub(crate) struct Waiting<'a> {
    shards: &'a ShardList,
    queue: fn(&mut State) -> &mut Waiters,
    places: Box<[Option<usize>]>,
}

impl<'a> Waiting<'a> {
    pub(crate) fn new(shards: &'a ShardList, queue: fn(&mut State) -> &mut Waiters) -> Self {
        Self { shards, queue, places: vec![None; shards.len()].into() }
    }

    /// Asks the shards in turn until one is `ready`; waits with all that are not.
    pub(crate) fn poll_any<R>(
        &mut self,
        cx: &Context<'_>,
        mut ready: impl FnMut(&mut State) -> Option<R>,
    ) -> Poll<(usize, R)> {
        for (number, shard) in self.shards.in_turn() {
            let mut guard = shard.lock();
            match ready(&mut guard) {
                Some(result) => return Poll::Ready((number, result)),
                None => (self.queue)(&mut guard).wait(&mut self.places[number], cx.waker()),
            }
        }
        Poll::Pending
    }

    /// Waits until every shard is `ready`.
    pub(crate) fn poll_all(&mut self, cx: &Context<'_>, mut ready: impl FnMut(&State) -> bool) -> Poll<()> {
        let mut waits = false;
        for (shard, place) in self.shards.iter().zip(&mut self.places) {
            let mut guard = shard.lock();
            if !ready(&guard) {
                (self.queue)(&mut guard).wait(place, cx.waker());
                waits = true;
            }
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        for (shard, place) in self.shards.iter().zip(&self.places) {
            if let Some(place) = *place {
                (self.queue)(&mut shard.lock()).leave(place);
            }
        }
    }
}
