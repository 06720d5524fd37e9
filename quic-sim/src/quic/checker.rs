//! What must hold of QUIC connections after every step.
//!
//! Owns [`QuicChecker`]. It remembers for each connection what it saw last, because some rules are about change: a sender may well have
//! more in flight than its window after the window shrank, but it must not add to it. No timers.

use super::Host;
use crate::checker::{Checker, View};
use quic_proto::connection::ConnectionStats;
use quic_proto::endpoint::ConnectionHandle;
use quic_proto::net::FourTuple;
use std::collections::BTreeMap;

/// RFC 9002 §6.2.4: a probe timeout permits two datagrams beyond the window; in each of the three packet number spaces here.
const PROBES: u64 = 6;

/// No datagram is larger here.
const LARGEST: u64 = 1500;

/// Watches hosts. Beside what [`Network`](crate::Network) itself asks (no deadline in the past, no busy loop):
///
/// - the application found nothing wrong: no byte is lost, repeated or out of place;
/// - bytes in flight grow beyond the congestion window by probes only (RFC 9002 §7: "An endpoint MUST NOT send a packet if it would
///   cause `bytes_in_flight` … to be larger than the congestion window, unless the packet is sent on a PTO timer expiration");
/// - the window is never below its minimum, two datagrams (§7.2);
/// - stream buffers use no more memory than allowed;
/// - counters never go back.
#[derive(Debug)]
pub struct QuicChecker {
    memory: u64,
    seen: BTreeMap<(usize, ConnectionHandle), (FourTuple, ConnectionStats)>,
}

impl QuicChecker {
    /// A checker that allows each connection `memory` bytes of stream buffers.
    pub fn new(memory: u64) -> Self {
        Self { memory, seen: BTreeMap::new() }
    }

    fn connection(&self, before: &ConnectionStats, after: &ConnectionStats) -> Result<(), String> {
        let probes = after.counters.probe_timeouts != before.counters.probe_timeouts;
        let paths = |stats: &ConnectionStats| {
            stats.counters.sent.frames.path_challenge
                + stats.counters.sent.frames.path_response
                + stats.counters.sent.frames.connection_close
        };
        let extra = if probes { PROBES } else { 0 } + (paths(after) - paths(before));
        let most = before.path.in_flight.max(after.path.window) + extra * LARGEST;
        if after.path.in_flight > most {
            let (in_flight, window) = (after.path.in_flight, after.path.window);
            return Err(format!(
                "{in_flight} bytes are in flight, {} before, with a window of {window}",
                before.path.in_flight
            ));
        }
        if after.path.window < 2 * 1200 {
            return Err(format!("the congestion window is {} bytes", after.path.window));
        }
        if after.buffers > self.memory {
            return Err(format!("stream buffers use {} bytes where {} may", after.buffers, self.memory));
        }
        let counters = |stats: &ConnectionStats| {
            [
                stats.counters.sent.bytes,
                stats.counters.received.bytes,
                stats.counters.sent.packets,
                stats.counters.lost_packets,
                stats.counters.lost_bytes,
            ]
        };
        if counters(before).iter().zip(counters(after)).any(|(before, after)| *before > after) {
            return Err("a counter went back".to_owned());
        }
        Ok(())
    }
}

impl Checker<Host> for QuicChecker {
    fn check(&mut self, view: &View<'_, Host>) -> Result<(), String> {
        let Some(id) = view.touched else { return Ok(()) };
        let host = &view.nodes[id.0];
        if let Some(failure) = host.failure() {
            return Err(failure.to_owned());
        }
        for (handle, connection) in host.connections() {
            let after = connection.stats();
            let path = connection.path();
            let seen = self.seen.insert((id.0, handle), (path, after));
            let (path_before, mut before) = seen.unwrap_or((path, ConnectionStats::default()));
            if path != path_before {
                // What is in flight is counted for each path, and back on an old one what was sent there counts again.
                before.path.in_flight = after.path.in_flight;
            }
            self.connection(&before, &after)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(in_flight: u64, window: u64) -> ConnectionStats {
        let mut stats = ConnectionStats::default();
        (stats.path.in_flight, stats.path.window) = (in_flight, window);
        stats
    }

    #[test]
    fn only_probes_exceed_the_window() {
        let checker = QuicChecker::new(1000);
        let judge =
            |before: &ConnectionStats, after: &ConnectionStats| checker.connection(before, after).is_ok();
        assert!(judge(&stats(0, 12_000), &stats(12_000, 12_000)));
        assert!(!judge(&stats(0, 12_000), &stats(12_001, 12_000)));
        // The window shrank: what is in flight may stay, but not grow.
        assert!(judge(&stats(12_000, 12_000), &stats(12_000, 6_000)));
        assert!(!judge(&stats(12_000, 12_000), &stats(12_100, 6_000)));
        let mut probed = stats(14_400, 6_000);
        probed.counters.probe_timeouts = 1;
        assert!(judge(&stats(12_000, 12_000), &probed));
    }

    #[test]
    fn memory_and_counters_are_watched() {
        let checker = QuicChecker::new(1000);
        let mut after = stats(0, 12_000);
        after.buffers = 1001;
        assert!(checker.connection(&stats(0, 12_000), &after).is_err());
        let mut before = stats(0, 12_000);
        before.counters.lost_packets = 1;
        assert!(checker.connection(&before, &stats(0, 12_000)).is_err());
        assert!(checker.connection(&stats(0, 12_000), &stats(0, 2_399)).is_err());
    }
}
