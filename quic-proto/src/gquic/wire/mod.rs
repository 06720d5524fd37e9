//! Bytes on the wire: packet headers, version negotiation in both shapes, public resets, frames, handshake messages, error codes.
//!
//! Owns parsing with every check that needs nothing but the bytes, and encoding; what something means for a connection is decided
//! elsewhere.
//!
//! Invariants: nothing here panics, and only builders of messages allocate; what was encoded is parsed back as the same. No timers.

pub mod error;
pub mod ufloat16;

pub use error::{ErrorCode, ResetCode, Violation};

#[cfg(test)]
pub(in crate::gquic) mod vectors;
