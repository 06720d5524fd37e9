//! Startup and Drain.

use super::*;

#[test]
fn startup_ends_on_a_bandwidth_plateau() {
    let mut sim = Sim::new();
    assert_eq!(sim.bbr.window(), 10 * MTU);
    sim.run_while(|bbr| bbr.full_pipe.count < 1);
    assert_eq!(sim.bbr.state, State::Startup);
    sim.run_until(State::Drain);
    assert_close(sim.bbr.model.max_bw, RATE, 0.02);
    let FullPipe { count, now, reached, .. } = sim.bbr.full_pipe;
    assert_eq!((count, now, reached), (3, true, true));
    // An exponential search: seven doublings at most, three rounds of plateau, with a queue of up to one product.
    assert!(sim.now < Instant::from_millis(800), "{:?}", sim.now);
}

#[test]
fn startup_doubles_the_rate_each_round() {
    let mut sim = Sim::new();
    sim.rate = 100.0 * RATE;
    sim.run(Duration::from_millis(90));
    let before = sim.bbr.pacing_rate(RTT).unwrap() as f64;
    sim.run(Duration::from_millis(120));
    let growth = sim.bbr.pacing_rate(RTT).unwrap() as f64 / before;
    assert!((4.0..=8.5).contains(&growth), "{growth} in three rounds");
}

#[test]
fn startup_ends_on_loss_even_if_the_application_is_the_limit() {
    let mut sim = Sim::new();
    (sim.rate, sim.queue) = (100.0 * RATE, u64::MAX);
    // 400 packets a round: three per cent are twelve ranges.
    sim.app = Some(8.0 * RATE);
    sim.run(Duration::from_millis(500));
    assert!(sim.bbr.rs.app_limited && sim.bbr.state == State::Startup);
    sim.lottery = three_per_cent;
    sim.run_while(|bbr| bbr.state == State::Startup);
    assert!(sim.bbr.full_pipe.now && sim.bbr.full_pipe.reached);
    assert!(sim.bbr.model.bounds.inflight_longterm < INFINITE);
    assert_eq!(sim.bbr.undo.state, Some(State::Startup));
    assert!(matches!(sim.bbr.state, State::Drain | State::ProbeBwDown));
}

#[test]
fn startup_goes_on_with_little_loss_or_with_few_ranges() {
    for lottery in [(|number| number % 100 == 10) as Lottery, |number| number % 100 < 5] {
        let mut sim = Sim::new();
        (sim.rate, sim.queue, sim.lottery) = (100.0 * RATE, u64::MAX, lottery);
        sim.app = Some(2.0 * RATE);
        sim.run(Duration::from_secs(4));
        assert_eq!(sim.bbr.state, State::Startup);
    }
}

/// "Never Exiting `PROBE_UP` (or STARTUP) When Application-Limited With No Loss".
#[test]
fn startup_goes_on_while_the_application_is_the_limit() {
    let mut sim = Sim::new();
    sim.app = Some(RATE / 4.0);
    sim.run(Duration::from_secs(4));
    assert_eq!((sim.bbr.state, sim.bbr.full_pipe.reached), (State::Startup, false));
    // The application's rate is known by then, and used.
    assert_close(sim.bbr.model.max_bw, RATE / 4.0, 0.05);
}

#[test]
fn drain_ends_when_the_queue_is_gone() {
    let mut sim = Sim::in_state(State::Drain);
    assert_eq!(sim.bbr.state.pacing_gain(), 0.5);
    let start = sim.bbr.rounds.count;
    sim.run_while(|bbr| bbr.state == State::Drain);
    assert!(sim.bbr.in_flight <= sim.bbr.inflight(sim.bbr.model.bw, 1.0));
    assert!(sim.bbr.rounds.count <= start + 2, "less than a round trip, by its gain");
}

#[test]
fn drain_ends_after_three_rounds() {
    let mut sim = Sim::in_state(State::Drain);
    for _ in 0..3 {
        sim.round_with_in_flight(2 * BDP);
        assert_eq!(sim.bbr.state, State::Drain);
    }
    sim.round_with_in_flight(2 * BDP);
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
}

#[test]
fn a_startup_that_ended_by_mistake_is_resumed() {
    let mut sim = Sim::new();
    (sim.rate, sim.queue) = (100.0 * RATE, u64::MAX);
    sim.app = Some(8.0 * RATE);
    sim.run(Duration::from_millis(500));
    sim.lottery = three_per_cent;
    sim.run_while(|bbr| bbr.state == State::Startup);
    sim.bbr.on_spurious_congestion();
    assert_eq!((sim.bbr.state, sim.bbr.full_pipe.reached), (State::Startup, false));
}
