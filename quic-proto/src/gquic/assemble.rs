//! The frames of one packet, most urgent first: acknowledgement, handshake; or acknowledgement, the engine's intents, stream data, PING.

use super::keys::Level;
use super::wire::error::ResetCode;
use super::wire::{ack, encode};
use super::{Gquic, close, start, stream_id};
use crate::codec::Writer;
use crate::engine::Engine;
use crate::engine::intents::Intent;
use crate::engine::packet::PacketWriter;
use crate::engine::stats::FrameCounts;
use crate::id::{SpaceId, StreamId};
use crate::recovery::token::Token;
use crate::streams;
use crate::time::Instant;

/// At most this many ranges in one ACK frame, as much as honest reordering makes.
const MAX_ACK_RANGES: usize = 64;
/// Stream data below this size is not worth a frame at the end of a packet that carries something already.
const MIN_STREAM_ROOM: usize = 16;
/// Chapter 5: after so many packets in a row that carried nothing but an ACK, a PING is added, so that the peer acknowledges them.
const MAX_ACK_ONLY: u8 = 19;

impl Gquic {
    /// An acknowledgement rides along whenever there is something new to acknowledge, unless the level of the packet is too low for it.
    pub(super) fn ack_frame(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        level: Level,
        packet: &mut PacketWriter<'_>,
    ) {
        let tracker = engine.acks.data_mut();
        if !tracker.has_pending() || self.keys.seen() > Some(level) {
            return;
        }
        let Some(largest) = tracker.largest() else { return };
        let delay = tracker.delay(now).as_micros() as u64;
        if ack::encode_ack(&mut packet.frames, tracker.ranges(), delay, MAX_ACK_RANGES) {
            tracker.on_ack_sent();
            packet.tokens.push(Token::Ack { space: SpaceId::Data, largest });
            engine.stats.sent.frames.ack += 1;
        }
    }

    /// Handshake bytes, in a frame that goes to the end of the packet.
    pub(super) fn crypto_frame(&mut self, engine: &mut Engine, packet: &mut PacketWriter<'_>) {
        let Some((offset, available)) = self.handshake.stream().peek() else { return };
        let overhead = encode::stream_overhead(stream_id::CRYPTO, offset, false);
        // Servers of RFC 9000 say what they speak only to datagrams of 1200 bytes, which is the size of ours here. A hello that nobody answered
        // may be for such a one. PADDING goes in front, since the handshake bytes go to the end.
        let unanswered = engine.side.is_client() && self.keys.seen().is_none();
        if unanswered && packet.number > start::FIRST_NUMBER {
            packet
                .pad_to(packet.frames.len() + packet.frames.remaining().saturating_sub(overhead + available));
        }
        let len = packet.frames.remaining().saturating_sub(overhead).min(available);
        if len == 0 {
            return;
        }
        encode::stream_header(&mut packet.frames, stream_id::CRYPTO, offset, None, false);
        let Some(out) = packet.frames.reserve(len) else { return };
        self.handshake.stream().take(out);
        packet.tokens.push(Token::Crypto { space: SpaceId::Data, offset, len: len as u32 });
        packet.ack_eliciting = true;
        engine.stats.sent.frames.crypto += 1;
    }

    /// Everything but handshake bytes, as far as `level` and the state of the handshake permit.
    pub(super) fn data_frames(
        &mut self,
        engine: &mut Engine,
        level: Level,
        probe: bool,
        packet: &mut PacketWriter<'_>,
    ) {
        if self.may_send_streams(level) {
            intent_frames(engine, packet);
            stream_frames(engine, packet);
        }
        let quiet = self.ack_only >= MAX_ACK_ONLY && !packet.tokens.is_empty();
        let wanted = engine.ping_owed(SpaceId::Data) || probe || quiet;
        if wanted && !packet.ack_eliciting && packet.frame(None, encode::ping) {
            engine.stats.sent.frames.ping += 1;
        }
        // Chapter 15, 13: "quic-go's server reads nothing below forward secure once it has seen the complete CHLO; … do not treat their loss
        // as congestion."
        if level == Level::Initial && packet.ack_eliciting {
            packet.tokens.push(Token::Early);
        }
        self.ack_only = if packet.ack_eliciting { 0 } else { self.ack_only.saturating_add(1) };
    }
}

/// The engine's intents as frames.
fn intent_frames(engine: &mut Engine, packet: &mut PacketWriter<'_>) {
    while let Some(intent) = engine.peek_intent() {
        let wish = match intent {
            Intent::Stream(wish) => frame_of(engine, wish),
            Intent::NewConnectionId(_) | Intent::RetireConnectionId(_) => None,
        };
        if let Some(wish) = wish {
            if !packet.frames.attempt(|w| wish.write(w)) {
                return;
            }
            packet.ack_eliciting = true;
            wish.count(&mut engine.stats.sent.frames);
        }
        packet.tokens.push(engine.take_intent(&intent));
    }
}

/// A frame about streams or limits.
#[derive(Clone, Copy)]
enum Wish {
    WindowUpdate { stream: u32, limit: u64 },
    Blocked { stream: u32 },
    RstStream { stream: u32, final_offset: u64, code: ResetCode, stops: bool },
}

impl Wish {
    fn write(self, w: &mut Writer<'_>) {
        match self {
            Self::WindowUpdate { stream, limit } => encode::window_update(w, stream, limit),
            Self::Blocked { stream } => encode::blocked(w, stream),
            Self::RstStream { stream, final_offset, code, .. } => {
                encode::rst_stream(w, stream, final_offset, code);
            }
        }
    }

    /// Counts the frame under the name that the IETF gives to what it does.
    fn count(self, counts: &mut FrameCounts) {
        let count = match self {
            Self::WindowUpdate { stream: stream_id::CONNECTION, .. } => &mut counts.max_data,
            Self::WindowUpdate { .. } => &mut counts.max_stream_data,
            Self::Blocked { stream: stream_id::CONNECTION } => &mut counts.data_blocked,
            Self::Blocked { .. } => &mut counts.stream_data_blocked,
            Self::RstStream { stops: true, .. } => &mut counts.stop_sending,
            Self::RstStream { .. } => &mut counts.reset_stream,
        };
        *count += 1;
    }
}

/// The frame for what a stream or flow control wants. There is none for limits of the number of streams; by the rules that this family gives
/// the engine, nobody asks for one.
fn frame_of(engine: &mut Engine, wish: streams::Intent) -> Option<Wish> {
    let wire = stream_id::to_wire;
    Some(match wish {
        streams::Intent::MaxData(limit) => Wish::WindowUpdate { stream: stream_id::CONNECTION, limit },
        streams::Intent::MaxStreamData(id, limit) => Wish::WindowUpdate { stream: wire(id), limit },
        streams::Intent::DataBlocked(_) => Wish::Blocked { stream: stream_id::CONNECTION },
        streams::Intent::StreamDataBlocked(id, _) => Wish::Blocked { stream: wire(id) },
        streams::Intent::ResetStream { id, code, final_size } => {
            // Chapter 9: "the peer answers with its own RST_STREAM, error 7 (RST_ACKNOWLEDGEMENT)".
            let answer = was_stopped(engine, id);
            let code = if answer { ResetCode::RST_ACKNOWLEDGEMENT } else { close::reset_code(code) };
            Wish::RstStream { stream: wire(id), final_offset: final_size, code, stops: false }
        }
        // Chapter 9: "Error 0 has its own meaning: "I do not need your data, but what I sent is complete" … The final offset in it is where
        // the sender's data ends."
        streams::Intent::StopSending { id, .. } => {
            let final_offset = engine.streams.end_of(id).unwrap_or(0);
            Wish::RstStream { stream: wire(id), final_offset, code: ResetCode::NO_ERROR, stops: true }
        }
        streams::Intent::MaxStreams(..) | streams::Intent::StreamsBlocked(..) => return None,
    })
}

/// Whether we give a stream up because the peer asked for it.
fn was_stopped(engine: &mut Engine, id: StreamId) -> bool {
    engine.streams.send_stream(id).is_ok_and(|mut stream| stream.stopped().is_some())
}

/// Stream data, each byte copied once from the send buffer into the caller's slice.
fn stream_frames(engine: &mut Engine, packet: &mut PacketWriter<'_>) {
    while let Some(next) = engine.streams.peek_data() {
        let stream = stream_id::to_wire(next.id);
        let room = packet.frames.remaining();
        let without_len = encode::stream_overhead(stream, next.offset, false);
        if room < without_len + usize::from(next.len > 0) || (packet.ack_eliciting && room < MIN_STREAM_ROOM)
        {
            return;
        }
        // A frame that takes all the room left needs no length; nor does the last one of a packet, but whether it is that is not known.
        let fills = next.len >= room - without_len;
        let len = if fills { room - without_len } else { next.len.min(room.saturating_sub(without_len + 2)) };
        if len == 0 && next.len > 0 {
            return;
        }
        let fin = next.fin && len == next.len;
        encode::stream_header(&mut packet.frames, stream, next.offset, (!fills).then_some(len), fin);
        let Some(out) = packet.frames.reserve(len) else { return };
        packet.tokens.push(engine.streams.take_data(&next, len, out));
        packet.ack_eliciting = true;
        engine.stats.sent.frames.stream += 1;
        if fills {
            return;
        }
    }
}
