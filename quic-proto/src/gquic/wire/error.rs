//! Error codes, and what a peer did wrong.
//!
//! Owns the numbers and their names. A receiver accepts numbers that it does not know: quic-go lets applications give any 16-bit code in
//! `CONNECTION_CLOSE`. Where quic-go and Chromium close with different codes, ours is the one that names the fault.

use std::borrow::Cow;
use std::fmt;

/// The code in a `CONNECTION_CLOSE` or GOAWAY frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub u32);

/// The code in an `RST_STREAM` frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResetCode(pub u32);

macro_rules! codes {
    ($type:ident: $($name:ident = $value:literal,)*) => {
        #[allow(missing_docs)] // The names are those of quic-go and Chromium.
        impl $type {
            $(pub const $name: Self = Self($value);)*

            /// The name, if the code has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "error {}", self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! { ErrorCode:
    NO_ERROR = 0,
    INTERNAL_ERROR = 1,
    STREAM_DATA_AFTER_TERMINATION = 2,
    INVALID_PACKET_HEADER = 3,
    INVALID_FRAME_DATA = 4,
    INVALID_FEC_DATA = 5,
    INVALID_RST_STREAM_DATA = 6,
    INVALID_CONNECTION_CLOSE_DATA = 7,
    INVALID_GOAWAY_DATA = 8,
    INVALID_ACK_DATA = 9,
    INVALID_VERSION_NEGOTIATION_PACKET = 10,
    INVALID_PUBLIC_RST_PACKET = 11,
    DECRYPTION_FAILURE = 12,
    ENCRYPTION_FAILURE = 13,
    PACKET_TOO_LARGE = 14,
    PEER_GOING_AWAY = 16,
    INVALID_STREAM_ID = 17,
    TOO_MANY_OPEN_STREAMS = 18,
    PUBLIC_RESET = 19,
    INVALID_VERSION = 20,
    INVALID_HEADER_ID = 22,
    INVALID_NEGOTIATED_VALUE = 23,
    DECOMPRESSION_FAILURE = 24,
    NETWORK_IDLE_TIMEOUT = 25,
    ERROR_MIGRATING_ADDRESS = 26,
    PACKET_WRITE_ERROR = 27,
    HANDSHAKE_FAILED = 28,
    CRYPTO_TAGS_OUT_OF_ORDER = 29,
    CRYPTO_TOO_MANY_ENTRIES = 30,
    CRYPTO_INVALID_VALUE_LENGTH = 31,
    CRYPTO_MESSAGE_AFTER_HANDSHAKE_COMPLETE = 32,
    INVALID_CRYPTO_MESSAGE_TYPE = 33,
    INVALID_CRYPTO_MESSAGE_PARAMETER = 34,
    CRYPTO_MESSAGE_PARAMETER_NOT_FOUND = 35,
    CRYPTO_MESSAGE_PARAMETER_NO_OVERLAP = 36,
    CRYPTO_MESSAGE_INDEX_NOT_FOUND = 37,
    CRYPTO_INTERNAL_ERROR = 38,
    CRYPTO_VERSION_NOT_SUPPORTED = 39,
    CRYPTO_NO_SUPPORT = 40,
    CRYPTO_TOO_MANY_REJECTS = 41,
    PROOF_INVALID = 42,
    CRYPTO_DUPLICATE_TAG = 43,
    CRYPTO_ENCRYPTION_LEVEL_INCORRECT = 44,
    CRYPTO_SERVER_CONFIG_EXPIRED = 45,
    INVALID_STREAM_DATA = 46,
    MISSING_PAYLOAD = 48,
    INVALID_PRIORITY = 49,
    EMPTY_STREAM_FRAME_NO_FIN = 50,
    PACKET_READ_ERROR = 51,
    INVALID_CHANNEL_ID_SIGNATURE = 52,
    CRYPTO_SYMMETRIC_KEY_SETUP_FAILED = 53,
    CRYPTO_MESSAGE_WHILE_VALIDATING_CLIENT_HELLO = 54,
    VERSION_NEGOTIATION_MISMATCH = 55,
    INVALID_HEADERS_STREAM_DATA = 56,
    INVALID_WINDOW_UPDATE_DATA = 57,
    INVALID_BLOCKED_DATA = 58,
    FLOW_CONTROL_RECEIVED_TOO_MUCH_DATA = 59,
    INVALID_STOP_WAITING_DATA = 60,
    UNENCRYPTED_STREAM_DATA = 61,
    CONNECTION_IP_POOLED = 62,
    FLOW_CONTROL_SENT_TOO_MUCH_DATA = 63,
    FLOW_CONTROL_INVALID_WINDOW = 64,
    CRYPTO_UPDATE_BEFORE_HANDSHAKE_COMPLETE = 65,
    HANDSHAKE_TIMEOUT = 67,
    TOO_MANY_OUTSTANDING_SENT_PACKETS = 68,
    TOO_MANY_OUTSTANDING_RECEIVED_PACKETS = 69,
    CONNECTION_CANCELLED = 70,
    BAD_PACKET_LOSS_RATE = 71,
    CRYPTO_HANDSHAKE_STATELESS_REJECT = 72,
    PUBLIC_RESETS_POST_HANDSHAKE = 73,
    TIMEOUTS_WITH_OPEN_STREAMS = 74,
    FAILED_TO_SERIALIZE_PACKET = 75,
    TOO_MANY_AVAILABLE_STREAMS = 76,
    UNENCRYPTED_FEC_DATA = 77,
    INVALID_PATH_CLOSE_DATA = 78,
    BAD_MULTIPATH_FLAG = 79,
    IP_ADDRESS_CHANGED = 80,
    CONNECTION_MIGRATION_NO_MIGRATABLE_STREAMS = 81,
    CONNECTION_MIGRATION_TOO_MANY_CHANGES = 82,
    CONNECTION_MIGRATION_NO_NEW_NETWORK = 83,
    CONNECTION_MIGRATION_NON_MIGRATABLE_STREAM = 84,
    TOO_MANY_RTOS = 85,
    ERROR_MIGRATING_PORT = 86,
    OVERLAPPING_STREAM_DATA = 87,
    ATTEMPT_TO_SEND_UNENCRYPTED_STREAM_DATA = 88,
    MAYBE_CORRUPTED_MEMORY = 89,
    CRYPTO_CHLO_TOO_LARGE = 90,
    TOO_MANY_STREAM_DATA_INTERVALS = 93,
    UNSUPPORTED_PROOF_DEMAND = 94,
    STREAM_SEQUENCER_INVALID_STATE = 95,
    TOO_MANY_SESSIONS_ON_SERVER = 96,
    HEADERS_STREAM_DATA_DECOMPRESS_FAILURE = 97,
    STREAM_LENGTH_OVERFLOW = 98,
}

codes! { ResetCode:
    NO_ERROR = 0,
    ERROR_PROCESSING_STREAM = 1,
    MULTIPLE_TERMINATION_OFFSETS = 2,
    BAD_APPLICATION_PAYLOAD = 3,
    STREAM_CONNECTION_ERROR = 4,
    STREAM_PEER_GOING_AWAY = 5,
    STREAM_CANCELLED = 6,
    RST_ACKNOWLEDGEMENT = 7,
    REFUSED_STREAM = 8,
    INVALID_PROMISE_URL = 9,
    UNAUTHORIZED_PROMISE_URL = 10,
    DUPLICATE_PROMISE_URL = 11,
    PROMISE_VARY_MISMATCH = 12,
    INVALID_PROMISE_METHOD = 13,
    PUSH_STREAM_TIMED_OUT = 14,
    HEADERS_TOO_LARGE = 15,
    STREAM_TTL_EXPIRED = 16,
}

/// Something that a peer must not do, with the code that the connection is closed with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct Violation {
    /// What goes on the wire.
    pub code: ErrorCode,
    /// The reason for a person to read.
    pub reason: Cow<'static, str>,
}

impl Violation {
    /// A violation with its code and reason.
    pub fn new(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        assert_eq!(ErrorCode(56).to_string(), "INVALID_HEADERS_STREAM_DATA");
        assert_eq!(ErrorCode(4242).to_string(), "error 4242");
        assert_eq!(ResetCode::RST_ACKNOWLEDGEMENT, ResetCode(7));
        assert_eq!(format!("{:?}", ResetCode(16)), "STREAM_TTL_EXPIRED");
        let violation = Violation::new(ErrorCode::PROOF_INVALID, "the signature is wrong");
        assert_eq!(violation.to_string(), "PROOF_INVALID: the signature is wrong");
    }
}
