//! How many streams there may be, RFC 9000 §4.6.
//!
//! Owns: for each direction the streams that we opened and may open, and those that the peer opened and may open. Invariants:
//! `accepted <= opened <= advertised`; `unused` holds exactly the indexes of streams that the peer opened by opening a later one
//! and that nothing was heard of yet. No timers.

use crate::error::{TransportError, TransportErrorCode};
use crate::flow::SendCredit;
use crate::util::RangeSet;

/// RFC 9000 §4.6: limits above 2^60 cannot be expressed as stream ids.
pub(super) const MAX_STREAMS: u64 = 1 << 60;

/// Streams of one direction that the peer opens.
#[derive(Debug)]
pub(super) struct PeerOpened {
    concurrent: u64,
    advertised: u64,
    opened: u64,
    accepted: u64,
    closed: u64,
    /// How many of the closed ones are not over on this side.
    early: u64,
    unused: RangeSet,
    /// The application was told of new streams and has not yet accepted all.
    pub(super) notified: bool,
}

/// Streams of one direction that we open.
#[derive(Default, Debug)]
pub(super) struct OwnOpened {
    pub(super) credit: SendCredit,
    /// The application was refused a stream and waits.
    pub(super) waiting: bool,
}

impl PeerOpened {
    pub(super) fn new(concurrent: u64) -> Self {
        let concurrent = concurrent.min(MAX_STREAMS);
        Self {
            concurrent,
            advertised: concurrent,
            opened: 0,
            accepted: 0,
            closed: 0,
            early: 0,
            unused: RangeSet::new(),
            notified: false,
        }
    }

    /// A frame came for a stream that is not in the table. Returns whether it is to be created now (else it is over), and whether
    /// the peer opened it by this frame.
    pub(super) fn touch(&mut self, index: u64) -> Result<(bool, bool), TransportError> {
        if index < self.opened {
            return Ok((self.unused.remove(index..index + 1), false));
        }
        // RFC 9000 §4.6: "An endpoint that receives a frame with a stream ID exceeding the limit it has sent MUST treat this as a
        // connection error of type STREAM_LIMIT_ERROR".
        if index >= self.advertised {
            return Err(TransportError::new(
                TransportErrorCode::STREAM_LIMIT_ERROR,
                "beyond the stream limit",
            ));
        }
        // RFC 9000 §3.2: "Before a stream is created, all streams of the same type with lower-numbered stream IDs MUST be created."
        self.unused.insert(self.opened..index);
        self.opened = index + 1;
        Ok((true, true))
    }

    /// The application asks for a stream whose first frame has not come, though the peer opened a later one.
    pub(super) fn use_unused(&mut self, index: u64) -> bool {
        self.unused.remove(index..index + 1)
    }

    /// The index of the next stream for the application.
    pub(super) fn accept(&mut self) -> Option<u64> {
        if self.accepted == self.opened {
            self.notified = false;
            return None;
        }
        self.accepted += 1;
        Some(self.accepted - 1)
    }

    pub(super) fn on_closed(&mut self) {
        self.closed += 1;
    }

    /// A stream may be closed for the peer, though it is not over on this side. Returns whether it counts as closed: a peer that acknowledges
    /// nothing has no more than twice the streams by that.
    pub(super) fn on_closed_early(&mut self) -> bool {
        let counts = self.early < self.concurrent;
        (self.closed, self.early) = (self.closed + u64::from(counts), self.early + u64::from(counts));
        counts
    }

    /// A stream that was closed early is over.
    pub(super) fn on_over(&mut self) {
        self.early -= 1;
    }

    /// The limit to advertise now.
    pub(super) fn target(&self) -> u64 {
        self.closed.saturating_add(self.concurrent).min(MAX_STREAMS).max(self.advertised)
    }

    /// Whether the peer should hear of it: an eighth of the streams was closed.
    pub(super) fn update_wanted(&self) -> bool {
        self.target() - self.advertised >= (self.concurrent / 8).max(1)
    }

    pub(super) fn advertise(&mut self, limit: u64) {
        self.advertised = self.advertised.max(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_streams_open_too_and_are_created_when_used() {
        let mut streams = PeerOpened::new(5);
        assert_eq!(streams.touch(3), Ok((true, true)));
        assert_eq!(streams.touch(1), Ok((true, false)));
        assert_eq!(streams.touch(1), Ok((false, false)), "it is over now");
        assert_eq!(std::iter::from_fn(|| streams.accept()).collect::<Vec<_>>(), [0, 1, 2, 3]);
    }

    #[test]
    fn the_limit_counts_streams_not_ids() {
        let mut streams = PeerOpened::new(2);
        assert_eq!(streams.touch(1), Ok((true, true)));
        assert_eq!(streams.touch(2).unwrap_err().code, TransportErrorCode::STREAM_LIMIT_ERROR);
        streams.on_closed();
        assert!(streams.update_wanted());
        assert!(streams.touch(2).is_err(), "not advertised yet");
        streams.advertise(streams.target());
        assert_eq!(streams.touch(2), Ok((true, true)));
    }
}
