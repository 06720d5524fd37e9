//! TLS 1.3 by rustls (RFC 9001 §4), with ring or aws-lc-rs below it.
//!
//! [`RustlsClient`] and [`RustlsServer`] take any rustls configuration that can do QUIC; [`ClientOptions`] and [`ServerOptions`] make
//! the common ones. rustls draws its own randomness and reads the wall clock to check certificates: those two do not come from the
//! caller.
//!
//! Early data is switched off in configurations that enable it, since nothing above this module offers or takes it.

mod keys;
mod options;

pub use options::{CipherChoice, ClientOptions, Identity, ServerOptions};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use options::{client_config, server_config};

use super::{NewKeys, PacketKeys, TlsClientConfig, TlsConfigError, TlsServerConfig, TlsSession};
use crate::error::{TransportError, TransportErrorCode};
use ::rustls::pki_types::ServerName;
use ::rustls::quic::{ClientConnection, Connection, KeyChange, Secrets, ServerConnection, Version};
use ::rustls::{CipherSuite, ClientConfig, PeerMisbehaved, ServerConfig, SupportedCipherSuite};
use std::sync::Arc;

/// Makes client sessions from a rustls configuration.
#[derive(Clone, Debug)]
pub struct RustlsClient {
    config: Arc<ClientConfig>,
}

impl RustlsClient {
    /// Wraps a configuration. Its ALPN list should not be empty (RFC 9001 §8.1).
    ///
    /// # Errors
    /// If it has no cipher suite of TLS 1.3 that can protect QUIC packets.
    pub fn new(mut config: ClientConfig) -> Result<Self, TlsConfigError> {
        check_suites(&config.crypto_provider().cipher_suites)?;
        config.enable_early_data = false;
        Ok(Self { config: Arc::new(config) })
    }
}

impl TlsClientConfig for RustlsClient {
    fn start(
        &self,
        version: u32,
        server_name: &str,
        params: Vec<u8>,
    ) -> Result<Box<dyn TlsSession>, TlsConfigError> {
        let name = ServerName::try_from(server_name)
            .map_err(|_| TlsConfigError::InvalidServerName(server_name.to_owned()))?;
        let connection =
            ClientConnection::new(self.config.clone(), quic_version(version)?, name.to_owned(), params)
                .map_err(refused)?;
        Ok(Box::new(Session { connection: Connection::Client(connection), next: None }))
    }
}

/// Makes server sessions from a rustls configuration.
#[derive(Clone, Debug)]
pub struct RustlsServer {
    config: Arc<ServerConfig>,
}

impl RustlsServer {
    /// Wraps a configuration. Its ALPN list should not be empty (RFC 9001 §8.1).
    ///
    /// # Errors
    /// If it has no cipher suite of TLS 1.3 that can protect QUIC packets.
    pub fn new(mut config: ServerConfig) -> Result<Self, TlsConfigError> {
        check_suites(&config.crypto_provider().cipher_suites)?;
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config) })
    }
}

impl TlsServerConfig for RustlsServer {
    fn start(&self, version: u32, params: Vec<u8>) -> Result<Box<dyn TlsSession>, TlsConfigError> {
        let connection =
            ServerConnection::new(self.config.clone(), quic_version(version)?, params).map_err(refused)?;
        Ok(Box::new(Session { connection: Connection::Server(connection), next: None }))
    }
}

/// RFC 9001 §4.2: "Clients MUST NOT offer TLS versions older than 1.3". rustls sees to that in QUIC sessions if it has a suite left.
fn check_suites(suites: &[SupportedCipherSuite]) -> Result<(), TlsConfigError> {
    let usable = suites.iter().any(|suite| suite.tls13().is_some_and(|suite| suite.quic.is_some()));
    if usable {
        Ok(())
    } else {
        Err(TlsConfigError::Refused("it has no TLS 1.3 cipher suite that can protect QUIC packets".into()))
    }
}

/// The version decides on the labels that rustls derives keys with.
fn quic_version(version: u32) -> Result<Version, TlsConfigError> {
    match version {
        1 => Ok(Version::V1),
        0x6b33_43cf => Ok(Version::V2),
        _ => Err(TlsConfigError::Refused(format!("TLS has no keys for QUIC version {version:#010x}"))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn refused(error: ::rustls::Error) -> TlsConfigError {
    TlsConfigError::Refused(error.to_string())
}

/// A handshake of rustls.
struct Session {
    connection: Connection,
    /// What the next generation of application keys comes from; here once there is a first.
    next: Option<Secrets>,
}

impl TlsSession for Session {
    fn read(&mut self, data: &[u8]) -> Result<(), TransportError> {
        self.connection.read_hs(data).map_err(|error| {
            // RFC 9001 §4.1.3: "if there is data from a previous encryption level that TLS has not consumed, this MUST be treated as a
            // connection error of type PROTOCOL_VIOLATION."
            if error == ::rustls::Error::PeerMisbehaved(PeerMisbehaved::KeyEpochWithPendingFragment) {
                return TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, error.to_string());
            }
            // RFC 9001 §4.8: QUIC carries the alert as an error code. If rustls names none, the general one will do.
            const HANDSHAKE_FAILURE: u8 = 40;
            let alert = self.connection.alert().map_or(HANDSHAKE_FAILURE, u8::from);
            TransportError::new(TransportErrorCode::crypto(alert), error.to_string())
        })
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        Some(match self.connection.write_hs(out)? {
            KeyChange::Handshake { keys } => NewKeys::Handshake(keys::wrap(keys)),
            KeyChange::OneRtt { keys, next } => {
                self.next = Some(next);
                NewKeys::OneRtt(keys::wrap(keys))
            }
        })
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn peer_params(&self) -> Option<&[u8]> {
        // rustls keeps a server's parameters with its session ticket, and shows them to a client that resumes the session until the
        // server's own have come.
        if matches!(self.connection, Connection::Client(_)) && self.connection.is_handshaking() {
            return None;
        }
        self.connection.quic_transport_parameters()
    }

    fn next_packet_keys(&mut self) -> Option<PacketKeys> {
        if self.is_handshaking() {
            return None;
        }
        self.next.as_mut().map(|secrets| keys::wrap_packet_keys(secrets.next_packet_keys()))
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    fn server_name(&self) -> Option<&str> {
        match &self.connection {
            Connection::Server(server) => server.server_name(),
            Connection::Client(_) => None,
        }
    }

    fn peer_certificates(&self) -> Vec<Vec<u8>> {
        let chain = self.connection.peer_certificates().unwrap_or_default();
        chain.iter().map(|certificate| certificate.to_vec()).collect()
    }

    fn cipher_suite(&self) -> Option<&'static str> {
        // rustls has names of its own for these.
        match self.connection.negotiated_cipher_suite()?.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
            CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
            other => other.as_str(),
        }
    }

    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        self.connection.export_keying_material(out, label, Some(context)).is_ok()
    }
}

#[cfg(all(test, any(feature = "ring", feature = "aws-lc-rs")))]
mod tests;
