//! What can go wrong, by what was asked for.
//!
//! Why a connection ended is [`ConnectionError`] of the protocol crate. Each error converts to [`std::io::Error`].

use quic_proto::error::{AppError, ConnectionError, TransportError, TransportErrorCode};
pub use quic_proto::streams::ClosedStream;
use std::io;
use std::net::SocketAddr;

/// A connection attempt that could not even be started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// [`Endpoint::close`](crate::Endpoint::close) was called, or the endpoint's driver is gone.
    #[error("the endpoint is closed")]
    EndpointStopping,
    /// There is no [default](crate::Endpoint::set_default_client_config) and no configuration was given.
    #[error("no client configuration")]
    NoDefaultClientConfig,
    /// The socket cannot reach such an address: an IPv6 address from an IPv4 socket, port 0, or no address at all.
    #[error("{0} cannot be reached from this endpoint's socket")]
    InvalidRemoteAddress(SocketAddr),
    /// The protocol refused: the server name, the TLS configuration, or a limit.
    #[error(transparent)]
    Refused(#[from] quic_proto::connection::ConnectError),
}

/// Why nothing was read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The peer gave the stream up.
    #[error("the peer reset the stream with code {0}")]
    Reset(AppError),
    /// The connection ended, and all that had come was read.
    #[error("connection lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// The stream was stopped by this side, or its reset was reported before.
    #[error("the stream is closed")]
    ClosedStream,
}

/// Why nothing was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The peer does not want the rest of the stream.
    #[error("the peer stopped the stream with code {0}")]
    Stopped(AppError),
    /// The connection ended or is being closed.
    #[error("connection lost: {0}")]
    ConnectionLost(#[from] ConnectionError),
    /// The stream was finished or reset by this side.
    #[error("the stream was finished or reset")]
    ClosedStream,
}

/// Why [`RecvStream::read_exact`](crate::RecvStream::read_exact) did not fill the buffer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadExactError {
    /// The stream ended after this many bytes of the buffer.
    #[error("the stream ended after {0} bytes")]
    FinishedEarly(usize),
    /// Nothing could be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why [`RecvStream::read_to_end`](crate::RecvStream::read_to_end) failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadToEndError {
    /// The stream is longer than the limit.
    #[error("the stream is longer than the limit")]
    TooLong,
    /// Nothing could be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The handshake is not complete: there are no secrets to derive keying material from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("keying material is not available before the handshake is complete")]
pub struct ExportError;

/// A client that answered a Retry packet cannot be sent another one. Gives the client back.
#[derive(Debug, thiserror::Error)]
#[error("the client has answered a Retry packet already")]
pub struct RetryError(pub crate::Incoming);

/// What those who wait are told when there is no driver any more: the runtime was shut down, or the socket failed.
pub(crate) fn driver_lost() -> ConnectionError {
    TransportError::new(TransportErrorCode::INTERNAL_ERROR, "the endpoint's driver is gone").into()
}

fn lost(error: &ConnectionError) -> io::ErrorKind {
    match error {
        ConnectionError::TimedOut => io::ErrorKind::TimedOut,
        ConnectionError::Reset | ConnectionError::PeerTransport(_) => io::ErrorKind::ConnectionReset,
        ConnectionError::PeerApplication { .. } => io::ErrorKind::ConnectionAborted,
        ConnectionError::LocallyClosed => io::ErrorKind::NotConnected,
        _ => io::ErrorKind::Other,
    }
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        let kind = match &error {
            ReadError::Reset(_) => io::ErrorKind::ConnectionReset,
            ReadError::ConnectionLost(reason) => lost(reason),
            ReadError::ClosedStream => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl From<WriteError> for io::Error {
    fn from(error: WriteError) -> Self {
        let kind = match &error {
            WriteError::Stopped(_) => io::ErrorKind::ConnectionReset,
            WriteError::ConnectionLost(reason) => lost(reason),
            WriteError::ClosedStream => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}

impl From<ReadExactError> for io::Error {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(_) => Self::new(io::ErrorKind::UnexpectedEof, error),
            ReadExactError::Read(error) => error.into(),
        }
    }
}

impl From<ReadToEndError> for io::Error {
    fn from(error: ReadToEndError) -> Self {
        match error {
            ReadToEndError::TooLong => Self::new(io::ErrorKind::InvalidData, error),
            ReadToEndError::Read(error) => error.into(),
        }
    }
}
