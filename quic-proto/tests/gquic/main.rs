//! Google QUIC between two endpoints of ours: handshakes, streams, loss, limits, and what a hostile peer may send.
#![cfg(all(feature = "gquic", any(feature = "ring", feature = "aws-lc-rs")))]

mod chromium;
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "shared with the replay of all recordings")]
#[path = "../gquic_replay/describe.rs"]
mod describe;
mod goaway;
mod handshake;
mod hostile;
mod raw;
mod role_play;
mod streams;
mod support;
mod versions;
mod violations;
