//! How much may leave now: anti-amplification ∧ congestion ∧ pacing.

use super::Engine;
use super::waits::Wait;
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

/// What may leave, and how much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// What datagrams may carry.
    pub allowance: Allowance,
    /// How many bytes of datagrams that may be, until something is received or the time is another. Asking costs more than counting, and
    /// a batch has many datagrams.
    pub bytes: u64,
    /// When they are to leave: later than now only if the socket holds them back until then. It never runs backwards, so that what is handed
    /// out later does not overtake: reordering looks like loss (RFC 9002 §6.1).
    pub departure: Instant,
    /// What keeps back the rest, if not all may leave.
    pub wait: Option<Wait>,
}

impl Engine {
    /// Nothing leaves now: because of `wait`, or because there is nothing. Only who waits for the pacer is owed what it misses by coming late.
    pub fn wait(&mut self, now: Instant, wait: Option<Wait>) {
        if wait != Some(Wait::Pacer) {
            self.paths.active_mut().pacer.not_awaited();
        }
        let wait = wait.unwrap_or_else(|| Wait::Data(self.streams.lack()));
        self.waits.begin(now, wait);
    }

    /// What datagrams of up to `size` bytes on the active path may carry now. Sets the pacing timer if the pacer is what refuses.
    pub fn budget(&mut self, now: Instant, size: usize) -> Budget {
        let size = size as u64;
        let path = self.paths.active();
        let mut departure = path.pacer.time(now);
        let one = |allowance, wait| Budget { allowance, bytes: size, departure, wait };
        // RFC 9000 §8.1: "an endpoint MUST limit the amount of data it sends to the unvalidated address to three times the amount of
        // data received from that address."
        let mut bytes = path.amplification.budget();
        if bytes < size {
            return one(Allowance::Nothing, Some(Wait::Amplification));
        }
        // RFC 9002 §7.5: "Probe packets MUST NOT be blocked by the congestion controller."
        if self.has_probe_owed() {
            return one(Allowance::Probes, None);
        }
        let path = self.paths.active_mut();
        bytes = bytes.min(path.cc.window().saturating_sub(self.recovery.bytes_in_flight()));
        if bytes < size {
            return one(Allowance::AcksOnly, Some(Wait::Congestion));
        }
        if self.config.pacing {
            let rate = congestion::pacing_rate(&*path.cc, path.rtt.smoothed());
            let mut paced = path.pacer.budget(now, rate);
            if paced < size {
                let release = path.pacer.next_release(now, size);
                let head_start = path.pacer.head_start(path.rtt.measured());
                if release > now + head_start {
                    // Half of the head start remains for a timer that is late, and many datagrams leave for one that is not.
                    self.timers.set(Timer::Pacing, Some(release - head_start / 2));
                    return one(Allowance::AcksOnly, Some(Wait::Pacer));
                }
                if release > departure {
                    departure = release;
                    paced = path.pacer.budget(release, rate);
                }
            }
            bytes = bytes.min(paced.max(size));
        }
        Budget { allowance: Allowance::Everything, bytes, departure, wait: None }
    }
}
