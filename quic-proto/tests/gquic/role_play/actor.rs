//! The end that is played: it seals what it is told to say, and opens and collects what it hears.

use super::recording::Spoken;
use crate::common::{ONE, address};
use crate::describe::frame;
use quic_proto::codec::Writer;
use quic_proto::crypto::PacketKey;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::gquic::crypto::aead12::Aes128Gcm12;
use quic_proto::gquic::crypto::kdf::KeyMaterial;
use quic_proto::gquic::crypto::null_aead::NullAead;
use quic_proto::gquic::wire::header::{self, LongType, NONCE_LEN};
use quic_proto::gquic::wire::{Frame, Frames, Message, ack::encode_ack, encode};
use quic_proto::id::{Cid, Side};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::time::{Duration, Instant};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

const TAG: usize = 12;

/// A packet, in the words of the recordings.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Said {
    pub(crate) kind: String,
    pub(crate) level: String,
    pub(crate) size: usize,
    pub(crate) frames: Vec<Value>,
    /// No acknowledgement was beside the frames.
    pub(crate) alone: bool,
}

impl Said {
    /// Rejections are as long as what the server is free in, and what follows them on stream 1 is where it is for that reason.
    pub(crate) fn without_lengths(mut self) -> Self {
        let rejection = self.level == "null";
        for frame in self.frames.iter_mut().filter(|frame| frame["stream_id"] == 1) {
            frame["offset"] = Value::Null;
            if rejection {
                frame["data_len"] = Value::Null;
            }
        }
        self.alone &= !rejection;
        self
    }
}

/// Adds a packet, but for acknowledgements and what was said before.
pub(crate) fn note(all: &mut Vec<Said>, mut packet: Said) {
    let count = packet.frames.len();
    packet.frames.retain(|frame| frame["type"] != "ACK");
    let again = all.iter().any(|before| before.frames == packet.frames && before.kind == packet.kind);
    if packet.frames.is_empty() || (again && packet.frames[0]["type"] == "STREAM") {
        return;
    }
    packet.alone = packet.frames.len() == count;
    all.push(packet);
}

/// The keys of a level: the client's and the server's.
pub(crate) type Keys = (Aes128Gcm12, Aes128Gcm12);

pub(crate) fn pair(keys: &KeyMaterial) -> Keys {
    (keys.client_key(), keys.server_key())
}

/// What was heard of the end that is not played.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) packets: Vec<Said>,
    /// Frames but those of streams, acknowledgements, window updates and PING, which everybody sends when it likes.
    pub(crate) others: BTreeSet<String>,
    pub(crate) pings: Vec<Instant>,
    pub(crate) streams: BTreeMap<u32, Spoken>,
    pub(crate) crypto: Vec<u8>,
    /// Type and level of the first packet with the byte at an offset of stream 1.
    pub(crate) crypto_at: BTreeMap<u64, (String, String)>,
    numbers: BTreeSet<u64>,
    owes_ack: bool,
}

impl Heard {
    /// The handshake messages that came so far.
    pub(crate) fn messages(&self) -> Vec<Message<'_>> {
        let (mut rest, mut messages) = (&self.crypto[..], Vec::new());
        while let Some(message) = Message::parse(rest).unwrap() {
            rest = &rest[message.len()..];
            messages.push(message);
        }
        messages
    }

    /// Type and level of each message, and where it begins.
    pub(crate) fn message_places(&self) -> Vec<(String, String)> {
        let mut end = 0;
        let starts = self.messages().into_iter().map(|message| {
            end += message.len() as u64;
            end - message.len() as u64
        });
        starts.map(|start| self.crypto_at[&start].clone()).collect()
    }

    fn largest(&self) -> u64 {
        self.numbers.last().copied().unwrap_or(0)
    }

    /// What came, the highest first.
    fn ranges(&self) -> Vec<RangeInclusive<u64>> {
        let mut ranges: Vec<RangeInclusive<u64>> = Vec::new();
        for number in self.numbers.iter().rev().copied() {
            match ranges.last_mut().filter(|range| *range.start() == number + 1) {
                Some(range) => *range = number..=*range.end(),
                None => ranges.push(number..=number),
            }
        }
        ranges
    }

    fn take(&mut self, parsed: &Frame<'_>, at: Instant, (kind, level): (&str, &str)) {
        self.owes_ack |= parsed.is_ack_eliciting();
        match *parsed {
            Frame::Stream { stream: 1, offset, data, .. } => {
                let end = offset as usize + data.len();
                self.crypto.resize(end.max(self.crypto.len()), 0);
                self.crypto[offset as usize..end].copy_from_slice(data);
                self.crypto_at.entry(offset).or_insert_with(|| (kind.to_owned(), level.to_owned()));
            }
            Frame::Stream { stream, offset, data, fin } => {
                self.streams.entry(stream).or_default().put(offset, data, fin);
            }
            Frame::Ping => self.pings.push(at),
            Frame::RstStream { stream, final_offset, code } => {
                self.streams.entry(stream).or_default().reset = Some((code.0, final_offset));
            }
            Frame::Ack(_) | Frame::WindowUpdate { .. } => {}
            _ => {
                self.others.insert(without_words(parsed));
            }
        }
    }
}

pub(crate) struct Actor {
    side: Side,
    pub(crate) cid: Cid,
    number: u64,
    /// Where its next message goes in stream 1.
    offset: u64,
    pub(crate) undiversified: Option<KeyMaterial>,
    pub(crate) initial: Option<Keys>,
    pub(crate) secure: Option<Keys>,
    /// A client sends forward-secure packets from the place on at which it did so then: the server takes no others after them.
    pub(crate) rises: bool,
    pub(crate) heard: Heard,
    /// The other end's connection, if that is a server's.
    pub(crate) accepted: Option<ConnectionHandle>,
    pub(crate) now: Instant,
}

impl Actor {
    pub(crate) fn new(side: Side, cid: &[u8], now: Instant) -> Self {
        Self {
            side,
            cid: Cid::new(cid).unwrap(),
            number: 0,
            offset: 0,
            undiversified: None,
            initial: None,
            secure: None,
            rises: false,
            heard: Heard::default(),
            accepted: None,
            now,
        }
    }

    pub(crate) fn side(&self) -> Side {
        self.side
    }

    /// A packet with these frames.
    pub(crate) fn packet(
        &mut self,
        kind: Option<LongType>,
        nonce: Option<&[u8; NONCE_LEN]>,
        frames: &[u8],
    ) -> Vec<u8> {
        self.number += 1;
        let mut out = vec![0; 80 + frames.len()];
        let mut w = Writer::new(&mut out);
        let (dcid, scid) =
            if self.side.is_client() { (self.cid, Cid::EMPTY) } else { (Cid::EMPTY, self.cid) };
        match kind {
            Some(kind) => header::encode_long(&mut w, kind, &dcid, &scid, self.number, nonce),
            None => header::encode_short(&mut w, &dcid, self.number, 2),
        }
        let head = w.len();
        w.bytes(frames);
        let len = w.len() + TAG;
        out.truncate(len);
        let null = NullAead::new(self.side);
        let undiversified = self.undiversified.as_ref().map(KeyMaterial::client_key);
        let key: &dyn PacketKey = match kind {
            None => of(self.secure.as_ref().expect("the handshake is over"), self.side),
            Some(LongType::ZeroRtt) => match &self.initial {
                Some(keys) => of(keys, self.side),
                None => undiversified.as_ref().expect("a complete hello was said"),
            },
            Some(_) => &null,
        };
        key.seal(self.number, &mut out, head);
        out
    }

    /// The next handshake message as frames of packets.
    pub(crate) fn crypto_frames(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        let pieces = message.chunks(1150);
        pieces
            .map(|piece| {
                let frame = stream_frame(1, self.offset, piece, false);
                self.offset += piece.len() as u64;
                frame
            })
            .collect()
    }

    /// An acknowledgement of all that came, if one is owed and there is a level for it.
    pub(crate) fn ack(&mut self) -> Option<Vec<u8>> {
        let level = if self.secure.is_some() && (self.rises || self.side.is_server()) {
            None
        } else if self.initial.is_some() && self.side.is_client() {
            Some(LongType::ZeroRtt)
        } else if self.initial.is_none() && self.undiversified.is_none() {
            Some(LongType::Handshake)
        } else {
            return None;
        };
        if !std::mem::take(&mut self.heard.owes_ack) {
            return None;
        }
        let mut out = vec![0; 1000];
        let mut w = Writer::new(&mut out);
        assert!(encode_ack(&mut w, self.heard.ranges().into_iter(), 100, usize::MAX));
        let len = w.len();
        out.truncate(len);
        Some(self.packet(level, None, &out))
    }

    /// Gives a datagram to the end that is not played.
    pub(crate) fn say(&mut self, end: &mut Endpoint, mut payload: Vec<u8>) {
        self.now += Duration::from_micros(50);
        end.handle_datagram(
            self.now,
            Datagram { path: FourTuple::to(address(1)), ecn: None, payload: &mut payload },
        );
    }

    /// The next datagram of the end that is not played.
    pub(crate) fn poll(&mut self, end: &mut Endpoint) -> Option<Vec<u8>> {
        while let Some(incoming) = end.poll_incoming() {
            self.accepted = Some(end.accept(self.now, incoming).unwrap());
        }
        let mut buf = [0; 1500];
        let transmit = end.poll_transmit(self.now, &mut buf, ONE)?;
        Some(buf[..transmit.len].to_vec())
    }

    /// Opens a packet, and keeps what it says.
    pub(crate) fn hear(&mut self, mut packet: Vec<u8>) {
        let (from, size) = (!self.side, packet.len());
        let (kind, number, len, nonce) = if packet[0] & 0x80 != 0 {
            let long = header::parse_long(&packet, from).unwrap();
            let kind = match long.kind {
                LongType::Initial => "INITIAL",
                LongType::Handshake => "HANDSHAKE",
                LongType::ZeroRtt => "ZERO_RTT",
            };
            (kind, long.number, long.len, long.nonce.copied())
        } else {
            let short = header::parse_short(&packet, from).unwrap();
            ("short", short.number, short.len, None)
        };
        if let (Some(nonce), Some(keys)) = (nonce, &self.undiversified) {
            self.initial = Some(pair(&keys.diversify(&nonce)));
        }
        let number = number.expand(self.heard.largest());
        let (head, body) = packet.split_at_mut(len);
        let null = NullAead::new(from);
        let undiversified = self.undiversified.as_ref().map(KeyMaterial::client_key);
        let levels: [(&'static str, Option<&dyn PacketKey>); 4] = [
            ("forward_secure", self.secure.as_ref().map(|keys| of(keys, from) as &dyn PacketKey)),
            ("initial", self.initial.as_ref().map(|keys| of(keys, from) as &dyn PacketKey)),
            ("initial", undiversified.as_ref().map(|key| key as &dyn PacketKey)),
            ("null", Some(&null)),
        ];
        let mut open = |(level, key): (&'static str, Option<&dyn PacketKey>)| {
            Some((level, key?.open(number, head, body).ok()?))
        };
        let opened = levels.into_iter().find_map(&mut open);
        let (level, len) = opened.unwrap_or_else(|| panic!("packet {number} cannot be opened"));
        self.heard.numbers.insert(number);
        let mut frames = Vec::new();
        for parsed in Frames::new(&body[..len]) {
            let parsed = parsed.unwrap();
            self.heard.take(&parsed, self.now, (kind, level));
            frames.push(frame(&parsed));
        }
        let said = Said { kind: kind.to_owned(), level: level.to_owned(), size, frames, alone: true };
        note(&mut self.heard.packets, said);
    }
}

/// The key of one direction.
fn of(keys: &Keys, sender: Side) -> &Aes128Gcm12 {
    if sender.is_client() { &keys.0 } else { &keys.1 }
}

/// A frame as the recordings describe it; but everybody has his own words for what the protocol does not permit.
pub(crate) fn without_words(parsed: &Frame<'_>) -> String {
    let mut described = frame(parsed);
    if let Frame::ConnectionClose { code, .. } = parsed
        && code.name().is_some()
    {
        described["reason"] = Value::Null;
    }
    described.to_string()
}

/// A frame that is the last of its packet.
pub(crate) fn stream_frame(stream: u32, offset: u64, data: &[u8], fin: bool) -> Vec<u8> {
    let mut out = vec![0; 20 + data.len()];
    let mut w = Writer::new(&mut out);
    encode::stream_header(&mut w, stream, offset, None, fin);
    w.bytes(data);
    let len = w.len();
    out.truncate(len);
    out
}
