//! What both ends tell each other about limits: four tags in CHLO and SHLO.
//!
//! Owns the mapping between tags, our settings and the engine's terms. All are numbers of 32 bits. No timers.

use super::stream_id;
use super::wire::message::{Builder, Message, tags};
use crate::config::TransportConfig;
use crate::engine::PeerTiming;
use crate::engine::start::EngineRules;
use crate::id::PacketNumber;
use crate::streams::{PeerLimits, StreamRules};
use crate::time::Duration;

/// A peer's value below this counts as this.
const LEAST_IDLE: Duration = Duration::from_secs(5);
/// More streams than this beyond the limit are a violation; or a tenth of the limit, if that is more.
const TOLERANCE: u64 = 10;
/// How long a peer may hold back an acknowledgement: both known implementations do so for 25 ms.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// The largest datagram that quic-go reads, in bytes.
const MAX_DATAGRAM: u16 = 1452;
/// quic-go's guess before the first sample. A server that counts with more says its SHLO again too late for quic-go's client (2.5).
const MAX_INITIAL_RTT: Duration = Duration::from_millis(100);

/// The limits of one end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Params {
    /// `ICSL`: the idle timeout in seconds.
    pub(super) idle: u32,
    /// `MIDS`: how many streams the peer may have open at once.
    pub(super) streams: u32,
    /// `CFCW`: the connection's first window.
    pub(super) connection_window: u32,
    /// `SFCW`: each stream's first window.
    pub(super) stream_window: u32,
}

impl Params {
    /// Ours.
    pub(super) fn of(config: &TransportConfig) -> Self {
        let clamp = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        // A timeout of less than a second cannot be told; none at all is told as the longest.
        let idle = config.max_idle_timeout.map_or(u32::MAX, |idle| clamp(idle.as_secs()).max(1));
        Self {
            idle,
            streams: clamp(config.max_bidi_streams),
            connection_window: clamp(config.connection_window),
            stream_window: clamp(config.stream_window),
        }
    }

    /// The peer's; quic-go takes for zero what is missing.
    pub(super) fn read(message: &Message<'_>) -> Self {
        let number = |tag| message.u32(tag).unwrap_or(0);
        Self {
            idle: number(tags::ICSL),
            streams: number(tags::MIDS),
            connection_window: number(tags::CFCW),
            stream_window: number(tags::SFCW),
        }
    }

    /// Puts them into a message.
    pub(super) fn write(&self, message: &mut Builder<'_>) {
        for (tag, value) in [
            (tags::ICSL, self.idle),
            (tags::MIDS, self.streams),
            (tags::CFCW, self.connection_window),
            (tags::SFCW, self.stream_window),
        ] {
            message.put(tag, value.to_le_bytes());
        }
    }

    /// As limits of what we send.
    pub(super) fn limits(&self) -> PeerLimits {
        let window = u64::from(self.stream_window);
        PeerLimits {
            max_data: self.connection_window.into(),
            stream_data_bidi_local: window,
            stream_data_bidi_remote: window,
            stream_data_uni: 0,
            max_bidi: u64::from(self.streams).min(stream_id::TOTAL),
            max_uni: 0,
        }
    }

    /// As timing. Like Chromium we give up when either end would.
    pub(super) fn timing(&self, config: &TransportConfig) -> PeerTiming {
        let peer = Duration::from_secs(self.idle.into()).max(LEAST_IDLE);
        PeerTiming {
            max_ack_delay: MAX_ACK_DELAY,
            idle_timeout: Some(config.max_idle_timeout.map_or(peer, |own| own.min(peer))),
            keep_alive: Some(peer / 2),
        }
    }
}

/// In what connections of this family differ from those of the IETF. `first_number` is that of our first packet.
pub(super) fn rules(config: &TransportConfig, first_number: PacketNumber) -> EngineRules {
    EngineRules {
        streams: StreamRules {
            concurrent_limits: Some(stream_id::TOTAL),
            tolerance: TOLERANCE.max(config.max_bidi_streams / 10),
            stop_tells_end: true,
            unmetered: Some(stream_id::HEADERS),
        },
        first_number,
        single_space: true,
        ecn: false,
        path_challenges: false,
        uni_streams: false,
        max_datagram: MAX_DATAGRAM,
        max_initial_rtt: MAX_INITIAL_RTT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_survive_a_message() {
        let config = TransportConfig::default().max_idle_timeout(Some(Duration::from_millis(900)));
        let ours = Params::of(&config);
        assert_eq!((ours.idle, ours.streams), (1, 100));
        let mut message = Builder::new(tags::SHLO);
        ours.write(&mut message);
        let bytes = message.finish();
        assert_eq!(Params::read(&Message::parse_whole(&bytes).unwrap()), ours);
        let empty = Builder::new(tags::SHLO).finish();
        assert_eq!(Params::read(&Message::parse_whole(&empty).unwrap()), Params::default());
    }

    #[test]
    fn short_idle_timeouts_count_as_five_seconds() {
        let config = TransportConfig::default();
        let timing = |idle| Params { idle, ..Params::default() }.timing(&config).idle_timeout;
        assert_eq!(timing(0), Some(Duration::from_secs(5)));
        assert_eq!(timing(20), Some(Duration::from_secs(20)));
        assert_eq!(timing(40), Some(Duration::from_secs(30)));
    }
}
