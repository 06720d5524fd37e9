//! Public resets: a server that does not know a connection says so.
//!
//! Owns the packet: a public header with the reset flag, the connection id, and a message `PRST` with the proof of a nonce and the number
//! of the rejected packet. quic-go leaves out the id in Q044, and cannot read its own packet then; both shapes are read here. Nothing
//! proves where a reset comes from, so that it counts only as long as the handshake is not complete. No timers.

use super::header::CID_LEN;
use super::message::{Builder, Message, tags};
use super::negotiation::{PUBLIC_CID, PUBLIC_RESET};
use crate::id::PacketNumber;

/// A public reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublicReset {
    /// The connection that is reset; `None` in the shape that quic-go gives it.
    pub cid: Option<[u8; CID_LEN]>,
    /// Meant to be the nonce of the connection; zero in practice.
    pub nonce: u64,
    /// The number of the packet that was rejected.
    pub rejected: PacketNumber,
}

impl PublicReset {
    /// The packet.
    pub fn encode(&self) -> Vec<u8> {
        let mut packet = vec![PUBLIC_RESET | PUBLIC_CID];
        packet.extend(self.cid.into_iter().flatten());
        let mut message = Builder::new(tags::PRST);
        message.put(tags::RNON, self.nonce.to_le_bytes());
        message.put(tags::RSEQ, self.rejected.to_le_bytes());
        packet.extend(message.finish());
        packet
    }

    /// Parses a packet; `None` if it is no public reset.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let (first, rest) = packet.split_first()?;
        if first & (0x80 | PUBLIC_RESET | PUBLIC_CID) != PUBLIC_RESET | PUBLIC_CID {
            return None;
        }
        // An id that reads like the start of a message is no problem: behind it there is another message.
        let with_id = rest.split_first_chunk().and_then(|(cid, rest)| Self::parse_message(rest, Some(*cid)));
        with_id.or_else(|| Self::parse_message(rest, None))
    }

    fn parse_message(bytes: &[u8], cid: Option<[u8; CID_LEN]>) -> Option<Self> {
        let message = Message::parse(bytes).ok()??;
        if message.tag() != tags::PRST {
            return None;
        }
        Some(Self { cid, nonce: message.u64(tags::RNON)?, rejected: message.u64(tags::RSEQ)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, units};
    use hex_literal::hex;
    use proptest::prelude::*;

    #[test]
    fn unit_vectors() {
        for case in units("public_reset") {
            let packet = bytes(&case["encoded"]);
            let reset = PublicReset {
                cid: Some(bytes(&case["connection_id"]).try_into().unwrap()),
                nonce: case["nonce_proof"].as_u64().unwrap(),
                rejected: case["rejected_packet_number"].as_u64().unwrap(),
            };
            assert_eq!(reset.encode(), packet);
            assert_eq!(PublicReset::parse(&packet), Some(reset));
        }
    }

    #[test]
    fn the_shape_of_quic_go() {
        let packet =
            hex!("0a 50525354 02000000 524e4f4e08000000 5253455110000000 0000000000000000 0100000000000000");
        let reset = PublicReset { cid: None, nonce: 0, rejected: 1 };
        assert_eq!(PublicReset::parse(&packet), Some(reset));
        assert_eq!(reset.encode(), packet);
        for len in 0..packet.len() {
            assert_eq!(PublicReset::parse(&packet[..len]), None);
        }
    }

    proptest! {
        #[test]
        fn resets_read_back(cid: Option<[u8; 8]>, nonce: u64, rejected: u64) {
            let reset = PublicReset { cid, nonce, rejected };
            prop_assert_eq!(PublicReset::parse(&reset.encode()), Some(reset));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(rest in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = PublicReset::parse(&[&[0x0a], &rest[..]].concat());
        }
    }
}
