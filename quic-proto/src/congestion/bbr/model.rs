//! The model of the path: packet-timed rounds, bandwidth, aggregation, and what loss says about all of it.
//!
//! Invariant: `bw` is the lesser of the long-term and the short-term estimate. See the draft's "Updating Network Path Model Parameters".

use super::filter::{MaxBw, RoundMax};
use super::losses::Losses;
use super::{BETA, Bbr, INFINITE, State};
use crate::congestion::LostPacket;
use crate::congestion::delivery_rate::RateSample;
use crate::time::Instant;

/// `BBR.round_count` and its kin: a round ends when a packet is acknowledged that was sent after the round began.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rounds {
    /// `BBR.next_round_delivered`.
    next_delivered: u64,
    /// `BBR.round_count`.
    pub(super) count: u64,
    /// `BBR.round_start`: this acknowledgement began a round.
    pub(super) start: bool,
}

/// The bounds that loss sets ("short-term model" and "long-term model"), which a spurious loss gives back.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Bounds {
    /// `BBR.bw_shortterm`.
    pub(super) bw_shortterm: f64,
    /// `BBR.inflight_shortterm`.
    pub(super) inflight_shortterm: u64,
    /// `BBR.inflight_longterm`.
    pub(super) inflight_longterm: u64,
}

impl Bounds {
    /// The wider of both, for each bound.
    pub(super) fn at_least(&self, other: &Self) -> Self {
        Self {
            bw_shortterm: self.bw_shortterm.max(other.bw_shortterm),
            inflight_shortterm: self.inflight_shortterm.max(other.inflight_shortterm),
            inflight_longterm: self.inflight_longterm.max(other.inflight_longterm),
        }
    }
}

/// What is known of the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Model {
    /// `BBR.max_bw`.
    pub(super) max_bw: f64,
    pub(super) max_bw_filter: MaxBw,
    /// `BBR.bw`.
    pub(super) bw: f64,
    pub(super) bounds: Bounds,
    /// `BBR.extra_acked`.
    pub(super) extra_acked: u64,
    extra_acked_filter: RoundMax,
    /// `BBR.extra_acked_interval_start`; `None` before the first acknowledgement.
    pub(super) extra_acked_interval_start: Option<Instant>,
    extra_acked_delivered: u64,
    /// `BBR.bw_latest`.
    pub(super) bw_latest: f64,
    /// `BBR.inflight_latest`.
    pub(super) inflight_latest: u64,
    /// `BBR.is_loss_in_round`.
    pub(super) is_loss_in_round: bool,
    /// `BBR.loss_round_delivered`.
    loss_round_delivered: u64,
    /// `BBR.loss_round_start`: this acknowledgement ends a round in which loss is looked for.
    pub(super) loss_round_start: bool,
    /// Discontiguous ranges of packets that were lost in this round.
    pub(super) lost_ranges: u32,
    pub(super) losses: Losses,
}

impl Model {
    pub(super) fn new() -> Self {
        Self {
            max_bw: 0.0,
            max_bw_filter: MaxBw::default(),
            bw: 0.0,
            bounds: Bounds {
                bw_shortterm: f64::INFINITY,
                inflight_shortterm: INFINITE,
                inflight_longterm: INFINITE,
            },
            extra_acked: 0,
            extra_acked_filter: RoundMax::default(),
            extra_acked_interval_start: None,
            extra_acked_delivered: 0,
            bw_latest: 0.0,
            inflight_latest: 0,
            is_loss_in_round: false,
            loss_round_delivered: 0,
            loss_round_start: false,
            lost_ranges: 0,
            losses: Losses::default(),
        }
    }

    /// `ResetCongestionSignals()`.
    pub(super) fn reset_congestion_signals(&mut self) {
        self.is_loss_in_round = false;
        self.bw_latest = 0.0;
        self.inflight_latest = 0;
    }

    /// `ResetShortTermModel()`.
    pub(super) fn reset_short_term(&mut self) {
        self.bounds.bw_shortterm = f64::INFINITY;
        self.bounds.inflight_shortterm = INFINITE;
    }

    /// `BoundBWForModel()`.
    pub(super) fn bound_bw(&mut self) {
        self.bw = self.max_bw.min(self.bounds.bw_shortterm);
    }
}

impl Bbr {
    /// `StartRound()`.
    pub(super) fn start_round(&mut self) {
        self.rounds.next_delivered = self.delivery.delivered();
    }

    /// `UpdateRound()`.
    fn update_round(&mut self) {
        self.rounds.start = self.rs.prior_delivered >= self.rounds.next_delivered;
        if self.rounds.start {
            self.start_round();
            self.rounds.count += 1;
            self.cycle.rounds_since_probe_up += 1;
            self.control.on_round();
            self.min_rtt.on_round();
        }
    }

    /// `UpdateLatestDeliverySignals()`.
    pub(super) fn update_latest_delivery_signals(&mut self) {
        let (model, rs) = (&mut self.model, &self.rs);
        model.bw_latest = model.bw_latest.max(rs.rate);
        model.inflight_latest = model.inflight_latest.max(rs.delivered);
        model.loss_round_start = rs.prior_delivered >= model.loss_round_delivered;
        if model.loss_round_start {
            model.loss_round_delivered = self.delivery.delivered();
        }
    }

    /// `AdvanceLatestDeliverySignals()`.
    pub(super) fn advance_latest_delivery_signals(&mut self) {
        if self.model.loss_round_start {
            self.model.bw_latest = self.rs.rate;
            self.model.inflight_latest = self.rs.delivered;
        }
    }

    /// `UpdateCongestionSignals()`.
    pub(super) fn update_congestion_signals(&mut self) {
        self.update_max_bw();
        if self.model.loss_round_start {
            self.adapt_lower_bounds_from_congestion();
            self.model.is_loss_in_round = false;
        }
    }

    /// `UpdateMaxBw()`.
    fn update_max_bw(&mut self) {
        self.update_round();
        let (rate, model) = (self.rs.rate, &mut self.model);
        if rate > 0.0 && (rate >= model.max_bw || !self.rs.app_limited) {
            model.max_bw = model.max_bw_filter.update(rate);
        }
    }

    /// `AdaptLowerBoundsFromCongestion()`, with `InitLowerBounds()` and `LossLowerBounds()`, but for three things: it takes more than
    /// what is tolerated; a round of Cruise that delivered what `ProbeRTT` or Down had sent tells of these, not of the path; and the flight
    /// keeps room for what acknowledgements hold back.
    fn adapt_lower_bounds_from_congestion(&mut self) {
        let slow_flight = self.rs.prior_delivered < self.cycle.slow_flight_until;
        let excess = self.model.losses.end_round(self.rs.in_flight, !slow_flight);
        if self.state.is_probing() || !excess {
            return;
        }
        let (model, cwnd) = (&mut self.model, self.control.cwnd);
        let bounds = &mut model.bounds;
        if bounds.bw_shortterm.is_infinite() {
            bounds.bw_shortterm = model.max_bw;
        }
        if bounds.inflight_shortterm == INFINITE {
            bounds.inflight_shortterm = cwnd;
        }
        bounds.bw_shortterm = model.bw_latest.max(BETA * bounds.bw_shortterm);
        let reduced = (BETA * bounds.inflight_shortterm as f64) as u64;
        let needed = model.inflight_latest.saturating_add(model.extra_acked);
        bounds.inflight_shortterm = needed.max(reduced);
    }

    /// `UpdateACKAggregation()`.
    pub(super) fn update_ack_aggregation(&mut self) {
        let (model, newly_acked) = (&mut self.model, self.rs.newly_acked);
        let start = *model.extra_acked_interval_start.get_or_insert(self.now);
        let mut expected = (model.bw * (self.now - start).as_secs_f64()) as u64;
        if model.extra_acked_delivered <= expected {
            model.extra_acked_delivered = 0;
            model.extra_acked_interval_start = Some(self.now);
            expected = 0;
        }
        model.extra_acked_delivered += newly_acked;
        let extra = (model.extra_acked_delivered - expected).min(self.control.cwnd);
        let len = if self.full_pipe.reached { RoundMax::LEN } else { 1 };
        model.extra_acked = model.extra_acked_filter.update(len, self.rounds.count, extra);
    }

    /// `NoteLoss()`; `true` if it is the first of its round.
    pub(super) fn note_loss(&mut self) -> bool {
        let first = !self.model.is_loss_in_round;
        if first {
            self.model.loss_round_delivered = self.delivery.delivered();
            self.save_state_upon_loss();
        }
        self.model.is_loss_in_round = true;
        first
    }

    /// `HandleLostPacket()`.
    pub(super) fn handle_lost_packet(&mut self, packet: &LostPacket) {
        let lost = self.delivery.on_lost(packet.bytes, packet.mark);
        if !self.note_loss() {
            self.model.losses.on_lost(packet.bytes);
        }
        self.model.lost_ranges += u32::from(packet.begins_range);
        if !self.cycle.is_bw_probe_sample {
            return;
        }
        let (in_flight, app_limited) = (packet.mark.in_flight(), packet.mark.app_limited());
        // A sample of the lost packet, for this decision only: that of the acknowledgement stays as it is.
        let mut rs = RateSample { lost, in_flight, app_limited, ..self.rs };
        let losses = &self.model.losses;
        if losses.is_inflight_too_high(&rs) {
            rs.in_flight = losses.inflight_at_loss(&rs, packet.bytes);
            self.handle_inflight_too_high(&rs);
        }
    }

    /// `HandleInflightTooHigh()`.
    pub(super) fn handle_inflight_too_high(&mut self, rs: &RateSample) {
        self.cycle.prev_probe_too_high = true;
        self.cycle.is_bw_probe_sample = false;
        if !rs.app_limited {
            let floor = (self.target_inflight() as f64 * BETA) as u64;
            self.model.bounds.inflight_longterm = rs.in_flight.max(floor);
        }
        if self.state == State::ProbeBwUp {
            self.undo.state = Some(State::ProbeBwUp);
            self.start_probe_bw_down();
        }
    }
}
