//! Windowed maxima: of the bandwidth over two cycles of probing, and of aggregation over ten rounds.
//!
//! Invariant: a maximum is that of all samples in its window, exactly. No timers; the clocks are counts of cycles and rounds.

/// `BBR.max_bw_filter`: the maximum over this cycle of probing and the one before (`BBR.MaxBwFilterLen` = 2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MaxBw {
    previous: f64,
    current: f64,
}

impl MaxBw {
    /// Takes a sample; the maximum with it.
    pub(super) fn update(&mut self, rate: f64) -> f64 {
        self.current = self.current.max(rate);
        self.current.max(self.previous)
    }

    /// `AdvanceMaxBwFilter()`. A cycle without a sample, because the application was the limit, is no cycle: "BBR will not discard old max
    /// bandwidth samples that were not app-limited" for it.
    pub(super) fn advance(&mut self) {
        if self.current > 0.0 {
            *self = Self { previous: self.current, current: 0.0 };
        }
    }
}

/// How many rounds a [`RoundMax`] can look back: `BBR.ExtraAckedFilterLen`.
const ROUNDS: usize = 10;

/// `BBR.extra_acked_filter`: the maximum of each of the last ten rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundMax {
    maxima: [u64; ROUNDS],
    newest: u64,
}

impl RoundMax {
    /// The window of steady state, in rounds.
    pub(super) const LEN: usize = ROUNDS;

    /// Takes a sample of this round, which is never below one of before; the maximum over the last `len` rounds with it.
    pub(super) fn update(&mut self, len: usize, round: u64, value: u64) -> u64 {
        let slot = |round: u64| (round % ROUNDS as u64) as usize;
        let passed = round.saturating_sub(self.newest).min(ROUNDS as u64);
        (0..passed).for_each(|back| self.maxima[slot(round - back)] = 0);
        self.newest = self.newest.max(round);
        let current = &mut self.maxima[slot(self.newest)];
        *current = (*current).max(value);
        let within = (0..len.min(ROUNDS) as u64).take_while(|back| *back <= self.newest);
        within.map(|back| self.maxima[slot(self.newest - back)]).max().unwrap_or(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bandwidth_is_remembered_for_two_cycles() {
        let mut filter = MaxBw::default();
        assert_eq!(filter.update(5.0), 5.0);
        assert_eq!(filter.update(3.0), 5.0);
        filter.advance();
        assert_eq!(filter.update(2.0), 5.0);
        filter.advance();
        filter.advance();
        assert_eq!(filter.update(1.0), 2.0, "a cycle without samples does not count");
    }

    proptest! {
        #[test]
        fn a_round_max_is_that_of_all_samples_in_the_window(
            samples in proptest::collection::vec((0u64..15, 0u64..1000), 1..100),
            len in 1usize..=ROUNDS,
        ) {
            let (mut filter, mut all, mut round) = (RoundMax::default(), Vec::new(), 0);
            for (step, value) in samples {
                round += step;
                all.push((round, value));
                let inside = all.iter().filter(|(at, _)| at + len as u64 > round);
                prop_assert_eq!(Some(filter.update(len, round, value)), inside.map(|(_, value)| *value).max());
            }
        }
    }
}
