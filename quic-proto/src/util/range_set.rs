//! A set of `u64` kept as disjoint ranges.
//!
//! Owns: a sorted vector of half-open ranges, the first few of them inline. Invariants: no range is empty; ranges ascend; two
//! neighbours never touch (they would have been merged). No timers.
//!
//! Extending the last range or appending behind it is O(1), which is what arriving packets and bytes do. Elsewhere a binary search
//! finds the place and a `memmove` makes room: with the few hundred ranges that callers permit, that beats a tree. The set does not
//! limit itself; whoever inserts what a peer sends checks [`RangeSet::len`].

use smallvec::SmallVec;
use std::ops::Range;

/// How many ranges fit without an allocation.
const INLINE: usize = 4;

/// A set of `u64` (below `u64::MAX`) as sorted, disjoint, non-touching half-open ranges.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct RangeSet {
    ranges: SmallVec<[Range<u64>; INLINE]>,
}

impl RangeSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds all of `range`; `false` if all of it was there already (an empty range always is).
    pub fn insert(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        if let Some(last) = self.ranges.last_mut() {
            if range.start > last.end {
                self.ranges.push(range);
                return true;
            }
            if range.start >= last.start {
                let grew = range.end > last.end;
                last.end = last.end.max(range.end);
                return grew;
            }
        } else {
            self.ranges.push(range);
            return true;
        }
        self.insert_before_last(range)
    }

    /// Takes all of `range` out; `false` if nothing of it was there.
    pub fn remove(&mut self, range: Range<u64>) -> bool {
        if range.is_empty() {
            return false;
        }
        // Ranges `from..to` intersect the one to remove.
        let from = self.ranges.partition_point(|known| known.end <= range.start);
        let to = from + self.ranges[from..].partition_point(|known| known.start < range.end);
        if from == to {
            return false;
        }
        let before = self.ranges[from].start..range.start;
        let after = range.end..self.ranges[to - 1].end;
        match (before.is_empty(), after.is_empty()) {
            (true, true) => self.drain(from, to),
            (false, true) => {
                self.ranges[from] = before;
                self.drain(from + 1, to);
            }
            (true, false) => {
                self.ranges[from] = after;
                self.drain(from + 1, to);
            }
            (false, false) => {
                self.ranges[from] = before;
                if to - from == 1 {
                    self.ranges.insert(from + 1, after);
                } else {
                    self.ranges[from + 1] = after;
                    self.drain(from + 2, to);
                }
            }
        }
        true
    }

    /// Takes out everything below `bound`.
    pub fn remove_below(&mut self, bound: u64) {
        if self.min().is_some_and(|min| min < bound) {
            self.remove(0..bound);
        }
    }

    /// Whether `value` is in the set.
    pub fn contains(&self, value: u64) -> bool {
        let at = self.ranges.partition_point(|known| known.end <= value);
        self.ranges.get(at).is_some_and(|known| known.start <= value)
    }

    /// Whether all of `range` is in the set; an empty range always is.
    pub fn contains_range(&self, range: &Range<u64>) -> bool {
        let at = self.ranges.partition_point(|known| known.end <= range.start);
        range.is_empty()
            || self.ranges.get(at).is_some_and(|known| known.start <= range.start && range.end <= known.end)
    }

    /// The parts of `range` that are not in the set, from the highest down.
    pub fn gaps_rev(&self, range: Range<u64>) -> GapsRev<'_> {
        // Only ranges before `upto` start below the end and can cover a part of it.
        let upto = match self.ranges.last() {
            Some(last) if last.start < range.end => self.ranges.len(),
            _ => self.ranges.partition_point(|known| known.start < range.end),
        };
        GapsRev { known: &self.ranges[..upto], rest: range }
    }

    /// The ranges; ascending, or descending by `rev()`.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + ExactSizeIterator + Clone + '_ {
        self.ranges.iter().cloned()
    }

    /// The lowest value.
    pub fn min(&self) -> Option<u64> {
        self.ranges.first().map(|range| range.start)
    }

    /// The highest value.
    pub fn max(&self) -> Option<u64> {
        self.ranges.last().map(|range| range.end - 1)
    }

    /// The lowest range.
    pub fn first(&self) -> Option<Range<u64>> {
        self.ranges.first().cloned()
    }

    /// The highest range.
    pub fn last(&self) -> Option<Range<u64>> {
        self.ranges.last().cloned()
    }

    /// Takes the lowest range out.
    pub fn pop_min(&mut self) -> Option<Range<u64>> {
        (!self.ranges.is_empty()).then(|| self.ranges.remove(0))
    }

    /// The number of ranges (not of values).
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether nothing is in the set.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many values are in the set.
    pub fn cover_len(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Takes everything out; keeps the memory.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }

    /// `insert` for a range that starts before the last known one does.
    fn insert_before_last(&mut self, range: Range<u64>) -> bool {
        // Ranges `from..to` intersect or touch the new one.
        let from = self.ranges.partition_point(|known| known.end < range.start);
        let to = from + self.ranges[from..].partition_point(|known| known.start <= range.end);
        if from == to {
            self.ranges.insert(from, range);
            return true;
        }
        let known = self.ranges[from].clone();
        if known.start <= range.start && range.end <= known.end {
            return false;
        }
        self.ranges[from] = known.start.min(range.start)..self.ranges[to - 1].end.max(range.end);
        self.drain(from + 1, to);
        true
    }

    fn drain(&mut self, from: usize, to: usize) {
        if from < to {
            self.ranges.drain(from..to);
        }
    }
}

/// See [`RangeSet::gaps_rev`].
#[derive(Clone, Debug)]
pub struct GapsRev<'a> {
    known: &'a [Range<u64>],
    rest: Range<u64>,
}

impl Iterator for GapsRev<'_> {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        while !self.rest.is_empty() {
            let Some((highest, lower)) = self.known.split_last() else {
                return Some(std::mem::replace(&mut self.rest, 0..0));
            };
            if highest.end <= self.rest.start {
                return Some(std::mem::replace(&mut self.rest, 0..0));
            }
            let gap = highest.end..self.rest.end;
            self.rest.end = highest.start;
            self.known = lower;
            if !gap.is_empty() {
                return Some(gap);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn set(ranges: &[Range<u64>]) -> RangeSet {
        let mut set = RangeSet::new();
        for range in ranges {
            set.insert(range.clone());
        }
        set
    }

    #[test]
    fn neighbours_merge() {
        let mut ranges = set(&[0..2, 4..6, 8..10]);
        assert_eq!(ranges.len(), 3);
        assert!(ranges.insert(2..4));
        assert_eq!(ranges, set(&[0..6, 8..10]));
        assert!(!ranges.insert(1..6));
        assert!(ranges.insert(5..9));
        assert_eq!(ranges.first(), Some(0..10));
        assert_eq!(ranges.len(), 1);
    }

    #[test]
    fn a_hole_splits() {
        let mut ranges = RangeSet::new();
        assert!(ranges.insert(0..10));
        assert!(ranges.remove(3..5));
        assert!(!ranges.remove(3..5));
        assert_eq!(ranges.iter().rev().collect::<Vec<_>>(), [5..10, 0..3]);
        ranges.remove_below(7);
        assert_eq!(ranges.pop_min(), Some(7..10));
        assert_eq!(ranges.pop_min(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert(Range<u64>),
        Remove(Range<u64>),
        RemoveBelow(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let range = || (0u64..80, 0u64..12).prop_map(|(start, len)| start..start + len);
        prop_oneof![
            4 => range().prop_map(Step::Insert),
            2 => range().prop_map(Step::Remove),
            1 => (0u64..40).prop_map(Step::RemoveBelow),
        ]
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(steps in proptest::collection::vec(step(), 1..60), probe in 0u64..80, len in 0u64..30) {
            let (mut ranges, mut model) = (RangeSet::new(), BTreeSet::new());
            for step in steps {
                match step {
                    Step::Insert(range) => {
                        let new = range.clone().filter(|value| model.insert(*value)).count() > 0;
                        prop_assert_eq!(ranges.insert(range), new);
                    }
                    Step::Remove(range) => {
                        let known = range.clone().filter(|value| model.remove(value)).count() > 0;
                        prop_assert_eq!(ranges.remove(range), known);
                    }
                    Step::RemoveBelow(bound) => {
                        model.retain(|value| *value >= bound);
                        ranges.remove_below(bound);
                    }
                }
                let parts: Vec<_> = ranges.iter().collect();
                prop_assert!(parts.iter().all(|range| !range.is_empty()));
                prop_assert!(parts.windows(2).all(|pair| pair[0].end < pair[1].start));
                prop_assert_eq!(parts.into_iter().flatten().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            }
            let window = probe..probe + len;
            prop_assert_eq!(ranges.contains(probe), model.contains(&probe));
            prop_assert_eq!(ranges.contains_range(&window), window.clone().all(|value| model.contains(&value)));
            prop_assert_eq!(ranges.cover_len(), model.len() as u64);
            prop_assert_eq!((ranges.min(), ranges.max()), (model.first().copied(), model.last().copied()));
            let gaps: Vec<_> = ranges.gaps_rev(window.clone()).flat_map(Iterator::rev).collect();
            prop_assert_eq!(gaps, window.rev().filter(|value| !model.contains(value)).collect::<Vec<_>>());
        }
    }
}
