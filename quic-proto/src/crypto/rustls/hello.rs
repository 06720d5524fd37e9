//! A look into a `ClientHello` (RFC 8446 §4.1.2) before there is a session for it.
//!
//! rustls wants to know our transport parameters and the version of QUIC before it reads anything; both may depend on what the client says.
//!
//! Invariant: nothing is judged here. Whatever is wrong with a message, the session will say. Timers: none.

use crate::codec::{Reader, UnexpectedEnd};
use crate::crypto::Hello;

/// RFC 8446 §4.
const CLIENT_HELLO: u8 = 1;

/// RFC 9001 §8.2: `quic_transport_parameters(0x39)`.
const TRANSPORT_PARAMETERS: u16 = 0x39;

/// Finds the transport parameters.
pub(super) fn peek(bytes: &[u8]) -> Hello<'_> {
    let [kind, length @ ..] = match bytes.first_chunk::<4>() {
        Some(header) => *header,
        None => return Hello::Incomplete,
    };
    if kind != CLIENT_HELLO {
        return Hello::Opaque;
    }
    let len = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    let Some(message) = bytes[4..].get(..len) else { return Hello::Incomplete };
    find(message).ok().flatten().map_or(Hello::Opaque, Hello::Complete)
}

fn find(message: &[u8]) -> Result<Option<&[u8]>, UnexpectedEnd> {
    let mut reader = Reader::new(message);
    // legacy_version, random, legacy_session_id, cipher_suites, legacy_compression_methods.
    reader.skip(2 + 32)?;
    let session_id = reader.u8()?;
    reader.skip(session_id.into())?;
    let suites = reader.u16()?;
    reader.skip(suites.into())?;
    let compressions = reader.u8()?;
    reader.skip(compressions.into())?;
    let extensions = reader.u16()?;
    let mut reader = Reader::new(reader.bytes(extensions.into())?);
    while !reader.is_empty() {
        let (kind, len) = (reader.u16()?, reader.u16()?);
        let value = reader.bytes(len.into())?;
        if kind == TRANSPORT_PARAMETERS {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A message with these extensions.
    fn hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let mut list = Vec::new();
        for (kind, value) in extensions {
            list.extend(kind.to_be_bytes());
            list.extend((value.len() as u16).to_be_bytes());
            list.extend(*value);
        }
        let before = [&[3, 3][..], &[7; 32], &[2, 9, 9], &[0, 2, 0x13, 1], &[1, 0]].concat();
        let body = [&before[..], &(list.len() as u16).to_be_bytes(), &list].concat();
        [&[CLIENT_HELLO, 0], &(body.len() as u16).to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn parameters_are_found_once_the_message_is_whole() {
        let whole = hello(&[(0, b"name"), (0x39, b"parameters"), (0x2b, &[3, 4])]);
        for len in 0..whole.len() {
            assert_eq!(peek(&whole[..len]), Hello::Incomplete);
        }
        assert_eq!(peek(&whole), Hello::Complete(b"parameters"));
        assert_eq!(peek(&[&whole[..], b"more"].concat()), Hello::Complete(b"parameters"));
        assert_eq!(peek(&hello(&[(0, b"name")])), Hello::Opaque);
        assert_eq!(peek(&[2, 0, 0, 0]), Hello::Opaque);
        let mut cut = whole.clone();
        cut[3] -= 1;
        assert_eq!(peek(&cut), Hello::Opaque, "a length that goes beyond the message");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200), at in 0usize..80, byte: u8) {
            let _ = peek(&[&[CLIENT_HELLO, 0, 0, bytes.len() as u8], &bytes[..]].concat());
            let _ = peek(&bytes);
            let mut changed = hello(&[(0x39, &bytes)]);
            let at = at % changed.len();
            changed[at] = byte;
            let _ = peek(&changed);
        }
    }
}
