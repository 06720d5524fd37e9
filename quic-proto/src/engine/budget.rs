//! How much may leave now: anti-amplification ∧ congestion ∧ pacing.

use super::Engine;
use crate::congestion;
use crate::time::Instant;
use crate::timer::Timer;

/// What the next datagram may carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowance {
    /// Nothing at all: the anti-amplification limit is reached.
    Nothing,
    /// Only what is not counted as in flight: acknowledgements (RFC 9002 §7: ACK-only packets are not congestion controlled).
    AcksOnly,
    /// Probes in the spaces that owe some, and acknowledgements.
    Probes,
    /// Anything.
    Everything,
}

impl Engine {
    /// What a datagram of up to `size` bytes on the active path may carry now. Sets the pacing timer if the pacer is what refuses.
    pub fn allowance(&mut self, now: Instant, size: usize) -> Allowance {
        // RFC 9000 §8.1: "an endpoint MUST limit the amount of data it sends to the unvalidated address to three times the amount of
        // data received from that address."
        if self.paths.active().amplification.budget() < size as u64 {
            return Allowance::Nothing;
        }
        // RFC 9002 §7.5: "Probe packets MUST NOT be blocked by the congestion controller."
        if self.has_probe_owed() {
            return Allowance::Probes;
        }
        let path = self.paths.active_mut();
        if self.recovery.bytes_in_flight() + size as u64 > path.cc.window() {
            self.stats.congestion_limited += 1;
            return Allowance::AcksOnly;
        }
        if self.config.pacing {
            let rate = congestion::pacing_rate(&*path.cc, path.rtt.smoothed());
            if path.pacer.budget(now, rate) < size as u64 {
                let release = path.pacer.next_release(now, size as u64);
                if release > now {
                    self.stats.pacing_limited += 1;
                    self.timers.set(Timer::Pacing, Some(release));
                    return Allowance::AcksOnly;
                }
            }
        }
        Allowance::Everything
    }
}
