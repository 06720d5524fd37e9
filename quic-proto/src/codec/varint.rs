//! Variable-length integers, RFC 9000 §16: the two high bits of the first byte say whether 1, 2, 4 or 8 bytes follow the same number.
//!
//! Invariant: what [`encode`] writes, [`decode`] reads back, and it takes [`size`] bytes. No timers.

use crate::error::MAX_VARINT;

/// The largest number that can be encoded, 2^62-1.
pub const MAX: u64 = MAX_VARINT;

/// How many bytes the shortest encoding of `value` has: 1, 2, 4 or 8. Numbers beyond [`MAX`] count as 8, see [`encode`].
pub const fn size(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Writes the shortest encoding of `value` to the start of `out` and returns its length; `None`, with nothing written, if it does not
/// fit.
///
/// Callers keep `value` at most [`MAX`]: types and limits further up see to it. Should one fail to, a debug build stops here and a
/// release build writes [`MAX`], so that at least what follows stays in its place.
pub fn encode(value: u64, out: &mut [u8]) -> Option<usize> {
    debug_assert!(value <= MAX, "{value} does not fit a variable-length integer");
    let value = if value > MAX { MAX } else { value };
    // The two high bits are log2 of the length. One fixed-size store a length is much cheaper than a copy of variable length.
    let len = size(value);
    match len {
        1 => *out.first_mut()? = value as u8,
        2 => *out.first_chunk_mut()? = (value as u16 | 0x4000).to_be_bytes(),
        4 => *out.first_chunk_mut()? = (value as u32 | 0x8000_0000).to_be_bytes(),
        _ => *out.first_chunk_mut()? = (value | 0xc000_0000_0000_0000).to_be_bytes(),
    }
    Some(len)
}

/// Writes `value` in exactly two bytes, although it may be smaller than 64; for fields that are filled in later.
///
/// At most 16383; larger values are a bug (debug builds stop) and become 16383.
pub const fn two_bytes(value: u16) -> [u8; 2] {
    debug_assert!(value <= 0x3fff);
    let value = if value > 0x3fff { 0x3fff } else { value };
    (value | 0x4000).to_be_bytes()
}

/// Reads a number from the start of `bytes`: the number and the length of its encoding. `None` if there are too few bytes. Longer
/// encodings than necessary are valid (RFC 9000 §16; frame types are the exception that the frame parser makes).
pub fn decode(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    Some(match first >> 6 {
        0 => (u64::from(first), 1),
        1 => (u64::from(u16::from_be_bytes(*bytes.first_chunk()?) & 0x3fff), 2),
        2 => (u64::from(u32::from_be_bytes(*bytes.first_chunk()?) & 0x3fff_ffff), 4),
        _ => (u64::from_be_bytes(*bytes.first_chunk()?) & MAX, 8),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vectors() -> serde_json::Value {
        serde_json::from_str(include_str!("../../testdata/rfc9000_appendix_a_numbers.json")).unwrap()
    }

    fn unhex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn samples_of_appendix_a1() {
        for sample in vectors()["varint"].as_array().unwrap() {
            let bytes = unhex(sample["bytes"].as_str().unwrap());
            let value: u64 = sample["value"].as_str().unwrap().parse().unwrap();
            assert_eq!(decode(&bytes), Some((value, bytes.len())));
            let mut out = [0; 8];
            let len = encode(value, &mut out).unwrap();
            if sample.get("note").is_none() {
                assert_eq!(out[..len], bytes[..]);
            }
            assert_eq!(decode(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn bounds_of_each_length() {
        for bound in vectors()["varint_bounds"].as_array().unwrap() {
            let value: u64 = bound["value"].as_str().unwrap().parse().unwrap();
            match bound["len"].as_u64() {
                Some(len) => assert_eq!(size(value) as u64, len),
                None => assert!(value > MAX),
            }
        }
    }

    #[test]
    fn two_byte_form() {
        assert_eq!(decode(&two_bytes(37)), Some((37, 2)));
        assert_eq!(two_bytes(0x3fff), [0x7f, 0xff]);
    }

    proptest! {
        #[test]
        fn decodes_what_it_encodes(bits in 0u32..=62, raw: u64) {
            let value = raw & ((1u64 << bits) - 1);
            let mut out = [0; 8];
            let len = encode(value, &mut out).unwrap();
            prop_assert_eq!(len, size(value));
            prop_assert_eq!(decode(&out[..len]), Some((value, len)));
            prop_assert_eq!(encode(value, &mut out[..len - 1]), None);
        }
    }
}
