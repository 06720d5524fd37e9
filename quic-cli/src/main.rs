//! The `quic` command: fetch, serve, echo and measure over QUIC.
//!
//! Each subcommand is a module of its own over quic-tokio; nothing of the protocol is in here.
#![forbid(unsafe_code)]

mod args;
mod demo;
mod dial;
mod echo;
mod failure;
mod get;
mod hq;
mod perf;
mod proxy;
mod serve;
mod tls;
mod version;

use args::{Cli, Command};
use clap::Parser;
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let command = Cli::parse().command;
    let runtime = quic_perf::runtime().map_err(Failure::io("cannot start"));
    match runtime.and_then(|runtime| runtime.block_on(run(command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Echo(args) => echo::run(args).await,
        Command::Perf(command) => perf::run(command).await,
    }
}

/// Prints an error as a line.
fn complain(what: &str) {
    use std::io::Write;
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "quic: {what}");
}
