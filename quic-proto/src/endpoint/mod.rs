//! Many connections on one socket.
//!
//! [`Endpoint`] owns its connections and is what most people hold: datagrams in, datagrams out, one deadline, one queue of events.
//! [`Router`] is the part of it that does not own connections, for those who put each on a task of its own.
//!
//! The endpoint owns, beside the router: the connections, by handle; an ordered set of their deadlines; a queue of those that may have
//! something to send and one of those that may have an event; clients that the application has not looked at; answers to strangers
//! that wait to be sent.
//!
//! Invariants: a connection that was touched is in both queues until it was asked in vain, so that polling with nothing to do is O(1);
//! a connection outside the sending queue has its deadline in the set. Connections take turns, a batch of datagrams or an event each.
//!
//! Timers: the earliest of all connections.

mod demux;
mod incoming;
mod outcome;
mod router;
mod stateless;
mod used_tokens;

pub use demux::ConnectionHandle;
pub use incoming::Incoming;
pub use outcome::{AcceptError, DropReason, Routed, RouterStats};
pub use router::Router;
pub use stateless::MAX_RESPONSE;

use crate::config::{ClientConfig, EndpointConfig, ServerConfig};
use crate::connection::{ConnectError, Connection};
use crate::error::AppError;
use crate::event::Event;
use crate::net::{Datagram, FourTuple, Transmit};
use crate::rng::Rng;
use crate::time::{Instant, UnixTime};
use std::collections::{BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Answers to strangers that may wait to be sent; more are dropped, as the strangers ask again.
const MAX_RESPONSES: usize = 256;

/// The least room for a datagram, RFC 9000 §14: "QUIC … MUST NOT be used if the network path cannot support a maximum datagram size of at
/// least 1200 bytes."
const MIN_BUFFER: usize = 1200;

/// Connections on one socket, driven by one thread.
///
/// Call any method as often as you like, in any order; then [`poll_transmit`](Self::poll_transmit) until `None`,
/// [`poll_incoming`](Self::poll_incoming) and [`poll_event`](Self::poll_event) until `None`, then sleep until
/// [`next_timeout`](Self::next_timeout) or until a datagram comes. Forgetting to poll delays work; it never loses it. A connection
/// that ended is gone once its last event was polled.
pub struct Endpoint {
    router: Router,
    slots: Vec<Option<Slot>>,
    deadlines: BTreeSet<(Instant, ConnectionHandle)>,
    /// Connections that may have something to send.
    sending: VecDeque<ConnectionHandle>,
    /// Connections that may have an event, or may be over.
    eventful: VecDeque<ConnectionHandle>,
    incoming: VecDeque<Incoming>,
    responses: VecDeque<Response>,
    /// Connections that are over and that the application wants.
    remains: Vec<(ConnectionHandle, Box<Connection>)>,
    scratch: Box<[u8; MAX_RESPONSE]>,
}

struct Slot {
    handle: ConnectionHandle,
    connection: Box<Connection>,
    /// Its deadline in the set, which may be an old one while the connection is in the sending queue.
    deadline: Option<Instant>,
    sending: bool,
    eventful: bool,
    /// The application wants it when it is over.
    kept: bool,
}

impl Slot {
    /// Queues the connection where it is not queued yet.
    fn touch(&mut self, sending: &mut VecDeque<ConnectionHandle>, eventful: &mut VecDeque<ConnectionHandle>) {
        if !std::mem::replace(&mut self.sending, true) {
            sending.push_back(self.handle);
        }
        if !std::mem::replace(&mut self.eventful, true) {
            eventful.push_back(self.handle);
        }
    }
}

struct Response {
    transmit: Transmit,
    payload: Vec<u8>,
}

impl Endpoint {
    /// An endpoint; a server too if `server` is given. `rng` gives connection ids and the like and must be seeded by the operating
    /// system outside of tests; `epoch` is the wall-clock time at [`Instant::EPOCH`].
    pub fn new(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        rng: Box<dyn Rng>,
        epoch: UnixTime,
    ) -> Self {
        Self {
            router: Router::new(config, server, rng, epoch),
            slots: Vec::new(),
            deadlines: BTreeSet::new(),
            sending: VecDeque::new(),
            eventful: VecDeque::new(),
            incoming: VecDeque::new(),
            responses: VecDeque::new(),
            remains: Vec::new(),
            scratch: Box::new([0; MAX_RESPONSE]),
        }
    }

    /// Changes what is done with clients from now on; `None` accepts no more of them.
    pub fn set_server(&mut self, server: Option<Arc<ServerConfig>>) {
        self.router.set_server(server);
    }

    /// Opens a connection to the server at `to`, which must prove that it is `server_name`.
    ///
    /// # Errors
    /// If the name or a configuration is refused, or there are too many connections (without connection ids: if there is one to this address
    /// already).
    pub fn connect(
        &mut self,
        now: Instant,
        to: FourTuple,
        server_name: &str,
        config: &ClientConfig,
    ) -> Result<ConnectionHandle, ConnectError> {
        // What has just ended may have an address to give up.
        for handle in &self.sending {
            if let Some(slot) = slot(&mut self.slots, *handle) {
                self.router.drain(*handle, &mut slot.connection);
            }
        }
        let (handle, connection) = self.router.connect(now, to, server_name, config)?;
        self.add(handle, connection);
        Ok(handle)
    }

    /// Takes a datagram from the socket.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        match self.router.route(now, &datagram, &mut self.scratch[..]) {
            Routed::Connection(handle) => {
                if let Some(slot) = slot(&mut self.slots, handle) {
                    slot.connection.handle_datagram(now, datagram);
                    slot.touch(&mut self.sending, &mut self.eventful);
                }
            }
            Routed::Incoming(incoming) => {
                // The router lets clients go that waited for too long; they are the first here too.
                while self.incoming.front().is_some_and(|oldest| !self.router.is_waiting(oldest)) {
                    self.incoming.pop_front();
                }
                self.incoming.push_back(incoming);
            }
            Routed::Respond(transmit) => self.respond(transmit),
            Routed::Buffered | Routed::Dropped(_) => {}
        }
    }

    /// Does what is due. Early or repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((_, handle)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now)
        {
            self.deadlines.pop_first();
            if let Some(slot) = slot(&mut self.slots, handle) {
                slot.deadline = None;
                slot.connection.handle_timeout(now);
                self.touch(handle);
            }
        }
        // Those that were touched since they were last asked for datagrams may have an earlier deadline than the set knows.
        for at in 0..self.sending.len() {
            let handle = self.sending[at];
            let Some(slot) = slot(&mut self.slots, handle) else { continue };
            if slot.connection.next_timeout().is_some_and(|deadline| deadline <= now) {
                slot.connection.handle_timeout(now);
                self.touch(handle);
            }
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; `None` if nothing is waited for.
    pub fn next_timeout(&self) -> Option<Instant> {
        let touched = self.sending.iter().filter_map(|handle| {
            let slot = self.slots.get(handle.index())?.as_ref().filter(|slot| slot.handle == *handle)?;
            slot.connection.next_timeout()
        });
        let known = self.deadlines.first().map(|(deadline, _)| *deadline);
        touched.chain(known).min()
    }

    /// Writes what is to be sent next to `buf`: one datagram, or up to `max_segments` of one size to the same peer. `None` if there is
    /// nothing to send for now. `buf` should have room for at least 1200 bytes, and for as many as a segment times their number.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        // Nobody is asked in vain: a connection that has something to send must stay in the queue until there is room for it.
        if buf.len() < MIN_BUFFER {
            return None;
        }
        while let Some(Response { transmit, payload }) = self.responses.pop_front() {
            if let Some(out) = buf.get_mut(..payload.len()) {
                out.copy_from_slice(&payload);
                return Some(transmit);
            }
        }
        while let Some(handle) = self.sending.pop_front() {
            let Some(slot) = slot(&mut self.slots, handle) else { continue };
            let transmit = slot.connection.poll_transmit(now, buf, max_segments);
            self.router.drain(handle, &mut slot.connection);
            if transmit.is_some() {
                self.sending.push_back(handle);
                return transmit;
            }
            slot.sending = false;
            let deadline = slot.connection.next_timeout();
            let old = std::mem::replace(&mut slot.deadline, deadline);
            if old != deadline {
                // The old one first, so that no full node of the set is split for a moment.
                old.map(|old| self.deadlines.remove(&(old, handle)));
                self.deadlines.extend(deadline.map(|deadline| (deadline, handle)));
            }
        }
        None
    }

    /// The next event of any connection.
    pub fn poll_event(&mut self) -> Option<(ConnectionHandle, Event)> {
        while let Some(handle) = self.eventful.pop_front() {
            let Some(slot) = slot(&mut self.slots, handle) else { continue };
            if let Some(event) = slot.connection.poll_event() {
                self.eventful.push_back(handle);
                return Some((handle, event));
            }
            slot.eventful = false;
            if slot.connection.is_drained() {
                self.remove(handle);
            }
        }
        None
    }

    /// The next client that wants to connect, for [`accept`](Self::accept), [`retry`](Self::retry), [`refuse`](Self::refuse) or
    /// [`ignore`](Self::ignore).
    pub fn poll_incoming(&mut self) -> Option<Incoming> {
        while let Some(incoming) = self.incoming.pop_front() {
            if self.router.is_waiting(&incoming) {
                return Some(incoming);
            }
        }
        None
    }

    /// Makes a connection of a client.
    ///
    /// # Errors
    /// If it cannot be accepted; the client is ignored then.
    pub fn accept(&mut self, now: Instant, incoming: Incoming) -> Result<ConnectionHandle, AcceptError> {
        let (handle, connection) = self.router.accept(now, incoming)?;
        self.add(handle, connection);
        Ok(handle)
    }

    /// Asks a client to prove that it receives what is sent to its address (RFC 9000 §8.1.2). Its answer is an [`Incoming`] of its own,
    /// which [is validated](Incoming::is_validated).
    ///
    /// # Errors
    /// Gives the client back if it has answered a Retry packet already.
    pub fn retry(&mut self, now: Instant, incoming: Incoming) -> Result<(), Incoming> {
        if let Some(transmit) = self.router.retry(now, incoming, &mut self.scratch[..])? {
            self.respond(transmit);
        }
        Ok(())
    }

    /// Tells a client that it is not wanted (`CONNECTION_REFUSED`).
    pub fn refuse(&mut self, incoming: Incoming) {
        if let Some(transmit) = self.router.refuse(incoming, &mut self.scratch[..]) {
            self.respond(transmit);
        }
    }

    /// Forgets a client without an answer. If it sends its packets again, it is a new client.
    pub fn ignore(&mut self, incoming: Incoming) {
        self.router.ignore(incoming);
    }

    /// A connection, for its application; `None` if it is gone. What is done to it takes effect when the endpoint is polled.
    pub fn connection(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        slot(&mut self.slots, handle)?;
        self.touch(handle);
        slot(&mut self.slots, handle).map(|slot| &mut *slot.connection)
    }

    /// A connection, only to look at; `None` if it is gone.
    pub fn get(&self, handle: ConnectionHandle) -> Option<&Connection> {
        let slot = self.slots.get(handle.index())?.as_ref()?;
        (slot.handle == handle).then_some(&*slot.connection)
    }

    /// Says whether the application wants a connection when it is over and gone from here, to read what came and was not read yet:
    /// [`poll_remains`](Self::poll_remains) gives it then. It is not wanted at first.
    pub fn keep(&mut self, handle: ConnectionHandle, keep: bool) {
        if let Some(slot) = slot(&mut self.slots, handle) {
            slot.kept = keep;
        }
    }

    /// A connection that is over and was to be [kept](Self::keep); it comes after its last event. Its handle means nothing any more.
    pub fn poll_remains(&mut self) -> Option<(ConnectionHandle, Box<Connection>)> {
        self.remains.pop()
    }

    /// Closes all connections with the application's `code` and `reason`.
    pub fn close_all(&mut self, now: Instant, code: AppError, reason: &[u8]) {
        for at in 0..self.slots.len() {
            let Some(slot) = &mut self.slots[at] else { continue };
            let handle = slot.handle;
            slot.connection.close(now, code, reason);
            self.touch(handle);
        }
    }

    /// How many connections there are, with those that are closing.
    pub fn connections(&self) -> usize {
        self.router.connections()
    }

    /// Whether a datagram belongs to a connection here, or to a client that waits. For those who spread connections over several endpoints
    /// on one port and do not know whose it is.
    pub fn owns(&mut self, datagram: &Datagram<'_>) -> bool {
        self.router.owns(datagram)
    }

    /// Whether there are connections to which packets come without an id of ours: they are found by their addresses.
    pub fn routes_by_address(&self) -> bool {
        self.router.routes_by_address()
    }

    /// What became of datagrams and clients so far.
    pub fn stats(&self) -> RouterStats {
        self.router.stats()
    }

    fn add(&mut self, handle: ConnectionHandle, connection: Connection) {
        if self.slots.len() <= handle.index() {
            self.slots.resize_with(handle.index() + 1, || None);
        }
        let connection = Box::new(connection);
        self.slots[handle.index()] =
            Some(Slot { handle, connection, deadline: None, sending: false, eventful: false, kept: false });
        self.touch(handle);
    }

    /// Something was done to this connection: it may have datagrams to send, and events. Its news for the router are looked for when it
    /// is asked for datagrams: nobody has heard of new ids before that, and old ones may lead here a little longer.
    fn touch(&mut self, handle: ConnectionHandle) {
        if let Some(slot) = slot(&mut self.slots, handle) {
            slot.touch(&mut self.sending, &mut self.eventful);
        }
    }

    fn remove(&mut self, handle: ConnectionHandle) {
        if let Some(slot) = self.slots.get_mut(handle.index()).and_then(Option::take) {
            slot.deadline.map(|deadline| self.deadlines.remove(&(deadline, handle)));
            self.router.remove(handle);
            if slot.kept {
                self.remains.push((handle, slot.connection));
            }
        }
    }

    /// Queues the answer that was written to the scratch buffer.
    fn respond(&mut self, transmit: Transmit) {
        if self.responses.len() < MAX_RESPONSES {
            let payload = self.scratch[..transmit.len].to_vec();
            self.responses.push_back(Response { transmit, payload });
        }
    }
}

/// The slot of a connection that is present. Apart from [`Endpoint`] so that its queues can be borrowed beside.
fn slot(slots: &mut [Option<Slot>], handle: ConnectionHandle) -> Option<&mut Slot> {
    slots.get_mut(handle.index())?.as_mut().filter(|slot| slot.handle == handle)
}

#[cfg(test)]
mod tests;
