//! Startup and Drain: finding the bandwidth in a few round trips, and taking away the queue that this makes.
//!
//! Invariant: once the pipe was found full it counts as such, but for a loss that turns out to be none.

use super::{Bbr, State};

/// How much the rate must grow in a round for the pipe not to be full.
const GROWTH: f64 = 1.25;
/// How many rounds without such growth mean that it is.
const PLATEAU: u32 = 3;
/// `BBRStartupFullLossCnt`: how many discontiguous ranges must be lost in a round.
const FULL_LOSS_COUNT: u32 = 6;
/// After how many rounds in Drain the estimate of the bandwidth must be wrong.
const DRAIN_ROUNDS: u64 = 3;

/// The estimator of a full pipe.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct FullPipe {
    /// `BBR.full_bw`.
    pub(super) bw: f64,
    /// `BBR.full_bw_count`.
    pub(super) count: u32,
    /// `BBR.full_bw_now`.
    pub(super) now: bool,
    /// `BBR.full_bw_reached`.
    pub(super) reached: bool,
    /// `BBR.drain_start_round`.
    drain_start_round: u64,
}

impl FullPipe {
    /// `ResetFullBW()`.
    pub(super) fn reset(&mut self) {
        (self.bw, self.count, self.now) = (0.0, 0, false);
    }
}

impl Bbr {
    /// `EnterStartup()`.
    pub(super) fn enter_startup(&mut self) {
        self.state = State::Startup;
    }

    /// `CheckFullBWReached()`.
    pub(super) fn check_full_bw_reached(&mut self) {
        let (full, rs) = (&mut self.full_pipe, &self.rs);
        if full.now || !self.rounds.start || rs.app_limited {
            return;
        }
        if rs.rate >= full.bw * GROWTH {
            full.reset();
            full.bw = rs.rate;
            return;
        }
        full.count += 1;
        full.now = full.count >= PLATEAU;
        full.reached |= full.now;
    }

    /// `CheckStartupDone()`.
    pub(super) fn check_startup_done(&mut self, recovering: bool) {
        self.check_startup_high_loss(recovering);
        if self.state == State::Startup && self.full_pipe.reached {
            self.enter_drain();
        }
    }

    /// `CheckStartupHighLoss()`: "in fast recovery for at least one full packet-timed round trip" is when a recovery period lasted until the
    /// end of a round in which loss was looked for.
    fn check_startup_high_loss(&mut self, recovering: bool) {
        if !self.model.loss_round_start {
            return;
        }
        let ranges = std::mem::take(&mut self.model.lost_ranges);
        if self.state == State::Startup
            && recovering
            && ranges >= FULL_LOSS_COUNT
            && self.model.losses.is_inflight_too_high(&self.rs)
        {
            self.leave_startup_by_congestion();
        }
    }

    /// What follows from high loss in Startup: Drain comes with the next acknowledgement.
    pub(super) fn leave_startup_by_congestion(&mut self) {
        self.undo.state = Some(State::Startup);
        (self.full_pipe.now, self.full_pipe.reached) = (true, true);
        self.model.bounds.inflight_longterm = self.bdp(1.0).max(self.model.inflight_latest);
    }

    /// `EnterDrain()`.
    fn enter_drain(&mut self) {
        self.state = State::Drain;
        self.full_pipe.drain_start_round = self.rounds.count;
    }

    /// `CheckDrainDone()`.
    pub(super) fn check_drain_done(&mut self) {
        if self.state == State::Drain
            && (self.in_flight <= self.inflight(self.model.bw, 1.0)
                || self.rounds.count > self.full_pipe.drain_start_round + DRAIN_ROUNDS)
        {
            // EnterProbeBW()
            self.start_probe_bw_down();
        }
    }
}
