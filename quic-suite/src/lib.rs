//! How endpoints behave, written once and run on every adapter: a difference between adapters is a defect.
//!
//! Owns the traits that a behaviour is written against, [`Setup`], the [`behaviours`], and the adapters behind the traits: [`on_tokio`]; and
//! on [`looped`], which is for loops that are turned by hand, [`on_mio`] and [`on_sim`]. What runs on what is in `tests/`: one line for each
//! adapter and version.
//!
//! Behaviours are `async`, as they wait for several things at once. On an adapter that is not, a future is polled after each turn of the loop,
//! and what had to wait tries again only once the event has come that promises success: a missing event is a hanging test. In the simulator a
//! hanging test ends at once, since nothing will ever happen again.
#![allow(async_fn_in_trait, reason = "the futures stay on the thread of the test")]

pub mod behaviours;
pub mod looped;
pub mod on_mio;
pub mod on_sim;
pub mod on_tokio;
mod setup;
mod together;

pub use setup::{ALPN, Configs, Setup};
pub use together::{both, poll_once};

use quic_proto::error::{AppError, ConnectionError};
use quic_proto::invariants::Version;
use std::time::Duration;

/// Something that joins a client's and a server's endpoint and has a behaviour act on them.
pub trait Adapter {
    /// Its endpoints.
    type Endpoint: Endpoint;

    /// Runs `behaviour` to its end; panics if it hangs.
    fn run(setup: Setup, behaviour: impl AsyncFnOnce(&Pair<Self::Endpoint>));
}

/// Two endpoints that reach each other.
pub struct Pair<E> {
    /// The one that connects.
    pub client: E,
    /// The one that is connected to.
    pub server: E,
}

impl<E: Endpoint> Pair<E> {
    /// A connection, as the client and as the server hold it.
    pub async fn connect(&self) -> (E::Connection, E::Connection) {
        let accepted = async { self.server.accept().await.expect("it is open").accept().await };
        let (connected, accepted) = both(self.client.connect(), accepted).await;
        (connected.expect("the server accepts"), accepted.expect("the client goes on"))
    }
}

/// An endpoint.
pub trait Endpoint {
    /// Its connections.
    type Connection: Connection;
    /// Its clients.
    type Incoming: Incoming<Connection = Self::Connection>;

    /// Connects to the server of the pair.
    async fn connect(&self) -> Result<Self::Connection, ConnectionError>;
    /// Connects to where nobody answers.
    async fn connect_to_nobody(&self) -> Result<Self::Connection, ConnectionError>;
    /// Whether a connection attempt to such an address is not even started: one without a port, as often as the endpoint is closed: any.
    fn refuses_to_connect(&self, to_the_server: bool) -> bool;
    /// The next client.
    async fn accept(&self) -> Option<Self::Incoming>;
    /// Closes all connections and accepts no more.
    fn close(&self, code: AppError, reason: &[u8]);
    /// Waits until no connection is left.
    async fn wait_idle(&self);
    /// How many connections there are.
    fn open_connections(&self) -> usize;
    /// Lets time pass.
    async fn sleep(&self, time: Duration);
}

/// A client about whom the server decides.
pub trait Incoming: Sized {
    /// What becomes of it.
    type Connection;

    /// Whether the client proved its address.
    fn is_validated(&self) -> bool;
    /// Accepts it, and waits for the handshake.
    async fn accept(self) -> Result<Self::Connection, ConnectionError>;
    /// Sends a Retry packet; gives the client back if there was one before.
    fn retry(self) -> Result<(), Self>;
    /// Tells it that it is not wanted.
    fn refuse(self);
    /// Forgets it.
    fn ignore(self);
}

/// A connection.
pub trait Connection {
    /// Its streams' sending parts.
    type Send: SendStream;
    /// Their receiving parts.
    type Recv: RecvStream;

    /// Opens a stream, once the peer permits it.
    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), ConnectionError>;
    /// Opens a stream, once the peer permits it.
    async fn open_uni(&self) -> Result<Self::Send, ConnectionError>;
    /// The next stream of the peer's.
    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), ConnectionError>;
    /// The next stream of the peer's.
    async fn accept_uni(&self) -> Result<Self::Recv, ConnectionError>;
    /// Closes the connection once what was finished is delivered.
    fn close(&self, code: AppError, reason: &[u8]);
    /// Closes the connection at once.
    fn abort(&self, code: AppError, reason: &[u8]);
    /// Waits for the end.
    async fn closed(&self) -> ConnectionError;
    /// The version in use.
    fn version(&self) -> Version;
    /// The application protocol.
    fn protocol(&self) -> Option<Vec<u8>>;
}

/// The sending part of a stream.
pub trait SendStream {
    /// Writes what there is room for.
    async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError>;
    /// Ends the stream. Whether that was possible.
    fn finish(&mut self) -> bool;
    /// Gives the stream up. Whether that was possible.
    fn reset(&mut self, code: AppError) -> bool;
    /// Waits until the peer has all (`None`) or wants no more.
    async fn stopped(&self) -> Result<Option<AppError>, ConnectionError>;

    /// Writes all of it.
    async fn write_all(&mut self, mut data: &[u8]) -> Result<(), WriteError> {
        while !data.is_empty() {
            let len = self.write(data).await?;
            assert!(len > 0, "a write writes");
            data = &data[len..];
        }
        Ok(())
    }
}

/// The receiving part of a stream.
pub trait RecvStream {
    /// Reads what there is; `None` at the end.
    async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError>;
    /// The rest is not wanted. Whether that was possible.
    fn stop(&mut self, code: AppError) -> bool;

    /// Reads up to the end.
    async fn read_to_end(&mut self) -> Result<Vec<u8>, ReadError> {
        let (mut all, mut block) = (Vec::new(), vec![0; 4096]);
        while let Some(len) = self.read(&mut block).await? {
            all.extend_from_slice(&block[..len]);
        }
        Ok(all)
    }
}

/// Why nothing was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WriteError {
    /// The peer wants no more.
    Stopped(AppError),
    /// The connection ended.
    Lost(ConnectionError),
    /// The stream was finished or reset.
    Closed,
}

/// Why nothing was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// The peer gave the stream up.
    Reset(AppError),
    /// The connection ended.
    Lost(ConnectionError),
    /// The stream was stopped.
    Closed,
}
