//! An endpoint as a source of a mio loop.
//!
//! Owns [`Endpoint`]. A *turn* takes what is in the socket, runs what is due, tells the application what happened, piece by piece, and then
//! sends what came of it; [`Endpoint::drive`] is one step of it.
//!
//! Invariants: mio tells of readiness once, at the edge, so the endpoint remembers it until the system has no more. A turn is bounded,
//! so that other sources of the loop get theirs; if it ended for that reason, the next one is due at once. What was written to the send
//! buffer stays there until the socket has taken it.
//!
//! Timers: none of its own; the loop's `poll` waits for the earliest deadline of all connections.

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
use quic_udp::{ReceiveBatch, SendBatch, Socket, SocketStats, os};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Receive calls in a turn. One takes 16 messages, so a socket that has more than this has a peer who needs an answer.
const RECEIVES: usize = 4;

/// Sends of full batches in a turn, lest acknowledgements wait.
const SENDS: usize = 8;

/// A QUIC endpoint: a UDP socket and any number of connections on it; clients are accepted if it is a server too.
pub struct Endpoint {
    protocol: Protocol,
    socket: Socket<UdpSocket>,
    inbox: ReceiveBatch,
    outbox: SendBatch,
    token: Option<Token>,
    readable: bool,
    writable: bool,
    /// Something is to be sent, and the turn that was to send it is over.
    unsent: bool,
    /// A turn has begun.
    turning: bool,
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
        let departure_times = config.has_departure_times().then_some(ProtocolTime::EPOCH);
        let socket = Socket::new(socket, departure_times, |socket| Ok(UdpSocket::from_std(socket)))?;
        Ok(Self {
            protocol: Protocol::new(config, server, rng, os::wall_clock()),
            socket,
            inbox: ReceiveBatch::new(),
            outbox: SendBatch::new(),
            token: None,
            readable: true,
            writable: true,
            unsent: false,
            turning: false,
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
        registry.register(self.socket.io_mut(), token, Interest::READABLE | Interest::WRITABLE)?;
        self.token = Some(token);
        Ok(())
    }

    /// Takes the socket out of the loop; it can be added to another one.
    ///
    /// # Errors
    /// If the socket is in no loop.
    pub fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(self.socket.io_mut())?;
        self.token = None;
        Ok(())
    }

    /// Takes note of an event of the loop, if it is about this endpoint's socket. Returns whether it is.
    pub fn on_event(&mut self, event: &Readiness) -> bool {
        if Some(event.token()) != self.token {
            return false;
        }
        self.readable |= event.is_readable() || event.is_error();
        self.writable |= event.is_writable() || event.is_error();
        true
    }

    /// Does a step of the endpoint's work, and returns what the application is to act on; `None` once all is done that can be done now.
    /// Call it until then, in each round of the loop, after everything that was done to connections.
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
        Ok(None)
    }

    /// How long the loop may wait for events; `None`: for ever.
    pub fn next_timeout(&self, now: Instant) -> Option<Duration> {
        if self.turning || self.readable || (self.unsent && self.writable) {
            return Some(Duration::ZERO);
        }
        let deadline = self.protocol.next_timeout()?;
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
        if let Some((handle, event)) = self.protocol.poll_event() {
            return Some(Occurrence::Event(handle, event));
        }
        self.protocol.poll_remains().map(|(handle, remains)| Occurrence::Gone(handle, remains))
    }

    /// Gives the protocol what is in the socket.
    fn receive(&mut self, now: ProtocolTime) -> io::Result<()> {
        for _ in 0..RECEIVES {
            if !self.readable {
                break;
            }
            match self.socket.io().try_io(|| self.socket.try_receive(&mut self.inbox)) {
                Ok(()) => {
                    while let Some(datagram) = self.inbox.next_datagram() {
                        self.protocol.handle_datagram(now, datagram);
                    }
                    self.readable = !self.inbox.drained_the_socket();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends what the protocol has.
    fn send(&mut self, now: ProtocolTime) -> io::Result<()> {
        let (protocol, segments) = (&mut self.protocol, self.socket.max_segments());
        for _ in 0..SENDS {
            self.unsent = self.outbox.fill(|buf| protocol.poll_transmit(now, buf, segments));
            if !self.unsent || !self.writable {
                return Ok(());
            }
            match self.socket.io().try_io(|| self.socket.try_send(&mut self.outbox)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
