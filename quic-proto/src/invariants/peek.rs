//! What can be read of a packet without knowing its version or keys (RFC 8999 §5).
//!
//! Invariant: never panics, reads only the header, accepts connection ids of up to 255 bytes in long headers. No timers.

use super::negotiation::OfferedVersions;
use super::version::Version;
use crate::codec::{Reader, UnexpectedEnd};

/// The version-independent properties of the first packet in a datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Peeked<'a> {
    /// A packet with a long header (RFC 8999 §5.1).
    Long {
        /// The version; never zero.
        version: u32,
        /// Destination Connection ID, 0 to 255 bytes.
        dcid: &'a [u8],
        /// Source Connection ID, 0 to 255 bytes.
        scid: &'a [u8],
        /// The first byte, whose meaning but for the highest bit is the version's.
        first: u8,
    },
    /// A packet with a short header (RFC 8999 §5.2).
    Short {
        /// Destination Connection ID, of the length that we give to our own ids.
        dcid: &'a [u8],
    },
    /// A Version Negotiation packet (RFC 8999 §6).
    VersionNegotiation {
        /// Destination Connection ID: the source id of the packet that it answers.
        dcid: &'a [u8],
        /// Source Connection ID: the destination id of the packet that it answers.
        scid: &'a [u8],
        /// What the server offers.
        versions: OfferedVersions<'a>,
    },
}

/// A datagram that does not start with a packet of QUIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PeekError {
    /// It ends within the header.
    #[error("the datagram ends within the packet header")]
    Truncated,
    /// A Version Negotiation packet with no version, or a part of one.
    #[error("a Version Negotiation packet without a whole number of versions")]
    InvalidVersions,
}

impl From<UnexpectedEnd> for PeekError {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

/// Reads what does not depend on the version. `short_dcid_len` is the length of the ids that we give out, which short headers do not
/// tell.
///
/// # Errors
/// If the datagram is too short, or a Version Negotiation packet is malformed; such datagrams are to be dropped.
pub fn peek(datagram: &[u8], short_dcid_len: usize) -> Result<Peeked<'_>, PeekError> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8()?;
    if first & 0x80 == 0 {
        return Ok(Peeked::Short { dcid: reader.bytes(short_dcid_len)? });
    }
    let version = reader.u32()?;
    if Version(version).packs_id_lengths() {
        let lengths = reader.u8()?;
        let dcid = reader.bytes(unpacked(lengths >> 4))?;
        let scid = reader.bytes(unpacked(lengths & 15))?;
        return Ok(Peeked::Long { version, dcid, scid, first });
    }
    let dcid_len = reader.u8()?;
    let dcid = reader.bytes(dcid_len.into())?;
    let scid_len = reader.u8()?;
    let scid = reader.bytes(scid_len.into())?;
    if version != 0 {
        return Ok(Peeked::Long { version, dcid, scid, first });
    }
    // RFC 8999 §6: "An endpoint MUST ignore a packet that contains no Supported Version fields or contains a truncated Supported
    // Version value."
    let versions = OfferedVersions::new(reader.rest()).ok_or(PeekError::InvalidVersions)?;
    Ok(Peeked::VersionNegotiation { dcid, scid, versions })
}

/// The length of an id from the half-byte that stands for it in versions that [pack lengths](Version::packs_id_lengths).
const fn unpacked(nibble: u8) -> usize {
    if nibble == 0 { 0 } else { nibble as usize + 3 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn long_headers_of_any_version() {
        let mut packet = vec![0x80, 0xff, 0, 0, 0x1d, 255];
        packet.extend([1; 255]);
        packet.push(255);
        packet.extend([2; 255]);
        let (dcid, scid) = (&[1; 255][..], &[2; 255][..]);
        assert_eq!(peek(&packet, 8), Ok(Peeked::Long { version: 0xff00_001d, dcid, scid, first: 0x80 }));
        for len in 0..packet.len() {
            assert_eq!(peek(&packet[..len], 8), Err(PeekError::Truncated));
        }
    }

    #[test]
    fn googles_long_headers_pack_the_lengths_of_ids() {
        let packet = [&[0xff], &b"Q044"[..], &[0x50, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1]].concat();
        let (dcid, scid) = (&[1, 2, 3, 4, 5, 6, 7, 8][..], &[][..]);
        assert_eq!(peek(&packet, 3), Ok(Peeked::Long { version: Version::Q044.0, dcid, scid, first: 0xff }));
        assert_eq!(peek(&packet[..13], 3), Err(PeekError::Truncated));
        let packet = [&[0xfd], &b"Q044"[..], &[0x05, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
        let Ok(Peeked::Long { dcid, scid, .. }) = peek(&packet, 0) else { panic!() };
        assert_eq!((dcid, scid), (&[][..], &[1, 2, 3, 4, 5, 6, 7, 8][..]));
    }

    #[test]
    fn short_headers_have_ids_of_our_length() {
        assert_eq!(peek(&[0x40, 1, 2, 3, 4], 3), Ok(Peeked::Short { dcid: &[1, 2, 3] }));
        assert_eq!(peek(&[0x40], 0), Ok(Peeked::Short { dcid: &[] }));
        assert_eq!(peek(&[0x40, 1, 2], 3), Err(PeekError::Truncated));
    }

    #[test]
    fn version_negotiation_has_whole_versions() {
        let head = [0xc0, 0, 0, 0, 0, 1, 7, 0];
        assert_eq!(peek(&head, 0), Err(PeekError::InvalidVersions));
        assert_eq!(peek(&[&head[..], &[0, 0, 0, 1, 0]].concat(), 0), Err(PeekError::InvalidVersions));
        let whole = [&head[..], &[0, 0, 0, 1, 0x0a, 0x0a, 0x0a, 0x0a]].concat();
        let Ok(Peeked::VersionNegotiation { dcid, scid, versions }) = peek(&whole, 0) else { panic!() };
        assert_eq!((dcid, scid), (&[7][..], &[][..]));
        assert_eq!(versions.collect::<Vec<_>>(), [1, 0x0a0a_0a0a]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), len in 0usize..=20) {
            if let Ok(Peeked::VersionNegotiation { versions, .. }) = peek(&bytes, len) {
                prop_assert!(versions.count() > 0);
            }
        }
    }
}
