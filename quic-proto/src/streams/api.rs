//! What an application does with a stream.
//!
//! Owns: nothing; a handle borrows the connection's [`Streams`] for as long as the application holds it. Nothing blocks: a write
//! without room or a read without data says [`WriteError::Blocked`] or [`ReadError::Blocked`], and an event follows. No timers.

use super::recv::Readable;
use super::table::Stream;
use super::{Streams, intents};
use crate::error::AppError;
use bytes::Bytes;

/// There is no such stream, or it is over and forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the stream is closed or was never opened")]
pub struct ClosedStream;

/// Why no stream was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer's limit does not permit it now; [`StreamEvent::Available`](crate::event::StreamEvent::Available) follows.
    #[error("the peer permits no more streams at present")]
    Blocked,
    /// The peer goes away and takes no new streams; those that there are go on. Said by
    /// [`Event::GoingAway`](crate::event::Event::GoingAway) too.
    #[error("the peer goes away and takes no new streams")]
    GoingAway,
    /// The connection is closed.
    #[error("the connection is closed")]
    Closed,
}

/// Why nothing was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no room now; [`StreamEvent::Writable`](crate::event::StreamEvent::Writable) follows.
    #[error("there is no room to write at present")]
    Blocked,
    /// The peer asked to stop sending.
    #[error("the peer asked to stop sending, with code {0}")]
    Stopped(AppError),
    /// The stream was finished or reset by this side.
    #[error("the stream was finished or reset")]
    Closed,
}

/// Why nothing was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    /// There is nothing now; [`StreamEvent::Readable`](crate::event::StreamEvent::Readable) follows.
    #[error("there is nothing to read at present")]
    Blocked,
    /// The peer reset the stream. Said once; then the stream is closed.
    #[error("the peer reset the stream with code {0}")]
    Reset(AppError),
    /// The end was read, or this side stopped the stream.
    #[error("the stream was read to its end or stopped")]
    Closed,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Read {
    /// How many bytes.
    pub len: usize,
    /// Whether the stream ends after them. Said once.
    pub fin: bool,
}

/// The sending part of a stream.
#[derive(Debug)]
pub struct SendStream<'a> {
    pub(super) streams: &'a mut Streams,
    pub(super) slot: u32,
}

/// The receiving part of a stream.
#[derive(Debug)]
pub struct RecvStream<'a> {
    pub(super) streams: &'a mut Streams,
    pub(super) slot: u32,
}

impl SendStream<'_> {
    /// Takes as much of `data` as there is room for, at least one byte (unless it is empty), and returns how much.
    ///
    /// # Errors
    /// If nothing can be written.
    pub fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        let len = self.room(data.len())?;
        let streams = &mut *self.streams;
        if let Some(send) = streams.table.get(self.slot).and_then(|stream| stream.send.as_mut()) {
            send.buffer.write(&data[..len], &mut streams.pool);
            send.credit.consume(len as u64);
        }
        self.written(len);
        Ok(len)
    }

    /// As [`Self::write`], but keeps the memory instead of copying it. What was taken leaves the front of `data`.
    ///
    /// Worth it from 2 KiB on if the memory is made for this call, and always if it is there anyway: below, a copy costs less than
    /// memory of its own (measured by the bench `parts`, "handing over").
    ///
    /// # Errors
    /// If nothing can be written.
    pub fn write_bytes(&mut self, data: &mut Bytes) -> Result<usize, WriteError> {
        let len = self.room(data.len())?;
        let streams = &mut *self.streams;
        if let Some(send) = streams.table.get(self.slot).and_then(|stream| stream.send.as_mut()) {
            send.buffer.write_bytes(data.split_to(len), &mut streams.pool);
            send.credit.consume(len as u64);
        }
        self.written(len);
        Ok(len)
    }

    /// Ends the stream after what was written. [`StreamEvent::Finished`](crate::event::StreamEvent::Finished) follows.
    ///
    /// # Errors
    /// If it was finished, reset or stopped before.
    pub fn finish(&mut self) -> Result<(), WriteError> {
        self.check_open()?;
        if let Some(send) = self.streams.table.get(self.slot).and_then(|stream| stream.send.as_mut()) {
            send.finish();
        }
        self.streams.finishing += 1;
        self.streams.reschedule(self.slot);
        if self.streams.table.get(self.slot).is_some_and(|stream| stream.wants & intents::STOP != 0) {
            self.streams.want(self.slot, intents::STOP);
        }
        Ok(())
    }

    /// Abandons the stream: nothing more is sent or sent again.
    ///
    /// # Errors
    /// If it was reset before, or all of it was delivered.
    pub fn reset(&mut self, code: AppError) -> Result<(), ClosedStream> {
        let streams = &mut *self.streams;
        let stream = streams.table.get(self.slot).ok_or(ClosedStream)?;
        let send = stream.send.as_mut().ok_or(ClosedStream)?;
        let finishing = send.is_finishing();
        let freed = send.reset(code, &mut streams.pool).ok_or(ClosedStream)?;
        streams.finishing -= usize::from(finishing);
        streams.free_buffered(freed);
        streams.reschedule(self.slot);
        streams.want(self.slot, intents::RESET);
        streams.vacate_if_told(self.slot);
        Ok(())
    }

    /// How many bytes can be written now.
    pub fn capacity(&mut self) -> usize {
        let room = self.streams.config.send_buffer.saturating_sub(self.streams.buffered);
        let Some(send) = self.streams.table.get(self.slot).and_then(|stream| stream.send.as_ref()) else {
            return 0;
        };
        if send.is_open() { usize::try_from(send.writable().min(room)).unwrap_or(usize::MAX) } else { 0 }
    }

    /// Streams of higher priority send first; the default is 0. Equals take turns.
    pub fn set_priority(&mut self, priority: i32) {
        let streams = &mut *self.streams;
        if let Some(stream) = streams.table.get(self.slot)
            && stream.priority != priority
        {
            streams.schedule.set_priority(self.slot, stream, priority);
        }
    }

    /// The code with which the peer asked to stop sending, if it did.
    pub fn stopped(&mut self) -> Option<AppError> {
        self.streams.table.get(self.slot)?.send.as_ref()?.stopped()
    }

    fn check_open(&mut self) -> Result<(), WriteError> {
        let stream = self.streams.table.get(self.slot);
        let Some(send) = stream.and_then(|stream| stream.send.as_ref()) else {
            return Err(WriteError::Closed);
        };
        match send.stopped() {
            Some(code) => Err(WriteError::Stopped(code)),
            None if !send.is_open() => Err(WriteError::Closed),
            None => Ok(()),
        }
    }

    /// How much of `wanted` can be written; if nothing, notes that the application waits.
    fn room(&mut self, wanted: usize) -> Result<usize, WriteError> {
        self.check_open()?;
        let len = wanted.min(self.capacity());
        if len > 0 || wanted == 0 {
            return Ok(len);
        }
        let streams = &mut *self.streams;
        let stream = streams.table.get(self.slot);
        let Some(send) = stream.and_then(|stream| stream.send.as_mut()) else {
            return Err(WriteError::Closed);
        };
        send.waiting = true;
        let by_peer = send.writable() == 0;
        let report = by_peer && send.credit.report_blocked();
        if by_peer {
            streams.note_stalled(self.slot);
        } else {
            streams.wait_for_room(self.slot);
        }
        if report {
            streams.want(self.slot, intents::BLOCKED);
        }
        Err(WriteError::Blocked)
    }

    fn written(&mut self, len: usize) {
        self.streams.buffered += len as u64;
        self.streams.reschedule(self.slot);
    }
}

impl RecvStream<'_> {
    /// Copies what there is to `out`. A length of 0 without the end means only that `out` is empty.
    ///
    /// # Errors
    /// If there is nothing to read.
    pub fn read(&mut self, out: &mut [u8]) -> Result<Read, ReadError> {
        self.check_readable()?;
        let streams = &mut *self.streams;
        let Some(recv) = streams.table.get(self.slot).and_then(|stream| stream.recv.as_mut()) else {
            return Err(ReadError::Closed);
        };
        let len = recv.reassembler.read(out, &mut streams.pool);
        let fin = self.have_read(len);
        Ok(Read { len, fin })
    }

    /// The next bytes, at most `max` (not 0), without a copy; `None` at the end of the stream, said once.
    ///
    /// Worth it from 4 KiB on: a [`read`](Self::read) of less costs no more than the count of who holds the memory (measured by the bench
    /// `parts`, "handing over").
    ///
    /// # Errors
    /// If there is nothing to read.
    pub fn read_bytes(&mut self, max: usize) -> Result<Option<Bytes>, ReadError> {
        self.check_readable()?;
        let streams = &mut *self.streams;
        let Some(recv) = streams.table.get(self.slot).and_then(|stream| stream.recv.as_mut()) else {
            return Err(ReadError::Closed);
        };
        if recv.is_at_end() {
            self.have_read(0);
            return Ok(None);
        }
        let bytes = recv.reassembler.read_bytes(max, &mut streams.pool);
        streams.credit(self.slot, bytes.len() as u64);
        Ok(Some(bytes))
    }

    /// Asks the peer to stop sending; what came and was not read is dropped.
    ///
    /// # Errors
    /// If the stream was read to its end or stopped before.
    pub fn stop(&mut self, code: AppError) -> Result<(), ClosedStream> {
        let streams = &mut *self.streams;
        let stream = streams.table.get(self.slot).ok_or(ClosedStream)?;
        let recv = stream.recv.as_mut().ok_or(ClosedStream)?;
        let unread = match recv.readable() {
            Readable::Over => return Err(ClosedStream),
            // It was credited when the reset came.
            Readable::Reset(_) => 0,
            Readable::Yes | Readable::NotYet => {
                recv.credit.received().saturating_sub(recv.reassembler.read_offset())
            }
        };
        if recv.stop(code, &mut streams.pool) {
            streams.want(self.slot, intents::STOP);
        }
        streams.credit(self.slot, unread);
        streams.forget_if_over(self.slot);
        Ok(())
    }

    fn stream(&mut self) -> Option<&mut Stream> {
        self.streams.table.get(self.slot)
    }

    fn check_readable(&mut self) -> Result<(), ReadError> {
        let Some(recv) = self.stream().and_then(|stream| stream.recv.as_mut()) else {
            return Err(ReadError::Closed);
        };
        match recv.readable() {
            Readable::Yes => Ok(()),
            Readable::NotYet => {
                recv.notified = false;
                Err(ReadError::Blocked)
            }
            Readable::Reset(code) => {
                recv.set_read();
                self.streams.forget_if_over(self.slot);
                Err(ReadError::Reset(code))
            }
            Readable::Over => Err(ReadError::Closed),
        }
    }

    /// Notes that `len` bytes were read; returns whether that was all, and then the stream is over.
    fn have_read(&mut self, len: usize) -> bool {
        self.streams.credit(self.slot, len as u64);
        let Some(recv) = self.stream().and_then(|stream| stream.recv.as_mut()) else { return false };
        let fin = recv.is_at_end();
        if fin {
            recv.set_read();
            self.streams.forget_if_over(self.slot);
        }
        fin
    }
}
