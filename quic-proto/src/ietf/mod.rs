//! The family of the IETF's QUIC: v1 (RFC 9000, 9001), with v2 (RFC 9369) as another set of constants.
//!
//! It owns what a version decides: how packets look ([`wire`]), the TLS handshake and its keys, transport parameters, Retry and version
//! negotiation (`negotiate` for what can be forged, `compat` for what cannot). On the way in: `open` (datagram → packet →
//! plaintext) and `dispatch` (frame → verb of the engine). On the way out: `fill` (levels, coalescing, sealing) and `assemble` (intents → frames).
//!
//! Invariants: keys of a level exist from `Ladder::install` to `discard_space`, and with them go the space's sent packets, acks and crypto
//! stream; a Retry or a version negotiation packet counts only before any packet was authentic, and a Retry only once.
//!
//! Timers: `KeyDiscard` (old keys after a key update).

mod assemble;
mod compat;
mod dispatch;
mod fill;
pub mod handshake;
pub mod keys;
mod negotiate;
mod open;
mod start;
pub mod stash;
mod transitions;
pub mod wire;

pub(crate) use start::{ClientStart, ServerStart};

use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::family::Family;
use crate::engine::packet::Opened;
use crate::engine::probes::Probe;
use crate::engine::settle::FamilyTokens;
use crate::error::TransportError;
use crate::event::HandshakeInfo;
use crate::id::{Cid, Level};
use crate::invariants::{Version, VersionSpec};
use crate::net::Ecn;
use crate::recovery::token::Token;
use crate::time::Instant;
use crate::timer::Timer;
use bytes::Bytes;
use compat::Compat;
use handshake::Handshake;
use keys::{Ladder, UpdateRefused};
use stash::Stash;

/// The IETF family's state of one connection.
pub(crate) struct Ietf {
    /// The version of the first flight.
    original: Version,
    /// The one in use.
    spec: &'static VersionSpec,

    handshake: Handshake,
    keys: Ladder,
    /// From the first packet that has to wait until the handshake is confirmed, when no key is missing any more.
    stash: Option<Box<Stash>>,
    /// The exponent of the delays in our ACK frames (RFC 9000 §19.3).
    ack_delay_exponent: u8,
    /// That of the peer's, from its transport parameters once they were taken.
    peer_ack_delay_exponent: Option<u8>,
    /// Our source connection id in long headers.
    local_scid: Cid,
    /// The destination of the client's very first packet (RFC 9000 §7.3).
    original_dcid: Cid,
    /// What else there is to say about versions, until the handshake has settled it; nothing if there is but one.
    compat: Option<Box<Compat>>,
    /// The source id of the Retry packet, if there was one.
    retry_scid: Option<Cid>,
    /// The destination of the packet that is being taken.
    arrived_on: Cid,
    /// Whether that packet was opened with keys of the phase before.
    opened_with_old_key: bool,
    /// The peer's source id, from its first authentic packet.
    peer_initial_scid: Option<Cid>,
    /// What a client puts into its Initial packets: from a Retry, or from an earlier connection.
    token: Bytes,
    handshake_done_owed: bool,
    /// A server's token for the client's next connection, until the client has it.
    new_token: Option<Vec<u8>>,
    new_token_owed: bool,
    /// What a client got for its next connection.
    received_token: Option<Bytes>,
}

impl Family for Ietf {
    fn start(&mut self, engine: &mut Engine) {
        if let Err(error) = self.drive(engine) {
            Self::fail(engine, error);
        }
    }

    fn receive(&mut self, engine: &mut Engine, now: Instant, ecn: Option<Ecn>, payload: &mut [u8]) -> Opened {
        let mut opened = self.open_datagram(engine, now, ecn, payload);
        if let Some(stash) = &self.stash {
            if !stash.is_empty() {
                opened.spin = self.open_stashed(engine).or(opened.spin);
            }
            if engine.confirmed {
                self.stash = None;
            }
        }
        self.make_next_keys_in_time();
        // A closing connection has stopped its timers, and with them this one: it must not come back with a deadline in the past.
        let deadline = self.keys.deadline().filter(|_| engine.lifecycle.is_open());
        engine.timers.set(Timer::KeyDiscard, deadline);
        opened
    }

    fn wants_to_send(&self, engine: &mut Engine) -> bool {
        self.has_something_to_send(engine)
    }

    fn transmit(&mut self, engine: &mut Engine, now: Instant, out: &mut [u8], allowance: Allowance) -> usize {
        self.fill(engine, now, out, allowance)
    }

    fn transmit_close(&mut self, engine: &mut Engine, out: &mut [u8]) -> usize {
        self.fill_close(engine, out)
    }

    fn transmit_probe(&mut self, engine: &mut Engine, out: &mut [u8], probe: &Probe) -> usize {
        self.fill_probe(engine, out, probe)
    }

    fn handle_timeout(&mut self, engine: &mut Engine, now: Instant) {
        if engine.timers.expired(Timer::KeyDiscard, now) {
            self.keys.on_timeout(now);
            self.make_next_keys_in_time();
        }
    }

    fn local_cid(&self) -> Cid {
        self.local_scid
    }

    fn is_routed_by_address(&self, _engine: &Engine) -> bool {
        // By our ids; where those have no bytes, the endpoint knows.
        false
    }

    fn is_past_first_id(&self, engine: &Engine) -> bool {
        // What is left of the client's first flight is long gone when nothing has come for a while.
        engine.confirmed && engine.is_at_rest()
    }

    fn is_established(&self) -> bool {
        !self.handshake.session().is_handshaking()
    }

    fn handshake_info(&self) -> Option<HandshakeInfo> {
        let session = self.handshake.session();
        (!session.is_handshaking()).then(|| HandshakeInfo {
            protocol: session.alpn().map(<[u8]>::to_vec),
            server_name: session.server_name().map(str::to_owned),
            cipher_suite: session.cipher_suite(),
            peer_certificates: session.peer_certificates(),
        })
    }

    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        self.handshake.session().export_keying_material(out, label, context)
    }

    fn initiate_key_update(&mut self, engine: &mut Engine) -> bool {
        // Not before the handshake is confirmed, nor while an update is unacknowledged (RFC 9001 §6.1).
        engine.confirmed && self.update_keys().is_ok()
    }

    fn take_received_token(&mut self) -> Option<Bytes> {
        self.received_token.take()
    }
}

impl Ietf {
    /// Starts a key update.
    fn update_keys(&mut self) -> Result<(), UpdateRefused> {
        self.keys.initiate_update(|| self.handshake.session_mut().next_packet_keys())
    }

    /// Gives the ladder the next packet keys when it is time.
    fn make_next_keys_in_time(&mut self) {
        if self.keys.wants_next() {
            self.make_next_keys();
        }
    }

    fn make_next_keys(&mut self) {
        if let Some(next) = self.handshake.session_mut().next_packet_keys() {
            self.keys.provide_next(next);
        }
    }

    /// Ends the connection with a transport error.
    fn fail(engine: &mut Engine, error: TransportError) {
        tracing::debug!(%error, "violation");
        engine.close(crate::engine::lifecycle::CloseFrame::Transport(error));
    }

    /// Whether the Data space has anything beside handshake bytes.
    fn data_owed(&self, engine: &mut Engine, level: Level) -> bool {
        // The likeliest and cheapest first: this is asked with every packet.
        level == Level::OneRtt
            && ((self.handshake.is_complete() && engine.streams.can_send())
                || self.handshake_done_owed
                || self.new_token_owed
                || engine.peek_intent().is_some())
    }

    /// The version in use.
    pub(crate) fn version(&self) -> Version {
        self.spec.version
    }
}

impl FamilyTokens for Ietf {
    fn on_acked(&mut self, token: Token) {
        if let Token::Crypto { space, offset, len } = token {
            if let Some(stream) = self.handshake.stream(space) {
                stream.on_acked(offset, len);
            }
        } else if token == Token::NewToken {
            self.new_token = None;
            self.new_token_owed = false;
        }
    }

    fn on_lost(&mut self, token: Token) {
        match token {
            Token::Crypto { space, offset, len } => {
                if let Some(stream) = self.handshake.stream(space) {
                    stream.on_lost(offset, len);
                }
            }
            Token::HandshakeDone => self.handshake_done_owed = true,
            Token::NewToken => self.new_token_owed = self.new_token.is_some(),
            _ => {}
        }
    }
}
