//! What the host of a virtual machine takes away, and runs that are taken again because of it.
//!
//! On a shared host a processor stands still for milliseconds while another guest has it. Rates fall, and a path's queue overflows while its
//! proxy sleeps: such a run tells of the neighbours. Linux counts that time as `steal`. [`Patience`] takes a run again in which there was too
//! much of it, and of a run's tries that with the least counts, for all stacks alike. What no counter shows, such as a neighbour on the same
//! core's other thread, stays in the figures.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// So much of the processor time that was wanted may be taken away.
const CALM: f64 = 0.02;

/// A run has as many tries.
const TRIES: usize = 4;

/// Ticks of all processors since the machine began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Ticks {
    used: u64,
    stolen: u64,
}

impl Ticks {
    /// The line for all processors of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let [user, nice, system, _idle, _wait, irq, soft_irq, stolen, ..] = ticks[..] else { return None };
        Some(Self { used: user + nice + system + irq + soft_irq, stolen })
    }

    /// Nothing where the system does not tell.
    fn now() -> Self {
        std::fs::read_to_string("/proc/stat").ok().and_then(|stat| Self::parse(&stat)).unwrap_or_default()
    }

    /// The share that was taken away since then of the time that was wanted.
    fn stolen_until(self, now: Self) -> f64 {
        let (used, stolen) = (now.used.saturating_sub(self.used), now.stolen.saturating_sub(self.stolen));
        stolen as f64 / (used + stolen).max(1) as f64
    }
}

/// Takes runs again, for so long in all and no longer.
pub(crate) struct Patience {
    state: Mutex<State>,
}

struct State {
    left: Duration,
    again: usize,
    /// What was taken from the runs that count.
    shares: Vec<f64>,
}

impl Patience {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { state: Mutex::new(State { left: limit, again: 0, shares: Vec::new() }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The try from which the least was taken. `lanes` is how many of them run at a time.
    pub(crate) fn calmest<T>(&self, lanes: u32, mut run: impl FnMut() -> T) -> T {
        self.choose(lanes, || {
            let before = Ticks::now();
            let result = run();
            (before.stolen_until(Ticks::now()), result)
        })
    }

    fn choose<T>(&self, lanes: u32, mut run: impl FnMut() -> (f64, T)) -> T {
        let mut timed = || {
            let begun = Instant::now();
            (run(), begun.elapsed())
        };
        let ((mut share, mut best), mut took) = timed();
        for _ in 1..TRIES {
            if share <= CALM || !self.spend(took / lanes) {
                break;
            }
            let (next, time) = timed();
            took = time;
            if next.0 < share {
                (share, best) = next;
            }
        }
        self.state().shares.push(share);
        best
    }

    /// Whether there is patience for another try that takes so long.
    fn spend(&self, time: Duration) -> bool {
        let mut state = self.state();
        let left = state.left.checked_sub(time);
        if let Some(left) = left {
            state.left = left;
            state.again += 1;
        }
        left.is_some()
    }

    /// What to say of it beside the figures.
    pub(crate) fn told(&self) -> String {
        let state = self.state();
        let mut shares = state.shares.clone();
        shares.sort_by(f64::total_cmp);
        let at = |part: usize| 100.0 * shares.get(shares.len() * part / 100).copied().unwrap_or_default();
        format!(
            "the machine's host took {:.1} % of the processor time from the run in the middle and {:.1} % from one in ten; {} of {} were \
             taken again because it was more than {:.0} %",
            at(50),
            at(90),
            state.again,
            shares.len() + state.again,
            100.0 * CALM
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stolen_is_a_share_of_what_was_wanted() {
        let stat =
            |user, steal| format!("cpu  {user} 1 20 3000 40 5 6 {steal} 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n");
        let before = Ticks::parse(&stat(100, 10)).unwrap();
        assert_eq!(before, Ticks { used: 132, stolen: 10 });
        let after = Ticks::parse(&stat(190, 20)).unwrap();
        assert!((before.stolen_until(after) - 0.1).abs() < 1e-9);
        assert_eq!(before.stolen_until(before), 0.0);
        assert_eq!(Ticks::parse("cpu  1 2 3\n"), None);
    }

    #[test]
    fn the_calmest_try_counts() {
        let patience = Patience::new(Duration::from_secs(3600));
        let mut tries = [(0.3, 'a'), (0.1, 'b'), (0.2, 'c'), (0.25, 'd')].into_iter();
        assert_eq!(patience.choose(1, || tries.next().unwrap()), 'b');
        assert_eq!(tries.next(), None, "four tries, no more");
        let mut tries = [(0.3, 'a'), (0.02, 'b'), (0.0, 'c')].into_iter();
        assert_eq!(patience.choose(1, || tries.next().unwrap()), 'b');
        assert_eq!(tries.next(), Some((0.0, 'c')), "calm enough");
        assert!(patience.told().contains("4 of 6 were taken again"), "{}", patience.told());
    }

    #[test]
    fn patience_comes_to_an_end() {
        let patience = Patience::new(Duration::ZERO);
        let mut runs = 0;
        patience.choose(1, || {
            runs += 1;
            std::thread::sleep(Duration::from_millis(1));
            (0.5, ())
        });
        assert_eq!(runs, 1);
    }
}
