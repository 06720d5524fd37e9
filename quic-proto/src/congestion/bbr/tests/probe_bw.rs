//! The cycle of probing.

use super::*;

#[test]
fn down_leads_to_cruise_once_there_is_headroom() {
    let mut sim = Sim::in_state(State::ProbeBwDown);
    assert_eq!(sim.bbr.state.pacing_gain(), 0.9);
    sim.run_until(State::ProbeBwCruise);
    assert!(sim.bbr.in_flight <= sim.bbr.inflight(sim.bbr.model.max_bw, 1.0));
    // With a bound by loss, a part of it must be free.
    sim.run_until(State::ProbeBwUp);
    sim.bbr.model.bounds.inflight_longterm = BDP;
    sim.run_until(State::ProbeBwDown);
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    sim.run_until(State::ProbeBwCruise);
    assert!(sim.bbr.in_flight <= longterm - (0.15 * longterm as f64) as u64);
}

#[test]
fn down_leads_to_refill_when_it_is_time_to_probe() {
    let mut sim = Sim::in_state(State::ProbeBwDown);
    let (start, wait) = (sim.now, sim.bbr.cycle.wait);
    assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&wait));
    while sim.now <= start + wait {
        assert_eq!(sim.bbr.state, State::ProbeBwDown);
        // Only the clock counts here.
        sim.bbr.cycle.rounds_since_probe_up = 0;
        sim.round_with_in_flight(2 * BDP);
    }
    assert_eq!(sim.bbr.state, State::ProbeBwRefill, "without Cruise");
}

/// `T_reno`: a flow with a small window probes as often as Reno fills its own.
#[test]
fn a_small_flow_probes_after_as_many_rounds_as_it_has_packets() {
    let mut sim = Sim::new();
    sim.rate = RATE / 4.0;
    sim.run_until(State::ProbeBwCruise);
    sim.run_until(State::ProbeBwRefill);
    let packets = sim.bbr.bdp(1.0) / MTU;
    assert!((11..=13).contains(&packets), "{packets}");
    assert!((packets..=packets + 1).contains(&sim.bbr.cycle.rounds_since_probe_up));
}

#[test]
fn refill_lasts_a_round_and_forgets_the_short_term() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.bbr.model.bounds.bw_shortterm = RATE / 2.0;
    sim.bbr.model.bounds.inflight_shortterm = BDP / 2;
    sim.run_until(State::ProbeBwRefill);
    let bounds = sim.bbr.model.bounds;
    assert_eq!((bounds.bw_shortterm, bounds.inflight_shortterm), (f64::INFINITY, INFINITE));
    let (start, round) = (sim.now, sim.bbr.rounds.count);
    sim.run_until(State::ProbeBwUp);
    assert_eq!(sim.bbr.rounds.count, round + 1);
    assert!(sim.now - start >= RTT && sim.now - start < 2 * RTT);
    assert_eq!(sim.bbr.state.pacing_gain(), 1.25);
}

#[test]
fn up_ends_on_a_bandwidth_plateau() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    let round = sim.bbr.rounds.count;
    sim.run_until(State::ProbeBwDown);
    assert!(sim.bbr.full_pipe.now && !sim.bbr.cycle.prev_probe_too_high);
    assert_eq!(sim.bbr.rounds.count, round + 3);
    assert_eq!(sim.lost, 0, "it ends before the queue is full");
}

/// "Never Exiting `PROBE_UP` … When Application-Limited With No Loss".
#[test]
fn up_goes_on_while_the_application_is_the_limit() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.app = Some(RATE / 2.0);
    sim.run(Duration::from_secs(2));
    assert_eq!(sim.bbr.state, State::ProbeBwUp);
}

#[test]
fn up_ends_on_loss_even_if_the_application_is_the_limit() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.app = Some(RATE / 2.0);
    sim.run(4 * RTT);
    sim.lottery = |number| number % 20 == 7;
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    // With little in flight, Down is over as soon as it began.
    assert!(matches!(sim.bbr.state, State::ProbeBwDown | State::ProbeBwCruise));
    assert!(sim.bbr.cycle.prev_probe_too_high);
    assert_eq!(
        sim.bbr.model.bounds.inflight_longterm, longterm,
        "an application's limit is no limit of the path"
    );
}

#[test]
fn up_that_loses_too_much_sets_the_bound_and_ends() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.lottery = |number| number % 20 == 7;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
    assert!(longterm >= (0.7 * BDP as f64) as u64 && longterm < 2 * BDP, "{longterm}");
    assert_eq!(sim.bbr.undo.state, Some(State::ProbeBwUp));
    // "only react once per bw probe"
    assert!(!sim.bbr.cycle.is_bw_probe_sample);
}

/// "Precautionary Bandwidth Probing": after a probe that lost too much comes one that stops at its bound; when nothing is lost there, a
/// full one follows at once, without Cruise.
#[test]
fn the_next_probe_is_a_precautionary_one() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.lottery = |number| number % 20 == 7;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    sim.lottery = |_| false;
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    sim.run_until(State::ProbeBwUp);
    sim.run_until(State::ProbeBwDown);
    assert!(sim.bbr.cycle.prev_probe_precautionary && !sim.bbr.cycle.prev_probe_too_high);
    assert!(sim.bbr.prior_in_flight + MTU > longterm, "it went up to what was risky");
    let mut cruised = false;
    while sim.bbr.state != State::ProbeBwRefill {
        sim.step();
        cruised |= sim.bbr.state == State::ProbeBwCruise && sim.bbr.cycle.ack_phase == AckPhase::Init;
    }
    assert!(!cruised && !sim.bbr.cycle.prev_probe_precautionary);
    sim.run_until(State::ProbeBwUp);
    sim.run(3 * RTT);
    assert!(sim.bbr.model.bounds.inflight_longterm > longterm, "the bound is raised in the full probe");
}

#[test]
fn ten_times_the_bandwidth_is_found() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.rate = 10.0 * RATE;
    sim.queue = 20 * BDP;
    sim.run_until(State::ProbeBwUp);
    let start = sim.now;
    sim.run_while(|bbr| bbr.model.max_bw < 9.0 * RATE);
    assert!(sim.now - start < Duration::from_secs(15), "{:?}", sim.now - start);
}

#[test]
fn the_bound_of_the_flight_grows_by_doubling_steps() {
    let mut sim = Sim::in_state(State::ProbeBwRefill);
    (sim.rate, sim.queue) = (10.0 * RATE, 20 * BDP);
    sim.bbr.model.bounds.inflight_longterm = BDP;
    sim.run_until(State::ProbeBwUp);
    let mut steps = Vec::new();
    for _ in 0..6 {
        let (round, before) = (sim.bbr.rounds.count, sim.bbr.model.bounds.inflight_longterm);
        sim.run_while(|bbr| bbr.rounds.count == round);
        steps.push((sim.bbr.model.bounds.inflight_longterm - before) / MTU);
    }
    assert!(steps[5] >= 8 * steps[1].max(1) && steps.is_sorted(), "{steps:?}");
}

/// "Handling Application-Limited Sending During `PROBE_REFILL`".
#[test]
fn an_application_that_pauses_in_refill_does_not_spoil_the_estimate() {
    let mut sim = Sim::in_state(State::ProbeBwRefill);
    let max_bw = sim.bbr.model.max_bw;
    sim.app = Some(RATE / 10.0);
    sim.run_while(|bbr| bbr.state == State::ProbeBwRefill);
    assert_eq!(sim.bbr.state, State::ProbeBwUp);
    sim.run(4 * RTT);
    assert!(sim.bbr.rs.app_limited && sim.bbr.rs.rate < max_bw / 2.0);
    assert_eq!(sim.bbr.model.max_bw, max_bw);
}
