//! The frames of one packet, most urgent first: acknowledgement, handshake, the family's own, the engine's intents, stream data, PING.

use super::Ietf;
use super::wire::{ack, encode};
use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::intents::Intent;
use crate::engine::packet::PacketWriter;
use crate::engine::stats::FrameCounts;
use crate::id::{Level, SpaceId};
use crate::recovery::token::Token;
use crate::streams;
use crate::time::Instant;

/// At most this many ranges in one ACK frame: a few hundred bytes, enough for what honest reordering makes (RFC 9000 §13.2.3).
const MAX_ACK_RANGES: usize = 32;

/// Stream data below this size is not worth a frame at the end of a packet that carries something already.
const MIN_STREAM_ROOM: usize = 16;

impl Ietf {
    /// Writes what `level` has to say into `packet`, within the allowance.
    pub(super) fn assemble(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        level: Level,
        allowance: Allowance,
        packet: &mut PacketWriter<'_>,
    ) {
        let space = level.space();
        let allowed = match allowance {
            Allowance::Nothing | Allowance::AcksOnly => false,
            Allowance::Probes => engine.recovery.probes_owed(space) > 0,
            Allowance::Everything => true,
        };
        self.ack_frame(engine, now, level, packet);
        if !allowed {
            return;
        }
        self.crypto_frames(engine, space, packet);
        if level == Level::OneRtt {
            self.own_frames(engine, packet);
            intent_frames(engine, packet);
            if self.handshake.is_complete() {
                stream_frames(engine, packet);
            }
        }
        let probe = allowance == Allowance::Probes;
        if (engine.ping_owed(space) || probe) && !packet.ack_eliciting && packet.frame(None, encode::ping) {
            engine.stats.sent.frames.ping += 1;
        }
    }

    /// An acknowledgement rides along whenever there is something new to acknowledge.
    fn ack_frame(&mut self, engine: &mut Engine, now: Instant, level: Level, packet: &mut PacketWriter<'_>) {
        let space = level.space();
        let exponent = self.ack_delay_exponent;
        let Some(tracker) = engine.acks.get_mut(space).filter(|acks| acks.has_pending()) else { return };
        let Some(largest) = tracker.largest() else { return };
        let delay = if space == SpaceId::Data {
            tracker.delay(now).as_micros() as u64 >> exponent.min(20)
        } else {
            0
        };
        let ecn = tracker.ecn();
        if ack::encode_ack(&mut packet.frames, tracker.ranges(), delay, ecn, MAX_ACK_RANGES) {
            tracker.on_ack_sent();
            packet.tokens.push(Token::Ack { space, largest });
            engine.stats.sent.frames.ack += 1;
        }
    }

    fn crypto_frames(&mut self, engine: &mut Engine, space: SpaceId, packet: &mut PacketWriter<'_>) {
        let Some(stream) = self.handshake.stream(space) else { return };
        while let Some((offset, available)) = stream.peek() {
            let overhead = encode::crypto_overhead(offset, available);
            let Some(len) = packet.frames.remaining().checked_sub(overhead).map(|room| room.min(available))
            else {
                return;
            };
            if len == 0 {
                return;
            }
            encode::crypto_header(&mut packet.frames, offset, len);
            let Some(out) = packet.frames.reserve(len) else { return };
            stream.take(out);
            packet.tokens.push(Token::Crypto { space, offset, len: len as u32 });
            packet.ack_eliciting = true;
            engine.stats.sent.frames.crypto += 1;
        }
    }

    /// HANDSHAKE_DONE and NEW_TOKEN.
    fn own_frames(&mut self, engine: &mut Engine, packet: &mut PacketWriter<'_>) {
        if self.handshake_done_owed && packet.frame(Some(Token::HandshakeDone), encode::handshake_done) {
            self.handshake_done_owed = false;
            engine.stats.sent.frames.handshake_done += 1;
        }
        if self.new_token_owed
            && let Some(token) = &self.new_token
            && packet.frame(Some(Token::NewToken), |w| encode::new_token(w, token))
        {
            self.new_token_owed = false;
            engine.stats.sent.frames.new_token += 1;
        }
    }
}

/// The engine's intents as frames.
fn intent_frames(engine: &mut Engine, packet: &mut PacketWriter<'_>) {
    while let Some(intent) = engine.peek_intent() {
        let fits = packet.frames.attempt(|w| match intent {
            Intent::NewConnectionId(new) => {
                encode::new_connection_id(w, new.sequence, 0, &new.cid, &new.token);
            }
            Intent::RetireConnectionId(sequence) => encode::retire_connection_id(w, sequence),
            Intent::Stream(intent) => stream_intent(w, intent),
        });
        if !fits {
            return;
        }
        packet.ack_eliciting = true;
        count_intent(&mut engine.stats.sent.frames, &intent);
        packet.tokens.push(engine.take_intent(&intent));
    }
}

fn stream_intent(w: &mut crate::codec::Writer<'_>, intent: streams::Intent) {
    match intent {
        streams::Intent::MaxData(limit) => encode::max_data(w, limit),
        streams::Intent::MaxStreamData(id, limit) => encode::max_stream_data(w, id, limit),
        streams::Intent::MaxStreams(dir, limit) => encode::max_streams(w, dir, limit),
        streams::Intent::DataBlocked(limit) => encode::data_blocked(w, limit),
        streams::Intent::StreamDataBlocked(id, limit) => encode::stream_data_blocked(w, id, limit),
        streams::Intent::StreamsBlocked(dir, limit) => encode::streams_blocked(w, dir, limit),
        streams::Intent::ResetStream { id, code, final_size } => {
            encode::reset_stream(w, id, code, final_size);
        }
        streams::Intent::StopSending { id, code } => encode::stop_sending(w, id, code),
    }
}

fn count_intent(counts: &mut FrameCounts, intent: &Intent) {
    let count = match intent {
        Intent::NewConnectionId(_) => &mut counts.new_connection_id,
        Intent::RetireConnectionId(_) => &mut counts.retire_connection_id,
        Intent::Stream(intent) => match intent {
            streams::Intent::MaxData(_) => &mut counts.max_data,
            streams::Intent::MaxStreamData(..) => &mut counts.max_stream_data,
            streams::Intent::MaxStreams(..) => &mut counts.max_streams,
            streams::Intent::DataBlocked(_) => &mut counts.data_blocked,
            streams::Intent::StreamDataBlocked(..) => &mut counts.stream_data_blocked,
            streams::Intent::StreamsBlocked(..) => &mut counts.streams_blocked,
            streams::Intent::ResetStream { .. } => &mut counts.reset_stream,
            streams::Intent::StopSending { .. } => &mut counts.stop_sending,
        },
    };
    *count += 1;
}

/// Stream data, each byte copied once from the send buffer into the caller's slice.
fn stream_frames(engine: &mut Engine, packet: &mut PacketWriter<'_>) {
    while let Some(next) = engine.streams.peek_data() {
        let room = packet.frames.remaining();
        let without_len = encode::stream_overhead(next.id, next.offset, None);
        if room < without_len + usize::from(next.len > 0) || (packet.ack_eliciting && room < MIN_STREAM_ROOM)
        {
            return;
        }
        // A frame that takes all the room left needs no length (RFC 9000 §19.8).
        let fills = next.len >= room - without_len;
        let len = if fills {
            room - without_len
        } else {
            let with_len = encode::stream_overhead(next.id, next.offset, Some(next.len));
            next.len.min(room.saturating_sub(with_len))
        };
        if len == 0 && next.len > 0 {
            return;
        }
        let fin = next.fin && len == next.len;
        let explicit = if fills { None } else { Some(len) };
        encode::stream_header(&mut packet.frames, next.id, next.offset, explicit, fin);
        let Some(out) = packet.frames.reserve(len) else { return };
        let token = engine.streams.take_data(&next, len, out);
        packet.tokens.push(token);
        packet.ack_eliciting = true;
        engine.stats.sent.frames.stream += 1;
        if fills {
            return;
        }
    }
}
