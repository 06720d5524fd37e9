//! A recorded connection played again, with one of its ends replaced by ours: the other end says what it said then, and ours, given the
//! same random numbers, says what its predecessor said, but where the description leaves it free. Those places are
//! [`CLIENT_IS_FREE`] and [`SERVER_IS_FREE`]; everything else must be the same.
//!
//! What ours does differently changes what is signed and what keys are made of, so that the other end seals its part anew, with keys from
//! the recorded private ones, and proves itself with a certificate of the test's.

use crate::common::{ONE, address};
use crate::describe::{bytes, frame, without_layout};
use crate::support::{client, server, trust};
use quic_proto::codec::Writer;
use quic_proto::config::{EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::connection::Connection;
use quic_proto::crypto::PacketKey;
use quic_proto::crypto::rustls::Identity;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::AppError;
use quic_proto::gquic::crypto::aead12::Aes128Gcm12;
use quic_proto::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use quic_proto::gquic::crypto::null_aead::NullAead;
use quic_proto::gquic::crypto::x25519::PrivateKey;
use quic_proto::gquic::crypto::{certs, fnv};
use quic_proto::gquic::wire::header::{self, LongType, NONCE_LEN};
use quic_proto::gquic::wire::message::{Builder, Message, Tag, tags};
use quic_proto::gquic::wire::{Frame, Frames, ack::encode_ack, encode};
use quic_proto::gquic::{self, ProofSource};
use quic_proto::id::{Cid, Dir, Side};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::{Rng, SeededRng};
use quic_proto::time::{Duration, Instant, UnixTime};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// Tags of the client that may be missing or have another value: no common certificate sets are known here, which makes the padding longer;
/// the certificate is another one, and so is its hash.
const CLIENT_IS_FREE: &[Tag] = &[tags::PAD, Tag::new(*b"CCS\0"), tags::XLCT];
/// Tags of the server that may be missing or have another value: nobody needs quic-go's name; tokens are the server's own matter; so are
/// certificate and proof. Configs expire, so that SCFG is compared but for that.
const SERVER_IS_FREE: &[Tag] = &[Tag::new(*b"SVID"), tags::STK, tags::PROF, tags::CRT, tags::SCFG];

const TAG: usize = 12;
const HOST: &str = "example.com";

/// A recording.
struct Recording(Vec<Value>);

type Tags = Vec<(Tag, Vec<u8>)>;

impl Recording {
    fn load(scenario: &str) -> Self {
        let path = format!("{}/testdata/gquic/traces/{scenario}.jsonl", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        Self(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    fn events<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |line| line["event"] == event)
    }

    fn cid(&self) -> Vec<u8> {
        bytes(&self.events("handshake_message").next().unwrap()["connection_id"])
    }

    /// The handshake messages of one side, tag by tag.
    fn messages(&self, side: &str) -> Vec<Tags> {
        let sent = self.events("handshake_message").filter(|m| m["side"] == side && m["direction"] == "sent");
        sent.map(|message| {
            let tags = message["tags"].as_array().unwrap().iter();
            tags.map(|tag| {
                let name: [u8; 4] = bytes(&tag["tag_hex"]).try_into().unwrap();
                let len = tag["len"].as_u64().unwrap() as usize;
                (Tag::new(name), tag.get("value").map_or_else(|| vec![0; len], bytes))
            })
            .collect()
        })
        .collect()
    }

    /// The private key of a public one.
    fn private(&self, public: &[u8]) -> [u8; 32] {
        let pair = self.events("x25519_keypair").find(|pair| bytes(&pair["public"]) == public).unwrap();
        bytes(&pair["private"]).try_into().unwrap()
    }

    /// The nonce in the header of the server's hello.
    fn diversification(&self) -> [u8; NONCE_LEN] {
        let nonces = self.events("packet_sent").map(|sent| bytes(&sent["header"]["diversification_nonce"]));
        nonces.into_iter().find(|nonce| !nonce.is_empty()).unwrap().try_into().unwrap()
    }

    /// What a side sent: type, level, size and frames of each packet, without acknowledgements (when to send one is everybody's own choice)
    /// and what was sent again.
    fn packets(&self, side: &str) -> Vec<Said> {
        let mut said: Vec<Said> = Vec::new();
        for sent in self.events("packet_sent").filter(|sent| sent["side"] == side) {
            let frames: Vec<Value> = sent["frames"].as_array().unwrap().iter().map(without_layout).collect();
            let kind = sent["header"]["type"].as_str().unwrap_or("short").to_owned();
            let level = sent["level"].as_str().unwrap().to_owned();
            let size = sent["size"].as_u64().unwrap() as usize;
            note(&mut said, Said { kind, level, size, frames, alone: true });
        }
        said
    }
}

/// A packet, in the words of the recordings.
#[derive(Clone, PartialEq, Debug)]
struct Said {
    kind: String,
    level: String,
    size: usize,
    frames: Vec<Value>,
    /// No acknowledgement was beside the frames.
    alone: bool,
}

impl Said {
    /// Rejections are as long as what the server is free in, and what follows them on stream 1 is where it is for that reason.
    fn without_lengths(mut self) -> Self {
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

fn note(all: &mut Vec<Said>, mut packet: Said) {
    let count = packet.frames.len();
    packet.frames.retain(|frame| frame["type"] != "ACK");
    let again = all.iter().any(|before| before.frames == packet.frames && before.kind == packet.kind);
    if packet.frames.is_empty() || (again && packet.frames[0]["type"] == "STREAM") {
        return;
    }
    packet.alone = packet.frames.len() == count;
    all.push(packet);
}

/// The same packets, of the same sizes where there was no acknowledgement in them. quic-go leaves the length of the last frame out, which we
/// do only where it fills a packet.
fn same_packets(said: &[Said], recorded: &[Said]) {
    let parts = |said: &[Said]| -> Vec<_> {
        said.iter().map(|said| (said.kind.clone(), said.level.clone(), said.frames.clone())).collect()
    };
    assert_eq!(parts(said), parts(recorded));
    for (said, recorded) in said.iter().zip(recorded).filter(|(said, _)| said.alone) {
        assert!([recorded.size, recorded.size + 2].contains(&said.size), "{said:?}: not {}", recorded.size);
    }
}

/// The random numbers of the recording, by their lengths, and others when those are used up.
#[derive(Clone)]
struct Scripted {
    script: Arc<Mutex<BTreeMap<usize, VecDeque<Vec<u8>>>>>,
    rest: Arc<Mutex<SeededRng>>,
}

impl Scripted {
    fn new() -> Self {
        Self { script: Arc::default(), rest: Arc::new(Mutex::new(SeededRng::from_u64(1))) }
    }

    /// From now on these come.
    fn expect(&self, numbers: &[&[u8]]) {
        for number in numbers {
            self.script.lock().unwrap().entry(number.len()).or_default().push_back(number.to_vec());
        }
    }
}

impl Rng for Scripted {
    fn fill(&mut self, dest: &mut [u8]) {
        match self.script.lock().unwrap().get_mut(&dest.len()).and_then(VecDeque::pop_front) {
            Some(number) => dest.copy_from_slice(&number),
            None => self.rest.lock().unwrap().fill(dest),
        }
    }

    fn child(&mut self) -> Box<dyn Rng> {
        Box::new(self.clone())
    }

    fn next_u64(&mut self) -> u64 {
        self.rest.lock().unwrap().next_u64()
    }
}

/// The keys of a level: the client's and the server's.
type Keys = (Aes128Gcm12, Aes128Gcm12);

/// The end that is played.
struct Actor {
    side: Side,
    cid: Cid,
    number: u64,
    /// Where its next message goes in stream 1.
    offset: u64,
    undiversified: Option<KeyMaterial>,
    initial: Option<Keys>,
    secure: Option<Keys>,
    /// What the other end said.
    heard: Vec<Said>,
    largest: u64,
    crypto: Vec<u8>,
    streams: Vec<u8>,
    now: Instant,
}

impl Actor {
    fn new(side: Side, cid: &[u8]) -> Self {
        Self {
            side,
            cid: Cid::new(cid).unwrap(),
            number: 0,
            offset: 0,
            undiversified: None,
            initial: None,
            secure: None,
            heard: Vec::new(),
            largest: 0,
            crypto: Vec::new(),
            streams: Vec::new(),
            now: Instant::from_millis(1),
        }
    }

    /// A packet with these frames.
    fn packet(&mut self, kind: Option<LongType>, nonce: Option<&[u8; NONCE_LEN]>, frames: &[u8]) -> Vec<u8> {
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
        let keys = match kind {
            None => self.secure.as_ref(),
            Some(LongType::ZeroRtt) => self.initial.as_ref(),
            Some(_) => None,
        };
        let key: &dyn PacketKey = keys.map_or(&null, |keys| of(keys, self.side));
        key.seal(self.number, &mut out, head);
        out
    }

    /// The next handshake message as a frame.
    fn crypto_frame(&mut self, message: &[u8]) -> Vec<u8> {
        let frame = stream_frame(1, self.offset, message);
        self.offset += message.len() as u64;
        frame
    }

    /// Everything up to the largest number is acknowledged.
    fn ack(&self) -> Vec<u8> {
        let mut out = vec![0; 100];
        let mut w = Writer::new(&mut out);
        assert!(encode_ack(&mut w, [1..=self.largest].into_iter(), 100, usize::MAX));
        let len = w.len();
        out.truncate(len);
        out
    }

    /// Gives packets to the end that is not played, and listens.
    fn say(&mut self, end: &mut Endpoint, packets: Vec<Vec<u8>>) {
        for mut payload in packets {
            self.now += Duration::from_millis(1);
            let path = FourTuple::to(address(1));
            end.handle_datagram(self.now, Datagram { path, ecn: None, payload: &mut payload });
        }
        self.listen(end);
    }

    fn listen(&mut self, end: &mut Endpoint) {
        while let Some(incoming) = end.poll_incoming() {
            let _: ConnectionHandle = end.accept(self.now, incoming).unwrap();
        }
        let mut buf = [0; 1500];
        while let Some(transmit) = end.poll_transmit(self.now, &mut buf, ONE) {
            self.hear(&mut buf[..transmit.len].to_vec());
        }
    }

    fn hear(&mut self, packet: &mut [u8]) {
        let (from, size) = (!self.side, packet.len());
        let (kind, number, len, nonce) = if packet[0] & 0x80 != 0 {
            let long = header::parse_long(packet, from).unwrap();
            let kind = match long.kind {
                LongType::Initial => "INITIAL",
                LongType::Handshake => "HANDSHAKE",
                LongType::ZeroRtt => "ZERO_RTT",
            };
            (kind, long.number, long.len, long.nonce.copied())
        } else {
            let short = header::parse_short(packet, from).unwrap();
            ("short", short.number, short.len, None)
        };
        if let (Some(nonce), Some(keys)) = (nonce, &self.undiversified) {
            let keys = keys.diversify(&nonce);
            self.initial = Some((keys.client_key(), keys.server_key()));
        }
        let number = number.expand(self.largest);
        let (head, body) = packet.split_at_mut(len);
        let null = NullAead::new(from);
        let levels: [(&'static str, Option<&dyn PacketKey>); 3] = [
            ("forward_secure", self.secure.as_ref().map(|keys| of(keys, from) as &dyn PacketKey)),
            ("initial", self.initial.as_ref().map(|keys| of(keys, from) as &dyn PacketKey)),
            ("null", Some(&null)),
        ];
        let mut open = |(level, key): (&'static str, Option<&dyn PacketKey>)| {
            Some((level, key?.open(number, head, body).ok()?))
        };
        let opened = levels.into_iter().find_map(&mut open);
        let (level, len) = opened.unwrap_or_else(|| panic!("packet {number} cannot be opened"));
        self.largest = self.largest.max(number);
        let mut frames = Vec::new();
        for parsed in Frames::new(&body[..len]) {
            let parsed = parsed.unwrap();
            if let Frame::Stream { stream, offset, data, .. } = parsed {
                let known = if stream == 1 { &mut self.crypto } else { &mut self.streams };
                known.resize(known.len().max(offset as usize + data.len()), 0);
                known[offset as usize..][..data.len()].copy_from_slice(data);
            }
            frames.push(frame(&parsed));
        }
        let said = Said { kind: kind.to_owned(), level: level.to_owned(), size, frames, alone: true };
        note(&mut self.heard, said);
    }

    /// The messages that came so far.
    fn messages(&self) -> Vec<Vec<u8>> {
        let (mut rest, mut messages) = (&self.crypto[..], Vec::new());
        while let Some(message) = Message::parse(rest).unwrap() {
            rest = &rest[message.len()..];
            messages.push(message.bytes().to_vec());
        }
        messages
    }
}

/// The key of one direction.
fn of(keys: &Keys, sender: Side) -> &Aes128Gcm12 {
    if sender.is_client() { &keys.0 } else { &keys.1 }
}

fn stream_frame(stream: u32, offset: u64, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 20 + data.len()];
    let mut w = Writer::new(&mut out);
    encode::stream_header(&mut w, stream, offset, None, false);
    w.bytes(data);
    let len = w.len();
    out.truncate(len);
    out
}

/// A recorded message, with other values in some places.
fn message(tag: Tag, recorded: &Tags, changes: &[(Tag, Vec<u8>)]) -> Vec<u8> {
    let mut message = Builder::new(tag);
    for (tag, value) in recorded {
        let change = changes.iter().find(|(changed, _)| changed == tag);
        message.put(*tag, change.map_or_else(|| value.clone(), |(_, value)| value.clone()));
    }
    message.finish()
}

fn value(tags: &Tags, tag: Tag) -> &[u8] {
    tags.iter().find(|(known, _)| *known == tag).map_or(&[], |(_, value)| value)
}

/// What was said is what was recorded, but for the tags in `free`.
fn same_message(said: &[u8], recorded: &Tags, free: &[Tag]) {
    let said = Message::parse_whole(said).unwrap();
    for (tag, value) in said.iter().filter(|(tag, _)| !free.contains(tag)) {
        assert!(recorded.contains(&(tag, value.to_vec())), "{tag} is not as recorded");
    }
    for (tag, _) in recorded.iter().filter(|(tag, _)| !free.contains(tag)) {
        assert!(said.get(*tag).is_some(), "{tag} was said");
    }
}

fn transport() -> Arc<TransportConfig> {
    let config = TransportConfig::default()
        .max_idle_timeout(Some(Duration::from_secs(30)))
        .max_bidi_streams(100)
        .connection_window(49_152, 1 << 20)
        .stream_window(32_768, 1 << 20)
        .mtu_discovery(false);
    config.build().unwrap()
}

fn identity() -> Identity {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec![HOST.to_owned()]).unwrap();
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    Identity { chain, key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())) }
}

/// The endpoint that is not played, at the time of the recorded client's nonce and with these random numbers.
fn endpoint(nonce: &[u8], server: Option<ServerConfig>, numbers: &[&[u8]]) -> Endpoint {
    let time = u32::from_be_bytes(*nonce.first_chunk().unwrap());
    let server = server.map(|server| server.transport(transport()).build().unwrap());
    let config = EndpointConfig::new(&[1; 32]).build().unwrap();
    let rng = Scripted::new();
    let endpoint = Endpoint::new(config, server, Box::new(rng.clone()), UnixTime::from_secs(time.into()));
    rng.expect(numbers);
    endpoint
}

fn pair(keys: &KeyMaterial) -> Keys {
    (keys.client_key(), keys.server_key())
}

#[test]
fn our_client_says_what_the_recorded_one_said() {
    play_the_server("handshake-echo-ecdsa");
    play_the_server("handshake-echo-rsa");
}

fn play_the_server(scenario: &str) {
    let recording = Recording::load(scenario);
    let (chlos, answers) = (recording.messages("client"), recording.messages("server"));
    let nonce = value(&chlos[2], tags::NONC);
    let key = recording.private(value(&chlos[2], tags::PUBS));
    let mut end = endpoint(nonce, None, &[&recording.cid(), &key, &nonce[12..]]);
    let identity = identity();
    let config = client(gquic::ClientConfig::new(trust(&identity))).transport(transport());
    let leaf = identity.chain[0].to_vec();
    let proof = ProofSource::from_identity(identity).unwrap();
    let mut actor = Actor::new(Side::Server, &recording.cid());
    let handle = end.connect(actor.now, FourTuple::to(address(1)), HOST, &config).unwrap();

    actor.listen(&mut end);
    let rej = message(tags::REJ, &answers[0], &[]);
    let packets = {
        let frame = actor.crypto_frame(&rej);
        let ack = actor.ack();
        vec![
            actor.packet(Some(LongType::Handshake), None, &frame),
            actor.packet(Some(LongType::Handshake), None, &ack),
        ]
    };
    actor.say(&mut end, packets);
    let scfg = value(&answers[1], tags::SCFG);
    let signature = proof.sign(&actor.messages()[1], scfg).unwrap();
    let changes = [(tags::PROF, signature), (tags::CRT, proof.packed_chain().to_vec())];
    let rej = message(tags::REJ, &answers[1], &changes);
    let frame = actor.crypto_frame(&rej);
    let packet = actor.packet(Some(LongType::Handshake), None, &frame);
    actor.say(&mut end, vec![packet]);

    let chlo = actor.messages()[2].clone();
    let public = *Message::parse_whole(&chlo).unwrap().array::<32>(tags::PUBS).unwrap();
    let cid = actor.cid;
    let context = |server_nonce| KeyContext {
        client_nonce: nonce,
        server_nonce,
        cid: &cid,
        chlo: &chlo,
        scfg,
        leaf: &leaf,
    };
    let of_config = PrivateKey::from_bytes(
        recording.private(&bytes(&recording.events("server_config").next().unwrap()["public"])),
    );
    let diversification = recording.diversification();
    let initial = KeyMaterial::derive(KeyLevel::Initial, &of_config.agree(&public).unwrap(), &context(&[]));
    actor.initial = Some(pair(&initial.diversify(&diversification)));
    let shlo = message(tags::SHLO, &answers[2], &[]);
    let frame = actor.crypto_frame(&shlo);
    let packet = actor.packet(Some(LongType::ZeroRtt), Some(&diversification), &frame);
    let ephemeral = PrivateKey::from_bytes(recording.private(value(&answers[2], tags::PUBS)));
    let secret = ephemeral.agree(&public).unwrap();
    let secure =
        KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context(value(&answers[2], tags::SNO)));
    actor.secure = Some(pair(&secure));
    actor.say(&mut end, vec![packet]);

    let id = write_foobar(end.connection(handle).unwrap());
    actor.listen(&mut end);
    let packet = actor.packet(None, None, &stream_frame(3, 0, b"foobar"));
    let ack = actor.ack();
    let ack = actor.packet(None, None, &ack);
    actor.say(&mut end, vec![packet, ack]);
    let connection = end.connection(handle).unwrap();
    let mut got = [0; 10];
    let read = connection.recv_stream(id).unwrap().read(&mut got).unwrap();
    assert_eq!((&got[..read.len], read.fin), (&b"foobar"[..], false));
    connection.abort(actor.now, AppError::from(0), b"");
    actor.listen(&mut end);

    for (said, recorded) in actor.messages().iter().zip(&chlos) {
        same_message(said, recorded, CLIENT_IS_FREE);
    }
    assert_eq!(actor.messages().len(), chlos.len());
    assert_eq!(actor.streams, b"foobar");
    same_packets(&actor.heard, &recording.packets("client"));
}

fn write_foobar(connection: &mut Connection) -> quic_proto::id::StreamId {
    let id = connection.open(Dir::Bi).unwrap();
    assert_eq!(connection.send_stream(id).unwrap().write(b"foobar"), Ok(6));
    id
}

#[test]
fn our_server_says_what_the_recorded_one_said() {
    let recording = Recording::load("handshake-echo-ecdsa");
    let (chlos, answers) = (recording.messages("client"), recording.messages("server"));
    let config = recording.events("server_config").next().unwrap();
    let numbers = [
        // The salt of our first token, which is the server's own matter.
        vec![1; 16],
        bytes(&config["orbit"]),
        bytes(&config["scid"]),
        recording.private(&bytes(&config["public"])).to_vec(),
        recording.diversification().to_vec(),
        value(&answers[2], tags::SNO).to_vec(),
        recording.private(value(&answers[2], tags::PUBS)).to_vec(),
    ];
    let numbers: Vec<&[u8]> = numbers.iter().map(Vec::as_slice).collect();
    let identity = identity();
    let leaf = identity.chain[0].to_vec();
    let settings = gquic::ServerConfig::new(ProofSource::from_identity(identity).unwrap(), &[7; 32]);
    let nonce = value(&chlos[2], tags::NONC);
    let mut end = endpoint(nonce, Some(server(settings)), &numbers);
    let mut actor = Actor::new(Side::Client, &recording.cid());
    let mut changes = vec![(tags::XLCT, fnv::fnv64(&leaf).to_le_bytes().to_vec())];
    let key = PrivateKey::from_bytes(recording.private(value(&chlos[2], tags::PUBS)));
    for (number, chlo) in chlos.iter().enumerate() {
        let chlo = message(tags::CHLO, chlo, &changes);
        let kind = if number == 0 { LongType::Initial } else { LongType::Handshake };
        let cid = actor.cid;
        let context = KeyContext {
            client_nonce: nonce,
            server_nonce: &[],
            cid: &cid,
            chlo: &chlo,
            scfg: &[],
            leaf: &leaf,
        };
        if number == 2 {
            let rej = actor.messages()[1].clone();
            let scfg = Message::parse_whole(&rej).unwrap().get(tags::SCFG).unwrap();
            let secret = key.agree(&bytes(&config["public"]).try_into().unwrap()).unwrap();
            let context = KeyContext { scfg, ..context };
            actor.undiversified = Some(KeyMaterial::derive(KeyLevel::Initial, &secret, &context));
        }
        let frame = actor.crypto_frame(&chlo);
        let packet = actor.packet(Some(kind), None, &frame);
        actor.say(&mut end, vec![packet]);
        let said = actor.messages();
        let answer = Message::parse_whole(said.last().unwrap()).unwrap();
        if let Some(token) = answer.get(tags::STK) {
            changes.retain(|(tag, _)| *tag != tags::STK);
            changes.push((tags::STK, token.to_vec()));
        }
        if answer.tag() == tags::SHLO {
            let scfg = Message::parse_whole(&said[1]).unwrap().get(tags::SCFG).unwrap();
            let secret = key.agree(answer.array(tags::PUBS).unwrap()).unwrap();
            let context = KeyContext { server_nonce: answer.get(tags::SNO).unwrap(), scfg, ..context };
            actor.secure = Some(pair(&KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context)));
        }
    }
    assert!(actor.secure.is_some(), "the server's hello came");
    let ping = actor.packet(None, None, &[7]);
    let data = actor.packet(None, None, &stream_frame(3, 0, b"foobar"));
    actor.say(&mut end, vec![ping, data]);
    let handle = std::iter::from_fn(|| end.poll_event()).last().unwrap().0;
    let connection = end.connection(handle).unwrap();
    let id = connection.accept(Dir::Bi).unwrap();
    let mut got = [0; 10];
    let read = connection.recv_stream(id).unwrap().read(&mut got).unwrap();
    assert_eq!(connection.send_stream(id).unwrap().write(&got[..read.len]), Ok(6));
    actor.listen(&mut end);

    let said = actor.messages();
    assert_eq!(said.len(), answers.len());
    for (said, recorded) in said.iter().zip(&answers) {
        same_message(said, recorded, SERVER_IS_FREE);
        if let Some(config) = Message::parse_whole(said).unwrap().get(tags::SCFG) {
            let recorded = Message::parse_whole(value(recorded, tags::SCFG)).unwrap();
            let recorded: Tags = recorded.iter().map(|(tag, value)| (tag, value.to_vec())).collect();
            same_message(config, &recorded, &[tags::EXPY]);
        }
    }
    let chain = Message::parse_whole(&said[1]).unwrap().get(tags::CRT).unwrap().to_vec();
    assert_eq!(certs::decompress(&chain, &[] as &[&[u8]]).unwrap(), [leaf]);
    assert_eq!(actor.streams, b"foobar");
    let without_lengths =
        |packets: Vec<Said>| packets.into_iter().map(Said::without_lengths).collect::<Vec<_>>();
    same_packets(&without_lengths(actor.heard), &without_lengths(recording.packets("server")));
}
