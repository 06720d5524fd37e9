//! ACK frames, RFC 9000 §19.3: what they say and how they are written.
//!
//! Owns the encoding of ranges as gaps and lengths. Invariant: an [`AckFrame`] was checked as a whole when it was parsed, so that its
//! [`AckRanges`] descend from the largest number, never touch each other and never go below zero. No timers.

use crate::codec::{Reader, UnexpectedEnd, Writer, varint};
use crate::id::PacketNumber;
use crate::net::EcnCounts;
use std::ops::RangeInclusive;

/// Type of an ACK frame without ECN counts; with them it is one more.
pub const ACK: u64 = 0x02;
/// Type of an ACK frame with ECN counts.
pub const ACK_ECN: u64 = 0x03;

/// An ACK frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckFrame<'a> {
    /// The largest packet number that is acknowledged.
    pub largest: PacketNumber,
    /// The ACK Delay field, in microseconds divided by two to the power of its sender's `ack_delay_exponent`.
    pub delay: u64,
    /// The packet numbers that are acknowledged, the largest range first.
    pub ranges: AckRanges<'a>,
    /// The ECN counts, if there are any.
    pub ecn: Option<EcnCounts>,
}

/// The ranges of an ACK frame, descending; decoded while iterating.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckRanges<'a> {
    /// The range to give out next.
    next: Option<(PacketNumber, PacketNumber)>,
    /// Gaps and lengths of those after it.
    rest: &'a [u8],
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<PacketNumber>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = self.next.take()?;
        if !self.rest.is_empty() {
            let mut reader = Reader::new(self.rest);
            self.next = read_range(&mut reader, start).ok();
            self.rest = reader.rest();
        }
        Some(start..=end)
    }
}

/// Why an ACK frame is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckError {
    /// The payload ends before the frame does.
    Truncated,
    /// A range goes below packet number zero.
    BelowZero,
}

impl From<UnexpectedEnd> for AckError {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

/// Reads an ACK frame after its type and checks all ranges.
pub(super) fn parse<'a>(reader: &mut Reader<'a>, with_ecn: bool) -> Result<AckFrame<'a>, AckError> {
    let largest = reader.varint()?;
    let delay = reader.varint()?;
    let count = reader.varint()?;
    // RFC 9000 §19.3.1: "If any computed packet number is negative, an endpoint MUST generate a connection error of type
    // FRAME_ENCODING_ERROR."
    let mut start = largest.checked_sub(reader.varint()?).ok_or(AckError::BelowZero)?;
    let first = (start, largest);
    let bytes = reader.rest();
    // Ends with the payload at the latest, as each range takes at least two bytes of it.
    for _ in 0..count {
        (start, _) = read_range(reader, start)?;
    }
    let rest = &bytes[..bytes.len() - reader.remaining()];
    let ecn = if with_ecn {
        Some(EcnCounts { ect0: reader.varint()?, ect1: reader.varint()?, ce: reader.varint()? })
    } else {
        None
    };
    Ok(AckFrame { largest, delay, ranges: AckRanges { next: Some(first), rest }, ecn })
}

/// Reads the range below one that starts at `previous`: its first and last number.
fn read_range(reader: &mut Reader<'_>, previous: u64) -> Result<(u64, u64), AckError> {
    let (gap, length) = (reader.varint()?, reader.varint()?);
    // RFC 9000 §19.3.1: "largest = previous_smallest - gap - 2". Neither sum overflows, as both terms are below 2^62.
    let end = previous.checked_sub(gap + 2).ok_or(AckError::BelowZero)?;
    let start = end.checked_sub(length).ok_or(AckError::BelowZero)?;
    Ok((start, end))
}

/// Writes an ACK frame; `false`, with nothing written, if not even the first range fits.
///
/// `ranges` descend, with at least one number missing between two of them. Of them at most `max_ranges` (1 to 16383) are written, and
/// fewer if the space ends: the largest numbers are those that the peer needs. `delay` is already scaled down by our `ack_delay_exponent`.
pub fn encode_ack(
    w: &mut Writer<'_>,
    mut ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>,
    delay: u64,
    ecn: Option<EcnCounts>,
    max_ranges: usize,
) -> bool {
    let Some(first) = ranges.next() else { return false };
    let ecn_len = ecn
        .map_or(0, |counts| varint::size(counts.ect0) + varint::size(counts.ect1) + varint::size(counts.ce));
    // The count is known last: its place is kept in one byte if all counts up to the maximum fit there, otherwise in two.
    let max_more = max_ranges.clamp(1, 0x3fff) - 1;
    let short_count = max_more < 0x40;
    w.attempt(|w| {
        w.varint(if ecn.is_some() { ACK_ECN } else { ACK });
        w.varint(*first.end());
        w.varint(delay);
        let count_at = w.len();
        if short_count {
            w.u8(0);
        } else {
            w.varint2(0);
        }
        w.varint(first.end().saturating_sub(*first.start()));
        let count = encode_ranges(w, ranges.take(max_more), *first.start(), ecn_len);
        if short_count {
            w.patch(count_at, &[count as u8]);
        } else {
            w.patch_varint2(count_at, count);
        }
        if let Some(counts) = ecn {
            w.varint(counts.ect0);
            w.varint(counts.ect1);
            w.varint(counts.ce);
        }
    })
}

/// Writes ranges below `previous` as long as `reserved` bytes stay free after them, and returns how many there are.
fn encode_ranges(
    w: &mut Writer<'_>,
    ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>,
    mut previous: PacketNumber,
    reserved: usize,
) -> u16 {
    let mut count = 0;
    for range in ranges {
        let (start, end) = (*range.start(), *range.end());
        let gap = previous.checked_sub(end).and_then(|distance| distance.checked_sub(2));
        let (Some(gap), Some(length)) = (gap, end.checked_sub(start)) else {
            debug_assert!(
                false,
                "ranges must descend and not touch: {start}..={end} is not below {previous}"
            );
            break;
        };
        if varint::size(gap) + varint::size(length) + reserved > w.remaining() {
            break;
        }
        w.varint(gap);
        w.varint(length);
        previous = start;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<AckFrame<'_>, AckError> {
        let mut reader = Reader::new(bytes);
        let frame_type = reader.varint()?;
        let frame = parse(&mut reader, frame_type == ACK_ECN)?;
        assert!(reader.is_empty());
        Ok(frame)
    }

    fn write(
        room: usize,
        ranges: &[RangeInclusive<u64>],
        ecn: Option<EcnCounts>,
        max: usize,
    ) -> Option<Vec<u8>> {
        let mut buffer = vec![0; room];
        let mut w = Writer::new(&mut buffer);
        encode_ack(&mut w, ranges.iter().cloned(), 5, ecn, max).then(|| w.written().to_vec())
    }

    #[test]
    fn bytes_of_a_frame() {
        // Gap 0 leaves one number (8) unacknowledged: RFC 9000 §19.3.1.
        let bytes = write(100, &[9..=10, 5..=7, 0..=0], None, 64).unwrap();
        assert_eq!(bytes, [0x02, 10, 5, 2, 1, 0, 2, 3, 0]);
        let frame = read(&bytes).unwrap();
        assert_eq!((frame.largest, frame.delay, frame.ecn), (10, 5, None));
        assert_eq!(frame.ranges.collect::<Vec<_>>(), [9..=10, 5..=7, 0..=0]);
    }

    #[test]
    fn numbers_below_zero_are_refused() {
        assert_eq!(read(&[0x02, 10, 0, 0, 11]), Err(AckError::BelowZero));
        assert_eq!(read(&[0x02, 10, 0, 1, 0, 9, 0]), Err(AckError::BelowZero));
        assert_eq!(read(&[0x02, 10, 0, 1, 0, 8, 1]), Err(AckError::BelowZero));
        assert!(read(&[0x02, 10, 0, 1, 0, 8, 0]).is_ok());
        // A count far beyond the payload neither loops nor allocates.
        let huge = [0x02, 10, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0];
        assert_eq!(read(&huge), Err(AckError::Truncated));
    }

    #[test]
    fn as_many_ranges_as_fit() {
        let ranges: Vec<_> = (0..100u64).rev().map(|n| n * 2..=n * 2).collect();
        assert_eq!(write(0, &ranges, None, 64), None);
        assert_eq!(write(100, &[], None, 64), None);
        let ecn = Some(EcnCounts { ect0: 70, ect1: 0, ce: 1 });
        for (room, max, expected) in [(9, 64, None), (10, 64, Some(1)), (11, 64, Some(1)), (12, 64, Some(2))]
        {
            let bytes = write(room, &ranges, ecn, max);
            assert_eq!(bytes.map(|bytes| read(&bytes).unwrap().ranges.count()), expected);
        }
        for max in [1, 2, 63, 64, 65, 66, 99] {
            let bytes = write(1000, &ranges, ecn, max).unwrap();
            let frame = read(&bytes).unwrap();
            assert_eq!(frame.ecn, ecn);
            assert_eq!(frame.ranges.collect::<Vec<_>>(), ranges[..max]);
        }
    }

    proptest! {
        #[test]
        fn ranges_read_back(steps in vec((0u64..1 << 20, 0u64..1 << 20), 1..90), room in 0usize..800) {
            let mut ranges = Vec::new();
            let mut below = varint::MAX;
            for (gap, length) in steps {
                let end = below - gap;
                ranges.push(end - length..=end);
                below = end - length - 2;
            }
            if let Some(bytes) = write(room, &ranges, None, 90) {
                let read: Vec<_> = read(&bytes).unwrap().ranges.collect();
                prop_assert!(!read.is_empty());
                prop_assert_eq!(&read[..], &ranges[..read.len()]);
            }
        }
    }
}
