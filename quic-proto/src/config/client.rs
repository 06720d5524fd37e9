//! How one connection to a server is opened.
//!
//! Owns [`ClientConfig`]. Timers: none.

use super::family::ClientFamily;
use super::{ConfigError, TransportConfig, check_versions};
use crate::crypto::TlsClientConfig;
use crate::invariants::{Version, spec};
use bytes::Bytes;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::sync::Arc;

/// How a client connects. Cheap to clone: one can serve for many connections.
#[derive(Clone)]
pub struct ClientConfig {
    pub(crate) tls: Option<Arc<dyn TlsClientConfig>>,
    pub(crate) families: SmallVec<[Arc<dyn ClientFamily>; 1]>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) token: Option<Bytes>,
    pub(crate) versions: SmallVec<[Version; 2]>,
}

impl ClientConfig {
    /// A client with this TLS configuration and defaults for the rest.
    pub fn new(tls: Arc<dyn TlsClientConfig>) -> Self {
        Self { tls: Some(tls), versions: smallvec![Version::V1], ..Self::empty() }
    }

    /// A client that speaks only the versions of this family, without TLS.
    pub fn of(family: Arc<dyn ClientFamily>) -> Self {
        Self::empty().family(family)
    }

    fn empty() -> Self {
        let transport = Arc::new(TransportConfig::default());
        Self { tls: None, families: SmallVec::new(), transport, token: None, versions: SmallVec::new() }
    }

    /// Offers the versions of another protocol family too, behind those that are offered so far.
    #[must_use]
    pub fn family(mut self, family: Arc<dyn ClientFamily>) -> Self {
        self.versions.extend_from_slice(family.versions());
        self.families.push(family);
        self
    }

    /// Limits and timing of the connection.
    #[must_use]
    pub fn transport(mut self, transport: Arc<TransportConfig>) -> Self {
        self.transport = transport;
        self
    }

    /// A token from an earlier connection to the same server, which spares the server to validate our address again. It is to be used
    /// once: RFC 9000 §8.1.3 asks not to reuse one, as it links the connections for an observer.
    ///
    /// A token belongs to the [version](crate::connection::Connection::version) of the connection that gave it (RFC 9369 §5). This one
    /// is taken to be for the first of our [versions](Self::versions) that has TLS, and is left out if the connection comes to another one.
    #[must_use]
    pub fn token(mut self, token: Option<Bytes>) -> Self {
        self.token = token.filter(|token| !token.is_empty());
        self
    }

    /// The versions to offer, the preferred one first: the connection starts with it, and starts again with the first that the server
    /// knows, if that is another one. Default: version 1 (RFC 9000), and those of [families](Self::family).
    ///
    /// That costs a round trip. Between versions 1 and 2 there is a way without: a server that speaks the first and prefers another on this list
    /// answers in that one (RFC 9369 §4.1). So it is best to begin with the version that most servers speak, and to list what else there is.
    ///
    /// What the server is said to know is checked in the handshake: if it turns out that the server speaks a version
    /// that comes before in this list, the connection is closed with `VERSION_NEGOTIATION_ERROR` (RFC 9368 §4).
    #[must_use]
    pub fn versions(mut self, versions: &[Version]) -> Self {
        self.versions = SmallVec::from_slice(versions);
        self
    }

    /// The version that the token is for.
    pub(crate) fn token_version(&self) -> Option<Version> {
        self.versions.iter().copied().find(|version| spec(*version).is_some())
    }

    /// Checks all values.
    ///
    /// # Errors
    /// If there is no version, one that is not supported (those of RFCs without TLS too), or the transport configuration is out of range.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.validate()?;
        Ok(self)
    }

    /// What [`build`](Self::build) checks.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.transport.validate()?;
        let known =
            |version| (self.tls.is_some() && spec(version).is_some()) || self.family_of(version).is_some();
        check_versions(&self.versions, known)
    }

    /// The settings of the family that speaks `version`, if that is none of the IETF's.
    pub(crate) fn family_of(&self, version: Version) -> Option<&Arc<dyn ClientFamily>> {
        self.families.iter().find(|family| family.versions().contains(&version))
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
