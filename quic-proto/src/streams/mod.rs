//! Streams, RFC 9000 §2, §3 and §4.
//!
//! Owns: every stream of a connection, its bytes in both directions, stream limits and flow control of streams and connection. What
//! arrives comes in by the `on_…` verbs, what is to be sent is asked for by `peek_…` and confirmed by `take_…`, and what became of it
//! comes back as [`Token`](crate::recovery::token::Token)s. Applications hold a [`SendStream`] or [`RecvStream`] for a moment.
//!
//! Invariants: `buffered` is the sum over streams of bytes written and not freed, at most the configured limit; a stream is forgotten
//! as soon as both its parts are over; every queue holds a stream at most once. No timers; the time passed in only tunes windows.
//!
//! ```text
//! on_stream ──► recv ──► reassembler ──► RecvStream      SendStream ──► send_buffer ──► schedule ──► peek_data, take_data
//!     receive.rs                            api.rs                                                       transmit.rs
//! ```

mod api;
mod intents;
mod limits;
mod reassembler;
mod receive;
mod recv;
mod schedule;
mod send;
mod send_buffer;
mod table;
#[cfg(test)]
mod tests;
mod transmit;

pub use api::{ClosedStream, OpenError, Read, ReadError, RecvStream, SendStream, WriteError};
pub use intents::Intent;
pub use receive::Received;
pub use transmit::{Lack, Sendable};

use crate::event::StreamEvent;
use crate::flow::{RecvCredit, SendCredit};
use crate::id::{Dir, Side, StreamId};
use crate::time::{Duration, Instant};
use crate::util::ChunkPool;
use limits::{OwnOpened, PeerOpened};
use recv::RecvHalf;
use schedule::{Class, Schedule};
use send::{SendHalf, Work};
use std::collections::VecDeque;
use table::{Handle, Table};

/// What we permit a peer, and ourselves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamsConfig {
    /// Which end we are.
    pub side: Side,
    /// The window of each stream at first, in bytes.
    pub stream_window: u64,
    /// How far that window may grow.
    pub stream_window_max: u64,
    /// The window of the connection at first, in bytes.
    pub connection_window: u64,
    /// How far that window may grow.
    pub connection_window_max: u64,
    /// How many bidirectional streams the peer may have open at once.
    pub max_bidi: u64,
    /// How many unidirectional streams the peer may have open at once.
    pub max_uni: u64,
    /// How many bytes an application may have written on all streams that are not acknowledged yet.
    pub send_buffer: u64,
    /// In what the protocol differs from RFC 9000.
    pub rules: StreamRules,
}

/// In what a protocol's streams may differ from RFC 9000, which is the default.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StreamRules {
    /// Stream limits count what is open at once: they rise by themselves with each stream that is over, and no frame tells of them. The
    /// value is how many streams of one side there can be in all.
    pub concurrent_limits: Option<u64>,
    /// How many bidirectional streams beyond the limit the peer may have open before that is a violation.
    pub tolerance: u64,
    /// To ask the peer to stop is also to say where our own data ends, so that it waits until that is known. Until then the peer may go on:
    /// it might not read what we have to say before it has sent all of its own.
    pub stop_tells_end: bool,
    /// The stream whose bytes do not count for the connection's flow control.
    pub unmetered: Option<StreamId>,
}

/// What the peer permits us at first: its transport parameters, named from its point of view (RFC 9000 §18.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PeerLimits {
    /// `initial_max_data`.
    pub max_data: u64,
    /// `initial_max_stream_data_bidi_local`: for streams that the peer opens.
    pub stream_data_bidi_local: u64,
    /// `initial_max_stream_data_bidi_remote`: for streams that we open.
    pub stream_data_bidi_remote: u64,
    /// `initial_max_stream_data_uni`.
    pub stream_data_uni: u64,
    /// `initial_max_streams_bidi`.
    pub max_bidi: u64,
    /// `initial_max_streams_uni`.
    pub max_uni: u64,
}

/// Counts since the connection began.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub struct StreamsStats {
    /// Streams that we opened.
    pub opened: u64,
    /// Streams of the peer of which something was heard.
    pub peer_opened: u64,
    /// Stream bytes sent, with those sent again.
    pub sent: u64,
    /// Stream bytes sent again.
    pub resent: u64,
    /// Stream bytes received, without those that came again.
    pub received: u64,
    /// STREAM frames refused for having too many gaps before them.
    pub refused: u64,
}

/// All streams of a connection.
#[derive(Debug)]
pub struct Streams {
    config: StreamsConfig,
    peer: PeerLimits,
    table: Table,
    pool: ChunkPool,
    schedule: Schedule,
    send_credit: SendCredit,
    recv_credit: RecvCredit,
    own_opened: [OwnOpened; 2],
    peer_opened: [PeerOpened; 2],
    /// The peer takes no new streams.
    peer_goes_away: bool,
    events: VecDeque<StreamEvent>,
    /// Wishes of the connection: bits of `intents`.
    wants: u8,
    /// Streams that want frames other than STREAM sent.
    wanting: VecDeque<Handle>,
    /// Streams whose application waits for room in the send buffer.
    waiting: VecDeque<Handle>,
    /// Streams whose application waited for the peer's limit of the stream when it was last asked; those of them that do not any more are
    /// taken out when somebody looks.
    stalled: Vec<Handle>,
    buffered: u64,
    finishing: usize,
    now: Instant,
    rtt: Duration,
    stats: StreamsStats,
}

impl Streams {
    /// No streams yet, and no permission to open one: see [`Self::set_peer_limits`].
    pub fn new(config: StreamsConfig) -> Self {
        Self {
            recv_credit: RecvCredit::new(config.connection_window, config.connection_window_max),
            peer_opened: [
                PeerOpened::new(config.max_bidi.saturating_add(config.rules.tolerance)),
                PeerOpened::new(config.max_uni),
            ],
            config,
            peer: PeerLimits::default(),
            table: Table::default(),
            pool: ChunkPool::new(),
            schedule: Schedule::default(),
            send_credit: SendCredit::default(),
            own_opened: Default::default(),
            peer_goes_away: false,
            events: VecDeque::new(),
            wants: 0,
            wanting: VecDeque::new(),
            waiting: VecDeque::new(),
            stalled: Vec::new(),
            buffered: 0,
            finishing: 0,
            now: Instant::EPOCH,
            rtt: Duration::ZERO,
            stats: StreamsStats::default(),
        }
    }

    /// Takes the limits of the peer's transport parameters. Limits that are known to be higher stay.
    pub fn set_peer_limits(&mut self, limits: PeerLimits) {
        self.peer = limits;
        self.send_credit.raise(limits.max_data);
        self.raise_streams(Dir::Bi, limits.max_bidi);
        self.raise_streams(Dir::Uni, limits.max_uni);
        for slot in 0..self.table.slots() {
            if let Some(stream) = self.table.get(slot) {
                let (id, limit) = (stream.id, peer_limit(&limits, self.config.side, stream.id));
                self.raise_stream_data(slot, id, limit);
            }
        }
    }

    /// Something that the application may want to act on. Each stream is queued at most once for each kind.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// If the peer's limit does not permit it now, or it takes no new streams.
    pub fn open(&mut self, dir: Dir) -> Result<StreamId, OpenError> {
        if self.peer_goes_away {
            return Err(OpenError::GoingAway);
        }
        let own = &mut self.own_opened[dir as usize];
        // RFC 9000 §4.6: "Endpoints MUST NOT exceed the limit set by their peer."
        if own.credit.available() == 0 {
            own.waiting = true;
            // RFC 9000 §4.6: "An endpoint that is unable to open a new stream due to the peer's limits SHOULD send a STREAMS_BLOCKED frame".
            if self.config.rules.concurrent_limits.is_none() && own.credit.report_blocked() {
                self.wants |= intents::STREAMS_BLOCKED << dir as u8;
            }
            return Err(OpenError::Blocked);
        }
        let id = StreamId::new(self.config.side, dir, own.credit.used());
        own.credit.consume(1);
        self.stats.opened += 1;
        self.create(id);
        Ok(id)
    }

    /// The next stream that the peer opened, in the order of ids.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        let index = self.peer_opened[dir as usize].accept()?;
        Some(StreamId::new(!self.config.side, dir, index))
    }

    /// The sending part of a stream.
    ///
    /// # Errors
    /// If there is no such stream or it is over, or only the peer sends on it.
    pub fn send_stream(&mut self, id: StreamId) -> Result<SendStream<'_>, ClosedStream> {
        let slot = self.find_or_use(id)?;
        self.table.get(slot).filter(|stream| stream.send.is_some()).ok_or(ClosedStream)?;
        Ok(SendStream { streams: self, slot })
    }

    /// The receiving part of a stream.
    ///
    /// # Errors
    /// If there is no such stream or it is over, or only we send on it.
    pub fn recv_stream(&mut self, id: StreamId) -> Result<RecvStream<'_>, ClosedStream> {
        let slot = self.find_or_use(id)?;
        self.table.get(slot).filter(|stream| stream.recv.is_some()).ok_or(ClosedStream)?;
        Ok(RecvStream { streams: self, slot })
    }

    /// Where our data on a stream ends, once the application has finished it; `None` before, or if the stream is over or was reset.
    pub fn end_of(&mut self, id: StreamId) -> Option<u64> {
        let slot = self.table.find(id)?;
        self.table.get(slot)?.send.as_ref()?.end()
    }

    /// Whether the peer was told of the end of our data on a stream; `None` if there is no such stream, or not any more.
    pub fn is_end_sent(&mut self, id: StreamId) -> Option<bool> {
        let slot = self.table.find(id)?;
        self.table.get(slot)?.send.as_ref().map(SendHalf::is_end_sent)
    }

    /// Takes over what the application waits for on a connection that this one takes the place of, before any stream was opened.
    pub fn wait_as(&mut self, before: &Self) {
        for (own, before) in self.own_opened.iter_mut().zip(&before.own_opened) {
            own.waiting = before.waiting;
        }
    }

    /// Whether no stream that was finished still lacks an acknowledgement.
    pub fn all_sent_acked(&self) -> bool {
        self.finishing == 0
    }

    /// Bytes that applications wrote and that are not freed yet.
    pub fn buffered(&self) -> u64 {
        self.buffered
    }

    /// Bytes of memory in buffers: received and not read, written and not acknowledged, and idle ones.
    pub fn memory_used(&self) -> usize {
        self.pool.bytes_in_use() + self.pool.bytes_idle()
    }

    /// Bytes of memory behind all streams, their buffers among them.
    pub fn memory(&self) -> usize {
        self.memory_used() + self.table.memory()
    }

    /// Gives back memory that is only kept so that what comes next costs no allocation.
    pub fn rest(&mut self) {
        self.pool.rest();
        self.table.rest();
        self.schedule.rest();
        self.events.shrink_to_fit();
        self.wanting.shrink_to_fit();
        self.waiting.shrink_to_fit();
    }

    /// How many streams are open.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no stream is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts since the connection began.
    pub fn stats(&self) -> StreamsStats {
        self.stats
    }

    fn create(&mut self, id: StreamId) -> u32 {
        let own = id.initiator() == self.config.side;
        let send = (own || id.dir() == Dir::Bi)
            .then(|| SendHalf::new(peer_limit(&self.peer, self.config.side, id), self.table.spare_send()));
        let recv = (!own || id.dir() == Dir::Bi).then(|| {
            let (window, ceiling) = (self.config.stream_window, self.config.stream_window_max);
            RecvHalf::new(window, ceiling, self.table.spare_recv())
        });
        self.table.insert(id, self.config.rules.unmetered != Some(id), send, recv)
    }

    /// The slot of a stream that the application names.
    fn find_or_use(&mut self, id: StreamId) -> Result<u32, ClosedStream> {
        if let Some(slot) = self.table.find(id) {
            return Ok(slot);
        }
        if id.initiator() == self.config.side || !self.peer_opened[id.dir() as usize].use_unused(id.index()) {
            return Err(ClosedStream);
        }
        Ok(self.create(id))
    }

    /// Puts a stream where its work belongs.
    #[inline]
    fn reschedule(&mut self, slot: u32) {
        let Some(stream) = self.table.get(slot) else { return };
        let class = match stream.send.as_ref().map_or(Work::Idle, SendHalf::work) {
            Work::Idle => None,
            Work::New if stream.metered => Some(Class::Metered),
            Work::New | Work::Free => Some(Class::Free),
        };
        self.schedule.set(slot, stream, class);
        self.note_data_blocked();
    }

    /// RFC 9000 §4.1: "A sender SHOULD send a STREAM_DATA_BLOCKED or DATA_BLOCKED frame to indicate to the receiver that it has data to write
    /// but is blocked by flow control limits." Once for each limit.
    #[inline]
    fn note_data_blocked(&mut self) {
        if self.send_credit.available() == 0
            && self.schedule.has(Class::Metered)
            && self.send_credit.report_blocked()
        {
            self.wants |= intents::DATA_BLOCKED;
        }
    }

    /// Where limits count what is open at once, a stream is over for the peer, who opened it, as soon as it knows how both directions end; it
    /// may open another one in its place before we hear that it knows.
    fn vacate_if_told(&mut self, slot: u32) {
        let Some(stream) = self.table.get(slot) else { return };
        let told = stream.send.as_ref().is_none_or(SendHalf::is_told)
            && stream.recv.as_ref().is_none_or(RecvHalf::is_terminal);
        let theirs = stream.id.initiator() != self.config.side;
        if told && theirs && !stream.vacated && self.config.rules.concurrent_limits.is_some() {
            let opened = &mut self.peer_opened[stream.id.dir() as usize];
            stream.vacated = opened.on_closed_early();
            opened.advertise(opened.target());
        }
    }

    /// Forgets a stream of which both parts are over.
    fn forget_if_over(&mut self, slot: u32) {
        let Some(stream) = self.table.get(slot) else { return };
        let over = stream.send.as_ref().is_none_or(SendHalf::is_terminal)
            && stream.recv.as_ref().is_none_or(RecvHalf::is_terminal);
        if !over {
            return self.vacate_if_told(slot);
        }
        let (id, dir, vacated) = (stream.id, stream.id.dir(), stream.vacated);
        self.schedule.set(slot, stream, None);
        self.table.remove(slot, &mut self.pool);
        let concurrent = self.config.rules.concurrent_limits;
        if id.initiator() != self.config.side {
            let opened = &mut self.peer_opened[dir as usize];
            if vacated {
                opened.on_over();
            } else {
                opened.on_closed();
            }
            if concurrent.is_some() {
                opened.advertise(opened.target());
            } else if opened.update_wanted() {
                self.wants |= intents::MAX_STREAMS << dir as u8;
            }
        } else if let Some(total) = concurrent {
            let limit = self.own_opened[dir as usize].credit.limit();
            self.raise_streams(dir, limit.saturating_add(1).min(total));
        }
    }

    /// Gives room in the send buffer back and wakes those who wait for it.
    fn free_buffered(&mut self, freed: u64) {
        self.buffered = self.buffered.saturating_sub(freed);
        // Waking for every packet's worth of room would make applications write in crumbs.
        if self.waiting.is_empty() || self.buffered > self.config.send_buffer / 4 * 3 {
            return;
        }
        while let Some(handle) = self.waiting.pop_front() {
            let Some(stream) = self.table.live(handle) else { continue };
            stream.waiting_queued = false;
            // Who waits for the peer's limit as well hears when that is raised.
            if let Some(send) = stream.send.as_mut()
                && send.waiting
                && send.writable() > 0
            {
                send.waiting = false;
                self.events.push_back(StreamEvent::Writable(handle.id));
            }
        }
    }

    /// Credits bytes that left our buffers, or never entered them, to the connection's window.
    /// Credits bytes of a stream that were read or dropped to both windows.
    fn credit(&mut self, slot: u32, amount: u64) {
        let Some(stream) = self.table.get(slot) else { return };
        let metered = stream.metered;
        let Some(recv) = stream.recv.as_mut() else { return };
        if recv.credit.consume(amount, self.now, self.rtt) && stream.wants_credit(&self.config.rules) {
            self.want(slot, intents::CREDIT);
        }
        if metered {
            self.consume(amount);
        }
    }

    fn consume(&mut self, amount: u64) {
        if amount > 0 && self.recv_credit.consume(amount, self.now, self.rtt) {
            self.wants |= intents::MAX_DATA;
        }
    }

    fn raise_streams(&mut self, dir: Dir, limit: u64) {
        if self.own_opened[dir as usize].credit.raise(limit) {
            self.wake_openers(dir);
        }
    }

    /// Whoever was refused a stream may ask again.
    fn wake_openers(&mut self, dir: Dir) {
        if std::mem::take(&mut self.own_opened[dir as usize].waiting) {
            self.events.push_back(StreamEvent::Available(dir));
        }
    }

    fn raise_stream_data(&mut self, slot: u32, id: StreamId, limit: u64) {
        let Some(send) = self.table.get(slot).and_then(|stream| stream.send.as_mut()) else { return };
        if !send.credit.raise(limit) || !send.waiting {
            return;
        }
        if self.buffered < self.config.send_buffer {
            send.waiting = false;
            self.events.push_back(StreamEvent::Writable(id));
        } else {
            self.wait_for_room(slot);
        }
    }

    /// Notes that the application waits for the peer's limit of a stream.
    fn note_stalled(&mut self, slot: u32) {
        // Streams that are over may lie below one that still waits: they do not pile up.
        if self.stalled.len() > 2 * self.table.len() {
            self.stalled.retain(|handle| self.table.live(*handle).is_some());
        }
        let Some(stream) = self.table.get(slot) else { return };
        if !stream.stalled_listed {
            stream.stalled_listed = true;
            self.stalled.push(Handle { slot, id: stream.id });
        }
    }

    /// Puts a stream into the queue of those that wait for room in the send buffer.
    fn wait_for_room(&mut self, slot: u32) {
        let Some(stream) = self.table.get(slot) else { return };
        if !stream.waiting_queued {
            stream.waiting_queued = true;
            self.waiting.push_back(Handle { slot, id: stream.id });
        }
    }
}

/// The peer's first limit for what we send on a stream; its parameters are named from its point of view.
fn peer_limit(limits: &PeerLimits, side: Side, id: StreamId) -> u64 {
    match (id.dir(), id.initiator() == side) {
        (Dir::Bi, true) => limits.stream_data_bidi_remote,
        (Dir::Bi, false) => limits.stream_data_bidi_local,
        (Dir::Uni, true) => limits.stream_data_uni,
        (Dir::Uni, false) => 0,
    }
}
