//! Many seeds, and the one line that brings a failure back.
//!
//! Owns the reading of the environment (`QUIC_SIM_SEED`, `QUIC_SIM_SEEDS`) and nothing else global. Invariant: whatever fails under
//! a seed names that seed and a command. No timers.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The variable that replaces a sweep's seeds by one seed.
pub const SEED: &str = "QUIC_SIM_SEED";
/// The variable that replaces the seeds that a sweep tries: a range `0..10000`, or how many.
pub const SEEDS: &str = "QUIC_SIM_SEEDS";

/// The seeds to try: the one in `QUIC_SIM_SEED` if that is set, otherwise the range in `QUIC_SIM_SEEDS` (`0..10000`; a lone number
/// is how many, from `default`'s start on), otherwise `default`. Panics if a variable is set and is not that.
pub fn seeds(default: Range<u64>) -> Range<u64> {
    let read = |name| std::env::var(name).ok();
    choose(read(SEED).as_deref(), read(SEEDS).as_deref(), default)
}

fn choose(one: Option<&str>, many: Option<&str>, default: Range<u64>) -> Range<u64> {
    let number = |name: &str, text: &str| -> u64 {
        text.trim().parse().unwrap_or_else(|_| panic!("{name}: {text} is no seed: give a number"))
    };
    if let Some(seed) = one.map(|text| number(SEED, text)) {
        return seed..seed.saturating_add(1);
    }
    match many.map(|text| text.split_once("..").ok_or(text)) {
        Some(Ok((start, end))) => number(SEEDS, start)..number(SEEDS, end),
        Some(Err(count)) => default.start..default.start.saturating_add(number(SEEDS, count)),
        None => default,
    }
}

/// Runs `attempt` with each seed of `range` on all processors, for scenarios that are made from their seeds. `QUIC_SIM_SEED` and
/// `QUIC_SIM_SEEDS` replace the range, as they do for [`Scenario::sweep`](crate::Scenario::sweep). Panics with what the first failure
/// says and the line that brings it back.
pub fn sweep(range: Range<u64>, attempt: impl Fn(u64) -> Result<(), String> + Sync) {
    let reproduce = Reproduce::here();
    let failure = first_failure(seeds(range), |seed| {
        let guard = OnPanic(&reproduce, seed);
        let result = attempt(seed);
        drop(guard);
        result
    });
    if let Some((seed, what)) = failure {
        panic!("seed {seed}: {what}\nreproduce with:\n  {}", reproduce.line(seed));
    }
}

/// How to run the current test again.
#[derive(Clone, Debug)]
pub(crate) struct Reproduce {
    command: String,
}

impl Reproduce {
    /// From the test that runs on this thread; Cargo and the test harness tell what it is.
    pub(crate) fn here() -> Self {
        let thread = std::thread::current();
        let package = std::env::var("CARGO_PKG_NAME").ok();
        let command = match (package, thread.name().filter(|name| *name != "main")) {
            (Some(package), Some(test)) => format!("cargo test -p {package} {test} -- --exact"),
            _ => std::env::args().collect::<Vec<_>>().join(" "),
        };
        Self { command }
    }

    /// With a command of the user's.
    pub(crate) const fn with(command: String) -> Self {
        Self { command }
    }

    /// The line for a seed.
    pub(crate) fn line(&self, seed: u64) -> String {
        format!("{SEED}={seed} {}", self.command)
    }
}

/// Prints the line if what runs under it panics.
pub(crate) struct OnPanic<'a>(pub(crate) &'a Reproduce, pub(crate) u64);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} failed; reproduce with:\n  {}", self.1, self.0.line(self.1));
        }
    }
}

/// Tries `seeds` on all processors. The failure with the lowest number among those tried; no further seeds are begun after one.
pub(crate) fn first_failure(
    seeds: Range<u64>,
    attempt: impl Fn(u64) -> Result<(), String> + Sync,
) -> Option<(u64, String)> {
    let (next, stop) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let work = || {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            if let Err(what) = attempt(seed) {
                stop.store(true, Ordering::Relaxed);
                return Some((seed, what));
            }
        }
        None
    };
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let most = usize::try_from(seeds.end.saturating_sub(seeds.start)).unwrap_or(usize::MAX);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(most)).map(|_| scope.spawn(work)).collect();
        let failures = workers.into_iter().filter_map(|worker| match worker.join() {
            Ok(failure) => failure,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        failures.min_by_key(|(seed, _)| *seed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environment_goes_first() {
        assert_eq!(choose(None, None, 3..9), 3..9);
        assert_eq!(choose(None, Some("2"), 3..9), 3..5);
        assert_eq!(choose(None, Some("0..10000"), 3..9), 0..10_000);
        assert_eq!(choose(Some("77"), Some("2"), 3..9), 77..78);
    }

    #[test]
    fn line_names_seed_package_and_test() {
        let line = Reproduce::here().line(42);
        assert!(line.starts_with("QUIC_SIM_SEED=42 "), "{line}");
        if std::thread::current().name() != Some("main") {
            assert!(line.contains("cargo test -p quic-sim"), "{line}");
            assert!(line.ends_with("line_names_seed_package_and_test -- --exact"), "{line}");
        }
    }

    #[test]
    fn every_seed_is_tried_once_and_failures_are_reported() {
        let tried = AtomicU64::new(0);
        let count = |_| {
            tried.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(first_failure(5..105, count), None);
        assert_eq!(tried.into_inner(), 100);
        let fails = |seed| if seed == 60 { Err("sixty".to_owned()) } else { Ok(()) };
        assert_eq!(first_failure(0..100, fails), Some((60, "sixty".to_owned())));
    }
}
