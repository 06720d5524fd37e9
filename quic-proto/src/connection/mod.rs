//! One connection: the engine and its family behind the interface that applications and endpoints use.
//!
//! The contract: call any `&mut` method as often as you like, in any order; then [`poll_transmit`](Connection::poll_transmit) until
//! `None`, then [`poll_event`](Connection::poll_event) until `None`, then sleep until [`next_timeout`](Connection::next_timeout). Forgetting
//! to poll delays work; it never loses or corrupts it. A `now` that goes backwards is clamped.
//!
//! Invariant: there is exactly one `match` on the family, in `family.rs`.

mod family;
mod negotiate;
mod new;
mod receive;
mod transmit;

pub use new::ConnectError;
pub(crate) use new::ConnectionInit;

use crate::cid::Notice;
use crate::engine::Engine;
use crate::engine::lifecycle::CloseFrame;
use crate::engine::moves::PeerReset;
pub use crate::engine::stats::{ConnectionStats, Counters, FrameCounts, PathStats, TrafficStats, Waited};
use crate::error::{AppError, ConnectionError};
use crate::event::Event;
pub use crate::event::HandshakeInfo;
use crate::id::{Cid, Dir, ResetToken, Side, SpaceId, StreamId};
use crate::invariants::Version;
use crate::net::FourTuple;
use crate::streams::{ClosedStream, OpenError, RecvStream, SendStream};
use crate::time::Instant;
use bytes::Bytes;
use family::Family;
use negotiate::SecondStart;
use smallvec::SmallVec;
use std::net::SocketAddr;

/// A QUIC connection as a state machine. See the [crate's page](crate) for the loop around it.
pub struct Connection {
    engine: Engine,
    family: Family,
    /// How to start again in another version.
    second_start: Option<Box<SecondStart>>,
    /// Notices of such a start.
    moved: Vec<EndpointEvent>,
    /// The endpoint knows that the addresses can be used by another connection.
    released: bool,
    /// The endpoint knows that the id of the client's first packets leads nowhere any more.
    first_id_released: bool,
    /// A close that waits for what was finished to be delivered.
    pending_close: Option<CloseFrame>,
    /// The peer's reset tokens that the endpoint knows, by what they are called.
    announced_resets: SmallVec<[(u32, u64); 1]>,
    drained_reported: bool,
    local_cid: Cid,
    /// Around all that is logged of this connection; empty, and free, if nothing listens.
    span: tracing::Span,
}

/// A notice to the endpoint that routes packets to the connection. Opaque: hand it on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndpointEvent(pub(crate) EndpointEventKind);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EndpointEventKind {
    AddCid(Cid),
    RemoveCid(Cid),
    RouteByAddress(FourTuple),
    ReleaseAddress,
    ReleaseFirstId,
    AddResetToken { remote: SocketAddr, token: ResetToken },
    ClearResetTokens,
    Drained,
}

impl Connection {
    /// When [`handle_timeout`](Self::handle_timeout) wants to be called; `None` if there is no need. Absolute; it may lie in the past.
    pub fn next_timeout(&self) -> Option<Instant> {
        self.engine.next_timeout()
    }

    /// Runs what is due at `now`. Early and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _entered = self.enter();
        let now = self.engine.advance(now);
        self.engine.rearm_stale(now);
        self.family.handle_timeout(&mut self.engine, now);
        self.engine.handle_timeout(now, self.family.tokens());
        self.settle_close();
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.engine.poll_event()
    }

    /// The next notice for the endpoint, if the connection is used without [`Endpoint`](crate::endpoint::Endpoint): hand it to
    /// [`Router::handle_event`](crate::endpoint::Router::handle_event).
    pub fn poll_endpoint_event(&mut self) -> Option<EndpointEvent> {
        if !self.moved.is_empty() {
            return Some(self.moved.remove(0));
        }
        if let Some(notice) = self.engine.local_cids.poll_notice() {
            return Some(EndpointEvent(match notice {
                Notice::Added(cid, _) => EndpointEventKind::AddCid(cid),
                Notice::Retired(cid) => EndpointEventKind::RemoveCid(cid),
            }));
        }
        if let Some(kind) = self.poll_reset_token() {
            return Some(EndpointEvent(kind));
        }
        // What comes after the end is of no use; another connection to the same peer need not wait for it.
        if !self.released && self.is_routed_by_address() && !self.engine.lifecycle.is_open() {
            self.released = true;
            return Some(EndpointEvent(EndpointEventKind::ReleaseAddress));
        }
        if !self.first_id_released && self.family.is_past_first_id(&self.engine) {
            self.first_id_released = true;
            return Some(EndpointEvent(EndpointEventKind::ReleaseFirstId));
        }
        if self.is_drained() && !self.drained_reported {
            self.drained_reported = true;
            return Some(EndpointEvent(EndpointEventKind::Drained));
        }
        None
    }

    /// What the endpoint does not know yet of the peer's reset tokens. It is told of one after the other; once those that it knows are no longer
    /// what is there, all over again.
    fn poll_reset_token(&mut self) -> Option<EndpointEventKind> {
        let only = self.announced_resets.first().copied();
        if self.announced_resets.len() <= 1 && self.engine.is_only_reset(only) {
            return None;
        }
        let mut resets = self.engine.resets();
        let known = |name| resets.next().is_some_and(|reset| reset.name == name);
        if !self.announced_resets.iter().copied().all(known) {
            self.announced_resets.clear();
            return Some(EndpointEventKind::ClearResetTokens);
        }
        let PeerReset { name, remote, token } = resets.next()?;
        self.announced_resets.push(name);
        Some(EndpointEventKind::AddResetToken { remote, token })
    }

    /// Opens a stream. If the peer's limit does not permit it now, [`StreamEvent::Available`](crate::event::StreamEvent) tells when it does;
    /// of streams that the version does not have it never permits one.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open(&mut self, dir: Dir) -> Result<StreamId, OpenError> {
        if self.is_closing() { Err(OpenError::Closed) } else { self.engine.streams.open(dir) }
    }

    /// The next stream that the peer opened.
    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        self.engine.streams.accept(dir)
    }

    /// The sending part of a stream.
    ///
    /// # Errors
    /// If the stream has no such part, it is over, or the connection is closed.
    pub fn send_stream(&mut self, id: StreamId) -> Result<SendStream<'_>, ClosedStream> {
        if self.is_closing() {
            return Err(ClosedStream);
        }
        self.engine.streams.send_stream(id)
    }

    /// The receiving part of a stream. What arrived can still be read after the connection has closed.
    ///
    /// # Errors
    /// If the stream has no such part, or it is over.
    pub fn recv_stream(&mut self, id: StreamId) -> Result<RecvStream<'_>, ClosedStream> {
        self.engine.streams.recv_stream(id)
    }

    /// Closes the connection once all streams that were finished are delivered; no stream can be opened or written any more. What was
    /// written but not finished is given up. The peer's application sees `code` and `reason` (of which a packet's worth is sent).
    pub fn close(&mut self, now: Instant, code: AppError, reason: &[u8]) {
        self.engine.advance(now);
        if self.engine.lifecycle.is_open() && self.pending_close.is_none() {
            self.pending_close =
                Some(CloseFrame::Application { code, reason: Bytes::copy_from_slice(reason) });
            self.settle_close();
        }
    }

    /// Closes the connection at once (RFC 9000 §10.2): data that was not delivered yet may be lost.
    pub fn abort(&mut self, now: Instant, code: AppError, reason: &[u8]) {
        self.engine.advance(now);
        self.engine.close(CloseFrame::Application { code, reason: Bytes::copy_from_slice(reason) });
    }

    /// Whether the connection is closed or about to be; no new data can be sent.
    pub fn is_closing(&self) -> bool {
        !self.engine.lifecycle.is_open() || self.pending_close.is_some()
    }

    /// Whether the application's streams have something to send, be it held back by congestion control or not. An adapter that runs the
    /// application beside the loop around the connection need not wake the loop before this turns true.
    pub fn streams_want_to_send(&mut self) -> bool {
        self.engine.peek_intent().is_some() || self.engine.streams.can_send()
    }

    /// Why the connection ended, once it did.
    pub fn close_reason(&self) -> Option<&ConnectionError> {
        self.engine.lifecycle.reason()
    }

    /// Whether nothing will be sent or received any more and the connection can be dropped.
    pub fn is_drained(&self) -> bool {
        self.engine.lifecycle.is_drained()
    }

    /// Sends a PING, which the peer must acknowledge.
    pub fn ping(&mut self) {
        self.engine.ping(SpaceId::Data);
    }

    /// Starts a key update (RFC 9001 §6). Returns whether one is possible now: the handshake must be confirmed and the update before this
    /// one acknowledged.
    pub fn initiate_key_update(&mut self) -> bool {
        self.family.initiate_key_update(&mut self.engine)
    }

    /// Counters since the start, and the state of the path.
    pub fn stats(&self) -> ConnectionStats {
        let mut stats = self.engine.stats();
        stats.memory += (size_of::<Self>() + self.family.memory()) as u64;
        stats
    }

    /// The version in use. As long as the handshake goes on it may become another.
    pub fn version(&self) -> Version {
        self.family.version()
    }

    /// Which end this is.
    pub fn side(&self) -> Side {
        self.engine.side
    }

    /// The active path.
    pub fn path(&self) -> FourTuple {
        self.engine.paths.active().tuple
    }

    /// Whether the handshake is complete.
    pub fn is_established(&self) -> bool {
        self.family.is_established()
    }

    /// What the handshake agreed on; `None` before it is complete.
    pub fn handshake_info(&self) -> Option<HandshakeInfo> {
        self.family.handshake_info()
    }

    /// Fills `out` with keying material that only the two ends know (RFC 5705). Returns whether it is available: not before the handshake is
    /// complete.
    pub fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        self.family.export_keying_material(out, label, context)
    }

    /// The address token that the server gave for the next connection (RFC 9000 §8.1.3), once.
    pub fn take_address_token(&mut self) -> Option<Bytes> {
        self.family.take_received_token()
    }

    /// Whether packets from the peer bear no id, so that they are told from others' by their addresses alone.
    pub(crate) fn is_routed_by_address(&self) -> bool {
        self.family.is_routed_by_address(&self.engine)
    }

    /// The id under which packets reach this connection from the start.
    pub(crate) fn local_cid(&self) -> Cid {
        self.local_cid
    }

    /// Enters the span, if anything listens: otherwise even the clone of an empty one would show.
    fn enter(&self) -> Option<tracing::span::EnteredSpan> {
        if self.span.is_none() { None } else { Some(self.span.clone().entered()) }
    }

    /// Carries out a close that waited, once everything finished is delivered.
    fn settle_close(&mut self) {
        if self.pending_close.is_some()
            && self.engine.streams.all_sent_acked()
            && let Some(frame) = self.pending_close.take()
        {
            self.engine.close(frame);
        }
    }
}
