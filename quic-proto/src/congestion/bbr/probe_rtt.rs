//! `ProbeRTT`: the smallest round-trip time, and how to see it again when a queue has hidden it for five seconds.
//!
//! Invariant: `min_rtt` is the smallest of the last ten seconds, or is still what round-trip times come back to within a sixteenth; when they
//! have not for five seconds, it is refreshed by a flight that is half of what fills the pipe. What confirms it is compared with it alone, so
//! that it does not creep upwards from one confirmation to the next.

use super::probe_bw::AckPhase;
use super::{Bbr, State};
use crate::time::{Duration, Instant};

/// `BBR.MinRTTFilterLen`.
const MIN_RTT_FILTER_LEN: Duration = Duration::from_secs(10);
/// `BBR.ProbeRTTInterval`: "each BBR flow MUST use the standard BBR.ProbeRTTInterval of 5 secs".
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
/// `BBR.ProbeRTTDuration`.
const PROBE_RTT_DURATION: Duration = Duration::from_millis(200);

/// A round-trip time confirms the smallest one if it comes within that fraction of it: what a queue of that length, at most, could hide.
const CONFIRMATION: u32 = 16;

/// The smallest round-trip times, and when to look for them.
#[derive(Clone, Copy, Debug)]
pub(super) struct MinRtt {
    /// `BBR.min_rtt`; `None` is the draft's Infinity.
    pub(super) min: Option<Duration>,
    /// `BBR.min_rtt_stamp`.
    stamp: Instant,
    /// The smallest of this round and of the one before.
    in_rounds: [Duration; 2],
    /// `BBR.probe_rtt_min_delay`.
    probe_min: Option<Duration>,
    /// `BBR.probe_rtt_min_stamp`.
    probe_stamp: Instant,
    /// `BBR.probe_rtt_expired`.
    expired: bool,
    /// `BBR.probe_rtt_done_stamp`, once the flight is small enough.
    pub(super) done: Option<Instant>,
    /// `BBR.probe_rtt_round_done`.
    round_done: bool,
    /// `BBR.min_rtt` before this `ProbeRTT`.
    known: Option<Duration>,
    /// `BBR.idle_restart`.
    pub(super) idle_restart: bool,
}

impl MinRtt {
    pub(super) fn new() -> Self {
        Self {
            min: None,
            in_rounds: [Duration::MAX; 2],
            stamp: Instant::EPOCH,
            probe_min: None,
            probe_stamp: Instant::EPOCH,
            expired: false,
            done: None,
            round_done: false,
            known: None,
            idle_restart: false,
        }
    }

    /// A packet-timed round began.
    pub(super) fn on_round(&mut self) {
        self.in_rounds = [Duration::MAX, self.in_rounds[0]];
    }

    /// Whether the queue was empty for this packet: its round-trip time is as small as the smallest that is known.
    fn confirms(&self, rtt: Duration) -> bool {
        self.min.is_some_and(|smallest| rtt <= smallest.saturating_add(smallest / CONFIRMATION))
    }

    /// Whether the queue was seen empty within the last round trip. Single packets may have waited for a timer, here or on their way.
    pub(super) fn saw_no_queue(&self) -> bool {
        self.confirms(self.in_rounds[0].min(self.in_rounds[1]))
    }

    /// Whether this `ProbeRTT` found what was known, with half of the flight gone: no queue of the flow's own has hidden a smaller round-trip
    /// time, and no queue is there that flows would have to empty together.
    fn is_confirmed(&self) -> bool {
        let (Some(known), Some(found)) = (self.known, self.probe_min) else { return false };
        found.abs_diff(known) <= known / CONFIRMATION
    }
}

impl Bbr {
    /// `UpdateMinRTT()`, but that a queue which is seen empty needs no `ProbeRTT` to be seen so: all flows that share it see the same.
    pub(super) fn update_min_rtt(&mut self) {
        let (min, now, rtt) = (&mut self.min_rtt, self.now, self.rs.rtt);
        min.in_rounds[0] = min.in_rounds[0].min(rtt);
        if min.confirms(rtt) {
            min.probe_stamp = now;
        }
        // Before the first sample nothing can have expired.
        min.expired = min.probe_min.is_some() && now > min.probe_stamp + PROBE_RTT_INTERVAL;
        if min.expired || min.probe_min.is_none_or(|smallest| rtt < smallest) {
            (min.probe_min, min.probe_stamp) = (Some(rtt), now);
        }
        let min_expired = now > min.stamp + MIN_RTT_FILTER_LEN;
        if min_expired || min.min.is_none_or(|smallest| min.probe_min.is_some_and(|probe| probe < smallest)) {
            (min.min, min.stamp) = (min.probe_min, min.probe_stamp);
        }
    }

    /// `CheckProbeRTT()`.
    pub(super) fn check_probe_rtt(&mut self) {
        if self.state != State::ProbeRtt && self.min_rtt.expired && !self.min_rtt.idle_restart {
            // EnterProbeRTT() comes first in the draft: SaveCwnd() then keeps the larger of the windows of before and now.
            self.state = State::ProbeRtt;
            self.min_rtt.known = self.min_rtt.min;
            self.save_cwnd();
            self.min_rtt.done = None;
            self.cycle.ack_phase = AckPhase::ProbeStopping;
            self.start_round();
        }
        if self.state == State::ProbeRtt {
            self.handle_probe_rtt();
        }
        if self.rs.delivered > 0 {
            self.min_rtt.idle_restart = false;
        }
    }

    /// `HandleProbeRTT()`.
    fn handle_probe_rtt(&mut self) {
        // "Ignore low rate samples during ProbeRTT".
        self.delivery.mark_app_limited(self.in_flight);
        if self.min_rtt.done.is_some() {
            self.min_rtt.round_done |= self.rounds.start;
            if self.min_rtt.round_done {
                self.check_probe_rtt_done();
            }
        } else if self.in_flight <= self.probe_rtt_cwnd() {
            self.min_rtt.done = Some(self.now + PROBE_RTT_DURATION);
            self.min_rtt.round_done = false;
            self.start_round();
        }
    }

    /// `CheckProbeRTTDone()`, which a round with the small flight is enough for if it found nothing new.
    fn check_probe_rtt_done(&mut self) {
        let (min, now) = (&self.min_rtt, self.now);
        if min.done.is_some_and(|done| now > done || (min.round_done && min.is_confirmed())) {
            self.min_rtt.probe_stamp = self.now;
            self.restore_cwnd();
            self.exit_probe_rtt();
        }
    }

    /// `ExitProbeRTT()`.
    fn exit_probe_rtt(&mut self) {
        self.model.reset_short_term();
        if self.full_pipe.reached {
            self.start_probe_bw_down();
            self.start_probe_bw_cruise();
        } else {
            self.enter_startup();
        }
    }

    /// `HandleRestartFromIdle()`, whose condition the caller has checked: nothing is in flight, and the application was the limit.
    pub(super) fn handle_restart_from_idle(&mut self) {
        self.min_rtt.idle_restart = true;
        self.model.extra_acked_interval_start = Some(self.now);
        if self.state.is_probe_bw() {
            self.set_pacing_rate_with_gain(1.0);
        } else if self.state == State::ProbeRtt {
            self.check_probe_rtt_done();
        }
    }
}
