//! `sansio bulk|rr|handshake|idle`: what quic-proto costs, beside quinn-proto.

use benches::counting::{Account, Counting, charge};
use benches::library::Library;
use benches::link::Cost;
use benches::ours::Ours;
use benches::theirs::Theirs;
use benches::tls::Tls;
use benches::workloads::{self, Memory};
use benches::{Certificate, counting};
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

#[global_allocator]
static COUNTING: Counting = Counting;

const USAGE: &str = "usage: sansio bulk|rr|handshake|idle [options]
  bulk       a client sends one stream; figures by packet
  rr         64 bytes ask for 1 KiB, 100 streams at a time; figures by request
  handshake  full handshakes, one after the other, also of rustls alone; figures by handshake
  idle       connections that do nothing; heap bytes by connection

  --bytes N                 bytes to send in bulk (default 64 MiB)
  --count N                 requests (default 100000), handshakes (300) or connections (1000)
  --rounds N                how often each runs, in turn; the fastest run counts (default 5)
  --only NAME               runs one of ours, q044 (ours, as Google QUIC; not idle), quinn, rustls (handshake)
  --json                    one JSON object a line";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Workload {
    Bulk,
    Requests,
    Handshake,
    Idle,
}

impl Workload {
    fn parse(name: &str) -> Option<Self> {
        [Self::Bulk, Self::Requests, Self::Handshake, Self::Idle].into_iter().find(|one| one.name() == name)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Bulk => "bulk",
            Self::Requests => "rr",
            Self::Handshake => "handshake",
            Self::Idle => "idle",
        }
    }

    /// What the figures count by.
    const fn unit(self) -> &'static str {
        match self {
            Self::Bulk => "packet",
            Self::Requests => "request",
            Self::Handshake => "handshake",
            Self::Idle => "connection",
        }
    }

    const fn default_amount(self) -> u64 {
        match self {
            Self::Bulk => 64 << 20,
            Self::Requests => 100_000,
            Self::Handshake => 300,
            Self::Idle => 1000,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Impl {
    Ours,
    /// The same, with Google QUIC in place of QUIC version 1.
    Q044,
    Quinn,
    /// The TLS library alone, in handshakes.
    Rustls,
}

impl Impl {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "quic-proto",
            Self::Q044 => "Q044",
            Self::Quinn => "quinn-proto",
            Self::Rustls => "rustls",
        }
    }
}

struct Args {
    workload: Workload,
    amount: u64,
    rounds: u32,
    only: Option<Impl>,
    json: bool,
}

fn parse() -> Option<Args> {
    let mut args = std::env::args().skip(1);
    let workload = Workload::parse(&args.next()?)?;
    let mut parsed = Args { workload, amount: workload.default_amount(), rounds: 5, only: None, json: false };
    while let Some(arg) = args.next() {
        match (arg.as_str(), workload) {
            ("--bytes", Workload::Bulk)
            | ("--count", Workload::Requests | Workload::Handshake | Workload::Idle) => {
                parsed.amount = args.next()?.parse().ok().filter(|amount| *amount > 0)?;
            }
            ("--rounds", _) => parsed.rounds = args.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            ("--only", _) => {
                parsed.only = Some(match args.next()?.as_str() {
                    "ours" => Impl::Ours,
                    "q044" if workload != Workload::Idle => Impl::Q044,
                    "quinn" => Impl::Quinn,
                    "rustls" if workload == Workload::Handshake => Impl::Rustls,
                    _ => return None,
                });
            }
            ("--json", _) => parsed.json = true,
            _ => return None,
        }
    }
    Some(parsed)
}

/// What a run found.
#[derive(Clone, Copy)]
enum Found {
    Cost(Cost),
    Memory(Memory),
}

fn run(args: &Args, which: Impl, certificate: &Certificate) -> Found {
    let client = SocketAddr::from(([192, 0, 2, 1], 1000));
    let server = SocketAddr::from(([192, 0, 2, 2], 443));
    match which {
        Impl::Ours => workload(args, [Ours::client(server), Ours::server(client, certificate)]),
        Impl::Q044 => workload(args, [Ours::q044_client(server), Ours::q044_server(client, certificate)]),
        Impl::Quinn => {
            let epoch = std::time::Instant::now();
            workload(args, [Theirs::client(epoch, server), Theirs::server(epoch, client, certificate)])
        }
        Impl::Rustls => {
            let tls = Tls::new(certificate);
            tls.handshake();
            let (start, before) = (std::time::Instant::now(), counting::allocations());
            for _ in 0..args.amount {
                charge(Account::Client, || tls.handshake());
            }
            let allocations = counting::allocations() - before;
            let nanos = start.elapsed().as_nanos() as u64;
            Found::Cost(Cost { datagrams: [0; 2], nanos, allocations })
        }
    }
}

fn workload<L: Library>(args: &Args, libraries: [L; 2]) -> Found {
    match args.workload {
        Workload::Bulk => Found::Cost(workloads::bulk(libraries, args.amount)),
        Workload::Requests => Found::Cost(workloads::requests(libraries, args.amount)),
        Workload::Handshake => Found::Cost(workloads::handshakes(libraries, args.amount)),
        Workload::Idle => Found::Memory(workloads::idle(libraries, args.amount)),
    }
}

/// The figures of one implementation, by unit: their names in JSON, and their values.
fn figures(args: &Args, found: &Found) -> Vec<(String, f64)> {
    let unit = args.workload.unit();
    match found {
        Found::Memory(memory) => {
            let mut figures = vec![
                (format!("client_bytes_per_{unit}"), memory.client),
                (format!("server_bytes_per_{unit}"), memory.server),
            ];
            if let Some([client, server]) = memory.reported {
                figures.push((format!("client_bytes_reported_per_{unit}"), client));
                figures.push((format!("server_bytes_reported_per_{unit}"), server));
            }
            figures
        }
        Found::Cost(cost) => {
            let units = match args.workload {
                Workload::Bulk => cost.datagrams[0],
                Workload::Requests => args.amount - args.amount / 4,
                Workload::Handshake | Workload::Idle => args.amount,
            };
            let each = |count: u64| count as f64 / units.max(1) as f64;
            vec![
                (format!("ns_per_{unit}"), each(cost.nanos)),
                (format!("allocs_per_{unit}"), each(cost.allocations)),
                (format!("client_datagrams_per_{unit}"), each(cost.datagrams[0])),
                (format!("server_datagrams_per_{unit}"), each(cost.datagrams[1])),
            ]
        }
    }
}

fn print(args: &Args, results: &[(Impl, Found)]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let workload = args.workload.name();
    let rows: Vec<_> = results.iter().map(|(which, found)| (which.name(), figures(args, found))).collect();
    if args.json {
        for (name, figures) in rows {
            write!(out, r#"{{"impl":"{name}","workload":"{workload}","amount":{}"#, args.amount)?;
            for (key, value) in figures {
                write!(out, r#","{key}":{value:.4}"#)?;
            }
            writeln!(out, "}}")?;
        }
        return Ok(());
    }
    let Some((_, first)) = rows.first() else { return Ok(()) };
    for (at, (key, _)) in first.iter().enumerate() {
        write!(out, "{:<36}", key.replace('_', " "))?;
        for (name, figures) in &rows {
            if let Some((_, value)) = figures.get(at) {
                write!(out, " {name:>12} {value:>12.4}")?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The better of two runs: the faster one; memory does not vary.
fn better(a: Found, b: Found) -> Found {
    match (a, b) {
        (Found::Cost(a), Found::Cost(b)) if b.nanos < a.nanos => Found::Cost(b),
        _ => a,
    }
}

fn main() -> ExitCode {
    let Some(args) = parse() else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let certificate = Certificate::new();
    let which = match (args.only, args.workload) {
        (Some(only), _) => vec![only],
        (None, Workload::Handshake) => vec![Impl::Ours, Impl::Quinn, Impl::Q044, Impl::Rustls],
        (None, Workload::Bulk | Workload::Requests) => vec![Impl::Ours, Impl::Quinn, Impl::Q044],
        (None, Workload::Idle) => vec![Impl::Ours, Impl::Quinn],
    };
    let mut results: Vec<(Impl, Found)> = Vec::new();
    for _ in 0..args.rounds {
        for &one in &which {
            let found = run(&args, one, &certificate);
            match results.iter_mut().find(|(which, _)| *which == one) {
                Some((_, best)) => *best = better(*best, found),
                None => results.push((one, found)),
            }
        }
    }
    if print(&args, &results).is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
