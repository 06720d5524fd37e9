//! The crypto that the protocol asks for, as traits; and the only place where TLS and crypto crates are named.

mod boxed;
pub mod header_protection;
pub mod initial;
pub mod null;
pub mod retry_tag;
pub mod ring;
pub mod rustls;
#[cfg(test)]
mod testing;
pub mod token;

pub use boxed::{BoxedHeaderKey, BoxedPacketKey};

use crate::error::TransportError;

/// Protects and unprotects packets at one level and in one direction.
pub trait PacketKey: Send {
    /// Seals `packet[header_len..]` in place; its last [`tag_len`](Self::tag_len) bytes receive the tag. The header is authenticated.
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize);

    /// Opens `payload` (ciphertext and tag) in place and returns the length of the plaintext at its start.
    ///
    /// # Errors
    /// If the packet is not authentic.
    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic>;

    /// Length of the tag in bytes.
    fn tag_len(&self) -> usize;

    /// How many packets may be sealed with this key (RFC 9001 §6.6).
    fn confidentiality_limit(&self) -> u64;

    /// How many packets may fail to open before the connection must end (RFC 9001 §6.6).
    fn integrity_limit(&self) -> u64;
}

/// A packet that failed authentication.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the packet is not authentic")]
pub struct NotAuthentic;

/// Header protection at one level and in one direction (RFC 9001 §5.4).
pub trait HeaderKey: Send {
    /// The mask for a sample of 16 bytes.
    fn mask(&self, sample: &[u8; 16]) -> [u8; 5];
}

/// Keys of one direction.
pub struct DirectionalKeys {
    /// Header protection.
    pub header: BoxedHeaderKey,
    /// Packet protection.
    pub packet: BoxedPacketKey,
}

/// Keys of one level: ours to send, the peer's to receive.
pub struct Keys {
    /// For what we send.
    pub local: DirectionalKeys,
    /// For what the peer sends.
    pub remote: DirectionalKeys,
}

/// Packet keys of both directions; header keys stay the same over a key update (RFC 9001 §6).
pub struct PacketKeys {
    /// For what we send.
    pub local: BoxedPacketKey,
    /// For what the peer sends.
    pub remote: BoxedPacketKey,
}

/// New keys that a handshake made available.
pub enum NewKeys {
    /// Handshake keys.
    Handshake(Keys),
    /// Application keys.
    OneRtt(Keys),
}

/// One TLS handshake in progress or done (RFC 9001 §4).
pub trait TlsSession: Send {
    /// Takes handshake bytes that arrived, in order.
    ///
    /// # Errors
    /// With the alert as a `CRYPTO_ERROR`, if the peer's message is refused.
    fn read(&mut self, data: &[u8]) -> Result<(), TransportError>;

    /// Appends handshake bytes to send at the current level to `out`. Keys returned apply to what follows: call again until nothing is
    /// appended and no keys come.
    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys>;

    /// Whether the handshake is still going on.
    fn is_handshaking(&self) -> bool;

    /// The peer's transport parameters, as they came, once they did. They may be gone when the handshake is over and everything was
    /// written.
    fn peer_params(&self) -> Option<&[u8]>;

    /// The version of QUIC that the keys are for, if the session has chosen it by what the client said. By default none does.
    fn chosen_version(&self) -> Option<u32> {
        None
    }

    /// The server has chosen another version of QUIC (RFC 9369 §4.1): keys are for that one from now on. Only for a client's session that has not
    /// read anything, of a configuration that [follows](TlsClientConfig::follows).
    fn follow(&mut self, _version: u32) {}

    /// The next generation of application packet keys (RFC 9001 §6.1); `None` before the handshake is complete.
    fn next_packet_keys(&mut self) -> Option<PacketKeys>;

    /// The application protocol chosen.
    fn alpn(&self) -> Option<&[u8]>;

    /// The server name that the client asked for (on a server).
    fn server_name(&self) -> Option<&str>;

    /// The peer's certificate chain, leaf first, in DER.
    fn peer_certificates(&self) -> Vec<Vec<u8>>;

    /// The name of the cipher suite, as IANA writes it; `None` until it is chosen.
    fn cipher_suite(&self) -> Option<&'static str>;

    /// Fills `out` with keying material bound to this session (RFC 5705, RFC 8446 §7.5); `false` if it is not available yet.
    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool;
}

/// What makes client sessions. `params` are our encoded transport parameters.
pub trait TlsClientConfig: Send + Sync {
    /// Starts a session with a server that must prove that it is `server_name`.
    ///
    /// # Errors
    /// If the name is no valid DNS name or address, or TLS cannot be configured so.
    fn start(
        &self,
        version: u32,
        server_name: &str,
        params: Vec<u8>,
    ) -> Result<Box<dyn TlsSession>, TlsConfigError>;

    /// Whether its sessions can [follow](TlsSession::follow) a server to another version, so that the client may offer it that. By default
    /// they cannot.
    fn follows(&self) -> bool {
        false
    }
}

/// What the first message of a client holds, as far as it has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hello<'a> {
    /// More has to come.
    Incomplete,
    /// It is whole, with these transport parameters.
    Complete(&'a [u8]),
    /// It cannot be looked into, or has no parameters: whatever is wrong with it, the session finds out.
    Opaque,
}

/// What makes server sessions. `params` are our encoded transport parameters.
pub trait TlsServerConfig: Send + Sync {
    /// Starts a session.
    ///
    /// # Errors
    /// If TLS cannot be configured so.
    fn start(&self, version: u32, params: Vec<u8>) -> Result<Box<dyn TlsSession>, TlsConfigError>;

    /// Looks into a client's first message before there is a session, so that the version for this can be chosen by it. `bytes` are the first that
    /// the client sent. By default none can be looked into.
    fn peek_hello<'a>(&self, _bytes: &'a [u8]) -> Hello<'a> {
        Hello::Opaque
    }
}

/// TLS cannot be set up as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsConfigError {
    /// The server name is no valid DNS name or IP address.
    #[error("{0:?} is no valid server name")]
    InvalidServerName(String),
    /// The TLS library refused the configuration.
    #[error("TLS cannot be configured so: {0}")]
    Refused(String),
}
