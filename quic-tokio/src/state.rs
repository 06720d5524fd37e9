//! What the driver and the application's tasks share, under one lock.
//!
//! Owns [`Shared`], which every handle points to; [`State`], the protocol's endpoint with all its connections beside who waits for what of
//! them; and [`ConnectionSlot`], the same for one connection.
//!
//! Invariants: the lock is never held across a system call or while a task is woken. An application's call that gives an idle connection
//! something to send wakes the driver; one that finds something waiting already does not, as the driver was told then, or waits for an
//! acknowledgement or the pacer. A slot lives as long as the application holds any handle of its connection; the connection may be over
//! before, and then the slot keeps what remains of it, so that all that came can be read.
//!
//! Timers: none.

use crate::error::driver_lost;
use crate::socket::Socket;
use crate::wakers::{StreamTable, Waiters, WakeList};
use quic_proto::connection::Connection;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::ConnectionError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, StreamId};
use quic_proto::time::Instant;
use quic_proto::util::Slab;
use quic_udp::rhythm::{self, ENOUGH};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

/// What all handles of an endpoint point to.
pub(crate) struct Shared {
    pub(crate) socket: Socket,
    pub(crate) clock: Clock,
    state: Mutex<State>,
}

/// The protocol's time: nanoseconds since the endpoint was made, by tokio's clock, which tests can stop.
#[derive(Clone, Copy)]
pub(crate) struct Clock(tokio::time::Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }

    pub(crate) fn now(self) -> Instant {
        Instant::EPOCH + self.0.elapsed()
    }

    /// The same point in time by tokio's clock.
    pub(crate) fn to_tokio(self, at: Instant) -> tokio::time::Instant {
        // A deadline beyond a year is as good as none, and tokio's clock cannot express all of ours.
        const FAR: std::time::Duration = std::time::Duration::from_secs(365 * 24 * 3600);
        self.0 + (at - Instant::EPOCH).min(FAR)
    }
}

pub(crate) struct State {
    pub(crate) endpoint: Endpoint,
    /// Of the connections that the application holds a handle of.
    connections: Slab<ConnectionSlot>,
    /// From the protocol's handles to those slots.
    by_handle: Vec<Option<(ConnectionHandle, u32)>>,
    /// Handles of the endpoint itself.
    pub(crate) handles: usize,
    /// No connection is opened or accepted any more.
    pub(crate) closing: bool,
    /// There is no driver any more.
    pub(crate) failed: bool,
    /// Who waits for clients.
    pub(crate) accepting: Waiters,
    /// Who waits for the last connection to end.
    pub(crate) idle: Waiters,
    /// Times that the driver ran.
    /// Datagrams that came to another shard.
    pub(crate) forwarded: u64,
    /// Clients that the driver told about, by count.
    incoming_seen: u64,
    driver: Option<Waker>,
    /// The driver must run.
    work: bool,
}

impl Shared {
    pub(crate) fn new(socket: Socket, clock: Clock, endpoint: Endpoint) -> Self {
        let state = State {
            endpoint,
            connections: Slab::new(),
            by_handle: Vec::new(),
            handles: 1,
            closing: false,
            failed: false,
            accepting: Waiters::default(),
            idle: Waiters::default(),
            forwarded: 0,
            incoming_seen: 0,
            driver: None,
            work: false,
        };
        Self { socket, clock, state: Mutex::new(state) }
    }

    /// Locks the state for an application's call. When the guard is dropped the lock is released first, then tasks are woken.
    pub(crate) fn lock(&self) -> Guard<'_> {
        Guard { state: Some(self.lock_quietly()), wakes: WakeList::default() }
    }

    /// Locks the state for the driver, which needs not be woken and wakes others itself.
    pub(crate) fn lock_quietly(&self) -> MutexGuard<'_, State> {
        // A task that panicked while it held the lock did so in code of its own (a waker's, say): the state is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state, locked for an application's call.
pub(crate) struct Guard<'a> {
    state: Option<MutexGuard<'a, State>>,
    /// To be woken after the lock is released.
    pub(crate) wakes: WakeList,
}

impl Guard<'_> {
    /// Splits the guard, to wake others because of what is done to the state.
    pub(crate) fn parts(&mut self) -> (&mut State, &mut WakeList) {
        (
            self.state.as_mut().expect("invariant: the lock is held until the guard is dropped"),
            &mut self.wakes,
        )
    }
}

impl Deref for Guard<'_> {
    type Target = State;
    fn deref(&self) -> &State {
        self.state.as_ref().expect("invariant: the lock is held until the guard is dropped")
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        self.parts().0
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let driver = self.state.take().and_then(|mut state| {
            let work = std::mem::take(&mut state.work);
            if work { state.driver.take() } else { None }
        });
        if let Some(driver) = driver {
            driver.wake();
        }
        self.wakes.wake_all();
    }
}

impl State {
    /// The application got its first handle of a connection. Returns the key of its slot.
    pub(crate) fn adopt(&mut self, handle: ConnectionHandle) -> u32 {
        self.endpoint.keep(handle, true);
        let key = self.connections.insert(ConnectionSlot::new(handle, self.failed));
        if self.by_handle.len() <= handle.index() {
            self.by_handle.resize(handle.index() + 1, None);
        }
        self.by_handle[handle.index()] = Some((handle, key));
        self.work = true;
        key
    }

    /// The application dropped its last handle of a connection.
    pub(crate) fn disown(&mut self, key: u32) -> Option<ConnectionSlot> {
        let slot = self.connections.remove(key)?;
        self.endpoint.keep(slot.handle, false);
        self.unlink(slot.handle);
        self.work = true;
        Some(slot)
    }

    fn unlink(&mut self, handle: ConnectionHandle) {
        if let Some(entry) = self.by_handle.get_mut(handle.index())
            && entry.is_some_and(|(owner, _)| owner == handle)
        {
            *entry = None;
        }
    }

    /// A connection's slot, for what needs nothing of the protocol.
    pub(crate) fn slot(&mut self, key: u32) -> Option<&mut ConnectionSlot> {
        self.connections.get_mut(key)
    }

    /// Does something to a connection for the application, and notes whether the driver has something to send now. `None` if there is no
    /// such connection, which happens only if the driver failed.
    pub(crate) fn act<R>(
        &mut self,
        key: u32,
        act: impl FnOnce(&mut ConnectionSlot, &mut Connection) -> R,
    ) -> Option<R> {
        let slot = self.connections.get_mut(key)?;
        if let Some(mut remains) = slot.remains.take() {
            let result = act(slot, &mut remains);
            slot.remains = Some(remains);
            return Some(result);
        }
        let connection = self.endpoint.connection(slot.handle)?;
        let waited = connection.streams_want_to_send();
        let result = act(slot, connection);
        self.work |= !waited && connection.streams_want_to_send();
        Some(result)
    }

    /// The driver must look at what was done.
    pub(crate) fn needs_driver(&mut self) {
        self.work = true;
    }

    /// The driver runs: remembers how to wake it.
    pub(crate) fn driver_runs(&mut self, waker: &Waker) {
        self.work = false;
        if !self.driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.driver = Some(waker.clone());
        }
    }

    /// Hands events to those who wait for them. Returns how much work that gives the application; [`ENOUGH`] or more is enough.
    pub(crate) fn dispatch(&mut self, wakes: &mut WakeList) -> usize {
        let mut work = 0;
        while let Some((handle, event)) = self.endpoint.poll_event() {
            work += rhythm::work(&event);
            if let Some(slot) = slot_of(&self.by_handle, &mut self.connections, handle) {
                slot.on_event(event, wakes);
            }
        }
        let incoming = self.endpoint.stats().incoming;
        if std::mem::replace(&mut self.incoming_seen, incoming) != incoming {
            work += ENOUGH;
            self.accepting.wake(wakes);
        }
        work
    }

    /// Takes leave of connections that are over. Their last events were handed out.
    pub(crate) fn take_leave(&mut self, wakes: &mut WakeList) {
        while let Some((handle, remains)) = self.endpoint.poll_remains() {
            if let Some(slot) = slot_of(&self.by_handle, &mut self.connections, handle) {
                slot.remains = Some(remains);
            }
            self.unlink(handle);
        }
        if self.endpoint.connections() == 0 {
            self.idle.wake(wakes);
        }
    }

    /// Whether nobody can use the endpoint any more and all connections are over.
    pub(crate) fn is_over(&self) -> bool {
        self.handles == 0 && self.endpoint.connections() == 0 && self.connections.is_empty()
    }

    /// There is no driver any more: nothing will ever happen, so nobody may wait for it.
    pub(crate) fn fail(&mut self, wakes: &mut WakeList) {
        self.failed = true;
        self.closing = true;
        for entry in &self.by_handle {
            if let Some(slot) = entry.and_then(|(_, key)| self.connections.get_mut(key)) {
                slot.end(driver_lost(), wakes);
            }
        }
        self.accepting.wake(wakes);
        self.idle.wake(wakes);
    }

    /// From now on no client is accepted. Those who wait for a decision are refused.
    pub(crate) fn accept_no_more(&mut self) {
        self.closing = true;
        // While there is a server configuration: a refusal is a server's answer.
        while let Some(client) = self.endpoint.poll_incoming() {
            self.endpoint.refuse(client);
        }
        self.endpoint.set_server(None);
    }

    /// Wakes all who wait for something that a closing connection does not give any more.
    pub(crate) fn wake_all_connections(&mut self, wakes: &mut WakeList) {
        for entry in &self.by_handle {
            if let Some(slot) = entry.and_then(|(_, key)| self.connections.get_mut(key)) {
                slot.wake_all(wakes);
            }
        }
    }
}

/// The slot for a handle of the protocol's. Apart from [`State`] so that the endpoint can be borrowed beside.
fn slot_of<'a>(
    by_handle: &[Option<(ConnectionHandle, u32)>],
    connections: &'a mut Slab<ConnectionSlot>,
    handle: ConnectionHandle,
) -> Option<&'a mut ConnectionSlot> {
    let (owner, key) = (*by_handle.get(handle.index())?)?;
    if owner == handle { connections.get_mut(key) } else { None }
}

/// Something that any number of tasks may wait for.
#[derive(Clone, Copy)]
pub(crate) enum Queue {
    Handshake,
    Closed,
    Open(Dir),
    Accept(Dir),
    Stopped(StreamId),
}

/// A connection as the application's tasks see it.
pub(crate) struct ConnectionSlot {
    pub(crate) handle: ConnectionHandle,
    pub(crate) connected: bool,
    /// Why it ended.
    pub(crate) error: Option<ConnectionError>,
    pub(crate) streams: StreamTable,
    /// The connection, once the endpoint is done with it.
    remains: Option<Box<Connection>>,
    handshake: Waiters,
    closed: Waiters,
    open: [Waiters; 2],
    accept: [Waiters; 2],
}

impl ConnectionSlot {
    fn new(handle: ConnectionHandle, failed: bool) -> Self {
        Self {
            handle,
            connected: false,
            error: failed.then(driver_lost),
            streams: StreamTable::default(),
            remains: None,
            handshake: Waiters::default(),
            closed: Waiters::default(),
            open: Default::default(),
            accept: Default::default(),
        }
    }

    /// Those who wait in `queue`; `None` if it is a stream's that is gone.
    pub(crate) fn queue(&mut self, queue: Queue) -> Option<&mut Waiters> {
        match queue {
            Queue::Handshake => Some(&mut self.handshake),
            Queue::Closed => Some(&mut self.closed),
            Queue::Open(dir) => Some(&mut self.open[index(dir)]),
            Queue::Accept(dir) => Some(&mut self.accept[index(dir)]),
            Queue::Stopped(id) => self.streams.get(id).map(|stream| &mut stream.stopped_waiters),
        }
    }

    fn on_event(&mut self, event: Event, wakes: &mut WakeList) {
        match event {
            Event::Connected => {
                self.connected = true;
                self.handshake.wake(wakes);
            }
            Event::Closed(reason) => self.end(reason, wakes),
            Event::Stream(event) => self.on_stream_event(event, wakes),
            _ => {}
        }
    }

    fn on_stream_event(&mut self, event: StreamEvent, wakes: &mut WakeList) {
        match event {
            StreamEvent::Opened(dir) => self.accept[index(dir)].wake(wakes),
            StreamEvent::Available(dir) => self.open[index(dir)].wake(wakes),
            StreamEvent::Readable(id) => {
                if let Some(stream) = self.streams.get(id) {
                    wakes.take(&mut stream.reader);
                }
            }
            StreamEvent::Writable(id) => {
                if let Some(stream) = self.streams.get(id) {
                    wakes.take(&mut stream.writer);
                }
            }
            StreamEvent::Finished(id) => {
                if let Some(stream) = self.streams.get(id) {
                    stream.delivered = true;
                    stream.stopped_waiters.wake(wakes);
                }
            }
            StreamEvent::Stopped(id, code) => {
                if let Some(stream) = self.streams.get(id) {
                    stream.stopped = Some(code);
                    wakes.take(&mut stream.writer);
                    stream.stopped_waiters.wake(wakes);
                }
            }
            _ => {}
        }
    }

    /// The connection ended. The first reason stays.
    fn end(&mut self, reason: ConnectionError, wakes: &mut WakeList) {
        self.error.get_or_insert(reason);
        self.wake_all(wakes);
    }

    /// Wakes all who wait for anything: the connection ends or is about to.
    pub(crate) fn wake_all(&mut self, wakes: &mut WakeList) {
        self.handshake.wake(wakes);
        self.closed.wake(wakes);
        for waiters in self.open.iter_mut().chain(&mut self.accept) {
            waiters.wake(wakes);
        }
        self.streams.wake_all(wakes);
    }
}

fn index(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}
