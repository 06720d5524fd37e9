//! quic-tokio behind the traits of the suite, to which it maps one to one.
//!
//! Owns [`Tokio`] and [`TokioSharded`]. Timers: those of behaviours that sleep.

use crate::{
    Adapter, Configs, Connection, Endpoint, Incoming, Pair, ReadError, RecvStream, SendStream, Setup,
    WriteError,
};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::invariants::Version;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::time::Duration;

/// Tasks of a tokio runtime.
pub struct Tokio;

impl Adapter for Tokio {
    type Endpoint = Tokioed;

    fn run(setup: Setup, behaviour: impl AsyncFnOnce(&Pair<Tokioed>)) {
        run(NonZeroU8::MIN, setup, behaviour);
    }
}

/// The same, with two shards for each endpoint.
pub struct TokioSharded;

impl Adapter for TokioSharded {
    type Endpoint = Tokioed;

    fn run(setup: Setup, behaviour: impl AsyncFnOnce(&Pair<Tokioed>)) {
        run(NonZeroU8::MIN.saturating_add(1), setup, behaviour);
    }
}

fn run(shards: NonZeroU8, setup: Setup, behaviour: impl AsyncFnOnce(&Pair<Tokioed>)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let pair = pair(shards, setup);
        tokio::time::timeout(Duration::from_secs(30), behaviour(&pair)).await.expect("it hangs");
    });
}

fn pair(shards: NonZeroU8, setup: Setup) -> Pair<Tokioed> {
    let Configs { endpoint, client, server } = setup.build();
    let [client_end, server_end] = [None, Some(server)].map(|server| {
        let any = "127.0.0.1:0".parse().unwrap();
        quic_tokio::Endpoint::sharded(endpoint.clone(), server, any, shards).unwrap()
    });
    let server = server_end.local_addr();
    let end = |mut endpoint: quic_tokio::Endpoint| {
        endpoint.set_default_client_config(client.clone());
        Tokioed { endpoint, server }
    };
    Pair { client: end(client_end), server: end(server_end) }
}

/// A port that is closed: what is sent there comes back as an ICMP error, which is no reason to give up.
const NOBODY: &str = "127.0.0.1:9";

/// An endpoint, and where its behaviours connect to.
pub struct Tokioed {
    endpoint: quic_tokio::Endpoint,
    server: SocketAddr,
}

impl Tokioed {
    async fn connect_to(&self, addr: SocketAddr) -> Result<quic_tokio::Connection, ConnectionError> {
        self.endpoint.connect(addr, "localhost").expect("it starts").await
    }
}

impl Endpoint for Tokioed {
    type Connection = quic_tokio::Connection;
    type Incoming = quic_tokio::Incoming;

    async fn connect(&self) -> Result<Self::Connection, ConnectionError> {
        self.connect_to(self.server).await
    }

    async fn connect_to_nobody(&self) -> Result<Self::Connection, ConnectionError> {
        self.connect_to(NOBODY.parse().unwrap()).await
    }

    fn refuses_to_connect(&self, to_the_server: bool) -> bool {
        let addr = if to_the_server { self.server } else { "127.0.0.1:0".parse().unwrap() };
        self.endpoint.connect(addr, "localhost").is_err()
    }

    async fn accept(&self) -> Option<Self::Incoming> {
        self.endpoint.accept().await
    }

    fn close(&self, code: AppError, reason: &[u8]) {
        self.endpoint.close(code, reason);
    }

    async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }

    fn open_connections(&self) -> usize {
        self.endpoint.open_connections()
    }

    async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Incoming for quic_tokio::Incoming {
    type Connection = quic_tokio::Connection;

    fn is_validated(&self) -> bool {
        self.is_validated()
    }

    async fn accept(self) -> Result<Self::Connection, ConnectionError> {
        self.await
    }

    fn retry(self) -> Result<(), Self> {
        self.retry().map_err(|refused| refused.0)
    }

    fn refuse(self) {
        self.refuse();
    }

    fn ignore(self) {
        self.ignore();
    }
}

impl Connection for quic_tokio::Connection {
    type Send = quic_tokio::SendStream;
    type Recv = quic_tokio::RecvStream;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), ConnectionError> {
        self.open_bi().await
    }

    async fn open_uni(&self) -> Result<Self::Send, ConnectionError> {
        self.open_uni().await
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), ConnectionError> {
        self.accept_bi().await
    }

    async fn accept_uni(&self) -> Result<Self::Recv, ConnectionError> {
        self.accept_uni().await
    }

    fn close(&self, code: AppError, reason: &[u8]) {
        self.close(code, reason);
    }

    fn abort(&self, code: AppError, reason: &[u8]) {
        self.abort(code, reason);
    }

    async fn closed(&self) -> ConnectionError {
        self.closed().await
    }

    fn version(&self) -> Version {
        self.version().unwrap()
    }

    fn protocol(&self) -> Option<Vec<u8>> {
        self.handshake_info()?.protocol
    }
}

impl SendStream for quic_tokio::SendStream {
    async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        self.write(data).await.map_err(|error| match error {
            quic_tokio::WriteError::Stopped(code) => WriteError::Stopped(code),
            quic_tokio::WriteError::ConnectionLost(reason) => WriteError::Lost(reason),
            quic_tokio::WriteError::ClosedStream => WriteError::Closed,
            other => panic!("{other}"),
        })
    }

    fn finish(&mut self) -> bool {
        self.finish().is_ok()
    }

    fn reset(&mut self, code: AppError) -> bool {
        self.reset(code).is_ok()
    }

    async fn stopped(&self) -> Result<Option<AppError>, ConnectionError> {
        self.stopped().await
    }
}

impl RecvStream for quic_tokio::RecvStream {
    async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        self.read(buf).await.map_err(|error| match error {
            quic_tokio::ReadError::Reset(code) => ReadError::Reset(code),
            quic_tokio::ReadError::ConnectionLost(reason) => ReadError::Lost(reason),
            quic_tokio::ReadError::ClosedStream => ReadError::Closed,
            other => panic!("{other}"),
        })
    }

    fn stop(&mut self, code: AppError) -> bool {
        self.stop(code).is_ok()
    }
}
