//! Error codes and closing frames: what Q044 says in one number of 32 bits, and what the engine and applications know as several types.
//!
//! `CONNECTION_CLOSE` is one frame for the protocol and for applications. An application's code goes out as it is, but 0 as
//! `PEER_GOING_AWAY`, the code of a normal close, and comes back so. A code that comes in and has a name is taken for the protocol's own.
//! Applications that want to be told from it use codes from 256 on.
//!
//! `RST_STREAM` knows numbers of 32 bits; 0 has a meaning of its own there, so that an application's 0 goes out as `STREAM_CANCELLED`.
//!
//! No state, no timers.

use super::wire::error::{ErrorCode, ResetCode, Violation};
use crate::engine::lifecycle::CloseFrame;
use crate::error::{AppError, ConnectionError, TransportError, TransportErrorCode};
use bytes::Bytes;

/// A violation as the engine and applications know it.
pub(super) fn error(violation: &Violation) -> TransportError {
    TransportError::new(TransportErrorCode::google(violation.code.0), violation.to_string())
}

/// A violation with this code.
pub(super) fn violation(code: ErrorCode, reason: &'static str) -> TransportError {
    error(&Violation::new(code, reason))
}

/// The engine's error, whose code is the IETF's, with the code that this version has for it.
pub(super) fn translate(engine: &TransportError) -> TransportError {
    let code = match engine.code {
        code if code.as_google().is_some() => return engine.clone(),
        TransportErrorCode::FLOW_CONTROL_ERROR | TransportErrorCode::CRYPTO_BUFFER_EXCEEDED => {
            ErrorCode::FLOW_CONTROL_RECEIVED_TOO_MUCH_DATA
        }
        TransportErrorCode::STREAM_LIMIT_ERROR => ErrorCode::TOO_MANY_OPEN_STREAMS,
        TransportErrorCode::STREAM_STATE_ERROR => ErrorCode::INVALID_STREAM_ID,
        TransportErrorCode::FINAL_SIZE_ERROR => ErrorCode::STREAM_DATA_AFTER_TERMINATION,
        // Of the verbs that are in use here only that of acknowledgements says so: for packets that were never sent.
        TransportErrorCode::PROTOCOL_VIOLATION => ErrorCode::INVALID_ACK_DATA,
        _ => ErrorCode::INTERNAL_ERROR,
    };
    error(&Violation::new(code, engine.reason.clone()))
}

/// Code and reason of the frame that closes the connection.
pub(super) fn frame(frame: &CloseFrame) -> (ErrorCode, &[u8]) {
    match frame {
        CloseFrame::Transport(error) => {
            let code = translate(error).code.as_google().map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
            // The code tells its name.
            let text = code.name().and_then(|name| error.reason.strip_prefix(name)?.strip_prefix(": "));
            (code, text.unwrap_or(&error.reason).as_bytes())
        }
        CloseFrame::Application { code, reason } if code.as_u64() == 0 => {
            (ErrorCode::PEER_GOING_AWAY, reason)
        }
        CloseFrame::Application { code, reason } => (ErrorCode(number(*code)), reason),
    }
}

/// Why the connection ended, from the peer's frame.
pub(super) fn reason(code: ErrorCode, reason: &[u8]) -> ConnectionError {
    if code == ErrorCode::PEER_GOING_AWAY || code.name().is_none() {
        let code = if code.name().is_some() { 0 } else { code.0 };
        return ConnectionError::PeerApplication {
            code: AppError::from(code),
            reason: Bytes::copy_from_slice(reason),
        };
    }
    let text = match String::from_utf8_lossy(reason) {
        text if text.is_empty() => code.to_string(),
        text => format!("{code}: {text}"),
    };
    ConnectionError::PeerTransport(TransportError::new(TransportErrorCode::google(code.0), text))
}

/// The code of an `RST_STREAM` frame by which the application gives up a stream.
pub(super) fn reset_code(code: AppError) -> ResetCode {
    if code.as_u64() == 0 { ResetCode::STREAM_CANCELLED } else { ResetCode(number(code)) }
}

/// An application's code in 32 bits; what is larger becomes the largest.
fn number(code: AppError) -> u32 {
    u32::try_from(code.as_u64()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn application_codes_go_and_come() {
        for (code, on_the_wire) in [(0u32, 16u32), (256, 256), (70_000, 70_000)] {
            let close = CloseFrame::Application { code: code.into(), reason: Bytes::from_static(b"bye") };
            let (wire, text) = frame(&close);
            assert_eq!((wire, text), (ErrorCode(on_the_wire), &b"bye"[..]));
            let ConnectionError::PeerApplication { code: came, .. } = reason(wire, text) else { panic!() };
            assert_eq!(came, code.into());
        }
        let ConnectionError::PeerTransport(error) = reason(ErrorCode(34), b"") else { panic!() };
        assert_eq!(error.to_string(), "Google QUIC error 34: INVALID_CRYPTO_MESSAGE_PARAMETER");
    }

    #[test]
    fn the_engines_errors_have_codes_here() {
        let error = TransportError::new(TransportErrorCode::FLOW_CONTROL_ERROR, "too much");
        let close = CloseFrame::Transport(error);
        assert_eq!(frame(&close).0, ErrorCode(59));
        let own = violation(ErrorCode::PROOF_INVALID, "wrong");
        assert_eq!(translate(&own), own);
        assert_eq!(own.reason, "PROOF_INVALID: wrong");
        assert_eq!(frame(&CloseFrame::Transport(own)), (ErrorCode::PROOF_INVALID, &b"wrong"[..]));
    }

    #[test]
    fn resets_of_applications_never_have_the_code_that_spares_data() {
        assert_eq!(reset_code(0u32.into()), ResetCode(6));
        assert_eq!(reset_code(9u32.into()), ResetCode(9));
        assert_eq!(reset_code(AppError::try_from(1u64 << 40).unwrap()), ResetCode(u32::MAX));
    }
}
