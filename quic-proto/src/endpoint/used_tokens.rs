//! Which address tokens were used already. RFC 9000 §8.1.4: "servers MUST ensure that replay of tokens is prevented or limited", and tokens
//! of NEW_TOKEN frames "SHOULD NOT be accepted multiple times".
//!
//! Invariant: at most [`CAPACITY`] tokens are remembered, the latest ones; an older one may work again until it expires. Retry tokens need no
//! memory: each names the connection id that its client must use, and lives for seconds.
//!
//! Timers: none.

use std::collections::{BTreeSet, VecDeque};

/// Less than a megabyte. Arbitrary: enough for a thousand returning clients a second while an attacker replays what is a few seconds old.
const CAPACITY: usize = 1 << 14;

/// What tells tokens apart.
pub(super) type Unique = [u8; 16];

/// The tokens that were used last.
#[derive(Default)]
pub(super) struct UsedTokens {
    known: BTreeSet<Unique>,
    /// The same, oldest first.
    order: VecDeque<Unique>,
}

impl UsedTokens {
    /// Takes note that a token is used. `false` if it was before.
    pub(super) fn insert(&mut self, token: Unique) -> bool {
        if !self.known.insert(token) {
            return false;
        }
        self.order.push_back(token);
        if self.order.len() > CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_used_once_as_long_as_it_is_remembered() {
        let mut used = UsedTokens::default();
        let token = |n: usize| (n as u128).to_be_bytes();
        for n in 0..CAPACITY {
            assert!(used.insert(token(n)));
        }
        assert!(!used.insert(token(0)) && !used.insert(token(CAPACITY - 1)));
        assert!(used.insert(token(CAPACITY)), "the oldest makes room");
        assert!(used.insert(token(0)) && !used.insert(token(2)));
        assert_eq!((used.known.len(), used.order.len()), (CAPACITY, CAPACITY));
    }
}
