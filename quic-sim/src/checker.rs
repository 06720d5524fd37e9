//! What must hold after every step.
//!
//! Owns the [`Checker`] trait, what it gets to see ([`View`]), and the network's own rules about nodes: a deadline is never in the
//! past, and a node that does not let time pass stops doing things after a bounded number of calls. No timers.

use std::fmt;

use quic_proto::time::Instant;

use crate::node::NodeId;
use crate::trace::{Entry, Trace};

/// An invariant over a whole network, which may remember what it has seen.
///
/// A closure `Fn(&View<N>) -> Result<(), String>` is one as well.
pub trait Checker<N> {
    /// Called after every step. The error says what is wrong; it ends the run.
    fn check(&mut self, view: &View<'_, N>) -> Result<(), String>;

    /// Called for every trace entry with the datagram's bytes, before the step ends.
    fn observe(&mut self, entry: &Entry, payload: &[u8]) {
        let _ = (entry, payload);
    }

    /// Called once when the run ends without a violation.
    fn finish(&mut self, view: &View<'_, N>) -> Result<(), String> {
        let _ = view;
        Ok(())
    }
}

impl<N, F: FnMut(&View<'_, N>) -> Result<(), String>> Checker<N> for F {
    fn check(&mut self, view: &View<'_, N>) -> Result<(), String> {
        self(view)
    }
}

/// A network as a checker sees it.
#[derive(Debug)]
pub struct View<'a, N> {
    /// The virtual time.
    pub now: Instant,
    /// All nodes; a [`NodeId`] is an index.
    pub nodes: &'a [N],
    /// The node that this step was about, if it was about one: checks of a single node's state need look at no other.
    pub touched: Option<NodeId>,
    /// What happened so far.
    pub trace: &'a Trace,
    /// How many steps were made.
    pub steps: u64,
}

/// Something that must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// When it was found.
    pub time: Instant,
    /// The node at fault, if it was one.
    pub node: Option<NodeId>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {:?}: ", self.time)?;
        if let Some(node) = self.node {
            write!(f, "{node:?}: ")?;
        }
        f.write_str(&self.what)
    }
}

/// How much a run may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Virtual time; ten minutes by default.
    pub time: std::time::Duration,
    /// Steps; ten million by default.
    pub steps: u64,
    /// How often a node's deadline may be due at one and the same instant; 100 by default.
    pub timeouts_at_once: u32,
    /// How many transmits a node may hand out at one and the same instant; 100,000 by default.
    pub transmits_at_once: u32,
    /// How many trace entries are kept; a million by default.
    pub trace: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: std::time::Duration::from_secs(600),
            steps: 10_000_000,
            timeouts_at_once: 100,
            transmits_at_once: 100_000,
            trace: 1_000_000,
        }
    }
}

/// Watches one node for busy loops.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    at: Instant,
    timeouts: u32,
    transmits: u32,
}

impl Pulse {
    /// The node's deadline is due and will be handled.
    pub(crate) fn timeout(&mut self, now: Instant, limits: &Limits) -> Result<(), String> {
        self.tick(now);
        self.timeouts += 1;
        if self.timeouts > limits.timeouts_at_once {
            return Err(format!("busy loop: its deadline was due {} times at this instant", self.timeouts));
        }
        Ok(())
    }

    /// The node handed out datagrams.
    pub(crate) fn transmit(&mut self, now: Instant, limits: &Limits) -> Result<(), String> {
        self.tick(now);
        self.transmits += 1;
        if self.transmits > limits.transmits_at_once {
            return Err(format!("busy loop: it transmitted {} times at this instant", self.transmits));
        }
        Ok(())
    }

    fn tick(&mut self, now: Instant) {
        if self.at != now {
            *self = Self { at: now, ..Self::default() };
        }
    }
}

/// The rule about deadlines, asked whenever a node was called.
pub(crate) fn deadline_is_not_past(now: Instant, deadline: Option<Instant>) -> Result<(), String> {
    match deadline {
        Some(deadline) if deadline < now => Err(format!("its deadline {deadline:?} is in the past")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulse_counts_per_instant() {
        let limits = Limits { timeouts_at_once: 2, transmits_at_once: 1, ..Limits::default() };
        let (mut pulse, now) = (Pulse::default(), Instant::from_millis(1));
        assert!(pulse.timeout(now, &limits).is_ok() && pulse.timeout(now, &limits).is_ok());
        assert!(pulse.timeout(now, &limits).is_err());
        let later = Instant::from_millis(2);
        assert!(pulse.timeout(later, &limits).is_ok() && pulse.transmit(later, &limits).is_ok());
        assert!(pulse.transmit(later, &limits).is_err());
    }

    #[test]
    fn due_now_is_not_past() {
        let now = Instant::from_millis(5);
        assert!(deadline_is_not_past(now, Some(now)).is_ok());
        assert!(deadline_is_not_past(now, None).is_ok());
        assert!(deadline_is_not_past(now, Some(Instant::from_millis(4))).is_err());
    }
}
