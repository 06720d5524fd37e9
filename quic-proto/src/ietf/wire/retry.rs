//! Retry packets, RFC 9000 §17.2.5 and RFC 9001 §5.8.
//!
//! Owns their encoding and the checks by which a client believes one. Invariant: a parsed Retry has a token and an authentic tag. No
//! timers.

use super::header::{LongKind, encode_ids, parse_long};
use crate::codec::Writer;
use crate::crypto::retry_tag;
use crate::id::Cid;
use crate::invariants::VersionSpec;
use smallvec::SmallVec;

const TAG_LEN: usize = 16;

/// A Retry packet whose tag is authentic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retry<'a> {
    /// Destination Connection ID: the id that the client chose for itself.
    pub dcid: Cid,
    /// Source Connection ID: where the next Initial goes to.
    pub scid: Cid,
    /// The token to return; never empty.
    pub token: &'a [u8],
}

/// The Retry Integrity Tag of a packet (given without it) that answers an Initial sent to `original_dcid`.
pub fn integrity_tag(spec: &VersionSpec, original_dcid: &Cid, packet: &[u8]) -> [u8; TAG_LEN] {
    retry_tag::seal(&spec.retry_key, spec.retry_nonce, &pseudo_packet(original_dcid, packet))
}

/// Writes a Retry packet with its tag and returns whether it fit. The low four bits of `unused` go where the format leaves bits unused;
/// `original_dcid` is the destination of the Initial that this answers, `dcid` its source, and `scid` an id of ours that must differ
/// from `original_dcid` (RFC 9000 §17.2.5.1).
pub fn encode(
    w: &mut Writer<'_>,
    spec: &VersionSpec,
    unused: u8,
    original_dcid: &Cid,
    (dcid, scid): (&Cid, &Cid),
    token: &[u8],
) -> bool {
    let start = w.len();
    w.attempt(|w| {
        w.u8(LongKind::Retry.first_byte(spec) | unused & 0x0f);
        encode_ids(w, spec.version, dcid, scid);
        w.bytes(token);
        let tag = integrity_tag(spec, original_dcid, &w.written()[start..]);
        w.bytes(&tag);
    })
}

/// Parses a Retry packet that came for a client whose first Initial went to `original_dcid`; `None` if it must be discarded. That no
/// Retry or other packet was processed before is for the caller to check.
pub fn parse<'a>(datagram: &'a [u8], spec: &VersionSpec, original_dcid: &Cid) -> Option<Retry<'a>> {
    let header = parse_long(datagram, spec).ok().filter(|header| header.kind == LongKind::Retry)?;
    let (packet, tag) = datagram.split_last_chunk::<TAG_LEN>()?;
    // RFC 9000 §17.2.5.2: "A client MUST discard a Retry packet with a zero-length Retry Token field."
    // RFC 9000 §17.2.5.1: "A client MUST discard a Retry packet that contains a Source Connection ID field that is identical to the
    // Destination Connection ID field of its Initial packet."
    if header.token.is_empty() || header.scid == *original_dcid {
        return None;
    }
    // RFC 9000 §17.2.5.2: "Clients MUST discard Retry packets that have a Retry Integrity Tag that cannot be validated"
    let authentic =
        retry_tag::verify(&spec.retry_key, spec.retry_nonce, &pseudo_packet(original_dcid, packet), tag);
    authentic.then_some(Retry { dcid: header.dcid, scid: header.scid, token: header.token })
}

/// The Retry Pseudo-Packet of RFC 9001 §5.8, on the stack for tokens of usual size.
fn pseudo_packet(original_dcid: &Cid, packet: &[u8]) -> SmallVec<[u8; 512]> {
    let mut pseudo = SmallVec::new();
    pseudo.push(original_dcid.len() as u8);
    pseudo.extend_from_slice(original_dcid);
    pseudo.extend_from_slice(packet);
    pseudo
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::{Version, spec};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn unhex(value: &serde_json::Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn packets_of_rfc_9001_a4_and_rfc_9369_a4() {
        for (version, text) in [
            (Version::V1, include_str!("../../../testdata/rfc9001_appendix_a_v1.json")),
            (Version::V2, include_str!("../../../testdata/rfc9369_appendix_a_v2.json")),
        ] {
            let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
            let spec = spec(version).unwrap();
            let sample = &vectors["retry"];
            let packet = unhex(&sample["packet"]);
            let original = Cid::new(&unhex(&sample["original_dcid"])).unwrap();
            let scid = Cid::new(&unhex(&sample["scid"])).unwrap();
            let token = unhex(&sample["token"]);

            let mut buffer = [0; 100];
            let mut w = Writer::new(&mut buffer);
            assert!(encode(&mut w, spec, 0x0f, &original, (&Cid::EMPTY, &scid), &token));
            assert_eq!(w.written(), packet);
            let expected = Retry { dcid: Cid::EMPTY, scid, token: &token };
            assert_eq!(parse(&packet, spec, &original), Some(expected));

            for bit in 0..packet.len() * 8 {
                let mut flipped = packet.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(parse(&flipped, spec, &original), None, "bit {bit}");
            }
        }
    }

    #[test]
    fn what_must_be_discarded() {
        let spec = spec(Version::V1).unwrap();
        let (original, other) = (Cid::new(&[1; 8]).unwrap(), Cid::new(&[2; 8]).unwrap());
        let retry = |scid: &Cid, token: &[u8]| {
            let mut buffer = vec![0; 100];
            let mut w = Writer::new(&mut buffer);
            assert!(encode(&mut w, spec, 0, &original, (&Cid::EMPTY, scid), token));
            let len = w.len();
            buffer.truncate(len);
            buffer
        };
        assert!(parse(&retry(&other, b"t"), spec, &original).is_some());
        assert!(parse(&retry(&other, b"t"), spec, &other).is_none());
        assert!(parse(&retry(&other, b""), spec, &original).is_none());
        assert!(parse(&retry(&original, b"t"), spec, &original).is_none());
        let mut short = [0; 20];
        let mut w = Writer::new(&mut short);
        assert!(!encode(&mut w, spec, 0, &original, (&Cid::EMPTY, &other), b"t"));
        assert!(w.is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes in vec(any::<u8>(), 0..200)) {
            let spec = spec(Version::V1).unwrap();
            prop_assert_eq!(parse(&bytes, spec, &Cid::EMPTY), None);
            let head = [0xf0, 0, 0, 0, 1, 0, 0];
            bytes.splice(..bytes.len().min(head.len()), head);
            prop_assert_eq!(parse(&bytes, spec, &Cid::EMPTY), None);
        }
    }
}
