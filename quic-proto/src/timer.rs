//! The deadlines of a connection: a fixed table, one entry for each kind of timer.

use crate::time::Instant;

/// A kind of timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub enum Timer {
    /// Loss detection: time threshold or probe timeout (RFC 9002 §6).
    Loss,
    /// An acknowledgement that was held back is due (RFC 9000 §13.2.1).
    Ack,
    /// The pacer lets the next burst go (RFC 9002 §7.7).
    Pacing,
    /// The connection is dead without traffic (RFC 9000 §10.1).
    Idle,
    /// A PING keeps the connection and its NAT bindings alive (RFC 9000 §10.1.2).
    KeepAlive,
    /// The end of the closing or draining state (RFC 9000 §10.2).
    Close,
    /// Path validation failed (RFC 9000 §8.2.4) or wants another challenge.
    PathValidation,
    /// Old keys are dropped after a key update (RFC 9001 §6.5) or early data (§4.9.3).
    KeyDiscard,
    /// The search for a larger MTU goes on (RFC 8899 §5.1).
    Mtu,
    /// The handshake must be complete by then, where the idle timeout does not stand for that.
    Handshake,
    /// Nothing has happened for a while: memory that is only kept to be fast goes.
    Rest,
}

const COUNT: usize = 11;

/// The table: for each kind its deadline, and the earliest of all at hand.
#[derive(Clone, Debug)]
pub struct TimerTable {
    deadlines: [Instant; COUNT],
    earliest: Instant,
}

impl Default for TimerTable {
    fn default() -> Self {
        Self { deadlines: [Instant::MAX; COUNT], earliest: Instant::MAX }
    }
}

impl TimerTable {
    /// Sets the deadline of `timer`, or stops it.
    pub fn set(&mut self, timer: Timer, deadline: Option<Instant>) {
        let deadline = deadline.unwrap_or(Instant::MAX);
        let old = std::mem::replace(&mut self.deadlines[timer as usize], deadline);
        if deadline <= self.earliest {
            self.earliest = deadline;
        } else if old == self.earliest {
            self.earliest = self.deadlines.iter().copied().fold(Instant::MAX, Instant::min);
        }
    }

    /// Stops all timers.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The deadline of `timer`.
    pub fn get(&self, timer: Timer) -> Option<Instant> {
        Some(self.deadlines[timer as usize]).filter(|deadline| *deadline != Instant::MAX)
    }

    /// The earliest deadline of all.
    pub fn next(&self) -> Option<Instant> {
        Some(self.earliest).filter(|deadline| *deadline != Instant::MAX)
    }

    /// Whether `timer` is due; a timer that is due stops.
    pub fn expired(&mut self, timer: Timer, now: Instant) -> bool {
        let due = self.get(timer).is_some_and(|deadline| deadline <= now);
        if due {
            self.set(timer, None);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_kept() {
        let mut table = TimerTable::default();
        assert_eq!(table.next(), None);
        table.set(Timer::Idle, Some(Instant::from_millis(30)));
        table.set(Timer::Ack, Some(Instant::from_millis(10)));
        assert_eq!(table.next(), Some(Instant::from_millis(10)));
        assert!(!table.expired(Timer::Ack, Instant::from_millis(9)));
        assert!(table.expired(Timer::Ack, Instant::from_millis(10)));
        assert!(!table.expired(Timer::Ack, Instant::from_millis(10)));
        assert_eq!(table.next(), Some(Instant::from_millis(30)));
        table.set(Timer::Idle, Some(Instant::from_millis(60)));
        assert_eq!(table.next(), Some(Instant::from_millis(60)));
    }
}
