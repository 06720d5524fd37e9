//! A client that is made of parts and says what it likes, at any level.

use crate::common::{EPOCH, ONE, address};
use quic_proto::codec::Writer;
use quic_proto::crypto::PacketKey;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::event::Event;
use quic_proto::gquic::crypto::aead12::Aes128Gcm12;
use quic_proto::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use quic_proto::gquic::crypto::null_aead::NullAead;
use quic_proto::gquic::crypto::server_config::Scfg;
use quic_proto::gquic::crypto::strike::ClientNonce;
use quic_proto::gquic::crypto::x25519::PrivateKey;
use quic_proto::gquic::crypto::{certs, fnv};
use quic_proto::gquic::wire::frame::{Frame, Frames};
use quic_proto::gquic::wire::header::{self, LongType};
use quic_proto::gquic::wire::message::{Builder, Message, tags};
use quic_proto::gquic::wire::{ErrorCode, encode};
use quic_proto::id::{Cid, Side};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::time::Instant;

pub(crate) const TAG: usize = 12;

/// What the server sent, opened.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Bytes of stream 1, from its start.
    pub(crate) crypto: Vec<u8>,
    /// How many frames they came in, repetitions too.
    pub(crate) crypto_frames: usize,
    /// The code of CONNECTION_CLOSE.
    pub(crate) closed: Option<ErrorCode>,
    /// How many packets could be opened.
    pub(crate) packets: usize,
}

pub(crate) struct RawClient {
    pub(crate) cid: Cid,
    pub(crate) number: u64,
    pub(crate) now: Instant,
    port: u16,
    /// Where the next hello goes in stream 1.
    offset: u64,
    pub(crate) heard: Heard,
    /// The server's connection, once there is one.
    pub(crate) accepted: Option<ConnectionHandle>,
    undiversified: Option<KeyMaterial>,
    initial: Option<(Aes128Gcm12, Aes128Gcm12)>,
    secure: Option<(Aes128Gcm12, Aes128Gcm12)>,
}

/// A hello with what each has, to be completed.
pub(crate) fn hello() -> Builder<'static> {
    let mut hello = Builder::new(tags::CHLO);
    hello.put(tags::SNI, b"localhost".to_vec()).put(tags::VER, [0; 4]).put(tags::PDMD, tags::X509);
    for (tag, value) in [(tags::ICSL, 30u32), (tags::MIDS, 100), (tags::CFCW, 49_152), (tags::SFCW, 32_768)] {
        hello.put(tag, value.to_le_bytes());
    }
    hello
}

/// A server's packet in the clear.
pub(crate) fn from_server(cid: &Cid, number: u64, frames: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 60 + frames.len()];
    let mut w = Writer::new(&mut out);
    header::encode_long(&mut w, LongType::Handshake, &Cid::EMPTY, cid, number, None);
    let len = w.len();
    w.bytes(frames);
    let end = w.len() + TAG;
    out.truncate(end);
    NullAead::new(Side::Server).seal(number, &mut out, len);
    out
}

impl RawClient {
    pub(crate) fn new(id: u8) -> Self {
        Self {
            cid: Cid::new(&[id; 8]).unwrap(),
            number: 0,
            now: Instant::from_millis(1),
            port: 1,
            offset: 0,
            heard: Heard::default(),
            accepted: None,
            undiversified: None,
            initial: None,
            secure: None,
        }
    }

    /// A packet with these frames and the next number.
    fn packet(&mut self, kind: Option<LongType>, key: &dyn PacketKey, frames: &[u8]) -> Vec<u8> {
        self.number += 1;
        let mut out = vec![0; 60 + frames.len()];
        let mut w = Writer::new(&mut out);
        match kind {
            Some(kind) => header::encode_long(&mut w, kind, &self.cid, &Cid::EMPTY, self.number, None),
            None => header::encode_short(&mut w, &self.cid, self.number, 4),
        }
        let len = w.len();
        w.bytes(frames);
        let end = w.len() + TAG;
        out.truncate(end);
        key.seal(self.number, &mut out, len);
        out
    }

    /// A packet in the clear.
    pub(crate) fn null(&mut self, frames: &[u8]) -> Vec<u8> {
        self.packet(Some(LongType::Handshake), &NullAead::new(Side::Client), frames)
    }

    /// A forward-secure packet; the handshake must be over.
    pub(crate) fn secure(&mut self, frames: &[u8]) -> Vec<u8> {
        let keys = self.secure.take().expect("the handshake is over");
        let packet = self.packet(None, &keys.0, frames);
        self.secure = Some(keys);
        packet
    }

    /// A handshake message as the frame that comes next.
    pub(crate) fn crypto(&mut self, message: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 20 + message.len()];
        let mut w = Writer::new(&mut frame);
        encode::stream_header(&mut w, 1, self.offset, None, false);
        w.bytes(message);
        let len = w.len();
        frame.truncate(len);
        self.offset += message.len() as u64;
        frame
    }

    /// Gives a datagram to the server and takes what it sends.
    pub(crate) fn exchange(&mut self, server: &mut Endpoint, mut datagram: Vec<u8>) {
        let path = FourTuple::to(address(self.port));
        server.handle_datagram(self.now, Datagram { path, ecn: None, payload: &mut datagram });
        self.listen(server);
    }

    pub(crate) fn listen(&mut self, server: &mut Endpoint) {
        while let Some(incoming) = server.poll_incoming() {
            self.accepted = Some(server.accept(self.now, incoming).unwrap());
        }
        let mut buf = [0; 1500];
        while let Some(transmit) = server.poll_transmit(self.now, &mut buf, ONE) {
            self.hear(&mut buf[..transmit.len].to_vec());
        }
    }

    fn hear(&mut self, packet: &mut [u8]) {
        let (number, len, nonce) = if packet[0] & 0x80 != 0 {
            let Ok(long) = header::parse_long(packet, Side::Server) else { return };
            assert_eq!(long.scid, self.cid, "chapter 15, 17");
            (long.number, long.len, long.nonce.copied())
        } else {
            let Ok(short) = header::parse_short(packet, Side::Server) else { return };
            (short.number, short.len, None)
        };
        let number = number.expand(0);
        if let (Some(nonce), Some(keys)) = (nonce, &self.undiversified) {
            let keys = keys.diversify(&nonce);
            self.initial = Some((keys.client_key(), keys.server_key()));
        }
        let (head, body) = packet.split_at_mut(len);
        let keys = [self.secure.as_ref(), self.initial.as_ref()].into_iter().flatten();
        let opened = keys.map(|(_, key)| key.open(number, head, body)).find_map(Result::ok);
        let Some(len) = opened.or_else(|| NullAead::new(Side::Server).open(number, head, body).ok()) else {
            return;
        };
        self.heard.packets += 1;
        for frame in Frames::new(&body[..len]) {
            match frame.unwrap() {
                Frame::Stream { stream: 1, offset, data, .. } => {
                    self.heard.crypto_frames += 1;
                    let end = offset as usize + data.len();
                    self.heard.crypto.resize(end.max(self.heard.crypto.len()), 0);
                    self.heard.crypto[offset as usize..end].copy_from_slice(data);
                }
                Frame::ConnectionClose { code, .. } => self.heard.closed = Some(code),
                _ => {}
            }
        }
    }

    /// The messages that came so far.
    pub(crate) fn messages(&self) -> Vec<Message<'_>> {
        let (mut rest, mut messages) = (&self.heard.crypto[..], Vec::new());
        while let Some(message) = Message::parse(rest).unwrap() {
            rest = &rest[message.len()..];
            messages.push(message);
        }
        messages
    }

    /// The hello that answers the first rejection.
    pub(crate) fn second(&self) -> Builder<'static> {
        let rej = self.messages()[0];
        let mut second = hello();
        second.put(tags::STK, rej.get(tags::STK).unwrap().to_vec());
        second.put(tags::SCID, *Scfg::parse(rej.get(tags::SCFG).unwrap()).unwrap().scid());
        second
    }

    /// Says the first two hellos: the server has a connection then.
    pub(crate) fn begin(&mut self, server: &mut Endpoint) {
        let first = self.crypto(&hello().pad().finish());
        let first = self.null(&first);
        self.exchange(server, first);
        let second = self.second().pad().finish();
        let second = self.crypto(&second);
        let second = self.null(&second);
        self.exchange(server, second);
        assert_eq!(self.messages().len(), 2, "two rejections");
    }

    /// The complete hello, and what keys are made of.
    pub(crate) fn complete(&self, key: &PrivateKey, nonce: &ClientNonce) -> Builder<'static> {
        let rej = self.messages()[1];
        let chain = certs::decompress(rej.get(tags::CRT).unwrap(), &[] as &[&[u8]]).unwrap();
        let mut complete = self.second();
        complete.put(tags::STK, rej.get(tags::STK).unwrap().to_vec());
        complete.put(tags::NONC, *nonce.as_bytes()).put(tags::PUBS, key.public());
        complete.put(tags::AEAD, tags::AESG).put(tags::KEXS, tags::C255);
        complete.put(tags::XLCT, fnv::fnv64(&chain[0]).to_le_bytes());
        complete
    }

    pub(crate) fn nonce(&self, seed: u64) -> ClientNonce {
        let scfg = Scfg::parse(self.messages()[0].get(tags::SCFG).unwrap()).unwrap();
        ClientNonce::generate(&mut SeededRng::from_u64(seed), EPOCH, scfg.orbit())
    }

    /// A client whose handshake is over.
    pub(crate) fn connected(server: &mut Endpoint) -> Self {
        Self::connected_as(server, 7, 1)
    }

    /// As [`connected`](Self::connected), with an id of this byte, from this port.
    pub(crate) fn connected_as(server: &mut Endpoint, id: u8, port: u16) -> Self {
        let mut client = Self { port, ..Self::new(id) };
        client.begin(server);
        let key = PrivateKey::from_bytes([5; 32]);
        let nonce = client.nonce(port.into());
        let chlo = client.complete(&key, &nonce).pad().finish();
        let scfg = Scfg::parse(client.messages()[1].get(tags::SCFG).unwrap()).unwrap();
        let chain = client.messages()[1].get(tags::CRT).unwrap().to_vec();
        let leaf = certs::decompress(&chain, &[] as &[&[u8]]).unwrap().remove(0);
        let cid = client.cid;
        let context = |server_nonce| KeyContext {
            client_nonce: nonce.as_bytes(),
            server_nonce,
            cid: &cid,
            chlo: &chlo,
            scfg: scfg.bytes(),
            leaf: &leaf,
        };
        let secret = key.agree(scfg.public_key()).unwrap();
        client.undiversified = Some(KeyMaterial::derive(KeyLevel::Initial, &secret, &context(&[])));
        let frame = client.crypto(&chlo);
        let packet = client.null(&frame);
        client.exchange(server, packet);
        let shlo = client.messages()[2];
        assert_eq!(shlo.tag(), tags::SHLO);
        let secret = key.agree(shlo.array(tags::PUBS).unwrap()).unwrap();
        let server_nonce = shlo.get(tags::SNO).unwrap();
        let keys = KeyMaterial::derive(KeyLevel::ForwardSecure, &secret, &context(server_nonce));
        client.secure = Some((keys.client_key(), keys.server_key()));
        let ping = client.secure(&[7]);
        client.exchange(server, ping);
        let events: Vec<_> = std::iter::from_fn(|| server.poll_event()).map(|(_, event)| event).collect();
        assert!(events.contains(&Event::HandshakeConfirmed), "{events:?}");
        client
    }
}
