//! Bytes on the wire as RFC 9000 defines them: packet headers (§17), frames (§19), transport parameters (§18), Retry packets (§17.2.5);
//! and Version Information (RFC 9368 §3).
//!
//! Owns parsing with every check that needs nothing but the bytes, and encoding; what a frame does to a connection is decided elsewhere.
//!
//! Invariants: nothing here panics or allocates more than in proportion to its input, whatever the input; what was encoded is parsed
//! back as the same. No timers.

pub mod ack;
pub mod encode;
pub mod frame;
pub mod header;
pub mod params;
pub mod retry;
pub mod version_info;

pub use ack::{AckFrame, AckRanges};
pub use frame::{Frame, Frames};
pub use header::{HeaderError, LongHeader, LongKind, LongLayout, ShortHeader};
pub use params::{PreferredAddress, TransportParameters};
pub use version_info::VersionInformation;
