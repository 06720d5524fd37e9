//! What a sent packet carried.
//!
//! A packet remembers what it said, never the bytes. When it is acknowledged or lost its tokens go back to their owners, and on loss
//! the owner decides again what is current (RFC 9000 §13.3): a MAX_DATA that was lost is sent anew with today's value, or not at all.

use crate::id::{Dir, SpaceId, StreamId};

/// One thing that a packet carried and that somebody has to hear about when the packet is acknowledged or lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Token {
    /// An ACK frame of this space up to `largest`.
    Ack {
        /// The space that was acknowledged.
        space: SpaceId,
        /// The largest packet number in it.
        largest: u64,
    },
    /// Handshake bytes.
    Crypto {
        /// The space that they belong to.
        space: SpaceId,
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        len: u32,
    },
    /// Stream bytes.
    Stream {
        /// The stream.
        id: StreamId,
        /// Offset of the first byte.
        offset: u64,
        /// Number of bytes.
        len: u32,
        /// Whether the frame said that the stream ends after them.
        fin: bool,
    },
    /// RESET_STREAM.
    ResetStream(StreamId),
    /// STOP_SENDING.
    StopSending(StreamId),
    /// MAX_DATA.
    MaxData,
    /// MAX_STREAM_DATA.
    MaxStreamData(StreamId),
    /// MAX_STREAMS.
    MaxStreams(Dir),
    /// DATA_BLOCKED.
    DataBlocked,
    /// STREAM_DATA_BLOCKED.
    StreamDataBlocked(StreamId),
    /// STREAMS_BLOCKED.
    StreamsBlocked(Dir),
    /// NEW_CONNECTION_ID with this sequence number.
    NewConnectionId(u64),
    /// RETIRE_CONNECTION_ID with this sequence number.
    RetireConnectionId(u64),
    /// A token for the next connection.
    NewToken,
    /// The confirmation of the handshake.
    HandshakeDone,
    /// A probe of the path's MTU, of this many bytes.
    MtuProbe(u16),
    /// Nothing, but the packet left before the peer had answered, and some peers cannot read such packets: its loss tells nothing of
    /// congestion.
    Early,
}
