//! The limits and timing of one connection, the same on both sides.
//!
//! Owns [`TransportConfig`]. Invariant: after [`build`](TransportConfig::build) every value fits the transport parameter or the timer
//! that it becomes (RFC 9000 §18.2). Timers: none; the durations here are what others arm theirs with.

use super::{ConfigError, in_range};
use crate::cid::MAX_RETIRING;
use crate::congestion::Algorithm;
use crate::error::MAX_VARINT;
use crate::time::Duration;
use std::sync::Arc;

/// RFC 9000 §4.6: a stream count above 2^60 would not allow stream ids to be expressed as variable-length integers.
const MAX_STREAM_COUNT: u64 = 1 << 60;

/// Ids that a peer may have us remember at once. Our own bound: more serve no purpose, each costs memory, and retirements of twice as many
/// (RFC 9000 §5.1.2) have to be remembered as well.
const MAX_ACTIVE_CIDS: u64 = MAX_RETIRING as u64 / 2;

/// Limits and timing of a connection. The default suits bulk transfer and many small streams alike, over the internet.
///
/// ```
/// use quic_proto::config::TransportConfig;
/// use quic_proto::time::Duration;
/// let transport = TransportConfig::default()
///     .max_idle_timeout(Some(Duration::from_secs(60)))
///     .max_bidi_streams(1_000)
///     .build()?;
/// # Ok::<(), quic_proto::config::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct TransportConfig {
    pub(crate) max_idle_timeout: Option<Duration>,
    pub(crate) keep_alive: Option<Duration>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) stream_window: u64,
    pub(crate) stream_window_max: u64,
    pub(crate) connection_window: u64,
    pub(crate) connection_window_max: u64,
    pub(crate) max_bidi_streams: u64,
    pub(crate) max_uni_streams: u64,
    pub(crate) send_buffer: u64,
    pub(crate) initial_rtt: Duration,
    pub(crate) max_ack_delay: Duration,
    pub(crate) ack_delay_exponent: u8,
    pub(crate) mtu_ceiling: u16,
    pub(crate) mtu_discovery: bool,
    pub(crate) congestion: Algorithm,
    pub(crate) pacing: bool,
    pub(crate) active_cid_limit: u64,
    pub(crate) migration: bool,
    pub(crate) spin_bit: bool,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            max_idle_timeout: Some(Duration::from_secs(30)),
            keep_alive: None,
            handshake_timeout: Duration::from_secs(10),
            stream_window: 256 << 10,
            stream_window_max: 16 << 20,
            connection_window: 1 << 20,
            connection_window_max: 24 << 20,
            max_bidi_streams: 100,
            max_uni_streams: 100,
            send_buffer: 16 << 20,
            // RFC 9002 §6.2.2: "the initial RTT SHOULD be set to 333 milliseconds".
            initial_rtt: Duration::from_millis(333),
            max_ack_delay: Duration::from_millis(25),
            ack_delay_exponent: 3,
            // An Ethernet frame less an IPv6 and a UDP header.
            mtu_ceiling: 1452,
            mtu_discovery: true,
            congestion: Algorithm::Cubic,
            pacing: true,
            active_cid_limit: 3,
            migration: true,
            spin_bit: true,
        }
    }
}

impl TransportConfig {
    /// How long a connection lives without hearing from the peer (RFC 9000 §10.1); the smaller of both sides' values counts. `None`
    /// leaves it to the peer. At least one millisecond. Default: 30 seconds.
    #[must_use]
    pub fn max_idle_timeout(mut self, timeout: Option<Duration>) -> Self {
        self.max_idle_timeout = timeout;
        self
    }

    /// After how much silence a PING keeps the connection, and the bindings of NATs on its path, alive (RFC 9000 §10.1.2). Below the
    /// idle timeout. Default: none.
    #[must_use]
    pub fn keep_alive(mut self, interval: Option<Duration>) -> Self {
        self.keep_alive = interval;
        self
    }

    /// How long the handshake may take. At least one millisecond. Default: 10 seconds.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Flow control of one stream, in bytes: what the peer may send ahead of the application's reading at first, and the ceiling to
    /// which this grows while the application keeps up (RFC 9000 §4.1). 1 to 2^62-1. Default: 256 KiB, growing to 16 MiB.
    #[must_use]
    pub fn stream_window(mut self, initial: u64, ceiling: u64) -> Self {
        (self.stream_window, self.stream_window_max) = (initial, ceiling);
        self
    }

    /// Flow control of all streams together, in bytes; the ceiling bounds what a peer can make this side buffer. 1 to 2^62-1.
    /// Default: 1 MiB, growing to 24 MiB.
    #[must_use]
    pub fn connection_window(mut self, initial: u64, ceiling: u64) -> Self {
        (self.connection_window, self.connection_window_max) = (initial, ceiling);
        self
    }

    /// How many bidirectional streams the peer may have open at once (RFC 9000 §4.6), 0 to 2^60. Default: 100.
    #[must_use]
    pub fn max_bidi_streams(mut self, count: u64) -> Self {
        self.max_bidi_streams = count;
        self
    }

    /// How many unidirectional streams the peer may have open at once (RFC 9000 §4.6), 0 to 2^60. Default: 100.
    #[must_use]
    pub fn max_uni_streams(mut self, count: u64) -> Self {
        self.max_uni_streams = count;
        self
    }

    /// How many bytes the application may have written that the peer has not acknowledged, on all streams together; beyond it writes
    /// are refused until there is room. At least 1. Default: 16 MiB.
    #[must_use]
    pub fn send_buffer(mut self, bytes: u64) -> Self {
        self.send_buffer = bytes;
        self
    }

    /// The round-trip time to assume before the first sample (RFC 9002 §6.2.2). 1 millisecond to 60 seconds. Default: 333 ms. Google QUIC
    /// assumes 100 ms at most.
    #[must_use]
    pub fn initial_rtt(mut self, rtt: Duration) -> Self {
        self.initial_rtt = rtt;
        self
    }

    /// How long this side may hold back an acknowledgement (RFC 9000 §13.2.1); whole milliseconds, below 2^14. Default: 25 ms.
    #[must_use]
    pub fn max_ack_delay(mut self, delay: Duration) -> Self {
        self.max_ack_delay = delay;
        self
    }

    /// The scale of delays in the ACK frames that this side sends: microseconds are shifted right by this much (RFC 9000 §18.2). 0 to
    /// 20. Default: 3.
    #[must_use]
    pub fn ack_delay_exponent(mut self, exponent: u8) -> Self {
        self.ack_delay_exponent = exponent;
        self
    }

    /// The largest UDP payload to send, in bytes, 1200 to 65527. Connections start at 1200 (RFC 9000 §14.1) and search upwards if
    /// [`mtu_discovery`](Self::mtu_discovery) is on. Default: 1452.
    #[must_use]
    pub fn mtu_ceiling(mut self, bytes: u16) -> Self {
        self.mtu_ceiling = bytes;
        self
    }

    /// Whether to search for a larger MTU (RFC 9000 §14.3). Default: yes.
    #[must_use]
    pub fn mtu_discovery(mut self, on: bool) -> Self {
        self.mtu_discovery = on;
        self
    }

    /// The congestion control algorithm. Default: CUBIC.
    #[must_use]
    pub fn congestion(mut self, algorithm: Algorithm) -> Self {
        self.congestion = algorithm;
        self
    }

    /// Whether packets are spread over the round trip instead of leaving in bursts (RFC 9002 §7.7). Default: yes.
    #[must_use]
    pub fn pacing(mut self, on: bool) -> Self {
        self.pacing = on;
        self
    }

    /// How many connection ids of the peer this side remembers (RFC 9000 §5.1.1), 2 to 16. Default: 3, one in use and two to move with.
    #[must_use]
    pub fn active_cid_limit(mut self, count: u64) -> Self {
        self.active_cid_limit = count;
        self
    }

    /// Whether the peer may move the connection to another address on purpose (RFC 9000 §9); if not, it is told so
    /// (`disable_active_migration`). Default: yes.
    #[must_use]
    pub fn migration(mut self, on: bool) -> Self {
        self.migration = on;
        self
    }

    /// Whether the latency spin bit shows observers on the path how long a round trip takes (RFC 9000 §17.4). On one path in 16, chosen at random,
    /// it does not all the same. Google QUIC has none. Default: yes.
    #[must_use]
    pub fn spin_bit(mut self, on: bool) -> Self {
        self.spin_bit = on;
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

    /// Checks all values. Called by every `build()` that a transport configuration is part of.
    ///
    /// # Errors
    /// If a value is outside the range that its setter names.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_timing()?;
        for (name, initial, ceiling) in [
            ("the stream window", self.stream_window, self.stream_window_max),
            ("the connection window", self.connection_window, self.connection_window_max),
        ] {
            in_range(name, initial, 1, MAX_VARINT)?;
            in_range(name, ceiling, 1, MAX_VARINT)?;
            if initial > ceiling {
                return Err(ConfigError::WindowAboveCeiling { name, initial, ceiling });
            }
        }
        in_range("max_bidi_streams", self.max_bidi_streams, 0, MAX_STREAM_COUNT)?;
        in_range("max_uni_streams", self.max_uni_streams, 0, MAX_STREAM_COUNT)?;
        in_range("send_buffer in bytes", self.send_buffer, 1, MAX_VARINT)?;
        in_range("ack_delay_exponent", self.ack_delay_exponent.into(), 0, 20)?;
        // RFC 9000 §18.2: values of max_udp_payload_size "below 1200 are invalid"; 65527 is the largest UDP payload.
        in_range("mtu_ceiling in bytes", self.mtu_ceiling.into(), 1200, 65527)?;
        // RFC 9000 §18.2: "The value of the active_connection_id_limit parameter MUST be at least 2."
        in_range("active_cid_limit", self.active_cid_limit, 2, MAX_ACTIVE_CIDS)
    }

    fn validate_timing(&self) -> Result<(), ConfigError> {
        if let Some(idle) = self.max_idle_timeout {
            in_range("max_idle_timeout in milliseconds", millis(idle), 1, MAX_VARINT)?;
        }
        if let Some(interval) = self.keep_alive {
            in_range("keep_alive in milliseconds", millis(interval), 1, MAX_VARINT)?;
            if self.max_idle_timeout.is_some_and(|idle| interval >= idle) {
                return Err(ConfigError::KeepAliveTooSlow);
            }
        }
        in_range("handshake_timeout in milliseconds", millis(self.handshake_timeout), 1, MAX_VARINT)?;
        in_range("initial_rtt in milliseconds", millis(self.initial_rtt), 1, 60_000)?;
        // RFC 9000 §18.2: "Values of 2^14 or greater are invalid."
        in_range("max_ack_delay in milliseconds", millis(self.max_ack_delay), 0, (1 << 14) - 1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
