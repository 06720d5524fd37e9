//! Datagrams on their way out.
//!
//! Owns [`SendBatch`], the buffer that the protocol writes into, and what of it the system has not taken yet. Invariants: what was written
//! stays until the socket has taken it, so nothing is written over before; nothing is allocated after the start. Timers: none.

use quic_proto::net::Transmit;
use std::ops::Range;

/// The most bytes that one send call takes: the largest UDP payload over IPv4, which bounds a GSO batch too.
const SEND_SIZE: usize = 65_507;

/// One [`Transmit`] of the protocol and its bytes.
pub struct SendBatch {
    data: Box<[u8]>,
    pending: Option<Pending>,
}

/// What is in the buffer.
struct Pending {
    transmit: Transmit,
    /// Up to here the bytes are gone.
    offset: usize,
    /// Whether the datagrams leave one by one, since they were refused together.
    singly: bool,
}

impl SendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self { data: vec![0; SEND_SIZE].into(), pending: None }
    }

    /// Whether there is nothing to be sent.
    pub fn is_empty(&self) -> bool {
        self.pending.is_none()
    }

    /// Has the protocol write to the buffer, unless there is something in it still. Returns whether there is something to be sent now.
    pub fn fill(&mut self, write: impl FnOnce(&mut [u8]) -> Option<Transmit>) -> bool {
        if self.pending.is_none() {
            self.pending = write(&mut self.data).map(|transmit| Pending {
                transmit: Transmit { len: transmit.len.min(SEND_SIZE), ..transmit },
                offset: 0,
                singly: false,
            });
        }
        self.pending.is_some()
    }

    /// What the next system call is to take.
    pub(crate) fn next(&self) -> Option<Message<'_>> {
        let Pending { transmit, .. } = self.pending.as_ref()?;
        let Range { start, end } = self.range()?;
        let contents = &self.data[start..end];
        let size = transmit.segment_size.map(|size| usize::from(size.get()));
        let size = size.filter(|size| *size < contents.len());
        let datagrams = size.map_or(1, |size| contents.len().div_ceil(size));
        Some(Message { transmit, contents, segment_size: size, datagrams })
    }

    /// The system took the next message, or it is given up.
    pub(crate) fn advance(&mut self) {
        let end = self.range().map(|range| range.end);
        if let (Some(pending), Some(end)) = (&mut self.pending, end)
            && end < pending.transmit.len
        {
            pending.offset = end;
        } else {
            self.pending = None;
        }
    }

    /// The system refused to take several datagrams at once: from now on they leave one by one.
    pub(crate) fn split(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.singly = true;
        }
    }

    fn range(&self) -> Option<Range<usize>> {
        let Pending { transmit, offset, singly } = self.pending.as_ref()?;
        let end = match transmit.segment_size {
            Some(size) if *singly => (offset + usize::from(size.get())).min(transmit.len),
            _ => transmit.len,
        };
        Some(*offset..end)
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// What one system call takes.
pub(crate) struct Message<'a> {
    pub(crate) transmit: &'a Transmit,
    pub(crate) contents: &'a [u8],
    /// If there are several datagrams, the length of each but the last.
    pub(crate) segment_size: Option<usize>,
    pub(crate) datagrams: usize,
}

#[cfg(test)]
mod tests {
    use super::*;
    use quic_proto::net::FourTuple;
    use std::num::NonZeroU16;

    fn filled(len: usize, segment: u16) -> SendBatch {
        let mut batch = SendBatch::new();
        let path = FourTuple::to("127.0.0.1:9".parse().unwrap());
        let transmit =
            Transmit { path, ecn: None, len, segment_size: NonZeroU16::new(segment), departure: None };
        assert!(batch.fill(|_| Some(transmit)));
        assert!(batch.fill(|_| unreachable!("it is full")));
        batch
    }

    #[test]
    fn a_batch_leaves_at_once() {
        let mut batch = filled(2500, 1200);
        let message = batch.next().unwrap();
        assert_eq!((message.contents.len(), message.segment_size, message.datagrams), (2500, Some(1200), 3));
        batch.advance();
        assert!(batch.is_empty() && batch.next().is_none());
    }

    #[test]
    fn or_one_by_one() {
        let mut batch = filled(2500, 1200);
        batch.split();
        let mut lens = Vec::new();
        while let Some(message) = batch.next() {
            assert_eq!((message.segment_size, message.datagrams), (None, 1));
            lens.push(message.contents.len());
            batch.advance();
        }
        assert_eq!(lens, [1200, 1200, 100]);
        assert!(!batch.fill(|_| None));
    }

    #[test]
    fn one_segment_is_no_batch() {
        assert_eq!(filled(1200, 1200).next().unwrap().segment_size, None);
        assert_eq!(filled(900, 0).next().unwrap().datagrams, 1);
    }
}
