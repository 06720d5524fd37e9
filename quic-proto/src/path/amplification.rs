//! The anti-amplification limit of RFC 9000 §8.1.
//!
//! Owns the count of bytes each way on a path whose peer has not shown yet that it is where it says. Timers: none.

/// How much may be sent for each byte received.
const FACTOR: u64 = 3;

/// The credit of a path.
#[derive(Clone, Copy, Debug)]
pub struct Amplification {
    received: u64,
    sent: u64,
    validated: bool,
}

impl Amplification {
    /// A path whose peer address is `validated` already (clients validate the server's implicitly), or not.
    pub const fn new(validated: bool) -> Self {
        Self { received: 0, sent: 0, validated }
    }

    /// A datagram of this many bytes came. RFC 9000 §8.1: "servers MUST count all of the payload bytes received in datagrams that are
    /// uniquely attributed to a single connection", discarded packets included.
    pub fn on_received(&mut self, bytes: u64) {
        self.received = self.received.saturating_add(bytes);
    }

    /// A datagram of this many bytes was sent.
    pub fn on_sent(&mut self, bytes: u64) {
        self.sent = self.sent.saturating_add(bytes);
    }

    /// Bytes that may be sent now; `u64::MAX` once the address is validated. RFC 9000 §8.1: "servers MUST NOT send more than three
    /// times as many bytes as the number of bytes they have received."
    pub const fn budget(&self) -> u64 {
        if self.validated { u64::MAX } else { self.received.saturating_mul(FACTOR).saturating_sub(self.sent) }
    }

    /// The peer has shown that it receives at its address.
    pub fn validate(&mut self) {
        self.validated = true;
    }

    /// Whether it has.
    pub const fn is_validated(&self) -> bool {
        self.validated
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_times_what_came() {
        let mut path = Amplification::new(false);
        assert_eq!(path.budget(), 0);
        path.on_received(1200);
        assert_eq!(path.budget(), 3600);
        path.on_sent(3000);
        assert_eq!(path.budget(), 600);
        path.on_sent(700);
        assert_eq!(path.budget(), 0, "never negative");
        path.on_received(u64::MAX);
        assert!(path.budget() > 0 && !path.is_validated());
        path.validate();
        assert_eq!(path.budget(), u64::MAX);
        assert_eq!(Amplification::new(true).budget(), u64::MAX);
    }
}
