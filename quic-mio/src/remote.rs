//! How other threads get the loop's attention.
//!
//! Owns [`Remote`], and the list of connections that the loop is to look at. Invariant: a connection is in the list once, so the list is no
//! longer than there are handles in the hands of other threads. Timers: none.

use mio::Waker;
use quic_proto::endpoint::ConnectionHandle;
use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Wakes the loop for a connection, from any thread. Made by [`Endpoint::remote`](crate::Endpoint::remote).
#[derive(Clone, Debug)]
pub struct Remote {
    list: Arc<WakeList>,
    waker: Arc<Waker>,
}

impl Remote {
    pub(crate) fn new(list: Arc<WakeList>, waker: Arc<Waker>) -> Self {
        Self { list, waker }
    }

    /// Has the loop return [`Occurrence::Woken`](crate::Occurrence::Woken) for this connection, unless it is gone by then. Several calls before
    /// the loop comes to it count as one.
    ///
    /// # Errors
    /// If the system does not let the loop be woken; then it finds out when it next turns.
    pub fn wake(&self, handle: ConnectionHandle) -> io::Result<()> {
        if self.list.lock().insert(handle) { self.waker.wake() } else { Ok(()) }
    }
}

/// The connections that the loop is to look at.
#[derive(Default, Debug)]
pub(crate) struct WakeList(Mutex<BTreeSet<ConnectionHandle>>);

impl WakeList {
    pub(crate) fn pop(&self) -> Option<ConnectionHandle> {
        self.lock().pop_first()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<ConnectionHandle>> {
        // Nothing that is done under the lock can fail halfway.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
