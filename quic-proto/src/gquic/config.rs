//! Settings of this family, and what clients and servers remember from one connection to the next.
//!
//! Owns, for clients: whom they believe, and the bounded memory of servers with which a handshake takes one round trip. For servers: the
//! identity, the key of source address tokens, the configs in rotation and the register of nonces. Both are shared by all connections, on
//! whatever threads.
//!
//! Invariants: a memory holds at most as many servers as it has room for; the oldest makes room. No lock is held over anything slow.
//! Timers: none.

use super::crypto::proof::{ProofSource, ServerTrust};
use super::crypto::server_config::{OwnScfg, ScfgRotation};
use super::crypto::source_token;
use super::crypto::strike::{CAPACITY, ClientNonce, Freshness, StrikeRegister};
use super::params::Params;
use crate::config::family::{ClientFamily, ServerFamily};
use crate::crypto::token::TokenKey;
use crate::invariants::Version;
use crate::rng::Rng;
use crate::time::UnixTime;
use bytes::Bytes;
use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) const VERSIONS: &[Version] = &[Version::Q044];

/// How a client speaks Q044.
///
/// ```
/// use quic_proto::{config, gquic};
/// use std::sync::Arc;
/// // For tests; else the roots that TLS has: `ServerTrust::with_roots`.
/// let trust = gquic::ServerTrust::danger_accept_any_certificate();
/// let client = config::ClientConfig::of(Arc::new(gquic::ClientConfig::new(trust))).build()?;
/// # Ok::<(), config::ConfigError>(())
/// ```
pub struct ClientConfig {
    trust: ServerTrust,
    pub(super) early_data: bool,
    capacity: usize,
    memory: Mutex<VecDeque<(ServerId, Remembered)>>,
}

/// Which server something is remembered of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct ServerId {
    pub(super) name: String,
    pub(super) port: u16,
}

/// What a client remembers of a server.
#[derive(Clone)]
pub(super) struct Remembered {
    /// The server config, as it came.
    pub(super) config: Bytes,
    /// The source address token.
    pub(super) token: Bytes,
    /// The certificates, leaf first, in DER.
    pub(super) chain: Arc<[Vec<u8>]>,
    /// The limits that it gave.
    pub(super) params: Params,
}

impl ClientConfig {
    /// A client that believes these servers, and remembers 128 of them.
    pub fn new(trust: ServerTrust) -> Self {
        Self { trust, early_data: false, capacity: 128, memory: Mutex::new(VecDeque::new()) }
    }

    /// Whether data may leave before the server has answered, if it is remembered. Such data can be replayed by whoever records it, and
    /// quic-go's server loses it, so that it comes late. Streams can then be opened right after `connect`. Default: no.
    #[must_use]
    pub fn early_data(mut self, on: bool) -> Self {
        self.early_data = on;
        self
    }

    /// How many servers are remembered; 0 for none. Default: 128.
    #[must_use]
    pub fn remember_servers(mut self, count: usize) -> Self {
        self.capacity = count;
        self
    }

    /// The settings of this family in those of a client.
    pub(crate) fn from_family(family: &Arc<dyn ClientFamily>) -> Option<Arc<Self>> {
        let family: Arc<dyn Any + Send + Sync> = Arc::<dyn ClientFamily>::clone(family);
        family.downcast().ok()
    }

    pub(super) fn trust(&self) -> &ServerTrust {
        &self.trust
    }

    /// What is remembered of a server.
    pub(super) fn recall(&self, server: &ServerId) -> Option<Remembered> {
        let memory = lock(&self.memory);
        memory.iter().find(|(known, _)| known == server).map(|(_, what)| what.clone())
    }

    /// Remembers a server, in place of what was known of it.
    pub(super) fn remember(&self, server: ServerId, what: Remembered) {
        let mut memory = lock(&self.memory);
        memory.retain(|(known, _)| *known != server);
        memory.push_back((server, what));
        while memory.len() > self.capacity {
            memory.pop_front();
        }
    }

    /// What is remembered of a server turned out to be wrong.
    pub(super) fn forget(&self, server: &ServerId) {
        lock(&self.memory).retain(|(known, _)| known != server);
    }
}

impl ClientFamily for ClientConfig {
    fn versions(&self) -> &[Version] {
        VERSIONS
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("early_data", &self.early_data)
            .field("remembered", &lock(&self.memory).len())
            .finish_non_exhaustive()
    }
}

/// How a server speaks Q044.
pub struct ServerConfig {
    proof: ProofSource,
    tokens: TokenKey,
    state: Mutex<ServerState>,
}

struct ServerState {
    configs: Option<ScfgRotation>,
    strikes: StrikeRegister,
}

impl ServerConfig {
    /// A server with this identity. `token_secret` seals source address tokens, with a key that changes every day: servers that share the
    /// secret, and whose clocks are about right, accept each other's.
    pub fn new(proof: ProofSource, token_secret: &[u8; 32]) -> Self {
        let state = ServerState { configs: None, strikes: StrikeRegister::new(CAPACITY) };
        Self { proof, tokens: source_token::key(token_secret), state: Mutex::new(state) }
    }

    /// The settings of this family in those of a server.
    pub(crate) fn from_family(family: &Arc<dyn ServerFamily>) -> Option<Arc<Self>> {
        let family: Arc<dyn Any + Send + Sync> = Arc::<dyn ServerFamily>::clone(family);
        family.downcast().ok()
    }

    pub(super) fn proof(&self) -> &ProofSource {
        &self.proof
    }

    /// The config to give out.
    pub(super) fn current(&self, rng: &mut dyn Rng, now: UnixTime) -> OwnScfg {
        let mut state = lock(&self.state);
        state.configs.get_or_insert_with(|| ScfgRotation::new(rng, now)).current(rng, now).clone()
    }

    /// The config that a client names, if it is still accepted.
    pub(super) fn find(&self, scid: &[u8], now: UnixTime) -> Option<OwnScfg> {
        lock(&self.state).configs.as_ref()?.find(scid, now).cloned()
    }

    /// Whether a client's nonce was never seen.
    pub(super) fn strike(&self, nonce: ClientNonce, now: UnixTime) -> Freshness {
        lock(&self.state).strikes.strike(nonce, now)
    }

    /// The key of source address tokens.
    pub(super) fn tokens(&self) -> &TokenKey {
        &self.tokens
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig").field("proof", &self.proof).finish_non_exhaustive()
    }
}

/// What a panic of another thread left behind is whole: nothing in here panics halfway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(port: u16) -> ServerId {
        ServerId { name: "localhost".into(), port }
    }

    fn known(token: &'static [u8]) -> Remembered {
        let token = Bytes::from_static(token);
        Remembered { config: Bytes::new(), token, chain: Arc::new([]), params: Params::default() }
    }

    #[test]
    fn the_memory_of_servers_is_bounded() {
        let config = ClientConfig::new(ServerTrust::danger_accept_any_certificate()).remember_servers(2);
        for port in [1, 2, 1, 3] {
            config.remember(server(port), known(b"old"));
        }
        assert!(config.recall(&server(2)).is_none(), "the oldest made room");
        config.remember(server(1), known(b"new"));
        assert_eq!(config.recall(&server(1)).map(|known| known.token), Some(Bytes::from_static(b"new")));
        config.forget(&server(1));
        assert!(config.recall(&server(1)).is_none() && config.recall(&server(3)).is_some());
        let config = config.remember_servers(0);
        config.remember(server(4), known(b""));
        assert!(config.recall(&server(4)).is_none());
    }
}
