//! Truncated packet numbers, RFC 9000 §17.1, A.2 and A.3.
//!
//! Owns how many bytes of a packet number go on the wire and how the receiver finds the rest. Invariant: as long as a receiver has
//! seen the largest number that was acknowledged, it decodes what the sender meant. No timers.

use super::varint;
use crate::id::PacketNumber;

/// How many bytes (1 to 4) a packet number must be sent with, if `largest_acked` is the largest that the peer acknowledged.
///
/// More than 2^31 unacknowledged packets could not be told apart; the sender never has that many.
pub const fn encoded_len(full: PacketNumber, largest_acked: Option<PacketNumber>) -> usize {
    let unacked = match largest_acked {
        Some(acked) => full.saturating_sub(acked),
        // RFC 9000 §17.1: "Prior to receiving an acknowledgment for a packet number space, the full packet number MUST be included"
        None => full.saturating_add(1),
    };
    // RFC 9000 §17.1: "the sender MUST use a packet number size able to represent more than twice as large a range as the difference
    // between the largest acknowledged packet number and the packet number being sent"
    let mut len = 1;
    while len < 4 && (1 << (8 * len)) <= unacked.saturating_mul(2) {
        len += 1;
    }
    len
}

/// The low `len` bytes (1 to 4) of a packet number.
pub const fn truncate(full: PacketNumber, len: usize) -> u32 {
    let mask = if len >= 4 { u32::MAX } else { (1 << (8 * len)) - 1 };
    full as u32 & mask
}

/// The packet number closest to `expected` (one more than the largest received) whose low `len` bytes (1 to 4) are `truncated`;
/// RFC 9000 A.3. Always at most 2^62-1.
pub const fn decode(truncated: u32, len: usize, expected: PacketNumber) -> PacketNumber {
    let expected = if expected > varint::MAX { varint::MAX } else { expected };
    let window = 1u64 << (8 * if len > 4 { 4 } else { len });
    let half = window / 2;
    let candidate = (expected & !(window - 1)) | (truncated as u64 & (window - 1));
    if candidate + half <= expected && candidate <= varint::MAX - window {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(value: &serde_json::Value) -> u64 {
        u64::from_str_radix(value.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
    }

    #[test]
    fn examples_of_appendix_a2_and_a3() {
        let text = include_str!("../../testdata/rfc9000_appendix_a_numbers.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        for case in vectors["packet_number_encode"].as_array().unwrap() {
            let full = number(&case["full_pn"]);
            let len = encoded_len(full, Some(number(&case["largest_acked"])));
            assert_eq!(len as u64, case["num_bytes"].as_u64().unwrap());
            assert_eq!(u64::from(truncate(full, len)), number(&case["encoded"]));
        }
        let printed = vectors["packet_number_decode"].as_array().unwrap();
        let extra = vectors["packet_number_decode_extra"]["cases"].as_array().unwrap();
        for case in printed.iter().chain(extra) {
            let len = case["pn_nbits"].as_u64().unwrap() as usize / 8;
            let truncated = number(&case["truncated_pn"]) as u32;
            let decoded = decode(truncated, len, number(&case["largest_pn"]) + 1);
            assert_eq!(decoded, number(&case["decoded"]), "{case}");
        }
    }

    #[test]
    fn everything_is_sent_before_the_first_acknowledgement() {
        assert_eq!(encoded_len(0, None), 1);
        assert_eq!(encoded_len(126, None), 1);
        // 128 packets are outstanding: one byte has just twice that range, and more than twice is asked for.
        assert_eq!(encoded_len(127, None), 2);
        assert_eq!(encoded_len(1 << 40, None), 4);
    }

    proptest! {
        #[test]
        fn receiver_finds_what_was_sent(acked in 0u64..varint::MAX - (1 << 32), ahead in 1u64..(1 << 31), seen: u64) {
            let full = acked + ahead;
            let len = encoded_len(full, Some(acked));
            // The receiver has seen anything from the acknowledged number to the one before this.
            let largest = acked + seen % ahead;
            prop_assert_eq!(decode(truncate(full, len), len, largest + 1), full);
        }

        #[test]
        fn any_input_gives_a_valid_number(truncated: u32, len in 0usize..9, expected: u64) {
            prop_assert!(decode(truncated, len, expected) <= varint::MAX);
        }
    }
}
