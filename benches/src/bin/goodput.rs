//! `goodput`: what each congestion controller makes of bad paths, in virtual time. The figures of a seed are exact.

use quic_proto::congestion::Algorithm;
use quic_sim::Loss;
use quic_sim::quic::{Bottleneck, Goodput};
use quic_sim::units::{mbit, ms, percent, secs};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const USAGE: &str = "usage: goodput [--seconds N] [--seeds N] [--cc ALGORITHM] [--path WORDS] [--json]
  --seconds N     virtual time of each run (default 20)
  --seeds N       runs of each row; the mean counts (default 3)
  --cc ALGORITHM  only rows with this one
  --path WORDS    only paths whose name contains this
  --json          one JSON object a line";

/// The algorithms, each of which gets every path to itself.
const ALGORITHMS: &[Algorithm] =
    &[Algorithm::NewReno, Algorithm::Cubic, Algorithm::CubicTolerant, Algorithm::Bbr];

/// Who shares a path with whom.
const PAIRS: &[[Algorithm; 2]] = &[
    [Algorithm::NewReno, Algorithm::NewReno],
    [Algorithm::Cubic, Algorithm::Cubic],
    [Algorithm::Bbr, Algorithm::Bbr],
    [Algorithm::Cubic, Algorithm::NewReno],
    [Algorithm::CubicTolerant, Algorithm::Cubic],
    [Algorithm::CubicTolerant, Algorithm::NewReno],
    [Algorithm::Bbr, Algorithm::Cubic],
];

fn paths() -> Vec<(&'static str, Bottleneck)> {
    let fifty = Bottleneck::new(mbit(50), ms(40));
    let hundred = Bottleneck::new(mbit(100), ms(100));
    vec![
        ("50 Mbit, 40 ms", fifty.clone()),
        ("50 Mbit, 40 ms, 1 % loss", fifty.clone().loss(percent(1))),
        ("50 Mbit, 40 ms, 1 % loss in bursts of 4", fifty.clone().loss(Loss::bursts(percent(1), 4.0))),
        ("50 Mbit, 40 ms, queue 0.25 BDP", fifty.clone().queue(0.25)),
        ("50 Mbit, 40 ms, queue 4 BDP", fifty.clone().queue(4.0)),
        ("50 Mbit, 40 ms, 1 % reordered by 8 ms", fifty.clone().reorder(percent(1), ms(8))),
        ("50 Mbit, 40 ms, 1 % loss, stalls of up to 40 ms", fifty.loss(percent(1)).stall(ms(250), ms(40))),
        ("100 Mbit, 100 ms", hundred.clone()),
        ("100 Mbit, 100 ms, stalls of up to 40 ms", hundred.clone().stall(ms(250), ms(40))),
        ("100 Mbit, 100 ms, 0.1 % loss", hundred.loss(percent(0.1))),
        ("10 Mbit, 200 ms", Bottleneck::new(mbit(10), ms(200))),
    ]
}

/// The paths that flows share, and which of [`PAIRS`]: on queues that are too short to be seen, those whose matter that is.
fn shared() -> [(&'static str, Bottleneck, &'static [[Algorithm; 2]]); 3] {
    let path = Bottleneck::new(mbit(50), ms(40));
    let tolerant = &PAIRS[PAIRS.len() - 3..];
    [
        ("50 Mbit, 40 ms", path.clone(), PAIRS),
        ("50 Mbit, 40 ms, queue 0.25 BDP", path.clone().queue(0.25), tolerant),
        ("50 Mbit, 40 ms, queue 0.1 BDP", path.queue(0.1), tolerant),
    ]
}

struct Args {
    seconds: u64,
    seeds: u64,
    only: Option<Algorithm>,
    path: String,
    json: bool,
}

fn parse() -> Option<Args> {
    let mut parsed = Args { seconds: 20, seeds: 3, only: None, path: String::new(), json: false };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => parsed.seconds = args.next()?.parse().ok().filter(|seconds| *seconds > 0)?,
            "--seeds" => parsed.seeds = args.next()?.parse().ok().filter(|seeds| *seeds > 0)?,
            "--cc" => parsed.only = Some(args.next()?.parse().ok()?),
            "--path" => parsed.path = args.next()?,
            "--json" => parsed.json = true,
            _ => return None,
        }
    }
    Some(parsed)
}

/// A line of the table: a path, and who sends on it.
struct Row {
    name: &'static str,
    path: Bottleneck,
    flows: Vec<Algorithm>,
}

fn rows(args: &Args) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, path) in paths() {
        let alone = |algorithm: &Algorithm| Row { name, path: path.clone(), flows: vec![*algorithm] };
        rows.extend(ALGORITHMS.iter().map(alone));
    }
    for (name, path, pairs) in shared() {
        rows.extend(pairs.iter().map(|pair| Row { name, path: path.clone(), flows: pair.to_vec() }));
    }
    rows.retain(|row| {
        row.name.contains(&args.path) && args.only.is_none_or(|only| row.flows.contains(&only))
    });
    rows
}

/// The mean of several runs.
#[derive(Default)]
struct Mean {
    mbit: Vec<f64>,
    queueing_ms: f64,
    dropped: f64,
    declared_lost: f64,
    fairness: f64,
}

impl Mean {
    fn of(runs: &[Goodput]) -> Self {
        let mean = |value: &dyn Fn(&Goodput) -> f64| runs.iter().map(value).sum::<f64>() / runs.len() as f64;
        let flows = runs.first().map_or(0, |run| run.flows.len());
        Self {
            mbit: (0..flows).map(|flow| mean(&|run| run.mbit_of(&run.flows[flow]))).collect(),
            queueing_ms: mean(&|run| run.queueing().as_secs_f64() * 1e3),
            dropped: mean(&Goodput::dropped),
            declared_lost: mean(&Goodput::declared_lost),
            fairness: mean(&Goodput::fairness),
        }
    }

    fn print(&self, out: &mut impl Write, row: &Row, json: bool) -> std::io::Result<()> {
        let names: Vec<String> = row.flows.iter().map(ToString::to_string).collect();
        let total: f64 = self.mbit.iter().sum();
        let (name, dropped, lost) = (row.name, 100.0 * self.dropped, 100.0 * self.declared_lost);
        if json {
            let each: Vec<String> = self.mbit.iter().map(|mbit| format!("{mbit:.2}")).collect();
            return writeln!(
                out,
                r#"{{"path":"{name}","cc":"{}","mbit":{total:.2},"mbit_each":[{}],"queueing_ms":{:.2},"dropped_percent":{dropped:.3},"declared_lost_percent":{lost:.3},"fairness":{:.4}}}"#,
                names.join("+"),
                each.join(","),
                self.queueing_ms,
                self.fairness
            );
        }
        let each: Vec<String> = self.mbit.iter().map(|mbit| format!("{mbit:.1}")).collect();
        let each = if each.len() > 1 { format!(" ({})", each.join(" + ")) } else { String::new() };
        let who = names.join(" + ");
        let queueing = self.queueing_ms;
        writeln!(out, "| {name} | {who} | {total:.1}{each} | {queueing:.1} | {dropped:.2} | {lost:.2} |")
    }
}

/// Runs all on all processors; results in order.
fn run(rows: &[Row], args: &Args) -> Vec<Mean> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(rows.iter().map(|_| Mean::default()).collect::<Vec<_>>());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((at, row)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    rows.get(at).map(|row| (at, row))
                } {
                    let measure = |seed| row.path.measure(&row.flows, secs(args.seconds), seed);
                    let runs: Vec<_> = (1..=args.seeds).map(measure).collect();
                    results.lock().expect("no run panicked")[at] = Mean::of(&runs);
                }
            });
        }
    });
    results.into_inner().expect("no run panicked")
}

fn main() -> ExitCode {
    let Some(args) = parse() else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let rows = rows(&args);
    let means = run(&rows, &args);
    let mut out = std::io::stdout().lock();
    if !args.json {
        let _ = writeln!(out, "| path | flows | Mbit/s | queueing, ms | dropped, % | declared lost, % |");
        let _ = writeln!(out, "|---|---|---:|---:|---:|---:|");
    }
    let printed = rows.iter().zip(&means).all(|(row, mean)| mean.print(&mut out, row, args.json).is_ok());
    if printed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
