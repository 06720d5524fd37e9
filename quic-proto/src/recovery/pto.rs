//! The probe timeout (RFC 9002 §6.2), and the one timer that it shares with loss detection (A.8).
//!
//! Owns: the backoff and the instant from which a client counts when nothing is in flight. Invariant: the backoff only grows by
//! expiry, and falls back to nothing by an acknowledgement or discarded keys. The timer is `Timer::Loss`, computed, not stored.

use super::rtt::Rtt;
use super::space::Space;
use crate::id::SpaceId;
use crate::time::{Duration, Instant};
use crate::util::PerSpace;

/// Beyond this many doublings the timeout stays: longer than any idle timeout, and no arithmetic overflows.
const MAX_BACKOFF: u32 = 20;

/// What recovery has to know of the handshake and the path to set its timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Situation {
    /// The handshake is confirmed (RFC 9001 §4.1.2).
    pub handshake_confirmed: bool,
    /// Handshake keys are there, and not yet discarded.
    pub has_handshake_keys: bool,
    /// The peer has certainly validated our address: always so on a server; on a client once an ACK came in a Handshake packet or the
    /// handshake is confirmed (RFC 9002 §A.8).
    pub peer_completed_address_validation: bool,
    /// We are a server that may send nothing before it receives more (RFC 9000 §8.1).
    pub amplification_limited: bool,
}

/// A probe timeout expired: send probes in this space first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The space.
    pub space: SpaceId,
}

/// The probe timeout's state.
#[derive(Clone, Debug, Default)]
pub(super) struct Pto {
    count: u32,
    /// The last event by which the timer is set again; an anti-deadlock timeout counts from it.
    restarted: Instant,
}

impl Pto {
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn restart(&mut self, now: Instant) {
        self.restarted = now;
    }

    pub(super) fn reset(&mut self, now: Instant) {
        self.count = 0;
        self.restarted = now;
    }

    /// RFC 9002 §6.2.1: "When a PTO timer expires, the PTO backoff MUST be increased".
    pub(super) fn back_off(&mut self, now: Instant) {
        self.count = self.count.saturating_add(1);
        self.restarted = now;
    }

    /// When the probe timeout expires, and in which space (`GetPtoTimeAndSpace`); `None` if it may not be set.
    pub(super) fn deadline(
        &self,
        spaces: &PerSpace<Space>,
        rtt: &Rtt,
        max_ack_delay: Duration,
        situation: Situation,
    ) -> Option<(Instant, SpaceId)> {
        // §6.2.2.1: "the server's PTO timer MUST NOT be armed until datagrams have been received from the client".
        if situation.amplification_limited {
            return None;
        }
        let backoff = 1u32 << self.count.min(MAX_BACKOFF);
        let earliest = SpaceId::ALL
            .into_iter()
            // §6.2.1: "An endpoint MUST NOT set its PTO timer for the Application Data packet number space until the handshake is
            // confirmed."
            .filter(|space| *space != SpaceId::Data || situation.handshake_confirmed)
            .filter_map(|space| Some((space, spaces.get(space)?)))
            .filter(|(_, state)| state.eliciting > 0)
            .filter_map(|(space, state)| {
                // §6.2.1: in Initial and Handshake "the max_ack_delay in the PTO period computation is set to 0".
                let delay = if space == SpaceId::Data { max_ack_delay } else { Duration::ZERO };
                let sent = state.last_eliciting?;
                Some((sent + (rtt.pto_base() + delay).saturating_mul(backoff), space))
            })
            .min();
        // §6.2.2.1: "the client MUST set the PTO timer if the client has not received an acknowledgment for any of its Handshake
        // packets and the handshake is not confirmed …, even if there are no packets in flight". That there may be 0-RTT packets in
        // flight, for which no timer is set, makes no difference.
        //
        // Nor may 1-RTT packets be all that is outstanding, without a timer, before the handshake is confirmed: handshake bytes that were
        // declared lost may stand behind them at a full congestion window, and a peer that misses those bytes acknowledges nothing of
        // what fills it. Only a probe gets past (§7.5), in the space in which the peer can read it.
        let stuck =
            !situation.handshake_confirmed && situation.has_handshake_keys && spaces.data().eliciting > 0;
        if earliest.is_none() && (stuck || !situation.peer_completed_address_validation) {
            let space = if situation.has_handshake_keys { SpaceId::Handshake } else { SpaceId::Initial };
            return Some((self.restarted + rtt.pto_base().saturating_mul(backoff), space));
        }
        earliest
    }
}
