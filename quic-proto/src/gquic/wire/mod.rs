//! Bytes on the wire: packet headers, version negotiation in both shapes, public resets, frames, handshake messages, error codes.
//!
//! Owns parsing with every check that needs nothing but the bytes, and encoding; what something means for a connection is decided
//! elsewhere.
//!
//! Invariants: nothing here panics, and only builders of messages allocate; what was encoded is parsed back as the same. No timers.

pub mod ack;
pub mod encode;
pub mod error;
pub mod frame;
pub mod header;
pub mod message;
pub mod negotiation;
pub mod reset;
pub mod ufloat16;

pub use ack::{AckFrame, AckRanges};
pub use error::{ErrorCode, ResetCode, Violation};
pub use frame::{Frame, Frames};
pub use header::{HeaderError, LongHeader, LongType, ShortHeader, TruncatedNumber};
pub use message::{Builder, Message, Tag};

#[cfg(test)]
pub(in crate::gquic) mod vectors;
