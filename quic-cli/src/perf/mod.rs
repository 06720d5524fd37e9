//! `quic perf`: the performance protocol over quic-tokio, and a path to impair it.
//!
//! The protocol and the workloads are quic-perf's; here is what is particular to this command: its options, and how quic-tokio is plugged
//! in.

mod client;
mod server;

use crate::args;
use crate::dial::resolve;
use crate::failure::Failure;
use crate::proxy::{Impairment, Proxy};
use crate::serve::say;
use quic_perf::{Load, units};
use quic_tokio::{Connection, SocketStats};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::time::Duration;

#[derive(clap::Subcommand, Debug)]
pub(crate) enum Command {
    /// Do what clients ask for, and tell at the end what it cost
    Server(ServerArgs),
    /// Run a workload against a server and tell how it went
    #[command(after_help = EXAMPLES)]
    Client(ClientArgs),
    /// Be a slow, long or lossy path to a server
    Path(PathArgs),
}

const EXAMPLES: &str = "Examples:
  quic perf server --listen 127.0.0.1:4433
  quic perf client localhost:4433 --insecure download --duration 10s
  quic perf client localhost:4433 --insecure rr --at-once 1 --count 10000
  quic perf client localhost:4433 --insecure handshake --json";

#[derive(clap::Args, Debug)]
pub(crate) struct ServerArgs {
    #[command(flatten)]
    server: args::Server,
    /// How many streams a client may have at once
    #[arg(long, value_name = "N", default_value_t = quic_perf::STREAMS)]
    streams: u64,
    /// Spread the connections over so many sockets, each with a task that drives it
    #[arg(long, value_name = "N", default_value = "1")]
    shards: NonZeroU8,
    /// Leave the pacing to the kernel: the interface must have the queueing discipline fq
    #[arg(long)]
    departure_times: bool,
    /// Print the report as one line of JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Args, Debug)]
pub(crate) struct ClientArgs {
    /// The server
    #[arg(value_name = "ADDR")]
    addr: String,
    #[command(flatten)]
    client: args::Client,
    #[command(flatten)]
    load: Load,
}

#[derive(clap::Args, Debug)]
pub(crate) struct PathArgs {
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", value_parser = args::socket_address)]
    listen: SocketAddr,
    /// The server
    #[arg(value_name = "ADDR")]
    to: String,
    /// The round-trip time, e.g. 40ms
    #[arg(long, value_parser = units::time, default_value = "0ms")]
    rtt: Duration,
    /// Lose this share of datagrams in each direction, e.g. 1%
    #[arg(long, value_parser = units::share, default_value = "0%")]
    loss: f64,
    /// Carry so much, e.g. 100mbit
    #[arg(long, value_parser = units::rate)]
    rate: Option<u64>,
    /// Let so much wait for the wire; otherwise what passes in a round trip or 100 ms
    #[arg(long, value_name = "SIZE", value_parser = units::size, requires = "rate")]
    queue: Option<u64>,
    /// What the losses follow from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(crate) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Server(args) => server::run(args).await,
        Command::Client(args) => client::run(args).await,
        Command::Path(args) => path(args).await,
    }
}

async fn path(args: PathArgs) -> Result<(), Failure> {
    let (host, port) = args::host_and_port(&args.to)?;
    let server = resolve(&host, port).await?[0];
    let impairment = Impairment { rtt: args.rtt, loss: args.loss, rate: args.rate, queue: args.queue };
    let started = Proxy::start(args.listen, server, &impairment, args.seed).await;
    let proxy = started.map_err(Failure::io(format!("cannot listen on {}", args.listen)))?;
    say(&format!("listening on {}", proxy.address));
    quic_perf::told_to_stop().await;
    for (direction, stats) in ["to the server", "to the client"].into_iter().zip(proxy.stats()) {
        say(&format!(
            "{direction}: {} datagrams passed, {} lost by chance, {} at a full queue",
            stats.passed, stats.lost, stats.overflowed
        ));
    }
    Ok(())
}

/// Adds what a connection waited for.
fn add_waits(connection: &Connection, sum: &mut quic_perf::Waited) {
    for (what, time) in connection.stats().waited.parts() {
        sum.add(what, time);
    }
}

fn datagrams(io: &SocketStats) -> quic_perf::Datagrams {
    quic_perf::Datagrams {
        sent: io.sent_datagrams,
        send_calls: io.send_calls,
        received: io.received_datagrams,
        receive_calls: io.receive_calls,
    }
}
