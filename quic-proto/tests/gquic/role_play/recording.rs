//! A recording, taken apart: connections, their packets opened, and what each end said on each stream.

use super::actor::{Said, note};
use crate::describe::{bytes, without_layout};
use quic_proto::crypto::PacketKey;
use quic_proto::gquic::crypto::aead12::Aes128Gcm12;
use quic_proto::gquic::crypto::null_aead::NullAead;
use quic_proto::gquic::wire::header::{self, LongType, NONCE_LEN};
use quic_proto::gquic::wire::message::Tag;
use quic_proto::gquic::wire::{Frame, Frames};
use quic_proto::id::Side;
use quic_proto::invariants::Version;
use quic_proto::time::{Duration, Instant};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::path::PathBuf;

/// Where the recordings are.
pub(super) fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "testdata", "gquic", "traces"].iter().collect()
}

/// The tags of a handshake message with their values, as they were on the wire.
pub(super) type Tags = Vec<(Tag, Vec<u8>)>;

pub(super) fn value(tags: &Tags, tag: Tag) -> &[u8] {
    tags.iter().find(|(known, _)| *known == tag).map_or(&[], |(_, value)| value)
}

pub(super) struct Recording {
    lines: Vec<Value>,
    pub(super) connections: Vec<Connection>,
    /// What the server said that was no packet: negotiations and public resets.
    pub(super) asides: Vec<Vec<u8>>,
}

/// One connection of a recording.
pub(super) struct Connection {
    pub(super) cid: Vec<u8>,
    /// Of another version: its packets are not opened.
    pub(super) foreign: bool,
    pub(super) packets: Vec<Packet>,
    /// What each end said in the handshake, indexed by the end.
    pub(super) messages: [Vec<Tags>; 2],
}

/// What an end sent.
pub(super) struct Packet {
    pub(super) at: Instant,
    pub(super) from: Side,
    pub(super) kind: Option<LongType>,
    /// The payload.
    pub(super) plain: Vec<u8>,
    pub(super) datagram: Vec<u8>,
    /// The same in the words of the recording.
    said: Said,
}

/// What an end said on a stream.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Spoken {
    pub(crate) data: Vec<u8>,
    pub(crate) fin: bool,
    /// Code and final offset of an `RST_STREAM`.
    pub(crate) reset: Option<(u32, u64)>,
}

impl fmt::Debug for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, len) = (&self.data[..self.data.len().min(20)], self.data.len());
        write!(f, "{start:x?}… of {len} bytes, fin {}, reset {:?}", self.fin, self.reset)
    }
}

impl Spoken {
    pub(super) fn put(&mut self, offset: u64, data: &[u8], fin: bool) {
        let end = offset as usize + data.len();
        self.data.resize(end.max(self.data.len()), 0);
        self.data[offset as usize..end].copy_from_slice(data);
        self.fin |= fin;
    }
}

impl Recording {
    pub(super) fn load(scenario: &str) -> Self {
        let text = std::fs::read_to_string(folder().join(format!("{scenario}.jsonl"))).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut recording = Self { lines: Vec::new(), connections: Vec::new(), asides: Vec::new() };
        let keys = keys(&lines);
        let mut unsent: [VecDeque<&Value>; 2] = Default::default();
        for line in &lines {
            match line["event"].as_str().unwrap() {
                "packet_sent" => unsent[side(line) as usize].push_back(line),
                "datagram" if line["injected"].is_null() => {
                    let from = if line["dir"] == "c2s" { Side::Client } else { Side::Server };
                    let sent = &mut unsent[from as usize];
                    match sent.front().filter(|sent| sent["size"] == line["len"]) {
                        Some(line_of_packet) => recording.packet(line_of_packet, bytes(&line["hex"]), &keys),
                        None => {
                            recording.asides.push(bytes(&line["hex"]));
                            continue;
                        }
                    }
                    sent.pop_front();
                }
                "handshake_message" if line["direction"] == "sent" => {
                    let cid = bytes(&line["connection_id"]);
                    recording.connection(cid).messages[side(line) as usize].push(tags(line));
                }
                _ => {}
            }
        }
        assert!(unsent.iter().all(VecDeque::is_empty));
        recording.connections.sort_by_key(|connection| connection.packets[0].at);
        Self { lines, ..recording }
    }

    fn connection(&mut self, cid: Vec<u8>) -> &mut Connection {
        let known = self.connections.iter().position(|connection| connection.cid == cid);
        let at = known.unwrap_or_else(|| {
            let messages = [Vec::new(), Vec::new()];
            self.connections.push(Connection { cid, foreign: false, packets: Vec::new(), messages });
            self.connections.len() - 1
        });
        &mut self.connections[at]
    }

    fn packet(&mut self, line: &Value, datagram: Vec<u8>, keys: &[Aes128Gcm12]) {
        let (from, header) = (side(line), &line["header"]);
        let connection = self.connection(bytes(&line["connection_id"]));
        let at = time(line);
        if header["form"] == "public" || (header["form"] == "long" && header["version"] != Version::Q044.0) {
            connection.foreign = true;
        }
        let level = line["level"].as_str().unwrap().to_owned();
        let (kind, plain) = if connection.foreign {
            (None, Vec::new())
        } else {
            open(from, &datagram, line["packet_number"].as_u64().unwrap(), level == "null", keys)
        };
        let frames = line["frames"].as_array().unwrap().iter().map(without_layout).collect();
        let kind_in_words = header["type"].as_str().unwrap_or("short").to_owned();
        let said = Said { kind: kind_in_words, level, size: datagram.len(), frames, alone: true };
        connection.packets.push(Packet { at, from, kind, plain, datagram, said });
    }

    /// The lines about an event.
    pub(super) fn events<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.lines.iter().filter(move |line| line["event"] == event)
    }

    /// The server's config at a time: it has another one after it was restarted. And how often that had happened.
    pub(super) fn config_at(&self, at: Instant) -> (usize, &Value) {
        let before = self.events("server_config").take_while(|line| time(line) < at);
        before.enumerate().last().expect("there is a config from the start")
    }

    /// The private key of a public one.
    pub(super) fn private(&self, public: &[u8]) -> [u8; 32] {
        let pair = self.events("x25519_keypair").find(|pair| bytes(&pair["public"]) == public).unwrap();
        bytes(&pair["private"]).try_into().unwrap()
    }
}

impl Connection {
    pub(super) fn starts(&self) -> Instant {
        self.packets[0].at
    }

    /// Where each message of an end begins in stream 1.
    pub(super) fn message_starts(&self, of: Side) -> Vec<u64> {
        let mut end = 0;
        let starts = self.messages[of as usize].iter().map(|tags| {
            let len = 8 + tags.iter().map(|(_, value)| 8 + value.len() as u64).sum::<u64>();
            end += len;
            end - len
        });
        starts.collect()
    }

    /// The nonce in the header of the server's hello.
    pub(super) fn diversification(&self) -> Option<[u8; NONCE_LEN]> {
        let mut servers = self.packets.iter().filter(|packet| packet.from.is_server());
        servers.find_map(|packet| header::parse_long(&packet.datagram, Side::Server).ok()?.nonce.copied())
    }

    /// All frames of an end, in order.
    pub(super) fn frames(&self, from: Side) -> impl Iterator<Item = Frame<'_>> {
        let packets = self.packets.iter().filter(move |packet| packet.from == from);
        packets.flat_map(|packet| Frames::new(&packet.plain)).map(Result::unwrap)
    }

    /// When an end sent PINGs.
    pub(super) fn pings(&self, from: Side) -> impl Iterator<Item = Instant> {
        let pings =
            |packet: &&Packet| Frames::new(&packet.plain).any(|frame| matches!(frame, Ok(Frame::Ping)));
        self.packets.iter().filter(move |packet| packet.from == from && pings(packet)).map(|packet| packet.at)
    }

    /// What an end said on each stream but that of the handshake.
    pub(super) fn spoken(&self, from: Side) -> BTreeMap<u32, Spoken> {
        let mut spoken = BTreeMap::<u32, Spoken>::new();
        for frame in self.frames(from) {
            match frame {
                Frame::Stream { stream: 1, .. } => {}
                Frame::Stream { stream, offset, data, fin } => {
                    spoken.entry(stream).or_default().put(offset, data, fin);
                }
                Frame::RstStream { stream, final_offset, code } => {
                    spoken.entry(stream).or_default().reset = Some((code.0, final_offset));
                }
                _ => {}
            }
        }
        spoken
    }

    /// What an end sent: type, level, size and frames of each packet, without acknowledgements (when to send one is everybody's own choice)
    /// and what was sent again.
    pub(super) fn said(&self, from: Side) -> Vec<Said> {
        let mut said = Vec::new();
        for packet in self.packets.iter().filter(|packet| packet.from == from) {
            note(&mut said, packet.said.clone());
        }
        said
    }
}

fn side(line: &Value) -> Side {
    if line["side"] == "client" { Side::Client } else { Side::Server }
}

fn time(line: &Value) -> Instant {
    Instant::from_millis(1) + Duration::from_micros(line["t_us"].as_u64().unwrap())
}

fn tags(message: &Value) -> Tags {
    let tags = message["tags"].as_array().unwrap().iter();
    tags.map(|tag| {
        let name: [u8; 4] = bytes(&tag["tag_hex"]).try_into().unwrap();
        let len = tag["len"].as_u64().unwrap() as usize;
        (Tag::new(name), tag.get("value").map_or_else(|| vec![0; len], bytes))
    })
    .collect()
}

/// All keys that were derived, for whatever connection, level and direction.
fn keys(lines: &[Value]) -> Vec<Aes128Gcm12> {
    let derived = lines.iter().filter(|line| line["event"] == "key_derivation");
    derived
        .flat_map(|line| ["client", "server"].map(|end| (line, end)))
        .filter_map(|(line, end)| {
            let [key, iv] = ["key", "iv"].map(|what| bytes(&line[format!("{end}_write_{what}")]));
            Some(Aes128Gcm12::new(&key.try_into().ok()?, iv.try_into().ok()?))
        })
        .collect()
}

/// The type and the payload of a packet.
fn open(
    from: Side,
    datagram: &[u8],
    number: u64,
    null: bool,
    keys: &[Aes128Gcm12],
) -> (Option<LongType>, Vec<u8>) {
    let long = header::parse_long(datagram, from).ok();
    let len = long.as_ref().map(|long| long.len);
    let len = len.unwrap_or_else(|| header::parse_short(datagram, from).unwrap().len);
    let (head, body) = datagram.split_at(len);
    let open_with = |key: &dyn PacketKey| {
        let mut body = body.to_vec();
        let len = key.open(number, head, &mut body).ok()?;
        Some(body[..len].to_vec())
    };
    let plain =
        if null { open_with(&NullAead::new(from)) } else { keys.iter().find_map(|key| open_with(key)) };
    (long.map(|long| long.kind), plain.expect("one of the keys opens it"))
}
