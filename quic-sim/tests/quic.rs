//! QUIC over the network: what arrives is what was sent, whatever the links do. Every scenario runs twice with each of its seeds, and the
//! traces must be the same; and each that exists in both runs for QUIC version 1 and for Google QUIC, with the latter's own cryptography.

use quic_proto::config::TransportConfig;
use quic_proto::crypto::rustls::{Identity, client_config, server_config};
use quic_proto::net::Ecn;
use quic_sim::quic::{Host, HostConfig, Protocol, QuicChecker, Transfer};
use quic_sim::units::{Probability, mbit, ms, percent, secs};
use quic_sim::{Loss, NodeId, Queue, Rebind, Report, Scenario};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// What a connection's stream buffers may take with the default configuration: both sides' ceilings.
const MEMORY: u64 = 64 << 20;

fn hosts(client: HostConfig, server: HostConfig, transfers: &[Transfer]) -> Scenario<Host> {
    let transfers = transfers.to_vec();
    Scenario::between(
        move |setup| Host::client(setup, &client, transfers.clone()),
        move |setup| Host::server(setup, &server),
    )
    .rate(mbit(20))
    .delay(ms(10))
    .checker(|| QuicChecker::new(MEMORY))
    .until(|view| view.nodes[0].is_done())
    .time_limit(secs(120))
}

fn plain(transfers: &[Transfer]) -> Scenario<Host> {
    hosts(HostConfig::default(), HostConfig::default(), transfers)
}

/// A few megabytes in total: enough for slow start to end, and for a NAT to rebind in their midst.
fn bulk() -> Vec<Transfer> {
    vec![Transfer::bidi(700_000, 700_000), Transfer::bidi(10, 500_000), Transfer::uni(300_000)]
}

/// Hosts that speak Google QUIC.
fn google() -> HostConfig {
    HostConfig { protocol: Protocol::q044(), ..HostConfig::default() }
}

/// The hosts of either family, and its name.
fn families() -> [(&'static str, HostConfig); 2] {
    [("v1", HostConfig::default()), ("q044", google())]
}

/// The same on bidirectional streams: Google QUIC has no others.
fn both_ways(transfers: &[Transfer]) -> Vec<Transfer> {
    transfers.iter().map(|transfer| transfer.both_ways()).collect()
}

/// Runs twice with each seed: everything arrives, and the traces are the same.
fn passes(scenario: &Scenario<Host>, transfers: &[Transfer]) {
    for seed in 1..=3 {
        let report = scenario.run_twice(seed).expect_ok();
        let total = |part: fn(&Transfer) -> Option<u64>| transfers.iter().filter_map(part).sum::<u64>();
        assert_eq!(report.client().failure(), None, "{}", report.reproduce);
        assert_eq!(report.server().failure(), None, "{}", report.reproduce);
        assert_eq!(report.server().received(), total(Transfer::to_server), "{}", report.reproduce);
        assert_eq!(report.client().received(), total(Transfer::to_client), "{}", report.reproduce);
    }
}

/// The table: a name, and what is special about the network.
macro_rules! networks {
    ($($(#[$doc:meta])* $name:ident: |$scenario:ident| $change:expr;)*) => {
        $($(#[$doc])*
        mod $name {
            use super::*;

            #[test]
            fn v1() {
                let $scenario = plain(&bulk());
                passes(&$change, &bulk());
            }

            #[test]
            fn q044() {
                let transfers = both_ways(&bulk());
                let $scenario = hosts(google(), google(), &transfers);
                passes(&$change, &transfers);
            }
        })*
    };
}

networks! {
    a_clean_path: |s| s;
    loss_of_1_percent: |s| s.loss(percent(1));
    loss_of_5_percent: |s| s.loss(percent(5));
    loss_of_20_percent: |s| s.loss(percent(20));
    loss_in_bursts: |s| s.loss(Loss::bursts(percent(3), 4.0));
    reordering: |s| s.reorder(percent(10), ms(15));
    duplicates: |s| s.duplicate(percent(20));
    corruption: |s| s.corrupt(percent(3));
    jitter: |s| s.jitter(ms(20));
    everything_at_once: |s| s.loss(percent(2)).reorder(percent(5), ms(10)).duplicate(percent(5)).corrupt(percent(1)).jitter(ms(5));
    codel_that_marks: |s| s.queue(Queue::codel_with_ecn());
    codel_that_drops: |s| s.queue(Queue::codel());
    marks_at_random: |s| s.mark(percent(5));
    bleached_marks: |s| s.up(quic_sim::Link::bleach_ecn);
    a_short_queue: |s| s.queue(Queue::drop_tail(10_000));
    an_mtu_of_1200: |s| s.mtu(1200);
    an_mtu_of_1280: |s| s.mtu(1280);
    a_black_out: |s| s.black_out(ms(150), ms(1_900));
    a_black_out_of_one_direction: |s| s.down(|link| link.black_out(ms(150), ms(1_900)));
    spurious_timeouts: |s| s.spurious_timeouts(percent(30));
    batches_of_segments: |s| s.max_segments(NonZeroUsize::new(16).unwrap());
    a_long_way: |s| s.delay(ms(300)).rate(mbit(50));
    a_rebinding_port: |s| s.rebind(ms(250), Rebind::Port);
    a_rebinding_address: |s| s.rebind(ms(250), Rebind::Address);
    several_rebindings_with_loss: |s| {
        s.loss(percent(2)).rebind(ms(250), Rebind::Port).rebind(ms(500), Rebind::Address).rebind(ms(700), Rebind::Port)
    };
}

/// Rebinding happens while data is under way, or the tests above would say nothing.
#[test]
fn bulk_outlasts_the_rebindings() {
    let report = plain(&bulk()).run(1).expect_ok();
    assert!(report.elapsed > ms(600), "{:?}", report.elapsed);
}

#[test]
fn marks_slow_the_sender_down_with_hardly_a_loss() {
    let codel = |queue| plain(&bulk()).queue(queue).run(1).expect_ok();
    let dropped = |report: &Report<Host>| report.links.iter().map(|link| link.dropped).sum::<u64>();
    let (marking, dropping) = (codel(Queue::codel_with_ecn()), codel(Queue::codel()));
    let marked = marking
        .trace
        .entries()
        .iter()
        .filter(|entry| entry.ecn == Some(Ecn::Ce) && entry.fate.arrived())
        .count();
    assert!(marked > 5, "{marked} datagrams were marked");
    // What bears no mark (probes of the MTU, say) is still dropped.
    assert!(dropped(&marking) < dropped(&dropping), "{} of {}", dropped(&marking), dropped(&dropping));
}

#[test]
fn a_retry_proves_the_address() {
    let server = HostConfig { retry: true, ..HostConfig::default() };
    passes(&hosts(HostConfig::default(), server.clone(), &bulk()), &bulk());
    passes(&hosts(HostConfig::default(), server, &bulk()).loss(percent(10)), &bulk());
}

#[test]
fn clients_without_connection_ids() {
    let client = HostConfig { cid_len: 0, ..HostConfig::default() };
    let scenario = || hosts(client.clone(), HostConfig::default(), &bulk());
    passes(&scenario(), &bulk());
    passes(&scenario().loss(percent(5)), &bulk());
    passes(&scenario().rebind(ms(250), Rebind::Port), &bulk());
}

#[test]
fn a_hundred_streams_and_more() {
    let transfers = vec![Transfer::bidi(3_000, 7_000); 350];
    for (_, config) in families() {
        let scenario = || hosts(config.clone(), config.clone(), &transfers);
        passes(&scenario(), &transfers);
        passes(&scenario().loss(percent(5)), &transfers);
    }
}

/// Long enough for windows to be tuned, and for packet numbers to be written with two bytes and more.
#[test]
fn a_hundred_megabytes() {
    let transfers = [Transfer::bidi(10, 100_000_000)];
    for (family, config) in families() {
        let report = hosts(config.clone(), config, &transfers).rate(mbit(1000)).run(1).expect_ok();
        assert_eq!((report.client().failure(), report.server().failure()), (None, None), "{family}");
        assert_eq!(report.client().received(), 100_000_000, "{family}");
    }
}

#[test]
fn unidirectional_streams() {
    let transfers = vec![Transfer::uni(20_000); 150];
    passes(&plain(&transfers).loss(percent(2)), &transfers);
}

#[test]
fn streams_that_are_given_up() {
    let transfers: Vec<_> = (0..60)
        .map(|n| match n % 3 {
            0 => Transfer::bidi(20_000, 20_000).reset_at(n * 300),
            1 => Transfer::bidi(20_000, 40_000).stop_at(n * 500),
            _ => Transfer::bidi(10_000, 10_000),
        })
        .collect();
    for (family, config) in families() {
        for seed in 1..=5 {
            let scenario = hosts(config.clone(), config.clone(), &transfers).loss(percent(3));
            let report = scenario.run_twice(seed).expect_ok();
            let failures = (report.client().failure(), report.server().failure());
            assert_eq!(failures, (None, None), "{family}: {}", report.reproduce);
        }
    }
}

/// The reader does not read: it grants no more, the writer blocks and says so. It reads: it grants more, and the writer goes on.
#[test]
fn a_reader_that_stalls_stops_its_sender() {
    families().into_iter().for_each(|(family, config)| stall(family, &config));
}

fn stall(family: &str, config: &HostConfig) {
    let (window, send_buffer) = (64 << 10, 128 << 10);
    let transport = TransportConfig::default()
        .stream_window(window, window)
        .connection_window(2 * window, 2 * window)
        .send_buffer(send_buffer)
        .keep_alive(Some(secs(5)))
        .build()
        .unwrap();
    let client = HostConfig { transport, ..config.clone() };
    let server = HostConfig { server_reads: false, ..client.clone() };
    let transfers = vec![Transfer::bidi(3_000_000, 10); 3];
    let resumes = secs(20);
    let scenario = hosts(client, server, &transfers)
        // Far below what is to be sent: on either side no more than was configured, and chunks that are kept for reuse.
        .checker(move || QuicChecker::new(2 * window + send_buffer + (1 << 20)))
        .at(resumes, move |net| {
            let client = &mut net.node_mut(NodeId(0));
            let stats = client.connection().expect("it goes on").stats();
            let (sent, received) = (stats.counters.sent.frames, stats.counters.received.frames);
            assert!(sent.data_blocked + sent.stream_data_blocked > 0, "the writer says that it is blocked");
            assert_eq!(received.max_data + received.max_stream_data, 0, "nothing was granted");
            assert!(
                stats.counters.sent.bytes < 4 * window,
                "{} bytes were sent to a reader that does not read",
                stats.counters.sent.bytes
            );
            net.node_mut(NodeId(1)).read_on();
        });
    passes(&scenario, &transfers);
    let report = scenario.run(1).expect_ok();
    assert!(report.elapsed > resumes, "{family}");
}

#[test]
fn a_graceful_close_loses_nothing() {
    let client = HostConfig { closes_early: true, ..HostConfig::default() };
    for loss in [0, 5, 20] {
        let transfers = vec![Transfer::uni(150_000), Transfer::uni(1), Transfer::uni(40_000)];
        passes(&hosts(client.clone(), HostConfig::default(), &transfers).loss(percent(loss)), &transfers);
    }
    let client = HostConfig { closes_early: true, ..google() };
    for loss in [0, 5, 20] {
        let transfers = vec![Transfer::bidi(150_000, 0), Transfer::bidi(1, 0), Transfer::bidi(40_000, 0)];
        passes(&hosts(client.clone(), google(), &transfers).loss(percent(loss)), &transfers);
    }
}

/// With real cryptography lengths stay the same from run to run (Ed25519 and X25519 have fixed ones), and so do traces.
#[test]
fn real_tls() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["server.test".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = HostConfig {
        protocol: Protocol::tls(
            Arc::new(client_config(roots, &[b"sim"]).unwrap()),
            Arc::new(server_config(Identity { chain: vec![certificate], key }, &[b"sim"]).unwrap()),
        ),
        ..HostConfig::default()
    };
    let scenario = || hosts(config.clone(), config.clone(), &bulk());
    passes(&scenario(), &bulk());
    passes(&scenario().loss(percent(5)).reorder(percent(5), ms(10)).corrupt(percent(1)), &bulk());
}

/// PINGs that get no answer once kept the timer due.
#[test]
fn keep_alive_through_a_black_out() {
    let transport = TransportConfig::default().keep_alive(Some(ms(400))).build().unwrap();
    for (_, config) in families() {
        let config = HostConfig { transport: Arc::clone(&transport), ..config };
        let transfers = both_ways(&bulk());
        passes(&hosts(config.clone(), config, &transfers).black_out(ms(150), secs(3)), &transfers);
    }
}

/// Nothing is left of a connection on either side, even if the packets that close it are lost.
#[test]
fn nothing_is_left_behind() {
    let losses = [(1, Probability::NEVER), (2, percent(20)), (3, percent(40))];
    for ((seed, loss), (_, config)) in losses.into_iter().flat_map(|loss| families().map(|f| (loss, f))) {
        let transfers = vec![Transfer::bidi(5_000, 5_000)];
        let patient = TransportConfig::default().handshake_timeout(secs(60)).build().unwrap();
        let client = HostConfig { transport: patient, ..config };
        let server = client.clone();
        let scenario = Scenario::between(
            move |setup| Host::client(setup, &client, transfers.clone()),
            move |setup| Host::server(setup, &server),
        )
        .loss(loss)
        .checker(|| QuicChecker::new(MEMORY));
        let report = scenario.run_twice(seed).expect_ok();
        assert!(report.client().is_done());
        assert_eq!((report.client().open_connections(), report.server().open_connections()), (0, 0));
    }
}
