//! What a protocol family provides: everything that depends on how packets look and how the handshake goes.
//!
//! A family sits on top of the engine, which it gets with every call. It turns datagrams into the engine's verbs, and the engine's intents
//! into datagrams. Whoever owns a connection holds one family as an enum and calls it by this trait, without dynamic dispatch.
//!
//! Invariants: a family never blocks and never fails as a whole; a violation of the protocol closes the connection by [`Engine::close`].

use super::Engine;
use super::budget::Allowance;
use super::packet::Opened;
use super::probes::Probe;
use super::settle::FamilyTokens;
use crate::event::HandshakeInfo;
use crate::id::Cid;
use crate::net::Ecn;
use crate::time::Instant;
use bytes::Bytes;

/// One protocol family's part of a connection.
pub trait Family: FamilyTokens {
    /// The first moment: a client's first flight gets ready; a server has nothing to say yet.
    fn start(&mut self, engine: &mut Engine);

    /// Takes a datagram, which is decrypted in place.
    fn receive(&mut self, engine: &mut Engine, now: Instant, ecn: Option<Ecn>, payload: &mut [u8]) -> Opened;

    /// Whether [`transmit`](Self::transmit) would write anything, if nothing limited it. Asked with every packet.
    fn wants_to_send(&self, engine: &mut Engine) -> bool;

    /// Writes one datagram of at most the length of `out`; zero if there is none within the allowance.
    fn transmit(&mut self, engine: &mut Engine, now: Instant, out: &mut [u8], allowance: Allowance) -> usize;

    /// Writes the datagram that closes the connection.
    fn transmit_close(&mut self, engine: &mut Engine, out: &mut [u8]) -> usize;

    /// Writes a datagram that probes a path or its MTU.
    fn transmit_probe(&mut self, engine: &mut Engine, out: &mut [u8], probe: &Probe) -> usize;

    /// Runs the family's own timers.
    fn handle_timeout(&mut self, engine: &mut Engine, now: Instant);

    /// The id under which packets reach the connection from the start.
    fn local_cid(&self) -> Cid;

    /// Whether the peer's packets bear no id that was agreed on, so that they are told from others' by their addresses.
    fn is_routed_by_address(&self, engine: &Engine) -> bool;

    /// Whether no more packets are expected that bear the id that the client chose for its first ones.
    fn is_past_first_id(&self, engine: &Engine) -> bool;

    /// Whether the handshake is complete on this side.
    fn is_established(&self) -> bool;

    /// What the handshake agreed on; `None` before it is complete.
    fn handshake_info(&self) -> Option<HandshakeInfo>;

    /// Fills `out` with keying material (RFC 5705); `false` if there is none, or not yet.
    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool;

    /// Starts to use new packet keys; `false` if that is not possible, or not now.
    fn initiate_key_update(&mut self, engine: &mut Engine) -> bool;

    /// The address token that the server gave for the next connection, once.
    fn take_received_token(&mut self) -> Option<Bytes>;
}
