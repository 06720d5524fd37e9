//! A deterministic network.
#![forbid(unsafe_code)]

mod agenda;
mod checker;
mod link;
mod loss;
mod nat;
mod network;
mod node;
mod packet;
mod queue;
mod scenario;
mod sweep;
mod trace;
pub mod units;

pub use checker::{Checker, Limits, View, Violation};
pub use link::{Link, LinkId, LinkStats};
pub use loss::Loss;
pub use nat::Rebind;
pub use network::{Network, Outcome};
pub use node::{Either, Node, NodeId};
pub use queue::Queue;
pub use scenario::{DOWN, Report, Scenario, Setup, UP};
pub use sweep::{SEED, SEEDS, seeds};
pub use trace::{Difference, Entry, Fate, Trace};
