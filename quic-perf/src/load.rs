//! What to measure, as the command line says it.
//!
//! Owns [`Load`] and [`Workload`]. Timers: none.

use crate::units;
use clap::{Args, ValueEnum};
use std::time::Duration;

/// What a client does with its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Workload {
    /// Receive as much as possible
    Download,
    /// Send as much as possible
    Upload,
    /// Ask for small answers, many at once
    Rr,
    /// Open connections by full handshakes and close them
    Handshake,
    /// Ask for small answers while a download runs
    Mixed,
    /// Keep connections open and do nothing
    Idle,
}

impl Workload {
    /// Its name on the command line and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Upload => "upload",
            Self::Rr => "rr",
            Self::Handshake => "handshake",
            Self::Mixed => "mixed",
            Self::Idle => "idle",
        }
    }
}

/// A workload with its parameters.
#[derive(Args, Clone, Debug)]
pub struct Load {
    /// What to do
    #[arg(value_enum)]
    pub workload: Workload,
    /// For how long; `idle` keeps its connections for as long
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::time)]
    pub duration: Duration,
    /// Stop after so many bytes (download, upload), on each stream
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub size: Option<u64>,
    /// Stop after so many requests, handshakes or idle connections (1000, if `idle` is told nothing)
    #[arg(long, value_name = "N", conflicts_with = "size")]
    pub count: Option<u64>,
    /// How many at once, on each connection: streams, requests (100; 10 if mixed) or handshakes (8)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub at_once: Option<u32>,
    /// How many connections (all but handshake and idle)
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// What a request carries
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = units::size)]
    pub request: u64,
    /// What an answer carries
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = units::size)]
    pub response: u64,
    /// Print the report as one line of JSON
    #[arg(long)]
    pub json: bool,
}

impl Load {
    /// How many things happen at once on each connection.
    pub fn at_once(&self) -> u32 {
        self.at_once.unwrap_or(match self.workload {
            Workload::Download | Workload::Upload => 1,
            Workload::Rr => 100,
            Workload::Handshake | Workload::Idle => 8,
            Workload::Mixed => 10,
        })
    }

    /// How many connections there are at the same time.
    pub fn connections_at_once(&self) -> u64 {
        match self.workload {
            Workload::Handshake => self.at_once().into(),
            Workload::Idle => self.idle_connections(),
            _ => self.connections.into(),
        }
    }

    /// How many connections do nothing.
    pub(crate) fn idle_connections(&self) -> u64 {
        self.count.unwrap_or(1000)
    }
}
