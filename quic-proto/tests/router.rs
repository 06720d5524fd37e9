//! An application that owns its connections and only routes through [`Router`] sees what one with an [`Endpoint`] sees: the same seed
//! gives the same datagrams at the same times.

mod common;

use common::{DELAY, ONE, address, null_client, null_server};
use quic_proto::config::{EndpointConfig, ServerConfig};
use quic_proto::connection::Connection;
use quic_proto::endpoint::{ConnectionHandle, Endpoint, MAX_RESPONSE, Routed, Router};
use quic_proto::error::AppError;
use quic_proto::event::Event;
use quic_proto::id::Dir;
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::time::{Duration, Instant, UnixTime};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the scenario needs of a host, by either way.
trait Host {
    fn connect(&mut self, now: Instant);
    fn datagram(&mut self, now: Instant, from: u16, payload: &mut [u8]);
    fn timeout(&mut self, now: Instant);
    fn next(&self) -> Option<Instant>;
    fn transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize>;
    fn events(&mut self) -> Vec<Event>;
    fn with(&mut self, act: &mut dyn FnMut(&mut Connection));
}

struct ByEndpoint(Endpoint, Option<ConnectionHandle>);

impl Host for ByEndpoint {
    fn connect(&mut self, now: Instant) {
        let config = null_client().build().unwrap();
        self.1 = Some(self.0.connect(now, FourTuple::to(address(2)), "localhost", &config).unwrap());
    }
    fn datagram(&mut self, now: Instant, from: u16, payload: &mut [u8]) {
        self.0.handle_datagram(now, Datagram { path: FourTuple::to(address(from)), ecn: None, payload });
        while let Some(incoming) = self.0.poll_incoming() {
            self.1 = Some(self.0.accept(now, incoming).unwrap());
        }
    }
    fn timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }
    fn next(&self) -> Option<Instant> {
        self.0.next_timeout()
    }
    fn transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        self.0.poll_transmit(now, buf, ONE).map(|transmit| transmit.len)
    }
    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.0.poll_event()).map(|(_, event)| event).collect()
    }
    fn with(&mut self, act: &mut dyn FnMut(&mut Connection)) {
        if let Some(connection) = self.1.and_then(|handle| self.0.connection(handle)) {
            act(connection);
        }
    }
}

struct ByRouter(Router, BTreeMap<ConnectionHandle, Connection>);

impl ByRouter {
    fn tell(&mut self) {
        for (handle, connection) in &mut self.1 {
            while let Some(event) = connection.poll_endpoint_event() {
                self.0.handle_event(*handle, event);
            }
        }
    }
}

impl Host for ByRouter {
    fn connect(&mut self, now: Instant) {
        let config = null_client().build().unwrap();
        self.1.extend([self.0.connect(now, FourTuple::to(address(2)), "localhost", &config).unwrap()]);
    }
    fn datagram(&mut self, now: Instant, from: u16, payload: &mut [u8]) {
        let datagram = Datagram { path: FourTuple::to(address(from)), ecn: None, payload };
        match self.0.route(now, &datagram, &mut [0; MAX_RESPONSE]) {
            Routed::Connection(handle) => {
                if let Some(connection) = self.1.get_mut(&handle) {
                    connection.handle_datagram(now, datagram);
                }
            }
            Routed::Incoming(incoming) => self.1.extend([self.0.accept(now, incoming).unwrap()]),
            Routed::Respond(_) | Routed::Buffered | Routed::Dropped(_) => {}
        }
        self.tell();
    }
    fn timeout(&mut self, now: Instant) {
        self.1.values_mut().for_each(|connection| connection.handle_timeout(now));
        self.tell();
    }
    fn next(&self) -> Option<Instant> {
        self.1.values().filter_map(Connection::next_timeout).min()
    }
    fn transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<usize> {
        let sent = self.1.values_mut().find_map(|connection| connection.poll_transmit(now, buf, ONE));
        self.tell();
        sent.map(|transmit| transmit.len)
    }
    fn events(&mut self) -> Vec<Event> {
        let events =
            self.1.values_mut().flat_map(|connection| std::iter::from_fn(|| connection.poll_event()));
        let events = events.collect();
        self.1.retain(|handle, connection| {
            let over = connection.is_drained();
            if over {
                self.0.remove(*handle);
            }
            !over
        });
        events
    }
    fn with(&mut self, act: &mut dyn FnMut(&mut Connection)) {
        self.1.values_mut().for_each(act);
    }
}

fn parts(seed: u64, server: bool) -> (EndpointConfig, Option<Arc<ServerConfig>>, Box<SeededRng>, UnixTime) {
    let config = EndpointConfig::new(&[1; 32]).build().unwrap();
    let server = server.then(|| null_server().build().unwrap());
    (config, server, Box::new(SeededRng::from_u64(seed)), UnixTime::from_secs(1_000_000))
}

fn by_endpoint(seed: u64, server: bool) -> Box<dyn Host> {
    let (config, server, rng, epoch) = parts(seed, server);
    Box::new(ByEndpoint(Endpoint::new(config, server, rng, epoch), None))
}

fn by_router(seed: u64, server: bool) -> Box<dyn Host> {
    let (config, server, rng, epoch) = parts(seed, server);
    Box::new(ByRouter(Router::new(config, server, rng, epoch), BTreeMap::new()))
}

/// When, from which end, and which bytes.
type Sent = Vec<(Instant, usize, Vec<u8>)>;

/// One transfer with some loss; every datagram with its time, and every event.
fn trace(seed: u64, host: fn(u64, bool) -> Box<dyn Host>) -> (Sent, Vec<Event>) {
    let mut hosts = [host(seed, false), host(!seed, true)];
    let (mut sent, mut events, mut flying) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut now = Instant::from_millis(1);
    let mut buf = vec![0; 1500];
    hosts[0].connect(now);
    for round in 0..5000_u64 {
        for (at, host) in hosts.iter_mut().enumerate() {
            while let Some(len) = host.transmit(now, &mut buf) {
                sent.push((now, at, buf[..len].to_vec()));
                if !(sent.len() as u64 * 31 + seed).is_multiple_of(11) {
                    flying.insert((now + DELAY, sent.len()), (1 - at, buf[..len].to_vec()));
                }
            }
            let new = host.events();
            if at == 0 && new.contains(&Event::Connected) {
                host.with(&mut |connection| {
                    let id = connection.open(Dir::Uni).unwrap();
                    let mut stream = connection.send_stream(id).unwrap();
                    assert_eq!(stream.write(&[5; 60_000]), Ok(60_000));
                    stream.finish().unwrap();
                    connection.close(now, AppError::from(1), b"bye");
                });
            }
            events.extend(new);
        }
        let timers = hosts.iter().filter_map(|host| host.next());
        let Some(next) = timers.chain(flying.keys().map(|key: &(Instant, usize)| key.0)).min() else { break };
        now = now.max(next);
        assert!(round < 4999, "it ends");
        hosts.iter_mut().for_each(|host| host.timeout(now));
        while let Some(entry) = flying.first_entry().filter(|entry| entry.key().0 <= now) {
            let (to, mut payload) = entry.remove();
            hosts[to].datagram(now, 2 - to as u16, &mut payload);
        }
    }
    assert!(now > Instant::EPOCH + Duration::from_millis(40));
    (sent, events)
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..20 {
        let (mine, whole) = (trace(seed, by_router), trace(seed, by_endpoint));
        assert!(whole.0.len() > 50 && whole.1.iter().any(|event| matches!(event, Event::Closed(_))));
        assert_eq!(mine.1, whole.1, "events of seed {seed}");
        assert!(mine.0 == whole.0, "datagrams of seed {seed}");
    }
}
