//! Something for each packet number space, of which two are over with the handshake.
//!
//! Owns: the values. Invariant: what was discarded does not come back, and the memory of the two early ones goes with the last of them.
//! No timers.

use crate::id::SpaceId;

/// A value for each space that is not over.
#[derive(Clone, Debug)]
pub struct PerSpace<T> {
    data: T,
    early: Option<Box<[Option<T>; 2]>>,
}

impl<T> PerSpace<T> {
    /// A value for each of the three.
    pub fn new(mut make: impl FnMut(SpaceId) -> T) -> Self {
        let early = [SpaceId::Initial, SpaceId::Handshake].map(|space| Some(make(space)));
        Self { early: Some(Box::new(early)), data: make(SpaceId::Data) }
    }

    /// There is but one space: [`SpaceId::Data`].
    pub fn single(data: T) -> Self {
        Self { data, early: None }
    }

    /// The value of the space that lasts.
    #[inline]
    pub fn data(&self) -> &T {
        &self.data
    }

    /// The value of the space that lasts.
    #[inline]
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.data
    }

    /// The value of `space`; `None` if it is over.
    #[inline]
    pub fn get(&self, space: SpaceId) -> Option<&T> {
        match space {
            SpaceId::Data => Some(&self.data),
            early => self.early.as_ref()?[early as usize].as_ref(),
        }
    }

    /// The value of `space`; `None` if it is over.
    #[inline]
    pub fn get_mut(&mut self, space: SpaceId) -> Option<&mut T> {
        match space {
            SpaceId::Data => Some(&mut self.data),
            early => self.early.as_mut()?[early as usize].as_mut(),
        }
    }

    /// An early space is over; takes its value out.
    pub fn discard(&mut self, space: SpaceId) -> Option<T> {
        let early = self.early.as_mut()?;
        let value = early.get_mut(space as usize)?.take();
        if early.iter().all(Option::is_none) {
            self.early = None;
        }
        value
    }

    /// Bytes of memory apart from the value itself.
    pub fn memory(&self) -> usize {
        self.early.as_ref().map_or(0, |early| size_of_val(&**early))
    }

    /// The values that there are, in the order of the spaces.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.early.iter().flat_map(|early| early.iter().flatten()).chain([&self.data])
    }

    /// The values that there are, in the order of the spaces.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.early.iter_mut().flat_map(|early| early.iter_mut().flatten()).chain([&mut self.data])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_spaces_go_and_the_last_one_stays() {
        let mut values = PerSpace::new(|space| space as usize);
        assert_eq!(SpaceId::ALL.map(|space| values.get(space).copied()), [Some(0), Some(1), Some(2)]);
        *values.get_mut(SpaceId::Initial).unwrap() = 7;
        values.iter_mut().for_each(|value| *value += 1);
        assert_eq!(values.iter().copied().collect::<Vec<_>>(), [8, 2, 3]);
        assert_eq!((values.discard(SpaceId::Initial), values.discard(SpaceId::Initial)), (Some(8), None));
        assert_eq!(values.memory(), size_of::<[Option<usize>; 2]>());
        assert_eq!(values.discard(SpaceId::Handshake), Some(2));
        assert!(values.memory() == 0 && values.get_mut(SpaceId::Handshake).is_none());
        assert_eq!(values.discard(SpaceId::Data), None);
        *values.data_mut() += 1;
        assert_eq!(values.get(SpaceId::Data), Some(&4));
    }

    #[test]
    fn a_single_space_has_no_early_ones() {
        let mut values = PerSpace::single("data");
        assert_eq!(SpaceId::ALL.map(|space| values.get(space).copied()), [None, None, Some("data")]);
        assert_eq!((values.discard(SpaceId::Data), *values.data()), (None, "data"));
    }
}
