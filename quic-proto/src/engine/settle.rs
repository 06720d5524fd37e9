//! What packets carried goes back to its owners, as acknowledged or lost.

use super::Engine;
use crate::error::TransportError;
use crate::id::SpaceId;
use crate::net::EcnCounts;
use crate::recovery::token::Token;
use crate::recovery::{AckInfo, Ctx};
use crate::time::Instant;
use std::ops::RangeInclusive;

/// The family's part in settling: tokens for frames that only a family knows.
pub trait FamilyTokens {
    /// `token` was acknowledged.
    fn on_acked(&mut self, token: Token);
    /// `token` was lost and what it stands for must be sent again if it is still current.
    fn on_lost(&mut self, token: Token);
}

impl Engine {
    /// Verb: the peer acknowledges packets of `space`. `ranges` descend.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if a packet is acknowledged that was never sent (RFC 9000 §13.1).
    // Not within the loop over a packet's frames: few packets have such a frame, and all would pay for the registers that it takes.
    #[inline(never)]
    pub fn on_ack(
        &mut self,
        space: SpaceId,
        ack: AckInfo,
        ecn: Option<EcnCounts>,
        ranges: impl Iterator<Item = RangeInclusive<u64>>,
        family: &mut dyn FamilyTokens,
    ) -> Result<(), TransportError> {
        self.outcome.clear();
        let now = self.now;
        let situation = self.situation();
        let drained = !self.streams.can_send();
        let path = self.paths.active_mut();
        let mut ctx = Ctx { rtt: &mut path.rtt, cc: &mut *path.cc, situation, drained };
        self.recovery.on_ack(now, space, ack, ranges, &mut ctx, &mut self.outcome)?;
        if self.outcome.newest_acked > Some(now) {
            self.give_up_departure_times();
        }
        if space == SpaceId::Data {
            self.validate_ecn(now, space, ecn);
        }
        // Something that was sent on the active path has arrived.
        if !self.path_challenges && self.outcome.largest_acked_size > 0 {
            self.paths.on_heard();
        }
        self.settle(now, family);
        Ok(())
    }

    /// What was to leave later has arrived: the system does not keep to the times, and what they are for does not work.
    fn give_up_departure_times(&mut self) {
        self.path_config.departure_times = false;
        for path in self.paths.iter_mut() {
            path.pacer.departure_times(false);
        }
    }

    /// Checks the peer's ECN counts (RFC 9000 §13.4.2.1) and reports new CE marks to the congestion controller (RFC 9002 §7.1).
    fn validate_ecn(&mut self, now: Instant, space: SpaceId, counts: Option<EcnCounts>) {
        let outcome = &self.outcome;
        let (acked, Some(newest), true) =
            (outcome.newly_acked_ect0, outcome.newest_acked, outcome.largest_grew)
        else {
            return;
        };
        let path = self.paths.active_mut();
        if path.ecn.on_ack(space, counts, acked) {
            self.stats.congestion_events += 1;
            self.recovery.on_ecn_ce(now, newest, &mut *path.cc);
        }
    }

    /// Packets of full size that are lost while smaller ones pass are a sign that the path's MTU shrank (RFC 8899 §4.3).
    fn judge_mtu(&mut self, now: Instant) {
        let mtu = &mut self.paths.active_mut().mtu;
        mtu.on_acked(self.outcome.largest_acked_size);
        if self.outcome.smallest_lost_size.is_some_and(|smallest| mtu.on_lost(now, smallest)) {
            tracing::debug!("black hole: back to the smallest datagrams");
            self.on_mtu_changed();
        }
    }

    /// Hands the tokens in `outcome` to their owners.
    pub(super) fn settle(&mut self, now: Instant, family: &mut dyn FamilyTokens) {
        self.judge_mtu(now);
        let mut outcome = std::mem::take(&mut self.outcome);
        if outcome.lost_packets > 0 {
            let (packets, bytes) = (outcome.lost_packets, outcome.lost_bytes);
            tracing::debug!(
                packets,
                bytes,
                congestion = outcome.congestion,
                persistent = outcome.persistent,
                "lost"
            );
        }
        self.stats.lost_packets += u64::from(outcome.lost_packets);
        self.stats.lost_bytes += outcome.lost_bytes;
        self.stats.congestion_events += u64::from(outcome.congestion);
        for token in outcome.acked.drain(..) {
            self.token_acked(now, token, family);
        }
        for token in outcome.lost.drain(..) {
            self.token_lost(now, token, family);
        }
        self.outcome = outcome;
    }

    fn token_acked(&mut self, now: Instant, token: Token, family: &mut dyn FamilyTokens) {
        match token {
            Token::Ack { space, largest } => {
                if let Some(acks) = self.acks.get_mut(space) {
                    acks.on_ack_acked(largest);
                }
            }
            Token::NewConnectionId(_) | Token::Early => {}
            Token::RetireConnectionId(sequence) => self.peer_cids.on_acked(sequence),
            Token::MtuProbe(size) => {
                if self.paths.active_mut().mtu.on_probe_acked(now, size) {
                    self.on_mtu_changed();
                }
            }
            Token::Crypto { .. } | Token::NewToken | Token::HandshakeDone => family.on_acked(token),
            _ => self.streams.on_acked(token),
        }
    }

    pub(super) fn token_lost(&mut self, now: Instant, token: Token, family: &mut dyn FamilyTokens) {
        match token {
            // An acknowledgement is sent anew from the current ranges whenever one is owed (RFC 9000 §13.3).
            Token::Ack { .. } | Token::Early => {}
            Token::NewConnectionId(sequence) => self.local_cids.on_lost(sequence),
            Token::RetireConnectionId(sequence) => self.peer_cids.on_lost(sequence),
            Token::MtuProbe(size) => self.paths.active_mut().mtu.on_probe_lost(now, size),
            Token::Crypto { .. } | Token::NewToken | Token::HandshakeDone => family.on_lost(token),
            _ => self.streams.on_lost(token),
        }
    }
}
