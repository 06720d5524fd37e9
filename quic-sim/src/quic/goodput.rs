//! How much of a bad path a congestion controller makes use of.
//!
//! Owns [`Bottleneck`] (a path described in a sentence) and [`Goodput`] (what flows got out of it). Each flow is a client that sends
//! without end; the measurement is the whole run, the handshake and the start included. Time is virtual: the figures of a seed are
//! exact and the same on every machine. Invariant: a connection that ends, or a wrong byte, is a panic and not a low figure. No timers.

use super::{Host, HostConfig, QuicChecker, Transfer};
use crate::checker::Limits;
use crate::link::{Link, LinkStats};
use crate::loss::Loss;
use crate::network::Outcome;
use crate::queue::Queue;
use crate::scenario::{DOWN, Scenario, UP};
use crate::units::{Probability, Rate};
use quic_proto::config::TransportConfig;
use quic_proto::congestion::Algorithm;
use quic_proto::connection::ConnectionStats;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// More than a flow can send in any run: it never ends.
const ENDLESS: u64 = 1 << 40;

/// The receive windows, in bytes.
const WINDOW: u64 = 8 << 20;

/// What a connection's stream buffers may take with the default configuration: both sides' ceilings.
const MEMORY: u64 = 64 << 20;

/// The smallest queue, in bytes: a bottleneck that holds less than a burst of ten datagrams is no network that anybody runs.
const SMALLEST_QUEUE: usize = 15_000;

/// A path with one narrow place, the same both ways.
#[derive(Clone, Debug)]
pub struct Bottleneck {
    rate: Rate,
    rtt: Duration,
    queue: f64,
    link: Link,
    departure_times: bool,
    change: Option<(Duration, Rate)>,
    late: Duration,
}

impl Bottleneck {
    /// A path of this rate and round-trip time, with a drop-tail queue of one bandwidth-delay product.
    pub fn new(rate: Rate, rtt: Duration) -> Self {
        let link = Link::new().rate(rate).delay(rtt / 2);
        Self { rate, rtt, queue: 1.0, link, departure_times: false, change: None, late: Duration::ZERO }
    }

    /// The queue, in bandwidth-delay products.
    #[must_use]
    pub fn queue(mut self, products: f64) -> Self {
        self.queue = products;
        self
    }

    /// See [`Link::loss`]. It comes behind the queue.
    #[must_use]
    pub fn loss(mut self, loss: impl Into<Loss>) -> Self {
        self.link = self.link.loss(loss);
        self
    }

    /// See [`Link::reorder`].
    #[must_use]
    pub fn reorder(mut self, some: Probability, by: Duration) -> Self {
        self.link = self.link.reorder(some, by);
        self
    }

    /// See [`Link::stall`].
    #[must_use]
    pub fn stall(mut self, every: Duration, up_to: Duration) -> Self {
        self.link = self.link.stall(every, up_to);
        self
    }

    /// Whether the senders' sockets hold datagrams back until the times that these name.
    #[must_use]
    pub fn departure_times(mut self, on: bool) -> Self {
        self.departure_times = on;
        self
    }

    /// The rate becomes another one after some time; the queue, in bytes, stays what it was.
    #[must_use]
    pub fn becomes(mut self, rate: Rate, after: Duration) -> Self {
        self.change = Some((after, rate));
        self
    }

    /// All flows but the first come later: what they send before is lost, so that they start within twice that time.
    #[must_use]
    pub fn late(mut self, by: Duration) -> Self {
        self.late = by;
        self
    }

    /// Lets one flow for each of `algorithms` send for `time`.
    ///
    /// # Panics
    /// If a connection ends, a byte is wrong, or the network finds a rule broken.
    pub fn measure(&self, algorithms: &[Algorithm], time: Duration, seed: u64) -> Goodput {
        let flows: Vec<_> = algorithms.iter().map(|algorithm| self.host(*algorithm)).collect();
        let capacity = (self.rate.bytes_in(self.rtt) as f64 * self.queue) as usize;
        let link = self.link.clone().queue(Queue::drop_tail(capacity.max(SMALLEST_QUEUE)));
        let limits = Limits { time, steps: u64::MAX, trace: 0, ..Limits::default() };
        let late = self.late;
        let mut scenario = Scenario::clients(
            flows.len(),
            move |setup| {
                let config = &flows[setup.id.0];
                Host::client(setup, config, vec![Transfer::uni(ENDLESS)])
            },
            |setup| {
                Host::server(setup, &HostConfig { transport: Arc::new(transport()), ..HostConfig::default() })
            },
        )
        .up(|_| link.clone())
        .down(|_| link.clone())
        .checker(|| QuicChecker::new(MEMORY))
        .max_segments(NonZeroUsize::MIN.saturating_add(9))
        .limits(limits);
        if late > Duration::ZERO {
            let access =
                move |flow| if flow == 0 { Link::new() } else { Link::new().black_out(Duration::ZERO, late) };
            scenario = scenario.access(access);
        }
        if let Some((after, rate)) = self.change {
            scenario = scenario.at(after, move |net| {
                for direction in [UP, DOWN] {
                    net.reshape(direction, |link| link.rate(rate));
                }
            });
        }
        let report = scenario.run(seed);
        assert_eq!(report.outcome, Outcome::OutOfTime, "{}", report.reproduce);
        for host in &report.nodes {
            assert_eq!((host.failure(), host.closed()), (None, &[][..]), "{}", report.reproduce);
        }
        let (clients, server) = (&report.nodes[..algorithms.len()], report.server());
        let flow = |(number, client): (usize, &Host)| {
            let stats = client.connections().next().map(|(_, connection)| connection.stats());
            let address = crate::scenario::client_address(number);
            Flow { received: server.received_from(address), stats: stats.unwrap_or_default() }
        };
        let flows = clients.iter().enumerate().map(flow).collect();
        Goodput { time, flows, link: report.links[UP.0] }
    }

    fn host(&self, algorithm: Algorithm) -> HostConfig {
        HostConfig {
            transport: Arc::new(transport().congestion(algorithm)),
            departure_times: self.departure_times,
            ..HostConfig::default()
        }
    }
}

/// Wide windows from the start: it is congestion control that is measured, not flow control.
fn transport() -> TransportConfig {
    TransportConfig::default().stream_window(WINDOW, WINDOW).connection_window(WINDOW, WINDOW)
}

/// One flow's part of a run.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Bytes of stream data that the server got.
    pub received: u64,
    /// The sender's counters.
    pub stats: ConnectionStats,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Goodput {
    time: Duration,
    /// The flows, in the order in which they were given.
    pub flows: Vec<Flow>,
    /// What the bottleneck did to the data.
    pub link: LinkStats,
}

impl Goodput {
    /// Stream data that arrived, of all flows together, in Mbit/s.
    pub fn mbit(&self) -> f64 {
        self.flows.iter().map(|flow| self.mbit_of(flow)).sum()
    }

    /// Stream data of one flow that arrived, in Mbit/s.
    pub fn mbit_of(&self, flow: &Flow) -> f64 {
        flow.received as f64 * 8e-6 / self.time.as_secs_f64()
    }

    /// How long a datagram waited in the queue on average.
    pub fn queueing(&self) -> Duration {
        let passed = u32::try_from(self.link.passed).unwrap_or(u32::MAX);
        self.link.waited / passed.max(1)
    }

    /// The share of datagrams that the path dropped, in the queue or by loss.
    pub fn dropped(&self) -> f64 {
        self.link.dropped as f64 / self.link.offered.max(1) as f64
    }

    /// The share of packets that the senders took for lost, which are those that they sent again.
    pub fn declared_lost(&self) -> f64 {
        let sum = |count: fn(&ConnectionStats) -> u64| -> u64 {
            self.flows.iter().map(|flow| count(&flow.stats)).sum()
        };
        sum(|stats| stats.counters.lost_packets) as f64
            / sum(|stats| stats.counters.sent.packets).max(1) as f64
    }

    /// Jain's index of fairness: 1 if all flows got the same, one over their number if one got all.
    pub fn fairness(&self) -> f64 {
        let (mut sum, mut squares) = (0.0, 0.0);
        for flow in &self.flows {
            let share = flow.received as f64;
            sum += share;
            squares += share * share;
        }
        if squares > 0.0 { sum * sum / (self.flows.len() as f64 * squares) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shares: &[u64]) -> Goodput {
        let flow = |received| Flow { received, stats: ConnectionStats::default() };
        let flows = shares.iter().copied().map(flow).collect();
        Goodput { time: Duration::from_secs(2), flows, link: LinkStats::default() }
    }

    #[test]
    fn shares_are_judged() {
        assert!((of(&[5, 5, 5]).fairness() - 1.0).abs() < 1e-9);
        assert!((of(&[0, 9]).fairness() - 0.5).abs() < 1e-9);
        assert!((of(&[1_000_000, 250_000]).mbit() - 5.0).abs() < 1e-9);
        assert_eq!(of(&[1]).queueing(), Duration::ZERO);
    }
}
