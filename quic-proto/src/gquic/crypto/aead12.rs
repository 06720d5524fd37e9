//! Packet protection with keys: AES-128-GCM whose tag is cut to 12 bytes.
//!
//! The nonce is the 4 bytes of IV and the packet number, little-endian. There is no key update, and this version knows no limit of what a
//! key may protect.
//!
//! The AEAD is ring's, which makes tags of 16 bytes only. To seal, that tag is cut. To open, ring cannot help as it is: it would want the
//! four bytes that were cut. But GCM encrypts by adding a key stream, so that sealing the ciphertext gives the plaintext (with a tag that is
//! good for nothing), and sealing that gives the ciphertext again, with the tag to compare. Nothing leaves this module before it was
//! compared. Two passes of ring's code cost less than one of a portable implementation that can cut tags.
//!
//! Invariant: what does not open stays as it is, since the same packet is tried with the keys of several levels. No timers.

use crate::crypto::{NotAuthentic, PacketKey};
use ::ring::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ::subtle::ConstantTimeEq;

/// Length of a tag.
pub const TAG_LEN: usize = 12;
/// Length of a key.
pub const KEY_LEN: usize = 16;
/// Length of the part of the nonce that is the same for all packets.
pub const IV_LEN: usize = 4;
/// The most bytes of plaintext that are opened, for there is an array of that size on the stack. No peer reads datagrams of more than
/// 1472 bytes.
const MAX_PLAIN_LEN: usize = 2048;

/// Protects the packets of one level and one direction.
pub struct Aes128Gcm12 {
    key: LessSafeKey,
    iv: [u8; IV_LEN],
}

impl Aes128Gcm12 {
    /// From a key and the start of the nonces.
    pub fn new(key: &[u8; KEY_LEN], iv: [u8; IV_LEN]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("invariant: AES-128 keys have 16 bytes");
        Self { key: LessSafeKey::new(key), iv }
    }

    /// Adds the key stream of the packet `number` to `data`, and returns the tag of what came out.
    fn apply(&self, number: u64, header: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let mut nonce = [0; NONCE_LEN];
        let (iv, counter) = nonce.split_at_mut(IV_LEN);
        iv.copy_from_slice(&self.iv);
        counter.copy_from_slice(&number.to_le_bytes());
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(header), data)
            .expect("invariant: a packet is shorter than the AEAD's limit of 64 GiB");
        *tag.as_ref().first_chunk().expect("invariant: GCM's tag has 16 bytes")
    }
}

impl PacketKey for Aes128Gcm12 {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let (header, payload) = packet.split_at_mut(header_len);
        let (payload, tag) = payload.split_at_mut(payload.len() - TAG_LEN);
        tag.copy_from_slice(&self.apply(number, header, payload));
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        let (data, tag) = payload.split_last_chunk_mut::<TAG_LEN>().ok_or(NotAuthentic)?;
        let mut again = [0; MAX_PLAIN_LEN];
        let again = again.get_mut(..data.len()).ok_or(NotAuthentic)?;
        self.apply(number, &[], data);
        again.copy_from_slice(data);
        let expected = self.apply(number, header, again);
        if !bool::from(expected.ct_eq(tag)) {
            data.copy_from_slice(again);
            return Err(NotAuthentic);
        }
        Ok(data.len())
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        u64::MAX
    }

    fn integrity_limit(&self) -> u64 {
        u64::MAX
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, units};
    use proptest::prelude::*;

    /// What stands behind the header of a sealed packet.
    pub(in crate::gquic::crypto) fn seal(
        key: &dyn PacketKey,
        number: u64,
        header: &[u8],
        plain: &[u8],
    ) -> Vec<u8> {
        let mut packet = [header, plain, &[0; TAG_LEN]].concat();
        key.seal(number, &mut packet, header.len());
        assert_eq!(&packet[..header.len()], header);
        packet.split_off(header.len())
    }

    /// Every bit of header, payload and tag is authenticated; what does not open is left as it was, and then opens if it is put right.
    pub(in crate::gquic::crypto) fn what_was_changed_does_not_open(key: &dyn PacketKey) {
        let (header, plain) = (*b"header", *b"some frames, of more than one block");
        let sealed = seal(key, 7, &header, &plain);
        for bit in 0..8 * sealed.len() {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let before = changed.clone();
            assert_eq!(key.open(7, &header, &mut changed), Err(NotAuthentic));
            assert_eq!(changed, before);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(7, &header, &mut changed), Ok(plain.len()));
            assert_eq!(changed[..plain.len()], plain);
        }
        for bit in 0..8 * header.len() {
            let mut header = header;
            header[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.open(7, &header, &mut sealed.clone()), Err(NotAuthentic));
        }
        for len in 0..TAG_LEN {
            assert_eq!(key.open(7, &header, &mut sealed[..len].to_vec()), Err(NotAuthentic));
        }
    }

    #[test]
    fn unit_vectors() {
        for case in units("aes_gcm_12") {
            let key = Aes128Gcm12::new(
                &bytes(&case["key"]).try_into().unwrap(),
                bytes(&case["iv"]).try_into().unwrap(),
            );
            let number = case["packet_number"].as_u64().unwrap();
            let (header, plain) = (bytes(&case["associated_data"]), bytes(&case["plaintext"]));
            let mut sealed = seal(&key, number, &header, &plain);
            assert_eq!(sealed, bytes(&case["sealed"]), "{case}");
            assert_eq!(key.open(number + 1, &header, &mut sealed), Err(NotAuthentic));
            assert_eq!(key.open(number, &header, &mut sealed), Ok(plain.len()));
            assert_eq!(sealed[..plain.len()], plain);
        }
    }

    #[test]
    fn every_input_counts() {
        what_was_changed_does_not_open(&Aes128Gcm12::new(&[7; 16], [1; 4]));
    }

    #[test]
    fn what_is_too_long_is_not_opened() {
        let key = Aes128Gcm12::new(&[7; 16], [1; 4]);
        for (len, opens) in [(MAX_PLAIN_LEN, true), (MAX_PLAIN_LEN + 1, false)] {
            let mut sealed = seal(&key, 1, b"", &vec![1; len]);
            assert_eq!(key.open(1, b"", &mut sealed).is_ok(), opens);
        }
    }

    proptest! {
        #[test]
        fn sealed_packets_open(key: [u8; 16], iv: [u8; 4], number: u64, header: [u8; 13], plain: Vec<u8>) {
            let key = Aes128Gcm12::new(&key, iv);
            let mut sealed = seal(&key, number, &header, &plain);
            prop_assert_eq!(sealed.len(), plain.len() + TAG_LEN);
            prop_assert_eq!(key.open(number, &header, &mut sealed), Ok(plain.len()));
            prop_assert_eq!(&sealed[..plain.len()], &plain[..]);
        }
    }
}
