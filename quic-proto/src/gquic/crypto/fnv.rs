//! FNV-1a hashes: of 128 bits for packets without keys, of 64 bits for the names of certificates.
//!
//! They find accidents, not attacks. No state, no timers.

/// FNV-1a of 128 bits, fed in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Fnv128 {
    low: u64,
    high: u64,
}

impl Default for Fnv128 {
    fn default() -> Self {
        Self { low: 0x62b8_2175_6295_c58d, high: 0x6c62_272e_07bb_0142 }
    }
}

impl Fnv128 {
    /// The hash with `data` added.
    ///
    /// The prime is 2^88 + 0x13b: its upper part is a shift, and the product of halves leaves one multiplication between a byte and the
    /// next, where one of 128 bits has three.
    #[must_use]
    pub fn with(self, data: &[u8]) -> Self {
        const PRIME_LOW: u64 = 0x13b;
        let Self { mut low, mut high } = self;
        for byte in data {
            low ^= u64::from(*byte);
            let product = u128::from(low) * u128::from(PRIME_LOW);
            high = high.wrapping_mul(PRIME_LOW).wrapping_add((product >> 64) as u64).wrapping_add(low << 24);
            low = product as u64;
        }
        Self { low, high }
    }

    /// The hash.
    pub fn finish(self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }
}

/// FNV-1a of 64 bits.
pub fn fnv64(data: &[u8]) -> u64 {
    data.iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, units};
    use proptest::prelude::*;

    #[test]
    fn published_hashes() {
        let text = include_str!("../../../testdata/gquic/fnv1a_128.json");
        let json: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in json["cases"].as_array().unwrap() {
            let hash = Fnv128::default().with(&bytes(&case["input"])).finish();
            assert_eq!(hash.to_be_bytes().to_vec(), bytes(&case["digest"]), "{case}");
        }
        for case in units("fnv1a_64") {
            assert_eq!(fnv64(&bytes(&case["data"])).to_be_bytes().to_vec(), bytes(&case["hash"]));
        }
    }

    proptest! {
        #[test]
        fn halves_multiply_as_the_whole_does(data: Vec<u8>, cut: usize) {
            let prime = (1u128 << 88) + 0x13b;
            let whole = data.iter().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash: u128, byte| {
                (hash ^ u128::from(*byte)).wrapping_mul(prime)
            });
            let (a, b) = data.split_at(cut % (data.len() + 1));
            prop_assert_eq!(Fnv128::default().with(a).with(b).finish(), whole);
        }
    }
}
