//! Packet headers, RFC 9000 §17.2 and §17.3.
//!
//! Owns everything before the packet number, which header protection hides together with the low bits of the first byte. Offsets are
//! from the start of the packet, that is, of the slice given.
//!
//! Invariants: in a parsed header `number_offset <= packet_len <=` the length of the slice. No timers.

use crate::codec::{Reader, UnexpectedEnd, Writer, packet_number};
use crate::id::{Cid, CidTooLong, MAX_CID_LEN, PacketNumber};
use crate::invariants::{Version, VersionSpec};

/// Header Form: 1 in long headers (RFC 9000 §17.2).
pub const LONG_FORM: u8 = 0x80;
/// Fixed Bit: 1 in every packet of this family but Version Negotiation.
pub const FIXED_BIT: u8 = 0x40;
/// Long Packet Type, in long headers.
pub const LONG_TYPE_MASK: u8 = 0x30;
/// Reserved Bits in long headers; zero once header protection is removed.
pub const LONG_RESERVED: u8 = 0x0c;
/// Spin Bit, in short headers (RFC 9000 §17.4).
pub const SPIN: u8 = 0x20;
/// Reserved Bits in short headers; zero once header protection is removed.
pub const SHORT_RESERVED: u8 = 0x18;
/// Key Phase, in short headers (RFC 9001 §6).
pub const KEY_PHASE: u8 = 0x04;
/// Length of the packet number, less one.
pub const NUMBER_LEN_MASK: u8 = 0x03;

/// The kinds of packets with a long header (RFC 9000 §17.2, Table 5), in the order of [`VersionSpec::long_types`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LongKind {
    /// Starts the handshake (§17.2.2).
    Initial = 0,
    /// Early data (§17.2.3).
    ZeroRtt = 1,
    /// Continues the handshake (§17.2.4).
    Handshake = 2,
    /// Asks the client to try again with a token (§17.2.5).
    Retry = 3,
}

impl LongKind {
    const ALL: [Self; 4] = [Self::Initial, Self::ZeroRtt, Self::Handshake, Self::Retry];

    /// The first byte of such a packet, without the bits that depend on more than the kind.
    pub const fn first_byte(self, spec: &VersionSpec) -> u8 {
        LONG_FORM | FIXED_BIT | (spec.long_types[self as usize] & 0x03) << 4
    }

    /// The kind in the first byte of a packet; each of the four values has one.
    fn of(first: u8, spec: &VersionSpec) -> Self {
        let bits = (first & LONG_TYPE_MASK) >> 4;
        Self::ALL.into_iter().find(|kind| spec.long_types[*kind as usize] == bits).unwrap_or(Self::Retry)
    }
}

/// A long header, as far as it is not protected.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongHeader<'a> {
    /// The kind of the packet.
    pub kind: LongKind,
    /// The version.
    pub version: Version,
    /// Destination Connection ID.
    pub dcid: Cid,
    /// Source Connection ID.
    pub scid: Cid,
    /// The token of an Initial packet (often empty) or of a Retry packet; empty in others.
    pub token: &'a [u8],
    /// Where the packet number starts; in a Retry packet, which has none, where the integrity tag does.
    pub number_offset: usize,
    /// Where the packet ends: another one may follow in the same datagram (RFC 9000 §12.2).
    pub packet_len: usize,
}

/// A short header, as far as it is not protected. The packet extends to the end of the datagram.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShortHeader {
    /// Destination Connection ID.
    pub dcid: Cid,
    /// Where the packet number starts.
    pub number_offset: usize,
}

/// A header that is not valid; the packet, and what follows in its datagram, is to be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// It ends early, or its Length field goes beyond the datagram.
    #[error("the packet is truncated")]
    Truncated,
    /// The other header form was expected.
    #[error("the header has the other form")]
    WrongForm,
    /// The Fixed Bit is zero.
    #[error("the fixed bit is zero")]
    FixedBit,
    /// It is of another version than asked for.
    #[error("the packet is of another version")]
    WrongVersion,
    /// A connection id has more than 20 bytes.
    #[error("a connection id is too long")]
    CidTooLong,
}

impl From<UnexpectedEnd> for HeaderError {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

impl From<CidTooLong> for HeaderError {
    fn from(_: CidTooLong) -> Self {
        Self::CidTooLong
    }
}

/// Parses the long header at the start of `datagram`, which is of the version of `spec`. Whether there are enough bytes for a sample
/// of header protection is for the caller to check.
///
/// # Errors
/// If the packet is not valid and must be dropped.
pub fn parse_long<'a>(datagram: &'a [u8], spec: &VersionSpec) -> Result<LongHeader<'a>, HeaderError> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8()?;
    if first & LONG_FORM == 0 {
        return Err(HeaderError::WrongForm);
    }
    let version = Version(reader.u32()?);
    if version != spec.version {
        return Err(HeaderError::WrongVersion);
    }
    // RFC 9000 §17.2: "Packets containing a zero value for this bit are not valid packets in this version and MUST be discarded."
    if first & FIXED_BIT == 0 {
        return Err(HeaderError::FixedBit);
    }
    let (dcid, scid) = (parse_cid(&mut reader)?, parse_cid(&mut reader)?);
    let kind = LongKind::of(first, spec);
    if kind == LongKind::Retry {
        // No length: the token is whatever comes before the tag of 16 bytes at the end of the datagram.
        let token_len = reader.remaining().checked_sub(16).ok_or(HeaderError::Truncated)?;
        let token = reader.bytes(token_len)?;
        let number_offset = reader.position();
        return Ok(LongHeader {
            kind,
            version,
            dcid,
            scid,
            token,
            number_offset,
            packet_len: datagram.len(),
        });
    }
    let token = if kind == LongKind::Initial { reader.varint_bytes()? } else { &[] };
    let length = reader.varint()?;
    if length > reader.remaining() as u64 {
        return Err(HeaderError::Truncated);
    }
    let number_offset = reader.position();
    let packet_len = number_offset + length as usize;
    Ok(LongHeader { kind, version, dcid, scid, token, number_offset, packet_len })
}

fn parse_cid(reader: &mut Reader<'_>) -> Result<Cid, HeaderError> {
    let len = usize::from(reader.u8()?);
    // RFC 9000 §17.2: "Endpoints that receive a version 1 long header with a value larger than 20 MUST drop the packet."
    if len > MAX_CID_LEN {
        return Err(HeaderError::CidTooLong);
    }
    Ok(Cid::new(reader.bytes(len)?)?)
}

/// Parses the short header at the start of `datagram`; `dcid_len` is the length of the ids that we give out.
///
/// # Errors
/// If the packet is not valid and must be dropped.
pub fn parse_short(datagram: &[u8], dcid_len: usize) -> Result<ShortHeader, HeaderError> {
    let mut reader = Reader::new(datagram);
    let first = reader.u8()?;
    if first & LONG_FORM != 0 {
        return Err(HeaderError::WrongForm);
    }
    // RFC 9000 §17.3.1: "Packets containing a zero value for this bit are not valid packets in this version and MUST be discarded."
    if first & FIXED_BIT == 0 {
        return Err(HeaderError::FixedBit);
    }
    let dcid = Cid::new(reader.bytes(dcid_len)?)?;
    Ok(ShortHeader { dcid, number_offset: reader.position() })
}

/// Where in a written long header the fields are that are needed again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LongLayout {
    /// The Length field, two bytes, zero until [`finish_long`].
    pub length_at: usize,
    /// The packet number.
    pub number_at: usize,
}

/// Writes an Initial, 0-RTT or Handshake header with a packet number of `number_len` bytes (1 to 4). `token` is written in Initial
/// packets only. Positions are those of `w`.
pub fn encode_long(
    w: &mut Writer<'_>,
    spec: &VersionSpec,
    kind: LongKind,
    (dcid, scid): (&Cid, &Cid),
    token: &[u8],
    number: PacketNumber,
    number_len: usize,
) -> LongLayout {
    debug_assert!(kind != LongKind::Retry, "Retry packets have no packet number");
    // The reserved bits are zero: RFC 9000 §17.2, "The value included prior to protection MUST be set to 0."
    w.u8(kind.first_byte(spec) | number_len_bits(number_len));
    encode_ids(w, spec.version, dcid, scid);
    if kind == LongKind::Initial {
        w.varint_bytes(token);
    }
    let length_at = w.len();
    w.varint2(0);
    let number_at = w.len();
    encode_number(w, number, number_len);
    LongLayout { length_at, number_at }
}

/// Fills in the Length field of a packet that ends at `packet_end`, a position in `w` that counts the tag: at most 16383 bytes after
/// the Length field.
pub fn finish_long(w: &mut Writer<'_>, layout: LongLayout, packet_end: usize) {
    let length = packet_end.saturating_sub(layout.number_at);
    w.patch_varint2(layout.length_at, length.try_into().unwrap_or(u16::MAX));
}

/// Writes a short header with a packet number of `number_len` bytes (1 to 4) and returns where the number is.
pub fn encode_short(
    w: &mut Writer<'_>,
    dcid: &Cid,
    spin: bool,
    key_phase: bool,
    number: PacketNumber,
    number_len: usize,
) -> usize {
    let spin = if spin { SPIN } else { 0 };
    let key_phase = if key_phase { KEY_PHASE } else { 0 };
    // The reserved bits are zero: RFC 9000 §17.3.1, "The value included prior to protection MUST be set to 0."
    w.u8(FIXED_BIT | spin | key_phase | number_len_bits(number_len));
    w.bytes(dcid);
    let number_at = w.len();
    encode_number(w, number, number_len);
    number_at
}

/// Writes what all long headers have after their first byte.
pub(super) fn encode_ids(w: &mut Writer<'_>, version: Version, dcid: &Cid, scid: &Cid) {
    w.u32(version.0);
    for id in [dcid, scid] {
        w.u8(id.len() as u8);
        w.bytes(id);
    }
}

fn number_len_bits(number_len: usize) -> u8 {
    (number_len.clamp(1, 4) - 1) as u8
}

#[inline]
fn encode_number(w: &mut Writer<'_>, number: PacketNumber, number_len: usize) {
    // Each length as an array of its own: copies of a fixed size are single instructions.
    let [a, b, c, d] = packet_number::truncate(number, number_len.clamp(1, 4)).to_be_bytes();
    match number_len {
        0 | 1 => w.u8(d),
        2 => w.bytes(&[c, d]),
        3 => w.bytes(&[b, c, d]),
        _ => w.bytes(&[a, b, c, d]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::spec;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn v1() -> &'static VersionSpec {
        spec(Version::V1).unwrap()
    }

    fn unhex(value: &serde_json::Value) -> Vec<u8> {
        let text = value.as_str().unwrap();
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    fn check_initial(
        spec: &VersionSpec,
        sample: &serde_json::Value,
        payload_len: usize,
        dcid: &Cid,
        scid: &Cid,
    ) {
        let number = sample["packet_number"].as_u64().unwrap();
        let number_len = sample["packet_number_len"].as_u64().unwrap() as usize;
        let mut buffer = [0; 1500];
        let mut w = Writer::new(&mut buffer);
        let layout = encode_long(&mut w, spec, LongKind::Initial, (dcid, scid), &[], number, number_len);
        let header_len = w.len();
        finish_long(&mut w, layout, header_len + payload_len + 16);
        assert_eq!(w.written(), unhex(&sample["unprotected_header"]));

        let packet = unhex(&sample["packet"]);
        let header = parse_long(&packet, spec).unwrap();
        assert_eq!((header.kind, header.version), (LongKind::Initial, spec.version));
        assert_eq!((header.dcid, header.scid, header.token), (*dcid, *scid, &[][..]));
        assert_eq!((header.number_offset, header.packet_len), (layout.number_at, packet.len()));
    }

    #[test]
    fn packets_of_rfc_9001_and_rfc_9369() {
        for (version, text) in [
            (Version::V1, include_str!("../../../testdata/rfc9001_appendix_a_v1.json")),
            (Version::V2, include_str!("../../../testdata/rfc9369_appendix_a_v2.json")),
        ] {
            let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
            let spec = spec(version).unwrap();
            let client_id = Cid::new(&unhex(&vectors["client_dcid"])).unwrap();
            let server_id = Cid::new(&unhex(&vectors["retry"]["scid"])).unwrap();
            let sample = &vectors["client_initial"];
            let payload_len = sample["payload_len"].as_u64().unwrap() as usize;
            check_initial(spec, sample, payload_len, &client_id, &Cid::EMPTY);
            let sample = &vectors["server_initial"];
            check_initial(spec, sample, unhex(&sample["payload"]).len(), &Cid::EMPTY, &server_id);

            let sample = &vectors["chacha20_short_header"];
            let number = sample["packet_number"].as_u64().unwrap();
            let mut buffer = [0; 8];
            let mut w = Writer::new(&mut buffer);
            assert_eq!(encode_short(&mut w, &Cid::EMPTY, false, false, number, 3), 1);
            assert_eq!(w.written(), unhex(&sample["unprotected_header"]));
            let parsed = parse_short(&unhex(&sample["packet"]), 0).unwrap();
            assert_eq!(parsed, ShortHeader { dcid: Cid::EMPTY, number_offset: 1 });
        }
    }

    #[test]
    fn invalid_headers_are_refused() {
        let valid = [0xc0, 0, 0, 0, 1, 1, 7, 1, 8, 0, 4, 1, 2, 3, 4, 0xff];
        assert_eq!(parse_long(&valid, v1()).unwrap().packet_len, 15);
        for len in 0..15 {
            assert_eq!(parse_long(&valid[..len], v1()), Err(HeaderError::Truncated));
        }
        let with = |at: usize, byte| {
            let mut packet = valid;
            packet[at] = byte;
            parse_long(&packet, v1()).unwrap_err()
        };
        assert_eq!(with(0, 0x80), HeaderError::FixedBit);
        assert_eq!(with(0, 0x40), HeaderError::WrongForm);
        assert_eq!(with(4, 2), HeaderError::WrongVersion);
        assert_eq!(with(5, 21), HeaderError::CidTooLong);
        assert_eq!(with(7, 21), HeaderError::CidTooLong);
        assert_eq!(with(9, 5), HeaderError::Truncated);
        assert_eq!(parse_short(&[0x00, 1], 1), Err(HeaderError::FixedBit));
        assert_eq!(parse_short(&[0xc0, 1], 1), Err(HeaderError::WrongForm));
        assert_eq!(parse_short(&[0x40], 1), Err(HeaderError::Truncated));
        assert_eq!(parse_short(&[0x40; 30], 21), Err(HeaderError::CidTooLong));
    }

    #[test]
    fn short_header_bits() {
        let mut buffer = [0; 8];
        let mut w = Writer::new(&mut buffer);
        let dcid = Cid::new(&[9, 9]).unwrap();
        assert_eq!(encode_short(&mut w, &dcid, true, true, 0x0102_0304, 4), 3);
        assert_eq!(w.written(), [FIXED_BIT | SPIN | KEY_PHASE | 3, 9, 9, 1, 2, 3, 4]);
    }

    fn cid() -> impl Strategy<Value = Cid> {
        vec(any::<u8>(), 0..=20).prop_map(|bytes| Cid::new(&bytes).unwrap())
    }

    proptest! {
        #[test]
        fn long_headers_read_back(
            v2: bool, kind in 0usize..3, dcid in cid(), scid in cid(), token in vec(any::<u8>(), 0..100),
            number in 0u64..1 << 32, number_len in 1usize..=4, payload in 0usize..300, after in 0usize..9,
        ) {
            let spec = spec(if v2 { Version::V2 } else { Version::V1 }).unwrap();
            let kind = LongKind::ALL[kind];
            let mut buffer = [0; 600];
            let mut w = Writer::new(&mut buffer);
            let layout = encode_long(&mut w, spec, kind, (&dcid, &scid), &token, number, number_len);
            w.zeros(payload);
            let end = w.len();
            finish_long(&mut w, layout, end);
            w.zeros(after);
            let header = parse_long(w.written(), spec).unwrap();
            let token = if kind == LongKind::Initial { &token[..] } else { &[] };
            prop_assert_eq!(header, LongHeader {
                kind, version: spec.version, dcid, scid, token, number_offset: layout.number_at, packet_len: end,
            });
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(mut bytes in vec(any::<u8>(), 0..200), dcid_len in 0usize..30) {
            let _ = parse_short(&bytes, dcid_len);
            let _ = parse_long(&bytes, v1());
            // The same with what leads deeper into the parser.
            for (byte, fixed) in bytes.iter_mut().zip([None, Some(0), Some(0), Some(0), Some(1), Some(4)]) {
                *byte = fixed.unwrap_or(*byte | 0xc0);
            }
            if let Ok(header) = parse_long(&bytes, v1()) {
                prop_assert!(header.number_offset <= header.packet_len && header.packet_len <= bytes.len());
            }
        }
    }
}
