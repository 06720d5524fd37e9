//! Connections as the application holds them.
//!
//! Owns [`Connection`], a handle to be cloned; [`Connecting`], one that waits for the handshake; and [`ConnectionRef`], the count of all
//! handles, those of streams included.
//!
//! Invariants: an operation takes the lock once each time that it is polled, and either is complete then or has left its waker: nothing
//! is taken from the protocol by a future that is dropped before it is ready.
//!
//! Timers: none.

use crate::error::{ExportError, driver_lost};
use crate::recv_stream::RecvStream;
use crate::send_stream::SendStream;
use crate::state::{ConnectionSlot, Queue, Shared};
use quic_proto::connection::{Connection as Protocol, ConnectionStats, HandshakeInfo};
use quic_proto::endpoint::ConnectionHandle;
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::id::{Dir, Side, StreamId};
use quic_proto::invariants::Version;
use quic_proto::streams::OpenError;
use std::fmt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What every handle of a connection and of its streams holds. The last one to go closes the connection.
pub(crate) struct ConnectionRef {
    shared: Arc<Shared>,
    key: u32,
}

impl ConnectionRef {
    /// The first handle of a connection that was just made, under the lock that it was made under.
    pub(crate) fn adopt(
        shared: &Arc<Shared>,
        state: &mut crate::state::State,
        handle: ConnectionHandle,
    ) -> Arc<Self> {
        Arc::new(Self { shared: Arc::clone(shared), key: state.adopt(handle) })
    }

    /// Does something to the connection under the lock.
    pub(crate) fn act<R>(
        &self,
        act: impl FnOnce(&mut ConnectionSlot, &mut Protocol) -> R,
    ) -> Result<R, ConnectionError> {
        self.shared.lock().act(self.key, act).ok_or_else(driver_lost)
    }

    /// Waits in `queue` until `ready` returns something.
    async fn wait<R>(
        self: &Arc<Self>,
        queue: Queue,
        mut ready: impl FnMut(&mut ConnectionSlot, &mut Protocol) -> Option<R>,
    ) -> Result<R, ConnectionError> {
        let mut waiting = Waiting::new(Arc::clone(self), queue);
        poll_fn(|cx| waiting.poll(cx, &mut ready)).await
    }

    fn close(&self, close: impl FnOnce(&mut Protocol, quic_proto::time::Instant)) {
        let now = self.shared.clock.now();
        let mut guard = self.shared.lock();
        let (state, wakes) = guard.parts();
        state.act(self.key, |slot, connection| {
            close(connection, now);
            // Those who want to open or write must hear that it is too late.
            slot.wake_all(wakes);
        });
        state.needs_driver();
    }
}

impl Drop for ConnectionRef {
    fn drop(&mut self) {
        let now = self.shared.clock.now();
        let mut guard = self.shared.lock();
        let (state, _) = guard.parts();
        state.act(self.key, |_, connection| connection.close(now, AppError::from(0), b""));
        let slot = state.disown(self.key);
        drop(guard);
        // It may hold buffers and wakers, which need no lock to go.
        drop(slot);
    }
}

/// A place in a queue, given back when the future that waits ends or is dropped.
pub(crate) struct Waiting {
    pub(crate) connection: Arc<ConnectionRef>,
    queue: Queue,
    place: Option<usize>,
}

impl Waiting {
    pub(crate) fn new(connection: Arc<ConnectionRef>, queue: Queue) -> Self {
        Self { connection, queue, place: None }
    }

    pub(crate) fn poll<R>(
        &mut self,
        cx: &mut Context<'_>,
        ready: impl FnOnce(&mut ConnectionSlot, &mut Protocol) -> Option<R>,
    ) -> Poll<Result<R, ConnectionError>> {
        let (queue, place) = (self.queue, &mut self.place);
        let result = self.connection.act(|slot, connection| {
            let result = ready(slot, connection);
            if result.is_none()
                && let Some(waiters) = slot.queue(queue)
            {
                waiters.wait(place, cx.waker());
            }
            result
        });
        match result {
            Ok(Some(result)) => Poll::Ready(Ok(result)),
            Ok(None) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            let mut guard = self.connection.shared.lock();
            if let Some(waiters) = guard.slot(self.connection.key).and_then(|slot| slot.queue(self.queue)) {
                waiters.leave(place);
            }
        }
    }
}

/// A connection whose handshake is under way. Await it for the [`Connection`].
///
/// Dropping it closes the connection.
#[must_use = "the connection is closed when this is dropped"]
pub struct Connecting(Waiting);

impl Connecting {
    pub(crate) fn new(connection: Arc<ConnectionRef>) -> Self {
        Self(Waiting::new(connection, Queue::Handshake))
    }

    /// The peer's address.
    ///
    /// # Errors
    /// If the endpoint's driver is gone.
    pub fn remote_address(&self) -> Result<SocketAddr, ConnectionError> {
        self.0.connection.act(|_, connection| connection.path().remote)
    }
}

impl fmt::Debug for Connecting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connecting").field("id", &self.0.connection.key).finish_non_exhaustive()
    }
}

impl Future for Connecting {
    type Output = Result<Connection, ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let connected = self.0.poll(cx, |slot, _| match &slot.error {
            // What the peer sent before it closed can still be read.
            _ if slot.connected => Some(Ok(())),
            Some(error) => Some(Err(error.clone())),
            None => None,
        });
        connected.map(|result| {
            result.and_then(|inner| inner)?;
            Ok(Connection(Arc::clone(&self.0.connection)))
        })
    }
}

/// A QUIC connection. Clones are handles of the same connection.
///
/// All futures of its methods may be dropped before they are ready without losing anything.
///
/// When the last handle is dropped, those of its streams included, the connection is closed with code 0, as by [`close`](Self::close).
#[derive(Clone)]
pub struct Connection(Arc<ConnectionRef>);

impl Connection {
    /// Opens a bidirectional stream; waits if the peer's limit of streams is reached. The peer learns of it with the first bytes that are
    /// written.
    ///
    /// # Errors
    /// If the connection ended or is being closed.
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let id = self.open(Dir::Bi).await?;
        Ok((SendStream::new(Arc::clone(&self.0), id), RecvStream::new(Arc::clone(&self.0), id)))
    }

    /// Opens a unidirectional stream; waits if the peer's limit of streams is reached. The peer learns of it with the first bytes that are
    /// written.
    ///
    /// # Errors
    /// If the connection ended or is being closed.
    pub async fn open_uni(&self) -> Result<SendStream, ConnectionError> {
        let id = self.open(Dir::Uni).await?;
        Ok(SendStream::new(Arc::clone(&self.0), id))
    }

    /// Waits for the next bidirectional stream that the peer opens.
    ///
    /// # Errors
    /// If the connection ended and all streams that the peer had opened were accepted.
    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        let id = self.accept(Dir::Bi).await?;
        Ok((SendStream::new(Arc::clone(&self.0), id), RecvStream::new(Arc::clone(&self.0), id)))
    }

    /// Waits for the next unidirectional stream that the peer opens.
    ///
    /// # Errors
    /// If the connection ended and all streams that the peer had opened were accepted.
    pub async fn accept_uni(&self) -> Result<RecvStream, ConnectionError> {
        let id = self.accept(Dir::Uni).await?;
        Ok(RecvStream::new(Arc::clone(&self.0), id))
    }

    async fn open(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        let opened = self.0.wait(Queue::Open(dir), |slot, connection| {
            if let Some(error) = &slot.error {
                return Some(Err(error.clone()));
            }
            if connection.is_closing() {
                return Some(Err(ConnectionError::LocallyClosed));
            }
            match connection.open(dir) {
                Ok(id) => {
                    slot.streams.add(id, parts(dir));
                    Some(Ok(id))
                }
                Err(OpenError::GoingAway) => Some(Err(ConnectionError::GoingAway)),
                Err(_) => None,
            }
        });
        opened.await?
    }

    async fn accept(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        let accepted = self.0.wait(Queue::Accept(dir), |slot, connection| {
            if let Some(id) = connection.accept(dir) {
                slot.streams.add(id, parts(dir));
                return Some(Ok(id));
            }
            slot.error.clone().map(Err)
        });
        accepted.await?
    }

    /// Closes the connection gracefully: streams that were [finished](SendStream::finish) are delivered first, then the peer's application
    /// is told `code` and `reason` (of which about a packet's worth is sent). What was written and not finished is given up, and nothing
    /// can be opened or written any more. Returns at once; [`closed`](Self::closed) tells when it is done.
    ///
    /// A peer that does not read its streams delays the close, up to the idle timeout; [`abort`](Self::abort) does not wait.
    pub fn close(&self, code: AppError, reason: &[u8]) {
        self.0.close(|connection, now| connection.close(now, code, reason));
    }

    /// Closes the connection at once: what was not delivered yet may be lost.
    pub fn abort(&self, code: AppError, reason: &[u8]) {
        self.0.close(|connection, now| connection.abort(now, code, reason));
    }

    /// Waits until the connection has ended, and tells why.
    pub async fn closed(&self) -> ConnectionError {
        match self.0.wait(Queue::Closed, |slot, _| slot.error.clone()).await {
            Ok(reason) | Err(reason) => reason,
        }
    }

    /// Why the connection ended; `None` if it has not.
    pub fn close_reason(&self) -> Option<ConnectionError> {
        self.0.act(|slot, _| slot.error.clone()).unwrap_or_else(Some)
    }

    /// Counters since the start, and the state of the path. All zero if the endpoint's driver failed.
    pub fn stats(&self) -> ConnectionStats {
        self.0.act(|_, connection| connection.stats()).unwrap_or_default()
    }

    /// The smoothed round-trip time.
    pub fn rtt(&self) -> std::time::Duration {
        self.stats().path.rtt
    }

    /// The peer's address, which may change when the peer or a NAT before it moves.
    ///
    /// # Errors
    /// If the endpoint's driver is gone.
    pub fn remote_address(&self) -> Result<SocketAddr, ConnectionError> {
        self.0.act(|_, connection| connection.path().remote)
    }

    /// The address of ours that the peer sends to, if it is known.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.0.act(|_, connection| connection.path().local).ok().flatten()
    }

    /// What the handshake agreed on: the application protocol, the cipher suite, the peer's certificates.
    pub fn handshake_info(&self) -> Option<HandshakeInfo> {
        self.0.act(|_, connection| connection.handshake_info()).ok().flatten()
    }

    /// The QUIC version in use.
    ///
    /// # Errors
    /// If the endpoint's driver is gone.
    pub fn version(&self) -> Result<Version, ConnectionError> {
        self.0.act(|_, connection| connection.version())
    }

    /// Which end this is.
    ///
    /// # Errors
    /// If the endpoint's driver is gone.
    pub fn side(&self) -> Result<Side, ConnectionError> {
        self.0.act(|_, connection| connection.side())
    }

    /// Fills `out` with keying material that only the two ends know (RFC 5705).
    ///
    /// # Errors
    /// If the connection is gone.
    pub fn export_keying_material(
        &self,
        out: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportError> {
        match self.0.act(|_, connection| connection.export_keying_material(out, label, context)) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(ExportError),
        }
    }

    /// Starts a key update (RFC 9001 §6). Returns whether one is possible now.
    pub fn initiate_key_update(&self) -> bool {
        self.0.act(|_, connection| connection.initiate_key_update()).unwrap_or(false)
    }

    /// The address token that the server gave for the next connection (RFC 9000 §8.1.3), once.
    pub fn take_address_token(&self) -> Option<bytes::Bytes> {
        self.0.act(|_, connection| connection.take_address_token()).ok().flatten()
    }

    /// A number that all handles of this connection share, and no other connection of the endpoint that the application still holds.
    pub fn stable_id(&self) -> usize {
        self.0.key as usize
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.0.key).finish_non_exhaustive()
    }
}

/// How many handles the application gets of a new stream.
fn parts(dir: Dir) -> u8 {
    match dir {
        Dir::Bi => 2,
        Dir::Uni => 1,
    }
}
