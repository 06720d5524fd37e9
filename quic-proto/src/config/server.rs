//! What an endpoint does with clients.
//!
//! Owns [`ServerConfig`]: TLS, the key and lifetimes of address tokens, and the bounds on what clients may cost before and after they
//! are accepted. Timers: none.

use super::family::ServerFamily;
use super::{ConfigError, TransportConfig, in_range};
use crate::crypto::TlsServerConfig;
use crate::crypto::token::{TokenKey, TokenLifetimes};
use crate::invariants::Version;
use crate::time::Duration;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;

/// How a server treats its clients.
pub struct ServerConfig {
    pub(crate) tls: Option<Arc<dyn TlsServerConfig>>,
    pub(crate) families: SmallVec<[Arc<dyn ServerFamily>; 1]>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) token_key: TokenKey,
    pub(crate) address_tokens: bool,
    pub(crate) max_incoming: usize,
    pub(crate) max_incoming_bytes: usize,
    pub(crate) max_connections: usize,
}

impl ServerConfig {
    /// A server with this TLS configuration and defaults for the rest. `token_secret` seals address validation tokens (RFC 9000 §8.1),
    /// with a key that changes as often as they expire: servers that share the secret and [`address_token_lifetime`], and whose clocks
    /// are about right, accept each other's tokens; whoever knows it can forge them. To replace it, give the endpoint other settings:
    /// clients that come with an older token have lost nothing but what it proved.
    ///
    /// [`address_token_lifetime`]: Self::address_token_lifetime
    pub fn new(tls: Arc<dyn TlsServerConfig>, token_secret: &[u8; 32]) -> Self {
        Self { tls: Some(tls), ..Self::empty(token_secret) }
    }

    /// A server that speaks only the versions of this family, without TLS.
    pub fn of(family: Arc<dyn ServerFamily>, token_secret: &[u8; 32]) -> Self {
        Self::empty(token_secret).family(family)
    }

    /// Accepts the versions of another protocol family too.
    #[must_use]
    pub fn family(mut self, family: Arc<dyn ServerFamily>) -> Self {
        self.families.push(family);
        self
    }

    /// The settings of the family that speaks `version`, if that is none of the IETF's.
    pub(crate) fn family_of(&self, version: Version) -> Option<&Arc<dyn ServerFamily>> {
        self.families.iter().find(|family| family.versions().contains(&version))
    }

    fn empty(token_secret: &[u8; 32]) -> Self {
        Self {
            tls: None,
            families: SmallVec::new(),
            transport: Arc::new(TransportConfig::default()),
            token_key: TokenKey::new(
                token_secret,
                TokenLifetimes {
                    retry: Duration::from_secs(15),
                    address: Duration::from_secs(14 * 24 * 3600),
                },
            ),
            address_tokens: true,
            max_incoming: 1 << 14,
            max_incoming_bytes: 32 << 20,
            max_connections: 1 << 20,
        }
    }

    /// Limits and timing of the connections.
    #[must_use]
    pub fn transport(mut self, transport: Arc<TransportConfig>) -> Self {
        self.transport = transport;
        self
    }

    /// How long the token in a Retry packet is good for. RFC 9000 §8.1.3 asks for a short time, as the client answers at once. 1 second
    /// to 1 hour. Default: 15 seconds.
    #[must_use]
    pub fn retry_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_key.lifetimes.retry = lifetime;
        self
    }

    /// How long a token given for a later connection is good for. 1 second to 1 year. Default: 14 days.
    #[must_use]
    pub fn address_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_key.lifetimes.address = lifetime;
        self
    }

    /// Whether each client is given a token for its next connection (RFC 9000 §8.1.3), which works once. Default: yes.
    #[must_use]
    pub fn address_tokens(mut self, give: bool) -> Self {
        self.address_tokens = give;
        self
    }

    /// How many clients may wait for the decision to accept them, and how many bytes of their datagrams may wait with them; clients
    /// beyond either limit are dropped unanswered and try again. 1 to 2^32-1, and at least 1200 bytes. Default: 16384 clients, 32 MiB.
    #[must_use]
    pub fn max_incoming(mut self, clients: usize, bytes: usize) -> Self {
        (self.max_incoming, self.max_incoming_bytes) = (clients, bytes);
        self
    }

    /// How many connections the endpoint may have, its own included; clients beyond them are refused (`CONNECTION_REFUSED`). 1 to 2^32-1.
    /// Default: 2^20.
    #[must_use]
    pub fn max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Checks all values and makes them ready to share.
    ///
    /// # Errors
    /// If a value is outside the range that its setter names.
    pub fn build(self) -> Result<Arc<Self>, ConfigError> {
        self.validate()?;
        Ok(Arc::new(self))
    }

    /// What [`build`](Self::build) checks.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.transport.validate()?;
        in_range("retry_token_lifetime in seconds", self.token_key.lifetimes.retry.as_secs(), 1, 3600)?;
        let year = 365 * 24 * 3600;
        in_range("address_token_lifetime in seconds", self.token_key.lifetimes.address.as_secs(), 1, year)?;
        in_range("max_incoming clients", self.max_incoming as u64, 1, u32::MAX.into())?;
        in_range("max_incoming bytes", self.max_incoming_bytes as u64, 1200, u64::MAX)?;
        in_range("max_connections", self.max_connections as u64, 1, u32::MAX.into())
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("transport", &self.transport)
            .field("token_lifetimes", &self.token_key.lifetimes)
            .field("address_tokens", &self.address_tokens)
            .field("max_incoming", &self.max_incoming)
            .field("max_incoming_bytes", &self.max_incoming_bytes)
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}
