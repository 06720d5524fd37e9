//! Endpoints as the application holds them.
//!
//! Owns [`Endpoint`], a handle to be cloned. Invariants: the driver runs as long as there is a handle of the endpoint, of one of its
//! connections or streams, or a connection that is not over. Timers: none.

use crate::connection::{Connecting, ConnectionRef};
use crate::driver::Driver;
use crate::error::ConnectError;
use crate::incoming::Incoming;
use crate::socket::Socket;
use crate::state::{Clock, IoStats, Shared, State};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::endpoint::{Endpoint as Protocol, RouterStats};
use quic_proto::error::AppError;
use quic_proto::rng::SeededRng;
use quic_udp::os;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

/// A QUIC endpoint: a UDP socket, any number of connections on it, and clients if it is a server too. Clones are handles of the same endpoint.
///
/// When the last handle is dropped no client is accepted any more; connections that are open go on. A program that ends should
/// [`close`](Self::close) the endpoint and [`wait_idle`](Self::wait_idle), so that peers hear of it.
pub struct Endpoint {
    shared: Arc<Shared>,
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
    /// If the socket cannot be used, or the system gives no randomness.
    pub fn new(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        socket: std::net::UdpSocket,
    ) -> io::Result<Self> {
        let socket = Socket::new(socket)?;
        let clock = Clock::start();
        let rng = Box::new(SeededRng::from_seed(os::secret()?));
        let shared =
            Arc::new(Shared::new(socket, clock, Protocol::new(config, server, rng, os::wall_clock())));
        let driver = Driver::new(Arc::clone(&shared));
        tokio::spawn(async move {
            if let Err(error) = driver.await {
                tracing::error!(%error, "the endpoint's socket failed");
            }
        });
        Ok(Self { shared, default_client: None })
    }

    /// What [`connect`](Self::connect) uses on this handle and on clones made of it from now on.
    pub fn set_default_client_config(&mut self, config: ClientConfig) {
        self.default_client = Some(config);
    }

    /// What is done with clients from now on; `None` accepts no more of them.
    pub fn set_server_config(&self, config: Option<Arc<ServerConfig>>) {
        self.shared.lock().endpoint.set_server(config);
    }

    /// Opens a connection to the server at `addr`, which must prove that it is `server_name`.
    ///
    /// # Errors
    /// If the attempt cannot be started. Whether the server answers is what the future tells.
    pub fn connect(&self, addr: SocketAddr, server_name: &str) -> Result<Connecting, ConnectError> {
        let config = self.default_client.as_ref().ok_or(ConnectError::NoDefaultClientConfig)?;
        self.connect_with(config, addr, server_name)
    }

    /// As [`connect`](Self::connect), with a configuration for this connection.
    ///
    /// # Errors
    /// If the attempt cannot be started.
    pub fn connect_with(
        &self,
        config: &ClientConfig,
        addr: SocketAddr,
        server_name: &str,
    ) -> Result<Connecting, ConnectError> {
        let path = self.shared.socket.path_to(addr).ok_or(ConnectError::InvalidRemoteAddress(addr))?;
        let now = self.shared.clock.now();
        let mut guard = self.shared.lock();
        let (state, _) = guard.parts();
        if state.closing {
            return Err(ConnectError::EndpointStopping);
        }
        let handle = state.endpoint.connect(now, path, server_name, config)?;
        let connection = ConnectionRef::adopt(&self.shared, state, handle);
        drop(guard);
        Ok(Connecting::new(connection))
    }

    /// Waits for the next client; `None` once the endpoint is closed. Cancel-safe: if the future is dropped before it is ready, no client
    /// is lost.
    pub async fn accept(&self) -> Option<Incoming> {
        let mut waiting = Waiting { shared: &self.shared, queue: |state| &mut state.accepting, place: None };
        let client = poll_fn(|cx| {
            waiting.poll(cx, |state| {
                if state.closing {
                    return Some(None);
                }
                state.endpoint.poll_incoming().map(Some)
            })
        });
        client.await.map(|client| Incoming::new(Arc::clone(&self.shared), client))
    }

    /// Closes all connections gracefully with `code` and `reason`, as [`Connection::close`](crate::Connection::close) does, refuses clients that
    /// wait, and opens and accepts no more connections. Returns at once; [`wait_idle`](Self::wait_idle) tells when it is done.
    pub fn close(&self, code: AppError, reason: &[u8]) {
        let now = self.shared.clock.now();
        let mut guard = self.shared.lock();
        let (state, wakes) = guard.parts();
        state.closing = true;
        // While there is a server configuration: a refusal is a server's answer.
        while let Some(client) = state.endpoint.poll_incoming() {
            state.endpoint.refuse(client);
        }
        state.endpoint.set_server(None);
        state.endpoint.close_all(now, code, reason);
        state.wake_all_connections(wakes);
        state.accepting.wake(wakes);
        state.needs_driver();
    }

    /// Waits until no connection is left: each was closed and the time is over in which late packets of its peer are answered, three probe
    /// timeouts. Without it a program may end before its peers have heard that it closed its connections.
    pub async fn wait_idle(&self) {
        let mut waiting = Waiting { shared: &self.shared, queue: |state| &mut state.idle, place: None };
        poll_fn(|cx| {
            waiting.poll(cx, |state| (state.failed || state.endpoint.connections() == 0).then_some(()))
        })
        .await;
    }

    /// The address that the socket is bound to.
    ///
    /// # Errors
    /// None at present; the signature leaves room for sockets that do not know.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.shared.socket.local_addr())
    }

    /// How many connections there are, with those that are closing.
    pub fn open_connections(&self) -> usize {
        self.shared.lock_quietly().endpoint.connections()
    }

    /// What became of datagrams and clients so far.
    pub fn stats(&self) -> RouterStats {
        self.shared.lock_quietly().endpoint.stats()
    }

    /// The socket's work so far: how many datagrams a system call carries, for one.
    pub fn io_stats(&self) -> IoStats {
        IoStats::new(&self.shared.socket.stats(), self.shared.lock_quietly().driver_runs)
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Self {
        self.shared.lock_quietly().handles += 1;
        Self { shared: Arc::clone(&self.shared), default_client: self.default_client.clone() }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let mut guard = self.shared.lock();
        guard.handles -= 1;
        if guard.handles == 0 {
            guard.closing = true;
            while let Some(client) = guard.endpoint.poll_incoming() {
                guard.endpoint.refuse(client);
            }
            guard.endpoint.set_server(None);
            guard.needs_driver();
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("local", &self.shared.socket.local_addr()).finish_non_exhaustive()
    }
}

/// A place in a queue of the endpoint, given back when the future that waits ends or is dropped.
struct Waiting<'a> {
    shared: &'a Shared,
    queue: fn(&mut State) -> &mut crate::wakers::Waiters,
    place: Option<usize>,
}

impl Waiting<'_> {
    fn poll<R>(
        &mut self,
        cx: &mut std::task::Context<'_>,
        ready: impl FnOnce(&mut State) -> Option<R>,
    ) -> Poll<R> {
        let mut guard = self.shared.lock();
        match ready(&mut guard) {
            Some(result) => Poll::Ready(result),
            None => {
                (self.queue)(&mut guard).wait(&mut self.place, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            (self.queue)(&mut self.shared.lock()).leave(place);
        }
    }
}
