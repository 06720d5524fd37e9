//! Applying header protection and taking it off (RFC 9001 §5.4).
//!
//! The first byte's low bits (4 of a long header, 5 of a short one) and the packet number are masked with a keyed function of 16
//! bytes of the sealed payload. What comes out of [`unprotect`] is not authentic until the packet is opened: RFC 9001 §9.5 asks
//! that until then nothing be decided by it, or else its timing would tell what is under the mask.

use super::HeaderKey;

/// Length of a sample in bytes, for all ciphers of TLS 1.3 (RFC 9001 §5.4.3, §5.4.4).
pub const SAMPLE_LEN: usize = 16;

/// The sample is taken as if the packet number had the longest encoding, 4 bytes (RFC 9001 §5.4.2).
pub const SAMPLE_OFFSET: usize = 4;

/// What was under the mask. Not authenticated yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unprotected {
    /// The first byte of the packet.
    pub first: u8,
    /// Length of the packet number, 1 to 4 bytes.
    pub number_len: usize,
    /// The packet number as it was sent: its low `8 * number_len` bits.
    pub truncated: u32,
}

/// Masks the header of a sealed packet whose number of `number_len` bytes starts at `number_at`.
///
/// The sender must have made the packet long enough to be sampled (RFC 9001 §5.4.2): number and sealed payload together have at
/// least 4 + 16 bytes.
pub fn protect(key: &dyn HeaderKey, packet: &mut [u8], number_at: usize, number_len: usize) {
    let sample = sample(packet, number_at).expect("invariant: we pad packets until they can be sampled");
    let mask = key.mask(&sample);
    packet[0] ^= mask[0] & masked_bits(packet[0]);
    for (byte, mask) in packet[number_at..number_at + number_len].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
    }
}

/// Takes the mask off the header of a packet that ends with `packet` and whose number starts at `number_at`.
///
/// `None`, with the packet unchanged, if it is too short. RFC 9001 §5.4.2: "An endpoint MUST discard packets that are not long
/// enough to contain a complete sample."
pub fn unprotect(key: &dyn HeaderKey, packet: &mut [u8], number_at: usize) -> Option<Unprotected> {
    let mask = key.mask(&sample(packet, number_at)?);
    packet[0] ^= mask[0] & masked_bits(packet[0]);
    let first = packet[0];
    let number_len = usize::from(first & 0b11) + 1;
    let mut truncated = 0;
    for (byte, mask) in packet[number_at..number_at + number_len].iter_mut().zip(&mask[1..]) {
        *byte ^= mask;
        truncated = truncated << 8 | u32::from(*byte);
    }
    Some(Unprotected { first, number_len, truncated })
}

/// Header form, version-specific or not, is never masked, so that both ends read the same bit here.
const fn masked_bits(first: u8) -> u8 {
    if first & 0x80 == 0 { 0x1f } else { 0x0f }
}

fn sample(packet: &[u8], number_at: usize) -> Option<[u8; SAMPLE_LEN]> {
    packet.get(number_at.checked_add(SAMPLE_OFFSET)?..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    struct Fixed([u8; 5]);

    impl HeaderKey for Fixed {
        fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
            self.0.map(|byte| byte ^ sample[15])
        }
    }

    #[test]
    fn too_short_to_sample() {
        let key = Fixed([0xff; 5]);
        let mut packet = [0x40; 1 + 4 + 16];
        assert!(unprotect(&key, &mut packet, 1).is_some());
        let mut packet = [0x40; 1 + 4 + 15];
        assert_eq!(unprotect(&key, &mut packet, 1), None);
        assert_eq!(packet, [0x40; 20]);
        assert_eq!(unprotect(&key, &mut packet, 21), None);
        assert_eq!(unprotect(&key, &mut packet, usize::MAX), None);
        assert_eq!(unprotect(&key, &mut [], 0), None);
    }

    proptest! {
        #[test]
        fn what_was_masked_comes_back(first: u8, number: u32, mask: [u8; 5], tail: [u8; 24], at in 1usize..30) {
            let number_len = usize::from(first & 3) + 1;
            let mut packet = vec![0xaa; at];
            packet[0] = first;
            packet.extend_from_slice(&number.to_be_bytes()[4 - number_len..]);
            packet.extend_from_slice(&tail);
            let before = packet.clone();
            protect(&Fixed(mask), &mut packet, at, number_len);
            // Only the low bits and the number may change.
            let keep = if first & 0x80 == 0 { 0xe0 } else { 0xf0 };
            prop_assert_eq!(packet[0] & keep, first & keep);
            prop_assert_eq!(&packet[1..at], &before[1..at]);
            prop_assert_eq!(&packet[at + number_len..], &before[at + number_len..]);
            let opened = unprotect(&Fixed(mask), &mut packet, at).unwrap();
            prop_assert_eq!(&packet, &before);
            let low = (u64::from(number) & ((1u64 << (8 * number_len)) - 1)) as u32;
            prop_assert_eq!(opened, Unprotected { first, number_len, truncated: low });
        }
    }
}
