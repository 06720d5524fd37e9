//! A map for keys that are given out in ascending order, such as packet numbers.
//!
//! Owns: a ring of slots, one for each key between the oldest that is present and the newest that was pushed. Invariants: the front
//! slot is occupied (or there is no slot); slot `i` belongs to key `base + i`. No timers.
//!
//! Everything is O(1), amortised for `push` and `remove`: an emptied slot is dropped once, when it reaches the front. The memory is
//! that of the span from the oldest key present to the newest pushed, so that a key that is never removed keeps all behind it; the
//! owner bounds the span ([`RingMap::span`]).

use std::collections::VecDeque;
use std::ops::RangeInclusive;

/// A map from ascending `u64` keys to `T`.
#[derive(Clone, Debug)]
pub struct RingMap<T> {
    slots: VecDeque<Option<T>>,
    base: u64,
    occupied: usize,
}

impl<T> Default for RingMap<T> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), base: 0, occupied: 0 }
    }
}

impl<T> RingMap<T> {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `value` under a key beyond all that were pushed before; gaps are permitted and cost a slot each. A key that is not beyond
    /// them is the caller's bug: `false`, and the value is dropped.
    pub fn push(&mut self, key: u64, value: T) -> bool {
        if key < self.end_key() {
            debug_assert!(false, "keys must ascend");
            return false;
        }
        if self.slots.is_empty() {
            self.base = key;
        }
        for _ in self.end_key()..key {
            self.slots.push_back(None);
        }
        self.slots.push_back(Some(value));
        self.occupied += 1;
        true
    }

    /// Takes over the memory of a map that is not needed any more, if this one has none yet.
    pub fn adopt(&mut self, other: Self) {
        if self.slots.capacity() == 0 {
            self.slots = other.slots;
            self.slots.clear();
        }
    }

    /// Keeps no more memory than it needs now.
    pub fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }

    /// Bytes of memory behind the map.
    pub fn memory(&self) -> usize {
        self.slots.capacity() * size_of::<Option<T>>()
    }

    /// The value under `key`.
    pub fn get(&self, key: u64) -> Option<&T> {
        self.slots.get(self.index(key)?)?.as_ref()
    }

    /// The value under `key`.
    pub fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let index = self.index(key)?;
        self.slots.get_mut(index)?.as_mut()
    }

    /// Takes the value under `key` out.
    pub fn remove(&mut self, key: u64) -> Option<T> {
        let index = self.index(key)?;
        let value = self.slots.get_mut(index)?.take()?;
        self.occupied -= 1;
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.base += 1;
        }
        Some(value)
    }

    /// The lowest key present.
    pub fn first_key(&self) -> Option<u64> {
        (!self.slots.is_empty()).then_some(self.base)
    }

    /// The lowest key present and its value.
    pub fn first(&self) -> Option<(u64, &T)> {
        self.slots.front()?.as_ref().map(|value| (self.base, value))
    }

    /// The highest key present. O(number of keys that were removed behind it).
    pub fn last_key(&self) -> Option<u64> {
        self.slots.iter().rposition(Option::is_some).map(|index| self.base + index as u64)
    }

    /// The lowest key that may be pushed next.
    pub fn end_key(&self) -> u64 {
        self.base + self.slots.len() as u64
    }

    /// How many values are present.
    pub fn len(&self) -> usize {
        self.occupied
    }

    /// Whether no value is present.
    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// How many slots are in use: from the lowest key present to the highest that was pushed.
    pub fn span(&self) -> usize {
        self.slots.len()
    }

    /// The pairs, by ascending key.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let base = self.base;
        self.slots.iter().enumerate().filter_map(move |(i, slot)| Some((base + i as u64, slot.as_ref()?)))
    }

    /// The pairs, by ascending key.
    pub fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = (u64, &mut T)> {
        let base = self.base;
        self.slots.iter_mut().enumerate().filter_map(move |(i, slot)| Some((base + i as u64, slot.as_mut()?)))
    }

    /// The pairs with keys in `keys`, ascending. O(slots between them).
    pub fn range(&self, keys: RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let from = self.clamp(*keys.start());
        let to = self.clamp(keys.end().saturating_add(1)).max(from);
        let base = self.base + from as u64;
        let slots = self.slots.range(from..to).enumerate();
        slots.filter_map(move |(i, slot)| Some((base + i as u64, slot.as_ref()?)))
    }

    /// Takes all out; keeps the memory, and [`end_key`](Self::end_key).
    pub fn clear(&mut self) {
        self.base = self.end_key();
        self.slots.clear();
        self.occupied = 0;
    }

    fn index(&self, key: u64) -> Option<usize> {
        usize::try_from(key.checked_sub(self.base)?).ok()
    }

    fn clamp(&self, key: u64) -> usize {
        key.clamp(self.base, self.end_key()).saturating_sub(self.base) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn the_front_is_trimmed() {
        let mut map = RingMap::new();
        for key in [5, 6, 9] {
            assert!(map.push(key, key));
        }
        assert_eq!((map.len(), map.span(), map.end_key()), (3, 5, 10));
        assert_eq!(map.remove(6), Some(6));
        assert_eq!(map.remove(6), None);
        assert_eq!(map.span(), 5);
        assert_eq!(map.remove(5), Some(5));
        assert_eq!((map.first_key(), map.span()), (Some(9), 1));
        map.clear();
        assert_eq!((map.first_key(), map.end_key()), (None, 10));
        let mut other = RingMap::new();
        other.push(3, 3);
        let memory = other.memory();
        let mut heir = RingMap::new();
        heir.adopt(other);
        assert_eq!((heir.len(), heir.first_key(), heir.end_key(), heir.memory()), (0, None, 0, memory));
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(
            steps in proptest::collection::vec((any::<bool>(), 0u64..40), 1..200),
            from in 0u64..100,
            len in 0u64..50,
        ) {
            let (mut map, mut model, mut next) = (RingMap::new(), BTreeMap::new(), 0);
            for (push, n) in steps {
                if push {
                    next += n % 3;
                    prop_assert!(map.push(next, n));
                    model.insert(next, n);
                    next += 1;
                } else {
                    prop_assert_eq!(map.remove(n), model.remove(&n));
                }
                prop_assert!(map.first().is_some() || map.span() == 0);
            }
            prop_assert_eq!(map.first_key(), model.keys().next().copied());
            prop_assert_eq!(map.last_key(), model.keys().next_back().copied());
            prop_assert_eq!(map.get(from), model.get(&from));
            prop_assert_eq!(map.iter().map(|(k, v)| (k, *v)).collect::<BTreeMap<_, _>>(), model.clone());
            let found: Vec<_> = map.range(from..=from + len).map(|(k, v)| (k, *v)).collect();
            prop_assert_eq!(found, model.range(from..=from + len).map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
        }
    }
}
