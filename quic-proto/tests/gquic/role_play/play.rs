//! A recorded connection played again: line by line, the played end says what it said then, and the application of ours does what the
//! application at its place did then.

use super::actor::{Actor, pair, stream_frame};
use super::recording::{Connection, Packet, Recording, Spoken, Tags, value};
use super::setting::{Settings, client_settings, copy, endpoint, epoch, server_settings, transport};
use crate::common::address;
use crate::describe::bytes;
use crate::support::trust;
use quic_proto::codec::Writer;
use quic_proto::config::{ClientConfig, ServerConfig};
use quic_proto::connection::Connection as Ours;
use quic_proto::crypto::rustls::Identity;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::event::Event;
use quic_proto::gquic::crypto::kdf::{KeyContext, KeyLevel, KeyMaterial};
use quic_proto::gquic::crypto::server_config::Scfg;
use quic_proto::gquic::crypto::x25519::PrivateKey;
use quic_proto::gquic::wire::encode;
use quic_proto::gquic::wire::header::LongType;
use quic_proto::gquic::wire::message::{Builder, Message, Tag, tags};
use quic_proto::gquic::wire::{ErrorCode, Frame, Frames};
use quic_proto::gquic::{self, ProofSource};
use quic_proto::id::{Dir, Side, StreamId};
use quic_proto::net::FourTuple;
use quic_proto::streams::ReadError;
use quic_proto::time::{Duration, Instant, UnixTime};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) const HOST: &str = "example.com";

/// What lasts from one connection of a recording to the next.
pub(super) struct Play<'a> {
    recording: &'a Recording,
    pub(super) ours: Side,
    identity: Identity,
    pub(super) proof: ProofSource,
    epoch: UnixTime,
    end: Endpoint,
    settings: Settings,
    /// Which of the recorded connections are played.
    chosen: Vec<usize>,
    /// How often the server had been restarted when the endpoint was made.
    life: usize,
    /// The client that is played remembers the token that it got last.
    token: Vec<u8>,
    /// What configs of ours looked like when they were given out.
    configs: Vec<Vec<u8>>,
}

/// One connection on the stage.
pub(super) struct Scene<'a, 'b> {
    pub(super) play: &'b mut Play<'a>,
    pub(super) script: &'a Connection,
    pub(super) actor: Actor,
    handle: Option<ConnectionHandle>,
    /// The hello that the played server has keys for.
    keyed: Vec<u8>,
    /// How many messages the played end has said.
    said: usize,
    /// How much it has said on each stream.
    told: BTreeMap<u32, usize>,
    pub(super) application: Application,
}

/// The application of the end that is not played.
#[derive(Default)]
pub(super) struct Application {
    opened: u64,
    written: BTreeMap<u32, usize>,
    finished: Vec<u32>,
    pub(super) got: BTreeMap<u32, Spoken>,
    /// Why it was told that the connection ended.
    pub(super) closed: Option<ConnectionError>,
}

impl<'a> Play<'a> {
    pub(super) fn new(recording: &'a Recording, ours: Side, identity: Identity, chosen: Vec<usize>) -> Self {
        let settings = match ours {
            Side::Client => client_settings(recording, trust(&identity)),
            Side::Server => server_settings(&identity, 0),
        };
        let proof = ProofSource::from_identity(copy(&identity)).unwrap();
        let epoch = epoch(recording);
        let end = endpoint(recording, ours, &chosen, epoch, 0);
        let (life, token, configs) = (0, Vec::new(), Vec::new());
        Self { recording, ours, identity, proof, epoch, end, settings, chosen, life, token, configs }
    }

    /// The server is restarted: its endpoint, config and secret are others.
    fn restart(&mut self, life: usize) {
        self.settings = server_settings(&self.identity, life);
        self.end = endpoint(self.recording, self.ours, &self.chosen, self.epoch, life);
        self.life = life;
    }

    /// With the limits that this connection's end told, if it did.
    fn limit(&mut self, script: &Connection) -> Option<ClientConfig> {
        let transport = transport(script, self.ours);
        match &self.settings {
            Settings::Client(settings) => {
                let config = ClientConfig::of(Arc::<gquic::ClientConfig>::clone(settings));
                Some(config.transport(transport).build().unwrap())
            }
            Settings::Server(settings) => {
                let config = ServerConfig::of(Arc::<gquic::ServerConfig>::clone(settings), &[3; 32]);
                self.end.set_server(Some(config.transport(transport).build().unwrap()));
                None
            }
        }
    }

    /// A datagram of another version, to a server of ours; the answer is the recorded one, but for versions that stand for none.
    pub(super) fn negotiate(&mut self, script: &Connection) {
        use quic_proto::gquic::wire::negotiation::parse;
        use quic_proto::invariants::Version;
        let [ref asked] = script.packets[..] else { panic!("a hello and its answer") };
        let mut actor = Actor::new(Side::Client, &script.cid, asked.at);
        self.limit(script);
        actor.say(&mut self.end, asked.datagram.clone());
        let answer = actor.poll(&mut self.end).expect("the server says what it speaks");
        let read = |packet: &[u8]| {
            let negotiation = parse(packet)?;
            let versions = negotiation.versions.clone().filter(|version| !Version(*version).is_reserved());
            Some((negotiation.dcid, negotiation.scid, versions.collect::<Vec<_>>()))
        };
        let answered = read(&answer).expect("it is a negotiation");
        assert_eq!(*answered.1, script.cid[..]);
        let mut recorded = self.recording.asides.iter().filter_map(|aside| read(aside));
        assert!(recorded.any(|recorded| recorded == answered), "{answer:x?}");
    }

    /// Plays a connection.
    pub(super) fn connect<'b>(&'b mut self, script: &'a Connection) -> Scene<'a, 'b> {
        let (restarts, _) = self.recording.config_at(script.starts());
        if self.ours == Side::Server && restarts > self.life {
            self.restart(restarts);
        }
        let config = self.limit(script);
        let actor = Actor::new(!self.ours, &script.cid, script.starts());
        let handle = config
            .map(|config| self.end.connect(actor.now, FourTuple::to(address(1)), HOST, &config).unwrap());
        let (said, told, application, keyed) = (0, BTreeMap::new(), Application::default(), Vec::new());
        let mut scene = Scene { play: self, script, actor, handle, keyed, said, told, application };
        scene.flush();
        for packet in &script.packets {
            scene.wait(packet.at);
            if packet.from == scene.play.ours {
                scene.act(packet);
            } else {
                scene.speak(packet);
            }
            scene.flush();
        }
        scene
    }

    /// The recorded config of this name: the server's that is played, or as near as ours comes to it.
    fn config_named(&self, scid: &[u8]) -> Vec<u8> {
        let recorded = self.recording.events("server_config").map(|line| bytes(&line["scfg"]));
        let mut all = self.configs.iter().cloned().chain(recorded);
        all.find(|config| Scfg::parse(config).unwrap().scid() == scid).expect("the config is known")
    }
}

impl Scene<'_, '_> {
    fn connection(&mut self) -> Option<&mut Ours> {
        let handle = self.handle.or(self.actor.accepted)?;
        self.play.end.connection(handle)
    }

    /// Lets time pass as it did then.
    fn wait(&mut self, until: Instant) {
        while let Some(next) = self.play.end.next_timeout().filter(|next| *next <= until) {
            self.actor.now = self.actor.now.max(next);
            self.play.end.handle_timeout(self.actor.now);
            self.flush();
        }
        self.actor.now = self.actor.now.max(until);
    }

    /// Listens, reads and acknowledges until nothing more comes.
    fn flush(&mut self) {
        loop {
            while let Some(packet) = self.actor.poll(&mut self.play.end) {
                self.actor.hear(packet);
                self.derive();
            }
            self.read();
            if let Some(ack) = self.actor.ack() {
                self.actor.say(&mut self.play.end, ack);
                continue;
            }
            // What the pacer holds back.
            let now = self.actor.now;
            let more = self.connection().is_some_and(Ours::streams_want_to_send);
            let next =
                self.play.end.next_timeout().filter(|next| more && *next < now + Duration::from_millis(20));
            let Some(next) = next else { return };
            self.actor.now = now.max(next);
            self.play.end.handle_timeout(self.actor.now);
        }
    }

    /// The application reads all that there is.
    fn read(&mut self) {
        while let Some(event) = self.play.end.poll_event() {
            if let Event::Closed(reason) = event.1 {
                self.application.closed = Some(reason);
            }
        }
        let Some(handle) = self.handle.or(self.actor.accepted) else { return };
        let Some(connection) = self.play.end.connection(handle) else { return };
        while let Some(id) = connection.accept(Dir::Bi) {
            self.application.got.entry(wire(id)).or_default();
        }
        for (stream, got) in &mut self.application.got {
            let Ok(mut recv) = connection.recv_stream(id(*stream)) else { continue };
            let mut block = [0; 4096];
            loop {
                match recv.read(&mut block) {
                    Ok(read) => {
                        got.data.extend_from_slice(&block[..read.len]);
                        got.fin |= read.fin;
                        if read.fin {
                            break;
                        }
                    }
                    Err(ReadError::Reset(code)) => {
                        got.reset = Some((code.as_u64() as u32, 0));
                        break;
                    }
                    Err(_) => break,
                }
            }
        }
    }

    // What our application does where the recorded one sent this.
    fn act(&mut self, packet: &Packet) {
        for frame in Frames::new(&packet.plain) {
            match frame.unwrap() {
                Frame::Stream { stream: 1, .. } => {}
                Frame::Stream { stream, offset, data, fin } => {
                    self.write(stream, offset as usize + data.len(), fin);
                }
                // It tried to say more than it might.
                Frame::Blocked { stream: 0 } => {
                    let streams: Vec<u32> = self.application.written.keys().copied().collect();
                    streams.into_iter().for_each(|stream| self.write(stream, usize::MAX, false));
                }
                Frame::Blocked { stream } => self.write(stream, usize::MAX, false),
                Frame::RstStream { stream, code, .. } => self.reset(stream, code.0),
                Frame::ConnectionClose { code, reason } => self.close(code, reason),
                _ => {}
            }
            self.flush();
        }
    }

    /// A stream of ours is opened at the latest when something is said on it.
    fn open(&mut self, stream: u32) {
        let (ours, opened) = (self.play.ours, &mut self.application.opened);
        let handle = self.handle.or(self.actor.accepted);
        let Some(connection) = handle.and_then(|handle| self.play.end.connection(handle)) else { return };
        while id(stream).initiator() == ours && id(stream).index() >= *opened {
            let Ok(next) = connection.open(Dir::Bi) else { return };
            self.application.got.entry(wire(next)).or_default();
            *opened += 1;
        }
    }

    /// Writes what was said on a stream up to there.
    fn write(&mut self, stream: u32, end: usize, fin: bool) {
        let ours = self.play.ours;
        let spoken = self.script.spoken(ours).remove(&stream).unwrap_or_default();
        let (from, end) =
            (self.application.written.get(&stream).copied().unwrap_or(0), end.min(spoken.data.len()));
        self.open(stream);
        let Some(connection) = self.connection() else { return };
        let mut written = from;
        let mut ended = false;
        if let Ok(mut send) = connection.send_stream(id(stream)) {
            while written < end {
                let Ok(len) = send.write(&spoken.data[written..end]) else { break };
                written += len;
            }
            ended = fin && written == spoken.data.len() && send.finish().is_ok();
        }
        self.application.got.entry(stream).or_default();
        self.application.written.insert(stream, written);
        if ended {
            self.application.finished.push(stream);
        }
    }

    fn reset(&mut self, stream: u32, code: u32) {
        self.application.got.entry(stream).or_default();
        let Some(connection) = self.connection() else { return };
        match code {
            // It wants no more, but finishes what it has to say.
            0 => drop(connection.recv_stream(id(stream)).map(|mut recv| recv.stop(AppError::default()))),
            // Nobody asks the application for that answer.
            7 => {}
            _ => drop(connection.send_stream(id(stream)).map(|mut send| send.reset(AppError::from(code)))),
        }
    }

    /// Closes with this code, if an application did that.
    fn close(&mut self, code: ErrorCode, reason: &[u8]) {
        self.finish();
        let now = self.actor.now;
        let code = match code {
            ErrorCode::PEER_GOING_AWAY => AppError::default(),
            // These the protocol says without being asked.
            ErrorCode::NETWORK_IDLE_TIMEOUT | ErrorCode::INVALID_CRYPTO_MESSAGE_PARAMETER => return,
            code => AppError::from(code.0),
        };
        if let Some(connection) = self.connection() {
            connection.abort(now, code, reason);
        }
    }

    /// Everything is said before the end.
    fn finish(&mut self) {
        let ours = self.script.spoken(self.play.ours);
        for (stream, spoken) in &ours {
            self.write(*stream, usize::MAX, spoken.fin);
            self.flush();
        }
    }

    // The played end says what it said then, if it has not said it yet.
    fn speak(&mut self, packet: &Packet) {
        self.actor.rises |= packet.kind.is_none();
        for frame in Frames::new(&packet.plain) {
            let frame = frame.unwrap();
            if let Frame::Stream { stream: stream @ 2.., .. } = frame {
                self.open(stream);
            }
            let mut out = vec![0; 2000];
            let mut w = Writer::new(&mut out);
            match frame {
                Frame::Stream { stream: 1, offset, .. } => {
                    let starts = self.script.message_starts(!self.play.ours);
                    if starts.get(self.said) == Some(&offset) {
                        self.say_message(packet.kind);
                        self.flush();
                    }
                    continue;
                }
                Frame::Stream { stream, offset, data, fin } => {
                    let told = self.told.entry(stream).or_default();
                    let end = offset as usize + data.len() + usize::from(fin);
                    if end <= *told {
                        continue;
                    }
                    *told = end;
                    w.bytes(&stream_frame(stream, offset, data, fin));
                }
                Frame::Ack(_) | Frame::Padding(_) | Frame::GoAway { .. } => continue,
                Frame::WindowUpdate { stream, limit } => encode::window_update(&mut w, stream, limit),
                Frame::Blocked { stream } => encode::blocked(&mut w, stream),
                Frame::RstStream { stream, final_offset, code } => {
                    encode::rst_stream(&mut w, stream, final_offset, code);
                }
                Frame::Ping => encode::ping(&mut w),
                Frame::ConnectionClose { code, reason } => {
                    self.finish();
                    encode::connection_close(&mut w, code, reason);
                }
            }
            let len = w.len();
            let packet = self.actor.packet(packet.kind, None, &out[..len]);
            self.actor.say(&mut self.play.end, packet);
            self.flush();
        }
    }

    /// The next handshake message of the played end, with what follows from what ours said before.
    fn say_message(&mut self, kind: Option<LongType>) {
        let played = !self.play.ours;
        let recorded = &self.script.messages[played as usize][self.said];
        self.said += 1;
        let (message, nonce) = match played {
            Side::Client => (self.chlo(recorded), None),
            Side::Server if value(recorded, tags::PUBS).is_empty() => (self.rej(recorded), None),
            Side::Server => {
                self.secure_server(recorded);
                (message(tags::SHLO, recorded, &[]), self.script.diversification())
            }
        };
        for frame in self.actor.crypto_frames(&message) {
            let packet = self.actor.packet(kind, nonce.as_ref(), &frame);
            self.actor.say(&mut self.play.end, packet);
        }
    }

    /// A rejection; the proof is made anew, as the client's hello is not quite the recorded one.
    fn rej(&self, recorded: &Tags) -> Vec<u8> {
        let proof = &self.play.proof;
        let mut changes = Vec::new();
        if !value(recorded, tags::PROF).is_empty() {
            let chlo = self.actor.heard.messages().pop().unwrap();
            let signature = proof.sign(chlo.bytes(), value(recorded, tags::SCFG)).unwrap();
            changes = vec![(tags::PROF, signature), (tags::CRT, proof.packed_chain().to_vec())];
        }
        message(tags::REJ, recorded, &changes)
    }

    /// A hello; the token is what our server gave, and the certificate that of our server.
    fn chlo(&mut self, recorded: &Tags) -> Vec<u8> {
        let leaf = self.play.proof.leaf_hash().to_le_bytes().to_vec();
        let chlo = message(tags::CHLO, recorded, &[(tags::XLCT, leaf), (tags::STK, self.play.token.clone())]);
        if let Some(public) = value(recorded, tags::PUBS).first_chunk::<32>() {
            let key = PrivateKey::from_bytes(self.play.recording.private(public));
            let scfg = self.play.config_named(value(recorded, tags::SCID));
            let secret = key.agree(Scfg::parse(&scfg).unwrap().public_key()).unwrap();
            self.actor.undiversified = Some(self.keys(KeyLevel::Initial, &chlo, &secret, &[]));
        }
        chlo
    }

    /// The keys that follow from a complete hello.
    fn keys(&self, level: KeyLevel, chlo: &[u8], secret: &[u8; 32], server_nonce: &[u8]) -> KeyMaterial {
        let read = Message::parse_whole(chlo).unwrap();
        let context = KeyContext {
            client_nonce: read.get(tags::NONC).unwrap(),
            server_nonce,
            cid: &self.actor.cid,
            chlo,
            scfg: &self.play.config_named(read.get(tags::SCID).unwrap()),
            leaf: self.play.proof.leaf(),
        };
        KeyMaterial::derive(level, secret, &context)
    }

    /// The played server has accepted our client's hello.
    fn secure_server(&mut self, shlo: &Tags) {
        let chlo = self.actor.heard.messages().pop().unwrap().bytes().to_vec();
        let public = *Message::parse_whole(&chlo).unwrap().array::<32>(tags::PUBS).unwrap();
        let ephemeral = PrivateKey::from_bytes(self.play.recording.private(value(shlo, tags::PUBS)));
        let secret = ephemeral.agree(&public).unwrap();
        let secure = self.keys(KeyLevel::ForwardSecure, &chlo, &secret, value(shlo, tags::SNO));
        self.actor.secure = Some(pair(&secure));
    }

    /// What a message that has just come gives the played end: keys, a token.
    fn derive(&mut self) {
        let Some(last) = self.actor.heard.messages().pop().map(|message| message.bytes().to_vec()) else {
            return;
        };
        let last = Message::parse_whole(&last).unwrap();
        if let Some(token) = last.get(tags::STK).filter(|_| last.tag() == tags::REJ) {
            self.play.token = token.to_vec();
        }
        if let Some(config) = last.get(tags::SCFG) {
            self.play.configs.push(config.to_vec());
        }
        let public = last.array::<32>(tags::PUBS);
        match (last.tag(), public) {
            (tags::CHLO, Some(public)) if self.keyed != last.bytes() => {
                self.keyed = last.bytes().to_vec();
                let scfg = self.play.config_named(last.get(tags::SCID).unwrap());
                let of_config = self.play.recording.private(Scfg::parse(&scfg).unwrap().public_key());
                let secret = PrivateKey::from_bytes(of_config).agree(public).unwrap();
                let keys = self.keys(KeyLevel::Initial, last.bytes(), &secret, &[]);
                let nonce = self.script.diversification().unwrap();
                self.actor.initial = Some(pair(&keys.diversify(&nonce)));
            }
            (tags::SHLO, Some(public)) if self.actor.secure.is_none() => {
                let said = &self.script.messages[Side::Client as usize][self.said - 1];
                let key = PrivateKey::from_bytes(self.play.recording.private(value(said, tags::PUBS)));
                let secret = key.agree(public).unwrap();
                // As it was said, with what was changed in it.
                let chlo = self.chlo(said);
                let keys = self.keys(KeyLevel::ForwardSecure, &chlo, &secret, last.get(tags::SNO).unwrap());
                self.actor.secure = Some(pair(&keys));
            }
            _ => {}
        }
    }
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

/// The stream with this number on the wire, as applications know it.
fn id(stream: u32) -> StreamId {
    let (side, first) = if stream % 2 == 1 { (Side::Client, 3) } else { (Side::Server, 2) };
    StreamId::new(side, Dir::Bi, u64::from(stream - first) / 2)
}

fn wire(id: StreamId) -> u32 {
    (id.index() * 2) as u32 + if id.initiator().is_client() { 3 } else { 2 }
}
