//! Goodput through paths that are slow, long and lossy, by congestion controller.
//!
//! The paths are `quic perf path`: rate, delay, loss both ways, and a drop-tail queue of one bandwidth-delay product; for TCP `perf-link` is the
//! same between TUN devices. Processors are idle for most of it, so that some measurements run at a time and nothing is pinned.

use crate::host::Patience;
use crate::process::{Bench, Core};
use crate::stacks::{Kind, Stack};
use crate::tunnel::Tunnel;
use crate::workloads::{MTU, median};
use quic_perf::{Error, Report};
use std::sync::Mutex;
use std::time::Duration;

/// How many measurements run at a time.
const LANES: u32 = 3;

/// A path.
pub(crate) struct Path {
    pub(crate) title: &'static str,
    rate: &'static str,
    rtt: &'static str,
    loss: &'static str,
    /// One bandwidth-delay product, in bytes.
    queue: &'static str,
}

pub(crate) const PATHS: &[Path] = &[
    Path { title: "50 Mbit, 40 ms, 1 %", rate: "50mbit", rtt: "40ms", loss: "1%", queue: "250000" },
    Path { title: "100 Mbit, 100 ms, 0 %", rate: "100mbit", rtt: "100ms", loss: "0%", queue: "1250000" },
    Path { title: "100 Mbit, 100 ms, 0.1 %", rate: "100mbit", rtt: "100ms", loss: "0.1%", queue: "1250000" },
];

pub(crate) const CONTROLLERS: &[&str] = &["cubic", "cubic-tolerant", "newreno", "bbr"];

/// Mbit/s of a stack with a controller on a path; an error if no round went well.
pub(crate) struct Goodput {
    pub(crate) stack: &'static str,
    pub(crate) path: usize,
    pub(crate) controller: &'static str,
    pub(crate) mbit: Result<f64, String>,
}

/// All that was measured.
pub(crate) struct Impaired {
    pub(crate) all: Vec<Goodput>,
    /// Why TCP is not among it, if it was to be.
    pub(crate) no_tcp: Option<String>,
}

impl Goodput {
    /// Which of [`CONTROLLERS`] it is by what it does, whatever the stack calls it.
    fn family(&self) -> &'static str {
        match (self.stack, self.controller) {
            ("quiche", "cubic") => "cubic-tolerant",
            (_, controller) => controller,
        }
    }

    pub(crate) fn title(&self) -> String {
        let own_name = if self.family() == self.controller { "" } else { " (its cubic)" };
        format!("{}, {}{own_name}", self.family(), self.stack)
    }
}

impl Impaired {
    /// The stacks with this controller or its like, each on all paths in order.
    pub(crate) fn rows(&self, family: &str) -> Vec<Vec<&Goodput>> {
        let first = self.all.iter().filter(|one| one.path == 0 && one.family() == family);
        first
            .map(|first| {
                let same = |one: &&Goodput| (one.stack, one.controller) == (first.stack, first.controller);
                self.all.iter().filter(same).collect()
            })
            .collect()
    }
}

impl Path {
    fn args(&self, seed: usize) -> Vec<String> {
        let seed = seed.to_string();
        let args = [
            "--rate", self.rate, "--rtt", self.rtt, "--loss", self.loss, "--queue", self.queue, "--seed",
            &seed,
        ];
        args.map(str::to_owned).to_vec()
    }
}

/// One run to be done.
struct Job<'a> {
    stack: &'a Stack,
    link: &'a str,
    path: usize,
    controller: &'static str,
    round: usize,
}

/// Measures all stacks with all controllers on all paths. A stack that does not have a controller is left out there.
pub(crate) fn measure(
    bench: &Bench,
    patience: &Patience,
    stacks: &[Stack],
    link: &str,
    rounds: usize,
    seconds: f64,
) -> Impaired {
    let quic = &stacks[0];
    let mut no_tcp = None;
    let mut is_possible = |stack: &Stack, controller: &str| match stack.kind != Kind::Tcp {
        true => bench.server(stack, Core::Any, controller, MTU).is_ok(),
        false => {
            let tunnel = Tunnel::start(bench, link, &PATHS[0].args(1));
            no_tcp = tunnel.as_ref().err().map(ToString::to_string);
            tunnel.is_ok_and(|tunnel| bench.server(stack, tunnel.server(), controller, MTU).is_ok())
        }
    };
    let kinds: Vec<(&Stack, &'static str)> = stacks
        .iter()
        .filter(|stack| stack.kind != Kind::QuicOn)
        .flat_map(|stack| CONTROLLERS.iter().map(move |controller| (stack, *controller)))
        .filter(|(stack, controller)| is_possible(stack, controller))
        .collect();
    let mut jobs = Vec::new();
    for round in 0..rounds {
        for path in 0..PATHS.len() {
            jobs.extend(kinds.iter().map(|&(stack, controller)| Job {
                stack,
                link,
                path,
                controller,
                round,
            }));
        }
    }
    let (next, done) = (Mutex::new(jobs.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                loop {
                    let Some(job) = next.lock().expect("no one panics with it").next() else { return };
                    let run = patience
                        .calmest(LANES, || job.run(bench, quic, seconds).map_err(|error| error.to_string()));
                    job.tell(&run);
                    done.lock().expect("no one panics with it").push((job, run));
                }
            });
        }
    });
    let done = done.into_inner().expect("no one panics with it");
    let mut all = Vec::new();
    for (path, (stack, controller)) in
        (0..PATHS.len()).flat_map(|path| kinds.iter().map(move |kind| (path, *kind)))
    {
        let of_this =
            |job: &Job<'_>| job.stack.name == stack.name && job.path == path && job.controller == controller;
        let runs: Vec<_> = done.iter().filter(|(job, _)| of_this(job)).map(|(_, run)| run).collect();
        let error = || runs.iter().find_map(|run| run.as_ref().err()).cloned().unwrap_or_default();
        // A closed connection is worse than a slow one: it is not forgotten because another round went well.
        let mbit = match runs.iter().any(|run| run.is_err()) {
            true => Err(error()),
            false => median(runs.iter().filter_map(|run| run.as_ref().ok().copied())).ok_or_else(error),
        };
        all.push(Goodput { stack: stack.name, path, controller, mbit });
    }
    Impaired { all, no_tcp }
}

impl Job<'_> {
    fn run(&self, bench: &Bench, quic: &Stack, seconds: f64) -> Result<f64, Error> {
        let args = PATHS[self.path].args(self.round + 1);
        let load = ["download".to_owned(), "--duration".to_owned(), format!("{seconds}s")];
        let (stack, cc) = (self.stack, self.controller);
        // What is started last ends first.
        let (tunnel, _server, _path, mut client);
        if stack.kind != Kind::Tcp {
            let (running, address) = bench.server(stack, Core::Any, cc, MTU)?;
            _server = running;
            let (running, address) = bench.path(quic, address, &args)?;
            _path = running;
            client = bench.client(stack, Core::Any, address, cc, MTU, &load)?;
        } else {
            tunnel = Tunnel::start(bench, self.link, &args)?;
            let (running, address) = bench.server(stack, tunnel.server(), cc, MTU)?;
            _server = running;
            client = bench.client(stack, tunnel.client(), address, cc, MTU, &load)?;
        }
        let report: Report = serde_json::from_str(&client.end(Duration::from_secs_f64(seconds + 30.0))?)?;
        Ok(report.received_bytes as f64 * 8e-6 / report.seconds)
    }

    fn tell(&self, run: &Result<f64, String>) {
        let told = match run {
            Ok(mbit) => format!("{mbit:.1} Mbit/s"),
            Err(error) => error.clone(),
        };
        let Self { stack, controller, round, path, .. } = self;
        eprintln!(
            "impaired   {:>2}  {:<9} {controller:<8} {:<24} {told}",
            round + 1,
            stack.name,
            PATHS[*path].title
        );
    }
}
