//! Loss recovery (RFC 9002): what was sent, what became of it, and when to worry.
//!
//! [`Recovery`] is the only door. It is told of packets sent and ACK frames received, and hands back, in an [`Outcome`] that the caller
//! reuses, the tokens of what was acknowledged and what was lost; their owners decide what to send again. Owns: the packets of all
//! spaces (`space`), what an ACK frame says (`acked`), loss detection (`loss`) and its thresholds (`reordering`), the probe timeout
//! (`pto`) and the bytes in flight. The RTT and the congestion controller belong to the path and are lent for each call.
//!
//! Invariants: `in_flight` is the sum of the sizes of outstanding in-flight packets sent on the present path; a token is handed out
//! as acknowledged at most once, and as lost at most once (it may be lost first and acknowledged later).
//! Timer: one, [`Recovery::deadline`], for both loss by time and probe timeout.
//! Cost: an ACK frame costs time for its ranges and for the packets that it newly settles, not for what is in flight.

pub mod ack_tracker;
mod acked;
mod loss;
mod pto;
mod reordering;
pub mod rtt;
mod sent;
mod space;
pub mod token;

pub use ack_tracker::AckTracker;
pub use pto::{Probe, Situation};
pub use rtt::Rtt;
pub use sent::{SentPacket, Tokens};
pub use space::MAX_TRACKED;
pub use token::Token;

use crate::congestion::{AckSample, CongestionEvent, Controller, DeliveryMark};
use crate::error::TransportError;
use crate::id::{PacketNumber, SpaceId};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use crate::util::PerSpace;
use acked::{Acked, Late, Newest};
use loss::{Episode, Losses, Scan};
use pto::Pto;
use reordering::Reordering;
use sent::State;
use space::Space;
use std::ops::RangeInclusive;

/// Constants of loss recovery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecoveryConfig {
    /// How many later packets are acknowledged before an older one is lost, until the path shows more reordering. RFC 9002 §6.1.1: 3 is
    /// RECOMMENDED, and "implementations SHOULD NOT use a packet threshold less than 3".
    pub packet_threshold: u32,
    /// The peer's `max_ack_delay` until its transport parameters are known: 25 ms (RFC 9000 §18.2).
    pub peer_max_ack_delay: Duration,
    /// Whether to skip a packet number in the Data space now and then (RFC 9000 §21.4).
    pub skip_numbers: bool,
    /// The number of the first packet in each space.
    pub first_number: PacketNumber,
    /// All packets share the Data space.
    pub single_space: bool,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            packet_threshold: 3,
            peer_max_ack_delay: Duration::from_millis(25),
            skip_numbers: true,
            first_number: 0,
            single_space: false,
        }
    }
}

/// What recovery borrows for a call: the state of the present path, and of the handshake.
pub struct Ctx<'a> {
    /// The RTT estimate of the path.
    pub rtt: &'a mut Rtt,
    /// The congestion controller of the path.
    pub cc: &'a mut dyn Controller,
    /// Where the handshake stands.
    pub situation: Situation,
    /// Whether there is nothing to send, for lack of data or of flow control credit.
    pub drained: bool,
}

/// The head of an ACK frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckInfo {
    /// The largest number acknowledged.
    pub largest: PacketNumber,
    /// How long the peer says that it held the ACK back.
    pub delay: Duration,
    /// When it came: earlier than now if it had to wait for the keys that open it.
    pub received: Instant,
}

/// What came of an ACK frame or a timeout. Reused: [`clear`](Self::clear) it once it was read.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// Tokens of packets that were acknowledged; of packets declared lost before, too.
    pub acked: Vec<Token>,
    /// Tokens of packets that were lost.
    pub lost: Vec<Token>,
    /// How many packets in flight were lost.
    pub lost_packets: u32,
    /// Their size in bytes.
    pub lost_bytes: u64,
    /// How many packets were acknowledged after they had been declared lost.
    pub spurious_losses: u32,
    /// The controller was told of congestion.
    pub congestion: bool,
    /// Persistent congestion was established (RFC 9002 §7.6).
    pub persistent: bool,
    /// Bytes that left the flight of the present path by being acknowledged.
    pub newly_acked_bytes: u64,
    /// Newly acknowledged packets that had been sent with ECT(0) on the present path: what ECN counts are validated against.
    pub newly_acked_ect0: u64,
    /// When the newest of the newly acknowledged packets was sent.
    pub newest_acked: Option<Instant>,
    /// The largest acknowledged number of the space grew (RFC 9000 §13.4.2.1: only then are ECN counts validated).
    pub largest_grew: bool,
    /// The RTT was sampled.
    pub rtt_sample: bool,
    /// Size of the largest packet on the present path that was acknowledged, in bytes; probes of the MTU apart.
    pub largest_acked_size: u16,
    /// Size of the smallest packet that left the flight of the present path by being lost, in bytes; probes of the MTU apart.
    pub smallest_lost_size: Option<u16>,
}

impl Outcome {
    /// Makes it empty; keeps the memory.
    pub fn clear(&mut self) {
        let (mut acked, mut lost) = (std::mem::take(&mut self.acked), std::mem::take(&mut self.lost));
        acked.clear();
        lost.clear();
        *self = Self { acked, lost, ..Self::default() };
    }
}

/// Loss recovery of one connection.
#[derive(Clone, Debug)]
pub struct Recovery {
    config: RecoveryConfig,
    spaces: PerSpace<Space>,
    pto: Pto,
    episode: Episode,
    reordering: Reordering,
    generation: u32,
    in_flight: u64,
}

impl Recovery {
    /// Nothing was sent yet; the path has generation 0.
    pub fn new(config: RecoveryConfig) -> Self {
        Self {
            config,
            spaces: match config.single_space {
                true => PerSpace::single(Space::new(config.first_number)),
                false => PerSpace::new(|_| Space::new(config.first_number)),
            },
            pto: Pto::default(),
            episode: Episode::default(),
            reordering: Reordering::new(config.packet_threshold),
            generation: 0,
            in_flight: 0,
        }
    }

    /// The peer's transport parameters told its `max_ack_delay`.
    pub fn set_peer_max_ack_delay(&mut self, delay: Duration) {
        self.config.peer_max_ack_delay = delay;
    }

    /// The number for the next packet, 0 in a space that is over. It stays the same until [`on_sent`](Self::on_sent) is told of it.
    pub fn next_packet_number(&mut self, space: SpaceId, rng: &mut dyn Rng) -> PacketNumber {
        let skips = self.config.skip_numbers && space == SpaceId::Data;
        self.spaces.get_mut(space).map_or(0, |space| space.next_number(skips, rng))
    }

    /// The largest number that the peer acknowledged.
    pub fn largest_acked(&self, space: SpaceId) -> Option<PacketNumber> {
        self.spaces.get(space)?.largest_acked
    }

    /// Whether [`MAX_TRACKED`] numbers are unsettled: nothing may be sent in this space until the peer acknowledges something.
    pub fn is_full(&self, space: SpaceId) -> bool {
        self.spaces.get(space).is_some_and(Space::is_full)
    }

    /// A packet was sent. An ack-eliciting one pays for a probe that was owed.
    #[inline]
    pub fn on_sent(
        &mut self,
        now: Instant,
        space: SpaceId,
        number: PacketNumber,
        packet: SentPacket,
        cc: &mut dyn Controller,
    ) {
        let Some(space) = self.spaces.get_mut(space) else { return };
        if packet.ack_eliciting {
            self.pto.restart(now);
        }
        let mut mark = DeliveryMark::default();
        if packet.in_flight && packet.path == self.generation {
            self.in_flight += u64::from(packet.bytes);
            mark = cc.on_sent(now, u64::from(packet.bytes), self.in_flight, packet.drained);
        }
        space.on_sent(number, packet, mark);
    }

    /// An ACK frame came. `ranges` descend, as they do on the wire.
    ///
    /// # Errors
    /// `PROTOCOL_VIOLATION` if it acknowledges a packet that was never sent (RFC 9000 §13.1).
    pub fn on_ack(
        &mut self,
        now: Instant,
        space: SpaceId,
        ack: AckInfo,
        ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>,
        ctx: &mut Ctx<'_>,
        out: &mut Outcome,
    ) -> Result<(), TransportError> {
        let Some(state) = self.spaces.get(space) else { return Ok(()) };
        state.check_sent(&(ack.largest..=ack.largest))?;
        let acked = self.take_acked(space, ranges, ctx.rtt, out)?;
        let Some(state) = self.spaces.get_mut(space) else { return Ok(()) };
        out.largest_grew = state.largest_acked < Some(ack.largest);
        state.largest_acked = state.largest_acked.max(Some(ack.largest));
        let Some((newest_number, newest)) = acked.newest else { return Ok(()) };
        out.newest_acked = Some(newest);
        // A packet that is acknowledged before it was to leave was not held back until then, or its acknowledgement is made up.
        if newest_number == ack.largest && acked.eliciting && acked.newest_on_path && newest <= ack.received {
            // RFC 9002 §5.1: a sample only if "the largest acknowledged packet number is newly acknowledged, and at least one of the
            // newly acknowledged packets was ack-eliciting". §5.3: the delay of Initial packets MAY be ignored: it is not intended.
            let delay = if space == SpaceId::Initial { Duration::ZERO } else { ack.delay };
            let max = self.config.peer_max_ack_delay;
            // §5.3: where keys were not available "an endpoint SHOULD subtract such local delays from its RTT sample until the handshake is
            // confirmed"; later there are none.
            ctx.rtt.update(now, ack.received - newest, delay, max, ctx.situation.handshake_confirmed);
            out.rtt_sample = true;
        }
        for other in SpaceId::ALL.into_iter().filter(|other| *other != space) {
            if let Some(other) = self.spaces.get_mut(other) {
                other.break_run(newest);
            }
        }
        let mut sample = self.ack_sample(now, &acked, ctx);
        if let Some(sample) = &sample {
            ctx.cc.on_delivered(sample);
        }
        self.detect_lost(now, space, acked.bytes, ctx, out);
        out.spurious_losses += acked.spurious;
        if acked.undo {
            ctx.cc.on_spurious_congestion();
        }
        if let Some(sample) = &mut sample {
            sample.in_flight = self.in_flight;
            ctx.cc.on_ack(sample);
        }
        if ctx.situation.peer_completed_address_validation {
            // §6.2.1: "The PTO backoff factor is reset when an acknowledgment is received, except" by such an unsure client.
            self.pto.reset(now);
            self.spaces.iter_mut().for_each(|space| space.probes_owed = 0);
        } else {
            self.pto.restart(now);
        }
        Ok(())
    }

    /// The path's validation of ECN counts found that CE marks increased: one congestion event, dated by the newest packet that the
    /// ACK newly acknowledged ([`Outcome::newest_acked`]).
    pub fn on_ecn_ce(&mut self, now: Instant, newest_acked: Instant, cc: &mut dyn Controller) {
        self.episode.on_congestion(newest_acked, now);
        // Marks are no mistake of ours: they cannot turn out spurious.
        self.episode.make_genuine();
        let in_flight = self.in_flight;
        let sent = newest_acked;
        cc.on_congestion(&CongestionEvent {
            now,
            sent,
            lost_bytes: 0,
            persistent: false,
            ecn: true,
            in_flight,
            prior_in_flight: in_flight,
        });
    }

    /// The loss timer may have expired (calls that come early are harmless). Losses go to `out`; or a probe timeout expired, and
    /// [`probes_owed`](Self::probes_owed) tells what to send.
    pub fn on_timeout(&mut self, now: Instant, ctx: &mut Ctx<'_>, out: &mut Outcome) -> Option<Probe> {
        if let Some((time, space)) = self.earliest_loss() {
            if time <= now {
                self.detect_lost(now, space, 0, ctx, out);
            }
            return None;
        }
        let max_ack_delay = self.config.peer_max_ack_delay;
        let (deadline, target) = self.pto.deadline(&self.spaces, ctx.rtt, max_ack_delay, ctx.situation)?;
        if deadline > now {
            return None;
        }
        self.pto.back_off(now);
        for id in SpaceId::ALL {
            let Some(space) = self.spaces.get_mut(id) else { continue };
            // §6.2.4: one probe at least, two at most; and "the sender SHOULD send ack-eliciting packets from other packet number
            // spaces with in-flight data, coalescing packets if possible".
            let owed = match (id == target, space.eliciting > 0) {
                (true, true) => 2,
                (true, false) | (false, true) => 1,
                (false, false) => 0,
            };
            space.probes_owed = space.probes_owed.max(owed);
        }
        Some(Probe { space: target })
    }

    /// When to call [`on_timeout`](Self::on_timeout) (`SetLossDetectionTimer`, RFC 9002 A.8).
    pub fn deadline(&self, rtt: &Rtt, situation: Situation) -> Option<Instant> {
        // §6.2.1: "The PTO timer MUST NOT be set if a timer is set for time threshold loss detection".
        if let Some((time, _)) = self.earliest_loss() {
            return Some(time);
        }
        let pto = self.pto.deadline(&self.spaces, rtt, self.config.peer_max_ack_delay, situation)?;
        Some(pto.0)
    }

    /// How many ack-eliciting packets must be sent as probes in this space, whatever the congestion window says (RFC 9002 §7.5).
    pub fn probes_owed(&self, space: SpaceId) -> u8 {
        self.spaces.get(space).map_or(0, |space| space.probes_owed)
    }

    /// Nothing can or need be sent as a probe: none is owed any more.
    pub fn waive_probes(&mut self, space: SpaceId) {
        if let Some(space) = self.spaces.get_mut(space) {
            space.probes_owed = 0;
        }
    }

    /// Appends the tokens of the oldest outstanding packet that carried something worth repeating, for a probe without new data.
    pub fn probe_tokens(&self, space: SpaceId, out: &mut Vec<Token>) {
        let Some(space) = self.spaces.get(space) else { return };
        let useful = |token: &&Token| !matches!(token, Token::Ack { .. } | Token::MtuProbe(_) | Token::Early);
        let outstanding = space.ring.range(space.cursor..=u64::MAX);
        let oldest = outstanding
            .map(|(_, tracked)| &tracked.packet)
            .find(|packet| packet.ack_eliciting && packet.tokens.iter().any(|token| useful(&token)));
        if let Some(packet) = oldest {
            out.extend(packet.tokens.iter().filter(useful));
        }
    }

    /// The keys of this space were discarded: its packets can no longer be acknowledged, and are neither acknowledged nor lost.
    pub fn discard_space(&mut self, now: Instant, space: SpaceId) {
        // RFC 9002 §6.4: "The sender MUST discard all recovery state associated with those packets and MUST remove them from the
        // count of bytes in flight."
        let generation = self.generation;
        let mut flight = 0;
        if let Some(mut state) = self.spaces.discard(space) {
            state.forget(|tracked| flight += tracked.flight(generation));
            self.spaces.data_mut().ring.adopt(state.ring);
        }
        self.in_flight -= flight;
        self.pto.reset(now);
    }

    /// Retry (RFC 9002 §6.3), or early data was refused (§6.4): what was sent in `space` was not processed and has to be sent again,
    /// without that being congestion. Its tokens go to `out.lost`. Packet numbers go on (RFC 9000 §17.2.5.3).
    pub fn on_not_processed(&mut self, now: Instant, space: SpaceId, out: &mut Outcome) {
        let generation = self.generation;
        let mut flight = 0;
        let Some(space) = self.spaces.get_mut(space) else { return };
        space.forget(|tracked| {
            flight += tracked.flight(generation);
            if tracked.state == State::Outstanding {
                out.lost.extend_from_slice(&tracked.packet.tokens);
            }
        });
        self.in_flight -= flight;
        self.pto.reset(now);
    }

    /// The peer has shown by other means that it got the handshake: packets of `space` that carry nothing but handshake bytes need no
    /// acknowledgement any more. They are neither acknowledged nor lost, and none of their tokens comes back. Returns when the oldest of
    /// them was sent.
    pub fn forget_handshake(&mut self, now: Instant, space: SpaceId) -> Option<Instant> {
        let (generation, mut oldest) = (self.generation, None);
        let space = self.spaces.get_mut(space)?;
        let flight = space.remove_where(generation, |tracked| {
            let handshake = |token: &Token| matches!(token, Token::Crypto { .. } | Token::Ack { .. });
            let which = tracked.packet.in_flight && tracked.packet.tokens.iter().all(handshake);
            oldest = oldest.or(which.then_some(tracked.packet.time));
            which
        });
        self.in_flight -= flight;
        self.pto.reset(now);
        oldest
    }

    /// Packets go over another path from now on. Those sent on others no longer count in flight and tell nothing of RTT or congestion
    /// (RFC 9000 §9.4), but are still acknowledged and lost.
    pub fn on_path_change(&mut self, generation: u32) {
        self.generation = generation;
        self.episode.reset();
        self.reordering.reset();
        let packets = self.spaces.iter().flat_map(|space| space.ring.iter());
        self.in_flight = packets.map(|(_, tracked)| tracked.flight(generation)).sum();
        self.spaces.iter_mut().for_each(|space| space.run = None);
    }

    /// Gives back memory: of packets to come, and of those that nobody waits for, lone ACKs and losses that might be acknowledged late.
    pub fn rest(&mut self) {
        let generation = self.generation;
        for space in self.spaces.iter_mut() {
            // As long as anything is under way, losses may turn out to be none.
            if space.eliciting == 0 {
                space.remove_where(generation, |tracked| {
                    !tracked.packet.in_flight || tracked.state != State::Outstanding
                });
            }
            space.ring.shrink();
        }
    }

    /// Bytes of memory behind the record of what was sent.
    pub fn memory(&self) -> usize {
        self.spaces.memory() + self.spaces.iter().map(|space| space.ring.memory()).sum::<usize>()
    }

    /// Bytes in flight on the present path.
    pub fn bytes_in_flight(&self) -> u64 {
        self.in_flight
    }

    /// How many probe timeouts expired since the last acknowledgement.
    pub fn pto_count(&self) -> u32 {
        self.pto.count()
    }

    /// Whether an ack-eliciting packet is neither acknowledged nor lost.
    pub fn has_ack_eliciting_in_flight(&self, space: SpaceId) -> bool {
        self.spaces.get(space).is_some_and(|space| space.eliciting > 0)
    }

    fn earliest_loss(&self) -> Option<(Instant, SpaceId)> {
        SpaceId::ALL.into_iter().filter_map(|space| Some((self.spaces.get(space)?.loss_time?, space))).min()
    }

    /// Settles what `ranges` newly acknowledge.
    fn take_acked(
        &mut self,
        space: SpaceId,
        ranges: impl Iterator<Item = RangeInclusive<PacketNumber>>,
        rtt: &Rtt,
        out: &mut Outcome,
    ) -> Result<Acked, TransportError> {
        let mut acked = Acked::default();
        let generation = self.generation;
        let Some(space) = self.spaces.get_mut(space) else { return Ok(acked) };
        for range in ranges {
            let settle = |number, tracked| acked.settle(number, &tracked, generation, &mut self.episode, out);
            if !space.take_acked(range, settle)? {
                break;
            }
        }
        space.after_acks();
        if let Some(sent) = acked.newest_spurious {
            space.break_run(sent);
        }
        if let Some(Late { number, after, episode }) = acked.latest {
            let behind = space.largest_acked.map_or(0, |largest| space.ahead(number, largest));
            self.reordering.on_late(behind, after, episode, rtt);
        }
        self.in_flight -= acked.bytes;
        out.newly_acked_bytes += acked.bytes;
        Ok(acked)
    }

    /// `acked` bytes left the flight just now.
    fn detect_lost(
        &mut self,
        now: Instant,
        space: SpaceId,
        acked: u64,
        ctx: &mut Ctx<'_>,
        out: &mut Outcome,
    ) {
        let scan = Scan {
            now,
            rtt: ctx.rtt,
            reordering: self.reordering,
            max_ack_delay: self.config.peer_max_ack_delay,
            generation: self.generation,
        };
        let Some(space) = self.spaces.get_mut(space) else { return };
        let begun = self.episode.number();
        let Losses { flight, congestion_bytes, newest, persistent } =
            space.detect_lost(&scan, &mut self.episode, ctx.cc, out);
        space.forget_old_losses(&scan);
        self.in_flight -= flight;
        let Some(sent) = newest else { return };
        if persistent {
            self.episode.make_genuine();
            ctx.rtt.on_persistent_congestion();
        }
        if begun != self.episode.number() {
            self.reordering.on_congestion();
        }
        out.congestion = true;
        out.persistent |= persistent;
        let in_flight = self.in_flight;
        ctx.cc.on_congestion(&CongestionEvent {
            now,
            sent,
            lost_bytes: congestion_bytes,
            persistent,
            ecn: false,
            in_flight,
            prior_in_flight: in_flight + flight + acked,
        });
    }

    fn ack_sample(&self, now: Instant, acked: &Acked, ctx: &Ctx<'_>) -> Option<AckSample> {
        let Newest { sent, mark, .. } = acked.newest_in_flight?;
        Some(AckSample {
            now,
            bytes: acked.bytes,
            sent,
            in_flight: self.in_flight,
            mark,
            drained: ctx.drained,
            rtt: ctx.rtt.sample(),
        })
    }
}

#[cfg(test)]
mod tests;
