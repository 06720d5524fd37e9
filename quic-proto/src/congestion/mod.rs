//! Congestion control: how many bytes may be in flight, and how fast they leave.
//!
//! Owns the [`Controller`] trait, its algorithms ([`NewReno`], [`Cubic`], [`Bbr`]) with the parts that they are made of (the recovery
//! period, `hystart`, `prr`, `delivery_rate`), and the [`Pacer`]. A controller belongs to one path and
//! hears only of packets sent on that path (RFC 9002 §7). It never sees packet numbers: the recovery of losses tells it how many
//! bytes were sent, acknowledged or lost and *when the newest of them was sent*, which is all that is needed to react once a round trip.
//! What else a controller wants to know of a packet it has remembered with it, as a [`DeliveryMark`].
//!
//! Invariants: the window is never below two datagrams (RFC 9002 §7.2). That of NewReno and CUBIC grows only by acknowledged bytes, and not beyond what was
//! used of it and one round trip's growth (§7.8, rate-limited increase); the target that it shrinks to is lowered at most once for each
//! recovery period (§7.3.2), persistent congestion aside.
//!
//! Timers: none here. [`Pacer::next_release`] gives the deadline of the pacing timer.

mod bbr;
mod cubic;
mod delivery_rate;
mod hystart;
mod new_reno;
mod pacer;
mod prr;
mod tolerance;

pub use bbr::Bbr;
pub use cubic::Cubic;
pub use delivery_rate::DeliveryMark;
pub use new_reno::NewReno;
pub use pacer::Pacer;

use crate::rng::Rng;
use crate::time::{Duration, Instant};
use std::fmt;
use std::str::FromStr;

/// The round-trip times of a path at the moment of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RttSample {
    /// The newest sample.
    pub latest: Duration,
    /// The smallest sample so far.
    pub min: Duration,
    /// The smoothed estimate (RFC 9002 §5.3).
    pub smoothed: Duration,
}

/// What one ACK frame newly acknowledged on this path.
#[derive(Clone, Copy, Debug)]
pub struct AckSample {
    /// When the acknowledgement came.
    pub now: Instant,
    /// Bytes of the packets that counted as in flight and are newly acknowledged.
    pub bytes: u64,
    /// When the newest of these packets was sent.
    pub sent: Instant,
    /// Bytes in flight after these packets were removed.
    pub in_flight: u64,
    /// What [`Controller::on_sent`] returned for the newest of these packets.
    pub mark: DeliveryMark,
    /// Whether there is nothing to send now, for lack of data or of flow control credit.
    pub drained: bool,
    /// The path's round-trip times, with this acknowledgement taken into account.
    pub rtt: RttSample,
}

/// A packet that was lost.
#[derive(Clone, Copy, Debug)]
pub struct LostPacket {
    /// When it was found out.
    pub now: Instant,
    /// When it was sent.
    pub sent: Instant,
    /// Its size.
    pub bytes: u64,
    /// What [`Controller::on_sent`] returned for it.
    pub mark: DeliveryMark,
    /// Whether the packet before it was not lost: it begins a range of lost ones.
    pub begins_range: bool,
}

/// A loss, or an increase of the peer's count of CE marks.
#[derive(Clone, Copy, Debug)]
pub struct CongestionEvent {
    /// When it was found out.
    pub now: Instant,
    /// When the newest of the lost packets (or of those whose acknowledgement reported the marks) was sent.
    pub sent: Instant,
    /// Bytes of the lost packets; zero for CE marks.
    pub lost_bytes: u64,
    /// Whether the losses span the duration of persistent congestion (RFC 9002 §7.6).
    pub persistent: bool,
    /// Whether CE marks were the signal, not loss.
    pub ecn: bool,
    /// Bytes in flight after the lost packets were removed.
    pub in_flight: u64,
    /// Bytes in flight before the lost packets, and those that the same ACK frame acknowledged, were removed.
    pub prior_in_flight: u64,
}

/// A congestion control algorithm with the state of one path.
pub trait Controller: Send + fmt::Debug {
    /// A packet that counts as in flight was sent; `in_flight` counts it already, and `drained` tells that there is nothing more to send
    /// for lack of data or of flow control credit. What it returns is remembered with the packet.
    fn on_sent(&mut self, now: Instant, bytes: u64, in_flight: u64, drained: bool) -> DeliveryMark;

    /// Packets were acknowledged, and the losses that follow from it are about to be told. Called once for each ACK frame that newly
    /// acknowledges something in flight, before all others.
    fn on_delivered(&mut self, _sample: &AckSample) {}

    /// A packet that counted as in flight was lost. Called for each of them, before the congestion event that they are.
    fn on_lost(&mut self, _packet: &LostPacket) {}

    /// Packets were acknowledged. Called once for each ACK frame that newly acknowledges something in flight, after all others.
    fn on_ack(&mut self, sample: &AckSample);

    /// Packets were lost or marked. Called for each such finding; the algorithm itself reacts once per recovery period.
    fn on_congestion(&mut self, event: &CongestionEvent);

    /// All losses of the last congestion event were acknowledged after all: the packets were late, not lost.
    fn on_spurious_congestion(&mut self) {}

    /// The congestion window, in bytes; at least two datagrams.
    fn window(&self) -> u64;

    /// The slow start threshold, in bytes; `u64::MAX` before the first congestion event.
    fn ssthresh(&self) -> u64;

    /// The rate to pace at, in bytes per second, if the algorithm has its own idea of it; else [`pacing_rate`] derives one.
    fn pacing_rate(&self, _smoothed: Duration) -> Option<u64> {
        None
    }

    /// The largest datagram of the path has this many bytes now.
    fn on_mtu(&mut self, mtu: u16);

    /// Whether the window grows exponentially (RFC 9002 §7.3.1).
    fn in_slow_start(&self) -> bool {
        self.window() < self.ssthresh()
    }

    /// The name of the algorithm, as [`Algorithm`] prints it.
    fn name(&self) -> &'static str;

    /// The same algorithm in its initial state, for a new path (RFC 9000 §9.4) with datagrams of `mtu` bytes.
    fn fresh(&mut self, mtu: u16) -> Box<dyn Controller>;
}

/// The algorithms to choose from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Algorithm {
    /// CUBIC, RFC 9438.
    #[default]
    Cubic,
    /// CUBIC that does not take each loss for congestion: a reduction is taken back after its round trip if the round-trip time tells of no
    /// queue and no more than 2 % are lost in the long run. Departs from RFC 9438.
    ///
    /// For paths that lose packets without being full (radio, long lines), where CUBIC is slow. Where a queue is shorter than an
    /// eighth of the round trip, or a policer drops, it takes much of the share of flows that answer each loss.
    CubicTolerant,
    /// The controller of RFC 9002 §7.
    NewReno,
    /// `BBRv3`, draft-ietf-ccwg-bbr.
    Bbr,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Cubic, Self::CubicTolerant, Self::NewReno, Self::Bbr];

    /// A controller for a path with datagrams of `mtu` bytes; what it decides by chance it draws from a child of `rng`.
    pub fn build(self, mtu: u16, rng: &mut dyn Rng) -> Box<dyn Controller> {
        match self {
            Self::Bbr => Box::new(Bbr::new(mtu, rng.child())),
            Self::Cubic => Box::new(Cubic::new(mtu)),
            Self::CubicTolerant => Box::new(Cubic::tolerant(mtu)),
            Self::NewReno => Box::new(NewReno::new(mtu)),
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cubic => cubic::NAME,
            Self::CubicTolerant => cubic::TOLERANT_NAME,
            Self::NewReno => new_reno::NAME,
            Self::Bbr => bbr::NAME,
        })
    }
}

/// There is no congestion control algorithm of this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown congestion control algorithm {0:?} (known: cubic, cubic-tolerant, newreno, bbr)")]
pub struct UnknownAlgorithm(pub String);

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            bbr::NAME => Ok(Self::Bbr),
            cubic::NAME => Ok(Self::Cubic),
            cubic::TOLERANT_NAME => Ok(Self::CubicTolerant),
            new_reno::NAME | "reno" => Ok(Self::NewReno),
            _ => Err(UnknownAlgorithm(name.to_owned())),
        }
    }
}

/// The rate to pace at, in bytes per second, at least 1 (RFC 9002 §7.7: `N * congestion_window / smoothed_rtt`).
///
/// N is 2 in slow start, where the window doubles within the round trip that it is spread over, and 1.25 otherwise, so that variations
/// of the round-trip time do not leave the window unused.
pub fn pacing_rate(controller: &dyn Controller, smoothed: Duration) -> u64 {
    if let Some(rate) = controller.pacing_rate(smoothed) {
        return rate.max(1);
    }
    let (numerator, denominator) = if controller.in_slow_start() { (2, 1) } else { (5, 4) };
    let bytes = u128::from(controller.window()) * numerator * 1_000_000_000;
    let rate = bytes / (smoothed.as_nanos().max(1) * denominator);
    u64::try_from(rate).unwrap_or(u64::MAX).max(1)
}

/// The initial window (RFC 9002 §7.2): "ten times the maximum datagram size …, while limiting the window to the larger of 14,720 bytes
/// or twice the maximum datagram size".
pub const fn initial_window(mtu: u16) -> u64 {
    let mtu = mtu as u64;
    let limit = if 2 * mtu > 14_720 { 2 * mtu } else { 14_720 };
    if 10 * mtu < limit { 10 * mtu } else { limit }
}

/// The minimum window (RFC 9002 §7.2): two datagrams.
pub const fn minimum_window(mtu: u16) -> u64 {
    2 * mtu as u64
}

/// What was in flight at most since the window was last reduced: "maxFS" of draft-ietf-ccwg-ratelimited-increase. A window grows only as
/// far as a flight of that size could have made it grow.
///
/// That is in place of the rule of RFC 9002 §7.8, by which an underutilized window does not grow unless it is the pacer that holds the
/// sender back. Who or what does so makes no difference here: application, flow control, pacer or processor.
#[derive(Clone, Copy, Debug)]
struct FlightPeak(u64);

impl FlightPeak {
    /// "The sender MUST initialise the maxFS parameter to initcwnd".
    const fn new(mtu: u16) -> Self {
        Self(initial_window(mtu))
    }

    fn on_sent(&mut self, in_flight: u64) {
        self.0 = self.0.max(in_flight);
    }

    /// "Upon a reduction of cwnd (for any reason), maxFS MUST be reset to zero."
    fn on_reduction(&mut self) {
        self.0 = 0;
    }

    /// "The sender MUST cap cwnd to be no larger than limit(maxFS)", which is twice maxFS in slow start.
    fn slow_start_limit(self) -> u64 {
        self.0.saturating_mul(2)
    }

    /// Whether the window was used up, but for what is less than a datagram. In congestion avoidance it grows only then, which keeps it to
    /// what "the congestion control algorithm would yield by increasing for all ACKs that would be produced by successfully transmitting one
    /// window of size maxFS".
    fn filled(self, window: u64, mtu: u16) -> bool {
        window < self.0.saturating_add(u64::from(mtu))
    }
}

/// The recovery period (RFC 9002 §7.3.2), which limits reductions to one a round trip.
#[derive(Clone, Copy, Debug, Default)]
struct RecoveryPeriod {
    since: Option<Instant>,
}

impl RecoveryPeriod {
    /// Whether a packet sent at `sent` belongs to the flight that the last reduction has answered already.
    fn covers(self, sent: Instant) -> bool {
        self.since.is_some_and(|since| sent <= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    #[test]
    fn initial_windows_of_rfc_9002_section_7_2() {
        assert_eq!(initial_window(1200), 12_000);
        assert_eq!(initial_window(1472), 14_720);
        assert_eq!(initial_window(1500), 14_720);
        assert_eq!(initial_window(9000), 18_000);
        assert_eq!(initial_window(u16::MAX), 131_070);
        assert_eq!(minimum_window(1200), 2400);
    }

    #[test]
    fn names_round_trip() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
            let mut controller = algorithm.build(1200, &mut SeededRng::from_u64(1));
            assert_eq!(controller.name(), algorithm.to_string());
            assert_eq!(controller.fresh(1400).name(), controller.name());
            assert_eq!(controller.fresh(1400).window(), 14_000);
        }
        assert_eq!("vegas".parse::<Algorithm>(), Err(UnknownAlgorithm("vegas".into())));
    }

    #[test]
    fn pacing_rate_is_a_multiple_of_window_over_rtt() {
        let mut controller = Algorithm::NewReno.build(1200, &mut SeededRng::from_u64(1));
        let rtt = Duration::from_millis(100);
        assert_eq!(pacing_rate(&*controller, rtt), 2 * 120_000);
        let now = Instant::from_millis(100);
        controller.on_congestion(&CongestionEvent {
            now,
            sent: Instant::EPOCH,
            lost_bytes: 1200,
            persistent: false,
            ecn: false,
            in_flight: 0,
            prior_in_flight: 12_000,
        });
        // The recovery period is over.
        controller.on_ack(&AckSample {
            now,
            bytes: 0,
            sent: Instant::from_millis(101),
            in_flight: 0,
            mark: DeliveryMark::default(),
            drained: false,
            rtt: RttSample::default(),
        });
        assert_eq!(pacing_rate(&*controller, rtt), 75_000);
        assert!(pacing_rate(&*controller, Duration::ZERO) > 0);
        assert!(pacing_rate(&*controller, Duration::MAX) > 0);
    }
}
