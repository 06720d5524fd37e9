//! QUIC hosts for the network: an endpoint of quic-proto with an application that transfers bytes and checks every one of them.
//!
//! A client opens connections and on each of them streams; each stream starts with a request that says how much shall come back, followed
//! by data. The server checks what it gets and sends what was asked for. The value of each byte follows from the stream and its offset, so
//! that a byte that is lost, repeated or out of place is found at once.
//!
//! ```
//! use quic_sim::quic::{Host, HostConfig, Transfer};
//! use quic_sim::units::{mbit, ms, percent};
//! use quic_sim::Scenario;
//!
//! let config = HostConfig::default();
//! let scenario = Scenario::between(
//!     move |setup| Host::client(setup, &HostConfig::default(), vec![Transfer::bidi(100_000, 300_000); 3]),
//!     move |setup| Host::server(setup, &config),
//! )
//! .rate(mbit(20))
//! .delay(ms(15))
//! .loss(percent(2))
//! .until(|view| view.nodes[0].is_done());
//! let report = scenario.run(1).expect_ok();
//! assert_eq!(report.client().failure(), None);
//! ```

//!
//! [`QuicChecker`] asserts what must hold of every connection after every step, [`Plan`] draws hosts, transfers and a network from a
//! seed, and [`Bottleneck`] measures what a congestion controller gets out of a path.

mod checker;
mod goodput;
mod plan;
mod protocol;
mod transfer;

pub use checker::QuicChecker;
pub use goodput::{Bottleneck, Flow, Goodput};
pub use plan::Plan;
pub use protocol::Protocol;
pub use transfer::{Transfer, pattern};

use crate::node::Node;
use crate::scenario::Setup;
use quic_proto::config::{EndpointConfig, TransportConfig};
use quic_proto::connection::Connection;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::event::Event;
use quic_proto::id::Side;
use quic_proto::net::{Datagram, FourTuple, Transmit};
use quic_proto::time::{Instant, UnixTime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use transfer::{Manner, Streams};

/// How hosts are set up. The default has default transport settings and QUIC version 1 without security.
#[derive(Clone)]
pub struct HostConfig {
    /// Transport settings.
    pub transport: Arc<TransportConfig>,
    /// What they speak.
    pub protocol: Protocol,
    /// Length of connection ids in bytes, 0 to 20.
    pub cid_len: usize,
    /// Whether the server asks each client to prove its address.
    pub retry: bool,
    /// Whether the server reads what comes; one that does not must stop its client.
    pub server_reads: bool,
    /// The most bytes that the application reads or writes at once, at least 1.
    pub block: usize,
    /// Whether a client closes its connection as soon as it has written all. The close is graceful: the server must get everything;
    /// answers may be cut short.
    pub closes_early: bool,
    /// Whether datagrams may name times to leave at, to which the network keeps.
    pub departure_times: bool,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            transport: Arc::new(TransportConfig::default()),
            protocol: Protocol::null(),
            cid_len: 8,
            retry: false,
            server_reads: true,
            block: 8192,
            closes_early: false,
            departure_times: false,
        }
    }
}

/// A QUIC endpoint with its application, as a node of the network.
pub struct Host {
    endpoint: Endpoint,
    retry: bool,
    manner: Manner,
    closes_early: bool,
    connections: BTreeMap<ConnectionHandle, Streams>,
    script: Vec<Transfer>,
    closed: Vec<ConnectionError>,
    failure: Option<String>,
    accepted: usize,
    confirmed: bool,
    done: bool,
}

impl Host {
    /// A client that makes one connection, carries out `transfers` on it at once, and closes it.
    pub fn client(setup: Setup, config: &HostConfig, transfers: Vec<Transfer>) -> Self {
        let server = setup.server;
        let mut host = Self::new(setup, config, false);
        let client = config.protocol.client().transport(Arc::clone(&config.transport));
        host.script = transfers;
        match host.endpoint.connect(Instant::EPOCH, FourTuple::to(server), "server.test", &client) {
            Ok(handle) => drop(
                host.connections
                    .insert(handle, Streams::new(Side::Client, Manner { reads: true, ..host.manner })),
            ),
            Err(error) => host.failure = Some(error.to_string()),
        }
        host
    }

    /// A server that answers every client.
    pub fn server(setup: Setup, config: &HostConfig) -> Self {
        Self::new(setup, config, true)
    }

    fn new(mut setup: Setup, config: &HostConfig, server: bool) -> Self {
        let mut secret = [0; 32];
        setup.rng.fill(&mut secret);
        let server = server.then(|| {
            let server = config.protocol.server(&secret);
            Arc::new(server.transport(Arc::clone(&config.transport)))
        });
        let endpoint_config =
            EndpointConfig::new(&secret).random_cids(config.cid_len).departure_times(config.departure_times);
        Self {
            endpoint: Endpoint::new(endpoint_config, server, setup.rng, UnixTime::from_secs(1_700_000_000)),
            retry: config.retry,
            manner: Manner { reads: config.server_reads, block: config.block.max(1) },
            closes_early: config.closes_early,
            connections: BTreeMap::new(),
            script: Vec::new(),
            closed: Vec::new(),
            failure: None,
            accepted: 0,
            confirmed: false,
            done: false,
        }
    }

    /// Whether a client has carried out its transfers and its connection is closed.
    pub fn is_done(&self) -> bool {
        self.done || self.failure.is_some()
    }

    /// What went wrong, if anything did: a wrong byte, a stream that broke, a connection that ended before its time.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Why connections ended, in the order in which they did.
    pub fn closed(&self) -> &[ConnectionError] {
        &self.closed
    }

    /// Whether a handshake was confirmed.
    pub fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// How many clients were accepted.
    pub fn accepted(&self) -> usize {
        self.accepted
    }

    /// The endpoint, for what a test wants to know or do beside.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// Bytes of stream data that were received and found right.
    pub fn received(&self) -> u64 {
        self.connections.values().map(|streams| streams.received).sum()
    }

    /// Bytes of stream data that were received from a peer and found right.
    pub fn received_from(&self, peer: SocketAddr) -> u64 {
        let theirs = |(handle, streams): (&ConnectionHandle, &Streams)| {
            let connection = self.endpoint.get(*handle)?;
            (connection.path().remote == peer).then_some(streams.received)
        };
        self.connections.iter().filter_map(theirs).sum()
    }

    /// Connections to look at, the ended ones left out.
    pub fn connections(&self) -> impl Iterator<Item = (ConnectionHandle, &Connection)> {
        self.connections.keys().filter_map(|handle| Some((*handle, self.endpoint.get(*handle)?)))
    }

    /// How many connections the endpoint holds; none when all is over.
    pub fn open_connections(&self) -> usize {
        self.endpoint.connections()
    }

    /// Has an application read that did not.
    pub fn read_on(&mut self) {
        self.manner.reads = true;
        for (handle, streams) in &mut self.connections {
            let Some(connection) = self.endpoint.connection(*handle) else { continue };
            if let Err(failure) = streams.read_on(connection) {
                self.failure.get_or_insert(failure);
            }
        }
    }

    /// The first connection.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        let handle = *self.connections.keys().next()?;
        self.endpoint.connection(handle)
    }

    fn fail(&mut self, what: String) {
        self.failure.get_or_insert(what);
    }

    /// Lets the application act on what happened.
    fn drive(&mut self, now: Instant) {
        while let Some(incoming) = self.endpoint.poll_incoming() {
            if self.retry && !incoming.is_validated() {
                if self.endpoint.retry(now, incoming).is_err() {
                    self.fail("a client that answered a Retry is not validated".into());
                }
            } else if let Ok(handle) = self.endpoint.accept(now, incoming) {
                self.accepted += 1;
                self.connections.insert(handle, Streams::new(Side::Server, self.manner));
            }
        }
        while let Some((handle, event)) = self.endpoint.poll_event() {
            self.on_event(now, handle, event);
        }
    }

    fn on_event(&mut self, now: Instant, handle: ConnectionHandle, event: Event) {
        let Some(streams) = self.connections.get_mut(&handle) else { return };
        if let Event::Closed(reason) = event {
            let expected = match &reason {
                ConnectionError::LocallyClosed => true,
                ConnectionError::PeerApplication { code, .. } => code.as_u64() == 0,
                // A client's close may get lost, and then the client is gone. A corrupted or late first packet makes a connection that
                // never comes to be. Whether data is missing is judged on the client's side.
                _ if !streams.is_client() && streams.is_started() => {
                    matches!(reason, ConnectionError::TimedOut | ConnectionError::Reset)
                }
                _ => !streams.is_client(),
            };
            if !expected {
                self.failure.get_or_insert(format!("the connection ended: {reason}"));
            }
            self.done = true;
            self.closed.push(reason);
            // What came and was not read yet can still be read now.
            if let Some(connection) = self.endpoint.connection(handle)
                && let Err(failure) = streams.read_on(connection)
            {
                self.failure.get_or_insert(failure);
            }
            return;
        }
        let Some(connection) = self.endpoint.connection(handle) else { return };
        self.confirmed |= event == Event::HandshakeConfirmed;
        if event == Event::Connected {
            streams.start(std::mem::take(&mut self.script));
        }
        if let Err(failure) = streams.on_event(connection, &event) {
            self.failure.get_or_insert(failure);
        }
        if streams.is_finished() || (self.closes_early && streams.is_client() && streams.is_written()) {
            connection.close(now, AppError::default(), b"done");
        }
    }
}

impl Node for Host {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.endpoint.handle_datagram(now, datagram);
        self.drive(now);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.drive(now);
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, buf, max_segments)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }
}
