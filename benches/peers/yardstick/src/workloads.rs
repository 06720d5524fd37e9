//! What is measured, and what is read from it.

use crate::host::Patience;
use crate::process::{Bench, Outcome};
use crate::stacks::Stack;
use std::time::Duration;

/// What `--only` takes.
pub(crate) const NAMES: [&str; 9] =
    ["download", "upload", "jumbo", "rr", "rr1", "mixed", "handshake", "idle", "impaired"];

/// An Ethernet frame less an IPv6 and a UDP header.
pub(crate) const MTU: &str = "1452";
/// What nearly fits a jumbo frame.
const JUMBO: &str = "8900";

const GIB: f64 = (1_u64 << 30) as f64;

/// A workload of the clients'.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// How long it runs.
    pub(crate) seconds: f64,
    args: &'static [&'static str],
    /// The largest UDP payload.
    mtu: &'static str,
    pub(crate) rows: &'static [Row],
}

/// A figure that is read from a run.
pub(crate) struct Row {
    pub(crate) title: &'static str,
    pub(crate) more_is_better: bool,
    pub(crate) digits: usize,
    value: fn(&Outcome) -> Option<f64>,
}

/// The figures of a stack, one for each row; an error if no round went well.
pub(crate) type Figures = Result<Vec<Option<f64>>, String>;

const fn row(
    title: &'static str,
    more_is_better: bool,
    digits: usize,
    value: fn(&Outcome) -> Option<f64>,
) -> Row {
    Row { title, more_is_better, digits, value }
}

fn bytes(run: &Outcome) -> f64 {
    (run.client.received_bytes + run.client.sent_bytes) as f64
}

fn cpu(run: &Outcome) -> f64 {
    run.client.cpu_seconds + run.server.cpu_seconds
}

const RATE: Row = row("Gbit/s", true, 2, |run| Some(bytes(run) * 8e-9 / run.client.seconds));
const COST: Row = row("CPU s/GiB, client + server", false, 2, |run| Some(cpu(run) * GIB / bytes(run)));
const CLIENT: Row = row("of it the client", false, 2, |run| Some(run.client.cpu_seconds * GIB / bytes(run)));
const REQUESTS: Row =
    row("requests/s", true, 0, |run| Some(run.client.exchanges as f64 / run.client.seconds));
const P50: Row = row("p50, µs", false, 0, |run| Some(run.client.latency.as_ref()?.p50_us));
const P99: Row = row("p99, µs", false, 0, |run| Some(run.client.latency.as_ref()?.p99_us));
const PER_REQUEST: Row = row("CPU µs a request, client + server", false, 2, |run| {
    Some(cpu(run) * 1e6 / run.client.exchanges as f64)
});
const HANDSHAKES: Row =
    row("handshakes/s", true, 0, |run| Some(run.client.connections as f64 / run.client.seconds));
const PER_HANDSHAKE: Row = row("CPU µs a handshake, client + server", false, 0, |run| {
    Some(cpu(run) * 1e6 / run.client.connections as f64)
});
const MEMORY: Row =
    row("server bytes a connection", false, 0, |run| Some(run.grown? as f64 / run.client.connections as f64));

/// All workloads, in the order in which they are run and told.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        name: "download",
        title: "Download, one stream",
        seconds: 1.5,
        args: &["download"],
        mtu: MTU,
        rows: &[RATE, COST, CLIENT],
    },
    Workload {
        name: "upload",
        title: "Upload, one stream",
        seconds: 1.5,
        args: &["upload"],
        mtu: MTU,
        rows: &[RATE, COST, CLIENT],
    },
    Workload {
        name: "jumbo",
        title: "Download in datagrams of 8900 bytes",
        seconds: 1.5,
        args: &["download"],
        mtu: JUMBO,
        rows: &[RATE, COST, CLIENT],
    },
    Workload {
        name: "rr",
        title: "Requests of 64 B for 1 KiB, 100 at once",
        seconds: 1.5,
        args: &["rr"],
        mtu: MTU,
        rows: &[REQUESTS, PER_REQUEST, P50, P99],
    },
    Workload {
        name: "rr1",
        title: "One request at a time",
        seconds: 1.0,
        args: &["rr", "--at-once", "1"],
        mtu: MTU,
        rows: &[P50, P99, PER_REQUEST],
    },
    Workload {
        name: "mixed",
        title: "Ten requests at once beside a download",
        seconds: 1.5,
        args: &["mixed"],
        mtu: MTU,
        rows: &[RATE, P50, P99],
    },
    Workload {
        name: "handshake",
        title: "Full handshakes, 8 at a time",
        seconds: 1.5,
        args: &["handshake"],
        mtu: MTU,
        rows: &[HANDSHAKES, PER_HANDSHAKE, P50],
    },
    Workload {
        name: "idle",
        title: "A thousand idle connections",
        seconds: 0.6,
        args: &["idle", "--count", "1000"],
        mtu: MTU,
        rows: &[MEMORY],
    },
];

impl Workload {
    /// Runs it on all stacks in turn, round after round. Gives the medians of each.
    pub(crate) fn measure(
        &self,
        bench: &Bench,
        patience: &Patience,
        stacks: &[Stack],
        rounds: usize,
        seconds: f64,
    ) -> Vec<Figures> {
        let mut load: Vec<String> = self.args.iter().map(|word| (*word).to_owned()).collect();
        load.extend(["--duration".to_owned(), format!("{seconds}s")]);
        let limit = Duration::from_secs_f64(seconds + 20.0);
        let mut runs: Vec<Vec<Result<Outcome, String>>> = vec![Vec::new(); stacks.len()];
        for round in 0..rounds {
            for turn in 0..stacks.len() {
                // Not always after the same neighbour.
                let at = (turn + round) % stacks.len();
                let run = patience.calmest(1, || {
                    bench.run(&stacks[at], &load, self.mtu, limit).map_err(|error| error.to_string())
                });
                self.tell(round, &stacks[at], &run);
                runs[at].push(run);
            }
        }
        runs.into_iter().map(|runs| self.figures(&runs)).collect()
    }

    fn tell(&self, round: usize, stack: &Stack, run: &Result<Outcome, String>) {
        let told = match run {
            Ok(run) => {
                let figure = |row: &Row| {
                    let value =
                        (row.value)(run).map_or("-".to_owned(), |value| format!("{value:.*}", row.digits));
                    format!("{value} {}", row.title)
                };
                self.rows.iter().map(figure).collect::<Vec<_>>().join(", ")
            }
            Err(error) => error.clone(),
        };
        eprintln!("{:<10} {:>2}  {:<9} {told}", self.name, round + 1, stack.name);
    }

    fn figures(&self, runs: &[Result<Outcome, String>]) -> Figures {
        let good: Vec<&Outcome> = runs.iter().filter_map(|run| run.as_ref().ok()).collect();
        match runs.iter().find_map(|run| run.as_ref().err()) {
            Some(error) if good.is_empty() => Err(error.clone()),
            _ => Ok(self
                .rows
                .iter()
                .map(|row| median(good.iter().filter_map(|run| (row.value)(run))))
                .collect()),
        }
    }
}

/// The value in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        len if len % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), Some(2.5));
    }
}
