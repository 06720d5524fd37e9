//! Endpoints as the application holds them.
//!
//! Owns [`Endpoint`], a handle to be cloned. Invariants: the driver of a shard runs as long as there is a handle of the endpoint, of one of the
//! shard's connections or streams, or a connection that is not over. Timers: none.

use crate::connection::{Connecting, ConnectionRef};
use crate::driver::Driver;
use crate::error::ConnectError;
use crate::incoming::Incoming;
use crate::shards::{ShardList, Waiting};
use crate::socket::Socket;
use crate::state::{Clock, Shared};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::endpoint::{Endpoint as Protocol, RouterStats};
use quic_proto::error::AppError;
use quic_proto::rng::SeededRng;
use quic_udp::{Shards, SocketStats, bind_group, os, steer};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::iter::repeat_n;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::Arc;

/// A QUIC endpoint: a UDP socket, any number of connections on it, and clients if it is a server too. Clones are handles of the same endpoint.
///
/// When the last handle is dropped no client is accepted any more; connections that are open go on. A program that ends should
/// [`close`](Self::close) the endpoint and [`wait_idle`](Self::wait_idle), so that peers hear of it.
pub struct Endpoint {
    shards: Arc<ShardList>,
    default_client: Option<ClientConfig>,
}

impl Endpoint {
    /// An endpoint that opens connections, bound to `addr`; `[::]:0` has both IPv4 and IPv6 where the system can, and any port.
    ///
    /// Must be called within a tokio runtime with I/O and time enabled, as the other constructors.
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
        socket: UdpSocket,
    ) -> io::Result<Self> {
        Self::on_sockets(config, server, vec![socket])
    }

    /// An endpoint that uses several cores: bound to `addr` with as many sockets as there are `shards`, each with a driver and a lock of its
    /// own. A connection lives in one shard, which its connection ids name: `config` has no say in them. On Linux the kernel leads every
    /// datagram to its shard, also if a client migrates; elsewhere, and where it refuses, shards forward what came to the wrong one. So do they
    /// with packets that carry no connection id, which servers send in some versions.
    ///
    /// Limits in the configurations (of connections, of clients that wait) are those of each shard. A stateless reset names no connection,
    /// and is recognised only if it happens to come to the connection's shard; otherwise the connection ends by its idle timeout.
    ///
    /// # Errors
    /// If the sockets cannot be bound, a port cannot be shared (on Windows), or the system gives no randomness.
    pub fn sharded(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        addr: SocketAddr,
        shards: NonZeroU8,
    ) -> io::Result<Self> {
        if shards == NonZeroU8::MIN {
            return Self::new(config, server, quic_udp::bind(addr)?);
        }
        let sockets = bind_group(addr, Shards::new(shards))?;
        if let Err(error) = steer(&sockets) {
            tracing::warn!(%error, "the kernel does not lead datagrams to their shards; they are forwarded");
        }
        Self::on_sockets(config, server, sockets)
    }

    /// An endpoint with a shard for each of these sockets, which share one port; see [`sharded`](Self::sharded).
    ///
    /// # Errors
    /// If there is no socket or there are more than 255, one cannot be used (`Unsupported` if the configuration asks for
    /// [departure times](EndpointConfig::departure_times) that the system does not have), or the system gives no randomness.
    pub fn on_sockets(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        sockets: Vec<UdpSocket>,
    ) -> io::Result<Self> {
        let count = u8::try_from(sockets.len()).ok().and_then(NonZeroU8::new);
        let rule = Shards::new(count.ok_or(io::ErrorKind::InvalidInput)?);
        let rule = Some(rule).filter(|rule| rule.count() > 1);
        let (clock, epoch) = (Clock::start(), os::wall_clock());
        let busy_poll = config.busy_poll_limit();
        let mut shards = Vec::with_capacity(sockets.len());
        let configs = repeat_n((config, server), sockets.len());
        for (number, (socket, (config, server))) in sockets.into_iter().zip(configs).enumerate() {
            let config = if let Some(rule) = rule { rule.configure(number, config) } else { config };
            let socket = Socket::new(socket, config.has_departure_times().then(|| clock.now()))?;
            let rng = Box::new(SeededRng::from_seed(os::secret()?));
            let protocol = Protocol::new(config, server, rng, epoch);
            shards.push(Arc::new(Shared::new(socket, clock, protocol)));
        }
        let shards = Arc::new(ShardList::new(shards, rule));
        for number in 0..shards.len() {
            let driver = Driver::new(Arc::clone(&shards), number, busy_poll);
            tokio::spawn(async move {
                if let Err(error) = driver.await {
                    tracing::error!(%error, "the endpoint's socket failed");
                }
            });
        }
        Ok(Self { shards, default_client: None })
    }

    /// What [`connect`](Self::connect) uses on this handle and on clones made of it from now on.
    pub fn set_default_client_config(&mut self, config: ClientConfig) {
        self.default_client = Some(config);
    }

    /// What is done with clients from now on; `None` accepts no more of them.
    pub fn set_server_config(&self, config: Option<Arc<ServerConfig>>) {
        for (shard, config) in self.shards.iter().zip(repeat_n(config, self.shards.len())) {
            shard.lock().endpoint.set_server(config);
        }
    }

    /// Opens a connection to the server at `addr`, which must prove that it is `server_name`.
    ///
    /// # Errors
    /// If the attempt cannot be started. Whether the server answers is what the future tells.
    pub fn connect(&self, addr: SocketAddr, server_name: &str) -> Result<Connecting, ConnectError> {
        let config = self.default_client.as_ref().ok_or(ConnectError::NoDefaultClientConfig)?;
        self.connect_with(addr, server_name, config)
    }

    /// As [`connect`](Self::connect), with a configuration for this connection.
    ///
    /// # Errors
    /// If the attempt cannot be started.
    pub fn connect_with(
        &self,
        addr: SocketAddr,
        server_name: &str,
        config: &ClientConfig,
    ) -> Result<Connecting, ConnectError> {
        let shared = self.next_shard();
        let path = shared.socket.path_to(addr).ok_or(ConnectError::InvalidRemoteAddress(addr))?;
        let now = shared.clock.now();
        let mut guard = shared.lock();
        let (state, _) = guard.parts();
        if state.closing {
            return Err(ConnectError::EndpointStopping);
        }
        let handle = state.endpoint.connect(now, path, server_name, config)?;
        let connection = ConnectionRef::adopt(shared, state, handle);
        drop(guard);
        Ok(Connecting::new(connection))
    }

    /// Waits for the next client; `None` once the endpoint is closed. Cancel-safe: if the future is dropped before it is ready, no client
    /// is lost.
    pub async fn accept(&self) -> Option<Incoming> {
        let mut waiting = Waiting::new(&self.shards, |state| &mut state.accepting);
        let client = poll_fn(|cx| {
            waiting.poll_any(cx, |state| {
                if state.closing {
                    return Some(None);
                }
                state.endpoint.poll_incoming().map(Some)
            })
        });
        let (number, client) = client.await;
        client.map(|client| Incoming::new(Arc::clone(&self.shards[number]), client))
    }

    /// Closes all connections gracefully with `code` and `reason`, as [`Connection::close`](crate::Connection::close) does, refuses clients that
    /// wait, and opens and accepts no more connections. Returns at once; [`wait_idle`](Self::wait_idle) tells when it is done.
    pub fn close(&self, code: AppError, reason: &[u8]) {
        let now = self.first().clock.now();
        self.shards.for_each(|guard| {
            let (state, wakes) = guard.parts();
            state.accept_no_more();
            state.endpoint.close_all(now, code, reason);
            state.wake_all_connections(wakes);
            state.accepting.wake(wakes);
            state.needs_driver();
        });
    }

    /// Waits until no connection is left: each was closed and the time is over in which late packets of its peer are answered, three probe
    /// timeouts. Without it a program may end before its peers have heard that it closed its connections.
    pub async fn wait_idle(&self) {
        let mut waiting = Waiting::new(&self.shards, |state| &mut state.idle);
        poll_fn(|cx| waiting.poll_all(cx, |state| state.failed || state.endpoint.connections() == 0)).await;
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.first().socket.local_addr()
    }

    /// How many connections there are, with those that are closing.
    pub fn open_connections(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock_quietly().endpoint.connections()).sum()
    }

    /// What became of datagrams and clients so far.
    pub fn stats(&self) -> RouterStats {
        let mut sum = RouterStats::default();
        self.shard_stats().into_iter().for_each(|shard| sum += shard);
        sum
    }

    /// What became of datagrams and clients of each shard so far.
    pub fn shard_stats(&self) -> Vec<RouterStats> {
        self.shards.iter().map(|shard| shard.lock_quietly().endpoint.stats()).collect()
    }

    /// The sockets' work so far: how many datagrams a system call carries, for one.
    pub fn socket_stats(&self) -> SocketStats {
        let mut sum = SocketStats::default();
        self.shards.iter().for_each(|shard| sum += shard.socket.stats());
        sum
    }

    /// How many datagrams came to another shard than the one that they belong to.
    pub fn forwarded_datagrams(&self) -> u64 {
        self.shards.iter().map(|shard| shard.lock_quietly().forwarded).sum()
    }

    fn first(&self) -> &Shared {
        &self.shards[0]
    }

    fn next_shard(&self) -> &Arc<Shared> {
        self.shards.in_turn().next().expect("invariant: an endpoint has a shard").1
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        self.shards.for_each(|shard| shard.handles += 1);
        Self { shards: Arc::clone(&self.shards), default_client: self.default_client.clone() }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shards.for_each(|shard| {
            shard.handles -= 1;
            if shard.handles == 0 {
                shard.accept_no_more();
                shard.needs_driver();
            }
        });
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Endpoint");
        debug.field("local", &self.first().socket.local_addr()).field("shards", &self.shards.len());
        debug.finish_non_exhaustive()
    }
}
