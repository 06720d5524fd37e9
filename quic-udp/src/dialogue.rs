//! Whether an answer is worth staying awake for.
//!
//! Owns [`Dialogue`]. Two ends that take turns in short messages wait for little but the system: it puts a thread to sleep and wakes it up
//! again, across cores, twice for each message and its answer. That takes longer than the answer. A thread that would sleep, and has just
//! sent something to a peer that has answered at once lately, looks at its socket for that long instead. `benches/NOTES.md` has the figures.
//!
//! Invariants: only a pause that begins with a message of ours is spent awake, never longer than the limit, and only after several that were
//! short; if the answer does not come meanwhile, the next several are slept through again, so that little is spent in vain. Bulk transfers
//! are no dialogue: their datagrams are full, and taken one by one they would cost more. Nor are many peers, whose next word answers none of ours.
//!
//! Timers: none; adapters say when the thread would sleep.

use quic_proto::net::{Datagram, Transmit};
use quic_proto::time::Instant;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// As much as both ends may say in an exchange, in bytes of UDP payload.
const SHORT: usize = 8 << 10;

/// Datagrams of that many bytes are full: all paths carry them (RFC 9000 §14), so more is likely to follow.
const FULL: usize = 1200;

/// So many quick answers in a row are slept through, at least and at most, before the next is waited for awake: twice as many after each that
/// was waited for in vain, one less after each that was not.
const CAUTION: RangeInclusive<u8> = 4..=64;

/// How much longer an answer may take that is slept through: half of it may be the system's, at both ends.
const ASLEEP: u32 = 2;

/// What a look at a socket takes at least. So the number of looks is limited too, lest a clock that stands still keep a thread awake for ever.
const LOOK: Duration = Duration::from_nanos(250);

/// What was said since the last pause.
#[derive(Clone, Copy, Default, Debug)]
struct Exchange {
    /// With whom first.
    peer: Option<SocketAddr>,
    /// In datagrams, both ways.
    bytes: usize,
    /// With others too.
    crowded: bool,
    /// The last datagram to us was full.
    received_full: bool,
    /// The last datagram from us was full.
    sent_full: bool,
    /// The last word was ours.
    ours: bool,
}

/// There is nothing to do but to wait for an answer.
#[derive(Clone, Copy, Debug)]
struct Pause {
    since: Instant,
    /// How often the socket was looked at meanwhile.
    looks: u32,
}

/// How quickly a peer answered lately.
#[derive(Clone, Copy, Debug)]
pub struct Dialogue {
    /// How long a pause is waited for at most.
    limit: Duration,
    exchange: Exchange,
    pause: Option<Pause>,
    /// How many quick answers must be seen before the next is waited for awake.
    doubt: u8,
    /// What it is after one that was not quick, in the range of [`CAUTION`].
    caution: u8,
}

impl Dialogue {
    /// One that keeps a thread awake for `limit` at most. Zero: never.
    pub fn new(limit: Duration) -> Self {
        Self {
            limit,
            exchange: Exchange::default(),
            pause: None,
            doubt: *CAUTION.start(),
            caution: *CAUTION.start(),
        }
    }

    /// A datagram came.
    pub fn received(&mut self, now: Instant, datagram: &Datagram<'_>) {
        let (peer, len) = (datagram.path.remote, datagram.payload.len());
        if let Some(pause) = self.pause.take() {
            let answer = self.exchange.is_short() && self.exchange.peer == Some(peer);
            self.judge(pause, answer && !self.is_over(pause, now));
        }
        self.exchange.ours = false;
        if self.exchange.goes_on(peer, len) {
            self.exchange.received_full = len >= FULL;
        }
    }

    /// Datagrams are being sent.
    pub fn sent(&mut self, now: Instant, transmit: &Transmit) {
        if let Some(pause) = self.pause.take() {
            // We had more to say, which says nothing of the peer unless it had its time.
            if self.is_over(pause, now) {
                self.judge(pause, false);
            } else {
                self.exchange = Exchange::default();
            }
        }
        self.exchange.ours = true;
        if self.exchange.goes_on(transmit.path.remote, transmit.len) {
            let size = transmit.segment_size.map_or(transmit.len, |size| usize::from(size.get()));
            let last = transmit.len.checked_rem(size).filter(|rest| *rest > 0).unwrap_or(size);
            self.exchange.sent_full = last >= FULL;
        }
    }

    /// There is nothing to do: whether to look at the socket again at once, rather than to sleep until something comes.
    pub fn pause(&mut self, now: Instant) -> bool {
        if !self.exchange.ours {
            return false;
        }
        let pause = *self.pause.get_or_insert(Pause { since: now, looks: 0 });
        let awake = self.doubt == 0
            && self.exchange.is_short()
            && now - pause.since < self.limit
            && LOOK * pause.looks < self.limit;
        self.pause = Some(Pause { looks: pause.looks.saturating_add(u32::from(awake)), ..pause });
        awake
    }

    /// Whether an answer that comes now is late.
    fn is_over(&self, pause: Pause, now: Instant) -> bool {
        now - pause.since >= if pause.looks > 0 { self.limit } else { self.limit.saturating_mul(ASLEEP) }
    }

    /// A pause is over: a new exchange begins.
    fn judge(&mut self, pause: Pause, quick: bool) {
        let awake = pause.looks > 0;
        match quick {
            true if awake => self.caution = (self.caution - 1).max(*CAUTION.start()),
            true => self.doubt = self.doubt.saturating_sub(1),
            false => {
                if awake {
                    self.caution = (2 * self.caution).min(*CAUTION.end());
                }
                self.doubt = self.caution;
            }
        }
        self.exchange = Exchange::default();
    }
}

impl Exchange {
    /// Counts so many bytes to or from a peer. Returns whether it can be a short exchange still.
    fn goes_on(&mut self, peer: SocketAddr, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > SHORT || self.crowded {
            return false;
        }
        self.crowded = *self.peer.get_or_insert(peer) != peer;
        !self.crowded
    }

    /// Whether it is one of a dialogue: little was said, with one peer, and nobody has more to say.
    fn is_short(&self) -> bool {
        self.bytes <= SHORT && !(self.crowded || self.received_full || self.sent_full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quic_proto::net::FourTuple;

    const LIMIT: Duration = Duration::from_micros(200);
    const QUICK: Duration = Duration::from_micros(20);
    const REQUEST: usize = 80;
    const ANSWER: usize = 1100;

    /// One end of a dialogue, with a clock.
    struct End {
        dialogue: Dialogue,
        now: Instant,
    }

    impl End {
        fn new() -> Self {
            Self { dialogue: Dialogue::new(LIMIT), now: Instant::from_millis(5) }
        }

        fn peer(number: u16) -> FourTuple {
            FourTuple::to((std::net::Ipv4Addr::LOCALHOST, number).into())
        }

        fn sends(&mut self, bytes: usize) {
            self.dialogue.sent(self.now, &Transmit::single(Self::peer(1), bytes));
        }

        fn receives(&mut self, peer: u16, bytes: usize) {
            let payload = &mut vec![0; bytes][..];
            self.dialogue.received(self.now, &Datagram { path: Self::peer(peer), ecn: None, payload });
        }

        /// There is nothing to do until an answer comes after `time`. Returns how long the thread was awake, with a look each microsecond.
        fn waits(&mut self, time: Duration) -> Duration {
            let (began, end) = (self.now, self.now + time);
            while self.now < end && self.dialogue.pause(self.now) {
                self.now += Duration::from_micros(1);
            }
            let awake = self.now - began;
            self.now = end;
            awake
        }

        fn exchange(&mut self, time: Duration) -> Duration {
            self.sends(REQUEST);
            let awake = self.waits(time);
            self.receives(1, ANSWER);
            awake
        }

        /// With enough quick answers behind it.
        fn trusting() -> Self {
            let mut end = Self::new();
            for n in 0..*CAUTION.start() {
                assert_eq!(end.exchange(QUICK), Duration::ZERO, "{n}");
            }
            end
        }
    }

    #[test]
    fn after_some_quick_answers_it_stays_awake_for_the_next() {
        let mut end = End::trusting();
        for _ in 0..100 {
            assert_eq!(end.exchange(QUICK), QUICK);
        }
        assert_eq!(end.exchange(Duration::from_secs(1)), LIMIT, "no longer than that");
        assert_eq!(end.exchange(QUICK), Duration::ZERO, "then it is careful again");
    }

    #[test]
    fn pauses_that_are_slept_through_may_take_twice_as_long() {
        let (mut end, mut slow) = (End::new(), End::new());
        for _ in 0..*CAUTION.start() {
            assert_eq!(end.exchange(LIMIT * 2 - QUICK), Duration::ZERO);
        }
        assert_eq!(end.exchange(QUICK), QUICK);
        for _ in 0..100 {
            assert_eq!(slow.exchange(LIMIT * 2), Duration::ZERO);
        }
    }

    #[test]
    fn little_time_is_spent_in_vain() {
        // As far away as misleads it most.
        let mut end = End::new();
        let awake: Duration = (0..10_000).map(|_| end.exchange(LIMIT + QUICK)).sum();
        assert!(awake < LIMIT * 10_000 / 50, "{awake:?}");
        // What passes is forgotten.
        for _ in 0..200 {
            end.exchange(QUICK);
        }
        assert_eq!(end.exchange(LIMIT), LIMIT);
        for _ in 0..*CAUTION.start() * 2 {
            assert_eq!(end.exchange(QUICK), Duration::ZERO);
        }
        assert_eq!(end.exchange(QUICK), QUICK);
    }

    #[test]
    fn who_heard_something_and_did_not_answer_sleeps() {
        let mut end = End::trusting();
        assert_eq!(end.waits(QUICK), Duration::ZERO, "the application has the word");
        assert_eq!(end.exchange(QUICK), QUICK);
    }

    #[test]
    fn who_goes_on_talking_learns_nothing_of_the_peer_unless_it_had_its_time() {
        let mut end = End::trusting();
        end.sends(REQUEST);
        assert_eq!(end.waits(QUICK), QUICK);
        // More of ours is a new exchange.
        assert_eq!(end.exchange(QUICK), QUICK);
        end.sends(REQUEST);
        assert_eq!(end.waits(LIMIT), LIMIT);
        assert_eq!(end.exchange(QUICK), Duration::ZERO, "it did not answer in time");
    }

    #[test]
    fn bulk_transfers_are_no_dialogue() {
        let mut end = End::trusting();
        // Full datagrams from us, and acknowledgements.
        end.sends(1200);
        assert_eq!(end.waits(QUICK), Duration::ZERO);
        end.receives(1, 40);
        // From the peer, and our acknowledgements.
        let mut end = End::trusting();
        end.receives(1, 1200);
        end.sends(40);
        assert_eq!(end.waits(QUICK), Duration::ZERO);
        // Batches that end with a short datagram are long.
        let mut end = End::trusting();
        end.receives(1, 40);
        let size = std::num::NonZeroU16::new(1200);
        let path = End::peer(1);
        let batch = |len| Transmit { segment_size: size, ..Transmit::single(path, len) };
        end.dialogue.sent(end.now, &batch(1200 * 2 + 100));
        assert_eq!(end.waits(QUICK), QUICK, "an answer in three datagrams");
        end.receives(1, 40);
        end.dialogue.sent(end.now, &batch(1200 * 2));
        assert_eq!(end.waits(QUICK), Duration::ZERO, "two full ones");
        let mut end = End::trusting();
        end.dialogue.sent(end.now, &batch(1200 * 40 + 100));
        assert_eq!(end.waits(QUICK), Duration::ZERO);
    }

    #[test]
    fn many_peers_are_no_dialogue() {
        let mut end = End::new();
        for n in 0..100 {
            end.receives(1 + n % 2, REQUEST);
            end.sends(ANSWER);
            assert_eq!(end.waits(QUICK), Duration::ZERO, "{n}");
        }
        // Nor several at a time.
        let mut end = End::trusting();
        end.receives(2, REQUEST);
        end.sends(ANSWER);
        assert_eq!(end.waits(QUICK), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_stands_still_keeps_no_thread_awake() {
        let mut end = End::trusting();
        end.sends(REQUEST);
        let looks = (0..1_000_000).take_while(|_| end.dialogue.pause(end.now)).count();
        assert_eq!(looks as u128, LIMIT.as_nanos() / LOOK.as_nanos());
    }

    #[test]
    fn zero_is_never() {
        let mut end = End { dialogue: Dialogue::new(Duration::ZERO), ..End::new() };
        assert!((0..100).all(|_| end.exchange(Duration::ZERO) == Duration::ZERO));
        end.sends(REQUEST);
        assert!(!end.dialogue.pause(end.now));
    }
}
