//! `sansio bulk`: a transfer by quic-proto beside the same transfer by quinn-proto.

use benches::Certificate;
use benches::counting::Counting;
use benches::link::{self, Cost};
use benches::ours::Ours;
use benches::theirs::Theirs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

#[global_allocator]
static COUNTING: Counting = Counting;

const USAGE: &str = "usage: sansio bulk [--bytes N] [--rounds N] [--only ours|quinn] [--json]
  --bytes N          bytes to send (default 64 MiB)
  --rounds N         how often each runs, in turn; the fastest run counts (default 5)
  --only ours|quinn  runs one of the two
  --json             one JSON object a line";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Impl {
    Ours,
    Quinn,
}

impl Impl {
    const fn name(self) -> &'static str {
        match self {
            Self::Ours => "quic-proto",
            Self::Quinn => "quinn-proto",
        }
    }
}

struct Args {
    bytes: u64,
    rounds: u32,
    only: Option<Impl>,
    json: bool,
}

fn parse() -> Option<Args> {
    let mut args = std::env::args().skip(1);
    if args.next()? != "bulk" {
        return None;
    }
    let mut parsed = Args { bytes: 64 << 20, rounds: 5, only: None, json: false };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bytes" => parsed.bytes = args.next()?.parse().ok().filter(|bytes| *bytes > 0)?,
            "--rounds" => parsed.rounds = args.next()?.parse().ok().filter(|rounds| *rounds > 0)?,
            "--only" => {
                parsed.only = Some(match args.next()?.as_str() {
                    "ours" => Impl::Ours,
                    "quinn" => Impl::Quinn,
                    _ => return None,
                });
            }
            "--json" => parsed.json = true,
            _ => return None,
        }
    }
    Some(parsed)
}

fn transfer(which: Impl, bytes: u64, certificate: &Certificate) -> Cost {
    let client = SocketAddr::from(([192, 0, 2, 1], 1000));
    let server = SocketAddr::from(([192, 0, 2, 2], 443));
    match which {
        Impl::Ours => {
            link::run(&mut Ours::client(server, bytes), &mut Ours::server(client, certificate), bytes)
        }
        Impl::Quinn => {
            let epoch = std::time::Instant::now();
            let (mut client, mut server) =
                (Theirs::client(epoch, server, bytes), Theirs::server(epoch, client, certificate));
            link::run(&mut client, &mut server, bytes)
        }
    }
}

/// A cost by packet that the sender sent.
struct PerPacket {
    nanos: f64,
    allocations: f64,
    replies: f64,
}

impl From<Cost> for PerPacket {
    fn from(cost: Cost) -> Self {
        let packets = cost.packets.max(1) as f64;
        Self {
            nanos: cost.nanos as f64 / packets,
            allocations: cost.allocations as f64 / packets,
            replies: cost.replies as f64 / packets,
        }
    }
}

fn print(args: &Args, results: &[(Impl, Cost)]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for (which, cost) in results {
        let (name, each) = (which.name(), PerPacket::from(*cost));
        if args.json {
            writeln!(
                out,
                r#"{{"impl":"{name}","workload":"bulk","bytes":{},"datagrams":{},"packets":{},"ns_per_packet":{:.1},"allocs_per_packet":{:.4},"replies_per_packet":{:.4}}}"#,
                args.bytes, cost.datagrams, cost.packets, each.nanos, each.allocations, each.replies
            )?;
        } else {
            writeln!(
                out,
                "{name:<12}{:>9.1} ns/packet {:>9.4} allocations/packet {:>8.4} replies/packet {:>8} packets",
                each.nanos, each.allocations, each.replies, cost.packets
            )?;
        }
    }
    if let ([(_, ours), (_, theirs)], false) = (results, args.json) {
        let (ours, theirs) = (PerPacket::from(*ours), PerPacket::from(*theirs));
        writeln!(
            out,
            "{:<12}{:>9.2} time      {:>9.2} allocations",
            "ratio",
            ours.nanos / theirs.nanos,
            ours.allocations / theirs.allocations
        )?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let Some(args) = parse() else {
        let _ = writeln!(std::io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    let certificate = Certificate::new();
    let which: Vec<Impl> = args.only.map_or_else(|| vec![Impl::Ours, Impl::Quinn], |only| vec![only]);
    let mut results: Vec<(Impl, Cost)> = Vec::new();
    for _ in 0..args.rounds {
        for &one in &which {
            let cost = transfer(one, args.bytes, &certificate);
            match results.iter_mut().find(|(which, _)| *which == one) {
                Some((_, best)) if best.nanos <= cost.nanos => {}
                Some((_, best)) => *best = cost,
                None => results.push((one, cost)),
            }
        }
    }
    if print(&args, &results).is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
