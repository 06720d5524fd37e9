//! How a connection starts.

use super::Connection;
use super::family::Family;
use super::negotiate::SecondStart;
use crate::cid::CidGenerator;
use crate::config::{ClientConfig, ConfigError, ServerConfig, TransportConfig};
use crate::crypto::TlsConfigError;
use crate::crypto::token::ResetKey;
use crate::engine::Engine;
use crate::engine::start::{EngineInit, ServerFirst};
use crate::invariants::Version;
use crate::net::FourTuple;
use crate::rng::Rng;
use crate::time::{Instant, UnixTime};
use smallvec::SmallVec;
use std::sync::Arc;

/// What an endpoint gives each connection.
pub(crate) struct ConnectionInit {
    pub(crate) now: Instant,
    pub(crate) path: FourTuple,
    pub(crate) version: Version,
    pub(crate) rng: Box<dyn Rng>,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) cids: Arc<dyn CidGenerator>,
    pub(crate) reset_key: ResetKey,
    pub(crate) epoch: UnixTime,
    pub(crate) max_udp_payload_size: u64,
    pub(crate) departure_times: bool,
    pub(crate) grease_versions: bool,
}

/// A connection could not be started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// TLS refused the server name or its configuration.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// A configuration that was not [built](crate::config) cannot work; a server's, if the client was to be accepted.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The name is none that a certificate can be for.
    #[error("{0:?} is no valid server name")]
    InvalidServerName(String),
    /// The endpoint has as many connections as it may.
    #[error("the endpoint has reached its limit of connections")]
    TooManyConnections,
    /// There is a connection to this address already, and nothing else would tell the peer's packets apart: our connection ids have no bytes,
    /// or those packets bear none (Google QUIC).
    #[error("there is a connection to {0} already, and packets do not tell which is theirs")]
    AddressInUse(std::net::SocketAddr),
    /// The address cannot be sent to: its port is 0, or it is the unspecified address.
    #[error("{0} is no address to connect to")]
    InvalidAddress(std::net::SocketAddr),
}

impl Connection {
    /// A client's connection; its first packet is ready to be polled. With `again` it can start once more if the server wants another
    /// version.
    pub(crate) fn client(
        init: ConnectionInit,
        again: Option<ConnectionInit>,
        config: &ClientConfig,
        server_name: &str,
    ) -> Result<Self, ConnectError> {
        let (family, engine) = Family::client(init, config, server_name, None)?;
        let mut connection = Self::new(family, engine);
        connection.second_start = again.map(|init| Box::new(SecondStart::new(init, config, server_name)));
        Ok(connection)
    }

    /// A server's connection; the client's first datagram must be handled next. `versions` are all that the endpoint accepts.
    pub(crate) fn server(
        init: ConnectionInit,
        config: &ServerConfig,
        first: ServerFirst,
        versions: &[Version],
    ) -> Result<Self, ConnectError> {
        let (family, engine) = Family::server(init, config, first, versions)?;
        Ok(Self::new(family, engine))
    }

    fn new(family: Family, engine: Engine) -> Self {
        let local_cid = family.local_cid();
        let remote = engine.paths.active().tuple.remote;
        let span = tracing::debug_span!("connection", side = ?engine.side, cid = %local_cid, %remote);
        let mut connection = Self {
            engine,
            family,
            second_start: None,
            moved: Vec::new(),
            released: false,
            first_id_released: false,
            pending_close: None,
            announced_resets: SmallVec::new(),
            drained_reported: false,
            local_cid,
            span,
        };
        connection.family.start(&mut connection.engine);
        connection
    }
}

impl From<ConnectionInit> for EngineInit {
    fn from(init: ConnectionInit) -> Self {
        Self {
            now: init.now,
            path: init.path,
            rng: init.rng,
            transport: init.transport,
            cids: init.cids,
            reset_key: init.reset_key,
            epoch: init.epoch,
            max_udp_payload_size: init.max_udp_payload_size,
            departure_times: init.departure_times,
        }
    }
}
