//! Fills one datagram: which levels have something to say, coalesced into as few packets as there are levels (RFC 9000 §12.2), the last of them
//! padded where the datagram must be large (§14.1).

use super::Ietf;
use super::wire::encode;
use super::wire::header::{self, LongKind};
use crate::codec::{Writer, packet_number};
use crate::crypto::header_protection;
use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::lifecycle::{CloseFrame, sent_reason};
use crate::engine::packet::PacketWriter;
use crate::engine::probes::Probe;
use crate::error::{TransportError, TransportErrorCode};
use crate::id::{Cid, Level, SpaceId};
use crate::recovery::AckTracker;
use crate::time::Instant;

/// RFC 9000 §14.1: the smallest UDP payload of a datagram that carries an Initial packet which must be acknowledged.
pub(super) const MIN_INITIAL_DATAGRAM: usize = 1200;

/// A further packet is only started where at least this much room is left: a long header with two ids of 20 bytes, a tag, some frames.
const WORTHWHILE: usize = 128;

const LEVELS: [Level; 3] = [Level::Initial, Level::Handshake, Level::OneRtt];

/// A packet whose header is written: what its sealing needs.
#[derive(Clone, Copy, Debug)]
struct Open {
    level: Level,
    number: u64,
    number_at: usize,
    number_len: usize,
    length_at: Option<usize>,
}

impl Ietf {
    /// Writes one datagram into `out`. Returns its length; zero if there is nothing to send within the allowance.
    pub(super) fn fill(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        out: &mut [u8],
        allowance: Allowance,
    ) -> usize {
        let mut at = 0;
        let mut expand = false;
        // Once the handshake is confirmed there is but the last level.
        let levels = if engine.confirmed { &LEVELS[2..] } else { &LEVELS[..] };
        for &level in levels {
            if out.len() - at < WORTHWHILE || !self.wants_to_send_at(engine, level, allowance) {
                continue;
            }
            let last = level == Level::OneRtt
                || !LEVELS
                    .iter()
                    .any(|later| *later > level && self.wants_to_send_at(engine, *later, allowance));
            let len = self.packet(engine, now, &mut out[at..], level, allowance, |used, must_pad| {
                // RFC 9000 §14.1: "A client MUST expand the payload of all UDP datagrams carrying Initial packets to at least the
                // smallest allowed maximum datagram size of 1200 bytes"; a server those with ack-eliciting Initial packets.
                // Coalescing counts.
                expand |= level == Level::Initial && must_pad;
                let full = at + used + WORTHWHILE > MIN_INITIAL_DATAGRAM;
                if expand && (last || full) { MIN_INITIAL_DATAGRAM.saturating_sub(at) } else { 0 }
            });
            at += len;
        }
        at
    }

    /// Writes one packet. `pad_to` gives, from the packet's length so far, the length that it must reach.
    // Not within the loop over levels, which has one turn once the handshake is over: what would be prepared for the others is not needed.
    #[inline(never)]
    fn packet(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        out: &mut [u8],
        level: Level,
        allowance: Allowance,
        pad_to: impl FnOnce(usize, bool) -> usize,
    ) -> usize {
        let space = level.space();
        if level == Level::OneRtt && self.keys.needs_update() {
            // The check has said that it can be done.
            let _ = self.update_keys();
        }
        let tag_len = self.keys.tag_len(level);
        let number = engine.recovery.next_packet_number(space, &mut *engine.rng);
        let room = out.len().saturating_sub(tag_len);
        let mut writer = Writer::new(&mut out[..room]);
        let spin = engine.paths.active().spin.value();
        let open = self.header(engine, &mut writer, level, number, (engine.peer_cids.current(), spin));
        let header_len = writer.len();
        let mut packet = PacketWriter::new(writer, number);
        self.assemble(engine, now, level, allowance, &mut packet);
        if packet.frames.len() == header_len {
            return 0;
        }
        let must_pad = packet.ack_eliciting || engine.side.is_client();
        let target = pad_to(packet.frames.len() + tag_len, must_pad).saturating_sub(tag_len);
        // RFC 9001 §5.4.2: the sample starts four bytes behind the start of the number: "at least 4 bytes longer than the sample".
        packet.pad_to(target.max(open.number_at + 4));
        let (sent, len) = packet.finish();
        let end = len + tag_len;
        if !self.seal(engine, &mut out[..end], open) {
            return 0;
        }
        engine.on_packet_sent(space, sent, end, engine.paths.active().generation);
        if level == Level::Handshake && engine.side.is_client() {
            // RFC 9001 §4.9.1: "a client MUST discard Initial keys when it first sends a Handshake packet".
            self.discard_space(engine, SpaceId::Initial);
        }
        end
    }

    /// Writes the header of a packet to this id, with this spin bit if it has one.
    #[inline]
    fn header(
        &self,
        engine: &Engine,
        writer: &mut Writer<'_>,
        level: Level,
        number: u64,
        (dcid, spin): (Cid, bool),
    ) -> Open {
        let number_len = packet_number::encoded_len(number, engine.recovery.largest_acked(level.space()));
        let kind = match level {
            Level::Initial => LongKind::Initial,
            Level::ZeroRtt => LongKind::ZeroRtt,
            Level::Handshake => LongKind::Handshake,
            Level::OneRtt => {
                let number_at =
                    header::encode_short(writer, &dcid, spin, self.keys.key_phase(), number, number_len);
                return Open { level, number, number_at, number_len, length_at: None };
            }
        };
        let token = if level == Level::Initial { &self.token[..] } else { &[] };
        let layout = header::encode_long(
            writer,
            self.spec,
            kind,
            (&dcid, &self.local_scid),
            token,
            number,
            number_len,
        );
        Open { level, number, number_at: layout.number_at, number_len, length_at: Some(layout.length_at) }
    }

    /// Seals and masks a packet. `false` if its keys may not be used any more; then the connection is closed.
    fn seal(&mut self, engine: &mut Engine, packet: &mut [u8], open: Open) -> bool {
        if let Some(at) = open.length_at {
            let len = (packet.len() - open.number_at) as u16;
            packet[at..at + 2].copy_from_slice(&(0x4000 | len).to_be_bytes());
        }
        if self.keys.seal(open.level, open.number, packet, open.number_at + open.number_len).is_err() {
            // RFC 9001 §6.6: without a key update in time "endpoints MUST stop using those keys".
            Self::fail(
                engine,
                TransportError::new(TransportErrorCode::AEAD_LIMIT_REACHED, "the packet keys are used up"),
            );
            return false;
        }
        if let Some(key) = self.keys.header_key_local(open.level) {
            header_protection::protect(key, packet, open.number_at, open.number_len);
        }
        true
    }

    /// Whether [`fill`](Self::fill) would write anything, if nothing limited it: a level has something to say, or owes a probe.
    pub(super) fn has_something_to_send(&self, engine: &mut Engine) -> bool {
        engine.has_probe_owed()
            || LEVELS.iter().any(|level| self.wants_to_send_at(engine, *level, Allowance::Everything))
    }

    /// Whether a packet of `level` would carry anything within the allowance.
    fn wants_to_send_at(&self, engine: &mut Engine, level: Level, allowance: Allowance) -> bool {
        let space = level.space();
        if !self.keys.can_seal(level) {
            return false;
        }
        if engine.recovery.is_full(space) {
            return false;
        }
        if engine.acks.get(space).is_some_and(AckTracker::ack_owed) {
            return true;
        }
        let allowed = match allowance {
            Allowance::Nothing | Allowance::AcksOnly => false,
            Allowance::Probes => return engine.recovery.probes_owed(space) > 0,
            Allowance::Everything => true,
        };
        allowed
            && (self.data_owed(engine, level)
                || engine.ping_owed(space)
                || self.handshake.wants_to_send(space))
    }

    /// Writes a datagram that probes a path or its MTU.
    pub(super) fn fill_probe(&mut self, engine: &mut Engine, out: &mut [u8], probe: &Probe) -> usize {
        let level = Level::OneRtt;
        let number = engine.recovery.next_packet_number(SpaceId::Data, &mut *engine.rng);
        let tag_len = self.keys.tag_len(level);
        let mut writer = Writer::new(&mut out[..probe.size - tag_len]);
        let open = self.header(engine, &mut writer, level, number, (probe.dcid, probe.spin));
        let mut packet = PacketWriter::new(writer, number);
        let counts = &mut engine.stats.sent.frames;
        if let Some(data) = probe.challenge {
            packet.frame(None, |w| encode::path_challenge(w, &data));
            counts.path_challenge += 1;
        }
        if let Some(data) = probe.response {
            packet.frame(None, |w| encode::path_response(w, &data));
            counts.path_response += 1;
        }
        if let Some(token) = probe.token {
            packet.frame(Some(token), encode::ping);
            counts.ping += 1;
        }
        packet.pad_to(probe.size);
        let (sent, len) = packet.finish();
        let end = len + tag_len;
        if !self.seal(engine, &mut out[..end], open) {
            return 0;
        }
        engine.on_packet_sent(SpaceId::Data, sent, end, probe.generation);
        end
    }

    /// Writes a datagram that closes the connection, in every level that the peer may be able to read (RFC 9000 §10.2.3).
    pub(super) fn fill_close(&mut self, engine: &mut Engine, out: &mut [u8]) -> usize {
        let Some(frame) = engine.lifecycle.owed_frame().cloned() else { return 0 };
        let mut at = 0;
        let confirmed = engine.confirmed;
        for level in LEVELS {
            if !self.keys.can_seal(level)
                || (confirmed && level != Level::OneRtt)
                || out.len() - at < WORTHWHILE
            {
                continue;
            }
            let tag_len = self.keys.tag_len(level);
            let number = engine.recovery.next_packet_number(level.space(), &mut *engine.rng);
            let packet = &mut out[at..];
            let room = packet.len() - tag_len;
            let mut writer = Writer::new(&mut packet[..room]);
            let spin = engine.paths.active().spin.value();
            let open = self.header(engine, &mut writer, level, number, (engine.peer_cids.current(), spin));
            close_frame(&mut writer, &frame, level);
            // A client's Initial goes in a datagram of full size (§14.1), a short packet must be long enough for its sample.
            let client_initial = level == Level::Initial && engine.side.is_client();
            let target = if client_initial { MIN_INITIAL_DATAGRAM - tag_len } else { open.number_at + 4 };
            writer.zeros(target.saturating_sub(writer.len()).min(writer.remaining()));
            let (sent, len) = PacketWriter::new(writer, number).finish();
            let end = len + tag_len;
            if !self.seal(engine, &mut packet[..end], open) {
                break;
            }
            engine.on_packet_sent(level.space(), sent, end, engine.paths.active().generation);
            engine.stats.sent.frames.connection_close += 1;
            at += end;
        }
        engine.lifecycle.frame_sent();
        at
    }
}

/// CONNECTION_CLOSE as `level` permits it.
fn close_frame(w: &mut Writer<'_>, frame: &CloseFrame, level: Level) {
    match frame {
        CloseFrame::Transport(error) => {
            let reason = sent_reason(error.reason.as_bytes());
            encode::connection_close(w, error.code, error.frame.unwrap_or(0), reason);
        }
        // RFC 9000 §10.2.3: "A CONNECTION_CLOSE of type 0x1d MUST be replaced by a CONNECTION_CLOSE of type 0x1c when sending the frame in
        // Initial or Handshake packets. Otherwise, information about the application state might be revealed. Endpoints MUST clear the
        // value of the Reason Phrase field and SHOULD use the APPLICATION_ERROR code".
        CloseFrame::Application { .. } if level != Level::OneRtt => {
            encode::connection_close(w, TransportErrorCode::APPLICATION_ERROR, 0, b"");
        }
        CloseFrame::Application { code, reason } => {
            encode::application_close(w, *code, sent_reason(reason));
        }
    }
}
