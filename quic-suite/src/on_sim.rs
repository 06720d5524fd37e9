//! quic-sim behind the traits of the suite: in virtual time, over a link with a delay. What hangs here ends at once.
//!
//! Owns [`Sim`]. Timers: those of behaviours that sleep.

use crate::looped::{self, Happening, Looped, Target, World};
use crate::{Adapter, Configs, Pair, Setup};
use quic_proto::config::ClientConfig;
use quic_proto::connection::Connection;
use quic_proto::endpoint::{ConnectionHandle, Endpoint, Incoming};
use quic_proto::error::AppError;
use quic_proto::id::Side;
use quic_proto::net::{Datagram, FourTuple, Transmit};
use quic_proto::rng::SeededRng;
use quic_proto::time::{Instant, UnixTime};
use quic_sim::units::{mbit, ms};
use quic_sim::{Limits, Link, Network, Node, NodeId};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::SystemTime;

/// Virtual time, over a link with a delay.
pub struct Sim;

impl Adapter for Sim {
    type Endpoint = Looped<Simulated>;

    fn run(setup: Setup, behaviour: impl AsyncFnOnce(&Pair<Looped<Simulated>>)) {
        looped::run(Simulated::new(setup), behaviour);
    }
}

/// An endpoint as a node of the network.
struct Host {
    endpoint: Endpoint,
    happened: Vec<Happening>,
    closing: bool,
}

impl Host {
    fn listen(&mut self) {
        let endpoint = &mut self.endpoint;
        self.happened.extend(std::iter::from_fn(|| endpoint.poll_incoming().map(Happening::Incoming)));
        let events =
            std::iter::from_fn(|| endpoint.poll_event().map(|(at, event)| Happening::Event(at, event)));
        self.happened.extend(events);
        let gone = std::iter::from_fn(|| endpoint.poll_remains().map(|(at, rest)| Happening::Gone(at, rest)));
        self.happened.extend(gone);
    }
}

impl Node for Host {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.endpoint.handle_datagram(now, datagram);
        self.listen();
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.endpoint.handle_timeout(now);
        self.listen();
    }

    fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], max: NonZeroUsize) -> Option<Transmit> {
        self.endpoint.poll_transmit(now, buf, max)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.endpoint.next_timeout()
    }
}

/// A network with both endpoints in it.
pub struct Simulated {
    network: Network<Host>,
    /// The client and the server.
    nodes: [NodeId; 2],
    config: ClientConfig,
}

const NOBODY: &str = "192.0.2.99:9";

impl Simulated {
    fn new(setup: Setup) -> Self {
        let Configs { endpoint, client, server } = setup.build();
        let mut network = Network::new(1);
        network.set_limits(Limits::default());
        network.set_max_segments(NonZeroUsize::new(10).unwrap());
        let addresses: [SocketAddr; 2] = ["192.0.2.1:50000", "192.0.2.2:443"].map(|at| at.parse().unwrap());
        // Certificates are checked against the time of day.
        let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let mut servers = [None, Some(server)].into_iter();
        let mut seed = 0;
        let nodes = addresses.map(|address| {
            seed += 1;
            let rng = Box::new(SeededRng::from_u64(seed));
            let server = servers.next().flatten();
            let endpoint = Endpoint::new(endpoint.clone(), server, rng, UnixTime::from_secs(epoch));
            network.add_node(address, Host { endpoint, happened: Vec::new(), closing: false })
        });
        let link = || Link::new().rate(mbit(100)).delay(ms(3));
        network.join(addresses[0], addresses[1], link(), link());
        Self { network, nodes, config: client }
    }

    fn host(&mut self, end: Side) -> &mut Host {
        self.network.node_mut(self.nodes[end as usize])
    }

    fn happened(&mut self) -> Vec<(Side, Happening)> {
        let mut all = Vec::new();
        for side in [Side::Client, Side::Server] {
            let host = self.host(side);
            host.listen();
            all.extend(host.happened.drain(..).map(|happening| (side, happening)));
        }
        all
    }
}

impl World for Simulated {
    fn turn(&mut self) -> Vec<(Side, Happening)> {
        let ended = self.network.step();
        let all = self.happened();
        assert!(ended.is_none() || !all.is_empty(), "it hangs: {ended:?}");
        all
    }

    fn now(&self) -> Instant {
        self.network.now()
    }

    fn wake_at(&mut self, at: Instant) {
        self.network.at(at, |_| {});
    }

    fn connect(&mut self, from: Side, to: Target) -> Option<ConnectionHandle> {
        let addr = match to {
            Target::Server => self.network.address(self.nodes[1]),
            Target::Nobody => NOBODY.parse().unwrap(),
            Target::NoAddress => "192.0.2.2:0".parse().unwrap(),
        };
        let (now, config) = (self.now(), self.config.clone());
        let host = self.host(from);
        if host.closing {
            return None;
        }
        let handle = host.endpoint.connect(now, FourTuple::to(addr), "localhost", &config).ok()?;
        host.endpoint.keep(handle, true);
        Some(handle)
    }

    fn accept(&mut self, end: Side, client: Incoming) -> Option<ConnectionHandle> {
        let now = self.now();
        let endpoint = &mut self.host(end).endpoint;
        let handle = endpoint.accept(now, client).ok()?;
        endpoint.keep(handle, true);
        Some(handle)
    }

    fn retry(&mut self, end: Side, client: Incoming) -> Result<(), Incoming> {
        let now = self.now();
        self.host(end).endpoint.retry(now, client)
    }

    fn refuse(&mut self, end: Side, client: Incoming) {
        self.host(end).endpoint.refuse(client);
    }

    fn ignore(&mut self, end: Side, client: Incoming) {
        self.host(end).endpoint.ignore(client);
    }

    fn act<R>(
        &mut self,
        end: Side,
        handle: ConnectionHandle,
        act: impl FnOnce(&mut Connection, Instant) -> R,
    ) -> Option<R> {
        let now = self.now();
        self.host(end).endpoint.connection(handle).map(|connection| act(connection, now))
    }

    fn close(&mut self, end: Side, code: AppError, reason: &[u8]) {
        let now = self.now();
        let host = self.host(end);
        host.closing = true;
        host.endpoint.set_server(None);
        host.endpoint.close_all(now, code, reason);
    }

    fn connections(&self, end: Side) -> usize {
        self.network.nodes()[self.nodes[end as usize].0].endpoint.connections()
    }
}
