//! The QUIC performance protocol (draft-banks-quic-performance-00) over any stack.
//!
//! A client opens a stream, says in eight bytes how long an answer it wants, sends what it likes and ends the stream; the server reads all of
//! it and answers with so many bytes. That is enough to measure [downloads, uploads, requests, handshakes, all at once and
//! idleness](Workload). This crate has what does not depend on who speaks QUIC: the eight bytes ([`wire`]), the workloads ([`run`]), the
//! server's side ([`Service`]), the options ([`Load`]), and the reports. A stack is plugged in by [`Client`] and [`Connection`]; one that
//! has streams writes the exchange itself by [`SendHalf`] and [`RecvHalf`].
//!
//! The `quic perf` command is one user; the programs in `benches/peers` measure other stacks by the same code.
#![forbid(unsafe_code)]

mod client;
mod facts;
mod load;
mod process;
mod report;
mod server;
mod streams;
mod tally;
pub mod units;
pub mod wire;

pub use client::{Client, Connection, run};
pub use facts::{Datagrams, Latency, Waited};
pub use load::{Load, Workload};
pub use process::{cpu_time, resident_bytes};
pub use report::{Report, ServerReport};
pub use server::{Service, told_to_stop};
pub use streams::{Ask, Body, RecvHalf, SendHalf, exchange};
pub use tally::Tally;

/// The application protocol's name (§2.1).
pub const ALPN: &str = "perf";

/// How many streams a server lets a client have at once, unless it is told otherwise: more than the workloads use by themselves.
pub const STREAMS: u64 = 256;

/// What a stack's errors become here: they are only told to people.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The runtime that suits this process: one thread where it has one core only, since a second one would but take turns with it.
///
/// # Errors
/// If the operating system gives no thread or no poll.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    use tokio::runtime::Builder;
    match std::thread::available_parallelism() {
        Ok(cores) if cores.get() == 1 => Builder::new_current_thread().enable_all().build(),
        _ => Builder::new_multi_thread().enable_all().build(),
    }
}
