//! The handshake on stream 1: bytes into messages, messages to the side's part in `hello`, and what comes of that into keys and limits.
//!
//! Owns the one stream of handshake bytes and what has come of a message so far. Invariants: of what a client sends only the last hello is
//! outstanding, and each fits a packet; a server's SHLO is the last that it says. Timers: see the family.

use super::crypto::kdf::KeyMaterial;
use super::crypto::source_token::{self, Proof};
use super::hello::client::{ClientHello, Hello};
use super::hello::server::{Accept, Answer, ServerHello};
use super::hello::{Agreement, Scene};
use super::keys::Level;
use super::params::Params;
use super::wire::error::{ErrorCode, Violation};
use super::wire::header::NONCE_LEN;
use super::wire::message::{CHLO_PADDED_LEN, MAX_LEN, Message, tags};
use super::{Gquic, close};
use crate::engine::Engine;
use crate::engine::crypto_stream::CryptoStream;
use crate::error::TransportError;
use crate::event::{Event, HandshakeInfo};
use crate::id::SpaceId;

/// What is negotiated: there is but one AEAD. As quic-go and Chromium name it, with the length of the tag.
const CIPHER: &str = "AES_128_GCM_12";

/// An ACK with more ranges than this waits for the next packet, so that a hello has the room that it needs.
const MAX_RANGES_WITH_HELLO: usize = 4;

/// A handshake.
pub(super) struct Handshake {
    role: Role,
    stream: CryptoStream,
    /// The start of a message that has not come completely.
    partial: Vec<u8>,
    /// The level of what is on the stream to be sent.
    level: Level,
    /// The client's initial keys as long as it does not know with what the server's half is diversified.
    undiversified: Option<KeyMaterial>,
    info: HandshakeInfo,
}

enum Role {
    Client(Box<ClientHello>),
    Server(Box<ServerHello>),
    /// All was said.
    Over {
        client: bool,
    },
}

impl Handshake {
    pub(super) fn client(hello: ClientHello) -> Self {
        Self::new(Role::Client(Box::new(hello)))
    }

    pub(super) fn server(hello: ServerHello) -> Self {
        Self::new(Role::Server(Box::new(hello)))
    }

    fn new(role: Role) -> Self {
        Self {
            role,
            stream: CryptoStream::default(),
            partial: Vec::new(),
            level: Level::Null,
            undiversified: None,
            info: HandshakeInfo::default(),
        }
    }

    pub(super) fn is_client(&self) -> bool {
        matches!(self.role, Role::Client(_) | Role::Over { client: true })
    }

    pub(super) fn stream(&mut self) -> &mut CryptoStream {
        &mut self.stream
    }

    pub(super) fn wants_to_send(&self) -> bool {
        self.stream.peek().is_some()
    }

    /// Whether all that was said has been acknowledged.
    pub(super) fn is_answered(&self) -> bool {
        self.stream.is_acked()
    }

    /// The level of handshake bytes.
    pub(super) fn level(&self) -> Level {
        self.level
    }

    /// What was agreed on.
    pub(super) fn info(&self) -> HandshakeInfo {
        self.info.clone()
    }

    /// The client's initial keys with the server's half diversified by `nonce`, if that is still to be found out.
    pub(super) fn diversified(&self, nonce: &[u8; NONCE_LEN]) -> Option<KeyMaterial> {
        self.undiversified.as_ref().map(|keys| keys.diversify(nonce))
    }

    /// The initial keys are complete.
    pub(super) fn on_diversified(&mut self) {
        self.undiversified = None;
    }

    /// Whether these bytes are a hello that a client repeats, so that it has not heard the answer.
    ///
    /// The answer comes again at once: a server may have no RTT to wait for, and of the forward-secure ACKs that it would give meanwhile
    /// quic-go's client keeps ten, and gives up if there are more (chapter 2.5). Less than a whole hello is worth no answer: anybody could
    /// send it in the client's name.
    fn is_repetition(&self, offset: u64, data: &[u8]) -> bool {
        let whole = data.len() >= CHLO_PADDED_LEN;
        !self.is_client() && whole && self.stream.is_read(offset.saturating_add(data.len() as u64))
    }

    /// Takes bytes of the stream, and returns those that make up whole messages.
    fn receive(&mut self, offset: u64, data: &[u8]) -> Result<Vec<u8>, TransportError> {
        // Chapter 10: "A receiver still checks its stream window (quic-go: 32768 bytes in all, never enlarged)".
        if offset.saturating_add(data.len() as u64) > MAX_LEN as u64 {
            let reason = "more handshake bytes than the window of stream 1";
            return Err(close::violation(ErrorCode::FLOW_CONTROL_RECEIVED_TOO_MUCH_DATA, reason));
        }
        let at_once = self.stream.receive(offset, data)?;
        self.partial.extend_from_slice(at_once);
        while let Some(bytes) = self.stream.read() {
            self.partial.extend_from_slice(&bytes);
        }
        let mut whole = 0;
        while let Some(message) =
            Message::parse(&self.partial[whole..]).map_err(|error| close::error(&error))?
        {
            whole += message.len();
        }
        let rest = self.partial.split_off(whole);
        Ok(std::mem::replace(&mut self.partial, rest))
    }

    /// The peer has shown by what it says that all that was said to it has come.
    pub(super) fn settle(&mut self, engine: &mut Engine) {
        self.stream.forget_sent();
        // It need not acknowledge it any more: its word was the answer.
        if let Some(sent) = engine.recovery.forget_handshake(engine.now(), SpaceId::Data) {
            let answered = engine.now() - sent;
            engine.paths.active_mut().rtt.assume(answered);
        }
    }

    /// A server whose stream goes on where a rejection ended that was sent before there was a connection.
    fn resume(&mut self, sent: u64, received: u64) {
        self.stream = CryptoStream::resumed(sent, received);
    }
}

impl Gquic {
    /// Bytes of stream 1 in a packet of `level`.
    pub(super) fn on_crypto(
        &mut self,
        engine: &mut Engine,
        level: Level,
        offset: u64,
        data: &[u8],
    ) -> Result<(), TransportError> {
        self.resume(engine, offset, data);
        if self.handshake.is_repetition(offset, data) {
            self.handshake.stream.rewind();
        }
        let messages = self.handshake.receive(offset, data)?;
        let mut rest = &messages[..];
        while let Some(message) = Message::parse(rest).map_err(|error| close::error(&error))? {
            tracing::debug!(%level, ?message, "handshake message");
            self.on_message(engine, level, &message)?;
            rest = &rest[message.len()..];
        }
        Ok(())
    }

    /// The first hello that reaches a server's connection need not be the first of the client's: its token says what went before.
    fn resume(&mut self, engine: &mut Engine, offset: u64, data: &[u8]) {
        let Role::Server(hello) = &self.handshake.role else { return };
        if offset == 0 || self.handshake.stream.written() > 0 {
            return;
        }
        let token = Message::parse(data).ok().flatten().and_then(|message| message.get(tags::STK));
        let remote = engine.paths.active().tuple.remote;
        let now = self.epoch.at(engine.now());
        let proof = token
            .and_then(|token| source_token::check(hello.settings().tokens(), token, remote, now, self.cid));
        if let Some(Proof::Answer { end, after }) = proof {
            self.handshake.resume(end, offset);
            engine.paths.active_mut().rtt.assume(after);
        }
    }

    fn on_message(
        &mut self,
        engine: &mut Engine,
        level: Level,
        message: &Message<'_>,
    ) -> Result<(), TransportError> {
        match (message.tag(), &mut self.handshake.role) {
            (tags::REJ, Role::Client(_)) => self.say_hello(engine, Some(message)),
            (tags::SHLO, Role::Client(hello)) => {
                let (now, cid) = (self.epoch.at(engine.now()), self.cid);
                let scene = Scene { now, cid, rng: &mut *engine.rng };
                let agreement =
                    hello.on_shlo(&scene, level, message).map_err(|error| close::error(&error))?;
                self.handshake.info.peer_certificates = hello.chain();
                self.on_client_agreement(engine, &agreement);
                Ok(())
            }
            (_, Role::Server(hello)) => {
                let (now, cid) = (self.epoch.at(engine.now()), self.cid);
                let mut scene = Scene { now, cid, rng: &mut *engine.rng };
                match hello.on_chlo(&mut scene, message).map_err(|error| close::error(&error))? {
                    Answer::Reject(rejection) => self.write(engine, &rejection, Level::Null),
                    Answer::Accept(accept) => self.on_accept(engine, *accept),
                }
                Ok(())
            }
            // Chromium's servers give new configs later; there is no need for them.
            (tags::SCUP, Role::Over { client: true }) if level == Level::ForwardSecure => Ok(()),
            (tag, Role::Over { .. }) => Err(close::error(&Violation::new(
                ErrorCode::CRYPTO_MESSAGE_AFTER_HANDSHAKE_COMPLETE,
                format!("{tag} after the handshake"),
            ))),
            (tag, Role::Client(_)) => Err(close::error(&Violation::new(
                ErrorCode::INVALID_CRYPTO_MESSAGE_TYPE,
                format!("{tag} from a server"),
            ))),
        }
    }

    /// The client's first hello, or the next one after a rejection.
    pub(super) fn say_hello(
        &mut self,
        engine: &mut Engine,
        rejection: Option<&Message<'_>>,
    ) -> Result<(), TransportError> {
        let (now, cid) = (self.epoch.at(engine.now()), self.cid);
        let Role::Client(client) = &mut self.handshake.role else { return Ok(()) };
        let mut scene = Scene { now, cid, rng: &mut *engine.rng };
        let hello = match rejection {
            Some(message) => client.on_rej(&mut scene, message),
            None => client.hello(&mut scene),
        };
        let Hello { message, initial, early } = hello.map_err(|error| close::error(&error))?;
        self.write(engine, &message, Level::Null);
        // The keys of a hello that was refused open nothing.
        self.keys.drop_initial();
        if let (Some(params), Some(keys)) = (early, &initial) {
            self.keys.set_seal(Level::Initial, Box::new(keys.client_key()));
            engine.streams.set_peer_limits(params.limits());
        }
        self.handshake.undiversified = initial;
        self.keys_changed = true;
        Ok(())
    }

    /// The client has all that it needs.
    fn on_client_agreement(&mut self, engine: &mut Engine, agreement: &Agreement) {
        let Agreement { forward, params, reset_token } = agreement;
        self.keys.set_seal(Level::ForwardSecure, Box::new(forward.client_key()));
        self.keys.set_open(Level::ForwardSecure, Box::new(forward.server_key()));
        if let Some(token) = reset_token {
            engine.peer_cids.set_initial_token(*token);
        }
        self.on_agreement(engine, params);
        self.confirm(engine);
        // Chapter 3.4: "Right then quic-go's client sends a PING, so that the server soon has a forward-secure packet to see."
        engine.ping(SpaceId::Data);
    }

    /// The server has accepted a complete hello.
    fn on_accept(&mut self, engine: &mut Engine, accept: Accept) {
        let Accept { message, initial, nonce, agreement, server_name } = accept;
        self.write(engine, &message, Level::Initial);
        self.nonce = Some(nonce);
        self.keys.set_seal(Level::Initial, Box::new(initial.server_key()));
        self.keys.set_open(Level::Initial, Box::new(initial.client_key()));
        self.keys.set_seal(Level::ForwardSecure, Box::new(agreement.forward.server_key()));
        self.keys.set_open(Level::ForwardSecure, Box::new(agreement.forward.client_key()));
        self.handshake.info.server_name = Some(server_name);
        self.on_agreement(engine, &agreement.params);
    }

    /// Both ends have keys, or one that the other can get: the application may begin.
    fn on_agreement(&mut self, engine: &mut Engine, params: &Params) {
        let client = self.handshake.is_client();
        self.handshake.role = Role::Over { client };
        self.handshake.info.cipher_suite = Some(CIPHER);
        self.keys_changed = true;
        engine.streams.set_peer_limits(params.limits());
        engine.timing = params.timing(&engine.config);
        engine.recovery.set_peer_max_ack_delay(engine.timing.max_ack_delay);
        engine.push_event(Event::Connected);
    }

    /// Puts a message on the stream. Who has something new to say has heard an answer to what was said before.
    fn write(&mut self, engine: &mut Engine, message: &[u8], level: Level) {
        self.handshake.settle(engine);
        self.handshake.stream.write(message);
        self.handshake.level = level;
    }
}

/// Whether an ACK may go along with handshake bytes: it must not take the room that a hello needs.
pub(super) fn leaves_room_for_hello(engine: &Engine) -> bool {
    engine.acks.data().ranges().nth(MAX_RANGES_WITH_HELLO).is_none()
}
