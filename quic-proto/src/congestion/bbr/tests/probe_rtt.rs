//! `ProbeRTT`, and the smallest round-trip time.

use super::*;

/// How long a `ProbeRTT` lasts once the flight is small.
fn length_of_probe_rtt(sim: &mut Sim) -> Duration {
    sim.run_until(State::ProbeRtt);
    assert_eq!(sim.bbr.state.cwnd_gain(), 0.5);
    sim.run_while(|bbr| bbr.min_rtt.done.is_none());
    assert!(sim.in_flight <= sim.bbr.probe_rtt_cwnd() + MTU, "half of what fills the pipe");
    let small = sim.now;
    sim.run_while(|bbr| bbr.state == State::ProbeRtt);
    sim.now - small
}

/// A queue that others keep full hides the smallest round-trip time until the flow looks for it; then it is gone.
fn probe_for_hidden_rtt(sim: &mut Sim) {
    sim.rtt = RTT + Duration::from_millis(4);
    sim.run_until(State::ProbeRtt);
    sim.rtt = RTT;
}

#[test]
fn probe_rtt_is_entered_after_five_seconds_with_a_queue_and_left_after_a_round_that_confirms() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let hidden = sim.now;
    probe_for_hidden_rtt(&mut sim);
    let waited = sim.now - hidden;
    assert!(waited > Duration::from_secs(5) && waited < Duration::from_secs(5) + 3 * RTT, "{waited:?}");
    let length = length_of_probe_rtt(&mut sim);
    assert!(length >= RTT && length < 2 * RTT, "{length:?}");
    assert_eq!(sim.bbr.state, State::ProbeBwCruise, "below the product already");
    assert!(sim.bbr.window() > BDP, "the window is back");
}

/// Cruise begins with an empty queue after each probe: there is nothing to look for.
#[test]
fn a_queue_that_is_seen_empty_needs_no_probe_rtt() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let (known, end) = (sim.bbr.min_rtt.min, sim.now + Duration::from_secs(60));
    let mut ups = 0;
    while sim.now < end {
        let before = sim.bbr.state;
        sim.step();
        assert_ne!(sim.bbr.state, State::ProbeRtt);
        ups += u32::from(before != State::ProbeBwUp && sim.bbr.state == State::ProbeBwUp);
    }
    assert!(ups > 10, "{ups}");
    assert_eq!(sim.bbr.min_rtt.min, known, "it is known still, after six times as long as it is kept");
}

/// What confirms the smallest round-trip time is compared with that, not with what confirmed it before.
#[test]
fn confirmations_do_not_creep_upwards() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let known = sim.bbr.min_rtt.min;
    // A sixteenth of 40.8 ms are 2.55 ms.
    sim.rtt = RTT + Duration::from_millis(1);
    sim.run(Duration::from_secs(15));
    sim.rtt = RTT + Duration::from_millis(2);
    sim.run(Duration::from_secs(15));
    assert_eq!(sim.bbr.min_rtt.min, known);
    let start = sim.now;
    sim.rtt = RTT + Duration::from_millis(3);
    sim.run_until(State::ProbeRtt);
    assert!(sim.now - start < Duration::from_secs(6), "{:?}", sim.now - start);
    sim.run(Duration::from_secs(11));
    assert!(sim.bbr.min_rtt.min > known, "{:?}", sim.bbr.min_rtt.min);
}

/// "After maintaining C.inflight at BBR.ProbeRTTCwndGain\*BBR.bdp for at least BBR.ProbeRTTDuration (200 ms) and at least one packet-timed
/// round trip": where the smallest round-trip time is another one than it was.
#[test]
fn probe_rtt_that_finds_something_new_lasts_200_ms() {
    let (least, most) = (Duration::from_millis(200), Duration::from_millis(300));
    // Longer, and shorter: a queue that others had left, say.
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.rtt = 2 * RTT;
    let length = length_of_probe_rtt(&mut sim);
    assert!(length >= least && length < most, "{length:?}");
    let mut sim = Sim::new();
    sim.rtt = 2 * RTT;
    sim.run_until(State::ProbeBwCruise);
    sim.rtt = 3 * RTT;
    sim.run_until(State::ProbeRtt);
    sim.rtt = RTT;
    let length = length_of_probe_rtt(&mut sim);
    assert!(length >= least && length < most, "{length:?}");
}

/// The round after `ProbeRTT` delivers the small flight: what is lost in it does not make the path one of half the rate until the next probe.
#[test]
fn what_probe_rtt_has_sent_tells_nothing_of_the_path() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    probe_for_hidden_rtt(&mut sim);
    sim.lottery = |number| number % 10 == 3;
    sim.run_while(|bbr| bbr.state == State::ProbeRtt);
    sim.lottery = |_| false;
    sim.run(3 * RTT);
    assert!(sim.bbr.model.bounds.bw_shortterm > 0.95 * RATE, "{}", sim.bbr.model.bounds.bw_shortterm);
}

#[test]
fn the_smallest_round_trip_time_rises_only_by_probing() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.rtt = 2 * RTT;
    sim.run(Duration::from_secs(4));
    assert!(sim.bbr.min_rtt.min.unwrap() < RTT + Duration::from_millis(2));
    sim.run_until(State::ProbeRtt);
    sim.run(Duration::from_secs(8));
    let min = sim.bbr.min_rtt.min.unwrap();
    assert!(min >= 2 * RTT && min < 2 * RTT + Duration::from_millis(5), "{min:?}");
}

#[test]
fn idleness_takes_the_place_of_probe_rtt() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.run_while(|bbr| bbr.state != State::ProbeBwCruise);
    // The application pauses; what is in flight comes back.
    sim.next_app = sim.now + Duration::from_secs(7);
    sim.run(Duration::from_secs(1));
    assert!(sim.in_flight <= MTU);
    while sim.in_flight != MTU || sim.now < sim.next_app {
        sim.step();
    }
    assert!(sim.bbr.min_rtt.idle_restart, "HandleRestartFromIdle()");
    let bw = sim.bbr.model.bw;
    assert_eq!(sim.bbr.pacing_rate(RTT), Some(bw as u64), "it goes on at the rate that it had");
    sim.run(4 * RTT);
    assert!(!sim.bbr.min_rtt.idle_restart);
    assert_ne!(sim.bbr.state, State::ProbeRtt);
}

#[test]
fn probe_rtt_leads_back_to_startup_if_the_pipe_was_never_full() {
    let mut sim = Sim::new();
    sim.app = Some(RATE / 4.0);
    sim.run(Duration::from_secs(1));
    probe_for_hidden_rtt(&mut sim);
    assert!(!sim.bbr.full_pipe.reached);
    sim.run_while(|bbr| bbr.state == State::ProbeRtt);
    assert_eq!(sim.bbr.state, State::Startup);
}
