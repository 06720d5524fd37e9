//! The `quic` command: fetch, serve, echo and measure over QUIC.
//!
//! Each subcommand is a module of its own over quic-tokio; nothing of the protocol is in here.
#![forbid(unsafe_code)]

mod args;
mod demo;
mod echo;
mod failure;
mod get;
mod hq;
mod proxy;
mod serve;
mod tls;
mod units;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(args).await,
        Command::Serve(args) => serve::run(args).await,
        Command::Get(args) => get::run(args).await,
        Command::Echo(args) => echo::run(args).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&failure.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Prints an error as a line.
fn complain(what: &str) {
    use std::io::Write;
    // Without standard error there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "quic: {what}");
}
