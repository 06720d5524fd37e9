//! What a connection tells its application.

use crate::error::{AppError, ConnectionError, TransportErrorCode};
use crate::id::{Dir, StreamId};
use crate::net::FourTuple;
use bytes::Bytes;

/// Something that the application may want to act on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The handshake is complete: the peer is authenticated, streams can be opened.
    Connected,
    /// The handshake is confirmed (RFC 9001 §4.1.2).
    HandshakeConfirmed,
    /// Something happened on a stream.
    Stream(StreamEvent),
    /// The peer's packets come from another address now, and it was validated (RFC 9000 §9).
    PathChanged(FourTuple),
    /// The peer goes away (GOAWAY of Google QUIC): no stream can be opened any more. Those that it serves go on; of the others each ends
    /// with events of its own.
    GoingAway {
        /// Why.
        code: TransportErrorCode,
        /// The same in words; not necessarily UTF-8.
        reason: Bytes,
    },
    /// The connection ended; nothing follows this event.
    Closed(ConnectionError),
}

/// What the handshake agreed on.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct HandshakeInfo {
    /// The application protocol (ALPN).
    pub protocol: Option<Vec<u8>>,
    /// The server name that the client asked for; on a server only.
    pub server_name: Option<String>,
    /// The cipher suite as IANA names it.
    pub cipher_suite: Option<&'static str>,
    /// The peer's certificate chain in DER, leaf first.
    pub peer_certificates: Vec<Vec<u8>>,
}

/// Something that happened on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StreamEvent {
    /// The peer opened one or more streams of this direction; accept until there is none.
    Opened(Dir),
    /// The peer's limit was raised: streams of this direction can be opened again.
    Available(Dir),
    /// Data, the end of the stream, or a reset can be read. Given once until a read returns that there is no more for now.
    Readable(StreamId),
    /// A write that was refused for lack of room may succeed now.
    Writable(StreamId),
    /// The peer acknowledged all data and the end of the stream.
    Finished(StreamId),
    /// The peer asked to stop sending (RFC 9000 §3.5).
    Stopped(StreamId, AppError),
}
