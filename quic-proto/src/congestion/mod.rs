//! Congestion control: what a controller is told, and what it answers.

use crate::time::{Duration, Instant};
use std::fmt::Debug;

/// The RTT estimate at the time of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RttSample {
    /// The latest sample.
    pub latest: Duration,
    /// The minimum.
    pub min: Duration,
    /// The smoothed RTT.
    pub smoothed: Duration,
}

/// What one ACK frame newly acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckSample {
    /// The time now.
    pub now: Instant,
    /// Bytes that left the flight by being acknowledged.
    pub bytes: u64,
    /// When the newest of the acknowledged packets was sent.
    pub sent: Instant,
    /// Bytes still in flight.
    pub in_flight: u64,
    /// Whether the sender was not limited by the window when it sent them.
    pub app_limited: bool,
    /// The RTT estimate.
    pub rtt: RttSample,
}

/// Loss or CE marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CongestionEvent {
    /// The time now.
    pub now: Instant,
    /// When the newest of the lost packets (or the newest acknowledged, for CE) was sent.
    pub sent: Instant,
    /// Bytes that were lost.
    pub lost_bytes: u64,
    /// Whether persistent congestion was established.
    pub persistent: bool,
    /// Whether CE marks, not losses, told so.
    pub ecn: bool,
    /// Bytes still in flight.
    pub in_flight: u64,
}

/// A congestion controller.
pub trait Controller: Send + Debug {
    /// Bytes were sent; `in_flight` includes them.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64);
    /// Packets were acknowledged.
    fn on_ack(&mut self, sample: &AckSample);
    /// Packets were lost or marked.
    fn on_congestion(&mut self, event: &CongestionEvent);
    /// All losses of the last congestion event turned out to be none.
    fn on_spurious_congestion(&mut self) {}
    /// The congestion window in bytes.
    fn window(&self) -> u64;
    /// The slow start threshold in bytes.
    fn ssthresh(&self) -> u64;
    /// Bytes per second, if the controller knows better than window per RTT.
    fn pacing_rate(&self, smoothed: Duration) -> Option<u64>;
    /// The MTU changed.
    fn on_mtu(&mut self, mtu: u16);
    /// Whether in slow start.
    fn in_slow_start(&self) -> bool;
    /// The name.
    fn name(&self) -> &'static str;
    /// A new controller of the same kind for a new path.
    fn fresh(&self, mtu: u16) -> Box<dyn Controller>;
}
