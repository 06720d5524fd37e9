//! Values under small numbers that the slab chooses.
//!
//! Owns: a vector of entries and a free list threaded through it. Invariants: every free entry is on the free list exactly once; `len`
//! counts the occupied ones. No timers. A key is given out again once its value was removed, so that a holder of a stale key may meet
//! another value: who needs to tell them apart keeps an identity in `T`.

/// A vector with holes that are filled first; all of its operations are O(1).
#[derive(Clone, Debug)]
pub struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

/// The end of the free list.
const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
enum Entry<T> {
    Occupied(T),
    /// With the next free entry.
    Free(u32),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: NONE, len: 0 }
    }
}

impl<T> Slab<T> {
    /// An empty slab; allocates nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value and returns its key: the one freed last, or the next number.
    ///
    /// # Panics
    /// If 2^32-1 values are present; what comes from a peer is limited long before.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(entry) = self.entries.get_mut(self.free as usize) {
            let key = self.free;
            if let Entry::Free(next) = *entry {
                self.free = next;
            }
            *entry = Entry::Occupied(value);
            return key;
        }
        let key = u32::try_from(self.entries.len()).ok().filter(|key| *key != NONE);
        self.entries.push(Entry::Occupied(value));
        key.expect("invariant: owners limit a slab to fewer than 2^32-1 values")
    }

    /// The value under `key`.
    pub fn get(&self, key: u32) -> Option<&T> {
        match self.entries.get(key as usize) {
            Some(Entry::Occupied(value)) => Some(value),
            _ => None,
        }
    }

    /// The value under `key`.
    pub fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        match self.entries.get_mut(key as usize) {
            Some(Entry::Occupied(value)) => Some(value),
            _ => None,
        }
    }

    /// Takes the value under `key` out; the key may be given out again.
    pub fn remove(&mut self, key: u32) -> Option<T> {
        let entry = self.entries.get_mut(key as usize)?;
        if matches!(entry, Entry::Free(_)) {
            return None;
        }
        let old = std::mem::replace(entry, Entry::Free(self.free));
        self.free = key;
        self.len -= 1;
        match old {
            Entry::Occupied(value) => Some(value),
            Entry::Free(_) => None,
        }
    }

    /// The values with their keys, by ascending key. O(the most that were ever present at a time).
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.entries).filter_map(|(key, entry)| match entry {
            Entry::Occupied(value) => Some((key, value)),
            Entry::Free(_) => None,
        })
    }

    /// The values with their keys, by ascending key. O(the most that were ever present at a time).
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..).zip(&mut self.entries).filter_map(|(key, entry)| match entry {
            Entry::Occupied(value) => Some((key, value)),
            Entry::Free(_) => None,
        })
    }

    /// How many values are present.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no value is present.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn holes_are_filled_first() {
        let mut slab = Slab::new();
        let keys: Vec<_> = (0..3).map(|value| slab.insert(value)).collect();
        assert_eq!(keys, [0, 1, 2]);
        assert_eq!(slab.remove(1), Some(1));
        assert_eq!(slab.remove(1), None);
        assert_eq!(slab.get(1), None);
        assert_eq!(slab.insert(7), 1);
        assert_eq!(slab.insert(8), 3);
        assert_eq!(slab.len(), 4);
    }

    proptest! {
        #[test]
        fn behaves_like_a_map(steps in proptest::collection::vec((any::<bool>(), 0u32..20), 1..200)) {
            let (mut slab, mut model) = (Slab::new(), BTreeMap::new());
            for (insert, n) in steps {
                if insert {
                    let key = slab.insert(n);
                    prop_assert_eq!(model.insert(key, n), None);
                } else {
                    prop_assert_eq!(slab.remove(n), model.remove(&n));
                }
                prop_assert_eq!(slab.len(), model.len());
            }
            prop_assert_eq!(slab.iter().map(|(k, v)| (k, *v)).collect::<BTreeMap<_, _>>(), model);
        }
    }
}
