//! QUIC over the network: what arrives is what was sent, whatever the links do.

use quic_sim::quic::{Host, HostConfig, Transfer};
use quic_sim::units::{mbit, ms, percent, secs};
use quic_sim::{Outcome, Scenario};

fn hosts(config: HostConfig, transfers: Vec<Transfer>) -> Scenario<Host> {
    let server = config.clone();
    Scenario::between(
        move |setup| Host::client(setup, &config, transfers.clone()),
        move |setup| Host::server(setup, &server),
    )
    .rate(mbit(20))
    .delay(ms(10))
    .until(|view| view.nodes[0].is_done())
    .time_limit(secs(120))
}

fn passes(scenario: &Scenario<Host>, seed: u64) {
    let report = scenario.run(seed);
    assert_eq!(
        report.outcome,
        Outcome::Reached,
        "{:?} {:?}",
        report.client().failure(),
        report.server().failure()
    );
    assert_eq!(report.client().failure(), None);
    assert_eq!(report.server().failure(), None);
}

#[test]
fn a_transfer_on_a_clean_path() {
    let scenario =
        hosts(HostConfig::default(), vec![Transfer::bidi(10_000, 1_000_000), Transfer::uni(50_000)]);
    passes(&scenario, 1);
}

#[test]
fn a_transfer_with_loss() {
    let scenario = hosts(HostConfig::default(), vec![Transfer::bidi(300_000, 300_000); 4]).loss(percent(5));
    for seed in 0..10 {
        passes(&scenario, seed);
    }
}
