//! 16-bit floating point numbers: the delay in an ACK frame, in microseconds.
//!
//! The upper 5 bits are the exponent `e`, the lower 11 the mantissa `m`. With `e = 0` the value is `m`, otherwise
//! `(m + 2^11) * 2^(e-1)`: numbers below 4096 stand for themselves. Writing rounds down.

const MANTISSA_BITS: u32 = 11;
/// The largest number; greater ones are written as this one. Chromium reads it as "infinite".
pub const MAX: u64 = 0x3ff_c000_0000;

/// The encoding of the largest number that is not greater than `value`.
pub const fn encode(value: u64) -> u16 {
    if value >= MAX {
        return u16::MAX;
    }
    if value < 1 << (MANTISSA_BITS + 1) {
        return value as u16;
    }
    // The mantissa with its leading bit has 12 bits; that bit, left where it is, adds one to the exponent.
    let shift = u64::BITS - value.leading_zeros() - (MANTISSA_BITS + 1);
    ((value >> shift) + ((shift as u64) << MANTISSA_BITS)) as u16
}

/// The number that `encoded` stands for.
pub const fn decode(encoded: u16) -> u64 {
    let (exponent, mantissa) = (encoded >> MANTISSA_BITS, encoded as u64 & 0x7ff);
    if exponent == 0 { mantissa } else { (mantissa | 0x800) << (exponent - 1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, units};

    fn encoded(case: &serde_json::Value) -> u16 {
        u16::from_be_bytes(bytes(&case["encoded"]).try_into().unwrap())
    }

    #[test]
    fn unit_vectors() {
        for case in units("ufloat16") {
            let value = case["value"].as_u64().unwrap();
            assert_eq!(encode(value), encoded(&case), "{case}");
            assert_eq!(decode(encode(value)), case["decoded"], "{case}");
        }
        for case in units("ufloat16_decode") {
            assert_eq!(decode(encoded(&case)), case["decoded"], "{case}");
        }
        assert_eq!((encode(u64::MAX), decode(u16::MAX)), (u16::MAX, MAX));
    }

    #[test]
    fn every_encoding_reads_back_and_they_ascend() {
        for number in 0..=u16::MAX {
            assert_eq!(encode(decode(number)), number);
            if number > 0 {
                assert!(decode(number) > decode(number - 1));
                assert_eq!(encode(decode(number) - 1), number - 1, "rounded down");
            }
        }
    }
}
