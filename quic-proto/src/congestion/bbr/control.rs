//! What the model means for the sender: the pacing rate, the quantum, and the congestion window.
//!
//! Invariants: the window grows by no more than was acknowledged; it is at most what the model allows once the pipe was full.

use super::{Bbr, INFINITE, State};
use crate::time::Duration;

/// `BBR.PacingMarginPercent`: "aims to cause BBR to pace at 1% below the bw, on average".
const PACING_MARGIN: f64 = 0.99;
/// The largest quantum.
const MAX_QUANTUM: u64 = 64 << 10;

/// The control parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Control {
    /// `C.cwnd`.
    pub(super) cwnd: u64,
    /// `BBR.prior_cwnd`.
    prior_cwnd: u64,
    /// `C.pacing_rate`; `None` before there is a round-trip time to tell it from.
    pacing_rate: Option<f64>,
    /// `C.send_quantum`.
    send_quantum: u64,
    /// Whether the window was used up in this round and in the one before (`C.is_cwnd_limited`).
    cwnd_limited: [bool; 2],
}

impl Control {
    pub(super) fn new(initial_window: u64) -> Self {
        Self {
            cwnd: initial_window,
            prior_cwnd: 0,
            pacing_rate: None,
            send_quantum: 0,
            cwnd_limited: [false; 2],
        }
    }

    /// A packet was sent; `in_flight` includes it.
    pub(super) fn on_sent(&mut self, in_flight: u64, mtu: u64) {
        self.cwnd_limited[0] |= in_flight + mtu > self.cwnd;
    }

    /// A packet-timed round began.
    pub(super) fn on_round(&mut self) {
        self.cwnd_limited = [false, self.cwnd_limited[0]];
    }

    /// "True if the connection has fully utilized C.cwnd at any point in the last packet-timed round trip."
    pub(super) fn is_cwnd_limited(&self) -> bool {
        self.cwnd_limited[0] || self.cwnd_limited[1]
    }

    /// `InitPacingRate()`, "after the first non-zero RTT sample".
    pub(super) fn on_first_rtt(&mut self, initial_window: u64, smoothed: Duration) {
        if self.pacing_rate.is_none() && smoothed > Duration::ZERO {
            let nominal_bandwidth = initial_window as f64 / smoothed.as_secs_f64();
            self.pacing_rate = Some(State::Startup.pacing_gain() * nominal_bandwidth);
        }
    }

    /// In bytes per second.
    pub(super) fn pacing_rate(&self) -> Option<u64> {
        self.pacing_rate.map(|rate| rate as u64)
    }
}

impl Bbr {
    /// `BDPMultiple()`, with this bandwidth.
    fn bdp_of(&self, bw: f64, gain: f64) -> u64 {
        let Some(min_rtt) = self.min_rtt.min else { return self.initial_window };
        (gain * bw * min_rtt.as_secs_f64()) as u64
    }

    /// `BDPMultiple()`, with `BBR.bw`.
    pub(super) fn bdp(&self, gain: f64) -> u64 {
        self.bdp_of(self.model.bw, gain)
    }

    /// `Inflight()`, with this bandwidth.
    pub(super) fn inflight(&self, bw: f64, gain: f64) -> u64 {
        self.quantization_budget(self.bdp_of(bw, gain))
    }

    /// `QuantizationBudget()`. "For QUIC, in the simplest case, `offload_budget` is equal to the send quantum".
    fn quantization_budget(&self, inflight_cap: u64) -> u64 {
        let cap = inflight_cap.max(self.control.send_quantum).max(self.min_pipe_cwnd());
        if self.state == State::ProbeBwUp { cap + 2 * self.mtu } else { cap }
    }

    /// `BBR.MinPipeCwnd`.
    pub(super) fn min_pipe_cwnd(&self) -> u64 {
        4 * self.mtu
    }

    /// `SetPacingRate()`.
    pub(super) fn set_pacing_rate(&mut self) {
        self.set_pacing_rate_with_gain(self.state.pacing_gain());
    }

    /// `SetPacingRateWithGain()`, but for two things. The margin comes off `BBR.max_bw`, not off `BBR.bw`. `BBR.bw_shortterm` was delivered
    /// while the sender kept the margin: to take it off again in each round trip with a loss would let the rate sink by one per cent a round,
    /// by nothing but itself. And there is none while the queue is seen empty in each round trip, which is all that the margin is for.
    pub(super) fn set_pacing_rate_with_gain(&mut self, gain: f64) {
        let margin = if self.min_rtt.saw_no_queue() { 1.0 } else { PACING_MARGIN };
        let rate = gain * (self.model.max_bw * margin).min(self.model.bw);
        // A rate of nothing, because there was no reliable sample yet, would be the end.
        if let Some(current) = &mut self.control.pacing_rate
            && rate > 0.0
            && (self.full_pipe.reached || rate > *current)
        {
            *current = rate;
        }
    }

    /// `SetSendQuantum()`. It is what the flight must have room for; the pacer has a quantum of its own, for all controllers.
    pub(super) fn set_send_quantum(&mut self) {
        let millisecond = self.control.pacing_rate.unwrap_or(0.0) / 1000.0;
        self.control.send_quantum = (millisecond as u64).min(MAX_QUANTUM).max(2 * self.mtu);
    }

    /// `SetCwnd()`, with `UpdateMaxInflight()`.
    pub(super) fn set_cwnd(&mut self) {
        let cap = self.bdp(self.state.cwnd_gain()).saturating_add(self.model.extra_acked);
        let max_inflight = self.quantization_budget(cap);
        let grown = self.control.cwnd.saturating_add(self.rs.newly_acked);
        if self.full_pipe.reached {
            self.control.cwnd = grown.min(max_inflight);
        } else if self.control.cwnd < max_inflight || self.delivery.delivered() < self.initial_window {
            self.control.cwnd = grown;
        }
        self.control.cwnd = self.control.cwnd.max(self.min_pipe_cwnd());
        self.bound_cwnd_for_probe_rtt();
        self.bound_cwnd_for_model();
    }

    /// `ProbeRTTCwnd()`.
    pub(super) fn probe_rtt_cwnd(&self) -> u64 {
        self.bdp(State::ProbeRtt.cwnd_gain()).max(self.min_pipe_cwnd())
    }

    /// `BoundCwndForProbeRTT()`.
    fn bound_cwnd_for_probe_rtt(&mut self) {
        if self.state == State::ProbeRtt {
            self.control.cwnd = self.control.cwnd.min(self.probe_rtt_cwnd());
        }
    }

    /// `BoundCwndForModel()`.
    fn bound_cwnd_for_model(&mut self) {
        let bounds = &self.model.bounds;
        let cap = match self.state {
            State::ProbeBwCruise | State::ProbeRtt => self.inflight_with_headroom(),
            State::ProbeBwDown | State::ProbeBwRefill | State::ProbeBwUp => bounds.inflight_longterm,
            State::Startup | State::Drain => INFINITE,
        };
        let cap = cap.min(bounds.inflight_shortterm).max(self.min_pipe_cwnd());
        self.control.cwnd = self.control.cwnd.min(cap);
    }

    /// `SaveCwnd()`.
    pub(super) fn save_cwnd(&mut self) {
        let modulated = self.recovery.is_some() || self.state == State::ProbeRtt;
        let floor = if modulated { self.control.prior_cwnd } else { 0 };
        self.control.prior_cwnd = self.control.cwnd.max(floor);
    }

    /// `RestoreCwnd()`.
    pub(super) fn restore_cwnd(&mut self) {
        self.control.cwnd = self.control.cwnd.max(self.control.prior_cwnd);
    }
}
