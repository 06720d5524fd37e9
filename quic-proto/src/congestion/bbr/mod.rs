//! `BBRv3` (draft-ietf-ccwg-bbr): congestion control by a model of the path, its bandwidth and its round-trip time, instead of by loss.
//!
//! ```text
//!      Startup ─► Drain ─► ProbeBW: Down ─► Cruise ─► Refill ─► Up ─┐
//!         ▲                          ▲                              │
//!         │                          └──────────────────────────────┘
//!         └── ProbeRTT ─► Down: from any state, when a queue has hidden the smallest round-trip time for five seconds
//! ```
//!
//! [`Bbr`] owns everything; its steps lie in files by what they are about, and are called in the order of the draft from [`Bbr::update`]:
//!
//! | file | draft |
//! | --- | --- |
//! | `filter` | the windowed maxima |
//! | `losses` | `IsInflightTooHigh()`: which losses are too many |
//! | `model` | "Updating Network Path Model Parameters": rounds, bandwidth, aggregation, and the response to loss |
//! | `startup` | "Startup", "Drain", and the estimator of a full pipe |
//! | `probe_bw` | "ProbeBW": the cycle of probing |
//! | `probe_rtt` | "`ProbeRTT`", and restarting from idle |
//! | `control` | "Updating Control Parameters": pacing rate, quantum, window |
//!
//! Names of functions and fields are the draft's, and what they do is its pseudocode; comments tell where QUIC differs. Volumes are in bytes,
//! rates in bytes per second; `u64::MAX` and infinity are the draft's Infinity.
//!
//! What the draft leaves open: CE marks are answered as loss beyond the threshold is ("the congestion controller response MUST treat any CE
//! marks as congestion"); persistent congestion (RFC 9002 §7.6) takes the place of TCP's retransmission timeout, and a recovery period
//! (§7.3.2) that of fast recovery.
//!
//! Where it departs from the draft (figures: `benches/NOTES.md`):
//!
//! - The pacing margin comes off the long-term estimate of the bandwidth only, once, and not while round-trip times come within a
//!   sixteenth of the smallest in each round (`control`). It is there to drain the queue that an estimate above the bandwidth builds up; without a queue it is
//!   one per cent of the path. A queue that comes meanwhile brings the margin back when it is a sixteenth of a round trip long.
//! - Loss outside of probes lowers the short-term bounds if more than is tolerated of a round trip's flight is lost: `BBR.LossThresh` beyond
//!   what the last Cruise lost (`losses`). The draft lowers them by any loss: at one per cent of random loss the rate sinks in nearly every
//!   round trip, until the next probe.
//! - A probe tolerates as much (`losses`), since a flight on a path that loses one per cent loses two now and then.
//! - The short-term bound of the flight stays `BBR.extra_acked` above what a round delivers (`model`), as the window does. Without it, one
//!   round with too much loss takes away what bridges a path's stalls until the next probe; `bw_shortterm` bounds the rate all the same.
//! - A round that delivers what `ProbeRTT` or Down had sent lowers no bound in Cruise (`model`): in the draft one loss in it costs 30 % or 10 %
//!   of the rate until the next probe, since nothing more was sent. What is lost behind it, or during Down, counts.
//! - `ProbeRTT` is entered if no round-trip time came within a sixteenth of the smallest for five seconds, not if none was smaller
//!   (`probe_rtt`). The draft says that "each BBR flow MUST use the standard BBR.ProbeRTTInterval", so that flows empty the queue together.
//!   The interval is the same here, but a queue that is seen empty need not be emptied, and flows that share it see the same. Where one flow
//!   knows a longer time than the others, since a queue was there when it came, the others probe and show it theirs.
//! - `ProbeRTT` ends after a round trip instead of 200 ms if it has confirmed the smallest round-trip time (`probe_rtt`). The 200 ms are there
//!   for flows to empty a queue together, and then there is none. The draft aims at a price of "roughly 2%"; at 40 ms and more it is 3 to 4.
//!
//! Invariants: the window is never below two datagrams, nor below four but for persistent congestion; all randomness is injected.
//! Timers: none; time passes with acknowledgements.

mod control;
mod filter;
mod losses;
mod model;
mod probe_bw;
mod probe_rtt;
mod startup;

use super::delivery_rate::{DeliveryMark, DeliveryRate, RateSample};
use super::{
    AckSample, CongestionEvent, Controller, LostPacket, RecoveryPeriod, initial_window, minimum_window,
};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use control::Control;
use model::{Bounds, Model, Rounds};
use probe_bw::Cycle;
use probe_rtt::MinRtt;
use startup::FullPipe;
use std::fmt;

pub(super) const NAME: &str = "bbr";

/// The largest volume: no bound.
const INFINITE: u64 = u64::MAX;

/// `BBR.Beta`: the multiplicative decrease for a round trip with loss.
const BETA: f64 = 0.7;

/// `BBR.state`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Startup,
    Drain,
    ProbeBwDown,
    ProbeBwCruise,
    ProbeBwRefill,
    ProbeBwUp,
    ProbeRtt,
}

impl State {
    /// `BBR.pacing_gain`, by the table in "Summary of Control Behavior in the State Machine".
    const fn pacing_gain(self) -> f64 {
        match self {
            Self::Startup => 2.77,
            Self::Drain => 0.5,
            Self::ProbeBwDown => 0.9,
            Self::ProbeBwCruise | Self::ProbeBwRefill | Self::ProbeRtt => 1.0,
            Self::ProbeBwUp => 1.25,
        }
    }

    /// `BBR.cwnd_gain`, by the same table.
    const fn cwnd_gain(self) -> f64 {
        match self {
            Self::ProbeBwUp => 2.25,
            Self::ProbeRtt => 0.5,
            _ => 2.0,
        }
    }

    /// `IsInAProbeBWState()`.
    const fn is_probe_bw(self) -> bool {
        matches!(self, Self::ProbeBwDown | Self::ProbeBwCruise | Self::ProbeBwRefill | Self::ProbeBwUp)
    }

    /// `IsProbingBW()`.
    const fn is_probing(self) -> bool {
        matches!(self, Self::Startup | Self::ProbeBwRefill | Self::ProbeBwUp)
    }
}

/// What a loss that turns out to be none gives back ("Undo State").
#[derive(Clone, Copy, Debug)]
struct Undo {
    /// The state that was left because of loss.
    state: Option<State>,
    bounds: Bounds,
}

/// The injected generator.
struct Dice(Box<dyn Rng>);

impl fmt::Debug for Dice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dice")
    }
}

/// `BBRv3` with the state of one path.
#[derive(Debug)]
pub struct Bbr {
    mtu: u64,
    /// `C.InitialCwnd`.
    initial_window: u64,
    dice: Dice,
    /// The time of the event that is being handled.
    now: Instant,
    /// `C.inflight`.
    in_flight: u64,
    /// `C.inflight` before the acknowledgement that is being handled.
    prior_in_flight: u64,
    state: State,
    delivery: DeliveryRate,
    /// The rate sample of the latest acknowledgement.
    rs: RateSample,
    rounds: Rounds,
    model: Model,
    full_pipe: FullPipe,
    cycle: Cycle,
    min_rtt: MinRtt,
    control: Control,
    /// The recovery period, as long as it goes on.
    recovery: Option<RecoveryPeriod>,
    undo: Undo,
}

impl Bbr {
    /// The initial state on a path with datagrams of `mtu` bytes; `rng` decides when to probe.
    pub fn new(mtu: u16, rng: Box<dyn Rng>) -> Self {
        let initial_window = initial_window(mtu);
        let model = Model::new();
        Self {
            mtu: u64::from(mtu),
            initial_window,
            dice: Dice(rng),
            now: Instant::EPOCH,
            in_flight: 0,
            prior_in_flight: 0,
            state: State::Startup,
            delivery: DeliveryRate::default(),
            rs: RateSample::default(),
            rounds: Rounds::default(),
            undo: Undo { state: None, bounds: model.bounds },
            model,
            full_pipe: FullPipe::default(),
            cycle: Cycle::new(),
            min_rtt: MinRtt::new(),
            control: Control::new(initial_window),
            recovery: None,
        }
    }

    /// `UpdateModelAndState()` and `UpdateControlParameters()`. `recovering` tells whether a recovery period lasted until this acknowledgement.
    fn update(&mut self, recovering: bool) {
        self.update_latest_delivery_signals();
        self.update_congestion_signals();
        self.update_ack_aggregation();
        self.check_full_bw_reached();
        self.check_startup_done(recovering);
        self.check_drain_done();
        self.update_probe_bw_cycle_phase();
        self.update_min_rtt();
        self.check_probe_rtt();
        self.advance_latest_delivery_signals();
        self.model.bound_bw();
        self.set_pacing_rate();
        self.set_send_quantum();
        self.set_cwnd();
    }

    /// `OnEnterFastRecovery()`, for a loss that no recovery period covers.
    fn enter_recovery(&mut self) {
        self.save_state_upon_loss();
        self.recovery = Some(RecoveryPeriod { since: Some(self.now) });
    }

    /// `SaveStateUponLoss()`.
    fn save_state_upon_loss(&mut self) {
        self.save_cwnd();
        self.undo = Undo { state: None, bounds: self.model.bounds };
    }

    /// CE marks say what loss beyond the threshold says.
    fn on_marks(&mut self, event: &CongestionEvent) {
        if self.recovery.is_some_and(|recovery| recovery.covers(event.sent)) {
            return;
        }
        self.enter_recovery();
        self.note_loss();
        self.model.losses.on_marks();
        if self.state == State::Startup {
            self.leave_startup_by_congestion();
        } else if self.cycle.is_bw_probe_sample {
            let rs = self.rs;
            self.handle_inflight_too_high(&rs);
        }
    }

    /// `HandleSpuriousLossDetection()`.
    fn handle_spurious_loss_detection(&mut self) {
        self.restore_cwnd();
        self.model.is_loss_in_round = false;
        self.full_pipe.reset();
        self.model.bounds = self.model.bounds.at_least(&self.undo.bounds);
        match self.undo.state.take() {
            Some(State::Startup) if self.state != State::Startup => {
                self.full_pipe.reached = false;
                if self.state != State::ProbeRtt {
                    self.enter_startup();
                }
            }
            Some(State::ProbeBwUp) if self.state != State::ProbeBwUp && self.state != State::ProbeRtt => {
                self.start_probe_bw_refill();
            }
            _ => {}
        }
    }
}

impl Controller for Bbr {
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64, drained: bool) -> DeliveryMark {
        self.now = now;
        if in_flight <= bytes && self.delivery.is_app_limited() {
            self.handle_restart_from_idle();
        }
        self.in_flight = in_flight;
        let mark = self.delivery.on_sent(now, bytes, in_flight);
        self.control.on_sent(in_flight, self.mtu);
        if drained && in_flight < self.control.cwnd {
            self.delivery.mark_app_limited(in_flight);
        }
        mark
    }

    fn on_delivered(&mut self, sample: &AckSample) {
        self.now = sample.now;
        // CheckIfApplicationLimited(), "at the beginning of ACK processing, before updating the estimated amount of data in flight".
        self.prior_in_flight = sample.in_flight + sample.bytes;
        if sample.drained && self.prior_in_flight < self.control.cwnd {
            self.delivery.mark_app_limited(self.prior_in_flight);
        }
        self.in_flight = sample.in_flight;
        self.rs = self.delivery.on_ack(sample);
    }

    fn on_lost(&mut self, packet: &LostPacket) {
        self.now = packet.now;
        self.in_flight = self.in_flight.saturating_sub(packet.bytes);
        if !self.recovery.is_some_and(|recovery| recovery.covers(packet.sent)) {
            self.enter_recovery();
        }
        self.handle_lost_packet(packet);
    }

    fn on_congestion(&mut self, event: &CongestionEvent) {
        (self.now, self.in_flight) = (event.now, event.in_flight);
        if event.ecn {
            self.on_marks(event);
        }
        if event.persistent {
            // OnEnterRTO(); RFC 9002 §7.6.2: "the sender's congestion window MUST be reduced to the minimum congestion window".
            self.save_state_upon_loss();
            self.control.cwnd = 2 * self.mtu;
        }
    }

    fn on_spurious_congestion(&mut self) {
        self.recovery = None;
        self.handle_spurious_loss_detection();
    }

    fn on_ack(&mut self, sample: &AckSample) {
        (self.now, self.in_flight) = (sample.now, sample.in_flight);
        self.rs.lost = self.delivery.lost_since(sample.mark);
        self.control.on_first_rtt(self.initial_window, sample.rtt.smoothed);
        let recovering = self.recovery.is_some();
        if self.recovery.is_some_and(|recovery| !recovery.covers(sample.sent)) {
            self.recovery = None;
            self.restore_cwnd();
        }
        self.update(recovering);
    }

    fn window(&self) -> u64 {
        self.control.cwnd.max(2 * self.mtu)
    }

    fn ssthresh(&self) -> u64 {
        u64::MAX
    }

    fn pacing_rate(&self, _smoothed: Duration) -> Option<u64> {
        self.control.pacing_rate()
    }

    fn on_mtu(&mut self, mtu: u16) {
        // RFC 9002 §7.2: "If the maximum datagram size changes during the connection, the initial congestion window SHOULD be
        // recalculated with the new size."
        if self.control.cwnd == self.initial_window {
            self.control.cwnd = initial_window(mtu);
        }
        self.initial_window = initial_window(mtu);
        self.mtu = u64::from(mtu);
        self.control.cwnd = self.control.cwnd.max(minimum_window(mtu));
    }

    fn in_slow_start(&self) -> bool {
        self.state == State::Startup
    }

    fn name(&self) -> &'static str {
        NAME
    }

    fn fresh(&mut self, mtu: u16) -> Box<dyn Controller> {
        Box::new(Self::new(mtu, self.dice.0.child()))
    }
}

#[cfg(test)]
mod tests;
