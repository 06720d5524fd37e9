//! The sending part of a stream.
//!
//! Owns [`SendStream`]. Invariants: a call that returns `Pending` has taken nothing; a call that takes bytes takes them in the poll in which it
//! says so. Timers: none.

use crate::connection::{ConnectionRef, Waiting};
use crate::error::{ClosedStream, WriteError};
use crate::state::{ConnectionSlot, Queue};
use crate::wakers::remember;
use bytes::Bytes;
use quic_proto::connection::Connection as Protocol;
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::id::StreamId;
use quic_proto::streams::{SendStream as ProtocolStream, WriteError as ProtocolError};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::AsyncWrite;

/// The sending part of a stream.
///
/// Writing waits while the send buffer of the connection is full or the peer's windows are: a peer that does not read stops its sender.
///
/// **Dropping** it finishes the stream, if it was neither finished nor reset: the peer gets what was written and sees a regular end. A task that
/// may be cancelled halfway and whose peer must not take a part for the whole should [`reset`](Self::reset) the stream itself.
pub struct SendStream {
    connection: Arc<ConnectionRef>,
    id: StreamId,
    /// It was finished or reset.
    ended: bool,
}

impl SendStream {
    /// The stream's slot counts this handle already.
    pub(crate) fn new(connection: Arc<ConnectionRef>, id: StreamId) -> Self {
        Self { connection, id, ended: false }
    }

    /// The stream's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Writes as much of `data` as there is room for, and returns how much; waits if there is no room at all. Cancel-safe: if the future is
    /// dropped before it is ready, nothing was written.
    ///
    /// # Errors
    /// If the peer stopped the stream, this side ended it, or the connection ended.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        poll_fn(|cx| self.poll_write_with(cx, |stream| stream.write(data))).await
    }

    /// Writes all of `data`. If the future is dropped before it is ready, an unknown part was written.
    ///
    /// # Errors
    /// As [`write`](Self::write); a part may have been written.
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let written = self.write(data).await?;
            data = &data[written..];
        }
        Ok(())
    }

    /// Writes all of `data` without copying it. What was written has left the front of `data`, so that it says what remains if the future
    /// is dropped before it is ready. Memory that is made for this call costs more than a copy below 2 KiB.
    ///
    /// # Errors
    /// As [`write`](Self::write); what remains is in `data`.
    pub async fn write_bytes(&mut self, data: &mut Bytes) -> Result<(), WriteError> {
        while !data.is_empty() {
            poll_fn(|cx| self.poll_write_with(cx, |stream| stream.write_bytes(data))).await?;
        }
        Ok(())
    }

    /// Writes all of `data` without copying it. If the future is dropped before it is ready, an unknown part was written.
    ///
    /// # Errors
    /// As [`write`](Self::write); a part may have been written.
    pub async fn write_chunk(&mut self, mut data: Bytes) -> Result<(), WriteError> {
        self.write_bytes(&mut data).await
    }

    /// Ends the stream after what was written. Returns at once; [`stopped`](Self::stopped) tells when the peer has all of it.
    ///
    /// # Errors
    /// If the stream was finished or reset before, or the connection is closed.
    pub fn finish(&mut self) -> Result<(), ClosedStream> {
        if std::mem::replace(&mut self.ended, true) {
            return Err(ClosedStream);
        }
        let id = self.id;
        let finished = self.connection.act(|_, connection| match connection.send_stream(id)?.finish() {
            // The peer wants nothing of it, not even its end.
            Ok(()) | Err(ProtocolError::Stopped(_)) => Ok(()),
            Err(_) => Err(ClosedStream),
        });
        finished.unwrap_or(Err(ClosedStream))
    }

    /// Gives the stream up: what the peer did not get yet is not sent any more, and its application sees `code`.
    ///
    /// # Errors
    /// If the stream was reset before or is delivered, or the connection is closed.
    pub fn reset(&mut self, code: AppError) -> Result<(), ClosedStream> {
        self.ended = true;
        let id = self.id;
        let reset = self.connection.act(|slot, connection| {
            connection.send_stream(id)?.reset(code)?;
            // Nobody will hear that it was delivered.
            if let Some(stream) = slot.streams.get(id) {
                stream.delivered = true;
            }
            Ok(())
        });
        reset.unwrap_or(Err(ClosedStream))
    }

    /// Streams of higher priority send first; the default is 0. Equals take turns.
    ///
    /// # Errors
    /// If the stream is over or the connection is closed.
    pub fn set_priority(&self, priority: i32) -> Result<(), ClosedStream> {
        let id = self.id;
        let set = self.connection.act(|_, connection| {
            connection.send_stream(id)?.set_priority(priority);
            Ok(())
        });
        set.unwrap_or(Err(ClosedStream))
    }

    /// Waits until the peer does not want the rest of the stream, and gives its code; or until it has all of it with its end, then `None`.
    /// The future does not borrow the stream, but keeps the connection open. After [`reset`](Self::reset) it is ready with `None`.
    ///
    /// # Errors
    /// If the connection ended before.
    pub fn stopped(
        &self,
    ) -> impl Future<Output = Result<Option<AppError>, ConnectionError>> + Send + Sync + 'static {
        let id = self.id;
        let part = StreamPart::new(Arc::clone(&self.connection), id);
        async move {
            let mut waiting = Waiting::new(Arc::clone(&part.connection), Queue::Stopped(id));
            let stopped = poll_fn(|cx| {
                waiting.poll(cx, |slot, _| {
                    let stream = slot.streams.get(id)?;
                    match (stream.stopped, &slot.error) {
                        _ if stream.delivered => Some(Ok(None)),
                        (Some(code), _) => Some(Ok(Some(code))),
                        (None, Some(error)) => Some(Err(error.clone())),
                        (None, None) => None,
                    }
                })
            });
            stopped.await?
        }
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(&mut ProtocolStream<'_>) -> Result<usize, ProtocolError>,
    ) -> Poll<Result<usize, WriteError>> {
        if self.ended {
            return Poll::Ready(Err(WriteError::ClosedStream));
        }
        let id = self.id;
        let written = self.connection.act(|slot, connection| {
            let result = match connection.send_stream(id) {
                Ok(mut stream) => write(&mut stream),
                Err(_) => return Poll::Ready(Err(why_closed(slot, connection, id))),
            };
            match result {
                Ok(len) => Poll::Ready(Ok(len)),
                Err(ProtocolError::Stopped(code)) => Poll::Ready(Err(WriteError::Stopped(code))),
                Err(ProtocolError::Closed) => Poll::Ready(Err(why_closed(slot, connection, id))),
                Err(ProtocolError::Blocked) => {
                    if let Some(stream) = slot.streams.get(id) {
                        remember(&mut stream.writer, cx.waker());
                    }
                    Poll::Pending
                }
            }
        });
        written.unwrap_or_else(|error| Poll::Ready(Err(error.into())))
    }
}

/// Why a stream that this side did not end cannot be written.
fn why_closed(slot: &mut ConnectionSlot, connection: &Protocol, id: StreamId) -> WriteError {
    if let Some(error) = &slot.error {
        return WriteError::ConnectionLost(error.clone());
    }
    if let Some(code) = slot.streams.get(id).and_then(|stream| stream.stopped) {
        return WriteError::Stopped(code);
    }
    if connection.is_closing() {
        return WriteError::ConnectionLost(ConnectionError::LocallyClosed);
    }
    WriteError::ClosedStream
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_with(cx, |stream| stream.write(data)).map_err(Into::into)
    }

    /// Does nothing: what is written is sent as soon as the network takes it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// [Finishes](SendStream::finish) the stream, if it was not before; does not wait for the peer to have it.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Ok(()));
        }
        let error = |_| io::Error::new(io::ErrorKind::NotConnected, ClosedStream);
        Poll::Ready(this.finish().map_err(error))
    }
}

impl fmt::Debug for SendStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendStream").field("id", &self.id).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Drop for SendStream {
    fn drop(&mut self) {
        let (id, ended) = (self.id, self.ended);
        // The connection may be closed: then there is nothing to finish.
        let _ = self.connection.act(|slot, connection| {
            if !ended {
                let _ = connection.send_stream(id).map(|mut stream| stream.finish());
            }
            slot.streams.remove_part(id);
        });
    }
}

/// Keeps what is known of a stream for a future that outlives its handles.
struct StreamPart {
    connection: Arc<ConnectionRef>,
    id: StreamId,
}

impl StreamPart {
    fn new(connection: Arc<ConnectionRef>, id: StreamId) -> Self {
        let _ = connection.act(|slot, _| slot.streams.add(id, 1));
        Self { connection, id }
    }
}

impl Drop for StreamPart {
    fn drop(&mut self) {
        let id = self.id;
        let _ = self.connection.act(|slot, _| slot.streams.remove_part(id));
    }
}
