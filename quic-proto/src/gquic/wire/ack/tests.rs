//! Blocks and gaps, there and back.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<AckFrame<'_>, AckError> {
    let mut r = Reader::new(bytes);
    let frame_type = r.u8()?;
    let frame = parse(&mut r, frame_type)?;
    assert!(r.is_empty());
    Ok(frame)
}

fn write(room: usize, ranges: &[RangeInclusive<u64>], max: usize) -> Option<Vec<u8>> {
    let mut buffer = vec![0; room];
    let mut w = Writer::new(&mut buffer);
    encode_ack(&mut w, ranges.iter().cloned(), 5, max).then(|| w.written().to_vec())
}

#[test]
fn gaps_around_255() {
    for (missing, more) in [(1, 1), (254, 1), (255, 1), (256, 2), (510, 2), (511, 3)] {
        let ranges = [2000..=2000, 1900 - missing..=1999 - missing];
        let bytes = write(100, &ranges, 9).unwrap();
        assert_eq!(bytes[5], more, "{missing} are missing");
        assert_eq!(read(&bytes).unwrap().ranges.collect::<Vec<_>>(), ranges);
    }
}

#[test]
fn what_is_not_valid() {
    // The first packet has the number 1.
    assert_eq!(read(&[0x40, 5, 0, 0, 6, 0]), Err(AckError::BelowFirst));
    assert!(read(&[0x40, 5, 0, 0, 5, 0]).is_ok());
    assert_eq!(read(&[0x60, 5, 0, 0, 1, 1, 1, 4, 0]), Err(AckError::BelowFirst));
    assert!(read(&[0x60, 5, 0, 0, 1, 1, 1, 3, 0]).is_ok());
    assert_eq!(read(&[0x60, 5, 0, 0, 1, 1, 9, 1, 0]), Err(AckError::BelowFirst));
    assert_eq!(read(&[0x60, 5, 0, 0, 1, 1, 0, 1, 0]), Err(AckError::NoGap));
    assert_eq!(read(&[0x60, 5, 0, 0, 0, 1, 0]), Err(AckError::NoFurtherBlock));
    assert_eq!(read(&[0x40, 5, 0, 0, 0, 0]), Err(AckError::EmptyFirstBlock));
    let whole = [0x61, 9, 0, 0, 1, 0, 1, 2, 0, 2, 2, 1, 0, 0, 0, 0, 1, 0, 0];
    assert!(read(&whole).is_ok());
    for len in 1..whole.len() {
        assert_eq!(read(&whole[..len]), Err(AckError::Truncated), "{len}");
    }
}

#[test]
fn as_many_ranges_as_fit() {
    let ranges: Vec<_> = (1..=100u64).rev().map(|n| n * 2..=n * 2).collect();
    assert_eq!(write(100, &[], 64), None);
    // Without the count of blocks 7 bytes, with it 8 and 2 for each block.
    let fits = [(0, None), (5, None), (6, Some(1)), (8, Some(1)), (9, Some(2)), (10, Some(2)), (11, Some(3))];
    for (room, expected) in fits {
        let bytes = write(room, &ranges, 64);
        assert_eq!(bytes.map(|bytes| read(&bytes).unwrap().ranges.count()), expected, "{room}");
    }
    for max in [1, 2, 64, 100] {
        let bytes = write(1000, &ranges, max).unwrap();
        assert_eq!(read(&bytes).unwrap().ranges.collect::<Vec<_>>(), ranges[..max]);
    }
    // No more blocks than the count has room for, and a gap is not begun that cannot be ended.
    let far = [1_000_000..=1_000_000, 5..=5];
    assert_eq!(read(&write(2000, &far, 64).unwrap()).unwrap().ranges.collect::<Vec<_>>(), far[..1]);
    let many: Vec<_> = (1..=300u64).rev().map(|n| n * 2..=n * 2).collect();
    assert_eq!(read(&write(2000, &many, 300).unwrap()).unwrap().ranges.count(), 255);
}

proptest! {
    #[test]
    fn ranges_read_back(
        steps in vec((prop_oneof![0u64..4, 0u64..1200], prop_oneof![0u64..4, 0u64..1 << 20]), 1..90),
        base in 1u64..1 << 40,
        room in 0usize..800,
    ) {
        let mut ranges = Vec::new();
        let mut start = base;
        for (gap, length) in steps {
            ranges.push(start..=start + length);
            start += length + 2 + gap;
        }
        ranges.reverse();
        if let Some(bytes) = write(room, &ranges, 90) {
            prop_assert!(bytes.len() <= room);
            let read: Vec<_> = read(&bytes).unwrap().ranges.collect();
            prop_assert!(!read.is_empty());
            prop_assert_eq!(&read[..], &ranges[..read.len()]);
        }
    }

    #[test]
    fn what_is_parsed_descends(frame_type in 0x40u8..0x80, bytes in vec(prop_oneof![0u8..4, any::<u8>()], 0..60)) {
        if let Ok(frame) = parse(&mut Reader::new(&bytes), frame_type) {
            let mut below = None;
            for range in frame.ranges {
                prop_assert_eq!(*range.end(), below.map_or(frame.largest, |below| (*range.end()).min(below)));
                prop_assert!(*range.start() >= 1 && range.start() <= range.end());
                below = Some(range.start().saturating_sub(2));
            }
        }
    }
}
