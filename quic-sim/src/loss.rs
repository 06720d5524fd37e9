//! Which datagrams a link loses: none, each by itself, in bursts, or exactly those that a test names.
//!
//! Owns the model ([`Loss`], plain data) and its running state. Invariant: one call of `LossState::loses` per datagram, in the order
//! in which they leave the queue. No timers: the models count datagrams, not time.

use quic_proto::rng::Rng;

use crate::units::Probability;

/// A model of loss.
#[derive(Clone, PartialEq, Debug, Default)]
pub enum Loss {
    /// Nothing is lost.
    #[default]
    None,
    /// Each datagram is lost with the same probability, whatever happened to the others.
    Independent(Probability),
    /// The Gilbert–Elliott model: a good and a bad state with a probability of loss each, and a chance to change state before
    /// each datagram.
    GilbertElliott {
        /// From the good state to the bad one.
        worsen: Probability,
        /// From the bad state to the good one; bursts last `1 / recover` datagrams on average.
        recover: Probability,
        /// Loss in the good state.
        good: Probability,
        /// Loss in the bad state.
        bad: Probability,
    },
    /// Exactly the datagrams with these numbers are lost, counted from zero in the order in which they leave the link's queue.
    /// For tests that want to lose "the second flight's first datagram" and nothing else.
    Exactly(Vec<u64>),
}

impl Loss {
    /// Bursts in which everything is lost, nothing between them: the classic Gilbert model. `average` is the share of datagrams
    /// lost in the long run and `length` the mean number of datagrams in a burst (at least one).
    pub fn bursts(average: Probability, length: f64) -> Self {
        let recover = 1.0 / length.max(1.0);
        // In the long run the chain is bad for worsen / (worsen + recover) of the time; solved for worsen.
        let share = average.get().min(0.99);
        let worsen = recover * share / (1.0 - share);
        Self::GilbertElliott {
            worsen: Probability::new(worsen),
            recover: Probability::new(recover),
            good: Probability::NEVER,
            bad: Probability::ALWAYS,
        }
    }
}

impl From<Probability> for Loss {
    fn from(p: Probability) -> Self {
        Self::Independent(p)
    }
}

/// Where a link's loss model stands.
#[derive(Debug, Default)]
pub(crate) struct LossState {
    bad: bool,
    seen: u64,
}

impl LossState {
    /// Whether the next datagram is lost.
    pub(crate) fn loses(&mut self, model: &Loss, rng: &mut dyn Rng) -> bool {
        let number = self.seen;
        self.seen += 1;
        match model {
            Loss::None => false,
            Loss::Independent(p) => p.roll(rng),
            Loss::GilbertElliott { worsen, recover, good, bad } => {
                if if self.bad { recover } else { worsen }.roll(rng) {
                    self.bad = !self.bad;
                }
                if self.bad { bad } else { good }.roll(rng)
            }
            Loss::Exactly(numbers) => numbers.contains(&number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::percent;
    use quic_proto::rng::SeededRng;

    fn draw(model: &Loss, seed: u64, n: usize) -> Vec<bool> {
        let (mut state, mut rng) = (LossState::default(), SeededRng::from_u64(seed));
        (0..n).map(|_| state.loses(model, &mut rng)).collect()
    }

    fn burst_lengths(lost: &[bool]) -> Vec<usize> {
        lost.split(|lost| !lost).map(<[bool]>::len).filter(|n| *n > 0).collect()
    }

    #[test]
    fn independent_loss_has_its_rate_and_no_memory() {
        let lost = draw(&percent(5).into(), 1, 100_000);
        let count = lost.iter().filter(|l| **l).count();
        assert!((4650..5350).contains(&count), "{count}"); // 5 standard deviations of 69
        // Of the datagrams after a lost one the same share is lost.
        let after = lost.windows(2).filter(|w| w[0] && w[1]).count();
        assert!((160..340).contains(&after), "{after}");
    }

    #[test]
    fn bursts_have_their_average_and_length() {
        let lost = draw(&Loss::bursts(percent(2), 8.0), 2, 400_000);
        let count = lost.iter().filter(|l| **l).count();
        let bursts = burst_lengths(&lost);
        let length = count as f64 / bursts.len() as f64;
        assert!((6_800..9_200).contains(&count), "{count}");
        assert!((7.0..9.0).contains(&length), "{length}");
    }

    #[test]
    fn bad_state_may_let_datagrams_through() {
        let model = Loss::GilbertElliott {
            worsen: percent(10),
            recover: percent(10),
            good: Probability::NEVER,
            bad: percent(50),
        };
        let count = draw(&model, 3, 100_000).iter().filter(|l| **l).count();
        assert!((23_500..26_500).contains(&count), "{count}");
    }

    #[test]
    fn named_datagrams_are_lost_and_no_other() {
        let lost = draw(&Loss::Exactly(vec![0, 3]), 4, 6);
        assert_eq!(lost, [true, false, false, true, false, false]);
    }
}
