//! "Why is it slow?": `ConnectionStats::waited` names what held the sender back.

use quic_proto::config::TransportConfig;
use quic_proto::connection::Waited;
use quic_sim::quic::{Host, HostConfig, QuicChecker, Transfer};
use quic_sim::units::{mbit, ms, secs};
use quic_sim::{Queue, Scenario};
use std::sync::Arc;
use std::time::Duration;

const SIZE: u64 = 4 << 20;

/// A client sends 4 MiB over a path of 40 ms. Returns what it waited for, and how long the connection lived.
fn upload(
    client: TransportConfig,
    server: TransportConfig,
    path: impl Fn(Scenario<Host>) -> Scenario<Host>,
) -> (Waited, Duration) {
    let host = |transport| HostConfig { transport: Arc::new(transport), ..HostConfig::default() };
    let (client, server) = (host(client), host(server));
    let scenario = Scenario::between(
        move |setup| Host::client(setup, &client, vec![Transfer::uni(SIZE)]),
        move |setup| Host::server(setup, &server),
    );
    let report = path(scenario.delay(ms(20)))
        .checker(|| QuicChecker::new(64 << 20))
        .until(|view| view.nodes[0].is_done())
        .time_limit(secs(120))
        .run(1);
    assert_eq!(report.verdict(), Ok(()), "{}", report.reproduce);
    let (_, connection) = report.client().connections().next().unwrap();
    let waited = connection.stats().waited;
    (waited, waited.parts().iter().map(|(_, time)| *time).sum())
}

/// The share of its life that the connection spent with the part of this name.
#[track_caller]
fn mostly(name: &str, least: f64, (waited, life): (Waited, Duration)) {
    let (_, time) = *waited.parts().iter().find(|(part, _)| *part == name).unwrap();
    let share = time.as_secs_f64() / life.as_secs_f64();
    assert!(share > least, "{name} was {share} of {life:?}: {waited:?}");
}

fn plain() -> TransportConfig {
    TransportConfig::default()
}

#[test]
fn a_slow_path_is_the_congestion_windows_fault() {
    mostly("congestion", 0.8, upload(plain(), plain(), |s| s.rate(mbit(10)).queue(Queue::drop_tail(50_000))));
}

#[test]
fn a_small_window_of_the_peer_is_named() {
    let narrow = || plain().stream_window(30_000, 30_000);
    mostly("stream window", 0.9, upload(plain(), narrow(), |s| s));
    let narrow = || plain().connection_window(30_000, 30_000);
    mostly("connection window", 0.9, upload(plain(), narrow(), |s| s));
}

#[test]
fn a_small_send_buffer_is_named() {
    mostly("send buffer", 0.9, upload(plain().send_buffer(30_000), plain(), |s| s));
}
