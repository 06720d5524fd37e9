//! The receiving part of a stream.
//!
//! Owns [`RecvStream`]. Invariants: a call that returns `Pending` has taken nothing. What came is read before an end of the connection is
//! reported. Timers: none.

use crate::connection::ConnectionRef;
use crate::error::{ClosedStream, ReadError, ReadExactError, ReadToEndError};
use crate::wakers::remember;
use bytes::Bytes;
use quic_proto::error::AppError;
use quic_proto::id::StreamId;
use quic_proto::streams::{ReadError as ProtocolError, RecvStream as ProtocolStream};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};

/// The receiving part of a stream.
///
/// Not reading stops the sender, once the stream's window is full.
///
/// **Dropping** it stops the stream with code 0, if its end was not read: the peer's writes fail then.
pub struct RecvStream {
    connection: Arc<ConnectionRef>,
    id: StreamId,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Open,
    /// The end was read.
    Finished,
    /// The peer reset it, which was reported.
    Reset(AppError),
    /// This side does not want the rest.
    Stopped,
}

impl RecvStream {
    /// The stream's slot counts this handle already.
    pub(crate) fn new(connection: Arc<ConnectionRef>, id: StreamId) -> Self {
        Self { connection, id, state: State::Open }
    }

    /// The stream's id.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Reads into `buf` what there is, at least one byte (unless it is empty), and returns how much; `None` at the end of the stream.
    /// Cancel-safe: if the future is dropped before it is ready, nothing was read.
    ///
    /// # Errors
    /// If the peer reset the stream, this side stopped it, or the connection ended.
    pub async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        poll_fn(|cx| self.poll_read_into(cx, buf)).await
    }

    /// Fills `buf`. If the future is dropped before it is ready, an unknown part was read.
    ///
    /// # Errors
    /// As [`read`](Self::read), or if the stream ends before.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> Result<(), ReadExactError> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.read(&mut buf[filled..]).await? {
                Some(len) => filled += len,
                None => return Err(ReadExactError::FinishedEarly(filled)),
            }
        }
        Ok(())
    }

    /// The next bytes, at most `max` (at least 1 is asked for), without a copy; `None` at the end of the stream. Cancel-safe, as
    /// [`read`](Self::read).
    ///
    /// Below 4 KiB a copy by [`read`](Self::read) costs less. What is held back by the application counts no more towards the peer's windows,
    /// but does keep its memory.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn read_chunk(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        poll_fn(|cx| {
            let chunk = self.poll_read_with(cx, |stream| stream.read_bytes(max.max(1)));
            chunk.map_ok(|chunk| {
                let chunk = chunk.flatten();
                if chunk.is_none() {
                    self.state = State::Finished;
                }
                chunk
            })
        })
        .await
    }

    /// Reads the rest of the stream, at most `limit` bytes. If the future is dropped before it is ready, what it had read is lost.
    ///
    /// # Errors
    /// As [`read`](Self::read), or if there are more than `limit` bytes. What was read until then is lost.
    pub async fn read_to_end(&mut self, limit: usize) -> Result<Vec<u8>, ReadToEndError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.read_chunk(usize::MAX).await? {
            if chunk.len() > limit - all.len() {
                return Err(ReadToEndError::TooLong);
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    /// Tells the peer that the rest is not wanted, with a code for its application; what came and was not read is dropped.
    ///
    /// # Errors
    /// If the end was read, or the stream was stopped before.
    pub fn stop(&mut self, code: AppError) -> Result<(), ClosedStream> {
        if self.state != State::Open {
            return Err(ClosedStream);
        }
        self.state = State::Stopped;
        let id = self.id;
        let stopped = self.connection.act(|_, connection| connection.recv_stream(id)?.stop(code));
        stopped.unwrap_or(Err(ClosedStream))
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<Result<Option<usize>, ReadError>> {
        if buf.is_empty() && self.state == State::Open {
            return Poll::Ready(Ok(Some(0)));
        }
        let read = ready!(self.poll_read_with(cx, |stream| stream.read(buf)))?;
        let Some(read) = read else { return Poll::Ready(Ok(None)) };
        if read.fin {
            self.state = State::Finished;
        }
        Poll::Ready(Ok(if read.len == 0 { None } else { Some(read.len) }))
    }

    /// `None` if the end was read before.
    fn poll_read_with<R>(
        &mut self,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut ProtocolStream<'_>) -> Result<R, ProtocolError>,
    ) -> Poll<Result<Option<R>, ReadError>> {
        match self.state {
            State::Open => {}
            State::Finished => return Poll::Ready(Ok(None)),
            State::Reset(code) => return Poll::Ready(Err(ReadError::Reset(code))),
            State::Stopped => return Poll::Ready(Err(ReadError::ClosedStream)),
        }
        let id = self.id;
        let result = self.connection.act(|slot, connection| {
            let result = match connection.recv_stream(id) {
                Ok(mut stream) => read(&mut stream),
                Err(ClosedStream) => Err(ProtocolError::Closed),
            };
            match (result, &slot.error) {
                (Ok(read), _) => Poll::Ready(Ok(Some(read))),
                (Err(ProtocolError::Reset(code)), _) => Poll::Ready(Err(ReadError::Reset(code))),
                (Err(_), Some(error)) => Poll::Ready(Err(error.clone().into())),
                (Err(ProtocolError::Closed), None) => Poll::Ready(Err(ReadError::ClosedStream)),
                (Err(ProtocolError::Blocked), None) => {
                    if let Some(stream) = slot.streams.get(id) {
                        remember(&mut stream.reader, cx.waker());
                    }
                    Poll::Pending
                }
            }
        });
        let result = result.unwrap_or_else(|error| Poll::Ready(Err(error.into())));
        if let Poll::Ready(Err(ReadError::Reset(code))) = &result {
            self.state = State::Reset(*code);
        }
        result
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = ready!(self.get_mut().poll_read_into(cx, buf.initialize_unfilled()))?;
        buf.advance(read.unwrap_or(0));
        Poll::Ready(Ok(()))
    }
}

impl fmt::Debug for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvStream").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Drop for RecvStream {
    fn drop(&mut self) {
        let (id, open) = (self.id, self.state == State::Open);
        // The connection may be closed: then there is nothing to stop.
        let _ = self.connection.act(|slot, connection| {
            if open {
                let _ = connection.recv_stream(id).map(|mut stream| stream.stop(AppError::from(0)));
            }
            slot.streams.remove_part(id);
        });
    }
}
