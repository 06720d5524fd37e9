//! The cryptography of Google QUIC: what protects packets, how keys come about, and how a server proves who it is.
//!
//! Owns both packet protections (a hash without a key, and AES-128-GCM with short tags), X25519, the derivation of keys, certificate
//! chains as they travel, proofs, source address tokens, server configs, and the memory of nonces. Crypto crates are named in this folder
//! and in the one of the same name beside it only.
//!
//! Invariants: randomness and time are arguments, but for signatures, which draw their own randomness as those of TLS do. Whatever a peer
//! sends is bounded before something is allocated for it. No timers.

pub mod aead12;
pub mod certs;
pub mod fnv;
pub mod kdf;
pub mod null_aead;
pub mod proof;
pub mod server_config;
pub mod source_token;
pub mod strike;
pub mod x25519;
