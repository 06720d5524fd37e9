//! STREAM frames going out, and what became of all frames.
//!
//! Owns: nothing of its own; these are the sending verbs of [`Streams`]. No timers.

use super::schedule::Class;
use super::send::{SendHalf, Work};
use super::table::Handle;
use super::{Streams, intents};
use crate::event::StreamEvent;
use crate::id::{Dir, StreamId};
use crate::recovery::token::Token;

/// What a STREAM frame can carry now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sendable {
    /// The stream.
    pub id: StreamId,
    /// Offset of the first byte.
    pub offset: u64,
    /// How many bytes may follow, all flow control considered.
    pub len: usize,
    /// Whether the stream ends after all of them.
    pub fin: bool,
    slot: u32,
}

/// Why there is no stream data to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lack {
    /// The application wrote none.
    Data,
    /// The application wanted to write and the send buffer was full.
    Room,
    /// The application wanted to open a stream and the peer's limit did not permit it.
    Streams,
    /// The application wanted to write and the peer's limit of the stream did not permit it.
    StreamCredit,
    /// There is data, but the peer's limit of the connection does not permit it.
    ConnectionCredit,
}

impl Streams {
    /// Whether a STREAM frame can be sent.
    #[inline]
    pub fn can_send(&self) -> bool {
        self.schedule.has(Class::Free)
            || (self.send_credit.available() > 0 && self.schedule.has(Class::Metered))
    }

    /// Why no STREAM frame can be sent, when none can. What is nearest to being sent counts.
    pub fn lack(&mut self) -> Lack {
        if self.schedule.has(Class::Metered) && self.send_credit.available() == 0 {
            return Lack::ConnectionCredit;
        }
        while let Some(handle) = self.stalled.last().copied() {
            if let Some(stream) = self.table.live(handle) {
                if stream.send.as_ref().is_some_and(SendHalf::is_stalled) {
                    return Lack::StreamCredit;
                }
                stream.stalled_listed = false;
            }
            self.stalled.pop();
        }
        if !self.waiting.is_empty() {
            Lack::Room
        } else if self.own_opened.iter().any(|own| own.waiting) {
            Lack::Streams
        } else {
            Lack::Data
        }
    }

    /// The STREAM frame to write next. It stays until [`Self::take_data`].
    #[inline]
    pub fn peek_data(&mut self) -> Option<Sendable> {
        let credit = self.send_credit.available();
        let Handle { slot, id } = self.schedule.front(&mut self.table, credit > 0)?;
        let stream = self.table.get(slot)?;
        let send = stream.send.as_ref()?;
        let next = send.buffer.next();
        let mut len = next.end - next.start;
        if stream.class == Some(Class::Metered) {
            // RFC 9000 §4.1: "Senders MUST NOT send data in excess of either limit." The stream's own was applied when it was written.
            len = len.min(credit);
        }
        let fin = send.ends_at(next.start + len);
        Some(Sendable { id, offset: next.start, len: usize::try_from(len).unwrap_or(usize::MAX), fin, slot })
    }

    /// Copies the first `len` bytes of what was peeked to `out`, which is as long. The frame must say that the stream ends if, and only
    /// if, `len == sendable.len` and `sendable.fin`; the token says the same.
    #[inline]
    pub fn take_data(&mut self, sendable: &Sendable, len: usize, out: &mut [u8]) -> Token {
        let &Sendable { id, offset, slot, .. } = sendable;
        let fin = sendable.fin && len == sendable.len;
        let token = Token::Stream { id, offset, len: len as u32, fin };
        let Some(stream) = self.table.live(Handle { slot, id }) else { return token };
        let (class, priority, metered) = (stream.class, stream.priority, stream.metered);
        let Some(send) = stream.send.as_mut() else { return token };
        debug_assert!(len <= sendable.len && out.len() == len);
        let new = offset == send.buffer.unsent();
        if len > 0 {
            send.buffer.send(offset, out);
        }
        if fin {
            send.on_fin_sent();
            self.vacate_if_told(slot);
        }
        self.stats.sent += len as u64;
        if !new {
            self.stats.resent += len as u64;
        } else if metered {
            self.send_credit.consume(len as u64);
        }
        if let Some(class) = class {
            self.schedule.on_sent(class, priority, len);
        }
        self.reschedule(slot);
        token
    }

    /// A packet with this token was acknowledged. Tokens that are none of ours are ignored.
    #[inline]
    pub fn on_acked(&mut self, token: Token) {
        match token {
            Token::Stream { id, offset, len, fin } => {
                let Some(slot) = self.table.find(id) else { return };
                let pool = &mut self.pool;
                let Some(send) = self.table.get(slot).and_then(|stream| stream.send.as_mut()) else { return };
                let repeats = send.work() == Work::Free;
                let (freed, done) = send.on_acked(offset, len, fin, pool);
                self.free_buffered(freed);
                if repeats {
                    // Lost bytes may have become needless.
                    self.reschedule(slot);
                }
                if done {
                    self.finishing -= 1;
                    self.events.push_back(StreamEvent::Finished(id));
                    self.forget_if_over(slot);
                }
            }
            Token::ResetStream(id) => {
                let Some(slot) = self.table.find(id) else { return };
                if let Some(send) = self.table.get(slot).and_then(|stream| stream.send.as_mut()) {
                    send.on_reset_acked();
                }
                self.forget_if_over(slot);
            }
            _ => {}
        }
    }

    /// A packet with this token was lost. RFC 9000 §13.3: what is still of use is sent again, with the values of then.
    pub fn on_lost(&mut self, token: Token) {
        match token {
            Token::Stream { id, offset, len, fin } => {
                let Some(slot) = self.table.find(id) else { return };
                if let Some(send) = self.table.get(slot).and_then(|stream| stream.send.as_mut()) {
                    send.on_lost(offset, len, fin);
                }
                self.reschedule(slot);
            }
            Token::ResetStream(id) => self.want_by_id(id, intents::RESET),
            Token::StopSending(id) => self.want_by_id(id, intents::STOP),
            Token::MaxStreamData(id) => self.want_by_id(id, intents::CREDIT),
            Token::StreamDataBlocked(id) => self.want_by_id(id, intents::BLOCKED),
            Token::MaxData => self.wants |= intents::MAX_DATA,
            Token::DataBlocked => self.wants |= intents::DATA_BLOCKED,
            Token::MaxStreams(dir) => self.wants |= intents::MAX_STREAMS << dir as u8,
            Token::StreamsBlocked(dir) => self.lost_streams_blocked(dir),
            _ => {}
        }
    }

    fn lost_streams_blocked(&mut self, dir: Dir) {
        if self.own_opened[dir as usize].waiting {
            self.wants |= intents::STREAMS_BLOCKED << dir as u8;
        }
    }

    fn want_by_id(&mut self, id: StreamId, wish: u8) {
        if let Some(slot) = self.table.find(id) {
            self.want(slot, wish);
        }
    }
}
