//! TLS 1.3 by rustls (RFC 9001 §4), with ring or aws-lc-rs below it.
//!
//! [`RustlsClient`] and [`RustlsServer`] take any rustls configuration that can do QUIC; [`ClientOptions`] and [`ServerOptions`] make
//! the common ones. They use aws-lc-rs where that feature is on, beside ring or alone: who turns it on wants it. rustls draws its own randomness and reads the wall clock to check certificates: those two do not come from the
//! caller.
//!
//! Early data is switched off in configurations that enable it, since nothing above this module offers or takes it.

mod exporter;
mod follower;
mod hello;
mod keys;
mod options;
mod session;
mod tap;
mod tickets;

pub(super) use keys::{RustlsHeaderKey, RustlsPacketKey};
pub use options::{CipherChoice, ClientOptions, Identity, ServerOptions};
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub use options::{client_config, server_config};

#[cfg(feature = "aws-lc-rs")]
pub(crate) use ::rustls::crypto::aws_lc_rs::default_provider;
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
pub(crate) use ::rustls::crypto::ring::default_provider;

use super::{Hello, TlsClientConfig, TlsConfigError, TlsServerConfig, TlsSession};
use ::rustls::client::Resumption;
use ::rustls::pki_types::ServerName;
use ::rustls::quic::{ClientConnection, ServerConnection, Version};
use ::rustls::{ClientConfig, ServerConfig, SupportedCipherSuite};
use session::{ClientSession, ServerSession};
use std::sync::Arc;
use tap::Tap;

/// The versions that rustls has labels for.
const V1: u32 = crate::invariants::Version::V1.0;
const V2: u32 = crate::invariants::Version::V2.0;

/// Makes client sessions from a rustls configuration.
#[derive(Clone, Debug)]
pub struct RustlsClient {
    /// For sessions of version 1.
    v1: Arc<ClientConfig>,
    /// For those of version 2, which remembers sessions apart.
    v2: Arc<ClientConfig>,
}

impl RustlsClient {
    /// Wraps a configuration. Its ALPN list should not be empty (RFC 9001 §8.1).
    ///
    /// Sessions are resumed in version 1 of QUIC as the configuration says, in version 2 not at all, unless they are
    /// [remembered](Self::remember_v2).
    ///
    /// # Errors
    /// If it has no cipher suite of TLS 1.3 that can protect QUIC packets, or an application protocol's name has no bytes or more than 255.
    pub fn new(mut config: ClientConfig) -> Result<Self, TlsConfigError> {
        check_suites(&config.crypto_provider().cipher_suites)?;
        check_protocols(&config.alpn_protocols)?;
        config.enable_early_data = false;
        config.key_log = Arc::new(Tap(config.key_log));
        let v1 = Arc::new(config);
        Ok(Self { v2: Arc::clone(&v1), v1 }.remember_v2(Resumption::disabled()))
    }

    /// Where sessions of version 2 of QUIC are remembered: not where those of version 1 are. RFC 9369 §5: "Clients MUST NOT use a session ticket
    /// or token from a QUIC version 1 connection to initiate a QUIC version 2 connection, and vice versa."
    #[must_use]
    pub fn remember_v2(mut self, sessions: Resumption) -> Self {
        let mut config = (*self.v1).clone();
        config.resumption = sessions;
        self.v2 = Arc::new(config);
        self
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
        let config = if version == V2 { &self.v2 } else { &self.v1 };
        let version = quic_version(version)?;
        let connection =
            ClientConnection::new(Arc::clone(config), version, name.to_owned(), params).map_err(refused)?;
        Ok(Box::new(ClientSession::new(connection)))
    }

    fn follows(&self) -> bool {
        let suites = &self.v1.crypto_provider().cipher_suites;
        suites.iter().filter(|suite| suite.tls13().is_some()).all(|suite| follower::knows(suite.suite()))
    }
}

/// Makes server sessions from a rustls configuration.
#[derive(Clone, Debug)]
pub struct RustlsServer {
    /// For sessions of version 1.
    v1: Arc<ServerConfig>,
    /// For those of version 2.
    v2: Arc<ServerConfig>,
}

impl RustlsServer {
    /// Wraps a configuration. Its ALPN list should not be empty (RFC 9001 §8.1). Its tickets are good for the version of QUIC in which they
    /// were given.
    ///
    /// # Errors
    /// If it has no cipher suite of TLS 1.3 that can protect QUIC packets, or an application protocol's name has no bytes or more than 255.
    pub fn new(mut config: ServerConfig) -> Result<Self, TlsConfigError> {
        check_suites(&config.crypto_provider().cipher_suites)?;
        check_protocols(&config.alpn_protocols)?;
        config.max_early_data_size = 0;
        config.key_log = Arc::new(Tap(config.key_log));
        let of_version = |version| tickets::of_version(&config, version);
        Ok(Self { v1: of_version(V1), v2: of_version(V2) })
    }
}

impl TlsServerConfig for RustlsServer {
    fn start(&self, version: u32, params: Vec<u8>) -> Result<Box<dyn TlsSession>, TlsConfigError> {
        let config = if version == V2 { &self.v2 } else { &self.v1 };
        let version = quic_version(version)?;
        let connection = ServerConnection::new(Arc::clone(config), version, params).map_err(refused)?;
        Ok(Box::new(ServerSession::new(connection)))
    }

    fn peek_hello<'a>(&self, bytes: &'a [u8]) -> Hello<'a> {
        hello::peek(bytes)
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

/// RFC 7301 §3.1: `opaque ProtocolName<1..2^8-1>`. rustls panics when it is to write another, at the first handshake.
fn check_protocols(alpn: &[Vec<u8>]) -> Result<(), TlsConfigError> {
    match alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
        None => Ok(()),
        Some(name) => {
            let reason =
                format!("the name of an application protocol has 1 to 255 bytes, not {}", name.len());
            Err(TlsConfigError::Refused(reason))
        }
    }
}

/// The version decides on the labels that rustls derives keys with.
fn quic_version(version: u32) -> Result<Version, TlsConfigError> {
    match version {
        V1 => Ok(Version::V1),
        V2 => Ok(Version::V2),
        _ => Err(TlsConfigError::Refused(format!("TLS has no keys for QUIC version {version:#010x}"))),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn refused(error: ::rustls::Error) -> TlsConfigError {
    TlsConfigError::Refused(error.to_string())
}

#[cfg(all(test, any(feature = "ring", feature = "aws-lc-rs")))]
mod tests;
