//! The wire format and handshake of RFC 9000 and RFC 9001.

pub mod wire;
