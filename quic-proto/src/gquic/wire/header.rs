//! Packet headers.
//!
//! Owns everything before the protected payload: the long header with its diversification nonce, and the short header. The whole header is
//! the associated data of the packet's AEAD, and nothing of it is hidden, so that a header is read at once.
//!
//! The type of a long header does not tell how the packet is protected: a client's Handshake packet is of the null or of the initial
//! level. Only the sender decides whether there is a nonce, and whether a short header has a connection id.
//!
//! Invariants: in a parsed header `len` is at most the length of the packet; its ids have 0 or 4 to 18 bytes. No timers.

use crate::codec::{Reader, UnexpectedEnd, Writer, packet_number};
use crate::id::{Cid, PacketNumber, Side};
use crate::invariants::Version;

/// "Q044".
pub const VERSION: Version = Version::Q044;
/// Length of the ids that clients choose; the only ones in use.
pub const CID_LEN: usize = 8;
/// Length of a diversification nonce.
pub const NONCE_LEN: usize = 32;
/// Length of a packet number in a long header.
pub const LONG_NUMBER_LEN: usize = 4;

/// Header form: 1 in long headers.
const LONG_FORM: u8 = 0x80;
/// In a short header two reserved bits are 1, and the bit that says in a public header of Q043 and before that there is an id is 0.
const SHORT_MASK: u8 = 0x38;
const SHORT_BITS: u8 = 0x30;
const NUMBER_LEN_MASK: u8 = 0x03;

/// The types of packets with a long header.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LongType {
    /// quic-go's client sends its very first packet so, Chromium every packet of the null level.
    Initial = 0x7f,
    /// The packets of the null level that are not Initial, and a client's packets of the initial level.
    Handshake = 0x7d,
    /// A server's packets of the initial level, with a nonce; Chromium's client sends its packets of that level so, without one.
    ZeroRtt = 0x7c,
}

impl LongType {
    /// The type in the first byte; Retry (0x7e) has no use in this version.
    const fn of(first: u8) -> Option<Self> {
        match first & !LONG_FORM {
            0x7f => Some(Self::Initial),
            0x7d => Some(Self::Handshake),
            0x7c => Some(Self::ZeroRtt),
            _ => None,
        }
    }
}

/// A long header.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongHeader<'a> {
    /// The type of the packet.
    pub kind: LongType,
    /// Destination connection id.
    pub dcid: Cid,
    /// Source connection id.
    pub scid: Cid,
    /// The packet number.
    pub number: TruncatedNumber,
    /// What diversifies the server's initial keys; in its 0-RTT packets only.
    pub nonce: Option<&'a [u8; NONCE_LEN]>,
    /// Where the protected payload starts.
    pub len: usize,
}

/// A short header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShortHeader {
    /// Destination connection id; a server sends none.
    pub dcid: Cid,
    /// The packet number.
    pub number: TruncatedNumber,
    /// Where the protected payload starts.
    pub len: usize,
}

/// A packet number as it is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TruncatedNumber {
    /// The lowest bytes.
    pub low: u32,
    /// How many they are: 1, 2 or 4.
    pub len: usize,
}

impl TruncatedNumber {
    /// The whole number: the nearest to the one after `largest_received`, which counts packets that were decrypted; zero if none was.
    /// Packets are numbered from 1: nobody has sent the number 0.
    pub const fn expand(self, largest_received: PacketNumber) -> PacketNumber {
        packet_number::decode(self.low, self.len, largest_received.saturating_add(1))
    }
}

/// A header that is not valid; its packet is to be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// It ends early.
    #[error("the packet is truncated")]
    Truncated,
    /// The other header form was expected, or the packet is none of this version.
    #[error("the header has another form")]
    WrongForm,
    /// It is of another version.
    #[error("the packet is of another version")]
    WrongVersion,
    /// A type without meaning.
    #[error("the packet type {0:#04x} has no meaning")]
    Type(u8),
    /// A packet number of a length that does not exist.
    #[error("the length of the packet number is invalid")]
    NumberLength,
}

impl From<UnexpectedEnd> for HeaderError {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

/// Parses the long header of a packet that was sent by the end `from`.
///
/// # Errors
/// If there is no valid one of this version.
pub fn parse_long(packet: &[u8], from: Side) -> Result<LongHeader<'_>, HeaderError> {
    let mut r = Reader::new(packet);
    let first = r.u8()?;
    if first & LONG_FORM == 0 {
        return Err(HeaderError::WrongForm);
    }
    if r.u32()? != VERSION.0 {
        return Err(HeaderError::WrongVersion);
    }
    let kind = LongType::of(first).ok_or(HeaderError::Type(first & !LONG_FORM))?;
    let (dcid, scid) = read_ids(&mut r)?;
    let number = TruncatedNumber { low: r.u32()?, len: LONG_NUMBER_LEN };
    let nonce = if kind == LongType::ZeroRtt && from.is_server() {
        let nonce = r.bytes(NONCE_LEN)?;
        nonce.first_chunk()
    } else {
        None
    };
    Ok(LongHeader { kind, dcid, scid, number, nonce, len: r.position() })
}

/// Parses the short header of a packet that was sent by the end `from`.
///
/// # Errors
/// If there is no valid one.
pub fn parse_short(packet: &[u8], from: Side) -> Result<ShortHeader, HeaderError> {
    let mut r = Reader::new(packet);
    let first = r.u8()?;
    if first & LONG_FORM != 0 || first & SHORT_MASK != SHORT_BITS {
        return Err(HeaderError::WrongForm);
    }
    let dcid = if from.is_client() { read_id(&mut r, CID_LEN)? } else { Cid::EMPTY };
    let (low, len) = match first & NUMBER_LEN_MASK {
        0 => (u32::from(r.u8()?), 1),
        1 => (u32::from(r.u16()?), 2),
        2 => (r.u32()?, 4),
        _ => return Err(HeaderError::NumberLength),
    };
    Ok(ShortHeader { dcid, number: TruncatedNumber { low, len }, len: r.position() })
}

/// Writes a long header. A `nonce` goes into the 0-RTT packets of a server, and into all of them.
pub fn encode_long(
    w: &mut Writer<'_>,
    kind: LongType,
    dcid: &Cid,
    scid: &Cid,
    number: PacketNumber,
    nonce: Option<&[u8; NONCE_LEN]>,
) {
    debug_assert!(nonce.is_none() || kind == LongType::ZeroRtt);
    w.u8(LONG_FORM | kind as u8);
    w.u32(VERSION.0);
    write_ids(w, dcid, scid);
    w.u32(packet_number::truncate(number, LONG_NUMBER_LEN));
    if let Some(nonce) = nonce {
        w.bytes(nonce);
    }
}

/// Writes a short header. `dcid` is empty in a server's packets; `number_len` is 1, 2 or 4, as [`short_number_len`] says.
pub fn encode_short(w: &mut Writer<'_>, dcid: &Cid, number: PacketNumber, number_len: usize) {
    let low = packet_number::truncate(number, number_len);
    w.u8(SHORT_BITS | (number_len / 2) as u8);
    w.bytes(dcid);
    match number_len {
        1 => w.u8(low as u8),
        2 => w.u16(low as u16),
        _ => w.u32(low),
    }
}

/// How many bytes a packet number takes in a short header: two, or four if it is far ahead of the lowest one that is not acknowledged.
pub const fn short_number_len(number: PacketNumber, least_unacked: PacketNumber) -> usize {
    if number.saturating_sub(least_unacked) < 1 << 15 { 2 } else { 4 }
}

/// Reads the lengths of both ids, destination first, and the ids. A half-byte `n` means `n + 3` bytes, but 0 none.
pub(super) fn read_ids(r: &mut Reader<'_>) -> Result<(Cid, Cid), UnexpectedEnd> {
    let lengths = r.u8()?;
    let len = |half: u8| if half == 0 { 0 } else { usize::from(half) + 3 };
    Ok((read_id(r, len(lengths >> 4))?, read_id(r, len(lengths & 0x0f))?))
}

/// Writes the lengths of both ids and the ids; they have 0 or 4 to 18 bytes.
fn write_ids(w: &mut Writer<'_>, dcid: &Cid, scid: &Cid) {
    let half = |id: &Cid| {
        debug_assert!(matches!(id.len(), 0 | 4..=18), "such an id has no length on the wire");
        id.len().saturating_sub(3) as u8
    };
    w.u8(half(dcid) << 4 | half(scid));
    w.bytes(dcid);
    w.bytes(scid);
}

fn read_id(r: &mut Reader<'_>, len: usize) -> Result<Cid, UnexpectedEnd> {
    // No length that is asked for is too long for an id.
    Cid::new(r.bytes(len)?).map_err(|_| UnexpectedEnd)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, units};
    use proptest::prelude::*;

    fn cid(value: &serde_json::Value) -> Cid {
        Cid::new(&bytes(value)).unwrap()
    }

    #[test]
    fn unit_vectors_read_and_written() {
        for case in units("header_read") {
            let packet = bytes(&case["encoded"]);
            let from = if case["sender"] == "Client" { Side::Client } else { Side::Server };
            let header = &case["header"];
            let mut buffer = [0; 64];
            let mut w = Writer::new(&mut buffer);
            let (number, len) = if packet[0] & 0x80 != 0 {
                let Ok(long) = parse_long(&packet, from) else {
                    assert!(case["error"].is_string(), "{case}");
                    continue;
                };
                assert_eq!(
                    format!("{:?}", long.kind).to_uppercase(),
                    header["type"].as_str().unwrap().replace('_', "")
                );
                assert_eq!(header["version"], VERSION.0);
                assert_eq!((long.dcid, long.scid), (cid(&header["dcid"]), cid(&header["scid"])));
                let nonce = header.get("diversification_nonce").map(bytes);
                assert_eq!(long.nonce.map(|nonce| nonce.to_vec()), nonce);
                encode_long(&mut w, long.kind, &long.dcid, &long.scid, long.number.low.into(), long.nonce);
                (long.number, long.len)
            } else {
                let Ok(short) = parse_short(&packet, from) else {
                    assert!(case["error"].is_string(), "{case}");
                    continue;
                };
                assert_eq!(short.dcid, cid(&header["dcid"]));
                encode_short(&mut w, &short.dcid, short.number.low.into(), short.number.len);
                (short.number, short.len)
            };
            assert!(case["error"].is_null(), "{case}");
            assert_eq!(len, header["header_len"].as_u64().unwrap() as usize);
            assert_eq!(number.len, header["packet_number_len"].as_u64().unwrap() as usize);
            assert_eq!(number.low, header["packet_number_on_wire"]);
            assert_eq!(w.written(), packet);
        }
    }

    #[test]
    fn packet_numbers_are_expanded() {
        for case in units("packet_number") {
            let field = |name: &str| case[name].as_u64().unwrap();
            let wire = TruncatedNumber { low: field("wire") as u32, len: field("wire_len") as usize };
            let largest = field("largest_received");
            let full = wire.expand(largest);
            if case["tie"] == true {
                let distance = |number: u64| number.abs_diff(largest + 1);
                assert_eq!(distance(full), distance(field("full")), "{case}");
            } else {
                assert_eq!(full, field("full"), "{case}");
            }
        }
    }

    #[test]
    fn packet_numbers_get_the_length_they_need() {
        for case in units("header_packet_number_len") {
            let field = |name: &str| case[name].as_u64().unwrap();
            let len = short_number_len(field("packet_number"), field("least_unacked"));
            assert_eq!(len as u64, field("len"), "{case}");
        }
    }

    #[test]
    fn other_packets_are_refused() {
        let retry = [0xfe, 0x51, 0x30, 0x34, 0x34, 0x00, 0, 0, 0, 1];
        assert_eq!(parse_long(&retry, Side::Server), Err(HeaderError::Type(0x7e)));
        let v1 = [0xff, 0, 0, 0, 1, 0, 0, 0, 0, 0];
        assert_eq!(parse_long(&v1, Side::Client), Err(HeaderError::WrongVersion));
        assert_eq!(parse_long(&[0x30], Side::Client), Err(HeaderError::WrongForm));
        // The public header of Q043, a short header of QUIC v1, a long header.
        for first in [0x09, 0x38, 0x20, 0x10, 0x43, 0xf0] {
            assert_eq!(parse_short(&[first; 20], Side::Client), Err(HeaderError::WrongForm), "{first:#x}");
        }
        // A server cuts the id off, and its 0-RTT packets have a nonce.
        assert_eq!(parse_short(&[0x30, 7], Side::Server).map(|short| short.len), Ok(2));
        let mut zero_rtt = vec![0xfc, 0x51, 0x30, 0x34, 0x34, 0x00, 0, 0, 0, 1];
        zero_rtt.extend([9; 31]);
        assert_eq!(parse_long(&zero_rtt, Side::Server), Err(HeaderError::Truncated));
    }

    fn an_id() -> impl Strategy<Value = Cid> {
        let lengths = prop_oneof![Just(0usize), 4usize..=18];
        lengths.prop_flat_map(|len| {
            proptest::collection::vec(any::<u8>(), len).prop_map(|bytes| Cid::new(&bytes).unwrap())
        })
    }

    proptest! {
        #[test]
        fn long_headers_read_back(
            kind in prop_oneof![Just(LongType::Initial), Just(LongType::Handshake), Just(LongType::ZeroRtt)],
            dcid in an_id(), scid in an_id(), number in 0u64..1 << 62, nonce: [u8; NONCE_LEN], server: bool,
        ) {
            let from = if server { Side::Server } else { Side::Client };
            let nonce = (server && kind == LongType::ZeroRtt).then_some(nonce);
            let mut buffer = [0; 100];
            let mut w = Writer::new(&mut buffer);
            encode_long(&mut w, kind, &dcid, &scid, number, nonce.as_ref());
            let packet = w.written();
            let long = parse_long(packet, from).unwrap();
            prop_assert_eq!((long.kind, long.dcid, long.scid, long.len), (kind, dcid, scid, packet.len()));
            prop_assert_eq!(long.nonce, nonce.as_ref());
            prop_assert_eq!(long.number.expand(number.saturating_sub(1)), number);
            for len in 0..packet.len() {
                prop_assert_eq!(parse_long(&packet[..len], from), Err(HeaderError::Truncated));
            }
        }

        #[test]
        fn short_headers_read_back(least in 1u64..1 << 61, ahead in 0u64..1 << 31, server: bool) {
            let (from, dcid) = if server { (Side::Server, Cid::EMPTY) } else { (Side::Client, Cid::new(&[7; 8]).unwrap()) };
            let number = least + ahead;
            let mut buffer = [0; 20];
            let mut w = Writer::new(&mut buffer);
            encode_short(&mut w, &dcid, number, short_number_len(number, least));
            let short = parse_short(w.written(), from).unwrap();
            prop_assert_eq!((short.dcid, short.len), (dcid, w.len()));
            prop_assert_eq!(short.number.expand(number - 1), number);
            prop_assert_eq!(short.number.expand(least - 1), number, "nothing of what is unacknowledged arrived");
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(packet in proptest::collection::vec(any::<u8>(), 0..80), server: bool) {
            let from = if server { Side::Server } else { Side::Client };
            if let Ok(short) = parse_short(&packet, from) {
                prop_assert!(short.len <= packet.len());
            }
            let mut packet = packet;
            if let Some(version) = packet.get_mut(1..5) {
                version.copy_from_slice(&VERSION.0.to_be_bytes());
            }
            if let Ok(long) = parse_long(&packet, from) {
                prop_assert!(long.len <= packet.len());
            }
        }
    }
}
