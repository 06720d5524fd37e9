//! Congestion controllers on bad paths. Time is virtual, so that a seed's goodput is one number on every machine: a floor that is missed is
//! a change of behaviour, not a slow computer. `cargo run --release -p benches --bin goodput` prints the figures.

use quic_proto::config::TransportConfig;
use quic_proto::congestion::Algorithm::{self, Bbr, Cubic, CubicTolerant, NewReno};
use quic_sim::quic::{Bottleneck, Goodput, Host, HostConfig, QuicChecker, Transfer};
use quic_sim::units::{Probability, kbit, mbit, ms, percent, secs};
use quic_sim::{Loss, Queue, Rebind, Scenario, UP};
use std::sync::Arc;

/// What a connection's stream buffers may take with the default configuration: both sides' ceilings.
const MEMORY: u64 = 64 << 20;

fn fifty() -> Bottleneck {
    Bottleneck::new(mbit(50), ms(40))
}

fn hundred() -> Bottleneck {
    Bottleneck::new(mbit(100), ms(100))
}

/// Ten seconds; the floors are a little below what was measured.
#[track_caller]
fn reaches(path: &Bottleneck, algorithm: Algorithm, floor: f64) -> Goodput {
    let goodput = path.measure(&[algorithm], secs(10), 1);
    let mbit = goodput.mbit();
    assert!(mbit >= floor, "{algorithm}: {mbit:.1} Mbit/s are less than {floor}");
    goodput
}

#[test]
fn a_clean_path_is_filled_by_all() {
    for algorithm in Algorithm::ALL {
        reaches(&fifty(), algorithm, 46.0);
    }
}

#[test]
fn a_long_fat_path_is_filled() {
    reaches(&hundred(), Cubic, 90.0);
    reaches(&hundred(), Bbr, 90.0);
    reaches(&hundred(), NewReno, 90.0);
}

#[test]
fn bbr_stands_random_loss() {
    reaches(&fifty().loss(percent(1)), Bbr, 46.0);
    reaches(&fifty().loss(Loss::bursts(percent(1), 4.0)), Bbr, 40.0);
    reaches(&hundred().loss(percent(0.1)), Bbr, 88.5);
}

/// In the long run it is 19 twentieths of what passes, whatever the seed: loss that does not come from a queue is not answered.
#[test]
fn bbr_fills_a_path_that_loses_one_per_cent() {
    let path = fifty().loss(percent(1));
    for seed in 1..=4 {
        let mbit = path.measure(&[Bbr], secs(20), seed).mbit();
        assert!(mbit > 46.5, "seed {seed}: {mbit:.1} Mbit/s");
    }
}

/// A wire that stalls for a round trip now and then delivers nearly as much as before, if enough is in flight: also after a loss.
#[test]
fn bbr_fills_a_path_that_stalls() {
    let path = fifty().stall(ms(250), ms(40));
    let lossy = path.clone().loss(percent(1));
    let mbit = (1..=8).map(|seed| lossy.measure(&[Bbr], secs(10), seed).mbit()).sum::<f64>() / 8.0;
    assert!(mbit > 45.6, "{mbit:.1} Mbit/s");
    reaches(&path, Bbr, 46.5);
}

/// What BBR does not answer is bounded: where the queue is too short for it, or the rate drops to a quarter, it stops soon.
#[test]
fn bbr_bounds_what_it_loses() {
    let dropped = |path: Bottleneck| path.measure(&[Bbr], secs(20), 1).dropped();
    assert!(dropped(fifty().queue(0.2)) < 0.008);
    assert!(dropped(fifty().becomes(kbit(12_500), secs(10))) < 0.02);
}

/// Who comes late gets a share, and the queue does not stay, though `ProbeRTT` may be short.
#[test]
fn bbr_makes_room_for_another() {
    let goodput = fifty().queue(5.0).late(ms(2_900)).measure(&[Bbr, Bbr], secs(30), 1);
    assert!(shares(&goodput)[1] > 8.0, "{:?}", shares(&goodput));
    assert!(goodput.queueing() < ms(70), "{:?}", goodput.queueing());
}

/// A sender whose socket holds datagrams back until they are to leave fills the path as well, and nothing that it sends overtakes: that would
/// be taken for loss.
#[test]
fn departure_times_cost_nothing_and_reorder_nothing() {
    for algorithm in [Cubic, Bbr] {
        let plain = reaches(&hundred(), algorithm, 88.0);
        let ahead = reaches(&hundred().departure_times(true), algorithm, 88.0);
        let spurious = ahead.declared_lost() - ahead.dropped();
        assert!(spurious < 1e-4, "{algorithm}: {spurious} of the packets were declared lost and were not");
        assert!(ahead.mbit() > 0.99 * plain.mbit(), "{algorithm}: {} and {}", ahead.mbit(), plain.mbit());
    }
}

#[test]
fn tolerant_cubic_stands_random_loss() {
    reaches(&fifty().loss(percent(1)), CubicTolerant, 34.0);
    reaches(&fifty().loss(Loss::bursts(percent(1), 4.0)), CubicTolerant, 30.0);
    reaches(&hundred().loss(percent(0.1)), CubicTolerant, 70.0);
}

/// Where queues can be seen it is CUBIC, to the byte.
#[test]
fn tolerant_cubic_answers_a_full_queue() {
    for path in [fifty(), fifty().queue(0.25)] {
        let [cubic, tolerant] = [Cubic, CubicTolerant].map(|one| path.measure(&[one], secs(10), 1));
        assert_eq!(cubic.flows[0].received, tolerant.flows[0].received);
    }
    for other in [Cubic, NewReno] {
        let [plain, tolerant] = [Cubic, CubicTolerant].map(|one| fifty().measure(&[one, other], secs(10), 1));
        assert_eq!(shares(&plain), shares(&tolerant));
    }
}

/// Where a queue is too short to be seen, others suffer, but within bounds: see `Algorithm::CubicTolerant`.
#[test]
fn tolerant_cubic_bounds_what_it_costs_others() {
    for (queue, other, least) in [(0.25, Cubic, 18.0), (0.1, Cubic, 5.0), (0.1, NewReno, 4.0)] {
        let goodput = fifty().queue(queue).measure(&[CubicTolerant, other], secs(10), 1);
        assert!(shares(&goodput)[1] > least, "{other}: {:?}", shares(&goodput));
        assert!(goodput.dropped() < 0.02, "{other}: {}", goodput.dropped());
    }
}

#[test]
fn reordering_is_no_loss() {
    for (algorithm, floor) in [(NewReno, 15.0), (Cubic, 45.0), (Bbr, 45.0)] {
        let goodput = reaches(&fifty().reorder(percent(1), ms(8)), algorithm, floor);
        let spurious = goodput.declared_lost() - goodput.dropped();
        assert!(spurious < 0.002, "{algorithm}: {spurious} of the packets were declared lost and were not");
    }
}

/// RFC 9406: slow start ends before the queue overflows, or soon after. Without it these shares are 0.024, 0.059 and 0.043 with CUBIC.
#[test]
fn hystart_keeps_the_losses_of_slow_start_few() {
    for algorithm in [Cubic, NewReno] {
        for (path, most) in [(fifty(), 0.018), (hundred(), 0.026), (fifty().queue(4.0), 0.012)] {
            let dropped = path.measure(&[algorithm], secs(5), 1).dropped();
            assert!(dropped < most, "{algorithm}: {dropped} of the datagrams were dropped");
        }
    }
}

#[test]
fn bbr_keeps_the_queue_short() {
    let queueing = reaches(&fifty().queue(4.0), Bbr, 46.0).queueing();
    assert!(queueing < ms(10), "{queueing:?}");
}

#[test]
fn a_shallow_queue_is_lived_with() {
    reaches(&fifty().queue(0.25), Cubic, 44.0);
    reaches(&fifty().queue(0.25), Bbr, 45.0);
}

#[test]
fn equals_share_fairly() {
    for algorithm in Algorithm::ALL {
        let goodput = fifty().measure(&[algorithm; 2], secs(20), 1);
        assert!(goodput.fairness() > 0.95, "{algorithm}: {:?}", shares(&goodput));
        assert!(goodput.mbit() > 46.0, "{algorithm}: {:?}", shares(&goodput));
    }
}

#[test]
fn nobody_is_starved() {
    for pair in [[Cubic, NewReno], [Bbr, Cubic], [Bbr, NewReno]] {
        let goodput = fifty().measure(&pair, secs(20), 1);
        let least = shares(&goodput).into_iter().fold(f64::INFINITY, f64::min);
        assert!(least > 10.0, "{pair:?}: {:?}", shares(&goodput));
    }
}

fn shares(goodput: &Goodput) -> Vec<f64> {
    goodput.flows.iter().map(|flow| goodput.mbit_of(flow)).collect()
}

/// Networks that are no place to be fast: all data arrives, no connection ends before its time, nobody spins.
#[test]
fn every_controller_survives() {
    type Change = fn(Scenario<Host>) -> Scenario<Host>;
    let transfers = vec![Transfer::bidi(700_000, 700_000), Transfer::uni(300_000)];
    let networks: &[(&str, Change)] = &[
        ("loss of 20 %", |s| s.loss(percent(20))),
        ("a mix", |s| s.loss(percent(2)).reorder(percent(5), ms(10)).duplicate(percent(5)).jitter(ms(5))),
        ("marks", |s| s.queue(Queue::codel_with_ecn())),
        ("marks at random", |s| s.mark(percent(5))),
        ("marks on everything", |s| s.mark(Probability::ALWAYS)),
        ("CoDel", |s| s.queue(Queue::codel())),
        ("a black-out", |s| s.black_out(ms(150), ms(1_900))),
        ("a slow link", |s| s.rate(kbit(500)).queue(Queue::drop_tail(20_000))),
        ("a new address", |s| s.rebind(ms(250), Rebind::Address)),
        ("a tenth of the rate", |s| s.at(ms(300), |net| net.reshape(UP, |link| link.rate(mbit(2))))),
    ];
    for algorithm in Algorithm::ALL {
        let transport = Arc::new(TransportConfig::default().congestion(algorithm));
        let config = HostConfig { transport, ..HostConfig::default() };
        for (name, change) in networks {
            let (client, server, list) = (config.clone(), config.clone(), transfers.clone());
            let scenario = change(
                Scenario::between(
                    move |setup| Host::client(setup, &client, list.clone()),
                    move |setup| Host::server(setup, &server),
                )
                .rate(mbit(20))
                .delay(ms(10))
                .checker(|| QuicChecker::new(MEMORY))
                .until(|view| view.nodes[0].is_done())
                .time_limit(secs(120)),
            );
            for seed in 1..=2 {
                let report = scenario.run_twice(seed);
                let what = format!("{algorithm} on {name}: {}", report.reproduce);
                assert_eq!(report.verdict(), Ok(()), "{what}");
                assert_eq!(
                    (report.client().failure(), report.client().received()),
                    (None, 700_000),
                    "{what}"
                );
            }
        }
    }
}
