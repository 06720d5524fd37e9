//! Hosts, transfers and a network drawn from a seed.
//!
//! Owns [`Plan`]. Invariant: a plan is one that QUIC survives: whatever it draws, all data that is meant to arrive does, in ten minutes, and
//! nothing is left over. No timers.

use super::{Host, HostConfig, Protocol, QuicChecker, Transfer};
use crate::link::Link;
use crate::nat::Rebind;
use crate::node::NodeId;
use crate::scenario::{Report, Scenario};
use crate::units::{mbit, ms, percent, secs, uniform};
use quic_proto::config::TransportConfig;
use quic_proto::congestion::Algorithm;
use quic_proto::rng::{Rng, SeededRng};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// One random situation: what the network is like, how the hosts are set up, and what their applications do.
#[derive(Clone)]
pub struct Plan {
    seed: u64,
    clients: usize,
    client: HostConfig,
    server: HostConfig,
    memory: u64,
    transfers: Vec<Transfer>,
    up: Link,
    down: Link,
    segments: usize,
    spurious: bool,
    rebind: Option<(Duration, Rebind)>,
    read_on: Option<Duration>,
    key_updates: bool,
}

impl Plan {
    /// The plan of a seed, always the same. Every fourth is one of Q044, which has no Retry, no key updates and no unidirectional streams.
    pub fn from_seed(seed: u64) -> Self {
        let q044 = seed % 4 == 3;
        // Apart from the dice of the run itself.
        let mut dice = SeededRng::from_u64(seed ^ 0x706c_616e);
        let rng: &mut dyn Rng = &mut dice;
        let rebind = chance(rng, 15).then(|| {
            let how = if chance(rng, 50) { Rebind::Port } else { Rebind::Address };
            (ms(200) + uniform(rng, ms(3_000)), how)
        });
        let (transport, memory) = transport(rng, rebind.is_some());
        let block = 1 << rng.below(15);
        let read_on = chance(rng, 10).then(|| ms(500) + uniform(rng, ms(5_000)));
        let protocol = if q044 { Protocol::q044() } else { Protocol::null() };
        let base = HostConfig { transport, protocol, block, ..HostConfig::default() };
        let plan = Self {
            seed,
            clients: if chance(rng, 80) { 1 } else { 2 + rng.below(3) as usize },
            client: HostConfig {
                cid_len: [0, 4, 8, 20][rng.below(4) as usize],
                closes_early: chance(rng, 20),
                ..base.clone()
            },
            server: HostConfig {
                cid_len: [4, 8, 20][rng.below(3) as usize],
                retry: chance(rng, 20) && !q044,
                server_reads: read_on.is_none(),
                ..base
            },
            memory,
            transfers: transfers(rng).into_iter().map(|t| if q044 { t.both_ways() } else { t }).collect(),
            up: link(rng),
            down: link(rng),
            segments: if chance(rng, 50) { 1 } else { 1 + rng.below(16) as usize },
            spurious: chance(rng, 20),
            rebind,
            read_on,
            key_updates: chance(rng, 20) && !q044,
        };
        // Drawn last, so that seeds of before mean what they meant.
        let departure_times = chance(rng, 30);
        let with = |host: HostConfig| HostConfig { departure_times, ..host };
        Self { client: with(plan.client), server: with(plan.server), ..plan }
    }

    /// The scenario; it runs until nothing is left to do.
    pub fn scenario(&self) -> Scenario<Host> {
        let (client, server, transfers) = (self.client.clone(), self.server.clone(), self.transfers.clone());
        let (memory, clients) = (self.memory, self.clients);
        let mut scenario = Scenario::clients(
            clients,
            move |setup| Host::client(setup, &client, transfers.clone()),
            move |setup| Host::server(setup, &server),
        )
        .up(|_| self.up.clone())
        .down(|_| self.down.clone())
        .checker(move || QuicChecker::new(memory))
        .max_segments(NonZeroUsize::new(self.segments).unwrap_or(NonZeroUsize::MIN))
        .spurious_timeouts(percent(if self.spurious { 10 } else { 0 }));
        if let Some((at, how)) = self.rebind {
            scenario = scenario.nat().at(at, move |net| {
                for client in (0..clients).map(NodeId) {
                    // RFC 9000 §9: before the handshake is confirmed, a new address is not accepted; it would only time out.
                    let moves = net.nodes()[client.0].is_confirmed();
                    moves.then(|| net.rebind(net.address(client), how));
                }
            });
        }
        if let Some(at) = self.read_on {
            scenario = scenario.at(at, move |net| net.node_mut(NodeId(clients)).read_on());
        }
        for at in (1..10).map(|n| ms(150 * n)).filter(|_| self.key_updates) {
            scenario = scenario.at(at, |net| {
                if let Some(connection) = net.node_mut(NodeId(0)).connection() {
                    // Most of these come while one is under way, and are refused.
                    let _ = connection.initiate_key_update();
                }
            });
        }
        scenario
    }

    /// Runs the plan.
    pub fn run(&self) -> Report<Host> {
        self.scenario().run(self.seed)
    }

    /// Whether a run of this plan ended as it must: all data arrived that was meant to, and no connection is left.
    ///
    /// # Errors
    /// What is wrong.
    pub fn judge(&self, report: &Report<Host>) -> Result<(), String> {
        report.verdict()?;
        let clients = &report.nodes[..self.clients];
        for (number, host) in report.nodes.iter().enumerate() {
            if let Some(failure) = host.failure() {
                return Err(format!("node {number}: {failure}"));
            }
            if host.open_connections() > 0 {
                return Err(format!("node {number}: {} connections are left", host.open_connections()));
            }
        }
        if let Some(number) = clients.iter().position(|host| !host.is_done()) {
            return Err(format!("client {number} is not done"));
        }
        let sum = |part: fn(&Transfer) -> Option<u64>| self.transfers.iter().map(part).sum::<Option<u64>>();
        if let Some(sent) = sum(Transfer::to_server) {
            let (sent, got) = (sent * self.clients as u64, report.server().received());
            if sent != got {
                return Err(format!("the server got {got} of {sent} bytes"));
            }
        }
        if let Some(sent) = sum(Transfer::to_client).filter(|_| !self.client.closes_early)
            && let Some(client) = clients.iter().find(|client| client.received() != sent)
        {
            return Err(format!("a client got {} of {sent} bytes", client.received()));
        }
        Ok(())
    }
}

fn chance(rng: &mut dyn Rng, percents: u64) -> bool {
    rng.below(100) < percents
}

/// A size below 2^`bits`, small ones as likely as large ones.
fn size(rng: &mut dyn Rng, bits: u64) -> u64 {
    let bits = rng.below(bits + 1);
    rng.below(1 << bits)
}

fn link(rng: &mut dyn Rng) -> Link {
    if chance(rng, 20) {
        Link::new().rate(mbit(20)).delay(uniform(rng, ms(50)))
    } else {
        Link::arbitrary(rng)
    }
}

fn transport(rng: &mut dyn Rng, rebinds: bool) -> (Arc<TransportConfig>, u64) {
    let window = 1024 << rng.below(10);
    let (stream_max, connection) = (window << rng.below(3), window << rng.below(2));
    let connection_max = connection << rng.below(3);
    let send_buffer = 512 << rng.below(13);
    // A chunk may hold little where there are gaps, and every stream has a last chunk; idle chunks are at most 2 MiB.
    let memory = send_buffer + 2 * connection_max + (4 << 20);
    let transport = TransportConfig::default()
        .stream_window(window, stream_max)
        .connection_window(connection, connection_max)
        .send_buffer(send_buffer)
        .max_bidi_streams(1 + size(rng, 8))
        .max_uni_streams(1 + size(rng, 8))
        .congestion(Algorithm::ALL[rng.below(Algorithm::ALL.len() as u64) as usize])
        .pacing(chance(rng, 75))
        .max_ack_delay(ms(rng.below(60)))
        .mtu_ceiling(1200 + rng.below(301) as u16)
        .mtu_discovery(chance(rng, 75))
        .active_cid_limit(2 + rng.below(6))
        .initial_rtt(ms(50 + rng.below(400)))
        .handshake_timeout(secs(60))
        .max_idle_timeout(Some(secs(60)))
        // A client whose binding changed must say something, or the server does not know where it is.
        .keep_alive((rebinds || chance(rng, 20)).then(|| secs(1)));
    (Arc::new(transport), memory)
}

fn transfers(rng: &mut dyn Rng) -> Vec<Transfer> {
    let (count, bits) = if chance(rng, 10) { (60 + size(rng, 7), 10) } else { (1 + rng.below(6), 18) };
    let cancels = chance(rng, 20);
    let transfer = |_| {
        let transfer = if chance(rng, 30) {
            Transfer::uni(size(rng, bits))
        } else {
            Transfer::bidi(size(rng, bits), size(rng, bits))
        };
        match rng.below(6) {
            0 if cancels => transfer.reset_at(size(rng, bits)),
            1 if cancels => transfer.stop_at(size(rng, bits)),
            _ => transfer,
        }
    };
    (0..count).map(transfer).collect()
}
