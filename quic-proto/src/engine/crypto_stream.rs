//! The handshake's byte streams: one for each packet number space (RFC 9000 §7.5, §19.6), or one in all if a family has but one space.
//!
//! Owned here: bytes that TLS wrote and the peer has not acknowledged, and bytes that came and TLS has not read. There is no flow
//! control on these streams. What we send is bounded by TLS; what the peer can make us keep is bounded by [`RECEIVE_LIMIT`].
//!
//! Invariants: sent bytes are kept from the first one that is not acknowledged; `lost` and `acked` hold disjoint ranges in order, lie
//! below `unsent`, and do not overlap each other. Received bytes are kept from the first one that was not read.

use crate::error::{MAX_VARINT, TransportError, TransportErrorCode};
use std::ops::Range;

/// How many bytes beyond the last that was read are kept. RFC 9000 §7.5: "Implementations MUST support buffering at least 4096 bytes
/// of data received in out-of-order CRYPTO frames." Long certificate chains want more.
pub const RECEIVE_LIMIT: u64 = 65_536;

/// How many separate ranges of out-of-order bytes are kept: more is no handshake but an attempt to make us search.
const MAX_RANGES: usize = 256;

/// The handshake bytes of one space, both ways.
#[derive(Default, Debug)]
pub struct CryptoStream {
    send: Send,
    receive: Receive,
}

#[derive(Default, Debug)]
struct Send {
    data: Vec<u8>,
    /// Offset of the first byte in `data`.
    base: u64,
    /// Offset of the first byte that was never sent.
    unsent: u64,
    /// To be sent again, before anything new.
    lost: Ranges,
    /// Acknowledged beyond `base`.
    acked: Ranges,
}

#[derive(Default, Debug)]
struct Receive {
    data: Vec<u8>,
    /// Offset of the first byte in `data`: all before were read.
    base: u64,
    /// How many bytes at the start of `data` have come without a gap.
    ready: usize,
    /// What else of `data` has come, by offset.
    filled: Ranges,
    /// End of all that ever came.
    end: u64,
    finished: bool,
}

impl CryptoStream {
    /// A stream of which earlier bytes were settled before the connection was there: `sent` of ours and `received` of the peer's.
    pub fn resumed(sent: u64, received: u64) -> Self {
        Self {
            send: Send { base: sent, unsent: sent, ..Send::default() },
            receive: Receive { base: received, end: received, ..Receive::default() },
        }
    }

    /// Whether the peer's bytes before `offset` were read.
    pub fn is_read(&self, offset: u64) -> bool {
        offset <= self.receive.base
    }

    /// Where what was written so far ends.
    pub fn written(&self) -> u64 {
        self.send.end()
    }

    /// The peer has shown that it got everything that was written so far.
    pub fn forget_sent(&mut self) {
        let end = self.send.end();
        self.send = Send { base: end, unsent: end, ..Send::default() };
    }

    /// Appends bytes to send.
    pub fn write(&mut self, data: &[u8]) {
        self.send.data.extend_from_slice(data);
    }

    /// Where bytes to send may be appended.
    pub fn unsent_end(&mut self) -> &mut Vec<u8> {
        &mut self.send.data
    }

    /// Offset and length of the next contiguous bytes to send: those that were lost first.
    pub fn peek(&self) -> Option<(u64, usize)> {
        let send = &self.send;
        let range = send.lost.first().unwrap_or(send.unsent..send.end());
        if range.is_empty() { None } else { Some((range.start, (range.end - range.start) as usize)) }
    }

    /// Copies the bytes that [`peek`](Self::peek) tells of to `out`, as many as it has room for, and counts them as sent. Returns
    /// their offset and number; the number is zero if there is nothing to send.
    pub fn take(&mut self, out: &mut [u8]) -> (u64, usize) {
        let Some((offset, len)) = self.peek() else { return (self.send.unsent, 0) };
        let len = len.min(out.len());
        let send = &mut self.send;
        let start = (offset - send.base) as usize;
        out[..len].copy_from_slice(&send.data[start..start + len]);
        let end = offset + len as u64;
        if offset < send.unsent {
            send.lost.remove(offset..end);
        } else {
            send.unsent = end;
        }
        (offset, len)
    }

    /// Whether everything that was written has been acknowledged.
    pub fn is_acked(&self) -> bool {
        self.send.data.is_empty()
    }

    /// The peer acknowledged these bytes.
    pub fn on_acked(&mut self, offset: u64, len: u32) {
        let send = &mut self.send;
        let Some(range) = send.sent_part(offset, len) else { return };
        send.lost.remove(range.clone());
        if range.start > send.base {
            send.acked.insert(range);
            return;
        }
        // The usual case needs no list: what is acknowledged is the oldest.
        let mut end = range.end;
        if let Some(first) = send.acked.first().filter(|first| first.start <= end) {
            end = end.max(first.end);
            send.acked.remove(send.base..end);
        }
        send.data.drain(..(end - send.base) as usize);
        send.base = end;
        if send.data.is_empty() {
            // It may have been the last, and there never is much.
            send.data = Vec::new();
        }
    }

    /// These bytes were lost, or shall be sent again for another reason; those that were acknowledged meanwhile are not.
    pub fn on_lost(&mut self, offset: u64, len: u32) {
        let send = &mut self.send;
        let Some(range) = send.sent_part(offset, len) else { return };
        send.lost.insert(range);
        for acked in &send.acked.0 {
            send.lost.remove(acked.clone());
        }
    }

    /// All that was sent and not acknowledged is sent again. After a Retry (RFC 9000 §17.2.5.2) no packet before it counts.
    pub fn rewind(&mut self) {
        let (base, unsent) = (self.send.base, self.send.unsent);
        self.on_lost(base, u32::try_from(unsent - base).unwrap_or(u32::MAX));
    }

    /// Takes the data of a CRYPTO frame. Returns what of it can be read at once, which is not kept; the rest waits for
    /// [`read`](Self::read).
    ///
    /// # Errors
    /// `CRYPTO_BUFFER_EXCEEDED` if it lies too far beyond what was read, `PROTOCOL_VIOLATION` if it brings new bytes after
    /// [`finish_receiving`](Self::finish_receiving), `FRAME_ENCODING_ERROR` if it ends beyond 2^62-1.
    pub fn receive<'a>(&mut self, offset: u64, data: &'a [u8]) -> Result<&'a [u8], TransportError> {
        self.receive.receive(offset, data)
    }

    /// The next bytes in order, if any were kept.
    pub fn read(&mut self) -> Option<Vec<u8>> {
        self.receive.read()
    }

    /// TLS gave out keys of a higher level: from here on this stream brings nothing new.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` if bytes are left that TLS has not read.
    pub fn finish_receiving(&mut self) -> Result<(), TransportError> {
        // RFC 9001 §4.1.3: "When TLS provides keys for a higher encryption level, if there is data from a previous encryption level
        // that TLS has not consumed, this MUST be treated as a connection error of type PROTOCOL_VIOLATION."
        if self.receive.ready > 0 || !self.receive.filled.0.is_empty() {
            return Err(violation("handshake data that was not consumed when keys changed"));
        }
        self.receive.finished = true;
        Ok(())
    }
}

impl Send {
    fn end(&self) -> u64 {
        self.base + self.data.len() as u64
    }

    /// The part of a range that was sent and is still kept.
    fn sent_part(&self, offset: u64, len: u32) -> Option<Range<u64>> {
        let range = offset.max(self.base)..offset.saturating_add(u64::from(len)).min(self.unsent);
        (range.start < range.end).then_some(range)
    }
}

impl Receive {
    fn receive<'a>(&mut self, offset: u64, data: &'a [u8]) -> Result<&'a [u8], TransportError> {
        let end = offset.saturating_add(data.len() as u64);
        if end > MAX_VARINT {
            // RFC 9000 §19.6: "The largest offset delivered on a stream -- the sum of the offset and data length -- cannot exceed
            // 2^62-1. Receipt of a frame that exceeds this limit MUST be treated as a connection error of type FRAME_ENCODING_ERROR
            // or CRYPTO_BUFFER_EXCEEDED."
            let code = TransportErrorCode::FRAME_ENCODING_ERROR;
            return Err(TransportError::new(code, "CRYPTO data beyond 2^62-1"));
        }
        if self.finished && end > self.end {
            // RFC 9001 §4.1.3: "If the packet is from a previously installed encryption level, it MUST NOT contain data that extends
            // past the end of previously received data in that flow."
            return Err(violation("new handshake data at an old encryption level"));
        }
        // RFC 9000 §7.5: "If an endpoint does not expand its buffer, it MUST close the connection with a CRYPTO_BUFFER_EXCEEDED error
        // code." We do so after the handshake too.
        let exceeded = TransportErrorCode::CRYPTO_BUFFER_EXCEEDED;
        if end > self.base + RECEIVE_LIMIT {
            return Err(TransportError::new(exceeded, "too much handshake data out of order"));
        }
        let start = offset.max(self.base);
        if end <= start {
            return Ok(&[]);
        }
        let data = &data[(start - offset) as usize..];
        let at = (start - self.base) as usize;
        self.end = self.end.max(end);
        if at == 0 && self.data.is_empty() {
            // The usual case needs no memory: the bytes come in order, and are read as they come.
            self.base = end;
            return Ok(data);
        }
        if self.data.len() < at + data.len() {
            self.data.resize(at + data.len(), 0);
        }
        // RFC 9000 §2.2 lets an endpoint close on bytes that change; we let the last ones win as long as they were not read.
        self.data[at..at + data.len()].copy_from_slice(data);
        if at > self.ready {
            self.filled.insert(start..end);
        } else {
            self.ready = self.ready.max(at + data.len());
            while let Some(next) =
                self.filled.first().filter(|next| next.start <= self.base + self.ready as u64)
            {
                self.ready = self.ready.max((next.end - self.base) as usize);
                self.filled.remove(next);
            }
        }
        if self.filled.0.len() > MAX_RANGES {
            return Err(TransportError::new(exceeded, "handshake data in too many pieces"));
        }
        Ok(&[])
    }

    fn read(&mut self) -> Option<Vec<u8>> {
        if self.ready == 0 {
            return None;
        }
        let tail = self.data.split_off(self.ready);
        let head = std::mem::replace(&mut self.data, tail);
        self.base += self.ready as u64;
        self.ready = 0;
        Some(head)
    }
}

fn violation(reason: &'static str) -> TransportError {
    TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason)
}

/// Disjoint ranges in order, none empty and no two touching. A handshake has few.
#[derive(Default, Debug)]
struct Ranges(Vec<Range<u64>>);

impl Ranges {
    fn first(&self) -> Option<Range<u64>> {
        self.0.first().cloned()
    }

    /// Indexes of the ranges that `range` overlaps, or touches if `touch`.
    fn span(&self, range: &Range<u64>, touch: bool) -> Range<usize> {
        let slack = u64::from(touch);
        let from = self.0.partition_point(|have| have.end + slack <= range.start);
        let to = self.0.partition_point(|have| have.start < range.end + slack);
        from..to.max(from)
    }

    fn insert(&mut self, range: Range<u64>) {
        let span = self.span(&range, true);
        let mut merged = range;
        for have in &self.0[span.clone()] {
            merged = merged.start.min(have.start)..merged.end.max(have.end);
        }
        self.0.splice(span, [merged]);
    }

    fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let span = self.span(&range, false);
        let Some((first, last)) = self.0[span.clone()].first().zip(self.0[span.clone()].last()) else {
            return;
        };
        let (before, after) = (first.start..range.start, range.end..last.end);
        self.0.splice(span, [before, after].into_iter().filter(|range| !range.is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn code<T: std::fmt::Debug>(result: Result<T, TransportError>) -> TransportErrorCode {
        result.unwrap_err().code
    }

    #[test]
    fn a_stream_goes_on_where_another_ended() {
        let mut stream = CryptoStream::resumed(100, 1040);
        assert_eq!((stream.written(), stream.is_acked(), stream.peek()), (100, true, None));
        stream.write(b"rejection");
        assert_eq!(stream.peek(), Some((100, 9)));
        stream.receive(0, &[1; 1040]).unwrap();
        assert_eq!(stream.read(), None, "that is settled");
        assert_eq!(stream.receive(1040, b"hello").unwrap(), b"hello");
        assert_eq!(stream.read(), None);
        stream.take(&mut [0; 4]);
        stream.forget_sent();
        assert_eq!((stream.written(), stream.peek()), (109, None));
        stream.on_lost(100, 4);
        assert_eq!(stream.peek(), None, "nobody waits for it any more");
        stream.write(b"x");
        assert_eq!(stream.peek(), Some((109, 1)));
    }

    #[test]
    fn lost_bytes_go_first_and_acked_ones_not_again() {
        let mut stream = CryptoStream::default();
        assert_eq!(stream.peek(), None);
        assert_eq!(stream.take(&mut [0; 4]), (0, 0));
        stream.write(b"0123456789");
        let mut out = [0; 4];
        assert_eq!((stream.take(&mut out), out), ((0, 4), *b"0123"));
        assert_eq!((stream.take(&mut out), out), ((4, 4), *b"4567"));
        stream.on_acked(2, 2);
        stream.on_lost(0, 4);
        assert_eq!(stream.peek(), Some((0, 2)));
        assert_eq!((stream.take(&mut out), &out[..2]), ((0, 2), &b"01"[..]));
        assert_eq!(stream.peek(), Some((8, 2)));
        stream.on_acked(0, 2);
        stream.on_acked(4, 4);
        stream.on_lost(0, 8);
        assert_eq!(stream.peek(), Some((8, 2)));
        assert!(!stream.is_acked());
        stream.take(&mut out);
        stream.on_acked(8, 2);
        assert!(stream.is_acked());
        stream.write(b"x");
        assert_eq!((stream.take(&mut out), out[0]), ((10, 1), b'x'));
    }

    #[test]
    fn what_was_not_sent_is_neither_acked_nor_lost() {
        let mut stream = CryptoStream::default();
        stream.write(b"abc");
        stream.on_acked(0, 3);
        stream.on_lost(0, u32::MAX);
        stream.on_acked(u64::MAX, u32::MAX);
        assert_eq!(stream.peek(), Some((0, 3)));
        assert!(!stream.is_acked());
    }

    #[test]
    fn a_rewound_stream_starts_over() {
        let mut stream = CryptoStream::default();
        stream.write(b"hello");
        stream.take(&mut [0; 3]);
        stream.rewind();
        let mut out = [0; 5];
        assert_eq!(stream.take(&mut out), (0, 3));
        assert_eq!(stream.take(&mut out[3..]), (3, 2));
        assert_eq!(&out, b"hello");
    }

    #[test]
    fn out_of_order_bytes_are_kept_up_to_the_limit() {
        let mut stream = CryptoStream::default();
        // RFC 9000 §7.5: at least 4096 bytes.
        stream.receive(1, &[1; 4096]).unwrap();
        assert_eq!(stream.read(), None);
        stream.receive(RECEIVE_LIMIT - 1, &[2]).unwrap();
        let exceeded = TransportErrorCode::CRYPTO_BUFFER_EXCEEDED;
        assert_eq!(code(stream.receive(RECEIVE_LIMIT, &[3])), exceeded);
        stream.receive(0, &[0]).unwrap();
        assert_eq!(stream.read().unwrap().len(), 4097);
        stream.receive(RECEIVE_LIMIT, &[3]).unwrap();
        assert_eq!(code(stream.receive(u64::MAX, &[0])), TransportErrorCode::FRAME_ENCODING_ERROR);
        assert_eq!(code(stream.receive(MAX_VARINT - 1, &[0])), exceeded);
        assert_eq!(code(stream.receive(MAX_VARINT, &[0])), TransportErrorCode::FRAME_ENCODING_ERROR);
    }

    #[test]
    fn crumbs_are_refused() {
        let mut stream = CryptoStream::default();
        let result = (0..10_000).map(|at| stream.receive(1 + 2 * at, &[0])).find(Result::is_err);
        assert_eq!(code(result.unwrap()), TransportErrorCode::CRYPTO_BUFFER_EXCEEDED);
    }

    /// RFC 9001 §4.1.3.
    #[test]
    fn nothing_new_at_an_old_level() {
        let mut stream = CryptoStream::default();
        stream.receive(1, b"ello").unwrap();
        assert_eq!(code(stream.finish_receiving()), TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(stream.receive(0, b"h").unwrap(), b"", "it was not the first to come");
        assert_eq!(code(stream.finish_receiving()), TransportErrorCode::PROTOCOL_VIOLATION);
        assert_eq!(stream.read().unwrap(), &b"hello"[..]);
        stream.finish_receiving().unwrap();
        stream.receive(0, b"hello").unwrap();
        stream.receive(2, b"llo").unwrap();
        assert_eq!(stream.read(), None);
        assert_eq!(code(stream.receive(2, b"llo!")), TransportErrorCode::PROTOCOL_VIOLATION);
    }

    proptest! {
        /// Any loss and reordering: all bytes come out in order, once.
        #[test]
        fn delivers_everything(
            len in 1usize..400,
            steps in prop::collection::vec((0u8..4, 1usize..60, any::<prop::sample::Index>()), 0..200),
        ) {
            let data: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let (mut from, mut to) = (CryptoStream::default(), CryptoStream::default());
            from.write(&data);
            let (mut flying, mut read) = (Vec::new(), Vec::new());
            for (action, size, pick) in steps {
                let mut out = vec![0; size];
                match action {
                    0 | 1 => {
                        let (offset, len) = from.take(&mut out);
                        out.truncate(len);
                        if len > 0 { flying.push((offset, out)); }
                    }
                    _ if flying.is_empty() => {}
                    action => {
                        let (offset, bytes) = flying.swap_remove(pick.index(flying.len()));
                        if action == 2 {
                            read.extend(to.receive(offset, &bytes).unwrap());
                            from.on_acked(offset, bytes.len() as u32);
                        } else {
                            from.on_lost(offset, bytes.len() as u32);
                        }
                    }
                }
                read.extend(to.read().unwrap_or_default());
            }
            for (offset, bytes) in flying {
                from.on_lost(offset, bytes.len() as u32);
            }
            let mut out = [0; 16];
            loop {
                let (offset, len) = from.take(&mut out);
                if len == 0 { break; }
                read.extend(to.receive(offset, &out[..len]).unwrap());
                from.on_acked(offset, len as u32);
                read.extend(to.read().unwrap_or_default());
            }
            prop_assert_eq!(read, data);
            prop_assert!(from.is_acked());
        }

        /// Ranges against a set of numbers.
        #[test]
        fn ranges_are_a_set(steps in prop::collection::vec((any::<bool>(), 0u64..40, 1u64..10), 0..60)) {
            let (mut ranges, mut model) = (Ranges::default(), std::collections::BTreeSet::new());
            for (insert, start, len) in steps {
                let range = start..start + len;
                if insert { ranges.insert(range.clone()) } else { ranges.remove(range.clone()) }
                for number in range {
                    if insert { model.insert(number); } else { model.remove(&number); }
                }
                let all: Vec<u64> = ranges.0.iter().cloned().flatten().collect();
                prop_assert_eq!(&all, &model.iter().copied().collect::<Vec<_>>());
                prop_assert!(ranges.0.windows(2).all(|pair| pair[0].end < pair[1].start));
            }
        }
    }
}
