//! What holds for every version of QUIC (RFC 8999), and the table of versions that this library knows.
//!
//! Owns the part of a packet that can be read before its version is known ([`peek()`]), Version Negotiation packets, and what differs
//! between versions as data ([`VersionSpec`]).
//!
//! Invariants: reading never fails on a packet that RFC 8999 allows, whatever its version; nothing here allocates. No timers.

mod negotiation;
mod peek;
pub mod version;

pub use negotiation::{
    Negotiated, OfferedVersions, encode_packed_version_negotiation, encode_version_negotiation,
};
pub use peek::{PeekError, Peeked, peek};
pub use version::{Family, Labels, SUPPORTED, Version, VersionSpec, spec};
