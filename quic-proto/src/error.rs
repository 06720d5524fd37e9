//! Errors: which code goes on the wire, and what the application is told.
//!
//! Three things are kept apart by type: what a peer did wrong ([`TransportError`], sent in CONNECTION_CLOSE), why a connection ended
//! ([`ConnectionError`]), and what the application asked for wrongly (small errors beside each method).

use bytes::Bytes;
use std::borrow::Cow;
use std::fmt;

/// The largest value of a variable-length integer, RFC 9000 §16: error codes, offsets and limits stay below it.
pub const MAX_VARINT: u64 = (1 << 62) - 1;

/// A transport error code (RFC 9000 §20.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransportErrorCode(pub u64);

/// "Q044" in ASCII, above codes of Google QUIC: beyond what any code of the IETF's can be.
const GOOGLE: u64 = 0x5130_3434 << 32;

macro_rules! codes {
    ($($name:ident = $value:literal, $doc:literal;)*) => {
        impl TransportErrorCode {
            $(#[doc = $doc] pub const $name: Self = Self($value);)*

            /// The name in the RFC, if there is one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    0x100..=0x1ff => Some("CRYPTO_ERROR"),
                    _ => None,
                }
            }
        }
    };
}

codes! {
    NO_ERROR = 0x00, "An immediate close without an error.";
    INTERNAL_ERROR = 0x01, "An internal error; the endpoint cannot go on.";
    CONNECTION_REFUSED = 0x02, "The server refused to accept a new connection.";
    FLOW_CONTROL_ERROR = 0x03, "More data than a limit allowed.";
    STREAM_LIMIT_ERROR = 0x04, "A stream beyond the stream limit.";
    STREAM_STATE_ERROR = 0x05, "A frame for a stream in a state that does not permit it.";
    FINAL_SIZE_ERROR = 0x06, "Data beyond the final size, or a final size that changed.";
    FRAME_ENCODING_ERROR = 0x07, "A badly formatted frame.";
    TRANSPORT_PARAMETER_ERROR = 0x08, "Transport parameters that are badly formatted, missing or not permitted.";
    CONNECTION_ID_LIMIT_ERROR = 0x09, "More connection ids than `active_connection_id_limit`.";
    PROTOCOL_VIOLATION = 0x0a, "Some other violation of the protocol.";
    INVALID_TOKEN = 0x0b, "An invalid Retry token.";
    APPLICATION_ERROR = 0x0c, "The application or its protocol caused the close during the handshake.";
    CRYPTO_BUFFER_EXCEEDED = 0x0d, "More CRYPTO data than can be buffered.";
    KEY_UPDATE_ERROR = 0x0e, "An error in performing a key update.";
    AEAD_LIMIT_REACHED = 0x0f, "The limit of the AEAD's confidentiality or integrity was reached.";
    NO_VIABLE_PATH = 0x10, "No viable network path exists.";
    VERSION_NEGOTIATION_ERROR = 0x11, "Version information that does not match the negotiation (RFC 9368 §8.2).";
}

impl TransportErrorCode {
    /// A code of Google QUIC, which numbers its errors its own way. Apart from all codes of the IETF.
    pub const fn google(code: u32) -> Self {
        Self(GOOGLE | code as u64)
    }

    /// The code of Google QUIC in one for it.
    pub const fn as_google(self) -> Option<u32> {
        if self.0 & !0xffff_ffff == GOOGLE { Some(self.0 as u32) } else { None }
    }

    /// The code for a TLS alert (RFC 9001 §4.8).
    pub const fn crypto(alert: u8) -> Self {
        Self(0x100 + alert as u64)
    }

    /// The TLS alert in a code for one.
    pub const fn alert(self) -> Option<u8> {
        if self.0 >= 0x100 && self.0 <= 0x1ff { Some((self.0 & 0xff) as u8) } else { None }
    }
}

impl fmt::Display for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.alert()) {
            (_, Some(alert)) => write!(f, "CRYPTO_ERROR (TLS alert {alert})"),
            (Some(name), _) => f.write_str(name),
            _ => match self.as_google() {
                Some(code) => write!(f, "Google QUIC error {code}"),
                None => write!(f, "error {:#x}", self.0),
            },
        }
    }
}

impl fmt::Debug for TransportErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A violation of the protocol, found by us: what CONNECTION_CLOSE of type 0x1c says (RFC 9000 §19.19).
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {reason}{}", .frame.map(|frame| format!(" (frame type {frame:#x})")).unwrap_or_default())]
pub struct TransportError {
    /// What was violated.
    pub code: TransportErrorCode,
    /// The type of the frame that caused it, if one did.
    pub frame: Option<u64>,
    /// The reason for a person to read.
    pub reason: Cow<'static, str>,
}

impl TransportError {
    /// An error with a reason, caused by no frame in particular.
    pub fn new(code: TransportErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, frame: None, reason: reason.into() }
    }

    /// The same, caused by a frame of this type (unless a more precise one is already known).
    #[must_use]
    pub fn in_frame(mut self, frame_type: u64) -> Self {
        self.frame.get_or_insert(frame_type);
        self
    }
}

/// An error code of the application's protocol, 0 to 2^62-1 (RFC 9000 §20.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct AppError(u64);

/// A number beyond 2^62-1 was given where the wire has a variable-length integer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0} does not fit a QUIC variable-length integer (at most 2^62-1)")]
pub struct VarIntRange(pub u64);

impl AppError {
    /// The number on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl From<u32> for AppError {
    fn from(code: u32) -> Self {
        Self(u64::from(code))
    }
}

impl TryFrom<u64> for AppError {
    type Error = VarIntRange;
    fn try_from(code: u64) -> Result<Self, VarIntRange> {
        if code <= MAX_VARINT { Ok(Self(code)) } else { Err(VarIntRange(code)) }
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AppError({:#x})", self.0)
    }
}

/// Why a connection ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// The server speaks none of the versions that we offered (RFC 9000 §6.2).
    #[error("the peer speaks none of our QUIC versions; it offers {}", hex_list(.offered))]
    VersionMismatch {
        /// The versions that the server offered, as they came, without those reserved for greasing.
        offered: Vec<u32>,
    },
    /// The peer violated the protocol, or we could not go on; we told it so.
    #[error("{0}")]
    Transport(TransportError),
    /// The peer closed the connection with a transport error.
    #[error("closed by the peer: {0}")]
    PeerTransport(TransportError),
    /// The peer's application closed the connection.
    #[error("closed by the peer's application with code {code}{}", reason_suffix(.reason))]
    PeerApplication {
        /// The application's code.
        code: AppError,
        /// The application's reason; not necessarily UTF-8.
        reason: Bytes,
    },
    /// The peer lost its state of this connection: a stateless reset came (RFC 9000 §10.3).
    #[error("the peer has lost its state of this connection (stateless reset)")]
    Reset,
    /// Nothing came from the peer for the idle timeout (RFC 9000 §10.1), or the handshake did not finish in time.
    #[error("no answer from the peer for the idle timeout")]
    TimedOut,
    /// Our application closed the connection.
    #[error("closed by this side")]
    LocallyClosed,
    /// The peer goes away and takes no new streams. Only what would open one ends so: the connection goes on for the streams that there are.
    #[error("the peer goes away and takes no new streams")]
    GoingAway,
}

fn hex_list(versions: &[u32]) -> String {
    versions.iter().map(|version| format!("{version:#010x}")).collect::<Vec<_>>().join(", ")
}

fn reason_suffix(reason: &Bytes) -> String {
    if reason.is_empty() { String::new() } else { format!(": {}", String::from_utf8_lossy(reason)) }
}

impl From<TransportError> for ConnectionError {
    fn from(error: TransportError) -> Self {
        Self::Transport(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_read_well() {
        assert_eq!(TransportErrorCode::crypto(0x78).to_string(), "CRYPTO_ERROR (TLS alert 120)");
        assert_eq!(TransportErrorCode(0x55).to_string(), "error 0x55");
        assert_eq!(TransportErrorCode::google(59).to_string(), "Google QUIC error 59");
        assert_eq!(TransportErrorCode(59).as_google(), None);
        let error = TransportError::new(TransportErrorCode::FINAL_SIZE_ERROR, "it changed").in_frame(8);
        assert_eq!(error.to_string(), "FINAL_SIZE_ERROR: it changed (frame type 0x8)");
        assert_eq!(error.clone().in_frame(9), error);
    }

    #[test]
    fn application_codes_are_varints() {
        assert_eq!(AppError::try_from(MAX_VARINT).unwrap().as_u64(), MAX_VARINT);
        assert_eq!(AppError::try_from(MAX_VARINT + 1), Err(VarIntRange(MAX_VARINT + 1)));
    }
}
