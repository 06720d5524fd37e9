//! How one connection to a server is opened.
//!
//! Owns [`ClientConfig`]. Timers: none.

use super::{ConfigError, TransportConfig, check_versions};
use crate::crypto::TlsClientConfig;
use crate::invariants::Version;
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::sync::Arc;

/// How a client connects. Cheap to clone: one can serve for many connections.
#[derive(Clone)]
pub struct ClientConfig {
    pub(crate) tls: Arc<dyn TlsClientConfig>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) token: Option<Bytes>,
    pub(crate) versions: SmallVec<[Version; 2]>,
}

impl ClientConfig {
    /// A client with this TLS configuration and defaults for the rest.
    pub fn new(tls: Arc<dyn TlsClientConfig>) -> Self {
        Self {
            tls,
            transport: Arc::new(TransportConfig::default()),
            token: None,
            versions: smallvec![Version::V1],
        }
    }

    /// Limits and timing of the connection.
    #[must_use]
    pub fn transport(mut self, transport: Arc<TransportConfig>) -> Self {
        self.transport = transport;
        self
    }

    /// A token from an earlier connection to the same server, which spares the server to validate our address again. It is to be used
    /// once: RFC 9000 §8.1.3 asks not to reuse one, as it links the connections for an observer.
    #[must_use]
    pub fn token(mut self, token: Option<Bytes>) -> Self {
        self.token = token.filter(|token| !token.is_empty());
        self
    }

    /// The versions to offer, the preferred one first. Default: version 1 (RFC 9000).
    #[must_use]
    pub fn versions(mut self, versions: &[Version]) -> Self {
        self.versions = SmallVec::from_slice(versions);
        self
    }

    /// Checks all values.
    ///
    /// # Errors
    /// If there is no version, one that is not supported, or the transport configuration is out of range.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.transport.validate()?;
        check_versions(&self.versions)?;
        Ok(self)
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("transport", &self.transport)
            .field("token", &self.token.as_ref().map(Bytes::len))
            .field("versions", &self.versions)
            .finish_non_exhaustive()
    }
}
