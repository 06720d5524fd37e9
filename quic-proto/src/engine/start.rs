//! How an engine comes to be, from what the endpoint gives a connection.

use super::{Engine, EngineParts};
use crate::cid::{CidGenerator, LocalCids, PeerCids};
use crate::config::TransportConfig;
use crate::crypto::token::ResetKey;
use crate::id::{Cid, PacketNumber, Side, SpaceId};
use crate::net::FourTuple;
use crate::path::{self, Path, PathConfig, PathSet, SpinBit};
use crate::recovery::{AckTracker, Recovery, RecoveryConfig};
use crate::rng::Rng;
use crate::streams::{StreamRules, Streams, StreamsConfig};
use crate::time::{Duration, Instant, UnixTime};
use crate::util::PerSpace;
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
    pub cids: Arc<dyn CidGenerator>,
    /// What makes their reset tokens.
    pub reset_key: ResetKey,
    /// Wall-clock time at the epoch of `now`.
    pub epoch: UnixTime,
    /// The largest UDP payload that this endpoint takes, in bytes.
    pub max_udp_payload_size: u64,
    /// Whether the socket holds datagrams back until they are to leave.
    pub departure_times: bool,
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

/// In what a family's connections differ from those of RFC 9000, which are the default.
#[derive(Clone, Copy, Debug)]
pub struct EngineRules {
    /// Streams and their limits.
    pub streams: StreamRules,
    /// The number of the first packet.
    pub first_number: PacketNumber,
    /// There are no spaces but Data, so that the probe timeout of that one runs during the handshake, and nothing is to be said about
    /// addresses in it.
    pub single_space: bool,
    /// The peer can report ECN marks.
    pub ecn: bool,
    /// There are frames to validate paths. Without them the family sends something else that must be acknowledged in their place, and any
    /// acknowledgement of what was sent on a path validates it.
    pub path_challenges: bool,
    /// Unidirectional streams exist.
    pub uni_streams: bool,
    /// The largest datagram that peers take unasked, in bytes.
    pub max_datagram: u16,
    /// No longer RTT than this is assumed before there is a sample.
    pub max_initial_rtt: Duration,
}

impl Default for EngineRules {
    fn default() -> Self {
        Self {
            streams: StreamRules::default(),
            first_number: 0,
            single_space: false,
            ecn: true,
            path_challenges: true,
            uni_streams: true,
            max_datagram: u16::MAX,
            max_initial_rtt: Duration::MAX,
        }
    }
}

impl EngineInit {
    /// Makes the engine: we are known by `local`, the peer is addressed as `peer`.
    pub fn engine(
        mut self,
        side: Side,
        local: Cid,
        peer: Cid,
        validated: bool,
        rules: &EngineRules,
    ) -> Engine {
        let config = &self.transport;
        let streams = Streams::new(StreamsConfig {
            side,
            stream_window: config.stream_window,
            stream_window_max: config.stream_window_max,
            connection_window: config.connection_window,
            connection_window_max: config.connection_window_max,
            max_bidi: config.max_bidi_streams,
            max_uni: if rules.uni_streams { config.max_uni_streams } else { 0 },
            send_buffer: config.send_buffer,
            rules: rules.streams,
        });
        let path_config = PathConfig {
            initial_rtt: config.initial_rtt.min(rules.max_initial_rtt),
            mtu_ceiling: config.mtu_ceiling.min(rules.max_datagram),
            ecn: rules.ecn,
            spin_bit: config.spin_bit,
            departure_times: self.departure_times,
        };
        let cc = config.congestion.build(path::BASE, &mut *self.rng);
        let mut path = Path::new(self.path, 0, cc, &path_config, side.is_client() || validated);
        path.spin = SpinBit::new(config.spin_bit, &mut *self.rng);
        let delayed = AckTracker::delayed(config.max_ack_delay);
        let acks = match rules.single_space {
            true => PerSpace::single(delayed),
            false => PerSpace::new(|space| match space {
                SpaceId::Data => delayed.clone(),
                _ => AckTracker::immediate(),
            }),
        };
        let active_cid_limit = config.active_cid_limit;
        let recovery = Recovery::new(RecoveryConfig {
            first_number: rules.first_number,
            single_space: rules.single_space,
            ..RecoveryConfig::default()
        });
        Engine::new(
            self.now,
            EngineParts {
                side,
                single_space: rules.single_space,
                streams,
                recovery,
                acks,
                paths: PathSet::new(path),
                path_config,
                path_challenges: rules.path_challenges,
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
