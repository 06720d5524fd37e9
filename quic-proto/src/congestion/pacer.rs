//! The pacer: spreads a window over its round trip (RFC 9002 §7.7), in bursts that are worth a system call.
//!
//! A token bucket of bytes. Owns the bucket; the rate comes from outside with each question, the congestion window is checked by others.
//!
//! A sender that comes late for what it waited for, because its timer or its processor was, has lost time that the path could have used, and what
//! the bucket cannot hold of it is owed. It is paid back at up to twice the rate. Otherwise a controller that paces at the bandwidth would get
//! less on every machine that has more to do. Where the sender waited for something else, nothing is owed.
//!
//! Invariants: never more than [`Pacer::burst`] bytes are given out at once; over any time `t` no more than `burst + rate * t`, but for what is owed
//! from before, which is at most the rate of 10 ms.
//! Packets that are not asked for here (acknowledgements, probes) may overdraw the bucket, by one burst at most. Once the bucket was found
//! empty it stays closed until it holds what is worth a batch: acknowledgements keep asking, and would get a packet or two each time.
//!
//! Where the socket holds datagrams back until a time that they name, the bucket runs ahead of the clock by a [head
//! start](Pacer::head_start): what it would give out later is given out now, with the time at which it would have been. It is given out in
//! finer steps then, since nobody has to wake up for each. The head start is short, for what is handed out cannot be taken back: news of a
//! loss finds it on its way. At most 5 ms; and at most a quarter of a round trip, which is by how much the pacing rate of a window that does
//! not grow exceeds window over round trip, so that a window that is handed out early is not missed for it.
//!
//! Timers: [`Pacer::next_release`] is the deadline of the pacing timer, but for the head start.

use crate::time::{Duration, Instant};

/// The smallest burst, in datagrams: the initial window of RFC 9002 §7.2 ("Senders SHOULD limit bursts to the initial congestion
/// window", §7.7).
const MIN_BURST: u64 = 10;
/// The largest burst, in datagrams: four system calls with segmentation offload. At rates at which that takes less than a millisecond no
/// timer of an operating system is fine enough to wait for it; who comes late finds it saved up.
const MAX_BURST: u64 = 256;
/// What one system call with segmentation offload can send, in datagrams: no need to save up more before sending goes on.
const BATCH: u64 = 64;
/// How much time at the current rate a burst stands for.
const BURST_TIME: Duration = Duration::from_millis(2);
/// How long to save up before sending goes on: a timer for every packet costs more than a burst of a millisecond harms.
const RELEASE_TIME: Duration = Duration::from_millis(1);
/// The same where no timer is needed.
const FINE_RELEASE_TIME: Duration = Duration::from_micros(250);
/// For how long a delay of the sender's more is owed: what a busy machine does to a process now and then, and less than most round trips.
const MAX_LATE: Duration = Duration::from_millis(10);
/// The longest head start: some times what a timer of an operating system is late.
const MAX_HEAD_START: Duration = Duration::from_millis(5);

/// A token bucket, in bytes.
#[derive(Clone, Debug)]
pub struct Pacer {
    mtu: u64,
    /// Bytes per second, as last told.
    rate: u64,
    /// Bytes that may leave now; negative if more was sent than allowed.
    tokens: f64,
    /// The largest burst, in bytes: two milliseconds at the current rate, but 10 datagrams at least and 256 at most.
    burst: u64,
    /// What was asked for in vain, in bytes; zero while the bucket is open.
    saving: u64,
    refilled: Option<Instant>,
    /// The sender waits for a release that it was told, and for nothing else.
    awaited: bool,
    /// Bytes that were earned in vain while it was late.
    owed: f64,
    /// The socket holds datagrams back until they are to leave.
    departure_times: bool,
}

impl Pacer {
    /// A full bucket for datagrams of `mtu` bytes: the initial window may leave at once.
    pub fn new(mtu: u16) -> Self {
        let mtu = u64::from(mtu.max(1));
        Self {
            mtu,
            rate: 1,
            tokens: (MIN_BURST * mtu) as f64,
            burst: MIN_BURST * mtu,
            saving: 0,
            refilled: None,
            awaited: false,
            owed: 0.0,
            departure_times: false,
        }
    }

    /// Whether the socket holds datagrams back until they are to leave.
    pub fn departure_times(&mut self, on: bool) {
        self.departure_times = on;
    }

    /// How long before they leave datagrams may be handed out, after round trips of `rtt` (if one was measured).
    pub fn head_start(&self, rtt: Option<Duration>) -> Duration {
        if self.departure_times {
            rtt.map_or(Duration::ZERO, |rtt| (rtt / 4).min(MAX_HEAD_START))
        } else {
            Duration::ZERO
        }
    }

    /// The time up to which tokens were counted, when the clock says `now`: what leaves next leaves then.
    pub fn time(&self, now: Instant) -> Instant {
        self.refilled.map_or(now, |refilled| refilled.max(now))
    }

    /// Bytes that may be sent at `now`, when the path is used at `rate` bytes per second.
    pub fn budget(&mut self, now: Instant, rate: u64) -> u64 {
        self.refill(now);
        self.set_rate(rate.max(1));
        self.tokens = self.tokens.min(self.burst as f64);
        let budget = self.tokens.max(0.0) as u64;
        if self.saving > 0 && budget < self.worth(self.saving) {
            return 0;
        }
        (self.saving, self.awaited) = (0, false);
        budget
    }

    /// The sender waits for something else.
    pub fn not_awaited(&mut self) {
        self.awaited = false;
    }

    /// Bytes were sent, paced or not.
    pub fn on_sent(&mut self, bytes: u64) {
        self.tokens = (self.tokens - bytes as f64).max(-(self.burst as f64));
    }

    /// When the budget will be `wanted` bytes (at most a burst), or a millisecond's worth, up to a batch, if that is more; `now` if it is already. Until
    /// then there is none.
    pub fn next_release(&mut self, now: Instant, wanted: u64) -> Instant {
        let missing = self.worth(wanted) as f64 - self.tokens;
        if missing <= 0.0 {
            return now;
        }
        self.saving = wanted;
        self.awaited = !self.departure_times;
        let missing = missing - self.owed.min(missing / 2.0);
        // A fraction of a nanosecond short would wake the caller up in vain.
        let nanos = (missing * 1e9 / self.rate as f64).ceil();
        self.time(now) + Duration::from_nanos(nanos as u64)
    }

    /// The largest burst, in bytes: two milliseconds at the current rate, but 10 datagrams at least and 256 at most.
    pub fn burst(&self) -> u64 {
        self.burst
    }

    /// What is saved up before `wanted` bytes leave.
    fn worth(&self, wanted: u64) -> u64 {
        let time = if self.departure_times { FINE_RELEASE_TIME } else { RELEASE_TIME };
        bytes_in(self.rate, time).min(BATCH * self.mtu).max(wanted).min(self.burst)
    }

    fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
        self.burst = bytes_in(rate, BURST_TIME).clamp(MIN_BURST * self.mtu, MAX_BURST * self.mtu);
    }

    /// The largest datagram of the path has this many bytes now.
    pub fn on_mtu(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu.max(1));
        self.set_rate(self.rate);
    }

    fn refill(&mut self, now: Instant) {
        let since = self.refilled.unwrap_or(now);
        if now > since {
            let earned = self.rate as f64 * (now - since).as_secs_f64();
            let paid_back = earned.min(self.owed);
            self.tokens += earned + paid_back;
            self.owed -= paid_back;
            let spilt = self.tokens - self.burst as f64;
            if spilt > 0.0 {
                self.tokens = self.burst as f64;
                if self.awaited {
                    self.owed = (self.owed + spilt).min(self.rate as f64 * MAX_LATE.as_secs_f64());
                }
            }
        }
        self.refilled = Some(now.max(since));
    }
}

/// Bytes at `rate` bytes per second in a short time, saturating.
fn bytes_in(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MTU: u64 = 1200;

    #[test]
    fn the_initial_window_leaves_at_once() {
        let mut pacer = Pacer::new(1200);
        assert_eq!(pacer.budget(Instant::EPOCH, 100_000), 10 * MTU);
        pacer.on_sent(10 * MTU);
        assert_eq!(pacer.budget(Instant::EPOCH, 100_000), 0);
    }

    #[test]
    fn a_low_rate_releases_single_packets() {
        let mut pacer = Pacer::new(1200);
        let rate = 120_000; // a datagram each 10 ms
        let _ = pacer.budget(Instant::EPOCH, rate);
        pacer.on_sent(10 * MTU);
        let release = pacer.next_release(Instant::EPOCH, MTU);
        assert_eq!(release, Instant::from_millis(10));
        assert_eq!(pacer.budget(release, rate), MTU);
    }

    #[test]
    fn a_high_rate_fills_a_batch() {
        let mut pacer = Pacer::new(1200);
        let rate = 1_250_000_000; // 10 Gbit/s
        let _ = pacer.budget(Instant::EPOCH, rate);
        // Who comes late finds more than one: no timer is as fine as this rate.
        assert_eq!(pacer.budget(Instant::from_millis(5), rate), 256 * MTU);
        pacer.on_sent(256 * MTU);
        let release = pacer.next_release(Instant::from_millis(5), MTU);
        assert!(release <= Instant::from_micros(5_070));
        assert_eq!(pacer.budget(release, rate), 64 * MTU, "the next batch is whole again");
    }

    #[test]
    fn questions_meanwhile_get_nothing() {
        let mut pacer = Pacer::new(1200);
        let rate = 1_250_000_000;
        let _ = pacer.budget(Instant::EPOCH, rate);
        pacer.on_sent(64 * MTU);
        let release = pacer.next_release(Instant::EPOCH, MTU);
        assert_eq!(
            pacer.budget(release - Duration::from_micros(10), rate),
            0,
            "many packets' worth, but no batch"
        );
        assert_eq!(pacer.budget(release, rate), 64 * MTU);
    }

    #[test]
    fn idle_time_saves_up_no_more_than_a_burst() {
        let mut pacer = Pacer::new(1200);
        let _ = pacer.budget(Instant::EPOCH, 1_000_000);
        assert_eq!(pacer.budget(Instant::from_millis(100_000), 1_000_000), 10 * MTU);
    }

    /// 10 Mbit/s for a datagram each millisecond; the bucket is empty, and a release was told.
    fn waiting() -> (Pacer, Instant) {
        let mut pacer = Pacer::new(1250);
        let _ = pacer.budget(Instant::EPOCH, 1_250_000);
        pacer.on_sent(10 * 1250);
        let release = pacer.next_release(Instant::EPOCH, 1250);
        assert_eq!(release, Instant::from_millis(1));
        (pacer, release)
    }

    /// What a sender sends that takes all it may whenever it is told to, until `end`.
    fn send_until(pacer: &mut Pacer, mut now: Instant, end: Instant) -> u64 {
        let mut sent = 0;
        while now < end {
            let budget = pacer.budget(now, 1_250_000);
            assert!(budget <= pacer.burst());
            pacer.on_sent(budget);
            sent += budget;
            now = pacer.next_release(now, 1250);
        }
        sent
    }

    #[test]
    fn who_came_late_gets_what_it_missed_at_twice_the_rate() {
        let (mut pacer, release) = waiting();
        // Of 18 that it has earned the bucket holds ten; eight are owed.
        let late = release + Duration::from_millis(17);
        assert_eq!(pacer.budget(late, 1_250_000), 10 * 1250);
        pacer.on_sent(10 * 1250);
        assert_eq!(pacer.next_release(late, 1250), late + Duration::from_micros(500));
        let sent = send_until(&mut pacer, late + Duration::from_micros(500), late + Duration::from_millis(8));
        assert_eq!(sent, 15 * 1250, "one each half millisecond");
        let end = late + Duration::from_millis(20);
        let sent = send_until(&mut pacer, late + Duration::from_millis(9), end);
        assert!((11 * 1250..=12 * 1250).contains(&sent), "nothing is owed any more: {sent}");
    }

    #[test]
    fn what_is_owed_is_bounded() {
        let (mut pacer, release) = waiting();
        let late = release + Duration::from_secs(1);
        let sent = send_until(&mut pacer, late, late + Duration::from_millis(100));
        // The bucket, a hundred milliseconds, and ten.
        assert!((119 * 1250..=120 * 1250).contains(&sent), "{sent}");
    }

    #[test]
    fn who_waited_for_something_else_is_owed_nothing() {
        let (mut pacer, release) = waiting();
        pacer.not_awaited();
        let late = release + Duration::from_secs(1);
        let sent = send_until(&mut pacer, late, late + Duration::from_millis(100));
        assert!((109 * 1250..=110 * 1250).contains(&sent), "{sent}");
    }

    #[test]
    fn overdraft_is_bounded_and_paid_back() {
        let mut pacer = Pacer::new(1200);
        let _ = pacer.budget(Instant::EPOCH, 120_000);
        pacer.on_sent(1_000_000);
        assert_eq!(pacer.next_release(Instant::EPOCH, MTU), Instant::from_millis(110));
    }

    #[test]
    fn a_clock_that_goes_backwards_gives_nothing() {
        let mut pacer = Pacer::new(1200);
        let _ = pacer.budget(Instant::from_millis(1000), 120_000);
        pacer.on_sent(10 * MTU);
        assert_eq!(pacer.budget(Instant::EPOCH, 120_000), 0);
        assert_eq!(pacer.budget(Instant::from_millis(1000), 120_000), 0);
    }

    proptest! {
        /// A sender that always sends what it may, waking when told to, keeps to the rate (plus one burst) and gets all of it.
        #[test]
        fn keeps_the_rate(rate in 20_000u64..2_000_000_000, wanted in 1u64..100_000, wakes in 10usize..200) {
            let mut pacer = Pacer::new(1200);
            let (mut now, mut sent) = (Instant::EPOCH, 0u64);
            for _ in 0..wakes {
                let budget = pacer.budget(now, rate);
                prop_assert!(budget <= 256 * MTU);
                sent += budget;
                pacer.on_sent(budget);
                let next = pacer.next_release(now, wanted);
                prop_assert!(next > now);
                now = next;
            }
            let allowed = rate as f64 * (now - Instant::EPOCH).as_secs_f64();
            prop_assert!(sent as f64 <= allowed + 10.0 * MTU as f64 + 1.0);
            // What the last wait saved up was not sent, and each answer was rounded down to a byte.
            prop_assert!(sent as f64 + pacer.burst() as f64 + wakes as f64 >= allowed, "{} {}", sent, allowed);
        }
    }
}
