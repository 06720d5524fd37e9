//! How much reordering the path shows, and how long loss detection waits for it.
//!
//! A packet that is acknowledged after it was declared lost was late, not lost. RFC 9002 §6.1.1: "Algorithms that increase the reordering
//! threshold after spuriously detecting losses, such as RACK, have proven to be useful in TCP and are expected to be at least as useful
//! in QUIC." This one does as RACK (RFC 8985 §6.2): it takes the extent that was seen, in packets, and widens the window of time by an
//! eighth of the round trip, once for each congestion event that was undone by it.
//!
//! Owns: both thresholds. Invariants: they are never below those of RFC 9002 §6.1; the one of time is never above two round trips.
//! After [`CALM`] congestion events without such an error both are as at the start. No timers.

use super::rtt::Rtt;
use crate::time::Duration;

/// RFC 9002 §6.1.2: "The RECOMMENDED time threshold (kTimeThreshold), expressed as an RTT multiplier, is 9/8."
const EIGHTHS: u32 = 9;

/// RFC 8985 §6.2, step 4: the window is at most a smoothed round-trip time.
const MAX_EIGHTHS: u32 = 16;

/// RFC 8985 §6.2, step 4: for how many recoveries it stays widened.
const CALM: u32 = 16;

/// The thresholds of loss detection on the present path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reordering {
    initial: u32,
    packets: u32,
    eighths: u32,
    /// Congestion events since the last packet that was late.
    calm: u32,
    /// The congestion event for which the window of time was widened last.
    widened: Option<u32>,
}

impl Reordering {
    /// Nothing is known yet: `initial` is `kPacketThreshold`.
    pub(super) fn new(initial: u32) -> Self {
        Self { initial, packets: initial, eighths: EIGHTHS, calm: 0, widened: None }
    }

    /// How many later packets are acknowledged before an older one is lost.
    pub(super) fn packets(&self) -> u64 {
        u64::from(self.packets)
    }

    /// How long after it was sent a packet is lost if a later one was acknowledged.
    pub(super) fn delay(&self, rtt: &Rtt) -> Duration {
        if self.eighths == EIGHTHS { rtt.loss_delay() } else { rtt.loss_delay() * self.eighths / EIGHTHS }
    }

    /// A packet was late by `behind` packets; it had been declared lost in congestion event `episode`, `after` it was sent.
    pub(super) fn on_late(&mut self, behind: u64, after: Duration, episode: u32, rtt: &Rtt) {
        self.calm = 0;
        if after >= self.delay(rtt) {
            // Time declared it lost, and packets might have done so as well.
            if self.widened != Some(episode) {
                self.eighths = (self.eighths + 1).min(MAX_EIGHTHS);
                self.widened = Some(episode);
            }
        }
        let behind = u32::try_from(behind).unwrap_or(u32::MAX);
        self.packets = self.packets.max(behind.saturating_add(1));
    }

    /// A congestion event began.
    pub(super) fn on_congestion(&mut self) {
        self.calm += 1;
        if self.calm >= CALM {
            self.reset();
        }
    }

    /// A new path, or one that is calm again.
    pub(super) fn reset(&mut self) {
        *self = Self::new(self.initial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(80);

    #[test]
    fn the_packet_threshold_grows_to_what_was_seen() {
        let (mut reordering, rtt) = (Reordering::new(3), Rtt::new(RTT));
        assert_eq!((reordering.packets(), reordering.delay(&rtt)), (3, Duration::from_millis(90)));
        reordering.on_late(7, Duration::from_millis(20), 1, &rtt);
        assert_eq!((reordering.packets(), reordering.delay(&rtt)), (8, Duration::from_millis(90)));
        reordering.on_late(4, Duration::from_millis(20), 2, &rtt);
        assert_eq!(reordering.packets(), 8, "it does not shrink by a lesser one");
        reordering.on_late(u64::MAX, Duration::ZERO, 2, &rtt);
        assert_eq!(reordering.packets(), u64::from(u32::MAX));
    }

    #[test]
    fn the_time_threshold_grows_once_for_each_event_to_two_round_trips() {
        let (mut reordering, rtt) = (Reordering::new(3), Rtt::new(RTT));
        reordering.on_late(1, Duration::from_millis(90), 1, &rtt);
        reordering.on_late(1, Duration::from_millis(200), 1, &rtt);
        assert_eq!((reordering.packets(), reordering.delay(&rtt)), (3, Duration::from_millis(100)));
        for episode in 2..100 {
            reordering.on_late(1, Duration::from_millis(1000), episode, &rtt);
        }
        assert_eq!(reordering.delay(&rtt), RTT * 2);
    }

    #[test]
    fn a_calm_path_gets_its_thresholds_back() {
        let (mut reordering, rtt) = (Reordering::new(3), Rtt::new(RTT));
        reordering.on_late(50, Duration::from_millis(90), 1, &rtt);
        (1..CALM).for_each(|_| reordering.on_congestion());
        assert_eq!(reordering.packets(), 51);
        reordering.on_congestion();
        assert_eq!((reordering.packets(), reordering.delay(&rtt)), (3, Duration::from_millis(90)));
    }
}
