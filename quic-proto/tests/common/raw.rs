//! A peer made of the wire format and a TLS session alone: it completes the handshake as it should and then sends what a test wants.

use super::{ONE, address, endpoint, null_client_with, null_server_with};
use quic_proto::codec::Writer;
use quic_proto::config::{ClientConfig, TransportConfig};
use quic_proto::connection::Connection;
use quic_proto::crypto::header_protection::{protect, unprotect};
use quic_proto::crypto::initial::initial_keys;
use quic_proto::crypto::null::{NullClient, NullLimits, NullServer};
use quic_proto::crypto::{
    BoxedPacketKey, Keys, NewKeys, PacketKey, TlsClientConfig, TlsServerConfig, TlsSession,
};
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::ConnectionError;
use quic_proto::event::Event;
use quic_proto::id::{Cid, Level, Side};
use quic_proto::ietf::wire::header::{self, LongKind};
use quic_proto::ietf::wire::{Frame, Frames, TransportParameters, encode};
use quic_proto::invariants::{SUPPORTED, Version, VersionSpec, spec};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::time::{Duration, Instant};

/// Our connection id, and as a client the first destination too.
const SCID: [u8; 8] = *b"raw peer";
const ODCID: [u8; 8] = *b"original";

pub struct Raw {
    /// The real end.
    pub real: Endpoint,
    pub handle: Option<ConnectionHandle>,
    pub now: Instant,
    pub events: Vec<Event>,
    /// Frames that the real end sent, by level, as text.
    pub seen: Vec<(Level, String)>,
    /// Datagrams that the real end sent.
    pub datagrams: usize,
    pub bytes: usize,
    /// Numbers of the packets that the real end sent last, by space.
    pub largest: [u64; 3],
    /// Handshake packets of ours are put here instead of being sent, if there is such a place.
    pub held: Option<Vec<Vec<u8>>>,
    /// Where our datagrams come from.
    pub path: FourTuple,
    /// What our Initial packets bear.
    pub token: Vec<u8>,
    /// Whether the token had validated our address when the real end met us.
    pub validated: Option<bool>,
    /// How large datagrams with Initial packets are.
    pub initial_size: usize,
    /// The number of the next packet, by space.
    pub numbers: [u64; 3],
    side: Side,
    spec: &'static VersionSpec,
    session: Option<Box<dyn TlsSession>>,
    keys: [Option<Keys>; 3],
    phase: bool,
    old_key: Option<BoxedPacketKey>,
    crypto_sent: [u64; 3],
    pub dcid: Cid,
    /// Where the real end sent its short packets, and to which id of ours.
    pub sent_to: Vec<(FourTuple, Cid)>,
    /// Where the real end sent its short packets, and their spin bit.
    pub spins: Vec<(FourTuple, bool)>,
    /// Where the real end sent its datagrams, and how large they were.
    pub sizes: Vec<(FourTuple, usize)>,
    to: FourTuple,
    /// Ids that the real end offered in NEW_CONNECTION_ID frames.
    pub offered: Vec<Cid>,
    /// The id of the real end's that the handshake used.
    pub first_id: Cid,
    /// Challenges of the real end that wait for an answer, and where they came.
    challenges: Vec<(FourTuple, [u8; 8])>,
    /// Our own id; to be changed before the handshake only.
    pub scid: Cid,
    /// The id that the client made up.
    pub original: Cid,
    params: TransportParameters,
    /// The version in which we answer as a server, if it is not that of the client's first flight.
    pub answers: Option<Version>,
    /// The value of the parameter `version_information` that we send, if any.
    pub version_information: Option<Vec<u8>>,
}

const fn slot(level: Level) -> usize {
    match level {
        Level::Initial => 0,
        Level::Handshake => 1,
        _ => 2,
    }
}

/// The parameters of a generous peer.
pub fn generous() -> TransportParameters {
    TransportParameters {
        initial_max_data: 1 << 20,
        initial_max_stream_data_bidi_local: 1 << 16,
        initial_max_stream_data_bidi_remote: 1 << 16,
        initial_max_stream_data_uni: 1 << 16,
        initial_max_streams_bidi: 10,
        initial_max_streams_uni: 10,
        ..TransportParameters::default()
    }
}

impl Raw {
    /// A misbehaving peer on `side`; the real end is on the other, with this configuration. Nothing was sent yet.
    pub fn new(side: Side, transport: TransportConfig) -> Self {
        Self::limited(side, transport, NullLimits::default())
    }

    /// The same, where the keys of the real end have these limits.
    pub fn limited(side: Side, transport: TransportConfig, limits: NullLimits) -> Self {
        assert_eq!(SUPPORTED[0], Version::V1);
        let transport = transport.build().unwrap();
        let now = Instant::from_millis(1);
        let (mut real, mut handle) =
            (endpoint(9, Some(null_server_with(limits).transport(transport.clone()).build().unwrap())), None);
        if side.is_server() {
            real = endpoint(9, None);
            let config = null_client_with(limits).transport(transport).build().unwrap();
            handle = Some(real.connect(now, FourTuple::to(address(7)), "localhost", &config).unwrap());
        }
        Self {
            real,
            handle,
            now,
            events: Vec::new(),
            seen: Vec::new(),
            datagrams: 0,
            bytes: 0,
            sizes: Vec::new(),
            largest: [0; 3],
            held: None,
            path: FourTuple::to(address(7)),
            token: Vec::new(),
            validated: None,
            initial_size: 1200,
            numbers: [0; 3],
            side,
            spec: spec(Version::V1).unwrap(),
            session: None,
            keys: [const { None }; 3],
            phase: false,
            old_key: None,
            crypto_sent: [0; 3],
            dcid: Cid::new(&ODCID).unwrap(),
            sent_to: Vec::new(),
            spins: Vec::new(),
            to: FourTuple::to(address(7)),
            offered: Vec::new(),
            first_id: Cid::default(),
            challenges: Vec::new(),
            scid: Cid::new(&SCID).unwrap(),
            original: Cid::new(&ODCID).unwrap(),
            params: generous(),
            answers: None,
            version_information: None,
        }
    }

    /// A misbehaving server of this version for a client with this configuration, which has not been asked for its first datagram.
    pub fn serving(config: &ClientConfig, version: Version) -> Self {
        let mut raw = Self::new(Side::Server, TransportConfig::default());
        raw.real = endpoint(9, None);
        let to = FourTuple::to(address(7));
        raw.handle = Some(raw.real.connect(raw.now, to, "localhost", config).unwrap());
        raw.spec = spec(version).unwrap();
        raw
    }

    /// The transport parameters of the real end.
    pub fn heard(&self) -> &[u8] {
        self.session.as_ref().and_then(|session| session.peer_params()).expect("a hello came")
    }

    /// A peer after a complete handshake.
    pub fn connected(side: Side, transport: TransportConfig) -> Self {
        let mut raw = Self::new(side, transport);
        raw.handshake(|_| {});
        assert_eq!(raw.closed(), None);
        assert!(raw.events.contains(&Event::Connected), "{:?}", raw.events);
        raw
    }

    /// Says hello (as a client) with changed parameters and answers until all is quiet.
    pub fn handshake(&mut self, change: impl Fn(&mut TransportParameters) + 'static) {
        self.hello(change);
        for _ in 0..5 {
            self.exchange();
        }
        if self.side.is_server() && self.keys[2].is_some() && self.closed().is_none() {
            self.frames(encode::handshake_done);
        }
    }

    /// Goes on with the next generation of packet keys (RFC 9001 §6.1). What comes under the previous ones can still be read.
    pub fn update_keys(&mut self) {
        let next = self.session.as_mut().unwrap().next_packet_keys().unwrap();
        let keys = self.keys[2].as_mut().unwrap();
        keys.local.packet = next.local;
        self.old_key = Some(std::mem::replace(&mut keys.remote.packet, next.remote));
        self.phase = !self.phase;
    }

    /// Sends what was held back, and holds back no more.
    pub fn release(&mut self) {
        for mut datagram in self.held.take().unwrap_or_default() {
            self.deliver(&mut datagram);
        }
    }

    /// The real end's connection.
    pub fn connection(&mut self) -> &mut Connection {
        self.real.connection(self.handle.unwrap()).unwrap()
    }

    /// Only the client's first flight, or what a server needs to wait for it.
    pub fn hello(&mut self, change: impl Fn(&mut TransportParameters) + 'static) {
        self.params.initial_source_connection_id = Some(self.scid);
        change(&mut self.params);
        if self.side.is_client() {
            self.keys[0] =
                Some(initial_keys(&self.spec.initial_salt, &self.spec.labels, &self.dcid, self.side));
            let client = NullClient { alpn: vec![b"test".to_vec()], ..NullClient::default() };
            self.session = Some(client.start(self.spec.version.0, "localhost", self.encoded()).unwrap());
            self.speak();
        } else {
            // What the client's first datagram says decides the parameters.
            let change = std::rc::Rc::new(change);
            self.receive_first(&*change);
        }
    }

    /// Goes on in this version; keys of Initial packets are of that too.
    pub fn switch(&mut self, version: Version) {
        self.spec = spec(version).unwrap();
        self.keys[0] =
            Some(initial_keys(&self.spec.initial_salt, &self.spec.labels, &self.original, self.side));
    }

    /// As [`switch`](Self::switch), for a client that has not read anything.
    pub fn follow(&mut self, version: Version) {
        self.switch(version);
        self.session.as_mut().unwrap().follow(version.0);
    }

    fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.params.encode(&mut out, &mut SeededRng::from_u64(5));
        if let Some(value) = &self.version_information {
            out.extend([0x11, u8::try_from(value.len()).unwrap()]);
            out.extend(value);
        }
        out
    }

    fn receive_first(&mut self, change: &dyn Fn(&mut TransportParameters)) {
        let mut buf = vec![0; 1500];
        let transmit = self.real.poll_transmit(self.now, &mut buf, ONE).unwrap();
        let long = header::parse_long(&buf[..transmit.len], self.spec).unwrap();
        (self.original, self.dcid) = (long.dcid, long.scid);
        self.keys[0] =
            Some(initial_keys(&self.spec.initial_salt, &self.spec.labels, &self.original, self.side));
        self.params.original_destination_connection_id = Some(self.original);
        change(&mut self.params);
        let server = NullServer::default();
        let version = self.answers.unwrap_or(self.spec.version);
        self.session = Some(server.start(version.0, self.encoded()).unwrap());
        let len = transmit.len;
        self.take(&mut buf[..len]);
        self.switch(version);
        self.speak();
    }

    /// Lets the session say what it has to say.
    fn speak(&mut self) {
        let mut level = [Level::Initial, Level::Handshake, Level::OneRtt]
            [self.keys.iter().rposition(Option::is_some).unwrap_or(0)];
        loop {
            let mut out = Vec::new();
            let Some(session) = &mut self.session else { return };
            let keys = session.write(&mut out);
            if !out.is_empty() {
                let at = std::mem::replace(&mut self.crypto_sent[slot(level)], 0);
                self.crypto_sent[slot(level)] = at + out.len() as u64;
                self.packet(level, 0, |w| {
                    encode::crypto_header(w, at, out.len());
                    w.bytes(&out);
                });
            }
            match keys {
                Some(NewKeys::Handshake(keys)) => {
                    self.keys[1] = Some(keys);
                    level = Level::Handshake;
                }
                Some(NewKeys::OneRtt(keys)) => self.keys[2] = Some(keys),
                None if out.is_empty() => return,
                None => {}
            }
        }
    }

    /// Sends a 1-RTT packet of these frames and takes what comes back.
    pub fn frames(&mut self, frames: impl FnOnce(&mut Writer<'_>)) {
        self.packet(Level::OneRtt, 0, frames);
        self.exchange();
    }

    /// Sends a packet; `first_xor` changes bits of its first byte before it is protected.
    pub fn packet(&mut self, level: Level, first_xor: u8, frames: impl FnOnce(&mut Writer<'_>)) {
        let mut datagram = self.build(level, first_xor, frames);
        match &mut self.held {
            Some(held) if level == Level::Handshake => held.push(datagram),
            _ => self.deliver(&mut datagram),
        }
    }

    /// The bytes of a packet.
    pub fn build(&mut self, level: Level, first_xor: u8, frames: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
        let number = self.numbers[slot(level)];
        self.numbers[slot(level)] += 1;
        let mut buf = vec![0; 3000];
        let keys = self.keys[slot(level)].as_ref().expect("keys of this level");
        let scid = self.scid;
        let mut w = Writer::new(&mut buf);
        let (number_at, length_at) = match level {
            Level::OneRtt => (header::encode_short(&mut w, &self.dcid, false, self.phase, number, 4), None),
            _ => {
                let kind = if level == Level::Initial { LongKind::Initial } else { LongKind::Handshake };
                let token = if level == Level::Initial { &self.token[..] } else { &[] };
                let layout =
                    header::encode_long(&mut w, self.spec, kind, (&self.dcid, &scid), token, number, 4);
                (layout.number_at, Some(layout.length_at))
            }
        };
        frames(&mut w);
        if level == Level::Initial {
            let len = w.len();
            w.zeros(self.initial_size.saturating_sub(len + 16));
        }
        w.zeros(16);
        let len = w.len();
        let packet = &mut buf[..len];
        packet[0] ^= first_xor;
        if let Some(at) = length_at {
            packet[at..at + 2].copy_from_slice(&(0x4000 | (len - number_at) as u16).to_be_bytes());
        }
        keys.local.packet.seal(number, packet, number_at + 4);
        protect(&keys.local.header, packet, number_at, 4);
        buf.truncate(len);
        buf
    }

    /// Brings bytes to the real end.
    pub fn deliver(&mut self, bytes: &mut [u8]) {
        self.real.handle_datagram(self.now, Datagram { path: self.path, ecn: None, payload: bytes });
        while let Some(incoming) = self.real.poll_incoming() {
            self.validated = Some(incoming.is_validated());
            self.handle = Some(self.real.accept(self.now, incoming).unwrap());
        }
        self.events.extend(std::iter::from_fn(|| self.real.poll_event()).map(|(_, event)| event));
    }

    /// Takes what the real end sends, and answers for the handshake.
    pub fn exchange(&mut self) {
        let mut buf = vec![0; 1500];
        while let Some(transmit) = self.real.poll_transmit(self.now, &mut buf, ONE) {
            self.datagrams += 1;
            self.bytes += transmit.len;
            self.sizes.push((transmit.path, transmit.len));
            self.to = transmit.path;
            self.take(&mut buf[..transmit.len]);
        }
        self.speak();
        self.events.extend(std::iter::from_fn(|| self.real.poll_event()).map(|(_, event)| event));
    }

    /// Answers the challenges that came to `path`, and those that the answers bring.
    pub fn answer_challenges(&mut self, path: FourTuple) {
        self.path = path;
        while let Some(at) = self.challenges.iter().position(|(to, _)| *to == path) {
            let (_, data) = self.challenges.remove(at);
            self.frames(|w| encode::path_response(w, &data));
        }
    }

    /// Lets time pass at the real end.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            self.exchange();
            let Some(next) = self.real.next_timeout().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.real.handle_timeout(self.now);
        }
        self.now = end;
        self.exchange();
    }

    fn take(&mut self, mut rest: &mut [u8]) {
        while !rest.is_empty() {
            let (level, number_at, len) = if rest[0] & 0x80 == 0 {
                let short = header::parse_short(rest, self.scid.len()).unwrap();
                self.sent_to.push((self.to, short.dcid));
                self.spins.push((self.to, rest[0] & header::SPIN != 0));
                (Level::OneRtt, short.number_offset, rest.len())
            } else {
                let long = header::parse_long(rest, self.spec).unwrap();
                let level = if long.kind == LongKind::Initial { Level::Initial } else { Level::Handshake };
                (self.dcid, self.first_id) = (long.scid, long.scid);
                (level, long.number_offset, long.packet_len)
            };
            let (packet, tail) = rest.split_at_mut(len);
            rest = tail;
            let Some(keys) = &self.keys[slot(level)] else { continue };
            let head = unprotect(&keys.remote.header, packet, number_at).unwrap();
            let (head_bytes, body) = packet.split_at_mut(number_at + head.number_len);
            // Few packets are exchanged: the number is as it was sent.
            let number = head.truncated.into();
            let mut opened = keys.remote.packet.open(number, head_bytes, body);
            if let (Err(_), Some(old)) = (&opened, &self.old_key) {
                opened = old.open(number, head_bytes, body);
            }
            let Ok(len) = opened else { continue };
            self.largest[slot(level)] = number;
            for frame in Frames::new(&body[..len]) {
                let (_, frame) = frame.unwrap();
                self.seen.push((level, format!("{frame:?}")));
                match frame {
                    Frame::NewConnectionId { cid, .. } => self.offered.push(cid),
                    Frame::PathChallenge(data) => self.challenges.push((self.to, data)),
                    _ => {}
                }
                // The null handshake of the real end comes in order.
                if let (Frame::Crypto { data, .. }, Some(session)) = (frame, &mut self.session) {
                    let _ = session.read(data);
                    self.pump_keys();
                }
            }
        }
    }

    /// Keys that came with a message are taken at once, since packets under them may be in the same datagram.
    fn pump_keys(&mut self) {
        if self.side.is_client() {
            self.speak();
        }
    }

    pub fn closed(&self) -> Option<&ConnectionError> {
        self.events.iter().find_map(|event| match event {
            Event::Closed(reason) => Some(reason),
            _ => None,
        })
    }

    /// The code and the frame type with which the real end closed.
    pub fn verdict(&self) -> Option<(u64, Option<u64>)> {
        match self.closed() {
            Some(ConnectionError::Transport(error)) => Some((error.code.0, error.frame)),
            _ => None,
        }
    }
}
