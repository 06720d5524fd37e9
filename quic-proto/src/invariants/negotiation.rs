//! Version Negotiation packets (RFC 8999 §6, RFC 9000 §17.2.1).
//!
//! Owns their encoding and the list of versions in them. Whether one is believed is the client's decision (RFC 9000 §6.2): it must not
//! have received anything else, the ids must match, and the list must not contain the version that it speaks.
//!
//! Invariant: an [`OfferedVersions`] starts with at least one version. No timers.

use super::version::Version;
use crate::codec::Writer;

/// The versions in a Version Negotiation packet, as they came. May be empty only when used up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedVersions<'a>(&'a [[u8; 4]]);

impl<'a> OfferedVersions<'a> {
    /// The versions in the rest of a packet; `None` if there is none, or only a part of one.
    pub(crate) fn new(bytes: &'a [u8]) -> Option<Self> {
        let (versions, rest) = bytes.as_chunks();
        (rest.is_empty() && !versions.is_empty()).then_some(Self(versions))
    }
}

impl Iterator for OfferedVersions<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for OfferedVersions<'_> {}

/// How a client came to the version that it speaks, if not by its own first choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// The version that it offered first.
    pub first: Version,
    /// What the server offered in its place, without versions reserved for greasing.
    pub offered: Vec<u32>,
}

/// Writes a Version Negotiation packet to `out` and returns its length; `None` if it does not fit, an id is longer than 255 bytes, or
/// there are no versions.
///
/// `dcid` and `scid` are the ids as this packet has them: the source and destination ids of the packet that it answers, swapped.
pub fn encode_version_negotiation(
    out: &mut [u8],
    random_byte: u8,
    dcid: &[u8],
    scid: &[u8],
    versions: &[u32],
) -> Option<usize> {
    if versions.is_empty() {
        return None;
    }
    let mut writer = Writer::new(out);
    // RFC 9000 §17.2.1: "Where QUIC might be multiplexed with other protocols …, servers SHOULD set the most significant
    // bit of this field (0x40) to 1 so that Version Negotiation packets appear to have the Fixed Bit field."
    writer.u8(random_byte | 0xc0);
    writer.u32(0);
    for id in [dcid, scid] {
        writer.u8(id.len().try_into().ok()?);
        writer.bytes(id);
    }
    versions.iter().for_each(|version| writer.u32(*version));
    (!writer.overflowed()).then_some(writer.len())
}

/// As [`encode_version_negotiation`], in the shape for peers that speak a version which [packs the lengths of
/// ids](super::Version::packs_id_lengths). `None` also if an id has neither 0 nor 4 to 18 bytes.
pub fn encode_packed_version_negotiation(
    out: &mut [u8],
    random_byte: u8,
    dcid: &[u8],
    scid: &[u8],
    versions: &[u32],
) -> Option<usize> {
    let packed = |id: &[u8]| match id.len() {
        0 => Some(0),
        len @ 4..=18 => Some(len as u8 - 3),
        _ => None,
    };
    if versions.is_empty() {
        return None;
    }
    let mut writer = Writer::new(out);
    writer.u8(random_byte | 0x80);
    writer.u32(0);
    writer.u8(packed(dcid)? << 4 | packed(scid)?);
    writer.bytes(dcid);
    writer.bytes(scid);
    versions.iter().for_each(|version| writer.u32(*version));
    (!writer.overflowed()).then_some(writer.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::{Peeked, peek};
    use proptest::prelude::*;

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let mut out = [0; 32];
        assert_eq!(encode_version_negotiation(&mut out, 0, &[], &[], &[]), None);
        assert_eq!(encode_version_negotiation(&mut out, 0, &[0; 256], &[], &[1]), None);
        assert_eq!(encode_version_negotiation(&mut out[..10], 0, &[], &[], &[1]), None);
        assert_eq!(encode_version_negotiation(&mut out[..11], 0, &[], &[], &[1]), Some(11));
        assert_eq!(out[..11], [0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    }

    #[test]
    fn the_packed_shape() {
        let mut out = [0; 64];
        let cid = [0xad, 7, 0x56, 0xfd, 0xf8, 0x9c, 0x0d, 8];
        let mut encode = |dcid: &[u8], scid: &[u8]| {
            let len =
                encode_packed_version_negotiation(&mut out, 0x1e, dcid, scid, &[0x1a8a_4a0a, 0x5130_3434]);
            len.map(|len| out[..len].to_vec())
        };
        let versions = &[&[0x1a, 0x8a, 0x4a, 0x0a], &b"Q044"[..]].concat()[..];
        let both = [&[0x9e, 0, 0, 0, 0, 0x55], &cid[..], &cid, versions].concat();
        assert_eq!(encode(&cid, &cid), Some(both));
        assert_eq!(encode(&[], &cid), Some([&[0x9e, 0, 0, 0, 0, 0x05], &cid[..], versions].concat()));
        assert_eq!((encode(&cid, &[0; 3]), encode(&[0; 19], &cid)), (None, None));
        assert_eq!(encode_packed_version_negotiation(&mut [0; 20], 0, &cid, &cid, &[1]), None);
        assert_eq!(encode_packed_version_negotiation(&mut [0; 60], 0, &cid, &cid, &[]), None);
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(
            random: u8,
            dcid in proptest::collection::vec(any::<u8>(), 0..=255),
            scid in proptest::collection::vec(any::<u8>(), 0..=255),
            versions in proptest::collection::vec(any::<u32>(), 1..20),
        ) {
            let mut out = [0; 1200];
            let len = encode_version_negotiation(&mut out, random, &dcid, &scid, &versions).unwrap();
            let Ok(Peeked::VersionNegotiation { dcid: to, scid: from, versions: offered }) = peek(&out[..len], 8)
            else { panic!("not read back") };
            prop_assert_eq!((to, from), (&dcid[..], &scid[..]));
            prop_assert_eq!(offered.len(), versions.len());
            prop_assert_eq!(offered.collect::<Vec<_>>(), versions);
        }
    }
}
