//! QUIC as a pure state machine.
#![forbid(unsafe_code)]
#![warn(clippy::iter_over_hash_type)]

pub mod error;
pub mod event;
pub mod id;
pub mod net;
pub mod rng;
pub mod time;
pub mod timer;

pub mod cid;
pub mod codec;
pub mod config;
pub mod congestion;
pub mod connection;
pub mod crypto;
pub mod endpoint;
pub mod engine;
pub mod flow;
pub mod ietf;
pub mod invariants;
pub mod path;
pub mod recovery;
pub mod streams;
pub mod util;
