//! Recorded connections of Google QUIC, read with our own parsers and with keys that we derive from the recorded private keys.
//!
//! Every datagram that an endpoint says it understood is matched with that line of the recording: header, packet number, level and frames
//! are the same, the handshake messages too, and every proof verifies. Each packet is then written again, and comes out byte for byte.
#![cfg(feature = "gquic")]

#[path = "gquic_replay/connection.rs"]
mod connection;
#[path = "gquic_replay/describe.rs"]
mod describe;

use connection::{Connection, Known};
use describe::{bytes, rebuild};
use quic_proto::codec::Writer;
use quic_proto::gquic::wire::header::{self, NONCE_LEN, TruncatedNumber, VERSION};
use quic_proto::gquic::wire::reset::PublicReset;
use quic_proto::gquic::wire::{Frames, LongType, negotiation};
use quic_proto::id::{Cid, Side};
use quic_proto::invariants::{Version, encode_packed_version_negotiation};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "testdata", "gquic", "traces"].iter().collect()
}

macro_rules! scenarios {
    ($($test:ident = $scenario:literal,)*) => {
        $(#[test] fn $test() { replay($scenario); })*

        #[test]
        fn every_recording_is_replayed() {
            let files = std::fs::read_dir(folder()).unwrap();
            let files: BTreeSet<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
            assert_eq!(files, BTreeSet::from([$(concat!($scenario, ".jsonl").to_owned()),*]));
        }
    };
}

scenarios! {
    bulk_download = "bulk-download",
    bulk_upload = "bulk-upload-1mb",
    connection_close = "connection-close",
    h2_requests = "h2-requests",
    zero_rtt_data = "handshake-0rtt-data",
    cached_scfg = "handshake-cached-scfg",
    echo_ecdsa = "handshake-echo-ecdsa",
    echo_rsa = "handshake-echo-rsa",
    stale_scfg = "handshake-stale-scfg",
    wrong_orbit = "handshake-wrong-orbit",
    keep_alive = "keep-alive",
    loss = "loss",
    many_streams = "many-streams",
    resets = "resets",
    server_streams = "server-streams",
    stream_reset = "stream-reset",
    version_downgrade = "version-downgrade",
    negotiation_public_header = "version-negotiation-public-header",
    version_negotiation = "version-negotiation",
}

fn replay(scenario: &str) {
    let text = std::fs::read_to_string(folder().join(format!("{scenario}.jsonl"))).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut replay = Replay::new(&lines);
    for line in &lines {
        replay.event(line);
    }
    let received = lines.iter().filter(|line| line["event"] == "packet_received");
    let (old, ours): (Vec<_>, Vec<_>) = received.partition(|line| line["header"]["form"] == "public");
    assert_eq!(replay.understood, ours.len());
    // After the forged negotiation of one scenario the peers go on in Q043.
    assert_eq!(old.len(), if scenario == "version-downgrade" { 2 } else { 0 });
    let resets = replay.on_the_wire[1].iter().filter(|datagram| is_reset(datagram)).count();
    assert_eq!(resets, lines.iter().filter(|line| line["event"] == "public_reset_sent").count());
    replay.known.check_proofs(&lines);
    assert!(replay.connections.values().all(Connection::all_messages_were_recorded));
}

/// Whether this is a public reset, in the shape that quic-go gives it.
fn is_reset(datagram: &[u8]) -> bool {
    let reset = PublicReset::parse(datagram);
    reset.is_some_and(|reset| reset.cid.is_none() && reset.rejected == 1 && reset.encode() == datagram)
}

/// A recording as far as it was read.
struct Replay {
    known: Known,
    connections: BTreeMap<Vec<u8>, Connection>,
    /// The datagrams that were sent by either end and not yet understood by the other.
    on_the_wire: [Vec<Vec<u8>>; 2],
    understood: usize,
}

impl Replay {
    fn new(lines: &[Value]) -> Self {
        let known = Known::new(lines);
        Self { known, connections: BTreeMap::new(), on_the_wire: [Vec::new(), Vec::new()], understood: 0 }
    }

    fn event(&mut self, line: &Value) {
        match line["event"].as_str().unwrap() {
            "datagram" => {
                let from = if line["dir"] == "c2s" { Side::Client } else { Side::Server };
                self.on_the_wire[from as usize].push(bytes(&line["hex"]));
            }
            "packet_received" if line["header"]["form"] != "public" => self.packet(line),
            "handshake_message" if line["direction"] == "received" => {
                if let Some(connection) = self.connections.get_mut(&bytes(&line["connection_id"])) {
                    connection.check_message(side(line), line);
                }
            }
            "version_negotiation_received" => self.negotiation(line),
            _ => {}
        }
    }

    /// One packet that an end understood: one of the datagrams on the wire opens and is what the line says.
    fn packet(&mut self, line: &Value) {
        let from = !side(line);
        let cid = bytes(&line["connection_id"]);
        let connection = self.connections.entry(cid.clone()).or_insert_with(|| Connection::new(cid));
        let candidates = &mut self.on_the_wire[from as usize];
        let found = candidates.iter().position(|datagram| {
            datagram.len() as u64 == line["size"]
                && Packet::parse(datagram, from).is_some_and(|packet| packet.header_is(&line["header"]))
                && understands(connection, from, datagram, line)
        });
        let datagram = candidates.remove(found.unwrap_or_else(|| panic!("no datagram opens as {line}")));
        let plain = open(connection, from, &datagram, line).unwrap();
        let number = line["packet_number"].as_u64().unwrap();
        connection.on_frames(from, number, &plain, &mut self.known);
        self.understood += 1;
    }

    fn negotiation(&mut self, line: &Value) {
        let supported: Vec<u64> =
            line["supported"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect();
        let listed = |packet: &Vec<u8>| {
            let read = negotiation::parse(packet)?;
            let versions: Vec<Version> = read.versions.clone().map(Version).collect();
            let same = versions.iter().map(|version| u64::from(version.0)).eq(supported.iter().copied());
            // It is written again as it came.
            let mut buffer = [0; 100];
            let len = if packet[0] & 0x80 != 0 {
                let numbers: Vec<_> = versions.iter().map(|version| version.0).collect();
                encode_packed_version_negotiation(&mut buffer, packet[0], &read.dcid, &read.scid, &numbers)?
            } else {
                let mut w = Writer::new(&mut buffer);
                negotiation::encode_public(&mut w, read.scid.first_chunk()?, &versions);
                w.len()
            };
            (same && buffer[..len] == packet[..]).then_some(())
        };
        assert!(
            self.on_the_wire[1].iter().any(|packet| listed(packet).is_some()),
            "no datagram lists {line}"
        );
    }
}

fn side(line: &Value) -> Side {
    if line["side"] == "client" { Side::Client } else { Side::Server }
}

fn understands(connection: &Connection, from: Side, datagram: &[u8], line: &Value) -> bool {
    open(connection, from, datagram, line).is_some()
}

/// Opens a datagram at the level that the line names, checks it against the line, and writes it again. `None` if it does not open.
fn open(connection: &Connection, from: Side, datagram: &[u8], line: &Value) -> Option<Vec<u8>> {
    let packet = Packet::parse(datagram, from)?;
    let number = packet.number.expand(connection.largest(from));
    if number != line["packet_number"] {
        return None;
    }
    let key = connection.key(line["level"].as_str()?, from, packet.nonce.as_ref())?;
    let (head, body) = datagram.split_at(packet.len);
    let mut body = body.to_vec();
    let len = key.open(number, head, &mut body).ok()?;
    let plain = &body[..len];

    let frames: Vec<_> = Frames::new(plain).map(Result::unwrap).collect();
    let described: Vec<_> = frames.iter().map(describe::frame).collect();
    let recorded = line["frames"].as_array().unwrap();
    assert_eq!(described, recorded.iter().map(describe::without_layout).collect::<Vec<_>>());

    let mut again = vec![0; datagram.len()];
    let mut w = Writer::new(&mut again);
    packet.write(&mut w, number);
    rebuild(&mut w, &frames, recorded);
    assert_eq!(w.remaining(), key.tag_len());
    key.seal(number, &mut again, packet.len);
    assert_eq!(again, datagram, "written again: {line}");
    Some(plain.to_vec())
}

/// A header of either form.
struct Packet {
    kind: Option<LongType>,
    dcid: Cid,
    scid: Cid,
    number: TruncatedNumber,
    nonce: Option<[u8; NONCE_LEN]>,
    len: usize,
}

impl Packet {
    fn parse(datagram: &[u8], from: Side) -> Option<Self> {
        if let Ok(long) = header::parse_long(datagram, from) {
            let header::LongHeader { kind, dcid, scid, number, nonce, len } = long;
            return Some(Self { kind: Some(kind), dcid, scid, number, nonce: nonce.copied(), len });
        }
        let header::ShortHeader { dcid, number, len } = header::parse_short(datagram, from).ok()?;
        Some(Self { kind: None, dcid, scid: Cid::EMPTY, number, nonce: None, len })
    }

    fn header_is(&self, json: &Value) -> bool {
        let kind = match self.kind {
            Some(LongType::Initial) => "INITIAL",
            Some(LongType::Handshake) => "HANDSHAKE",
            Some(LongType::ZeroRtt) => "ZERO_RTT",
            None => "",
        };
        let long = self.kind.is_none()
            || json["type"] == kind && json["version"] == VERSION.0 && *self.scid == bytes(&json["scid"])[..];
        let nonce = json.get("diversification_nonce").map(bytes);
        long && json["form"] == if self.kind.is_some() { "long" } else { "short" }
            && *self.dcid == bytes(&json["dcid"])[..]
            && json["packet_number_len"] == self.number.len
            && self.nonce.map(Vec::from) == nonce
    }

    fn write(&self, w: &mut Writer<'_>, number: u64) {
        match self.kind {
            Some(kind) => header::encode_long(w, kind, &self.dcid, &self.scid, number, self.nonce.as_ref()),
            None => header::encode_short(w, &self.dcid, number, self.number.len),
        }
    }
}
