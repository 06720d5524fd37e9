//! `sansio bulk|handshake [N]`: quiche beside quic-proto without sockets, by the workloads of `benches`.
//!
//! The wires are in virtual time, but quiche reads the system's clock itself. These workloads lose nothing, so that neither library waits for
//! a timer: quiche's are not run. BoringSSL's own allocations are C's and not counted. Requests are left out: quiche takes no more from the
//! application than its congestion window has room for, and that workload's applications do not wait to write.

mod library;

use benches::Certificate;
use benches::counting::Counting;
use benches::library::Library;
use benches::link::Cost;
use benches::ours::Ours;
use benches::workloads;
use library::Quiche;
use std::net::SocketAddr;
use std::process::ExitCode;

#[global_allocator]
static COUNTING: Counting = Counting;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (workload, amount) = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [workload] => (workload, None),
        [workload, amount] => (workload, amount.parse().ok()),
        _ => ("", None),
    };
    let (amount, unit) = match workload {
        "bulk" => (amount.unwrap_or(64 << 20), "packet"),
        "handshake" => (amount.unwrap_or(300), "handshake"),
        _ => {
            eprintln!("usage: sansio bulk [BYTES] | handshake [HANDSHAKES]");
            return ExitCode::from(2);
        }
    };
    let certificate = Certificate::new();
    let mut best: [Option<Cost>; 2] = [None, None];
    for _ in 0..5 {
        for (at, best) in best.iter_mut().enumerate() {
            let cost = run(at, workload, amount, &certificate);
            if best.is_none_or(|best| cost.nanos < best.nanos) {
                *best = Some(cost);
            }
        }
    }
    for (name, cost) in ["quic-proto", "quiche"].into_iter().zip(best.into_iter().flatten()) {
        let units = match workload {
            "bulk" => cost.datagrams[0],
            _ => amount,
        };
        let each = |count: u64| count as f64 / units as f64;
        println!(
            r#"{{"impl":"{name}","workload":"{workload}","ns_per_{unit}":{:.1},"allocs_per_{unit}":{:.4}}}"#,
            each(cost.nanos),
            each(cost.allocations)
        );
    }
    ExitCode::SUCCESS
}

fn run(which: usize, workload: &str, amount: u64, certificate: &Certificate) -> Cost {
    let client = SocketAddr::from(([192, 0, 2, 1], 1000));
    let server = SocketAddr::from(([192, 0, 2, 2], 443));
    match which {
        0 => measure([Ours::client(server), Ours::server(client, certificate)], workload, amount),
        _ => measure(Quiche::ends(client, server, certificate), workload, amount),
    }
}

fn measure<L: Library>(libraries: [L; 2], workload: &str, amount: u64) -> Cost {
    match workload {
        "bulk" => workloads::bulk(libraries, amount),
        _ => workloads::handshakes(libraries, amount),
    }
}
