//! Who waits for what: places for wakers, and the list of those to be woken after a batch.
//!
//! Owns [`Waiters`], for things that any number of tasks may wait for; [`StreamTable`], the waiters of a connection's streams; and
//! [`WakeList`], which collects wakers while the endpoint is locked, so that tasks are woken once it is unlocked.
//!
//! Invariants: a future that waits has one place, which it gives back when it ends or is dropped, so that cancelled futures leave nothing
//! behind. A waker is taken when it is woken: a task that was woken is not woken again before it came back to wait.
//!
//! Timers: none.

use quic_proto::error::AppError;
use quic_proto::id::StreamId;
use quic_proto::util::BuildIdHasher;
use std::collections::HashMap;
use std::task::Waker;

/// Wakers to be woken after the endpoint is unlocked. The memory is reused.
#[derive(Default)]
pub(crate) struct WakeList(Vec<Waker>);

impl WakeList {
    /// Adds a task, unless it is the one that was added last: the streams of a busy task tend to come one after the other.
    pub(crate) fn push(&mut self, waker: Waker) {
        if !self.0.last().is_some_and(|last| last.will_wake(&waker)) {
            self.0.push(waker);
        }
    }

    /// Adds the task in `place`, if there is one.
    pub(crate) fn take(&mut self, place: &mut Option<Waker>) {
        if let Some(waker) = place.take() {
            self.push(waker);
        }
    }

    /// Whether there is nobody to be woken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Wakes all. Call it without the lock: the first thing that a woken task does is to take it.
    #[inline]
    pub(crate) fn wake_all(&mut self) {
        // After most of the application's calls there is nobody to be woken.
        if !self.0.is_empty() {
            self.0.drain(..).for_each(Waker::wake);
        }
    }
}

/// Keeps `waker` in `place`, cloning it only if another task's is there.
pub(crate) fn remember(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(known) => known.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}

/// The tasks that wait for one thing.
#[derive(Default)]
pub(crate) struct Waiters {
    places: Vec<Place>,
    free: Vec<usize>,
}

enum Place {
    Free,
    /// Its future was woken and has not come back yet.
    Woken,
    Waiting(Waker),
}

impl Waiters {
    /// Waits in the future's `place`, or gives it one.
    pub(crate) fn wait(&mut self, place: &mut Option<usize>, waker: &Waker) {
        let at = match *place {
            Some(at) => at,
            None => {
                let at = self.free.pop().unwrap_or(self.places.len());
                *place = Some(at);
                at
            }
        };
        match self.places.get_mut(at) {
            Some(Place::Waiting(known)) => known.clone_from(waker),
            Some(free) => *free = Place::Waiting(waker.clone()),
            None => self.places.push(Place::Waiting(waker.clone())),
        }
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self, at: usize) {
        if let Some(place) = self.places.get_mut(at).filter(|place| !matches!(place, Place::Free)) {
            *place = Place::Free;
            self.free.push(at);
        }
    }

    /// Wakes everybody who waits.
    pub(crate) fn wake(&mut self, wakes: &mut WakeList) {
        for place in &mut self.places {
            if let Place::Waiting(_) = place
                && let Place::Waiting(waker) = std::mem::replace(place, Place::Woken)
            {
                wakes.push(waker);
            }
        }
    }
}

/// What is known and waited for about a stream of which the application holds a part.
#[derive(Default)]
pub(crate) struct StreamSlot {
    /// Parts that the application holds.
    parts: u8,
    /// The task that reads.
    pub(crate) reader: Option<Waker>,
    /// The task that writes.
    pub(crate) writer: Option<Waker>,
    /// Those who wait until the peer has all, or wants no more.
    pub(crate) stopped_waiters: Waiters,
    /// The peer has all, with the end of the stream.
    pub(crate) delivered: bool,
    /// The peer wants no more.
    pub(crate) stopped: Option<AppError>,
}

impl StreamSlot {
    pub(crate) fn wake_all(&mut self, wakes: &mut WakeList) {
        wakes.take(&mut self.reader);
        wakes.take(&mut self.writer);
        self.stopped_waiters.wake(wakes);
    }
}

/// The streams of a connection of which the application holds a part.
#[derive(Default)]
pub(crate) struct StreamTable(HashMap<StreamId, StreamSlot, BuildIdHasher>);

impl StreamTable {
    /// The application got `parts` handles of a stream.
    pub(crate) fn add(&mut self, id: StreamId, parts: u8) {
        self.0.entry(id).or_default().parts += parts;
    }

    /// The application dropped a handle.
    pub(crate) fn remove_part(&mut self, id: StreamId) {
        if let Some(slot) = self.0.get_mut(&id) {
            slot.parts = slot.parts.saturating_sub(1);
            if slot.parts == 0 {
                self.0.remove(&id);
            }
        }
    }

    pub(crate) fn get(&mut self, id: StreamId) -> Option<&mut StreamSlot> {
        self.0.get_mut(&id)
    }

    pub(crate) fn wake_all(&mut self, wakes: &mut WakeList) {
        for slot in self.0.values_mut() {
            slot.wake_all(wakes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_waiter_is_woken_once_until_it_comes_back() {
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let (mut waiters, mut wakes) = (Waiters::default(), WakeList::default());
        let mut place = None;
        waiters.wait(&mut place, &waker);
        waiters.wait(&mut place, &waker);
        waiters.wake(&mut wakes);
        waiters.wake(&mut wakes);
        wakes.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        waiters.wait(&mut place, &waker);
        waiters.wake(&mut wakes);
        wakes.wake_all();
        assert_eq!(count.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn places_are_used_again() {
        let waker = Waker::from(Arc::new(Count::default()));
        let mut waiters = Waiters::default();
        for _ in 0..100 {
            let (mut a, mut b) = (None, None);
            waiters.wait(&mut a, &waker);
            waiters.wait(&mut b, &waker);
            assert_ne!(a, b);
            waiters.leave(a.unwrap());
            waiters.leave(a.unwrap());
            waiters.leave(b.unwrap());
        }
        assert_eq!((waiters.places.len(), waiters.free.len()), (2, 2));
    }

    #[test]
    fn a_task_is_listed_once_in_a_row() {
        let (a, b) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let (wake_a, wake_b) = (Waker::from(Arc::clone(&a)), Waker::from(Arc::clone(&b)));
        let mut wakes = WakeList::default();
        for waker in [&wake_a, &wake_a, &wake_b, &wake_b] {
            wakes.push(waker.clone());
        }
        wakes.wake_all();
        assert_eq!((a.0.load(Ordering::Relaxed), b.0.load(Ordering::Relaxed)), (1, 1));
    }
}
