//! Measures `quic` and its peers in one run, and writes down what came out.
//!
//! Each workload is run by all stacks in turn, round after round, the server pinned to one core and the client to another; what counts is the
//! median of the rounds. Then files go through impaired paths. `stacks` builds and names the programs, `process` starts and stops them,
//! `workloads` says what is measured, `impaired` does so for paths, `host` has disturbed runs taken again, `machine` tells where, `results` and
//! `plot` write.

mod host;
mod impaired;
mod machine;
mod plot;
mod process;
mod results;
mod stacks;
mod tunnel;
mod workloads;

use clap::Parser;
use host::Patience;
use process::Bench;
use quic_perf::{Error, units};
use results::Results;
use stacks::Stack;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measure quic and its peers in one run.
///
/// Builds everything first. Without options it writes benches/RESULTS.md and benches/plots/.
#[derive(Parser, Debug)]
struct Args {
    /// Only this workload: download, upload, jumbo, rr, rr1, mixed, handshake, idle or impaired
    #[arg(long, value_name = "WORKLOAD", value_parser = workloads::NAMES)]
    only: Vec<String>,
    /// Only these stacks (quic is always one of them): quinn, noq, s2n-quic, quiche or tcp
    #[arg(long, value_name = "STACK", value_parser = stacks::PEERS)]
    stack: Vec<String>,
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// For how long in all to take runs again from which the machine's host took processor time away
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = units::time)]
    patience: Duration,
    /// One short round of everything, to see whether it works; the figures mean nothing and go to the target folder
    #[arg(long)]
    quick: bool,
    /// Where to write RESULTS.md and the plots
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Measure what was built before
    #[arg(long)]
    no_build: bool,
}

impl Args {
    fn wants(&self, workload: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == workload)
    }
}

fn main() -> ExitCode {
    let mut args = Args::parse();
    if args.quick {
        args.rounds = 1;
        args.patience = Duration::ZERO;
    }
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("yardstick: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let root = stacks::project();
    if !args.no_build {
        stacks::build(&root)?;
    }
    let all = Stack::all(&root);
    let stacks: Vec<Stack> = all.into_iter().filter(|stack| stack.is_wanted(&args.stack)).collect();
    let out = match &args.out {
        Some(out) => out.clone(),
        None if args.quick => stacks::target(&root.join("benches/peers")).join("yardstick"),
        None => root.join("benches"),
    };
    let bench = Bench::new()?;
    let begun = Instant::now();
    let load = machine::load();
    let patience = Patience::new(args.patience);
    let mut results = Results::new(&stacks);
    for workload in workloads::ALL.iter().filter(|workload| args.wants(workload.name)) {
        let seconds = if args.quick { 0.3 } else { workload.seconds };
        results.add(workload, workload.measure(&bench, &patience, &stacks, args.rounds, seconds));
    }
    if args.wants("impaired") {
        let seconds = if args.quick { 1.0 } else { 10.0 };
        results.impaired =
            Some(impaired::measure(&bench, &patience, &stacks, &stacks::link(&root), args.rounds, seconds));
    }
    let facts = machine::facts(&root, &load, begun.elapsed(), args.rounds, &patience);
    std::fs::create_dir_all(out.join("plots"))?;
    std::fs::write(out.join("RESULTS.md"), results.to_markdown(&facts))?;
    results.plot(&out.join("plots"))?;
    eprintln!("{} and its plots took {:.0?}", out.join("RESULTS.md").display(), begun.elapsed());
    Ok(())
}
