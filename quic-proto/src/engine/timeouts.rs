//! Timers: what each one does when it is due, and which follow from state.

use super::Engine;
use super::settle::FamilyTokens;
use crate::error::ConnectionError;
use crate::id::SpaceId;
use crate::path::{NoPath, TimedOut};
use crate::recovery::{Ctx, Outcome, Situation};
use crate::time::{Duration, Instant};
use crate::timer::{Timer, TimerTable};

/// How long nothing must have happened before memory goes that is only kept to be fast. Arbitrary: longer than an application that is busy with
/// its connection makes a pause, and short beside the life of an idle one.
const REST_AFTER: Duration = Duration::from_secs(1);

impl Engine {
    /// Runs what is due. Timers that belong to a family ([`Timer::KeyDiscard`],
    /// [`Timer::Handshake`]) are left to it.
    pub fn handle_timeout(&mut self, now: Instant, family: &mut dyn FamilyTokens) {
        let now = self.advance(now);
        if self.timers.expired(Timer::Close, now) {
            self.lifecycle.drain();
            self.timers.clear();
            return;
        }
        if self.timers.expired(Timer::Idle, now) {
            self.abandon(ConnectionError::TimedOut);
            return;
        }
        self.timers.expired(Timer::Pacing, now);
        if self.timers.expired(Timer::KeepAlive, now) {
            self.kept_alive = now;
            self.ping(SpaceId::Data);
        }
        if self.timers.expired(Timer::Ack, now) {
            self.acks.data_mut().on_timeout(now);
        }
        if self.timers.expired(Timer::PathValidation, now) && !self.on_path_timeout(now) {
            return;
        }
        if self.timers.expired(Timer::Mtu, now) {
            self.paths.active_mut().mtu.search();
        }
        if self.timers.expired(Timer::Loss, now) {
            self.on_loss_timeout(now, family);
        }
        if self.timers.expired(Timer::Rest, now) {
            self.rest();
        }
        self.rearm(now);
    }

    /// Gives back memory that is only kept so that the next packets cost no allocation.
    fn rest(&mut self) {
        self.restless = false;
        self.recovery.rest();
        self.streams.rest();
        self.local_cids.rest();
        self.outcome = Outcome::default();
        self.probe_tokens = Vec::new();
    }

    /// Returns whether the connection goes on.
    fn on_path_timeout(&mut self, now: Instant) -> bool {
        match self.paths.on_timeout(now) {
            Ok(outcome) => {
                if outcome == TimedOut::Reverted {
                    self.on_active_path_changed();
                }
                self.retire_unused_ids();
                true
            }
            // RFC 9000 §9.3.2: "it MUST close the connection silently by discarding all connection state."
            Err(NoPath) => {
                self.abandon(ConnectionError::TimedOut);
                false
            }
        }
    }

    fn on_loss_timeout(&mut self, now: Instant, family: &mut dyn FamilyTokens) {
        self.outcome.clear();
        let situation = self.situation();
        let drained = !self.streams.can_send();
        let path = self.paths.active_mut();
        let mut ctx = Ctx { rtt: &mut path.rtt, cc: &mut *path.cc, situation, drained };
        let probe = self.recovery.on_timeout(now, &mut ctx, &mut self.outcome);
        self.settle(now, family);
        if probe.is_none() {
            return;
        }
        self.stats.probe_timeouts += 1;
        // RFC 9002 §6.2.4: a probe carries new data if there is any, else what is in flight longest, else a PING.
        let mut tokens = std::mem::take(&mut self.probe_tokens);
        for space in SpaceId::ALL {
            if self.recovery.probes_owed(space) > 0 {
                self.recovery.probe_tokens(space, &mut tokens);
            }
        }
        for token in tokens.drain(..) {
            self.token_lost(now, token, family);
        }
        self.probe_tokens = tokens;
    }

    /// What recovery has to know of the handshake and the path.
    pub(super) fn situation(&self) -> Situation {
        let path = self.paths.active();
        Situation {
            // What RFC 9002 §6.2.1 asks for, that the Data space waits for the handshake, is about spaces of their own for that.
            handshake_confirmed: self.confirmed || self.single_space,
            has_handshake_keys: self.has_handshake_keys,
            peer_completed_address_validation: self.peer_validated_us,
            amplification_limited: path.amplification.budget() < u64::from(path.mtu.current()),
        }
    }

    /// The earliest deadline of all timers.
    pub fn next_timeout(&self) -> Option<Instant> {
        if !self.stale {
            return self.timers.next();
        }
        let mut timers = self.timers.clone();
        self.arm(&mut timers, self.now);
        timers.next()
    }

    /// State changed from which timers follow. They are set when somebody asks for one: datagrams come in batches, and the timers between
    /// them are nobody's business.
    pub fn rearm_later(&mut self) {
        self.stale = true;
    }

    /// Sets the timers that follow from state, if it changed since they were set.
    pub fn rearm_stale(&mut self, now: Instant) {
        if self.stale {
            self.rearm(now);
        }
    }

    /// Sets the timers that follow from state.
    pub fn rearm(&mut self, now: Instant) {
        self.stale = false;
        let mut timers = std::mem::take(&mut self.timers);
        self.arm(&mut timers, now);
        self.timers = timers;
    }

    fn arm(&self, timers: &mut TimerTable, now: Instant) {
        if !self.lifecycle.is_open() {
            return;
        }
        // What is overdue is due now: a deadline never lies in the past.
        let due = |deadline: Option<Instant>| deadline.map(|deadline| deadline.max(now));
        let loss = self.recovery.deadline(&self.paths.active().rtt, self.situation());
        timers.set(Timer::Loss, due(loss));
        let ack = self.acks.data().deadline();
        timers.set(Timer::Ack, due(ack));
        timers.set(Timer::PathValidation, due(self.path_deadline()));
        timers.set(Timer::Mtu, due(self.paths.active().mtu.deadline()));
        // RFC 9000 §10.1: "endpoints MUST increase the idle timeout period to be at least three times the current PTO".
        let (quiet_since, three_pto) = (self.last_activity(), self.pto() * 3);
        let idle = self.timing.idle_timeout.map(|timeout| quiet_since + timeout.max(three_pto));
        timers.set(Timer::Idle, due(idle));
        let rest = self.restless.then(|| quiet_since + REST_AFTER.max(three_pto));
        timers.set(Timer::Rest, due(rest));
        if let (true, Some(interval)) = (self.confirmed, self.config.keep_alive) {
            let interval = self.timing.keep_alive.map_or(interval, |limit| limit.min(interval));
            // A PING that is not answered is no activity: without its own time the next one would be due at once.
            let unprompted_since = quiet_since.max(self.kept_alive);
            timers.set(Timer::KeepAlive, due(Some(unprompted_since + interval)));
        }
    }

    /// Starts the closing or draining period: three times the PTO (RFC 9000 §10.2).
    pub(super) fn start_close_timer(&mut self) {
        if self.timers.get(Timer::Close).is_none() && !self.lifecycle.is_drained() {
            let end = self.now + self.pto() * 3;
            self.timers.set(Timer::Close, Some(end));
        }
    }
}
