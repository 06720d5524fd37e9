//! Google QUIC between two endpoints of ours: handshakes, streams, loss, limits, and what a hostile peer may send.
#![cfg(all(feature = "gquic", any(feature = "ring", feature = "aws-lc-rs")))]

#[path = "../common/mod.rs"]
mod common;
mod handshake;
mod hostile;
mod raw;
mod streams;
mod support;
mod versions;
mod violations;
