//! Peers with Chromium's habits, where those are not quic-go's (chapters 2, 5 and 7): all packets of the null level are `ff`, those of the
//! initial level `fc` at both ends; a server gives proof at once and more in its messages; tags that nobody else knows.

use crate::common::{EPOCH, address, endpoint};
use crate::role_play::actor::{Actor, pair, stream_frame};
use crate::support::{client, ecdsa, server, settings, trust};
use quic_proto::config::TransportConfig;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::ConnectionError;
use quic_proto::event::Event;
use quic_proto::gquic::crypto::fnv;
use quic_proto::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use quic_proto::gquic::crypto::server_config::{OwnScfg, Scfg};
use quic_proto::gquic::crypto::strike::ClientNonce;
use quic_proto::gquic::crypto::x25519::PrivateKey;
use quic_proto::gquic::wire::LongType;
use quic_proto::gquic::wire::header::NONCE_LEN;
use quic_proto::gquic::wire::message::{Builder, Message, Tag, tags};
use quic_proto::gquic::{self, ProofSource};
use quic_proto::id::{Dir, Side};
use quic_proto::net::FourTuple;
use quic_proto::rng::SeededRng;
use quic_proto::time::{Instant, UnixTime};
use std::sync::Arc;

const CID: [u8; 8] = [9; 8];
const ORBIT: [u8; 8] = [3; 8];
const DIVERSIFICATION: [u8; NONCE_LEN] = [4; NONCE_LEN];

fn transport() -> Arc<TransportConfig> {
    TransportConfig::default().mtu_discovery(false).build().unwrap()
}

fn listen(actor: &mut Actor, end: &mut Endpoint) {
    while let Some(packet) = actor.poll(end) {
        actor.hear(packet);
    }
}

fn say(actor: &mut Actor, end: &mut Endpoint, kind: Option<LongType>, frames: &[u8]) {
    let nonce = (actor.side().is_server() && kind == Some(LongType::ZeroRtt)).then_some(&DIVERSIFICATION);
    let packet = actor.packet(kind, nonce, frames);
    actor.say(end, packet);
    listen(actor, end);
}

fn say_message(actor: &mut Actor, end: &mut Endpoint, kind: Option<LongType>, message: &[u8]) {
    for frame in actor.crypto_frames(message) {
        say(actor, end, kind, &frame);
    }
}

fn events(end: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| end.poll_event()).map(|(_, event)| event).collect()
}

/// A hello as Chromium makes it: 1024 bytes with padding of `-`.
fn hello(more: &[(Tag, Vec<u8>)]) -> Vec<u8> {
    let mut hello = Builder::new(tags::CHLO);
    hello.put(tags::SNI, b"localhost".to_vec()).put(tags::VER, *b"Q044").put(tags::PDMD, tags::X509);
    for (tag, value) in [(tags::ICSL, 30u32), (tags::MIDS, 100), (tags::CFCW, 49_152), (tags::SFCW, 32_768)] {
        hello.put(tag, value.to_le_bytes());
    }
    hello.put(tags::CCS, [1; 16]).put(tags::CCRT, [2; 8]).put(tags::CSCT, Vec::new());
    hello
        .put(tags::COPT, *b"TIME5RTO")
        .put(Tag::new(*b"UAID"), b"Chrome/73".to_vec())
        .put(tags::TCID, [0; 4]);
    hello.put(Tag::new(*b"NONP"), [8; 32]).put(Tag::new(*b"IRTT"), 20_000u32.to_le_bytes());
    hello.put(Tag::new(*b"SCLS"), 1u32.to_le_bytes()).put(Tag::new(*b"SMHL"), 1u32.to_le_bytes());
    for (tag, value) in more {
        hello.put(*tag, value.clone());
    }
    let padding = 1024 - hello.finish().len() - 8;
    hello.put(tags::PAD, vec![b'-'; padding]).finish()
}

#[test]
fn a_client() {
    let identity = ecdsa();
    let leaf = identity.chain[0].to_vec();
    let config = server(settings(identity).1).transport(transport());
    let mut end = endpoint(2, Some(config.build().unwrap()));
    let mut actor = Actor::new(Side::Client, &CID, Instant::from_millis(1));
    say_message(&mut actor, &mut end, Some(LongType::Initial), &hello(&[]));
    let rej = |actor: &Actor, number: usize, tag| actor.heard.messages()[number].get(tag).map(<[u8]>::to_vec);
    let scfg = Scfg::parse(&rej(&actor, 0, tags::SCFG).unwrap()).unwrap();
    let known = |actor: &Actor, number| {
        vec![(tags::STK, rej(actor, number, tags::STK).unwrap()), (tags::SCID, scfg.scid().to_vec())]
    };
    let second = hello(&known(&actor, 0));
    say_message(&mut actor, &mut end, Some(LongType::Initial), &second);
    assert!(rej(&actor, 1, tags::PROF).is_some());

    let key = PrivateKey::from_bytes([5; 32]);
    let nonce = ClientNonce::generate(&mut SeededRng::from_u64(1), EPOCH, scfg.orbit());
    let mut complete = known(&actor, 1);
    complete.extend([
        (tags::NONC, nonce.as_bytes().to_vec()),
        (tags::PUBS, key.public().to_vec()),
        (tags::AEAD, b"AESG".to_vec()),
        (tags::KEXS, b"C255".to_vec()),
        (tags::XLCT, fnv::fnv64(&leaf).to_le_bytes().to_vec()),
    ]);
    let complete = hello(&complete);
    let context = |server_nonce| KeyContext {
        client_nonce: nonce.as_bytes(),
        server_nonce,
        cid: &CID,
        chlo: &complete,
        scfg: scfg.bytes(),
        leaf: &leaf,
    };
    let secret = key.agree(scfg.public_key()).unwrap();
    actor.undiversified = Some(KeyMaterial::derive(KeyLevel::Initial, &secret, &context(&[])));
    say_message(&mut actor, &mut end, Some(LongType::Initial), &complete);
    // Data right behind it, before the client has looked at the server's hello; filled up with PADDING.
    let mut early = vec![0; 300];
    early.extend(stream_frame(3, 0, b"early", false));
    let shlo = actor.heard.messages()[2].bytes().to_vec();
    let shlo = Message::parse_whole(&shlo).unwrap();
    assert_eq!(shlo.tag(), tags::SHLO);
    let secret = key.agree(shlo.array(tags::PUBS).unwrap()).unwrap();
    let context = context(shlo.get(tags::SNO).unwrap());
    actor.secure = Some(pair(&KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context)));
    say(&mut actor, &mut end, Some(LongType::ZeroRtt), &early);
    say(&mut actor, &mut end, None, &stream_frame(3, 5, b" and late", true));
    let connection = end.connection(actor.accepted.unwrap()).unwrap();
    let id = connection.accept(Dir::Bi).unwrap();
    assert_eq!(crate::common::read_all(connection, id), (b"early and late".to_vec(), true));
    connection.send_stream(id).unwrap().write(b"answer").unwrap();
    listen(&mut actor, &mut end);
    assert_eq!(actor.heard.streams[&3].data, b"answer");
    assert!(!events(&mut end).iter().any(|event| matches!(event, Event::Closed(_))));
}

/// A server of Chromium's kind, with a client of ours.
struct Served {
    end: Endpoint,
    handle: ConnectionHandle,
    actor: Actor,
}

const RESET_TOKEN: [u8; 16] = [0xee; 16];

fn serve() -> Served {
    let identity = ecdsa();
    let leaf = identity.chain[0].to_vec();
    let config = client(gquic::ClientConfig::new(trust(&identity))).transport(transport()).build().unwrap();
    let proof = ProofSource::from_identity(identity).unwrap();
    let own = OwnScfg::new(
        [7; 16],
        PrivateKey::from_bytes([6; 32]),
        ORBIT,
        UnixTime::from_secs(EPOCH.as_secs() + 1000),
    );
    let mut end = endpoint(1, None);
    let now = Instant::from_millis(1);
    let handle = end.connect(now, FourTuple::to(address(1)), "localhost", &config).unwrap();
    let mut buf = [0; 1500];
    let first = end.poll_transmit(now, &mut buf, crate::common::ONE).unwrap().len;
    let mut actor = Actor::new(Side::Server, &buf[6..14], now);
    actor.hear(buf[..first].to_vec());

    let chlo = actor.heard.messages()[0].bytes().to_vec();
    let mut rej = Builder::new(tags::REJ);
    rej.put(tags::STK, b"a token".to_vec())
        .put(tags::SNO, [0x51; 52])
        .put(tags::SCFG, own.scfg().bytes().to_vec());
    rej.put(tags::PROF, proof.sign(&chlo, own.scfg().bytes()).unwrap());
    rej.put(tags::CRT, proof.packed_chain().to_vec());
    rej.put(tags::STTL, 3600u64.to_le_bytes()).put(tags::RREJ, 12u32.to_le_bytes());
    say_message(&mut actor, &mut end, Some(LongType::Initial), &rej.finish());

    let messages = actor.heard.messages();
    let [_, complete] = messages[..] else { panic!("the proof was enough: {messages:?}") };
    assert_eq!(
        (complete.get(tags::STK), complete.get(tags::SNO)),
        (Some(&b"a token"[..]), Some(&[0x51; 52][..]))
    );
    let complete = complete.bytes().to_vec();
    let read = Message::parse_whole(&complete).unwrap();
    let cid = actor.cid;
    let context = |server_nonce| KeyContext {
        client_nonce: read.get(tags::NONC).unwrap(),
        server_nonce,
        cid: &cid,
        chlo: &complete,
        scfg: own.scfg().bytes(),
        leaf: &leaf,
    };
    let public = read.array(tags::PUBS).unwrap();
    let initial =
        KeyMaterial::derive(KeyLevel::Initial, &own.key().agree(public).unwrap(), &context(&[0x51; 52]));
    actor.initial = Some(pair(&initial.diversify(&DIVERSIFICATION)));
    let ephemeral = PrivateKey::from_bytes([8; 32]);
    let secret = ephemeral.agree(public).unwrap();
    let secure = KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context(&[0x52; 52]));
    actor.secure = Some(pair(&secure));
    let mut shlo = Builder::new(tags::SHLO);
    shlo.put(tags::STK, b"another token".to_vec()).put(tags::SNO, [0x52; 52]).put(tags::VER, *b"Q044");
    shlo.put(tags::PUBS, ephemeral.public()).put(tags::CADR, [10; 8]).put(tags::SRST, RESET_TOKEN);
    for (tag, value) in [(tags::ICSL, 30u32), (tags::MIDS, 100), (tags::CFCW, 49_152), (tags::SFCW, 32_768)] {
        shlo.put(tag, value.to_le_bytes());
    }
    say_message(&mut actor, &mut end, Some(LongType::ZeroRtt), &shlo.finish());
    let events = events(&mut end);
    assert!(events.contains(&Event::Connected), "{events:?}");
    Served { end, handle, actor }
}

#[test]
fn a_server() {
    let Served { mut end, handle, mut actor } = serve();
    // New configs come later, and need no answer.
    let scup = Builder::new(tags::SCUP).put(tags::STK, b"a third token".to_vec()).finish();
    say_message(&mut actor, &mut end, None, &scup);
    let connection = end.connection(handle).unwrap();
    let id = connection.open(Dir::Bi).unwrap();
    connection.send_stream(id).unwrap().write(b"question").unwrap();
    listen(&mut actor, &mut end);
    assert_eq!(actor.heard.streams[&3].data, b"question");
    let mut answer = vec![0; 200];
    answer.extend(stream_frame(3, 0, b"answer", true));
    say(&mut actor, &mut end, None, &answer);
    assert_eq!(crate::common::read_all(end.connection(handle).unwrap(), id), (b"answer".to_vec(), true));
}

#[test]
fn a_server_that_has_lost_its_state() {
    // Chapter 2.5: "first byte 30 or 70, at least 24 random bytes, and the 16 byte token it gave in the SHLO".
    for first in [0x30, 0x70] {
        let Served { mut end, mut actor, .. } = serve();
        let mut reset = vec![first; 40];
        reset[24..].copy_from_slice(&[0xed; 16]);
        actor.say(&mut end, reset.clone());
        assert_eq!(events(&mut end).last(), None, "another token");
        reset[24..].copy_from_slice(&RESET_TOKEN);
        actor.say(&mut end, reset);
        assert_eq!(events(&mut end).last(), Some(&Event::Closed(ConnectionError::Reset)));
    }
}
