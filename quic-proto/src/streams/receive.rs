//! Frames about streams coming in.
//!
//! Owns: nothing of its own; these are the receiving verbs of [`Streams`]. Each checks before it changes anything, so that a refused
//! frame can simply come again. No timers.

use super::recv::Readable;
use super::{Streams, intents};
use crate::error::{AppError, MAX_VARINT, TransportError, TransportErrorCode};
use crate::event::StreamEvent;
use crate::id::{Dir, StreamId};
use crate::time::{Duration, Instant};

/// What became of the data of a STREAM frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// It was stored (or was known, or is of no use any more).
    Stored,
    /// It was not: there are too many gaps. The packet must not be acknowledged, so that it comes again.
    Refused,
}

impl Streams {
    /// STREAM (RFC 9000 §19.8). `rtt` is the smoothed round-trip time.
    ///
    /// # Errors
    /// `STREAM_STATE_ERROR`, `STREAM_LIMIT_ERROR`, `FLOW_CONTROL_ERROR`, `FINAL_SIZE_ERROR`.
    #[inline]
    pub fn on_stream(
        &mut self,
        now: Instant,
        rtt: Duration,
        id: StreamId,
        offset: u64,
        data: &[u8],
        fin: bool,
    ) -> Result<Received, TransportError> {
        (self.now, self.rtt) = (now, rtt);
        let Some(slot) = self.find_receiving(id)? else { return Ok(Received::Stored) };
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_VARINT {
            return Err(error(TransportErrorCode::FLOW_CONTROL_ERROR, "an offset beyond 2^62-1"));
        }
        let Some(stream) = self.table.get(slot) else { return Ok(Received::Stored) };
        let metered = stream.metered;
        let Some(recv) = stream.recv.as_mut() else { return Ok(Received::Stored) };
        let growth = recv.check(end, fin)?;
        if metered {
            self.recv_credit.check(growth).map_err(|_| beyond_connection())?;
        }
        let takes = recv.takes_data();
        if takes {
            let window = recv.credit.window();
            if recv.reassembler.insert(offset, data, window, &mut self.pool).is_err() {
                self.stats.refused += 1;
                return Ok(Received::Refused);
            }
        }
        recv.credit.receive(growth);
        if fin {
            recv.set_final_size(end);
        }
        if metered {
            self.recv_credit.receive(growth);
        }
        self.stats.received += growth;
        if takes {
            if !recv.notified && recv.readable() == Readable::Yes {
                recv.notified = true;
                self.events.push_back(StreamEvent::Readable(id));
            }
        } else {
            recv.finish_stopped();
            self.credit(slot, growth);
            self.forget_if_over(slot);
        }
        Ok(Received::Stored)
    }

    /// RESET_STREAM (RFC 9000 §19.4).
    ///
    /// # Errors
    /// `STREAM_STATE_ERROR`, `STREAM_LIMIT_ERROR`, `FLOW_CONTROL_ERROR`, `FINAL_SIZE_ERROR`.
    pub fn on_reset_stream(
        &mut self,
        id: StreamId,
        code: AppError,
        final_size: u64,
    ) -> Result<(), TransportError> {
        let Some(slot) = self.find_receiving(id)? else { return Ok(()) };
        let Some(stream) = self.table.get(slot) else { return Ok(()) };
        let metered = stream.metered;
        let Some(recv) = stream.recv.as_mut() else { return Ok(()) };
        let growth = recv.check(final_size, true)?;
        if metered {
            self.recv_credit.check(growth).map_err(|_| beyond_connection())?;
        }
        // What the application will never read is credited now; a stopped stream was credited all along.
        let unread = if recv.is_stopped() {
            growth
        } else {
            final_size.saturating_sub(recv.reassembler.read_offset())
        };
        recv.credit.receive(growth);
        if metered {
            self.recv_credit.receive(growth);
        }
        if recv.reset(code, final_size, &mut self.pool) {
            if !recv.is_stopped() && !recv.notified {
                recv.notified = true;
                self.events.push_back(StreamEvent::Readable(id));
            }
            if metered {
                self.consume(unread);
            }
        }
        self.forget_if_over(slot);
        Ok(())
    }

    /// STOP_SENDING (RFC 9000 §19.5).
    ///
    /// # Errors
    /// `STREAM_STATE_ERROR`, `STREAM_LIMIT_ERROR`.
    pub fn on_stop_sending(&mut self, id: StreamId, code: AppError) -> Result<(), TransportError> {
        let Some(slot) = self.find_sending(id)? else { return Ok(()) };
        let Some(send) = self.table.get(slot).and_then(|stream| stream.send.as_mut()) else { return Ok(()) };
        let finishing = send.is_finishing();
        if let Some(freed) = send.stop(code, &mut self.pool) {
            self.finishing -= usize::from(finishing);
            self.events.push_back(StreamEvent::Stopped(id, code));
            self.free_buffered(freed);
            self.reschedule(slot);
            self.want(slot, intents::RESET);
            self.vacate_if_told(slot);
        }
        Ok(())
    }

    /// The peer goes away: it takes no new streams, and of our bidirectional ones only the first `served`, and others that it has answered.
    /// The rest is over as if it had reset them and asked us to stop, both with `code`. Returns whether it has not said so before.
    ///
    /// # Errors
    /// None at present.
    pub fn on_go_away(&mut self, served: u64, code: AppError) -> Result<bool, TransportError> {
        let news = !std::mem::replace(&mut self.peer_goes_away, true);
        for dir in [Dir::Bi, Dir::Uni] {
            self.wake_openers(dir);
        }
        for slot in 0..self.table.slots() {
            let Some(stream) = self.table.get(slot) else { continue };
            let id = stream.id;
            let ours = id.dir() == Dir::Bi && id.initiator() == self.config.side;
            let answered =
                stream.recv.as_ref().is_none_or(|recv| recv.credit.received() > 0 || !recv.is_size_open());
            if ours && id.index() >= served && !answered {
                self.on_stop_sending(id, code)?;
                self.on_reset_stream(id, code, 0)?;
            }
        }
        Ok(news)
    }

    /// MAX_DATA (RFC 9000 §19.9).
    ///
    /// # Errors
    /// None at present.
    pub fn on_max_data(&mut self, limit: u64) -> Result<(), TransportError> {
        self.send_credit.raise(limit);
        Ok(())
    }

    /// MAX_STREAM_DATA (RFC 9000 §19.10).
    ///
    /// # Errors
    /// `STREAM_STATE_ERROR`, `STREAM_LIMIT_ERROR`.
    pub fn on_max_stream_data(&mut self, id: StreamId, limit: u64) -> Result<(), TransportError> {
        if let Some(slot) = self.find_sending(id)? {
            self.raise_stream_data(slot, id, limit);
        }
        Ok(())
    }

    /// MAX_STREAMS (RFC 9000 §19.11).
    ///
    /// # Errors
    /// `FRAME_ENCODING_ERROR` for a limit above 2^60.
    pub fn on_max_streams(&mut self, dir: Dir, limit: u64) -> Result<(), TransportError> {
        check_stream_count(limit)?;
        self.raise_streams(dir, limit);
        Ok(())
    }

    /// DATA_BLOCKED (RFC 9000 §19.12): says nothing that we act on; our window follows what the application reads.
    ///
    /// # Errors
    /// None at present.
    pub fn on_data_blocked(&mut self, limit: u64) -> Result<(), TransportError> {
        if limit < self.recv_credit.target() && self.recv_credit.update_wanted() {
            self.wants |= intents::MAX_DATA;
        }
        Ok(())
    }

    /// STREAM_DATA_BLOCKED (RFC 9000 §19.13).
    ///
    /// # Errors
    /// `STREAM_STATE_ERROR`, `STREAM_LIMIT_ERROR`.
    pub fn on_stream_data_blocked(&mut self, id: StreamId, limit: u64) -> Result<(), TransportError> {
        if let Some(slot) = self.find_receiving(id)?
            && let Some(recv) = self.table.get(slot).and_then(|stream| stream.recv.as_ref())
            && limit < recv.credit.target()
            && recv.credit.update_wanted()
        {
            self.want(slot, intents::CREDIT);
        }
        Ok(())
    }

    /// STREAMS_BLOCKED (RFC 9000 §19.14): the peer hears of a new limit even if few streams were closed.
    ///
    /// # Errors
    /// `FRAME_ENCODING_ERROR` for a limit above 2^60.
    pub fn on_streams_blocked(&mut self, dir: Dir, limit: u64) -> Result<(), TransportError> {
        check_stream_count(limit)?;
        if limit < self.peer_opened[dir as usize].target() {
            self.wants |= intents::MAX_STREAMS << dir as u8;
        }
        Ok(())
    }

    /// The slot of a stream on which the peer sends; `None` if it is over.
    #[inline]
    fn find_receiving(&mut self, id: StreamId) -> Result<Option<u32>, TransportError> {
        // RFC 9000 §19.8: "An endpoint MUST terminate the connection with error STREAM_STATE_ERROR if it receives a STREAM frame for a locally
        // initiated stream that has not yet been created, or for a send-only stream." §19.4 and §19.13 say the same.
        if id.dir() == Dir::Uni && id.initiator() == self.config.side {
            return Err(error(TransportErrorCode::STREAM_STATE_ERROR, "for a send-only stream"));
        }
        self.find_for_peer(id)
    }

    /// The slot of a stream on which we send; `None` if it is over.
    fn find_sending(&mut self, id: StreamId) -> Result<Option<u32>, TransportError> {
        // RFC 9000 §19.5: "Receiving a STOP_SENDING frame for a locally initiated stream that has not yet been created MUST be treated as a
        // connection error of type STREAM_STATE_ERROR. An endpoint that receives a STOP_SENDING frame for a receive-only stream MUST
        // terminate the connection with error STREAM_STATE_ERROR." §19.10 says the same.
        if id.dir() == Dir::Uni && id.initiator() != self.config.side {
            return Err(error(TransportErrorCode::STREAM_STATE_ERROR, "for a receive-only stream"));
        }
        self.find_for_peer(id)
    }

    #[inline]
    fn find_for_peer(&mut self, id: StreamId) -> Result<Option<u32>, TransportError> {
        match self.table.find(id) {
            Some(slot) => Ok(Some(slot)),
            None => self.find_unknown(id),
        }
    }

    fn find_unknown(&mut self, id: StreamId) -> Result<Option<u32>, TransportError> {
        let dir = id.dir();
        if id.initiator() == self.config.side {
            return if id.index() < self.own_opened[dir as usize].credit.used() {
                Ok(None)
            } else {
                Err(error(TransportErrorCode::STREAM_STATE_ERROR, "for a stream that was not opened yet"))
            };
        }
        let opened = &mut self.peer_opened[dir as usize];
        let (create, opens) = opened.touch(id.index())?;
        if opens && !opened.notified {
            opened.notified = true;
            self.events.push_back(StreamEvent::Opened(dir));
        }
        if !create {
            return Ok(None);
        }
        self.stats.peer_opened += 1;
        Ok(Some(self.create(id)))
    }
}

fn error(code: TransportErrorCode, reason: &'static str) -> TransportError {
    TransportError::new(code, reason)
}

fn beyond_connection() -> TransportError {
    error(TransportErrorCode::FLOW_CONTROL_ERROR, "beyond the connection's data limit")
}

/// RFC 9000 §19.11: "Receipt of a frame that permits opening of a stream larger than this limit \[2^60\] MUST be treated as a connection
/// error of type FRAME_ENCODING_ERROR."
fn check_stream_count(limit: u64) -> Result<(), TransportError> {
    if limit > super::limits::MAX_STREAMS {
        return Err(error(TransportErrorCode::FRAME_ENCODING_ERROR, "a stream limit above 2^60"));
    }
    Ok(())
}
