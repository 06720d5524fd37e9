//! The handshake: tagged messages that go to and fro until both ends have keys (chapter 7).
//!
//! ```text
//!  client                                        server
//!  CHLO (inchoate)                 null  ->
//!                                        <-  null     REJ (STK, SCFG)          by `greet`, without a connection
//!  CHLO (with STK, SCID)           null  ->
//!                                        <-  null     REJ (STK, SCFG, PROF, CRT)
//!  CHLO (complete)                 null  ->
//!                                        <-  initial  SHLO
//! ```
//! A client that remembers the server starts with the complete CHLO.
//!
//! Owns what one message makes of the state at each end; streams, packets and levels are none of its business. Invariants: a client sends
//! a complete CHLO only for a server config that the server has proved to be its own; bytes that enter hashes and keys are those that were
//! on the wire. Timers: none.

pub(super) mod chlo;
pub(super) mod client;
pub(super) mod reject;
pub(super) mod server;

use super::crypto::kdf::KeyMaterial;
use super::params::Params;
use super::wire::error::{ErrorCode, Violation};
use super::wire::message::Tag;
use crate::id::{Cid, ResetToken};
use crate::rng::Rng;
use crate::time::UnixTime;

/// What a step of the handshake needs from outside.
pub(super) struct Scene<'a> {
    /// The time.
    pub(super) now: UnixTime,
    /// The connection id.
    pub(super) cid: Cid,
    /// Randomness.
    pub(super) rng: &'a mut dyn Rng,
}

/// What both ends have in the end.
pub(super) struct Agreement {
    /// The forward-secure keys.
    pub(super) forward: KeyMaterial,
    /// The peer's limits.
    pub(super) params: Params,
    /// How the peer tells that it lost the connection; from Chromium's servers.
    pub(super) reset_token: Option<ResetToken>,
}

/// A value that must be there is not.
fn missing(tag: Tag) -> Violation {
    Violation::new(ErrorCode::CRYPTO_MESSAGE_PARAMETER_NOT_FOUND, format!("{tag} is missing"))
}

/// A value is not what it must be.
fn invalid(tag: Tag) -> Violation {
    Violation::new(ErrorCode::INVALID_CRYPTO_MESSAGE_PARAMETER, format!("{tag} is not valid"))
}
