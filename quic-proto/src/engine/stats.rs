//! Counters that answer "why is it slow?".

use crate::time::Duration;

/// Counts of one direction. Frames are counted by kind under the name that RFC 9000 §19 gives them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each field is the count of the frame of that name")]
pub struct FrameCounts {
    pub ack: u64,
    pub crypto: u64,
    pub stream: u64,
    pub ping: u64,
    pub reset_stream: u64,
    pub stop_sending: u64,
    pub max_data: u64,
    pub max_stream_data: u64,
    pub max_streams: u64,
    pub data_blocked: u64,
    pub stream_data_blocked: u64,
    pub streams_blocked: u64,
    pub new_connection_id: u64,
    pub retire_connection_id: u64,
    pub path_challenge: u64,
    pub path_response: u64,
    pub new_token: u64,
    pub handshake_done: u64,
    pub connection_close: u64,
}

/// Traffic in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct TrafficStats {
    /// UDP datagrams.
    pub datagrams: u64,
    /// Bytes of UDP payload.
    pub bytes: u64,
    /// QUIC packets.
    pub packets: u64,
    /// Frames by kind.
    pub frames: FrameCounts,
}

/// How long a connection's sender waited, by what for. The parts add up to the life of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Waited {
    /// For data: the application wrote no more, or the handshake waited for the peer.
    pub application: Duration,
    /// For room in the send buffer ([`TransportConfig::send_buffer`](crate::config::TransportConfig::send_buffer)): it was full of what the
    /// peer had not acknowledged, and the application was told to wait.
    pub send_buffer: Duration,
    /// For the peer to permit another stream.
    pub stream_limit: Duration,
    /// For the peer's flow control of a stream.
    pub stream_window: Duration,
    /// For the peer's flow control of the connection.
    pub connection_window: Duration,
    /// For acknowledgements, since the congestion window was full.
    pub congestion: Duration,
    /// For the pacer.
    pub pacer: Duration,
    /// For the peer's address to be validated (RFC 9000 §8.1).
    pub amplification: Duration,
    /// For nothing of the protocol's: there was more to send, but nobody asked for it. Socket, processor and application's loop are to blame.
    pub driver: Duration,
}

impl Waited {
    /// All parts with their names.
    pub fn parts(&self) -> [(&'static str, Duration); 9] {
        [
            ("application", self.application),
            ("send buffer", self.send_buffer),
            ("stream limit", self.stream_limit),
            ("stream window", self.stream_window),
            ("connection window", self.connection_window),
            ("congestion", self.congestion),
            ("pacer", self.pacer),
            ("amplification", self.amplification),
            ("driver", self.driver),
        ]
    }
}

/// What is counted as it happens, from the start of the connection on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// What we sent.
    pub sent: TrafficStats,
    /// What we received.
    pub received: TrafficStats,
    /// Packets that could not be used: duplicates, not authentic, or without keys for them.
    pub discarded_packets: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Bytes in packets declared lost.
    pub lost_bytes: u64,
    /// Times that the congestion window was reduced.
    pub congestion_events: u64,
    /// Times that a probe timeout expired.
    pub probe_timeouts: u64,
}

/// What a connection did so far, and how it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct ConnectionStats {
    /// What was counted.
    pub counters: Counters,
    /// What the sender waited for, until the latest call that told the time.
    pub waited: Waited,
    /// Bytes of memory in stream buffers now: received and not read, written and not acknowledged, and idle ones.
    pub buffers: u64,
    /// Bytes of memory that the connection takes now: its own state, what it remembers of packets and streams, and `buffers`. What the
    /// TLS library keeps for it, its keys among that, is not known here and comes on top.
    pub memory: u64,
    /// The path.
    pub path: PathStats,
}

/// The state of the active path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PathStats {
    /// Smoothed round-trip time (RFC 9002 §5.3).
    pub rtt: Duration,
    /// The smallest round-trip time seen.
    pub min_rtt: Duration,
    /// Its mean deviation.
    pub rtt_var: Duration,
    /// Congestion window in bytes.
    pub window: u64,
    /// Bytes in flight.
    pub in_flight: u64,
    /// Pacing rate in bytes per second; 0 if pacing is off.
    pub pacing_rate: u64,
    /// Largest UDP payload that the path is known to carry, in bytes.
    pub mtu: u16,
    /// The congestion controller's name.
    pub controller: &'static str,
}
