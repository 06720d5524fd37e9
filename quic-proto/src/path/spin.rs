//! The latency spin bit of a path (RFC 9000 §17.4), from which observers between the endpoints learn the round-trip time.
//!
//! Owns the value that packets on the path bear, and whether it follows the peer's. Invariant: where the bit is disabled nothing that comes
//! changes it. Timers: none.

use crate::id::Side;
use crate::rng::Rng;

/// RFC 9000 §17.4: the bit is disabled for "at least one in every 16 network paths".
const DISABLED_ONE_IN: u64 = 16;

/// What goes into the spin bit of packets on one path. The default is a bit that is disabled and zero.
#[derive(Clone, Copy, Default, Debug)]
pub struct SpinBit {
    enabled: bool,
    value: bool,
}

impl SpinBit {
    /// The bit of a new path. RFC 9000 §17.4: "Even when the spin bit is not disabled by the administrator, endpoints MUST disable their use of
    /// the spin bit for a random selection of at least one in every 16 network paths".
    pub fn new(wanted: bool, rng: &mut dyn Rng) -> Self {
        let mut spin = Self { enabled: wanted && rng.below(DISABLED_ONE_IN) != 0, value: false };
        spin.on_new_cid(rng);
        spin
    }

    /// What the next 1-RTT packet on the path bears.
    pub fn value(self) -> bool {
        self.value
    }

    /// A 1-RTT packet came on the path, newer than all before, with the bit as `received`. RFC 9000 §17.4: a server "sets the spin value for that
    /// path to be equal to the spin bit in the received packet", a client "to the inverse". "When the spin bit is disabled, endpoints … MUST
    /// ignore any incoming value."
    pub fn on_newest(&mut self, side: Side, received: bool) {
        if self.enabled {
            self.value = received ^ side.is_client();
        }
    }

    /// The path goes on with another connection id of the peer's. RFC 9000 §17.4: "An endpoint resets the spin value for a network path to 0 when
    /// changing the connection ID being used on that network path"; a disabled one "is RECOMMENDED" to be "a random value … chosen
    /// independently for each connection ID".
    pub fn on_new_cid(&mut self, rng: &mut dyn Rng) {
        self.value = !self.enabled && rng.below(2) == 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;

    fn enabled() -> SpinBit {
        SpinBit { enabled: true, value: false }
    }

    #[test]
    fn a_server_reflects_and_a_client_inverts() {
        let (mut server, mut client) = (enabled(), enabled());
        for received in [true, true, false, true, false, false] {
            server.on_newest(Side::Server, received);
            client.on_newest(Side::Client, received);
            assert_eq!((server.value(), client.value()), (received, !received));
        }
    }

    #[test]
    fn another_id_begins_with_zero() {
        let (mut spin, mut rng) = (enabled(), SeededRng::from_u64(1));
        spin.on_newest(Side::Server, true);
        spin.on_new_cid(&mut rng);
        assert!(!spin.value());
    }

    #[test]
    fn one_path_in_16_does_not_take_part() {
        let mut rng = SeededRng::from_u64(2);
        let paths: Vec<_> = (0..16_000).map(|_| SpinBit::new(true, &mut rng)).collect();
        let disabled = paths.iter().filter(|spin| !spin.enabled).count();
        assert!((900..1_100).contains(&disabled), "{disabled}");
        assert!(paths.iter().all(|spin| !spin.enabled || !spin.value()), "enabled ones begin with zero");
    }

    #[test]
    fn a_disabled_bit_is_random_for_each_id_and_hears_nothing() {
        let mut rng = SeededRng::from_u64(3);
        let mut spin = SpinBit::new(false, &mut rng);
        let mut ones = 0;
        for _ in 0..1_000 {
            spin.on_new_cid(&mut rng);
            let value = spin.value();
            for (side, received) in [(Side::Client, true), (Side::Server, true), (Side::Client, false)] {
                spin.on_newest(side, received);
                assert_eq!(spin.value(), value);
            }
            ones += u32::from(value);
        }
        assert!((400..600).contains(&ones), "{ones}");
    }
}
