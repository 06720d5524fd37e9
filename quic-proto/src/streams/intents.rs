//! Frames other than STREAM that streams and their limits want sent.
//!
//! Owns: what is wanted, never its value: that is read when a packet has room. Invariants: a stream is in the queue at most once; a
//! wish that has lost its sense (a limit for a stream that ended) is dropped when it comes to the front. No timers.

use super::Streams;
use super::recv::RecvHalf;
use super::send::SendHalf;
use super::table::Handle;
use crate::error::AppError;
use crate::id::{Dir, StreamId};
use crate::recovery::token::Token;

/// A frame to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// MAX_DATA.
    MaxData(u64),
    /// MAX_STREAM_DATA.
    MaxStreamData(StreamId, u64),
    /// MAX_STREAMS.
    MaxStreams(Dir, u64),
    /// DATA_BLOCKED at this limit.
    DataBlocked(u64),
    /// STREAM_DATA_BLOCKED at this limit.
    StreamDataBlocked(StreamId, u64),
    /// STREAMS_BLOCKED at this limit.
    StreamsBlocked(Dir, u64),
    /// RESET_STREAM.
    ResetStream {
        /// The stream.
        id: StreamId,
        /// The application's code.
        code: AppError,
        /// How many bytes were sent.
        final_size: u64,
    },
    /// STOP_SENDING.
    StopSending {
        /// The stream.
        id: StreamId,
        /// The application's code.
        code: AppError,
    },
}

// Wishes of one stream.
pub(super) const RESET: u8 = 1;
pub(super) const STOP: u8 = 2;
pub(super) const CREDIT: u8 = 4;
pub(super) const BLOCKED: u8 = 8;

// Wishes of the connection; those of a direction are shifted by it.
pub(super) const MAX_DATA: u8 = 1;
pub(super) const DATA_BLOCKED: u8 = 2;
pub(super) const MAX_STREAMS: u8 = 4;
pub(super) const STREAMS_BLOCKED: u8 = 16;

impl Streams {
    /// The frame to write next, with its value of now. It stays until [`Self::take_intent`].
    pub fn peek_intent(&mut self) -> Option<Intent> {
        if self.wants != 0
            && let Some(intent) = self.connection_intent()
        {
            return Some(intent);
        }
        while let Some(&handle) = self.wanting.front() {
            if let Some(intent) = self.stream_intent(handle) {
                return Some(intent);
            }
            self.wanting.pop_front();
            if let Some(stream) = self.table.live(handle) {
                stream.wants_queued = false;
            }
        }
        None
    }

    /// Notes that a frame was written; the token goes with the packet.
    pub fn take_intent(&mut self, intent: &Intent) -> Token {
        match *intent {
            Intent::MaxData(limit) => {
                self.wants &= !MAX_DATA;
                self.recv_credit.advertise(limit);
                Token::MaxData
            }
            Intent::MaxStreams(dir, limit) => {
                self.wants &= !(MAX_STREAMS << dir as u8);
                self.peer_opened[dir as usize].advertise(limit);
                Token::MaxStreams(dir)
            }
            Intent::DataBlocked(_) => {
                self.wants &= !DATA_BLOCKED;
                Token::DataBlocked
            }
            Intent::StreamsBlocked(dir, _) => {
                self.wants &= !(STREAMS_BLOCKED << dir as u8);
                Token::StreamsBlocked(dir)
            }
            Intent::MaxStreamData(id, limit) => {
                self.unwant(id, CREDIT);
                if let Some(slot) = self.table.find(id)
                    && let Some(recv) = self.table.get(slot).and_then(|stream| stream.recv.as_mut())
                {
                    recv.credit.advertise(limit);
                }
                Token::MaxStreamData(id)
            }
            Intent::StreamDataBlocked(id, _) => {
                self.unwant(id, BLOCKED);
                Token::StreamDataBlocked(id)
            }
            Intent::ResetStream { id, .. } => {
                self.unwant(id, RESET);
                Token::ResetStream(id)
            }
            Intent::StopSending { id, .. } => {
                self.unwant(id, STOP);
                Token::StopSending(id)
            }
        }
    }

    /// Notes that a stream wants a frame sent.
    pub(super) fn want(&mut self, slot: u32, wish: u8) {
        let Some(stream) = self.table.get(slot) else { return };
        stream.wants |= wish;
        if !stream.wants_queued {
            stream.wants_queued = true;
            self.wanting.push_back(Handle { slot, id: stream.id });
        }
    }

    fn unwant(&mut self, id: StreamId, wish: u8) {
        if let Some(slot) = self.table.find(id)
            && let Some(stream) = self.table.get(slot)
        {
            stream.wants &= !wish;
        }
    }

    fn connection_intent(&mut self) -> Option<Intent> {
        if self.wants & MAX_DATA != 0 {
            return Some(Intent::MaxData(self.recv_credit.target()));
        }
        for dir in Dir::ALL {
            if self.wants & MAX_STREAMS << dir as u8 != 0 {
                return Some(Intent::MaxStreams(dir, self.peer_opened[dir as usize].target()));
            }
            if self.wants & STREAMS_BLOCKED << dir as u8 != 0 {
                let credit = &self.own_opened[dir as usize].credit;
                if credit.available() == 0 {
                    return Some(Intent::StreamsBlocked(dir, credit.limit()));
                }
                self.wants &= !(STREAMS_BLOCKED << dir as u8);
            }
        }
        if self.wants & DATA_BLOCKED != 0 {
            if self.send_credit.available() == 0 {
                return Some(Intent::DataBlocked(self.send_credit.limit()));
            }
            self.wants &= !DATA_BLOCKED;
        }
        None
    }

    fn stream_intent(&mut self, handle: Handle) -> Option<Intent> {
        let id = handle.id;
        let stream = self.table.live(handle)?;
        if stream.wants & RESET != 0 {
            if let Some((code, final_size)) = stream.send.as_ref().and_then(SendHalf::pending_reset) {
                return Some(Intent::ResetStream { id, code, final_size });
            }
            stream.wants &= !RESET;
        }
        // A wish that has to wait for the end of our data stays, outside the queue: `finish` brings it back.
        if stream.wants & STOP != 0 && !stream.stop_waits(&self.config.rules) {
            if let Some(code) = stream.recv.as_ref().and_then(RecvHalf::pending_stop) {
                return Some(Intent::StopSending { id, code });
            }
            stream.wants &= !STOP;
        }
        if stream.wants & CREDIT != 0 {
            let wants = stream.wants_credit(&self.config.rules);
            if let Some(recv) = stream.recv.as_ref().filter(|_| wants) {
                return Some(Intent::MaxStreamData(id, recv.credit.target()));
            }
            stream.wants &= !CREDIT;
        }
        if stream.wants & BLOCKED != 0 {
            // RFC 9000 §3.1: STREAM_DATA_BLOCKED is for streams that still have something to send.
            if let Some(send) = stream.send.as_ref().filter(|send| send.is_open() && send.writable() == 0) {
                return Some(Intent::StreamDataBlocked(id, send.credit.limit()));
            }
            stream.wants &= !BLOCKED;
        }
        None
    }
}
