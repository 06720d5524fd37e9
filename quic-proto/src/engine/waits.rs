//! What the sender waits for while nothing leaves, and for how long: the answer to "why is it slow?".
//!
//! Owns the wait of the moment and the sums. The end of each poll for datagrams says what the next one waits for; until then that is what
//! holds the sender back. Invariant: the sums add up to the life of the connection until its end. No timers, no clock: time is what
//! the polls bring.

use super::stats::Waited;
use crate::streams::Lack;
use crate::time::Instant;

/// What the sender waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// There is nothing to send.
    Data(Lack),
    /// The congestion window is full.
    Congestion,
    /// The pacer gives nothing yet.
    Pacer,
    /// The peer's address is not validated, and three times what it sent was sent (RFC 9000 §8.1).
    Amplification,
    /// Nothing: datagrams were written, and more may follow as soon as somebody asks for them.
    Driver,
}

/// The sums, and the wait that goes on.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    sums: Waited,
    /// `None` once the connection is over.
    now: Option<Wait>,
    since: Instant,
}

impl Waits {
    /// A connection begins, with nothing to send yet.
    pub fn new(now: Instant) -> Self {
        Self { sums: Waited::default(), now: Some(Wait::Data(Lack::Data)), since: now }
    }

    /// From now on the sender waits for this.
    #[inline]
    pub fn begin(&mut self, now: Instant, wait: Wait) {
        if self.now != Some(wait) && self.now.is_some() {
            self.sums = self.until(now);
            (self.now, self.since) = (Some(wait), now);
        }
    }

    /// The connection is over.
    pub fn end(&mut self, now: Instant) {
        self.sums = self.until(now);
        self.now = None;
    }

    /// The sums, with the wait that goes on.
    pub fn until(&self, now: Instant) -> Waited {
        let mut sums = self.sums;
        let sum = match self.now {
            None => return sums,
            Some(Wait::Data(Lack::Data)) => &mut sums.application,
            Some(Wait::Data(Lack::Room)) => &mut sums.send_buffer,
            Some(Wait::Data(Lack::Streams)) => &mut sums.stream_limit,
            Some(Wait::Data(Lack::StreamCredit)) => &mut sums.stream_window,
            Some(Wait::Data(Lack::ConnectionCredit)) => &mut sums.connection_window,
            Some(Wait::Congestion) => &mut sums.congestion,
            Some(Wait::Pacer) => &mut sums.pacer,
            Some(Wait::Amplification) => &mut sums.amplification,
            Some(Wait::Driver) => &mut sums.driver,
        };
        *sum += now.saturating_duration_since(self.since);
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;

    #[test]
    fn the_sums_add_up_to_the_life_of_the_connection() {
        let at = Instant::from_millis;
        let mut waits = Waits::new(at(10));
        waits.begin(at(30), Wait::Congestion);
        waits.begin(at(40), Wait::Congestion);
        waits.begin(at(100), Wait::Driver);
        waits.begin(at(100), Wait::Pacer);
        let waited = waits.until(at(105));
        let ms = Duration::from_millis;
        let expected = Waited { application: ms(20), congestion: ms(70), pacer: ms(5), ..Waited::default() };
        assert_eq!(waited, expected);
        waits.end(at(110));
        waits.begin(at(200), Wait::Congestion);
        assert_eq!(waits.until(at(300)), Waited { pacer: ms(10), ..expected }, "it is over");
        assert_eq!(waits.until(at(300)).parts().map(|(_, time)| time).iter().sum::<Duration>(), ms(100));
    }
}
