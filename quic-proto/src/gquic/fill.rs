//! Fills one datagram, which is one packet of one level: handshake bytes at theirs, everything else at the highest.

use super::keys::{Level, TAG_LEN};
use super::wire::encode;
use super::wire::header::{self, LongType};
use super::{Gquic, close, handshake, log};
use crate::codec::Writer;
use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::lifecycle::sent_reason;
use crate::engine::packet::{PacketWriter, Sent};
use crate::engine::probes::Probe;
use crate::id::{Cid, PacketNumber, SpaceId};
use crate::time::Instant;

/// A packet whose header is written.
#[derive(Clone, Copy)]
struct Open {
    level: Level,
    number: PacketNumber,
    header_len: usize,
}

impl Gquic {
    /// Writes one datagram into `out`. Returns its length; zero if there is nothing to send within the allowance.
    pub(super) fn fill(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        out: &mut [u8],
        allowance: Allowance,
    ) -> usize {
        if engine.recovery.is_full(SpaceId::Data) {
            return 0;
        }
        let probe = allowance == Allowance::Probes;
        let allowed = probe || allowance == Allowance::Everything;
        // Without an answer to what was said last there is nothing else worth a probe; two in a row make it likelier that one comes.
        if probe && !self.handshake.wants_to_send() {
            self.handshake.stream().rewind();
        }
        if allowed && self.handshake.wants_to_send() {
            let level = self.handshake.level();
            return self.packet(engine, out, level, |family, engine, packet| {
                // A hello must not be split, and an ACK of a few ranges leaves room for it.
                if handshake::leaves_room_for_hello(engine) {
                    family.ack_frame(engine, now, level, packet);
                }
                family.crypto_frame(engine, packet);
            });
        }
        let level = self.level(engine);
        self.packet(engine, out, level, |family, engine, packet| {
            family.ack_frame(engine, now, level, packet);
            if allowed {
                family.data_frames(engine, level, probe, packet);
            }
        })
    }

    /// Whether [`fill`](Self::fill) would write anything, if nothing limited it.
    pub(super) fn has_something_to_send(&self, engine: &mut Engine) -> bool {
        if engine.recovery.is_full(SpaceId::Data) {
            return false;
        }
        let streams = self.may_send_streams(self.level(engine));
        (streams && engine.streams.can_send())
            || engine.acks.data().ack_owed()
            || engine.has_probe_owed()
            || self.handshake.wants_to_send()
            || engine.ping_owed(SpaceId::Data)
            || (streams && engine.peek_intent().is_some())
    }

    /// Writes one packet with the frames that `assemble` gives it.
    fn packet(
        &mut self,
        engine: &mut Engine,
        out: &mut [u8],
        level: Level,
        assemble: impl FnOnce(&mut Self, &mut Engine, &mut PacketWriter<'_>),
    ) -> usize {
        let number = engine.recovery.next_packet_number(SpaceId::Data, &mut *engine.rng);
        let room = out.len().saturating_sub(TAG_LEN);
        let mut writer = Writer::new(&mut out[..room]);
        let open = self.header(engine, &mut writer, level, number);
        let mut packet = PacketWriter::new(writer, number);
        assemble(self, engine, &mut packet);
        if packet.frames.len() == open.header_len {
            return 0;
        }
        let (sent, len) = packet.finish();
        let generation = engine.paths.active().generation;
        self.seal(engine, &mut out[..len + TAG_LEN], open, sent, generation)
    }

    /// Writes a datagram that probes a path or its MTU: a PING, whose acknowledgement is the answer. Only for the MTU its size matters.
    pub(super) fn fill_probe(&mut self, engine: &mut Engine, out: &mut [u8], probe: &Probe) -> usize {
        let level = self.keys.highest();
        let number = engine.recovery.next_packet_number(SpaceId::Data, &mut *engine.rng);
        let mut writer = Writer::new(&mut out[..probe.size - TAG_LEN]);
        let open = self.header(engine, &mut writer, level, number);
        let mut packet = PacketWriter::new(writer, number);
        packet.frame(probe.token, encode::ping);
        engine.stats.sent.frames.ping += 1;
        if probe.token.is_some() {
            packet.pad_to(probe.size);
        }
        let (sent, len) = packet.finish();
        self.seal(engine, &mut out[..len + TAG_LEN], open, sent, probe.generation)
    }

    /// Writes the packet that closes the connection, at the highest level that there is (chapter 11).
    pub(super) fn fill_close(&mut self, engine: &mut Engine, out: &mut [u8]) -> usize {
        let Some(frame) = engine.lifecycle.owed_frame().cloned() else { return 0 };
        let level = self.keys.highest();
        let number = engine.recovery.next_packet_number(SpaceId::Data, &mut *engine.rng);
        let room = out.len() - TAG_LEN;
        let mut writer = Writer::new(&mut out[..room]);
        let open = self.header(engine, &mut writer, level, number);
        let (code, reason) = close::frame(&frame);
        encode::connection_close(&mut writer, code, sent_reason(reason));
        engine.stats.sent.frames.connection_close += 1;
        let (sent, len) = PacketWriter::new(writer, number).finish();
        engine.lifecycle.frame_sent();
        let generation = engine.paths.active().generation;
        self.seal(engine, &mut out[..len + TAG_LEN], open, sent, generation)
    }

    fn header(&self, engine: &Engine, writer: &mut Writer<'_>, level: Level, number: PacketNumber) -> Open {
        let client = engine.side.is_client();
        if level == Level::ForwardSecure {
            let dcid = if client { self.cid } else { Cid::EMPTY };
            let least = engine.recovery.largest_acked(SpaceId::Data).map_or(1, |largest| largest + 1);
            header::encode_short(writer, &dcid, number, header::short_number_len(number, least));
        } else {
            let (dcid, scid) = if client { (self.cid, Cid::EMPTY) } else { (Cid::EMPTY, self.cid) };
            let kind = match level {
                Level::Initial => LongType::ZeroRtt,
                // Chapter 2.1: the client's very first packet and its retransmissions: "as soon as anything of the server arrived the
                // first packet is not repeated".
                _ if client && self.keys.seen().is_none() => LongType::Initial,
                _ => LongType::Handshake,
            };
            let nonce = self.nonce.as_ref().filter(|_| level == Level::Initial && !client);
            header::encode_long(writer, kind, &dcid, &scid, number, nonce);
        }
        Open { level, number, header_len: writer.len() }
    }

    /// Seals a packet, remembers it, and returns its length.
    fn seal(
        &mut self,
        engine: &mut Engine,
        packet: &mut [u8],
        open: Open,
        sent: Sent,
        generation: u32,
    ) -> usize {
        let Open { level, number, header_len } = open;
        let size = packet.len();
        log::packet(log::Way::Sent, number, size, level, &packet[header_len..size - TAG_LEN]);
        self.keys.seal(level, number, packet, header_len);
        self.sent_levels.on_sent(level, number);
        engine.on_packet_sent(SpaceId::Data, sent, size, generation);
        size
    }
}
