//! An endpoint as a source of a mio loop.
//!
//! Owns [`Endpoint`]. A *turn* takes what is in the socket, until the application has [enough](ENOUGH) to do, runs what is due, tells the
//! application what happened, piece by piece, and then sends what came of it; [`Endpoint::drive`] is one step of it.
//!
//! Invariants: mio tells of readiness once, at the edge, so the endpoint remembers it until the system has no more. A turn is bounded,
//! so that other sources of the loop get theirs; if it ended for that reason, the next one is due at once. What was received and not handled
//! waits in the inbox; meanwhile the socket is not asked for more. What was written to the send buffer stays there until the socket has
//! taken it. The loop hears of room to send only while something waits for it: a socket has room again after each datagram that left, and
//! each time the loop would turn for nothing.
//!
//! Timers: the loop's `poll` waits for the earliest deadline of all connections, or for an endpoint that sent [far ahead](Lead) of what it
//! hears to go on; while an answer is to come at once ([`dialogue`](quic_udp::dialogue)) it does not wait.

use crate::remote::{Remote, WakeList};
use mio::event::Event as Readiness;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token, Waker};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::connection::Connection;
use quic_proto::endpoint::{AcceptError, ConnectionHandle, Endpoint as Protocol, Incoming, RouterStats};
use quic_proto::error::AppError;
use quic_proto::event::Event;
use quic_proto::rng::SeededRng;
use quic_proto::time::Instant as ProtocolTime;
use quic_udp::dialogue::Dialogue;
use quic_udp::rhythm::{self, ENOUGH, Lead, SENDS};
use quic_udp::{ReceiveBatch, SendBatch, Socket, SocketStats, os};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an endpoint waits that is far ahead of its peers, if it hears nothing. What polls makes a millisecond of it.
const PAUSE: Duration = Duration::from_micros(100);

/// A QUIC endpoint: a UDP socket and any number of connections on it; clients are accepted if it is a server too.
pub struct Endpoint {
    protocol: Protocol,
    socket: Socket<UdpSocket>,
    inbox: ReceiveBatch,
    outbox: SendBatch,
    /// Events of what was received, at most a turn's.
    events: VecDeque<(ConnectionHandle, Event)>,
    /// Clients that came until the last turn, by count.
    incoming_seen: u64,
    /// Where the socket is registered.
    watch: Option<(Registry, Token)>,
    readable: bool,
    writable: bool,
    /// The loop watches for room to send.
    awaits_room: bool,
    /// Something is to be sent, and the turn that was to send it is over.
    unsent: bool,
    /// How much was sent in a row.
    lead: Lead,
    /// Nothing is sent before, unless something is received.
    paused_until: Option<ProtocolTime>,
    /// A turn has begun.
    turning: bool,
    dialogue: Dialogue,
    /// An answer is to come at once.
    awake: bool,
    /// No client is accepted and no connection opened any more.
    closing: bool,
    started: Instant,
    woken: Arc<WakeList>,
}

/// A connection attempt that could not even be started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// [`Endpoint::close`] was called.
    #[error("the endpoint is closed")]
    EndpointStopping,
    /// The socket cannot reach such an address: an IPv6 address from an IPv4 socket, port 0, or no address at all.
    #[error("{0} cannot be reached from this endpoint's socket")]
    InvalidRemoteAddress(SocketAddr),
    /// The protocol refused: the server name, the TLS configuration, or a limit.
    #[error(transparent)]
    Refused(#[from] quic_proto::connection::ConnectError),
}

/// Something for the application to act on.
#[non_exhaustive]
pub enum Occurrence {
    /// A client wants to connect: [accept](Endpoint::accept), [retry](Endpoint::retry), [refuse](Endpoint::refuse) or
    /// [ignore](Endpoint::ignore) it.
    Incoming(Incoming),
    /// Something happened to a connection.
    Event(ConnectionHandle, Event),
    /// A connection is over and its handle means nothing any more. What came and was not read before can be read from what remains of it.
    Gone(ConnectionHandle, Box<Connection>),
    /// Another thread wants the loop to look at a connection.
    Woken(ConnectionHandle),
}

impl Endpoint {
    /// An endpoint that opens connections, bound to `addr`; `[::]:0` has both IPv4 and IPv6 where the system can, and any port.
    ///
    /// # Errors
    /// If the socket cannot be bound, or the system gives no randomness.
    pub fn client(addr: SocketAddr) -> io::Result<Self> {
        Self::new(EndpointConfig::new(&os::secret()?), None, quic_udp::bind(addr)?)
    }

    /// An endpoint that accepts connections, and can open some, bound to `addr`.
    ///
    /// # Errors
    /// If the socket cannot be bound, or the system gives no randomness.
    pub fn server(config: Arc<ServerConfig>, addr: SocketAddr) -> io::Result<Self> {
        Self::new(EndpointConfig::new(&os::secret()?), Some(config), quic_udp::bind(addr)?)
    }

    /// An endpoint on a socket of the application's making; it accepts connections if `server` is given.
    ///
    /// # Errors
    /// If the socket cannot be used (`Unsupported` if the configuration asks for [departure times](EndpointConfig::departure_times) that the
    /// system does not have), or the system gives no randomness.
    pub fn new(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        socket: std::net::UdpSocket,
    ) -> io::Result<Self> {
        let rng = Box::new(SeededRng::from_seed(os::secret()?));
        let started = Instant::now();
        let dialogue = Dialogue::new(config.busy_poll_limit());
        let departure_times = config.has_departure_times().then_some(ProtocolTime::EPOCH);
        let socket = Socket::new(socket, departure_times, |socket| Ok(UdpSocket::from_std(socket)))?;
        Ok(Self {
            protocol: Protocol::new(config, server, rng, os::wall_clock()),
            socket,
            inbox: ReceiveBatch::new(),
            outbox: SendBatch::new(),
            events: VecDeque::new(),
            incoming_seen: 0,
            watch: None,
            readable: true,
            writable: true,
            awaits_room: false,
            unsent: false,
            lead: Lead::default(),
            paused_until: None,
            turning: false,
            dialogue,
            awake: false,
            closing: false,
            started,
            woken: Arc::default(),
        })
    }

    /// Adds the socket to the loop under `token`.
    ///
    /// # Errors
    /// If the system refuses, or the socket is in a loop already.
    pub fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let own = registry.try_clone()?;
        registry.register(self.socket.io_mut(), token, Interest::READABLE)?;
        // Another loop may have heard of what came meanwhile.
        (self.watch, self.readable, self.writable, self.awaits_room) =
            (Some((own, token)), true, true, false);
        Ok(())
    }

    /// Takes the socket out of the loop; it can be added to another one.
    ///
    /// # Errors
    /// If the socket is in no loop.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.socket.io_mut())?;
        self.watch = None;
        Ok(())
    }

    /// Takes note of an event of the loop, if it is about this endpoint's socket. Returns whether it is.
    pub fn on_event(&mut self, event: &Readiness) -> bool {
        if self.watch.as_ref().is_none_or(|(_, token)| event.token() != *token) {
            return false;
        }
        self.readable |= event.is_readable() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        true
    }

    /// Does a step of the endpoint's work, and returns what the application is to act on; `None` once all is done that can be done now.
    /// Call it until then, in each round of the loop, after everything that was done to connections.
    ///
    /// From one `None` to the next is a turn, of which the work is bounded. If there is more to do, [`next_timeout`](Self::next_timeout) is
    /// zero: the loop looks at its other sources and comes back.
    ///
    /// # Errors
    /// If the socket is of no use any more.
    pub fn drive(&mut self, now: Instant) -> io::Result<Option<Occurrence>> {
        let now = self.time(now);
        if !self.turning {
            self.receive(now)?;
            self.protocol.handle_timeout(now);
            self.turning = true;
        }
        if let Some(occurrence) = self.occurrence() {
            return Ok(Some(occurrence));
        }
        self.turning = false;
        self.send(now)?;
        self.awake = self.dialogue.pause(now);
        Ok(None)
    }

    /// How long the loop may wait for events; `None`: for ever; zero: not at all, as there is more to do, or an answer is to come at once
    /// ([`EndpointConfig::busy_poll`]).
    pub fn next_timeout(&self, now: Instant) -> Option<Duration> {
        let more = self.readable || !self.inbox.is_empty();
        if self.turning || self.awake || more || (self.unsent && self.writable && self.paused_until.is_none())
        {
            return Some(Duration::ZERO);
        }
        let deadline = self.protocol.next_timeout().into_iter().chain(self.paused_until).min()?;
        Some(deadline.saturating_duration_since(self.time(now)))
    }

    /// A handle with which other threads have the loop look at connections. The loop is woken by `waker`, of which it has one for all its
    /// purposes; its events need no answer.
    pub fn remote(&self, waker: Arc<Waker>) -> Remote {
        Remote::new(Arc::clone(&self.woken), waker)
    }

    /// Opens a connection to the server at `addr`, which must prove that it is `server_name`.
    /// [`Event::Connected`] or [`Event::Closed`] tells what came of it.
    ///
    /// # Errors
    /// If the attempt cannot be started.
    pub fn connect(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        server_name: &str,
        config: &ClientConfig,
    ) -> Result<ConnectionHandle, ConnectError> {
        let path = self.socket.path_to(addr).ok_or(ConnectError::InvalidRemoteAddress(addr))?;
        if self.closing {
            return Err(ConnectError::EndpointStopping);
        }
        let handle = self.protocol.connect(self.time(now), path, server_name, config)?;
        self.protocol.keep(handle, true);
        Ok(handle)
    }

    /// Makes a connection of a client.
    ///
    /// # Errors
    /// If the client does not wait any more, or there are too many connections.
    pub fn accept(&mut self, now: Instant, client: Incoming) -> Result<ConnectionHandle, AcceptError> {
        let handle = self.protocol.accept(self.time(now), client)?;
        self.protocol.keep(handle, true);
        Ok(handle)
    }

    /// Asks a client to prove that it receives what is sent to its address (RFC 9000 §8.1.2). Its answer is an [`Incoming`] of its own, which
    /// [is validated](Incoming::is_validated).
    ///
    /// # Errors
    /// Gives the client back if it has answered a Retry packet already.
    pub fn retry(&mut self, now: Instant, client: Incoming) -> Result<(), Incoming> {
        self.protocol.retry(self.time(now), client)
    }

    /// Tells a client that it is not wanted (`CONNECTION_REFUSED`).
    pub fn refuse(&mut self, client: Incoming) {
        self.protocol.refuse(client);
    }

    /// Forgets a client without an answer. If it sends its packets again, it is a new client.
    pub fn ignore(&mut self, client: Incoming) {
        self.protocol.ignore(client);
    }

    /// A connection, to open, read, write and close; `None` if it is gone. What is done to it leaves when the endpoint is next
    /// [driven](Self::drive).
    pub fn connection(&mut self, handle: ConnectionHandle) -> Option<&mut Connection> {
        self.protocol.connection(handle)
    }

    /// The time as [`Connection::close`] and [`Connection::abort`] want it.
    pub fn time(&self, now: Instant) -> ProtocolTime {
        ProtocolTime::EPOCH + now.saturating_duration_since(self.started)
    }

    /// What is done with clients from now on; `None` accepts no more of them.
    pub fn set_server_config(&mut self, config: Option<Arc<ServerConfig>>) {
        self.protocol.set_server(config);
    }

    /// Closes all connections gracefully with `code` and `reason`, refuses clients that wait, and opens and accepts no more connections. The
    /// loop should go on until no [connection](Self::open_connections) is left, so that peers hear of it.
    pub fn close(&mut self, now: Instant, code: AppError, reason: &[u8]) {
        self.closing = true;
        // While there is a server configuration: a refusal is a server's answer.
        while let Some(client) = self.protocol.poll_incoming() {
            self.protocol.refuse(client);
        }
        self.protocol.set_server(None);
        let now = self.time(now);
        self.protocol.close_all(now, code, reason);
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// How many connections there are, with those that are closing.
    pub fn open_connections(&self) -> usize {
        self.protocol.connections()
    }

    /// What became of datagrams and clients so far.
    pub fn stats(&self) -> RouterStats {
        self.protocol.stats()
    }

    /// The socket's work so far: how many datagrams a system call carries, for one.
    pub fn socket_stats(&self) -> SocketStats {
        self.socket.stats()
    }

    fn occurrence(&mut self) -> Option<Occurrence> {
        if let Some(client) = self.protocol.poll_incoming() {
            return Some(Occurrence::Incoming(client));
        }
        while let Some(handle) = self.woken.pop() {
            if self.protocol.get(handle).is_some() {
                return Some(Occurrence::Woken(handle));
            }
        }
        if let Some((handle, event)) = self.events.pop_front().or_else(|| self.protocol.poll_event()) {
            return Some(Occurrence::Event(handle, event));
        }
        self.protocol.poll_remains().map(|(handle, remains)| Occurrence::Gone(handle, remains))
    }

    /// Gives the protocol a batch of what is in the socket, until the application has enough to do.
    fn receive(&mut self, now: ProtocolTime) -> io::Result<()> {
        if self.inbox.is_empty() {
            if !self.readable {
                return Ok(());
            }
            match self.socket.io().try_io(|| self.socket.try_receive(&mut self.inbox)) {
                Ok(()) => self.readable = !self.inbox.drained_the_socket(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        let (mut work, mut heard) = (0, 0);
        while work < ENOUGH
            && let Some(datagram) = self.inbox.next_datagram()
        {
            heard += 1;
            self.dialogue.received(now, &datagram);
            self.protocol.handle_datagram(now, datagram);
            work += self.collect();
        }
        if heard > 0 {
            self.lead.heard(heard);
            self.paused_until = None;
        }
        Ok(())
    }

    /// Takes the events of a datagram. Returns how much work they give the application.
    fn collect(&mut self) -> usize {
        let mut work = 0;
        while let Some((handle, event)) = self.protocol.poll_event() {
            work += rhythm::work(&event);
            self.events.push_back((handle, event));
        }
        let incoming = self.protocol.stats().incoming;
        if std::mem::replace(&mut self.incoming_seen, incoming) != incoming {
            work += ENOUGH;
        }
        work
    }

    /// Sends what the protocol has.
    fn send(&mut self, now: ProtocolTime) -> io::Result<()> {
        if self.paused_until.is_some_and(|end| now < end) {
            return Ok(());
        }
        self.paused_until = None;
        for _ in 0..SENDS {
            if self.lead.is_far() {
                self.lead.reset();
                self.paused_until = Some(now + PAUSE);
                return Ok(());
            }
            if !self.fill(now) || !self.writable {
                return Ok(());
            }
            match self.socket.io().try_io(|| self.socket.try_send(&mut self.outbox)) {
                Ok(()) if std::mem::take(&mut self.awaits_room) => self.watch_for(Interest::READABLE)?,
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return self.wait_for_room(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Has the protocol write what is to be sent next. Returns whether there is something.
    fn fill(&mut self, now: ProtocolTime) -> bool {
        let (protocol, lead, dialogue) = (&mut self.protocol, &mut self.lead, &mut self.dialogue);
        let segments = self.socket.max_segments();
        self.unsent = self.outbox.fill(|buf| {
            let transmit = protocol.poll_transmit(now, buf, segments)?;
            lead.sent(transmit.len);
            dialogue.sent(now, &transmit);
            Some(transmit)
        });
        if !self.unsent {
            self.lead.reset();
        }
        self.unsent
    }

    /// The system's buffer is full.
    fn wait_for_room(&mut self) -> io::Result<()> {
        (self.writable, self.awaits_room) = (false, true);
        self.watch_for(Interest::READABLE | Interest::WRITABLE)
    }

    fn watch_for(&mut self, interest: Interest) -> io::Result<()> {
        let Some((registry, token)) = &self.watch else { return Ok(()) };
        registry.reregister(self.socket.io_mut(), *token, interest)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("local", &self.local_addr()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll};
    use quic_proto::crypto::null::NullClient;

    #[test]
    fn the_loop_hears_of_room_only_while_something_waits_for_it() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        endpoint.register(poll.registry(), Token(7)).unwrap();
        let config = ClientConfig::new(Arc::new(NullClient::default())).build().unwrap();
        let now = Instant::now();
        let nobody = "127.0.0.1:9".parse().unwrap();
        endpoint.connect(now, nobody, "localhost", &config).unwrap();

        // As if the system's buffer were full.
        endpoint.wait_for_room().unwrap();
        assert!(endpoint.drive(now).unwrap().is_none());
        assert_eq!(endpoint.socket_stats().sent_datagrams, 0);
        assert_ne!(endpoint.next_timeout(now), Some(Duration::ZERO), "the loop waits for room");

        poll.poll(&mut events, None).unwrap();
        events.iter().for_each(|event| assert!(endpoint.on_event(event)));
        assert!(endpoint.drive(now).unwrap().is_none());
        assert_eq!(endpoint.socket_stats().sent_datagrams, 1);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        assert!(!events.iter().any(Readiness::is_writable));
    }
}
