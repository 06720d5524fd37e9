//! Datagrams go out: the close, path probes, then batches of equal size on the active path.

use super::Connection;
use crate::engine::budget::{Allowance, Budget};
use crate::engine::waits::Wait;
use crate::net::Transmit;
use crate::time::Instant;
use std::num::{NonZeroU16, NonZeroUsize};

impl Connection {
    /// Writes what is to be sent now into `buf` and says how to send it; `None` if there is nothing.
    ///
    /// At most `max_segments` datagrams of one size are written (the last may be shorter), for sockets that take a batch in one system call
    /// (UDP GSO). `buf` should hold `max_segments` times 1500 bytes, and at least 1200, or nothing is ever written; the larger it is, the
    /// larger the batches.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        let _entered = self.enter();
        let now = self.engine.advance(now);
        if self.engine.lifecycle.is_silent() {
            return None;
        }
        self.engine.marking = false;
        // Nothing overtakes what was handed out before with a later time.
        self.engine.departure = self.engine.paths.active().pacer.time(now);
        if self.engine.lifecycle.is_closing() {
            return self.transmit_close(now, buf);
        }
        if let Some(probe) = self.engine.poll_probe(now, buf.len()) {
            let len = self.family.transmit_probe(&mut self.engine, buf, &probe);
            self.engine.stats.sent.datagrams += 1;
            self.engine.stats.sent.bytes += len as u64;
            if let Some(path) = self.engine.paths.get(probe.generation) {
                path.amplification.on_sent(len as u64);
            }
            self.engine.rearm(now);
            let departure = self.engine.departure_after(now);
            return Some(Transmit { departure, ..Transmit::single(probe.tuple, len) });
        }
        self.transmit_batch(now, buf, max_segments)
    }

    fn transmit_batch(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        let mtu = usize::from(self.engine.paths.active().mtu.current());
        let ecn = self.engine.paths.active().ecn.mark();
        self.engine.marking = ecn.is_some();
        let (mut len, mut segments, mut segment_size) = (0, 0, mtu);
        let departure = self.engine.departure;
        let mut budget = Budget { allowance: Allowance::Nothing, bytes: 0, departure, wait: None };
        while segments < max_segments.get() && buf.len() - len >= mtu {
            if budget.bytes < mtu as u64 {
                // Asked first, so that a pacer or a window that is in nobody's way neither sets a timer nor is counted.
                if !self.family.wants_to_send(&mut self.engine) {
                    budget.wait = None;
                    break;
                }
                let next = self.engine.budget(now, mtu);
                // A batch leaves at one time.
                if segments > 0 && next.departure != budget.departure {
                    break;
                }
                budget = next;
                self.engine.departure = budget.departure;
            }
            let Budget { allowance, bytes, departure, .. } = budget;
            if allowance == Allowance::Nothing {
                break;
            }
            let written =
                self.family.transmit(&mut self.engine, departure, &mut buf[len..len + mtu], allowance);
            budget.bytes = bytes.saturating_sub(written as u64);
            if written == 0 && allowance == Allowance::Probes {
                self.engine.waive_probes();
                budget.bytes = 0;
                continue;
            }
            if written == 0 {
                break;
            }
            self.engine.on_datagram_sent(written);
            len += written;
            segments += 1;
            if segments == 1 {
                segment_size = written;
            }
            // All but the last segment have one size, and none may be larger: a short datagram ends the batch.
            if written < mtu {
                break;
            }
        }
        if segments == 0 {
            self.engine.wait(now, budget.wait);
            self.engine.rearm_stale(now);
            return None;
        }
        self.engine.waits.begin(now, Wait::Driver);
        self.engine.rearm(now);
        let segment_size = if segments > 1 { NonZeroU16::new(segment_size as u16) } else { None };
        let (path, departure) = (self.engine.paths.active().tuple, self.engine.departure_after(now));
        Some(Transmit { path, ecn, len, segment_size, departure })
    }

    fn transmit_close(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        let path = self.engine.paths.active();
        let (tuple, mtu) = (path.tuple, usize::from(path.mtu.current()));
        // RFC 9000 §10.2.1: the close is subject to the anti-amplification limit as everything else.
        if buf.len() < mtu
            || path.amplification.budget() < mtu as u64
            || self.engine.lifecycle.owed_frame().is_none()
        {
            return None;
        }
        let len = self.family.transmit_close(&mut self.engine, &mut buf[..mtu]);
        if len == 0 {
            return None;
        }
        self.engine.on_datagram_sent(len);
        Some(Transmit { departure: self.engine.departure_after(now), ..Transmit::single(tuple, len) })
    }
}
