//! Flow control: one pair of types for the connection, each stream, and the number of streams (RFC 9000 §4).
//!
//! Owns: the arithmetic of limits. [`SendCredit`] is what a peer lets us send, [`RecvCredit`] what we let a peer send.
//! Invariants: a limit never shrinks; `used <= limit`; `consumed <= received <= advertised`. No timers: the window's auto-tuning
//! looks at the time that is passed in.

use crate::error::MAX_VARINT;
use crate::time::{Duration, Instant};

/// What the peer permits us to send: bytes of the connection, bytes of a stream, or streams.
#[derive(Clone, Copy, Default, Debug)]
pub struct SendCredit {
    limit: u64,
    used: u64,
    /// One more than the limit at which we last said that we are blocked; 0 for never.
    reported: u64,
}

impl SendCredit {
    /// Credit up to `limit`.
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: 0, reported: 0 }
    }

    /// The peer's limit.
    pub const fn limit(&self) -> u64 {
        self.limit
    }

    /// How much of it is used.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// How much can still be used.
    #[inline]
    pub const fn available(&self) -> u64 {
        self.limit - self.used
    }

    /// Uses up to `amount`; callers have looked at [`Self::available`].
    #[inline]
    pub fn consume(&mut self, amount: u64) {
        debug_assert!(amount <= self.available());
        self.used = self.used.saturating_add(amount).min(self.limit);
    }

    /// Raises the limit; `false` if it was not below `limit`.
    pub fn raise(&mut self, limit: u64) -> bool {
        // RFC 9000 §4.1: "A sender MUST ignore any MAX_STREAM_DATA or MAX_DATA frames that do not increase flow control limits."
        // §19.11: "MAX_STREAMS frames that do not increase the stream limit MUST be ignored."
        let grows = limit > self.limit;
        if grows {
            self.limit = limit;
        }
        grows
    }

    /// Whether to tell the peer that we are blocked at the current limit: true once for each limit (RFC 9000 §4.1).
    pub fn report_blocked(&mut self) -> bool {
        let news = self.available() == 0 && self.reported <= self.limit;
        if news {
            self.reported = self.limit + 1;
        }
        news
    }
}

/// More was received than was advertised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exceeded;

/// What we permit the peer to send, and how the window grows.
///
/// The window doubles (up to a ceiling) when the application consumed half of it in less than two round trips: then the window and not
/// the path or the application is what limits the peer.
#[derive(Clone, Copy, Debug)]
pub struct RecvCredit {
    window: u64,
    ceiling: u64,
    received: u64,
    consumed: u64,
    advertised: u64,
    epoch: Option<(Instant, u64)>,
}

impl RecvCredit {
    /// Credit for `window` at first, growing to at most `ceiling`.
    pub fn new(window: u64, ceiling: u64) -> Self {
        let window = window.min(MAX_VARINT);
        Self {
            window,
            ceiling: ceiling.clamp(window, MAX_VARINT),
            received: 0,
            consumed: 0,
            advertised: window,
            epoch: None,
        }
    }

    /// The limit that the peer knows, or will.
    pub const fn advertised(&self) -> u64 {
        self.advertised
    }

    /// The size of the window now.
    pub const fn window(&self) -> u64 {
        self.window
    }

    /// The sum of what was received.
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Whether `amount` more may arrive.
    ///
    /// # Errors
    /// If it exceeds what was advertised.
    #[inline]
    pub const fn check(&self, amount: u64) -> Result<(), Exceeded> {
        if amount > self.advertised - self.received { Err(Exceeded) } else { Ok(()) }
    }

    /// Notes that `amount` more arrived, after [`Self::check`].
    #[inline]
    pub fn receive(&mut self, amount: u64) {
        debug_assert!(self.check(amount).is_ok());
        self.received = self.received.saturating_add(amount).min(self.advertised);
    }

    /// Notes that `amount` of what arrived left our buffers; returns whether the peer should hear of a new limit.
    pub fn consume(&mut self, amount: u64, now: Instant, rtt: Duration) -> bool {
        self.consumed = self.consumed.saturating_add(amount).min(self.received);
        let (start, base) = *self.epoch.get_or_insert((now, self.consumed - amount.min(self.consumed)));
        if self.consumed - base >= self.window / 2 {
            if now - start < rtt * 2 {
                self.window = self.window.saturating_mul(2).min(self.ceiling);
            }
            self.epoch = Some((now, self.consumed));
        }
        self.update_wanted()
    }

    /// Whether a quarter of the window or more is not yet advertised.
    #[inline]
    pub fn update_wanted(&self) -> bool {
        let target = self.target();
        target > self.advertised && target - self.advertised >= self.window / 4
    }

    /// The limit to advertise now.
    #[inline]
    pub fn target(&self) -> u64 {
        self.consumed.saturating_add(self.window).min(MAX_VARINT).max(self.advertised)
    }

    /// Notes that `limit` is being sent to the peer.
    pub fn advertise(&mut self, limit: u64) {
        self.advertised = self.advertised.max(limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn limits_only_grow() {
        let mut credit = SendCredit::new(10);
        assert!(!credit.raise(9) && !credit.raise(10));
        assert!(credit.raise(11));
        credit.consume(11);
        assert_eq!(credit.available(), 0);
    }

    #[test]
    fn blocked_is_said_once_for_each_limit() {
        let mut credit = SendCredit::new(0);
        assert!(credit.report_blocked());
        assert!(!credit.report_blocked());
        credit.raise(5);
        assert!(!credit.report_blocked(), "not blocked now");
        credit.consume(5);
        assert!(credit.report_blocked());
        assert!(!credit.report_blocked());
    }

    #[test]
    fn receiving_beyond_the_limit_is_seen() {
        let mut credit = RecvCredit::new(100, 100);
        assert_eq!(credit.check(101), Err(Exceeded));
        credit.receive(100);
        assert_eq!(credit.check(1), Err(Exceeded));
        assert!(!credit.consume(24, Instant::EPOCH, RTT));
        assert!(credit.consume(1, Instant::EPOCH, RTT));
        assert_eq!(credit.check(1), Err(Exceeded), "not advertised yet");
        credit.advertise(credit.target());
        assert_eq!(credit.advertised(), 125);
        assert_eq!(credit.check(25), Ok(()));
    }

    #[test]
    fn the_window_grows_for_a_fast_reader_up_to_the_ceiling() {
        let mut credit = RecvCredit::new(100, 300);
        let mut now = Instant::EPOCH;
        for window in [200, 300, 300] {
            credit.receive(credit.window() / 2);
            credit.consume(credit.window() / 2, now, RTT);
            credit.advertise(credit.target());
            assert_eq!(credit.window(), window);
            now += RTT;
        }
    }

    #[test]
    fn the_window_stays_for_a_slow_reader() {
        let mut credit = RecvCredit::new(100, 1000);
        let mut now = Instant::EPOCH;
        for _ in 0..10 {
            credit.receive(25);
            credit.consume(25, now, RTT);
            credit.advertise(credit.target());
            now += RTT * 2;
        }
        assert_eq!(credit.window(), 100);
    }
}
