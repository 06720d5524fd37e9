//! The sending part of a stream, RFC 9000 §3.1.
//!
//! Owns: the state below, the stream's send buffer and its credit. Invariants: nothing beyond the peer's limit is ever accepted from
//! the application, so that all unsent bytes of a stream may be sent as far as the stream is concerned. No timers.
//!
//! ```text
//!        ┌───────┐   bytes or end of the stream sent    ┌───────────┐  all and the end sent  ┌───────────┐  all acknowledged  ┌────────────┐
//!        │ Ready ├─────────────────────────────────────►│   Send    ├──────────────────────►│ Data Sent ├───────────────────►│ Data Recvd │
//!        └───┬───┘                                      └─────┬─────┘                       └─────┬─────┘                    └────────────┘
//!            │          reset by the application, or the peer sent STOP_SENDING                   │
//!            └────────────────────────────────┬───────────────┴───────────────────────────────────┘
//!                                             ▼
//!                                       ┌────────────┐   acknowledged   ┌─────────────┐
//!                                       │ Reset Sent ├─────────────────►│ Reset Recvd │
//!                                       └────────────┘                  └─────────────┘
//! ```
//! Ready, Send and Data Sent differ only in what the buffer says, and are one variant here.

use super::send_buffer::SendBuffer;
use crate::error::AppError;
use crate::flow::SendCredit;
use crate::util::ChunkPool;

/// Where the end of a stream stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fin {
    /// The application may write more.
    Open,
    /// It has finished, and that is to be told (for the first time, or again after a loss).
    Pending,
    /// The peer was told.
    Sent,
    /// The peer acknowledged that.
    Acked,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Sending,
    DataRecvd,
    ResetSent { code: AppError, final_size: u64 },
    ResetRecvd,
}

/// What a stream has to send in STREAM frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Work {
    /// Nothing.
    Idle,
    /// Something that uses no credit of the connection: lost bytes, or only the end.
    Free,
    /// New bytes.
    New,
}

/// See the module.
#[derive(Debug)]
pub(super) struct SendHalf {
    pub(super) buffer: SendBuffer,
    pub(super) credit: SendCredit,
    state: State,
    fin: Fin,
    stopped: Option<AppError>,
    /// The application was refused a write and waits for room.
    pub(super) waiting: bool,
}

impl SendHalf {
    pub(super) fn new(limit: u64, buffer: SendBuffer) -> Self {
        Self {
            buffer,
            credit: SendCredit::new(limit),
            state: State::Sending,
            fin: Fin::Open,
            stopped: None,
            waiting: false,
        }
    }

    /// Whether the application may write (unless it is blocked).
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Sending && self.fin == Fin::Open
    }

    /// Whether the stream was finished and the peer does not have all of it yet.
    pub(super) fn is_finishing(&self) -> bool {
        self.state == State::Sending && self.fin != Fin::Open
    }

    /// Where the data ends, if the application has said so and did not reset the stream.
    pub(super) fn end(&self) -> Option<u64> {
        let ends = self.fin != Fin::Open && matches!(self.state, State::Sending | State::DataRecvd);
        ends.then(|| self.buffer.end())
    }

    /// Whether the peer was told where the data ends.
    pub(super) fn is_end_sent(&self) -> bool {
        self.state == State::DataRecvd
            || (self.state == State::Sending && matches!(self.fin, Fin::Sent | Fin::Acked))
    }

    /// Whether nothing of the stream may be left to send but what is lost: the peer may know all that it will ever know.
    pub(super) fn is_told(&self) -> bool {
        self.is_end_sent() || matches!(self.state, State::ResetSent { .. } | State::ResetRecvd)
    }

    /// Whether nothing more can happen: Data Recvd or Reset Recvd.
    #[inline]
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.state, State::DataRecvd | State::ResetRecvd)
    }

    /// The code with which the peer asked to stop, if it did.
    pub(super) fn stopped(&self) -> Option<AppError> {
        self.stopped
    }

    /// Bytes that the stream's limit still permits to be written.
    #[inline]
    pub(super) fn writable(&self) -> u64 {
        self.credit.available()
    }

    /// Whether the application waits for the peer's limit of the stream.
    pub(super) fn is_stalled(&self) -> bool {
        self.waiting && self.is_open() && self.writable() == 0
    }

    #[inline]
    pub(super) fn work(&self) -> Work {
        if self.state != State::Sending {
            Work::Idle
        } else if self.buffer.has_lost() {
            Work::Free
        } else if self.buffer.unsent() < self.buffer.end() {
            Work::New
        } else if self.fin == Fin::Pending {
            Work::Free
        } else {
            Work::Idle
        }
    }

    /// Whether a frame whose data ends at `end` can say that the stream ends there.
    #[inline]
    pub(super) fn ends_at(&self, end: u64) -> bool {
        self.fin != Fin::Open && end == self.buffer.end()
    }

    /// Notes that the application has written all.
    pub(super) fn finish(&mut self) {
        if self.is_open() {
            self.fin = Fin::Pending;
        }
    }

    pub(super) fn on_fin_sent(&mut self) {
        if self.fin == Fin::Pending {
            self.fin = Fin::Sent;
        }
    }

    /// The peer has these bytes; returns how many were freed, and whether the stream is now completely delivered.
    #[inline]
    pub(super) fn on_acked(&mut self, offset: u64, len: u32, fin: bool, pool: &mut ChunkPool) -> (u64, bool) {
        if self.state != State::Sending {
            return (0, false);
        }
        let freed = self.buffer.on_acked(offset..offset + u64::from(len), pool);
        if fin {
            self.fin = Fin::Acked;
        }
        let done = self.fin == Fin::Acked && self.buffer.is_all_acked();
        if done {
            self.state = State::DataRecvd;
        }
        (freed, done)
    }

    pub(super) fn on_lost(&mut self, offset: u64, len: u32, fin: bool) {
        if self.state == State::Sending {
            self.buffer.on_lost(offset..offset + u64::from(len));
            if fin && self.fin == Fin::Sent {
                self.fin = Fin::Pending;
            }
        }
    }

    /// Abandons the stream (unless it is over); returns how many bytes were freed, or `None` if there was nothing to abandon.
    pub(super) fn reset(&mut self, code: AppError, pool: &mut ChunkPool) -> Option<u64> {
        if self.state != State::Sending {
            return None;
        }
        // RFC 9000 §4.5: the final size is the number of bytes sent, which is what flow control has counted.
        self.state = State::ResetSent { code, final_size: self.buffer.unsent() };
        self.waiting = false;
        Some(self.buffer.clear(pool))
    }

    /// The peer asks to stop: the stream is reset with its code. Returns as [`Self::reset`] does.
    pub(super) fn stop(&mut self, code: AppError, pool: &mut ChunkPool) -> Option<u64> {
        // RFC 9000 §3.5: "An endpoint that receives a STOP_SENDING frame MUST send a RESET_STREAM frame if the stream is in the "Ready" or
        // "Send" state"; it "SHOULD copy the error code from the STOP_SENDING frame". In Data Sent it is sent as well, not deferred.
        let freed = self.reset(code, pool)?;
        self.stopped = Some(code);
        Some(freed)
    }

    /// Code and final size of a RESET_STREAM that the peer has not acknowledged.
    pub(super) fn pending_reset(&self) -> Option<(AppError, u64)> {
        match self.state {
            State::ResetSent { code, final_size } => Some((code, final_size)),
            _ => None,
        }
    }

    pub(super) fn on_reset_acked(&mut self) {
        if matches!(self.state, State::ResetSent { .. }) {
            self.state = State::ResetRecvd;
        }
    }
}
