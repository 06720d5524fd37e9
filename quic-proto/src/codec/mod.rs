//! Reading and writing bytes.
//!
//! Owns the encodings that every packet is made of: fixed-size integers, variable-length integers (RFC 9000 §16) and truncated packet
//! numbers (RFC 9000 §17.1). Knows nothing of packets or frames.
//!
//! Invariants: a [`Reader`] never reads beyond its slice and a [`Writer`] never writes beyond it, whatever the input; neither panics
//! nor allocates. No timers.

pub mod packet_number;
mod reader;
pub mod varint;
mod writer;

pub use reader::{Reader, UnexpectedEnd};
pub use writer::Writer;
