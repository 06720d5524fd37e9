//! What a server reads in a client hello.

use super::{invalid, missing};
use crate::gquic::wire::error::{ErrorCode, Violation};
use crate::gquic::wire::message::{Message, tags};
use crate::invariants::Version;

/// A client hello that passed the checks which do not depend on whether it is complete.
pub(in crate::gquic) struct Chlo<'a> {
    /// The message.
    pub(in crate::gquic) message: Message<'a>,
    /// The host that the client wants.
    pub(in crate::gquic) server_name: &'a str,
    /// The source address token; empty if there is none.
    pub(in crate::gquic) token: &'a [u8],
}

impl<'a> Chlo<'a> {
    /// Reads a hello to a server that speaks `versions`.
    ///
    /// # Errors
    /// What closes the connection (7.1): no server name, no version, a version that does not fit, another message.
    pub(in crate::gquic) fn read(message: Message<'a>, versions: &[Version]) -> Result<Self, Violation> {
        if message.tag() != tags::CHLO {
            let reason = format!("{} in place of a client hello", message.tag());
            return Err(Violation::new(ErrorCode::INVALID_CRYPTO_MESSAGE_TYPE, reason));
        }
        let name =
            message.get(tags::SNI).filter(|name| !name.is_empty()).ok_or_else(|| missing(tags::SNI))?;
        let server_name = std::str::from_utf8(name).ok().filter(|name| name.is_ascii());
        let server_name = server_name.ok_or_else(|| invalid(tags::SNI))?;
        let first = *message.array::<4>(tags::VER).ok_or_else(|| invalid(tags::VER))?;
        let first = Version(u32::from_be_bytes(first));
        // 7.3: "if it is a version the server supports and not the one spoken, somebody tampered with the negotiation: error 55. Zero passes."
        if first != Version::Q044 && versions.contains(&first) {
            let reason = format!("the client was made to give up {first}, which is spoken here");
            return Err(Violation::new(ErrorCode::VERSION_NEGOTIATION_MISMATCH, reason));
        }
        Ok(Self { message, server_name, token: message.get(tags::STK).unwrap_or_default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::message::{Builder, Tag};

    fn code(values: &[(Tag, &[u8])]) -> Option<ErrorCode> {
        let mut message = Builder::new(tags::CHLO);
        for (tag, value) in values {
            message.put(*tag, *value);
        }
        let bytes = message.finish();
        let versions = [Version::V1, Version::Q044];
        Chlo::read(Message::parse_whole(&bytes).unwrap(), &versions).err().map(|violation| violation.code)
    }

    #[test]
    fn what_closes_the_connection() {
        let (name, none) = ((tags::SNI, &b"localhost"[..]), (tags::VER, &[0; 4][..]));
        assert_eq!(code(&[name, none]), None);
        assert_eq!(code(&[name, (tags::VER, b"Q044")]), None);
        assert_eq!(code(&[name, (tags::VER, b"Q043")]), None, "it is not spoken here");
        assert_eq!(code(&[none]), Some(ErrorCode(35)));
        assert_eq!(code(&[(tags::SNI, b""), none]), Some(ErrorCode(35)));
        assert_eq!(code(&[(tags::SNI, &[0xff]), none]), Some(ErrorCode(34)));
        assert_eq!(code(&[name]), Some(ErrorCode(34)));
        assert_eq!(code(&[name, (tags::VER, b"Q0444")]), Some(ErrorCode(34)));
        assert_eq!(code(&[name, (tags::VER, &[0, 0, 0, 1])]), Some(ErrorCode(55)));
        let other = Builder::new(tags::SHLO).finish();
        let refused = Chlo::read(Message::parse_whole(&other).unwrap(), &[]).err().unwrap();
        assert_eq!(refused.code, ErrorCode(33));
    }
}
