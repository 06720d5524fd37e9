//! Version negotiation, in two shapes: with a long header, and with the public header of Q043 and before.
//!
//! Owns the encoding of the second (that of the first is for everybody who may be asked in a version that packs the lengths of ids, and lies
//! in `invariants`), the list of versions in them, and the recognition of packets that have a public header. They have no
//! number and no protection; whether one is believed is the client's decision.
//!
//! Invariant: what was parsed lists at least one version. No timers.

use super::header::{CID_LEN, read_ids};
use crate::codec::{Reader, UnexpectedEnd, Writer};
use crate::id::Cid;
use crate::invariants::{OfferedVersions, Version};

/// In a public header: the packet has a version (from a client), or it lists versions (from a server).
const PUBLIC_VERSION: u8 = 0x01;
/// In a public header: the packet resets the connection.
pub(super) const PUBLIC_RESET: u8 = 0x02;
/// In a public header: there are 8 bytes of connection id.
pub(super) const PUBLIC_CID: u8 = 0x08;
/// 1 in long headers, 0 in public ones.
const LONG_FORM: u8 = 0x80;

/// The list of versions that a server speaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VersionNegotiation<'a> {
    /// Destination connection id: the source id of the client's packet; empty in the old shape.
    pub dcid: Cid,
    /// Source connection id: the destination id of the client's packet.
    pub scid: Cid,
    /// The versions, as they came.
    pub versions: OfferedVersions<'a>,
}

/// Parses a version negotiation packet of either shape; `None` if it is none, or not a valid one.
pub fn parse(packet: &[u8]) -> Option<VersionNegotiation<'_>> {
    let mut r = Reader::new(packet);
    let first = r.u8().ok()?;
    let (dcid, scid) = if first & LONG_FORM != 0 {
        (r.u32().ok()? == 0).then_some(())?;
        read_ids(&mut r).ok()?
    } else {
        (first & (PUBLIC_VERSION | PUBLIC_RESET | PUBLIC_CID) == PUBLIC_VERSION | PUBLIC_CID).then_some(())?;
        (Cid::EMPTY, Cid::new(r.bytes(CID_LEN).ok()?).ok()?)
    };
    Some(VersionNegotiation { dcid, scid, versions: OfferedVersions::new(r.rest())? })
}

/// Writes a version negotiation packet with a public header.
pub fn encode_public(w: &mut Writer<'_>, cid: &[u8; CID_LEN], versions: &[Version]) {
    w.u8(PUBLIC_VERSION | PUBLIC_CID);
    w.bytes(cid);
    versions.iter().for_each(|version| w.u32(version.0));
}

/// The start of a client's packet of Q043 or before, as far as the answer to it needs it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicHeader {
    /// The connection id.
    pub cid: [u8; CID_LEN],
    /// The version that the client speaks.
    pub version: Version,
}

/// Recognises a client's packet with a public header, an id and a version. A later packet of that client has no version and is not
/// recognised.
pub fn parse_public(packet: &[u8]) -> Option<PublicHeader> {
    let read = |r: &mut Reader<'_>| -> Result<PublicHeader, UnexpectedEnd> {
        Ok(PublicHeader { cid: r.array()?, version: Version(r.u32()?) })
    };
    let (first, rest) = packet.split_first()?;
    let is_public =
        first & (LONG_FORM | PUBLIC_VERSION | PUBLIC_RESET | PUBLIC_CID) == PUBLIC_VERSION | PUBLIC_CID;
    is_public.then(|| read(&mut Reader::new(rest)).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::header::VERSION;
    use crate::gquic::wire::vectors::{bytes, units};
    use crate::invariants::encode_packed_version_negotiation;
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn unit_vectors() {
        for case in units("version_negotiation") {
            let packet = bytes(&case["encoded"]);
            let read = parse(&packet).unwrap();
            assert_eq!(
                (read.dcid.to_vec(), read.scid.to_vec()),
                (bytes(&case["dcid"]), bytes(&case["scid"]))
            );
            let versions: Vec<Version> = read.versions.map(Version).collect();
            let genuine: Vec<_> = versions.iter().filter(|version| !version.is_reserved()).copied().collect();
            assert_eq!(genuine, [VERSION]);
            assert_eq!(bytes(&case["versions"][0]), VERSION.0.to_be_bytes());
            let numbers: Vec<_> = versions.iter().map(|version| version.0).collect();
            let mut buffer = [0; 64];
            let len =
                encode_packed_version_negotiation(&mut buffer, packet[0], &read.dcid, &read.scid, &numbers);
            assert_eq!(len.map(|len| &buffer[..len]), Some(&packet[..]));
        }
    }

    #[test]
    fn the_old_shape() {
        let packet = hex!("09 0ffe126ce7de912b 51303434");
        let read = parse(&packet).unwrap();
        assert_eq!((read.dcid, &*read.scid), (Cid::EMPTY, &hex!("0ffe126ce7de912b")[..]));
        assert_eq!(read.versions.collect::<Vec<_>>(), [VERSION.0]);
        let mut buffer = [0; 64];
        let mut w = Writer::new(&mut buffer);
        encode_public(&mut w, &hex!("0ffe126ce7de912b"), &[VERSION]);
        assert_eq!(w.written(), packet);
    }

    #[test]
    fn clients_of_old_versions_are_recognised() {
        let packet = hex!("09 0ffe126ce7de912b 51303433 01");
        let expected = PublicHeader { cid: hex!("0ffe126ce7de912b"), version: Version(0x5130_3433) };
        assert_eq!(parse_public(&packet), Some(expected));
        assert_eq!(parse_public(&packet[..12]), None);
        // Without a version, a reset, a short header, a long header.
        for first in [0x08, 0x0b, 0x31, 0xff] {
            assert_eq!(parse_public(&[&[first], &packet[1..]].concat()), None, "{first:#x}");
        }
    }

    #[test]
    fn lists_are_whole_and_not_empty() {
        let head = hex!("c0 00000000 05 0102030405060708");
        assert_eq!(parse(&head), None);
        assert_eq!(parse(&[&head[..], &[1, 2, 3]].concat()), None);
        assert!(parse(&[&head[..], &[1, 2, 3, 4]].concat()).is_some());
        assert_eq!(parse(&hex!("09 0ffe126ce7de912b")), None);
        assert_eq!(parse(&hex!("ff 51303434 50 0102030405060708 00000001")), None, "not version 0");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(packet in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(read) = parse(&packet) {
                prop_assert!(read.versions.count() <= packet.len() / 4);
            }
            let _ = parse_public(&packet);
        }
    }
}
