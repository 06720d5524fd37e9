//! Datagram packetization layer path MTU discovery: RFC 8899 as RFC 9000 §14.3 profiles it.
//!
//! Owns the size of datagrams on a path. The search begins when the handshake is done: the ceiling is tried first, since most paths
//! carry it, and then the interval is halved. The loss of a probe is no sign of congestion (RFC 9000 §14.4).
//!
//! Invariants: [`BASE`] ≤ current ≤ ceiling; one probe at a time. Timers: [`Mtu::deadline`], when the search resumes.

use crate::recovery::token::Token;
use crate::time::{Duration, Instant};

/// The smallest allowed maximum datagram size (RFC 9000 §14).
pub const BASE: u16 = 1200;
/// Probes of one size that may be lost before the size counts as too large (RFC 8899 §5.1.2: `MAX_PROBES`, default 3).
const MAX_PROBES: u8 = 3;
/// How long a finished search is left alone (RFC 8899 §5.1.1: `PMTU_RAISE_TIMER`, 600 seconds).
const RAISE_AFTER: Duration = Duration::from_secs(600);
/// How long after a black hole.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// The search ends when the interval is smaller than this.
const PRECISION: u16 = 16;

/// The datagram size of a path and the search for a larger one.
#[derive(Clone, Debug)]
pub struct Mtu {
    current: u16,
    ceiling: u16,
    /// The size in question while a search runs.
    probe: Option<u16>,
    /// The smallest size that failed in this search.
    too_large: u16,
    lost: u8,
    in_flight: bool,
    resume: Option<Instant>,
    suspicious: u8,
}

impl Mtu {
    /// Datagrams of 1200 bytes; a search may go up to `ceiling` bytes, once it is started.
    pub fn new(ceiling: u16) -> Self {
        let ceiling = ceiling.max(BASE);
        Self {
            current: BASE,
            ceiling,
            probe: None,
            too_large: ceiling.saturating_add(1),
            lost: 0,
            in_flight: false,
            resume: None,
            suspicious: 0,
        }
    }

    /// The largest datagram to send, in bytes.
    pub fn current(&self) -> u16 {
        self.current
    }

    /// Takes the peer's `max_udp_payload_size` (RFC 9000 §18.2). What is larger is not tried.
    pub fn limit(&mut self, max_udp_payload_size: u64) {
        let limit = u16::try_from(max_udp_payload_size).unwrap_or(u16::MAX).max(BASE);
        self.ceiling = self.ceiling.min(limit);
        self.current = self.current.min(self.ceiling);
        self.too_large = self.too_large.min(self.ceiling.saturating_add(1));
        self.probe = self.probe.map(|size| size.min(self.ceiling));
    }

    /// Starts the search, when the handshake is complete (RFC 9000 §14.3.1) or the deadline has come.
    pub fn search(&mut self) {
        self.resume = None;
        self.lost = 0;
        self.too_large = self.ceiling.saturating_add(1);
        self.probe = (self.current < self.ceiling).then_some(self.ceiling);
    }

    /// The size of the probe to send now, if one is wanted.
    pub fn wants_probe(&self) -> Option<u16> {
        if self.in_flight { None } else { self.probe }
    }

    /// The probe was sent.
    pub fn on_probe_sent(&mut self, size: u16) -> Token {
        self.in_flight = true;
        Token::MtuProbe(size)
    }

    /// A probe of this size was acknowledged; whether [`Mtu::current`] changed.
    pub fn on_probe_acked(&mut self, now: Instant, size: u16) -> bool {
        self.in_flight = false;
        if size <= self.current || size > self.ceiling {
            return false;
        }
        self.current = size;
        self.suspicious = 0;
        self.next_probe(now);
        true
    }

    /// A probe of this size was lost.
    pub fn on_probe_lost(&mut self, now: Instant, size: u16) {
        self.in_flight = false;
        if self.probe != Some(size) {
            return;
        }
        self.lost += 1;
        if self.lost >= MAX_PROBES {
            self.too_large = size;
            self.next_probe(now);
        }
    }

    /// The path becomes active anew: the fate of a probe that was sent before will not be heard of, so that it is sent again.
    pub fn forget_probe(&mut self) {
        self.in_flight = false;
    }

    /// A datagram of this size, no probe, was acknowledged: the path carries it.
    pub fn on_acked(&mut self, size: u16) {
        if size >= self.current {
            self.suspicious = 0;
        }
    }

    /// Packets were found lost, the smallest of them in a datagram of this size. Three findings of full-size losses in a row, with no
    /// full-size datagram acknowledged, are a black hole (RFC 8899 §4.3): back to 1200 bytes. Whether that happened.
    pub fn on_lost(&mut self, now: Instant, smallest: u16) -> bool {
        if smallest <= BASE || smallest > self.current {
            return false;
        }
        self.suspicious += 1;
        if self.suspicious < MAX_PROBES {
            return false;
        }
        self.suspicious = 0;
        self.current = BASE;
        self.probe = None;
        self.resume = Some(now + RETRY_AFTER);
        true
    }

    /// When the search resumes: call [`Mtu::search`] then.
    pub fn deadline(&self) -> Option<Instant> {
        self.resume
    }

    fn next_probe(&mut self, now: Instant) {
        self.lost = 0;
        let room = self.too_large.saturating_sub(self.current);
        if room <= PRECISION {
            self.probe = None;
            self.resume = (self.current < self.ceiling).then_some(now + RAISE_AFTER);
        } else {
            self.probe = Some(self.current + room / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Instant = Instant::EPOCH;

    /// Runs a search on a path that carries `path` bytes; gives the number of probes.
    fn run(mtu: &mut Mtu, path: u16) -> usize {
        mtu.search();
        let mut probes = 0;
        while let Some(size) = mtu.wants_probe() {
            assert_eq!(mtu.on_probe_sent(size), Token::MtuProbe(size));
            assert_eq!(mtu.wants_probe(), None, "one at a time");
            probes += 1;
            if size <= path {
                assert!(mtu.on_probe_acked(NOW, size));
            } else {
                mtu.on_probe_lost(NOW, size);
            }
        }
        probes
    }

    #[test]
    fn the_ceiling_is_tried_first() {
        let mut mtu = Mtu::new(1452);
        assert_eq!((mtu.current(), mtu.wants_probe()), (1200, None));
        assert_eq!((run(&mut mtu, 1452), mtu.current(), mtu.deadline()), (1, 1452, None));
    }

    #[test]
    fn a_forgotten_probe_is_sent_again() {
        let mut mtu = Mtu::new(1452);
        mtu.search();
        mtu.on_probe_sent(1452);
        assert_eq!(mtu.wants_probe(), None);
        mtu.forget_probe();
        assert_eq!(mtu.wants_probe(), Some(1452));
    }

    #[test]
    fn the_peer_limits_the_search() {
        let mut mtu = Mtu::new(1452);
        mtu.limit(1300);
        run(&mut mtu, 9000);
        assert_eq!(mtu.current(), 1300);
        mtu.limit(65527);
        assert_eq!(mtu.current(), 1300);
    }

    #[test]
    fn a_black_hole_leads_back_to_the_base() {
        let mut mtu = Mtu::new(1452);
        run(&mut mtu, 1452);
        assert!(!mtu.on_lost(NOW, 1452) && !mtu.on_lost(NOW, 1452));
        mtu.on_acked(1452);
        assert!(!mtu.on_lost(NOW, 1452) && !mtu.on_lost(NOW, 1452));
        mtu.on_acked(100);
        assert!(!mtu.on_lost(NOW, 100), "small packets are lost too: congestion");
        assert!(mtu.on_lost(NOW, 1452));
        assert_eq!((mtu.current(), mtu.deadline()), (1200, Some(NOW + RETRY_AFTER)));
        run(&mut mtu, 1300);
        assert!((1284..=1300).contains(&mtu.current()));
    }

    proptest! {
        #[test]
        fn the_search_ends_near_the_truth(ceiling in 0u16.., path in 1200u16..) {
            let mut mtu = Mtu::new(ceiling);
            let probes = run(&mut mtu, path);
            let best = path.min(ceiling.max(BASE));
            prop_assert!(mtu.current() <= best && mtu.current() + PRECISION >= best, "{}", mtu.current());
            prop_assert!(probes <= 3 * 17);
        }
    }
}
