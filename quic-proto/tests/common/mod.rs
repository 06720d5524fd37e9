//! Two endpoints joined in memory by virtual time, and a peer that says what it likes.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of what is shared")]

pub mod raw;

use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::connection::Connection;
use quic_proto::crypto::null::{NullClient, NullLimits, NullServer};
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::{ConnectionError, TransportErrorCode};
use quic_proto::event::Event;
use quic_proto::id::{Dir, StreamId};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::streams::ReadError;
use quic_proto::time::{Duration, Instant, UnixTime};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

pub const DELAY: Duration = Duration::from_millis(10);
pub const ONE: NonZeroUsize = NonZeroUsize::MIN;

pub fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

pub fn null_client() -> ClientConfig {
    null_client_with(NullLimits::default())
}

pub fn null_client_with(limits: NullLimits) -> ClientConfig {
    ClientConfig::new(Arc::new(NullClient { alpn: vec![b"test".to_vec()], limits }))
}

/// What seals the tokens of [`null_server`].
pub const TOKEN_SECRET: [u8; 32] = [3; 32];

pub fn null_server() -> ServerConfig {
    null_server_with(NullLimits::default())
}

pub fn null_server_with(limits: NullLimits) -> ServerConfig {
    ServerConfig::new(Arc::new(NullServer { limits, ..NullServer::default() }), &TOKEN_SECRET)
}

/// The wall clock when a test's time begins.
pub const EPOCH: UnixTime = UnixTime::from_secs(1_700_000_000);

pub fn endpoint(seed: u8, server: Option<Arc<ServerConfig>>) -> Endpoint {
    let config = EndpointConfig::new(&[seed; 32]).build().unwrap();
    Endpoint::new(config, server, Box::new(SeededRng::from_u64(seed.into())), EPOCH)
}

/// What the network does to a datagram.
pub enum Fate {
    Deliver,
    Drop,
    /// Delivered after this much more than the delay.
    Late(Duration),
    /// Delivered now and again after so long.
    Twice(Duration),
}

/// Decides about a datagram, which may be changed: whether it goes to the server, and its bytes.
pub type Network = Box<dyn FnMut(bool, &mut Vec<u8>) -> Fate>;

pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
    pub now: Instant,
    pub network: Network,
    pub retry: bool,
    pub accepting: bool,
    pub accepted: Vec<ConnectionHandle>,
    pub client_events: Vec<(ConnectionHandle, Event)>,
    pub server_events: Vec<(ConnectionHandle, Event)>,
    /// Datagrams and their bytes, to the client and to the server.
    pub sent: [(u64, u64); 2],
    /// How long every datagram takes.
    pub delay: Duration,
    /// Whether datagrams are held back until the times that they name.
    pub holds_back: bool,
    /// What the client sent: when it was handed out, when it was to leave, and its size.
    pub departures: Vec<(Instant, Option<Instant>, usize)>,
    in_flight: BTreeMap<(Instant, u64), (bool, Vec<u8>)>,
    serial: u64,
}

impl Pair {
    pub fn new(server: ServerConfig) -> Self {
        Self::of(endpoint(1, None), endpoint(2, Some(server.build().unwrap())))
    }

    pub fn of(client: Endpoint, server: Endpoint) -> Self {
        Self {
            client,
            server,
            now: Instant::from_millis(1),
            network: Box::new(|_, _| Fate::Deliver),
            retry: false,
            accepting: true,
            accepted: Vec::new(),
            client_events: Vec::new(),
            server_events: Vec::new(),
            sent: [(0, 0); 2],
            delay: DELAY,
            holds_back: true,
            departures: Vec::new(),
            in_flight: BTreeMap::new(),
            serial: 0,
        }
    }

    /// A pair with a connection that is confirmed on both sides.
    pub fn connected(transport: TransportConfig) -> (Self, ConnectionHandle, ConnectionHandle) {
        let transport = transport.build().unwrap();
        let mut pair = Self::new(null_server().transport(transport.clone()));
        let client = pair.connect(&null_client().transport(transport));
        pair.settle();
        let server = pair.accepted[0];
        assert!(
            pair.client_events.contains(&(client, Event::HandshakeConfirmed)),
            "{:?}",
            pair.client_events
        );
        (pair, client, server)
    }

    /// The server loses its state, and what the test knows of it: another takes its place.
    pub fn replace_server(&mut self, server: Endpoint) {
        self.server = server;
        self.accepted.clear();
        self.server_events.clear();
    }

    pub fn connect(&mut self, config: &ClientConfig) -> ConnectionHandle {
        let config = config.clone().build().unwrap();
        self.client.connect(self.now, FourTuple::to(address(2)), "localhost", &config).unwrap()
    }

    pub fn c(&mut self, handle: ConnectionHandle) -> &mut Connection {
        self.client.connection(handle).unwrap()
    }

    pub fn s(&mut self, handle: ConnectionHandle) -> &mut Connection {
        self.server.connection(handle).unwrap()
    }

    fn launch(&mut self, to_server: bool, extra: Duration, bytes: Vec<u8>) {
        self.serial += 1;
        self.in_flight.insert((self.now + self.delay + extra, self.serial), (to_server, bytes));
    }

    /// Puts a datagram on the network that nobody sent.
    pub fn inject(&mut self, to_server: bool, bytes: Vec<u8>) {
        self.launch(to_server, Duration::ZERO, bytes);
    }

    fn collect(&mut self, from_client: bool) {
        let mut buf = vec![0; 1500];
        loop {
            let from = if from_client { &mut self.client } else { &mut self.server };
            let Some(transmit) = from.poll_transmit(self.now, &mut buf, ONE) else { break };
            let mut bytes = buf[..transmit.len].to_vec();
            let sent = &mut self.sent[usize::from(from_client)];
            *sent = (sent.0 + 1, sent.1 + bytes.len() as u64);
            assert!(sent.0 < 1_000_000, "sends for ever");
            if from_client {
                self.departures.push((self.now, transmit.departure, transmit.len));
            }
            let departure = transmit.departure.filter(|_| self.holds_back).unwrap_or(self.now);
            let held = departure - self.now;
            match (self.network)(from_client, &mut bytes) {
                Fate::Deliver => self.launch(from_client, held, bytes),
                Fate::Drop => {}
                Fate::Late(extra) => self.launch(from_client, held + extra, bytes),
                Fate::Twice(extra) => {
                    self.launch(from_client, held, bytes.clone());
                    self.launch(from_client, held + extra, bytes);
                }
            }
        }
    }

    /// What both ends have to do at this time: decide about clients, send, report.
    pub fn poll(&mut self) {
        while self.accepting {
            let Some(incoming) = self.server.poll_incoming() else { break };
            if self.retry && !incoming.is_validated() {
                self.server.retry(self.now, incoming).unwrap();
            } else {
                // Who cannot be accepted is ignored, and asks again.
                self.accepted.extend(self.server.accept(self.now, incoming));
            }
        }
        self.collect(true);
        self.collect(false);
        self.client_events.extend(std::iter::from_fn(|| self.client.poll_event()));
        self.server_events.extend(std::iter::from_fn(|| self.server.poll_event()));
        nothing_follows_the_end(&self.client_events);
        nothing_follows_the_end(&self.server_events);
    }

    /// Goes to the next thing that happens, if it happens until `end`.
    pub fn step(&mut self, end: Instant) -> bool {
        self.poll();
        let arrival = self.in_flight.keys().next().map(|key| key.0);
        let timers = self.client.next_timeout().into_iter().chain(self.server.next_timeout());
        let Some(next) = arrival.into_iter().chain(timers).min().filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        while let Some(entry) = self.in_flight.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_server, mut payload) = entry.remove();
            let (to, from) =
                if to_server { (&mut self.server, address(1)) } else { (&mut self.client, address(2)) };
            let path = FourTuple::to(from);
            to.handle_datagram(self.now, Datagram { path, ecn: None, payload: &mut payload });
        }
        true
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while self.step(end) {
            steps += 1;
            assert!(steps < 1_000_000, "never comes to rest");
        }
        self.now = end;
    }

    /// Half a second: long enough for a handshake.
    pub fn settle(&mut self) {
        self.run(Duration::from_millis(500));
    }

    pub fn client_closed(&self) -> Option<&ConnectionError> {
        closed(&self.client_events)
    }

    pub fn server_closed(&self) -> Option<&ConnectionError> {
        closed(&self.server_events)
    }

    /// Sends `data` on a new stream from the client and ends it.
    pub fn client_sends(&mut self, handle: ConnectionHandle, data: &[u8]) -> StreamId {
        let id = self.c(handle).open(Dir::Uni).unwrap();
        let mut stream = self.c(handle).send_stream(id).unwrap();
        assert_eq!(stream.write(data), Ok(data.len()));
        stream.finish().unwrap();
        id
    }
}

pub fn closed(events: &[(ConnectionHandle, Event)]) -> Option<&ConnectionError> {
    events.iter().find_map(|(_, event)| match event {
        Event::Closed(reason) => Some(reason),
        _ => None,
    })
}

/// What the documentation of [`Event::Closed`] promises, for the latest event.
fn nothing_follows_the_end(events: &[(ConnectionHandle, Event)]) {
    let Some(((handle, last), before)) = events.split_last() else { return };
    let over = |(of, event): &(_, Event)| of == handle && matches!(event, Event::Closed(_));
    assert!(!before.iter().any(over), "{last:?} after the end");
}

/// The code with which this side closed.
pub fn our_code(reason: Option<&ConnectionError>) -> Option<TransportErrorCode> {
    match reason {
        Some(ConnectionError::Transport(error)) => Some(error.code),
        _ => None,
    }
}

/// The code with which the other side closed.
pub fn their_code(reason: Option<&ConnectionError>) -> Option<TransportErrorCode> {
    match reason {
        Some(ConnectionError::PeerTransport(error)) => Some(error.code),
        _ => None,
    }
}

/// All that can be read of a stream now, and whether it ended.
pub fn read_all(connection: &mut Connection, id: StreamId) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    let mut buf = [0; 4096];
    let Ok(mut stream) = connection.recv_stream(id) else { return (data, false) };
    loop {
        match stream.read(&mut buf) {
            Ok(read) => {
                data.extend_from_slice(&buf[..read.len]);
                if read.fin {
                    return (data, true);
                }
            }
            Err(ReadError::Blocked) => return (data, false),
            Err(_) => return (data, true),
        }
    }
}
