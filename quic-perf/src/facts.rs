//! Single facts that reports are made of.
//!
//! Owns [`Latency`], the summary of a histogram, [`Datagrams`] and [`Waited`]. Timers: none.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Times from 1 µs to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    const MINUTE: u64 = 60_000_000_000;
    Histogram::new_with_bounds(1_000, MINUTE, 3)
        .expect("invariant: the bounds are two powers apart and the digits below six")
}

/// Records a time; what is out of bounds counts as the bound.
pub(crate) fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
}

/// How long something took, many times. Times are in microseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// The shortest.
    pub min_us: f64,
    /// Half of them took at most this.
    pub p50_us: f64,
    /// 90 % of them took at most this.
    pub p90_us: f64,
    /// 99 % of them took at most this.
    pub p99_us: f64,
    /// 99.9 % of them took at most this.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
    /// The arithmetic mean.
    pub mean_us: f64,
    /// Upper bounds in microseconds, each twice the one before, and how many took at most that long but longer than the bound before.
    pub buckets: Vec<(f64, u64)>,
}

impl Latency {
    /// Of a histogram; `None` if it is empty.
    pub(crate) fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        let buckets = histogram.iter_log(histogram.min().max(1_000) * 2, 2.0);
        let buckets =
            buckets.map(|step| (us(step.value_iterated_to() + 1), step.count_since_last_iteration()));
        Some(Self {
            min_us: us(histogram.min()),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: us(histogram.max()),
            mean_us: histogram.mean() / 1e3,
            buckets: buckets.collect(),
        })
    }
}

/// A socket's work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Datagrams {
    /// Datagrams sent.
    pub sent: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// Datagrams received.
    pub received: u64,
    /// System calls that received them.
    pub receive_calls: u64,
}

impl Datagrams {
    /// Datagrams in a system call that sends.
    pub fn per_send(&self) -> f64 {
        self.sent as f64 / self.send_calls.max(1) as f64
    }

    /// Datagrams in a system call that receives.
    pub fn per_receive(&self) -> f64 {
        self.received as f64 / self.receive_calls.max(1) as f64
    }
}

/// What connections waited for when they could have sent, in the stack's own words, and how many seconds in all.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Waited(BTreeMap<String, f64>);

impl Waited {
    /// A connection waited for `what` so long.
    pub fn add(&mut self, what: &str, time: Duration) {
        if time > Duration::ZERO {
            *self.0.entry(what.to_owned()).or_default() += time.as_secs_f64();
        }
    }

    /// How many seconds for `what`.
    pub fn seconds(&self, what: &str) -> f64 {
        self.0.get(what).copied().unwrap_or_default()
    }

    /// All of it and its share of the whole, the longest first; `None` if no connection told.
    pub fn shares(&self) -> Option<Vec<(&str, f64)>> {
        let whole: f64 = self.0.values().sum();
        let mut shares: Vec<_> =
            self.0.iter().map(|(what, seconds)| (what.as_str(), seconds / whole)).collect();
        shares.sort_by(|a, b| b.1.total_cmp(&a.1));
        (!shares.is_empty()).then_some(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_told_by_its_quantiles_and_doubling_buckets() {
        let mut times = histogram();
        assert_eq!(Latency::of(&times), None);
        for us in 1..=1000 {
            record(&mut times, Duration::from_micros(us));
        }
        let latency = Latency::of(&times).unwrap();
        assert!((latency.p50_us - 500.0).abs() < 1.0, "{latency:?}");
        assert!((latency.p99_us - 990.0).abs() < 1.0, "{latency:?}");
        assert_eq!(latency.buckets.iter().map(|(_, count)| count).sum::<u64>(), 1000);
        assert!(latency.buckets.windows(2).all(|pair| pair[1].0 > 1.9 * pair[0].0), "{latency:?}");
    }

    #[test]
    fn waits_are_summed_and_shared() {
        let mut waited = Waited::default();
        assert_eq!(waited.shares(), None);
        for (what, seconds) in [("pacer", 1), ("congestion", 2), ("nothing", 0), ("congestion", 1)] {
            waited.add(what, Duration::from_secs(seconds));
        }
        assert_eq!(waited.shares().unwrap(), [("congestion", 0.75), ("pacer", 0.25)]);
        assert_eq!((waited.seconds("congestion"), waited.seconds("nothing")), (3.0, 0.0));
    }

    #[test]
    fn what_takes_too_long_counts_as_a_minute() {
        let mut times = histogram();
        record(&mut times, Duration::from_secs(3600));
        let latency = Latency::of(&times).unwrap();
        assert!((latency.max_us / 60e6 - 1.0).abs() < 0.001, "{latency:?}");
    }
}
