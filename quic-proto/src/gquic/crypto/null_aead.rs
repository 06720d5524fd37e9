//! Packet protection of the null level: a hash in front of the payload, which anybody can compute.
//!
//! The hash covers the header, the payload and the name of the end that sends; its lowest 96 bits, little-endian, are the tag. It finds
//! corruption, and that a packet is thrown back at its sender. Invariant: what does not open stays as it is. No timers.

use super::fnv::Fnv128;
use crate::crypto::{NotAuthentic, PacketKey};
use crate::id::Side;

const TAG_LEN: usize = 12;

/// Protects what one end sends before there are keys.
#[derive(Clone, Copy, Debug)]
pub struct NullAead {
    sender: Side,
}

impl NullAead {
    /// For the packets that `sender` sends.
    pub const fn new(sender: Side) -> Self {
        Self { sender }
    }

    fn tag(self, header: &[u8], payload: &[u8]) -> [u8; TAG_LEN] {
        let sender: &[u8] = if self.sender.is_client() { b"Client" } else { b"Server" };
        let hash = Fnv128::default().with(header).with(payload).with(sender).finish();
        *hash.to_le_bytes().first_chunk().expect("invariant: 16 bytes are more than 12")
    }
}

impl PacketKey for NullAead {
    fn seal(&self, _number: u64, packet: &mut [u8], header_len: usize) {
        let (header, body) = packet.split_at_mut(header_len);
        let payload_len = body.len() - TAG_LEN;
        let tag = self.tag(header, &body[..payload_len]);
        body.copy_within(..payload_len, TAG_LEN);
        body[..TAG_LEN].copy_from_slice(&tag);
    }

    fn open(&self, _number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        let (tag, plain) = payload.split_first_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
        if *tag != self.tag(header, plain) {
            return Err(NotAuthentic);
        }
        payload.copy_within(TAG_LEN.., 0);
        Ok(payload.len() - TAG_LEN)
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    /// There is no key to wear out.
    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::crypto::aead12::tests::{seal, what_was_changed_does_not_open};
    use crate::gquic::wire::vectors::{bytes, units};

    #[test]
    fn unit_vectors() {
        for case in units("null_aead") {
            let key = NullAead::new(if case["sender"] == "Client" { Side::Client } else { Side::Server });
            let (header, plain) = (bytes(&case["associated_data"]), bytes(&case["plaintext"]));
            let mut sealed = seal(&key, 1, &header, &plain);
            assert_eq!(sealed, bytes(&case["sealed"]), "{case}");
            assert_eq!(key.open(1, &header, &mut sealed), Ok(plain.len()));
            assert_eq!(sealed[..plain.len()], plain);
        }
    }

    #[test]
    fn a_recorded_client_hello() {
        let text = include_str!("../../../testdata/gquic/gquic_q044_chlo.json");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        let (header, plain) = (bytes(&json["header"]), bytes(&json["plaintext"]));
        let sealed = seal(&NullAead::new(Side::Client), 1, &header, &plain);
        assert_eq!([header.clone(), sealed.clone()].concat(), bytes(&json["packet"]));
        assert_eq!(sealed[..12], bytes(&json["tag"])[..]);
        let thrown_back = seal(&NullAead::new(Side::Server), 1, &header, &plain);
        assert_eq!(thrown_back[..12], bytes(&json["server_direction_tag_of_same_bytes"])[..]);
        assert_eq!(NullAead::new(Side::Server).open(1, &header, &mut sealed.clone()), Err(NotAuthentic));
    }

    #[test]
    fn every_input_counts() {
        what_was_changed_does_not_open(&NullAead::new(Side::Client));
    }
}
