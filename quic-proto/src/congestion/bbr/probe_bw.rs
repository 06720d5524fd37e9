//! `ProbeBW`: the steady state, which probes for more bandwidth every two to three seconds, and otherwise leaves some to others.
//!
//! Invariants: `inflight_longterm` grows in Up only, or to what was in flight without excess loss; one probe reacts to excess loss once.

use super::{Bbr, INFINITE, State};
use crate::time::{Duration, Instant};

/// `BBR.Headroom`: the share of `inflight_longterm` that is left to others.
const HEADROOM: f64 = 0.15;
/// The shortest wait between probes, and what chance adds to it at most.
const PROBE_WAIT: Duration = Duration::from_secs(2);
const PROBE_WAIT_SPREAD: Duration = Duration::from_secs(1);
/// The bound of `T_reno`, in rounds. Chance takes away one of them.
const RENO_ROUNDS: u64 = 63;
/// The slope of `inflight_longterm` doubles each round, this often at most.
const MAX_UP_ROUNDS: u32 = 30;

/// `BBR.ack_phase`: what the acknowledgements that come in tell of the probing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AckPhase {
    Init,
    Refilling,
    ProbeStarting,
    ProbeFeedback,
    ProbeStopping,
}

/// Where the cycle of probing stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cycle {
    /// `BBR.ack_phase`.
    pub(super) ack_phase: AckPhase,
    /// `BBR.is_bw_probe_sample`.
    pub(super) is_bw_probe_sample: bool,
    /// `BBR.bw_probe_up_acked`.
    up_acked: u64,
    /// `BBR.probe_up_acked_per_inc`.
    up_acked_per_inc: u64,
    /// `BBR.bw_probe_up_rounds`.
    up_rounds: u32,
    /// `BBR.rounds_since_probe_up`.
    pub(super) rounds_since_probe_up: u64,
    /// `BBR.bw_probe_wait`.
    pub(super) wait: Duration,
    /// `BBR.cycle_stamp`.
    stamp: Instant,
    /// What will have been delivered when all that was sent before the Cruise, more slowly than the path can, is.
    pub(super) slow_flight_until: u64,
    /// `BBR.prev_probe_too_high`.
    pub(super) prev_probe_too_high: bool,
    /// `BBR.prev_probe_precautionary`.
    pub(super) prev_probe_precautionary: bool,
}

impl Cycle {
    pub(super) fn new() -> Self {
        Self {
            ack_phase: AckPhase::Init,
            is_bw_probe_sample: false,
            up_acked: 0,
            up_acked_per_inc: INFINITE,
            up_rounds: 0,
            rounds_since_probe_up: 0,
            wait: Duration::ZERO,
            stamp: Instant::EPOCH,
            slow_flight_until: 0,
            prev_probe_too_high: false,
            prev_probe_precautionary: false,
        }
    }
}

impl Bbr {
    /// `StartProbeBW_DOWN()`.
    pub(super) fn start_probe_bw_down(&mut self) {
        self.model.reset_congestion_signals();
        self.cycle.up_acked_per_inc = INFINITE;
        self.pick_probe_wait();
        self.cycle.stamp = self.now;
        self.cycle.ack_phase = AckPhase::ProbeStopping;
        self.start_round();
        self.state = State::ProbeBwDown;
    }

    /// `StartProbeBW_CRUISE()`.
    pub(super) fn start_probe_bw_cruise(&mut self) {
        self.cycle.slow_flight_until = self.delivery.delivered() + self.in_flight;
        self.state = State::ProbeBwCruise;
    }

    /// `StartProbeBW_REFILL()`.
    pub(super) fn start_probe_bw_refill(&mut self) {
        self.end_cruise();
        self.model.reset_short_term();
        self.cycle.up_rounds = 0;
        self.cycle.up_acked = 0;
        self.cycle.prev_probe_precautionary = false;
        self.cycle.ack_phase = AckPhase::Refilling;
        self.start_round();
        self.state = State::ProbeBwRefill;
    }

    /// `StartProbeBW_UP()`.
    fn start_probe_bw_up(&mut self) {
        self.cycle.ack_phase = AckPhase::ProbeStarting;
        self.start_round();
        self.full_pipe.reset();
        self.full_pipe.bw = self.rs.rate;
        self.state = State::ProbeBwUp;
        self.raise_inflight_longterm_slope();
    }

    /// `UpdateProbeBWCyclePhase()`.
    pub(super) fn update_probe_bw_cycle_phase(&mut self) {
        if !self.full_pipe.reached || self.adapt_long_term_model() {
            return;
        }
        match self.state {
            State::ProbeBwDown => {
                if !self.probe_bw_if_time() && self.is_time_to_cruise() {
                    self.start_probe_bw_cruise();
                }
            }
            State::ProbeBwCruise => {
                if self.rounds.start {
                    self.measure_cruise();
                }
                self.probe_bw_if_time();
            }
            State::ProbeBwRefill => {
                if self.rounds.start {
                    self.cycle.is_bw_probe_sample = true;
                    self.start_probe_bw_up();
                }
            }
            State::ProbeBwUp => {
                if self.is_time_to_go_down() {
                    // "no high loss (yet)"
                    self.cycle.prev_probe_too_high = false;
                    self.start_probe_bw_down();
                }
            }
            State::Startup | State::Drain | State::ProbeRtt => {}
        }
    }

    /// `IsTimeToProbeBW()`.
    fn probe_bw_if_time(&mut self) -> bool {
        // HasElapsedInPhase(BBR.bw_probe_wait)
        let elapsed = self.now > self.cycle.stamp + self.cycle.wait;
        let due = elapsed || self.is_reno_coexistence_probe_time();
        if due {
            self.start_probe_bw_refill();
        }
        due
    }

    /// `PickProbeWait()`.
    fn pick_probe_wait(&mut self) {
        self.cycle.rounds_since_probe_up = self.dice.0.below(2);
        let spread = self.dice.0.below(PROBE_WAIT_SPREAD.as_nanos() as u64);
        self.cycle.wait = PROBE_WAIT + Duration::from_nanos(spread);
    }

    /// `IsRenoCoexistenceProbeTime()`: Reno's window grows by a packet each round, so that `T_reno` is a number of packets.
    fn is_reno_coexistence_probe_time(&self) -> bool {
        let rounds = (self.target_inflight() / self.mtu).min(RENO_ROUNDS);
        self.cycle.rounds_since_probe_up >= rounds
    }

    /// `TargetInflight()`.
    pub(super) fn target_inflight(&self) -> u64 {
        self.bdp(1.0).min(self.control.cwnd)
    }

    /// `IsTimeToCruise()`.
    fn is_time_to_cruise(&self) -> bool {
        self.in_flight <= self.inflight_with_headroom()
            && self.in_flight <= self.inflight(self.model.max_bw, 1.0)
    }

    /// `IsTimeToGoDown()`.
    fn is_time_to_go_down(&mut self) -> bool {
        let longterm = self.model.bounds.inflight_longterm;
        // "Precautionary Bandwidth Probing: Deceleration", "as soon as C.inflight reaches this risky level": before this acknowledgement took
        // bytes away, and by whole packets, since the window keeps the last one from fitting.
        let reached = self.prior_in_flight + self.mtu > longterm;
        if self.cycle.prev_probe_too_high && reached {
            self.cycle.prev_probe_precautionary = true;
            return true;
        }
        if self.control.is_cwnd_limited() && self.control.cwnd >= longterm {
            // The rate is limited by inflight_longterm, and says nothing.
            self.full_pipe.reset();
            self.full_pipe.bw = self.rs.rate;
            return false;
        }
        self.full_pipe.now
    }

    /// `InflightWithHeadroom()`.
    pub(super) fn inflight_with_headroom(&self) -> u64 {
        let longterm = self.model.bounds.inflight_longterm;
        if longterm == INFINITE {
            return INFINITE;
        }
        let headroom = ((HEADROOM * longterm as f64) as u64).max(self.mtu);
        longterm.saturating_sub(headroom).max(self.min_pipe_cwnd())
    }

    /// `RaiseInflightLongtermSlope()`.
    fn raise_inflight_longterm_slope(&mut self) {
        let growth_this_round = 1 << self.cycle.up_rounds;
        self.cycle.up_rounds = (self.cycle.up_rounds + 1).min(MAX_UP_ROUNDS);
        self.cycle.up_acked_per_inc = (self.control.cwnd / growth_this_round).max(self.mtu);
    }

    /// `ProbeInflightLongtermUpward()`.
    fn probe_inflight_longterm_upward(&mut self) {
        if !self.control.is_cwnd_limited() || self.control.cwnd < self.model.bounds.inflight_longterm {
            return;
        }
        let cycle = &mut self.cycle;
        cycle.up_acked += self.rs.newly_acked;
        if cycle.up_acked >= cycle.up_acked_per_inc {
            let delta = cycle.up_acked / cycle.up_acked_per_inc;
            cycle.up_acked -= delta * cycle.up_acked_per_inc;
            let longterm = &mut self.model.bounds.inflight_longterm;
            *longterm = longterm.saturating_add(delta * self.mtu);
        }
        if self.rounds.start {
            self.raise_inflight_longterm_slope();
        }
    }

    /// `AdaptLongTermModel()`; `true` if it decided a transition.
    fn adapt_long_term_model(&mut self) -> bool {
        if self.cycle.ack_phase == AckPhase::ProbeStarting && self.rounds.start {
            self.cycle.ack_phase = AckPhase::ProbeFeedback;
        }
        if self.cycle.ack_phase == AckPhase::ProbeStopping && self.rounds.start {
            self.cycle.is_bw_probe_sample = false;
            self.cycle.ack_phase = AckPhase::Init;
            if self.state.is_probe_bw() && !self.rs.app_limited {
                self.model.max_bw_filter.advance();
            }
            // "Precautionary Bandwidth Probing: Acceleration".
            if self.state.is_probe_bw()
                && self.cycle.prev_probe_precautionary
                && !self.cycle.prev_probe_too_high
            {
                self.start_probe_bw_refill();
                return true;
            }
        }
        let too_high = self.model.losses.is_inflight_too_high(&self.rs);
        let longterm = &mut self.model.bounds.inflight_longterm;
        if too_high || *longterm == INFINITE {
            return false;
        }
        *longterm = (*longterm).max(self.rs.in_flight);
        if self.state == State::ProbeBwUp {
            self.probe_inflight_longterm_upward();
        }
        false
    }
}
