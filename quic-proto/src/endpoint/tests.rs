use super::*;
use crate::crypto::null::{NullClient, NullServer};
use crate::rng::SeededRng;
use crate::time::Duration;
use std::net::SocketAddr;

const ONE: NonZeroUsize = NonZeroUsize::MIN;

/// A client and a server with nothing between them.
struct Pair {
    client: Endpoint,
    server: Endpoint,
    now: Instant,
    buf: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        let endpoint = |seed: u8, server| {
            let config = EndpointConfig::new(&[seed; 32]).build().unwrap();
            Endpoint::new(config, server, Box::new(SeededRng::from_u64(seed.into())), UnixTime::from_secs(1))
        };
        let server = ServerConfig::new(Arc::new(NullServer::default()), &[3; 32]).max_incoming(2, 1 << 20);
        Self {
            client: endpoint(1, None),
            server: endpoint(2, Some(server.build().unwrap())),
            now: Instant::from_millis(1),
            buf: vec![0; 1500],
        }
    }

    fn connect(&mut self) -> ConnectionHandle {
        let config = ClientConfig::new(Arc::new(NullClient::default())).build().unwrap();
        self.client.connect(self.now, FourTuple::to(address(2)), "localhost", &config).unwrap()
    }

    /// Carries datagrams from one side to the other until there are none; returns how many.
    fn carry(&mut self, to_server: bool) -> usize {
        let (from, to, source) = match to_server {
            true => (&mut self.client, &mut self.server, address(1)),
            false => (&mut self.server, &mut self.client, address(2)),
        };
        let mut count = 0;
        while let Some(transmit) = from.poll_transmit(self.now, &mut self.buf, ONE) {
            let payload = &mut self.buf[..transmit.len];
            to.handle_datagram(self.now, Datagram { path: FourTuple::to(source), ecn: None, payload });
            count += 1;
        }
        count
    }

    /// Accepts everybody and carries datagrams until all is quiet; returns the server's connections.
    fn settle(&mut self) -> Vec<ConnectionHandle> {
        let mut accepted = Vec::new();
        for _ in 0..100 {
            let carried = self.carry(true) + self.carry(false);
            while let Some(incoming) = self.server.poll_incoming() {
                accepted.push(self.server.accept(self.now, incoming).unwrap());
            }
            if carried == 0 {
                break;
            }
        }
        accepted
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn events(endpoint: &mut Endpoint) -> Vec<(ConnectionHandle, Event)> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

#[test]
fn clients_meet_the_server() {
    let mut pair = Pair::new();
    let handles = [pair.connect(), pair.connect()];
    let accepted = pair.settle();
    assert_eq!(accepted.len(), 2);
    let (client, server) = (events(&mut pair.client), events(&mut pair.server));
    for (client_handle, server_handle) in handles.into_iter().zip(accepted) {
        assert!(client.contains(&(client_handle, Event::Connected)), "{client:?}");
        assert!(server.contains(&(server_handle, Event::Connected)), "{server:?}");
    }
    assert_eq!((pair.client.connections(), pair.server.connections()), (2, 2));
    assert_eq!(pair.server.stats().accepted, 2);
}

#[test]
fn polling_with_nothing_to_do_finds_empty_queues() {
    let mut pair = Pair::new();
    assert_eq!(pair.client.next_timeout(), None);
    let handle = pair.connect();
    assert!(pair.client.next_timeout().is_some(), "before it was polled");
    pair.settle();
    events(&mut pair.client);
    assert!(pair.client.sending.is_empty() && pair.client.eventful.is_empty());
    assert_eq!(pair.client.deadlines.len(), 1);
    assert!(pair.client.connection(handle).is_some());
    assert!(pair.client.connection(handle).is_some());
    assert_eq!((pair.client.sending.len(), pair.client.eventful.len()), (1, 1));
}

#[test]
fn connections_that_ended_are_forgotten_after_their_last_event() {
    let mut pair = Pair::new();
    let handle = pair.connect();
    pair.settle();
    pair.client.close_all(pair.now, AppError::default(), b"");
    pair.settle();
    for _ in 0..100 {
        let next = pair.client.next_timeout().into_iter().chain(pair.server.next_timeout()).min();
        let Some(next) = next else { break };
        pair.now = pair.now.max(next);
        pair.client.handle_timeout(pair.now);
        pair.server.handle_timeout(pair.now);
        pair.settle();
    }
    assert_eq!((pair.client.connections(), pair.server.connections()), (1, 1));
    assert!(!events(&mut pair.client).is_empty() && !events(&mut pair.server).is_empty());
    assert_eq!((pair.client.connections(), pair.server.connections()), (0, 0));
    assert!(pair.client.connection(handle).is_none());
    assert!(pair.client.deadlines.is_empty() && pair.client.next_timeout().is_none());
    let next = pair.connect();
    assert!(next.index() == handle.index() && next != handle);
}

#[test]
fn a_refused_client_leaves_nothing_behind() {
    let mut pair = Pair::new();
    pair.connect();
    assert!(pair.carry(true) > 0);
    let incoming = pair.server.poll_incoming().unwrap();
    assert_eq!((incoming.remote(), incoming.is_validated()), (address(1), false));
    pair.server.refuse(incoming);
    let transmit = pair.server.poll_transmit(pair.now, &mut pair.buf, ONE).unwrap();
    assert_eq!(transmit.path.remote, address(1));
    assert_eq!((pair.server.connections(), pair.server.router.waiting()), (0, 0));
    assert!(pair.server.poll_transmit(pair.now, &mut pair.buf, ONE).is_none());
}

#[test]
fn clients_that_nobody_looks_at_are_limited() {
    let mut pair = Pair::new();
    for round in 0..5 {
        pair.now = Instant::EPOCH + Duration::from_secs(10) * round;
        for _ in 0..3 {
            pair.connect();
        }
        pair.carry(true);
        assert_eq!(pair.server.incoming.len(), 2);
    }
    assert!(pair.server.poll_incoming().is_some() && pair.server.poll_incoming().is_some());
    assert!(pair.server.poll_incoming().is_none());
}

#[test]
fn answers_to_strangers_are_limited() {
    let mut pair = Pair::new();
    for _ in 0..2 * MAX_RESPONSES {
        let mut payload = [0xcc; 1200];
        payload[5] = 8;
        payload[14] = 0;
        let datagram = Datagram { path: FourTuple::to(address(1)), ecn: None, payload: &mut payload };
        pair.server.handle_datagram(pair.now, datagram);
    }
    let mut answers = 0;
    while pair.server.poll_transmit(pair.now, &mut pair.buf, ONE).is_some() {
        answers += 1;
    }
    assert_eq!(answers, MAX_RESPONSES);
}

/// What others that share the port would have to know: whose a datagram is.
#[test]
fn an_endpoint_knows_what_is_its_own() {
    let (mut pair, mut other) = (Pair::new(), Pair::new());
    let handle = pair.connect();
    let owns = |endpoint: &mut Endpoint, payload: &mut [u8], from: u16| {
        endpoint.owns(&Datagram { path: FourTuple::to(address(from)), ecn: None, payload })
    };
    let transmit = pair.client.poll_transmit(pair.now, &mut pair.buf, ONE).unwrap();
    let first = &mut pair.buf[..transmit.len].to_vec();
    assert!(!owns(&mut pair.server, first, 1), "nobody's yet");
    let path = FourTuple::to(address(1));
    pair.server.handle_datagram(pair.now, Datagram { path, ecn: None, payload: &mut first.clone() });
    assert!(owns(&mut pair.server, first, 1), "a client that waits has a claim to its datagrams");
    assert!(!owns(&mut pair.server, first, 3), "from its own address");
    let client = pair.server.poll_incoming().unwrap();
    pair.server.accept(pair.now, client).unwrap();
    pair.settle();
    pair.client.connection(handle).unwrap().close(pair.now, AppError::from(1), b"");
    let transmit = pair.client.poll_transmit(pair.now, &mut pair.buf, ONE).unwrap();
    let close = &mut pair.buf[..transmit.len].to_vec();
    assert!(owns(&mut pair.server, close, 3), "an id counts wherever it comes from");
    assert!(!owns(&mut other.server, close, 1));
    assert!(!pair.server.routes_by_address() && !owns(&mut pair.server, &mut [], 1));

    let mut rng = Box::new(SeededRng::from_u64(9));
    let config = EndpointConfig::new(&[1; 32]).random_cids(0).build().unwrap();
    let mut nameless = Endpoint::new(config, None, rng.child(), UnixTime::from_secs(1));
    let config = ClientConfig::new(Arc::new(NullClient::default())).build().unwrap();
    nameless.connect(pair.now, FourTuple::to(address(2)), "localhost", &config).unwrap();
    assert!(nameless.routes_by_address());
    let short = &mut [0x40; 30];
    assert!(owns(&mut nameless, short, 2) && !owns(&mut nameless, short, 3));
}
