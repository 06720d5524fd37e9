//! What is made of a path: rates, aggregation, losses, marks, and the parameters that follow.

use super::*;

#[test]
fn aggregation_is_measured_and_allowed_for() {
    let mut sim = Sim::new();
    // All acknowledgements of 25 ms come at once.
    sim.aggregate = Some(Duration::from_millis(25));
    sim.run_until(State::ProbeBwCruise);
    assert_close(sim.bbr.model.max_bw, RATE, 0.4);
    assert!(sim.bbr.model.extra_acked >= 20 * MTU, "{}", sim.bbr.model.extra_acked);
    assert!(sim.bbr.window() > 2 * BDP);
    let throughput = sim.throughput(Duration::from_secs(4));
    assert!(throughput > 0.9 * RATE, "{throughput}");
}

#[test]
fn less_than_a_packet_of_product_works() {
    let mut sim = Sim::new();
    (sim.rate, sim.rtt, sim.queue) = (10_000.0, Duration::from_millis(1), 20 * MTU);
    sim.run(Duration::from_secs(20));
    assert!(sim.bbr.window() >= 4 * MTU, "BBR.MinPipeCwnd");
    let throughput = sim.throughput(Duration::from_secs(20));
    assert_close(throughput, 10_000.0, 0.05);
}

#[test]
fn a_tenth_of_the_bandwidth_is_adapted_to() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    (sim.rate, sim.queue) = (RATE / 10.0, BDP / 2);
    sim.run(Duration::from_secs(1));
    let bw = sim.bbr.model.bw;
    assert!(
        sim.lost > 0 && bw < 0.75 * RATE,
        "{} lost, {bw}: loss reduces the short-term estimate",
        sim.lost
    );
    sim.run(Duration::from_secs(20));
    assert_close(sim.bbr.model.max_bw, RATE / 10.0, 0.1);
    sim.lost = 0;
    let throughput = sim.throughput(Duration::from_secs(10));
    assert_close(throughput, RATE / 10.0, 0.1);
    assert!(sim.lost < 150, "{} of 1250 packets", sim.lost);
}

/// A policer, or a queue of next to nothing: what comes beyond the rate is dropped.
#[test]
fn a_shallow_queue_is_lived_with() {
    let mut sim = Sim::new();
    sim.queue = 4 * MTU;
    sim.run(Duration::from_secs(10));
    sim.lost = 0;
    let throughput = sim.throughput(Duration::from_secs(20));
    assert!(throughput > 0.8 * RATE, "{throughput}");
    assert!(sim.lost < 25_000 / 50, "{} of 25,000 packets", sim.lost);
}

#[test]
fn loss_outside_of_a_probe_reduces_to_what_is_delivered() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.run(2 * RTT);
    sim.lottery = |number| number % 10 == 3;
    sim.run(4 * RTT);
    let bounds = sim.bbr.model.bounds;
    assert!(bounds.bw_shortterm < RATE && bounds.bw_shortterm > 0.6 * RATE, "{}", bounds.bw_shortterm);
    assert!(bounds.inflight_shortterm < 2 * BDP);
    assert_close(sim.bbr.model.max_bw, RATE, 0.02);
    assert_eq!(bounds.inflight_longterm, INFINITE, "it was no probe");
}

/// What a round delivers does not show how much must be in flight while acknowledgements are held back.
#[test]
fn loss_outside_of_a_probe_leaves_room_for_aggregation() {
    let mut sim = Sim::new();
    sim.aggregate = Some(Duration::from_millis(25));
    sim.run_until(State::ProbeBwCruise);
    sim.run(2 * RTT);
    sim.lottery = |number| number % 10 == 3;
    sim.run(8 * RTT);
    let bounds = sim.bbr.model.bounds;
    assert!(bounds.bw_shortterm < RATE, "{}", bounds.bw_shortterm);
    assert!(sim.bbr.model.extra_acked >= 20 * MTU, "{}", sim.bbr.model.extra_acked);
    assert!(bounds.inflight_shortterm >= sim.bbr.model.inflight_latest + 20 * MTU, "{bounds:?}");
}

/// Down sends nine tenths of what the path delivers: what is lost at its end does not make that the rate until the next probe.
#[test]
fn what_down_has_sent_tells_nothing_of_the_path() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.run_until(State::ProbeBwDown);
    while sim.in_flight > BDP + 5 * MTU {
        sim.step();
    }
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
    sim.lottery = |number| number % 10 == 3;
    sim.run_until(State::ProbeBwCruise);
    sim.lottery = |_| false;
    sim.run(3 * RTT);
    assert!(
        sim.lost > 0 && sim.bbr.model.bounds.bw_shortterm > 0.95 * RATE,
        "{}",
        sim.bbr.model.bounds.bw_shortterm
    );
    // Marks are always congestion.
    sim.run_until(State::ProbeBwDown);
    sim.run_until(State::ProbeBwCruise);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    sim.run(2 * RTT);
    assert!(sim.bbr.model.bounds.bw_shortterm < 0.95 * RATE);
}

/// Up to `BBR.LossThresh`, what is lost lowers nothing. A probe tolerates it beyond that.
#[test]
fn a_path_that_loses_one_per_cent_is_not_congested() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.run(2 * RTT);
    let rs = RateSample { in_flight: 100 * MTU, lost: 2500, ..RateSample::default() };
    assert!(sim.bbr.model.losses.is_inflight_too_high(&rs));
    sim.lottery = |number| number % 100 == 3;
    while sim.bbr.state == State::ProbeBwCruise {
        sim.step();
        let bounds = sim.bbr.model.bounds;
        assert_eq!((bounds.bw_shortterm, bounds.inflight_shortterm), (f64::INFINITY, INFINITE));
    }
    assert_eq!(sim.bbr.state, State::ProbeBwRefill);
    assert!(!sim.bbr.model.losses.is_inflight_too_high(&rs), "one per cent is the path's");
    assert!(sim.bbr.model.losses.is_inflight_too_high(&RateSample { lost: 3500, ..rs }));
}

#[test]
fn a_loss_that_was_none_gives_back_what_it_took() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    let before = sim.bbr.model.bounds;
    sim.lottery = |number| number % 20 == 7;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    assert_ne!(sim.bbr.model.bounds, before);
    sim.lottery = |_| false;
    sim.bbr.on_spurious_congestion();
    assert_eq!(sim.bbr.model.bounds, before);
    assert_eq!(sim.bbr.state, State::ProbeBwRefill, "the probe begins anew");
    assert_eq!(sim.bbr.undo.state, None);
}

/// "the congestion controller response MUST treat any CE marks as congestion".
#[test]
fn marks_are_congestion() {
    let mut sim = Sim::new();
    sim.run(3 * RTT);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    sim.run(2 * RTT);
    assert_ne!(sim.bbr.state, State::Startup);

    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
    assert!(sim.bbr.model.bounds.inflight_longterm < INFINITE);

    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    sim.run(2 * RTT);
    assert!(sim.bbr.model.bounds.bw_shortterm.is_finite());
}

/// "BBR.PacingMarginPercent constant of 1 aims to cause BBR to pace at 1% below the bw, on average": below the largest that was seen, and
/// not below what was delivered by a sender that already did so. It is for queues: where none is seen, it is not kept.
#[test]
fn the_pacing_margin_is_kept_once_and_for_a_queue() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let max_bw = sim.bbr.model.max_bw;
    let min_rtt = sim.bbr.min_rtt.min.unwrap();
    let paced = |sim: &mut Sim, shortterm: f64| {
        sim.bbr.model.bounds.bw_shortterm = shortterm;
        sim.bbr.model.bound_bw();
        sim.bbr.set_pacing_rate();
        sim.bbr.pacing_rate(RTT).unwrap() as f64 / max_bw
    };
    sim.bbr.min_rtt.on_round();
    sim.bbr.min_rtt.on_round();
    sim.bbr.rs.rtt = min_rtt + min_rtt / 15;
    sim.bbr.update_min_rtt();
    for (shortterm, expected) in
        [(f64::INFINITY, 0.99), (0.995, 0.99), (0.99, 0.99), (0.98, 0.98), (0.7, 0.7)]
    {
        let share = paced(&mut sim, shortterm * max_bw);
        assert!((share - expected).abs() < 1e-5, "{share}");
    }
    sim.bbr.rs.rtt = min_rtt + min_rtt / 17;
    sim.bbr.update_min_rtt();
    for (shortterm, expected) in [(f64::INFINITY, 1.0), (0.98, 0.98)] {
        let share = paced(&mut sim, shortterm * max_bw);
        assert!((share - expected).abs() < 1e-5, "{share}");
    }
}

/// A mark on the very first packets must not leave the flow without a rate.
#[test]
fn there_is_a_rate_even_if_nothing_was_measured() {
    let mut sim = Sim::new();
    sim.step();
    let event = sim.event(sim.now, true);
    sim.bbr.on_congestion(&event);
    let rtt = RttSample { latest: RTT, min: 10 * RTT, smoothed: RTT };
    let mark = DeliveryMark::default();
    let now = sim.now + RTT;
    let sample = AckSample { now, bytes: MTU, sent: sim.now, in_flight: 0, mark, drained: false, rtt };
    sim.bbr.on_delivered(&sample);
    sim.bbr.on_ack(&sample);
    assert_eq!(sim.bbr.model.max_bw, 0.0);
    assert!(sim.bbr.full_pipe.reached && sim.bbr.pacing_rate(RTT).unwrap() > 100_000);
}

/// RFC 9002 §7.6.2: "the sender's congestion window MUST be reduced to the minimum congestion window".
#[test]
fn persistent_congestion_closes_the_window() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let before = sim.bbr.window();
    sim.bbr.on_congestion(&CongestionEvent { persistent: true, ..sim.event(sim.now, false) });
    assert_eq!(sim.bbr.window(), 2 * MTU);
    sim.run(Duration::from_secs(2));
    assert!(sim.bbr.window() >= before / 2);
}

#[test]
fn the_initial_window_follows_the_mtu() {
    let mut bbr = Bbr::new(1200, Box::new(SeededRng::from_u64(1)));
    assert_eq!(bbr.window(), 12_000);
    bbr.on_mtu(1452);
    assert_eq!(bbr.window(), 14_520);
    assert_eq!(bbr.pacing_rate(RTT), None, "before the first sample, the default rate");
}

#[test]
fn chance_is_injected() {
    let wait = |seed| {
        let mut sim = Sim::new();
        sim.bbr = Bbr::new(MTU as u16, Box::new(SeededRng::from_u64(seed)));
        sim.run_until(State::ProbeBwDown);
        sim.bbr.cycle.wait
    };
    assert_eq!(wait(1), wait(1));
    assert_ne!(wait(1), wait(2));
}
