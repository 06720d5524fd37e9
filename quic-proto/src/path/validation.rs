//! Path validation, RFC 9000 §8.2: the challenges that we sent ([`Validation`]) and the responses that we owe ([`Responses`]).
//!
//! Invariants: every challenge is fresh random data; at most [`MAX_CHALLENGES`] of them are remembered and at most [`MAX_RESPONSES`]
//! responses are owed. Timers: [`Validation::deadline`], for the timer of path validation.

use crate::rng::Rng;
use crate::time::{Duration, Instant};
use smallvec::SmallVec;

/// Challenges of one validation that a response may still name.
const MAX_CHALLENGES: usize = 4;
/// Responses owed on one path; a peer that challenges faster than we can answer loses the oldest.
const MAX_RESPONSES: usize = 4;

/// What a response proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// The peer is at its address, but nothing is known of datagrams of 1200 bytes: validate again with an expanded one (§8.2.3).
    Address,
    /// The peer is at its address and the path carries datagrams of 1200 bytes.
    Path,
}

/// A validation in progress.
#[derive(Clone, Debug)]
pub struct Validation {
    sent: SmallVec<[([u8; 8], bool); MAX_CHALLENGES]>,
    expires: Instant,
    next: Instant,
    interval: Duration,
}

impl Validation {
    /// Begins now. `pto` is the larger of the current probe timeout and that of the new path with the initial RTT.
    pub fn new(now: Instant, pto: Duration) -> Self {
        // RFC 9000 §8.2.4: "A value of three times the larger of the current PTO or the PTO for the new path … is RECOMMENDED."
        Self { sent: SmallVec::new(), expires: now + pto * 3, next: now, interval: pto }
    }

    /// Whether a challenge should be sent now. Later ones are spaced like probes of an Initial packet (§8.2.1).
    pub fn wants_challenge(&self, now: Instant) -> bool {
        self.next <= now && now < self.expires
    }

    /// The data of a new challenge, which is sent now in a datagram that is `expanded` to 1200 bytes or not. §8.2.1: "The endpoint MUST
    /// use unpredictable data in every `PATH_CHALLENGE` frame".
    pub fn challenge(&mut self, now: Instant, rng: &mut dyn Rng, expanded: bool) -> [u8; 8] {
        let mut data = [0; 8];
        rng.fill(&mut data);
        if self.sent.len() == MAX_CHALLENGES {
            self.sent.remove(0);
        }
        self.sent.push((data, expanded));
        self.next = now + self.interval;
        self.interval = self.interval.saturating_mul(2);
        data
    }

    /// A response came, on whatever path (§8.2.3). What it proved, or `None` if it names none of our challenges.
    pub fn on_response(&self, data: &[u8; 8]) -> Option<Proof> {
        let (_, expanded) = self.sent.iter().find(|(sent, _)| sent == data)?;
        Some(if *expanded { Proof::Path } else { Proof::Address })
    }

    /// Whether the validation has failed (§8.2.4).
    pub fn has_failed(&self, now: Instant) -> bool {
        now >= self.expires
    }

    /// When the next challenge is due, or the validation fails.
    pub fn deadline(&self) -> Instant {
        self.next.min(self.expires)
    }

    /// When the validation fails.
    pub fn expires(&self) -> Instant {
        self.expires
    }
}

/// The responses that are owed on one path.
#[derive(Clone, Debug, Default)]
pub struct Responses(SmallVec<[[u8; 8]; MAX_RESPONSES]>);

impl Responses {
    /// A challenge came on this path. §8.2.2: "an endpoint MUST respond by echoing the data", on the path where it came.
    pub fn owe(&mut self, data: [u8; 8]) {
        if self.0.len() == MAX_RESPONSES {
            self.0.remove(0);
        }
        self.0.push(data);
    }

    /// The response to send next. It is not repeated when lost: §8.2.2, "MUST NOT send more than one `PATH_RESPONSE` frame in response to
    /// one `PATH_CHALLENGE` frame".
    pub fn take(&mut self) -> Option<[u8; 8]> {
        if self.0.is_empty() { None } else { Some(self.0.remove(0)) }
    }

    /// Whether none is owed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    #[test]
    fn a_challenge_is_repeated_until_the_validation_fails() {
        let mut rng = SeededRng::from_u64(1);
        let mut validation = Validation::new(Instant::EPOCH, Duration::from_millis(100));
        assert!(validation.wants_challenge(Instant::EPOCH));
        let first = validation.challenge(Instant::EPOCH, &mut rng, false);
        assert!(!validation.wants_challenge(Instant::from_millis(99)));
        assert_eq!(validation.deadline(), Instant::from_millis(100));
        let second = validation.challenge(Instant::from_millis(100), &mut rng, true);
        assert_ne!(first, second);
        assert_eq!(validation.on_response(&first), Some(Proof::Address));
        assert_eq!(validation.on_response(&second), Some(Proof::Path));
        assert_eq!(validation.on_response(&[0; 8]), None);
        assert_eq!(validation.deadline(), Instant::from_millis(300));
        assert!(validation.has_failed(Instant::from_millis(300)));
        assert!(!validation.wants_challenge(Instant::from_millis(300)));
    }

    #[test]
    fn each_challenge_is_answered_once_and_a_flood_is_bounded() {
        let mut responses = Responses::default();
        for number in 0..100 {
            responses.owe([number; 8]);
        }
        assert_eq!(std::iter::from_fn(|| responses.take()).count(), MAX_RESPONSES);
        assert!(responses.is_empty());
    }
}
