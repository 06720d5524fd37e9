//! Google QUIC, version Q044: packets with the headers of an early IETF draft, and inside them the classic frames, a handshake of tagged
//! messages on stream 1, and keys of its own. No TLS, no header protection, no coalescing: a datagram is a packet.
//!
//! Owns everything that this version does in its own way; streams, flow control, recovery and paths are the engine's. The behaviour is
//! that of quic-go 0.10 and of Chromium in 2018/19; where they differ, what is sent here is understood by both. Comments that name
//! chapters mean those of the description of Q044 that the test data came with.
//!
//! On the way in: `open` (header, number, trial decryption) and `dispatch` (frame → verb of the engine). On the way out: `fill` (levels,
//! sealing) and `assemble` (intents → frames). The handshake is in `handshake` and `hello`; what a server says before there is a
//! connection, in `greet`.
//!
//! Byte orders: packet headers and frames are big-endian, handshake messages little-endian, and so is the packet number in a nonce.
//!
//! Invariants: all packets are of the engine's Data space; the connection has one id, chosen by the client; keys only ever rise.
//!
//! Timers: `Handshake` (10 s by default), and `Idle`, which says goodbye here.
//!
//! Packets and their frames are logged, in words, to the `tracing` target `quic_proto::packets` at the level `DEBUG`.
//!
//! # To speak it
//!
//! [`ClientConfig`] and [`ServerConfig`] here go into those of everybody: alone by [`of`](crate::config::ClientConfig::of), beside versions
//! with TLS by [`family`](crate::config::ClientConfig::family). All else is the same: endpoints, connections, streams, events. There are
//! no unidirectional streams: to open one is in vain.
//!
//! ```
//! use quic_proto::crypto::rustls::Identity;
//! use quic_proto::{config, gquic};
//! use std::sync::Arc;
//! # fn example(identity: Identity, roots: rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
//! let server = gquic::ServerConfig::new(gquic::ProofSource::from_identity(identity)?, &[1; 32]);
//! let server = config::ServerConfig::of(Arc::new(server), &[2; 32]).build()?;
//! let client = gquic::ClientConfig::new(gquic::ServerTrust::with_roots(roots)?);
//! let client = config::ClientConfig::of(Arc::new(client)).build()?;
//! # Ok(()) }
//! ```

mod assemble;
mod close;
mod config;
pub mod crypto;
mod dispatch;
mod fill;
mod greet;
mod handshake;
mod hello;
mod keys;
mod levels;
mod log;
mod open;
mod params;
mod start;
mod stash;
mod stream_id;
pub mod wire;

pub use config::{ClientConfig, ServerConfig};
pub use crypto::proof::{ProofSource, ProofSourceError, ServerTrust};

use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::family::Family;
use crate::engine::lifecycle::CloseFrame;
use crate::engine::packet::Opened;
use crate::engine::probes::Probe;
use crate::engine::settle::FamilyTokens;
use crate::error::TransportError;
use crate::event::{Event, HandshakeInfo};
use crate::id::Cid;
use crate::net::Ecn;
use crate::recovery::token::Token;
use crate::time::{Instant, UnixTime};
use crate::timer::Timer;
use bytes::Bytes;
use handshake::Handshake;
use keys::{Keys, Level};
use levels::SentLevels;
use stash::Stash;
use wire::error::ErrorCode;
use wire::header::NONCE_LEN;

/// How many forward-secure packets a server sends before it knows that its client can read them: half of what clients keep.
const MAX_UNHEARD: u32 = 5;

/// The family's state of one connection.
pub(crate) struct Gquic {
    /// The 8 bytes that the client chose: the only name of the connection.
    cid: Cid,
    keys: Keys,
    /// Keys came since the stash was last looked at.
    keys_changed: bool,
    stash: Stash,
    handshake: Handshake,
    /// The wall clock at the epoch of all times.
    epoch: UnixTime,
    sent_levels: SentLevels,
    /// What diversifies the server's initial keys, in the header of all its packets of that level.
    nonce: Option<[u8; NONCE_LEN]>,
    /// Packets in a row that carried nothing but an ACK.
    ack_only: u8,
}

impl Family for Gquic {
    fn start(&mut self, engine: &mut Engine) {
        let deadline = engine.now() + engine.config.handshake_timeout;
        engine.timers.set(Timer::Handshake, Some(deadline));
        if let Err(error) = self.say_hello(engine, None) {
            Self::fail(engine, &error);
        }
    }

    fn receive(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        _ecn: Option<Ecn>,
        payload: &mut [u8],
    ) -> Opened {
        let opened = self.open_datagram(engine, now, payload);
        self.open_stashed(engine, now);
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

    // Runs the family's timers. Chapter 11: a connection that is given up for its silence says so, by error 67 during the handshake and 25
    // later.
    fn handle_timeout(&mut self, engine: &mut Engine, now: Instant) {
        let late = engine.timers.expired(Timer::Handshake, now) && !engine.confirmed;
        if late || engine.timers.expired(Timer::Idle, now) {
            let (code, reason) = if engine.confirmed {
                (ErrorCode::NETWORK_IDLE_TIMEOUT, "nothing came for too long")
            } else {
                (ErrorCode::HANDSHAKE_TIMEOUT, "the handshake took too long")
            };
            engine.time_out(CloseFrame::Transport(close::violation(code, reason)));
        }
    }

    fn local_cid(&self) -> Cid {
        self.cid
    }

    // Chapter 2.2: "A server's short header has no connection ID at all".
    fn is_routed_by_address(&self, engine: &Engine) -> bool {
        engine.side.is_client()
    }

    // All that a client sends bears it.
    fn is_past_first_id(&self, _engine: &Engine) -> bool {
        false
    }

    fn is_established(&self) -> bool {
        self.keys.highest() == Level::ForwardSecure
    }

    fn handshake_info(&self) -> Option<HandshakeInfo> {
        self.is_established().then(|| self.handshake.info())
    }

    // There is none in this version.
    fn export_keying_material(&self, _out: &mut [u8], _label: &[u8], _context: &[u8]) -> bool {
        false
    }

    // There are no key updates.
    fn initiate_key_update(&mut self, _engine: &mut Engine) -> bool {
        false
    }

    // Source address tokens are in the memory of the client's settings.
    fn take_received_token(&mut self) -> Option<Bytes> {
        None
    }
}

impl Gquic {
    /// The level of everything but handshake bytes.
    ///
    /// Chapter 3.4 has a server forward secure as soon as it has accepted a hello. But what comes before the SHLO its client cannot read: of
    /// such packets quic-go's keeps ten, and gives up if there are more (2.5). So as long as nothing shows that the SHLO has come, a few
    /// packets are forward secure, and those only if the client has keys; all others are of the level of the SHLO, which can be read as soon as
    /// one packet of it has come.
    fn level(&self, engine: &Engine) -> Level {
        let heard = engine.confirmed || self.handshake.is_client() || self.handshake.is_answered();
        let few = self.keys.seen() >= Some(Level::Initial) && self.sent_levels.secure() < MAX_UNHEARD;
        if heard || few { self.keys.highest() } else { self.handshake.level() }
    }

    /// Whether stream data may leave at `level`. A server has nothing to say below the highest.
    fn may_send_streams(&self, level: Level) -> bool {
        level >= Level::Initial && (self.handshake.is_client() || level == Level::ForwardSecure)
    }

    /// The peer can read what is forward secure.
    fn confirm(&mut self, engine: &mut Engine) {
        engine.confirmed = true;
        engine.timers.set(Timer::Handshake, None);
        // Chapter 3.6: "Then the null and initial level data still outstanding on stream 1 need not be sent any more".
        self.handshake.settle(engine);
        engine.push_event(Event::HandshakeConfirmed);
        if engine.config.mtu_discovery {
            engine.paths.active_mut().mtu.search();
        }
    }

    /// Ends the connection with an error.
    fn fail(engine: &mut Engine, error: &TransportError) {
        let error = close::translate(error);
        tracing::debug!(%error, "violation");
        engine.close(CloseFrame::Transport(error));
    }
}

impl FamilyTokens for Gquic {
    fn on_acked(&mut self, token: Token) {
        if let Token::Crypto { offset, len, .. } = token {
            self.handshake.stream().on_acked(offset, len);
        }
    }

    fn on_lost(&mut self, token: Token) {
        if let Token::Crypto { offset, len, .. } = token {
            self.handshake.stream().on_lost(offset, len);
        }
    }
}
