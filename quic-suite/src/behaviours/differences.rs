//! What versions differ in, as far as an application can tell: all of it.
//!
//! Google QUIC has no application protocols, no unidirectional streams, no codes for who wants no more of a stream, and an end that is tired
//! of the other's silence says so. It has no Retry, and between two ports there can be one connection at a time: the behaviours that need
//! more than that are the ones which [`suite!`](crate::suite) leaves out.
//!
//! No timers.

use crate::{ALPN, Connection};
use quic_proto::error::{AppError, ConnectionError, TransportErrorCode};
use quic_proto::gquic::wire::ErrorCode;
use quic_proto::id::Dir;
use quic_proto::invariants::Version;

/// The application protocol that is agreed on.
pub(super) fn protocol(version: Version) -> Option<Vec<u8>> {
    (version != Version::Q044).then(|| ALPN.to_vec())
}

/// The direction of streams of which one part is all that is needed.
fn one_way(version: Version) -> Dir {
    if version == Version::Q044 { Dir::Bi } else { Dir::Uni }
}

/// Opens a stream to send on, without the other direction if there are such streams.
pub(super) async fn open<C: Connection>(
    connection: &C,
) -> Result<(C::Send, Option<C::Recv>), ConnectionError> {
    match one_way(connection.version()) {
        Dir::Bi => connection.open_bi().await.map(|(send, recv)| (send, Some(recv))),
        Dir::Uni => connection.open_uni().await.map(|send| (send, None)),
    }
}

/// The next stream of the peer's that was opened like that.
pub(super) async fn accept<C: Connection>(
    connection: &C,
) -> Result<(C::Recv, Option<C::Send>), ConnectionError> {
    match one_way(connection.version()) {
        Dir::Bi => connection.accept_bi().await.map(|(send, recv)| (recv, Some(send))),
        Dir::Uni => connection.accept_uni().await.map(|recv| (recv, None)),
    }
}

/// What a sender hears of the code with which it was stopped.
pub(super) fn stop_code(version: Version, code: AppError) -> AppError {
    if version == Version::Q044 { AppError::from(0) } else { code }
}

/// Whether this is how a client hears that it is not wanted: by RFC 9000 §20.1 or by chapter 12 of Q044.
pub(super) fn is_refusal(version: Version, reason: &ConnectionError) -> bool {
    match reason {
        ConnectionError::PeerTransport(error) => error.code == TransportErrorCode::CONNECTION_REFUSED,
        ConnectionError::PeerApplication { code, .. } => {
            version == Version::Q044 && *code == AppError::from(0)
        }
        _ => false,
    }
}

/// Whether this is how an end hears of silence, its own or the other's.
pub(super) fn is_silence(version: Version, reason: &ConnectionError) -> bool {
    let told = TransportErrorCode::google(ErrorCode::NETWORK_IDLE_TIMEOUT.0);
    match reason {
        ConnectionError::TimedOut => true,
        ConnectionError::PeerTransport(error) => version == Version::Q044 && error.code == told,
        _ => false,
    }
}

/// How many connections there can be between two endpoints, of as many as `wanted`.
pub(super) fn connections(version: Version, wanted: usize) -> usize {
    if version == Version::Q044 { 1 } else { wanted }
}
