//! The receiving part of a stream, RFC 9000 §3.2.
//!
//! Owns: the state below, the bytes that wait for the application, and the stream's window. Invariants: once known, the final size
//! never changes and no byte lies beyond it; what is not handed to the application is credited to flow control all the same. No timers.
//!
//! ```text
//!   ┌──────┐  end of the stream  ┌────────────┐  all bytes came  ┌────────────┐  application read all  ┌───────────┐
//!   │ Recv ├────────────────────►│ Size Known ├─────────────────►│ Data Recvd ├───────────────────────►│ Data Read │
//!   └──┬───┘                     └─────┬──────┘                  └────────────┘                        └───────────┘
//!      │        RESET_STREAM           │
//!      └───────────────┬───────────────┘
//!                      ▼
//!               ┌─────────────┐  application heard of it  ┌────────────┐
//!               │ Reset Recvd ├──────────────────────────►│ Reset Read │
//!               └─────────────┘                           └────────────┘
//! ```
//! If the application asked to stop, it is not interested: the step to Data Read or Reset Read follows by itself.

use super::reassembler::Reassembler;
use crate::error::{AppError, TransportError, TransportErrorCode};
use crate::flow::RecvCredit;
use crate::util::ChunkPool;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Recv, Size Known or Data Recvd, as the final size and the reassembler say.
    Open,
    DataRead,
    ResetRecvd(AppError),
    ResetRead,
}

/// See the module.
#[derive(Debug)]
pub(super) struct RecvHalf {
    pub(super) reassembler: Reassembler,
    pub(super) credit: RecvCredit,
    state: State,
    final_size: Option<u64>,
    stopped: Option<AppError>,
    /// The application was told that there is something to read, and has not read until there was nothing.
    pub(super) notified: bool,
}

/// What a read finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Readable {
    /// Bytes, or the end of the stream.
    Yes,
    /// Nothing for now.
    NotYet,
    /// The peer reset the stream.
    Reset(AppError),
    /// The application has had all, or stopped the stream.
    Over,
}

impl RecvHalf {
    pub(super) fn new(window: u64, ceiling: u64, reassembler: Reassembler) -> Self {
        Self {
            reassembler,
            credit: RecvCredit::new(window, ceiling),
            state: State::Open,
            final_size: None,
            stopped: None,
            notified: false,
        }
    }

    /// Checks where a frame's data ends; returns by how much it raises the highest offset received.
    #[inline]
    pub(super) fn check(&self, end: u64, fin: bool) -> Result<u64, TransportError> {
        // RFC 9000 §4.5: "Once a final size for a stream is known, it cannot change. If a RESET_STREAM or STREAM frame is received indicating
        // a change in the final size for the stream, an endpoint SHOULD respond with an error of type FINAL_SIZE_ERROR".
        let wrong = match self.final_size {
            Some(size) => end > size || (fin && end != size),
            None => fin && end < self.credit.received(),
        };
        if wrong {
            return Err(TransportError::new(
                TransportErrorCode::FINAL_SIZE_ERROR,
                "contradicts the final size",
            ));
        }
        let growth = end.saturating_sub(self.credit.received());
        // RFC 9000 §4.1: "A receiver MUST close the connection with an error of type FLOW_CONTROL_ERROR if the sender violates the
        // advertised connection or stream data limits".
        self.credit.check(growth).map_err(|_| {
            TransportError::new(TransportErrorCode::FLOW_CONTROL_ERROR, "beyond the stream's data limit")
        })?;
        Ok(growth)
    }

    /// Whether arriving data is still of use.
    #[inline]
    pub(super) fn takes_data(&self) -> bool {
        self.state == State::Open && self.stopped.is_none()
    }

    /// Notes the end of the stream.
    pub(super) fn set_final_size(&mut self, size: u64) {
        self.final_size = Some(size);
    }

    /// Whether the stream is in Recv.
    #[inline]
    pub(super) fn is_size_open(&self) -> bool {
        self.state == State::Open && self.final_size.is_none()
    }

    /// Whether nothing more can happen: Data Read or Reset Read.
    #[inline]
    pub(super) fn is_terminal(&self) -> bool {
        matches!(self.state, State::DataRead | State::ResetRead)
    }

    #[inline]
    pub(super) fn readable(&self) -> Readable {
        match self.state {
            State::Open if self.stopped.is_some() => Readable::Over,
            State::Open if self.reassembler.readable() > 0 || self.is_at_end() => Readable::Yes,
            State::Open => Readable::NotYet,
            State::ResetRecvd(code) => Readable::Reset(code),
            State::DataRead | State::ResetRead => Readable::Over,
        }
    }

    /// Whether the application has read all bytes of a stream whose end is known.
    #[inline]
    pub(super) fn is_at_end(&self) -> bool {
        self.final_size == Some(self.reassembler.read_offset())
    }

    /// The application was told of the end or of the reset.
    pub(super) fn set_read(&mut self) {
        self.state = match self.state {
            State::Open | State::DataRead => State::DataRead,
            State::ResetRecvd(_) | State::ResetRead => State::ResetRead,
        };
    }

    /// The peer resets the stream. Returns whether that is news; the buffered bytes are gone then.
    pub(super) fn reset(&mut self, code: AppError, final_size: u64, pool: &mut ChunkPool) -> bool {
        // RFC 9000 §3.2: in Data Recvd a RESET_STREAM may be ignored, as all data is there.
        let complete = self.final_size == Some(self.reassembler.contiguous()) && self.stopped.is_none();
        self.final_size = Some(final_size);
        if self.state != State::Open || complete {
            return false;
        }
        self.reassembler.clear(pool);
        self.state = if self.stopped.is_some() { State::ResetRead } else { State::ResetRecvd(code) };
        true
    }

    /// The application wants no more. Returns whether the peer is to be asked to stop.
    pub(super) fn stop(&mut self, code: AppError, pool: &mut ChunkPool) -> bool {
        // RFC 9000 §3.5: "STOP_SENDING is most useful for streams in the "Recv" or "Size Known" state": with all data here, none is sent.
        let complete = self.final_size == Some(self.reassembler.contiguous());
        let ask = self.state == State::Open && !complete;
        if self.state != State::Open || complete {
            self.set_read();
        }
        self.stopped = Some(code);
        self.reassembler.clear(pool);
        ask
    }

    /// After [`Self::stop`]: the stream is over as soon as its size is known; what is on its way is accounted for already.
    pub(super) fn finish_stopped(&mut self) {
        if self.stopped.is_some() && self.final_size.is_some() {
            self.set_read();
        }
    }

    /// The code with which the peer is to be asked to stop, if that still matters.
    pub(super) fn pending_stop(&self) -> Option<AppError> {
        self.stopped.filter(|_| self.state == State::Open)
    }

    /// Whether the application asked to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }
}
