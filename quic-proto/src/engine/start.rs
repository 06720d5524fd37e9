//! How an engine comes to be, from what the endpoint gives a connection.

use super::{Engine, EngineParts};
use crate::cid::{CidGenerator, LocalCids, PeerCids};
use crate::config::TransportConfig;
use crate::crypto::token::ResetKey;
use crate::id::{Cid, Side, SpaceId};
use crate::net::FourTuple;
use crate::path::{self, Path, PathConfig, PathSet};
use crate::recovery::{AckTracker, Recovery, RecoveryConfig};
use crate::rng::Rng;
use crate::streams::{Streams, StreamsConfig};
use crate::time::{Instant, UnixTime};
use std::sync::Arc;

/// What an endpoint gives each connection.
pub struct EngineInit {
    /// The time.
    pub now: Instant,
    /// The first path.
    pub path: FourTuple,
    /// The connection's own randomness.
    pub rng: Box<dyn Rng>,
    /// Settings.
    pub transport: Arc<TransportConfig>,
    /// What makes our connection ids.
    pub cids: Box<dyn CidGenerator>,
    /// What makes their reset tokens.
    pub reset_key: ResetKey,
    /// Wall-clock time at the epoch of `now`.
    pub epoch: UnixTime,
    /// The largest UDP payload that this endpoint takes, in bytes.
    pub max_udp_payload_size: u64,
}

/// The facts of the client's first packet.
#[derive(Clone, Copy, Debug)]
pub struct ServerFirst {
    /// Its destination: what Initial keys are made of.
    pub dcid: Cid,
    /// Its source: how the client is addressed.
    pub scid: Cid,
    /// The destination of the very first packet, before a Retry.
    pub original_dcid: Cid,
    /// The source of the Retry, if there was one; then it is `dcid`.
    pub retry_scid: Option<Cid>,
    /// Whether a token has validated the client's address.
    pub validated: bool,
}

impl EngineInit {
    /// Makes the engine: we are known by `local`, the peer is addressed as `peer`.
    pub fn engine(mut self, side: Side, local: Cid, peer: Cid, validated: bool) -> Engine {
        let config = &self.transport;
        let streams = Streams::new(StreamsConfig {
            side,
            stream_window: config.stream_window,
            stream_window_max: config.stream_window_max,
            connection_window: config.connection_window,
            connection_window_max: config.connection_window_max,
            max_bidi: config.max_bidi_streams,
            max_uni: config.max_uni_streams,
            send_buffer: config.send_buffer,
        });
        let path_config =
            PathConfig { initial_rtt: config.initial_rtt, mtu_ceiling: config.mtu_ceiling, ecn: true };
        let cc = config.congestion.build(path::BASE, &mut *self.rng);
        let path = Path::new(self.path, 0, cc, &path_config, side.is_client() || validated);
        let acks = SpaceId::ALL.map(|space| {
            if space == SpaceId::Data {
                AckTracker::delayed(config.max_ack_delay)
            } else {
                AckTracker::immediate()
            }
        });
        let active_cid_limit = config.active_cid_limit;
        let recovery = Recovery::new(RecoveryConfig::default());
        Engine::new(
            self.now,
            EngineParts {
                side,
                streams,
                recovery,
                acks,
                paths: PathSet::new(path),
                local_cids: LocalCids::new(local),
                peer_cids: PeerCids::new(peer, active_cid_limit),
                cid_generator: self.cids,
                reset_key: self.reset_key,
                rng: self.rng,
                config: self.transport,
            },
        )
    }
}
