//! Google QUIC, version Q044: packets with the headers of an early IETF draft, and inside them the classic frames, a handshake of tagged
//! messages on stream 1, and keys of its own. No TLS, no header protection, no coalescing: a datagram is a packet.
//!
//! Owns everything that this version does in its own way; streams, flow control, recovery and paths are the engine's. The behaviour is
//! that of quic-go 0.10 and of Chromium in 2018/19; where they differ, what is sent here is understood by both.
//!
//! Byte orders: packet headers and frames are big-endian, handshake messages little-endian, and so is the packet number in a nonce.

pub mod wire;
