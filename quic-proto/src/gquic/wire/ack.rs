//! ACK frames: what they say and how they are written.
//!
//! Owns the encoding of ranges as blocks and gaps. A gap has one byte, so that a longer one is written as blocks of length zero. The delay
//! is a [`ufloat16`] of microseconds. Timestamps, which Chromium sends if it is asked to, are passed over.
//!
//! Invariant: an [`AckFrame`] was checked as a whole when it was parsed, so that its [`AckRanges`] descend from the largest number, never
//! touch each other and never go below 1, the first packet number there is. No timers.

use super::frame::types;
use super::ufloat16;
use crate::codec::{Reader, UnexpectedEnd, Writer};
use crate::id::PacketNumber;
use std::ops::RangeInclusive;

/// The most blocks behind the first one that are written; quic-go writes no more either.
const MAX_MORE_BLOCKS: usize = 254;
/// Type bit: there are more blocks than one.
const MORE_BLOCKS: u8 = 0x20;
/// What two bits of the type say about the length of a number.
const NUMBER_LENS: [usize; 4] = [1, 2, 4, 6];

/// An ACK frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckFrame<'a> {
    /// The largest packet number that is acknowledged.
    pub largest: PacketNumber,
    /// How long ago that packet arrived, in microseconds.
    pub delay: u64,
    /// The packet numbers that are acknowledged, the largest range first.
    pub ranges: AckRanges<'a>,
}

/// The ranges of an ACK frame, descending; decoded while iterating.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckRanges<'a> {
    /// The range to give out next.
    next: Option<(PacketNumber, PacketNumber)>,
    /// The blocks behind it, each with the gap before it.
    blocks: &'a [u8],
    /// Length of a block's length.
    number_len: usize,
}

impl Iterator for AckRanges<'_> {
    type Item = RangeInclusive<PacketNumber>;

    fn next(&mut self) -> Option<Self::Item> {
        let (start, end) = self.next.take()?;
        let mut r = Reader::new(self.blocks);
        self.next = read_range(&mut r, self.number_len, start).ok().flatten();
        self.blocks = r.rest();
        Some(start..=end)
    }
}

/// Why an ACK frame is not valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckError {
    /// The payload ends before the frame does.
    Truncated,
    /// A range goes below the first packet number.
    BelowFirst,
    /// The first block is empty.
    EmptyFirstBlock,
    /// The frame announces further blocks and has none.
    NoFurtherBlock,
    /// A block continues the one before it.
    NoGap,
}

impl From<UnexpectedEnd> for AckError {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

/// Reads an ACK frame after its type and checks all ranges.
pub(super) fn parse<'a>(r: &mut Reader<'a>, frame_type: u8) -> Result<AckFrame<'a>, AckError> {
    let largest = read_number(r, NUMBER_LENS[usize::from(frame_type >> 2 & 3)])?;
    let number_len = NUMBER_LENS[usize::from(frame_type & 3)];
    let delay = ufloat16::decode(r.u16()?);
    let more = if frame_type & MORE_BLOCKS != 0 { r.u8()? } else { 0 };
    if more == 0 && frame_type & MORE_BLOCKS != 0 {
        return Err(AckError::NoFurtherBlock);
    }
    let first = read_number(r, number_len)?;
    if first == 0 {
        return Err(AckError::EmptyFirstBlock);
    }
    let start = start_of(largest, first)?;
    let blocks = r.bytes(usize::from(more) * (1 + number_len))?;
    let mut unchecked = Reader::new(blocks);
    let mut previous = start;
    while let Some((start, _)) = read_range(&mut unchecked, number_len, previous)? {
        previous = start;
    }
    skip_timestamps(r)?;
    let ranges = AckRanges { next: Some((start, largest)), blocks, number_len };
    Ok(AckFrame { largest, delay, ranges })
}

/// Reads the range below one that starts at `previous`, over blocks of length zero, which prolong the gap; `None` if no range follows.
fn read_range(
    r: &mut Reader<'_>,
    number_len: usize,
    previous: PacketNumber,
) -> Result<Option<(PacketNumber, PacketNumber)>, AckError> {
    let mut gap = 0;
    while !r.is_empty() {
        gap += u64::from(r.u8()?);
        let length = read_number(r, number_len)?;
        if length > 0 {
            if gap == 0 {
                return Err(AckError::NoGap);
            }
            let end = previous.checked_sub(gap + 1).ok_or(AckError::BelowFirst)?;
            return Ok(Some((start_of(end, length)?, end)));
        }
    }
    Ok(None)
}

/// Where a block of `length` (not zero) that ends with `end` starts.
fn start_of(end: PacketNumber, length: u64) -> Result<PacketNumber, AckError> {
    end.checked_sub(length - 1).filter(|start| *start >= 1).ok_or(AckError::BelowFirst)
}

fn read_number(r: &mut Reader<'_>, len: usize) -> Result<u64, UnexpectedEnd> {
    Ok(r.bytes(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// The first timestamp has a number and a time of 4 bytes, the others a number and a float.
fn skip_timestamps(r: &mut Reader<'_>) -> Result<(), UnexpectedEnd> {
    match usize::from(r.u8()?) {
        0 => Ok(()),
        count => r.skip(5 + 3 * (count - 1)),
    }
}

/// Writes an ACK frame; `false`, with nothing written, if not even the first range fits.
///
/// `ranges` descend, with at least one number missing between two of them, and stay below 2^48. Of them at most `max_ranges` are written,
/// and fewer if the space or the count of blocks ends: the largest numbers are those that the peer needs. `delay` is in microseconds.
pub fn encode_ack(
    w: &mut Writer<'_>,
    ranges: impl Iterator<Item = RangeInclusive<PacketNumber>> + Clone,
    delay: u64,
    max_ranges: usize,
) -> bool {
    let Some(first) = ranges.clone().next() else { return false };
    let ranges = ranges.take(max_ranges);
    let largest_code = number_code(*first.end());
    // The length of the longest block decides how all are written, and so how many fit. A range that does not fit for its own length
    // would make those before it longer than need be, which costs less than to try again.
    let longest = ranges.clone().map(|range| length(&range)).max().unwrap_or(1);
    let block_code = number_code(longest);
    let block_len = NUMBER_LENS[block_code];
    let fixed = 1 + NUMBER_LENS[largest_code] + 2 + block_len + 1;
    let Some(room) = w.remaining().checked_sub(fixed) else { return false };
    // The count of blocks is there only if there are any.
    let plan = Plan::new(ranges, MAX_MORE_BLOCKS.min(room.saturating_sub(1) / (1 + block_len)));
    w.attempt(|w| {
        let more = if plan.blocks > 0 { MORE_BLOCKS } else { 0 };
        w.u8(types::ACK | more | (largest_code as u8) << 2 | block_code as u8);
        write_number(w, *first.end(), largest_code);
        w.u16(ufloat16::encode(delay));
        if plan.blocks > 0 {
            w.u8(plan.blocks as u8);
        }
        write_number(w, length(&first), block_code);
        let mut previous = *first.start();
        for range in plan.ranges {
            let mut gap = missing(previous, &range);
            while gap > 255 {
                w.u8(255);
                write_number(w, 0, block_code);
                gap -= 255;
            }
            w.u8(gap as u8);
            write_number(w, length(&range), block_code);
            previous = *range.start();
        }
        w.u8(0); // no timestamps
    })
}

/// Which ranges behind the first one are written, and how many blocks they take.
struct Plan<I> {
    ranges: std::iter::Take<I>,
    blocks: usize,
}

impl<I: Iterator<Item = RangeInclusive<PacketNumber>> + Clone> Plan<I> {
    fn new(mut ranges: I, max_blocks: usize) -> Self {
        let mut previous = ranges.next().map_or(0, |first| *first.start());
        let (mut count, mut blocks) = (0, 0);
        for range in ranges.clone() {
            let needed = missing(previous, &range).div_ceil(255);
            if needed > (max_blocks - blocks) as u64 {
                break;
            }
            blocks += needed as usize;
            count += 1;
            previous = *range.start();
        }
        Self { ranges: ranges.take(count), blocks }
    }
}

/// How many packets a range acknowledges.
fn length(range: &RangeInclusive<PacketNumber>) -> u64 {
    debug_assert!(range.start() <= range.end() && *range.end() < 1 << 48, "{range:?}");
    range.end().saturating_sub(*range.start()) + 1
}

/// How many numbers are missing between `range` and one above it that starts at `previous`.
fn missing(previous: PacketNumber, range: &RangeInclusive<PacketNumber>) -> u64 {
    debug_assert!(
        previous > *range.end() + 1,
        "ranges must descend and not touch: {range:?} is not below {previous}"
    );
    previous.saturating_sub(*range.end() + 1)
}

/// The place in [`NUMBER_LENS`] of the shortest length that `number` fits in.
const fn number_code(number: u64) -> usize {
    match number {
        0..=0xff => 0,
        0x100..=0xffff => 1,
        0x1_0000..=0xffff_ffff => 2,
        _ => 3,
    }
}

fn write_number(w: &mut Writer<'_>, number: u64, code: usize) {
    w.bytes(&number.to_be_bytes()[8 - NUMBER_LENS[code]..]);
}

#[cfg(test)]
mod tests;
