//! The latency spin bit (RFC 9000 §17.4): whoever sees the packets of one direction learns the round-trip time.

use quic_proto::config::TransportConfig;
use quic_proto::net::{Datagram, Transmit};
use quic_proto::time::Instant;
use quic_sim::quic::{Host, HostConfig, Transfer};
use quic_sim::units::{mbit, ms, percent, secs};
use quic_sim::{Node, Scenario};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

/// A host and an observer beside it.
struct Observed {
    host: Host,
    last: bool,
    /// When the bit changed in what the host sent.
    edges: Vec<Instant>,
}

impl Observed {
    const fn new(host: Host) -> Self {
        Self { host, last: false, edges: Vec::new() }
    }
}

impl Node for Observed {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        self.host.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.host.handle_timeout(now);
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        let transmit = self.host.poll_transmit(now, buf, max_segments)?;
        let (short, spin) = (buf[0] & 0x80 == 0, buf[0] & 0x20 != 0);
        if short && spin != self.last {
            self.last = spin;
            self.edges.push(now);
        }
        Some(transmit)
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.host.next_timeout()
    }
}

/// Times between changes of the bit while a client sends at full speed, with 40 ms there and back, and the median of them.
fn periods(path: impl Fn(Scenario<Observed>) -> Scenario<Observed>) -> (Vec<Duration>, Duration) {
    // A window that keeps the queue empty.
    let transport = Arc::new(TransportConfig::default().stream_window(60_000, 60_000));
    let config = HostConfig { transport, ..HostConfig::default() };
    let server = config.clone();
    let scenario = Scenario::between(
        move |setup| Observed::new(Host::client(setup, &config, vec![Transfer::uni(3 << 20)])),
        move |setup| Observed::new(Host::server(setup, &server)),
    );
    let report = path(scenario.rate(mbit(100)).delay(ms(20)))
        .until(|view| view.nodes[0].host.is_done())
        .time_limit(secs(60))
        .run(1)
        .expect_ok();
    assert_eq!(report.client().host.failure(), None);
    let edges = &report.client().edges;
    assert!(edges.len() > 20, "{edges:?}");
    let periods: Vec<_> = edges.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let mut sorted = periods.clone();
    sorted.sort_unstable();
    let median = sorted[sorted.len() / 2];
    (periods, median)
}

#[test]
fn a_period_is_a_round_trip() {
    let (periods, median) = periods(|scenario| scenario);
    assert!((ms(40)..ms(45)).contains(&median), "{median:?}: {periods:?}");
    assert!(periods.iter().all(|period| *period >= ms(40)), "{periods:?}");
}

#[test]
fn reordering_makes_no_edges() {
    // RFC 9000 §17.4: only "a 1-RTT packet that increases the highest packet number" counts, so that a late packet does not bring an old value
    // back at the ends.
    let (periods, median) = periods(|scenario| scenario.reorder(percent(5), ms(10)));
    assert!((ms(40)..ms(50)).contains(&median), "{median:?}: {periods:?}");
    assert!(periods.iter().all(|period| *period >= ms(40)), "{periods:?}");
}
