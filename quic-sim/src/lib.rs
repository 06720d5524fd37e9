//! A deterministic network for testing protocols that do no I/O of their own.
//!
//! A sans-IO protocol takes bytes and a time, and gives bytes and a deadline: the [`Node`] trait. This crate joins such nodes by
//! links that delay, lose, reorder, duplicate, corrupt, mark and queue, in virtual time and with seeded dice. An hour of network
//! takes milliseconds, and **the same seed gives the same trace**: what failed once fails again, under a debugger or with a print
//! statement more.
//!
//! - [`Scenario`] describes clients, a server and what is between them, in a sentence; [`Scenario::sweep`] runs it with
//!   thousands of seeds on all processors. A failure prints one line, `QUIC_SIM_SEED=… cargo test …`, that brings it back.
//! - [`sweep`] does so with scenarios that are themselves drawn from the seed, as [`quic::Plan`] draws those of QUIC. In either case
//!   `QUIC_SIM_SEEDS=0..10000` replaces the seeds to try.
//! - [`quic`] has hosts that speak QUIC, and a checker of their connections.
//! - [`Network`] builds any other topology: nodes, links, and routes over several links, with NATs and several addresses.
//! - [`Checker`]s assert after every step. Two rules need no asking: no deadline lies in the past, and no node keeps itself busy
//!   without letting time pass.
//! - A [`Pipe`] is one link without a network, for a proxy between real sockets.
//! - [`Trace`]s tell what happened to every datagram, and [`Trace::difference`] where two runs part.
//!
//! # A protocol of your own
//!
//! Stop and wait: send a number, wait for it to come back, send the next. Does it count to 20 whatever the network does?
//!
//! ```
//! use quic_proto::net::{Datagram, FourTuple, Transmit};
//! use quic_proto::time::Instant;
//! use quic_sim::units::{mbit, ms, percent};
//! use quic_sim::{Node, Scenario, View};
//! use std::{net::SocketAddr, num::NonZeroUsize};
//!
//! /// The client counts; the server (whose `peer` is whoever wrote last) sends back what it got.
//! struct Counter { peer: Option<SocketAddr>, client: bool, next: u8, send: bool, resend_at: Option<Instant> }
//!
//! impl Node for Counter {
//!     fn handle_datagram(&mut self, _now: Instant, datagram: Datagram<'_>) {
//!         let number = datagram.payload[0];
//!         if self.client && number == self.next {
//!             (self.next, self.send) = (number + 1, true);
//!         } else if !self.client {
//!             (self.next, self.send, self.peer) = (number, true, Some(datagram.path.remote));
//!         }
//!     }
//!     fn handle_timeout(&mut self, now: Instant) {
//!         if self.resend_at.is_some_and(|at| at <= now) {
//!             self.send = true;
//!         }
//!     }
//!     fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], _max: NonZeroUsize) -> Option<Transmit> {
//!         if !std::mem::take(&mut self.send) {
//!             return None;
//!         }
//!         buf[0] = self.next;
//!         self.resend_at = self.client.then_some(now + ms(200));
//!         Some(Transmit::single(FourTuple::to(self.peer?), 1))
//!     }
//!     fn next_timeout(&self) -> Option<Instant> {
//!         self.resend_at
//!     }
//! }
//!
//! let scenario = Scenario::between(
//!     |setup| Counter { peer: Some(setup.server), client: true, next: 0, send: true, resend_at: None },
//!     |_| Counter { peer: None, client: false, next: 0, send: false, resend_at: None },
//! )
//! .rate(mbit(10))
//! .delay(ms(20))
//! .loss(percent(10))
//! .reorder(percent(5), ms(30))
//! .duplicate(percent(5))
//! .check(|view: &View<'_, Counter>| match view.nodes[1].next <= view.nodes[0].next {
//!     true => Ok(()),
//!     false => Err("the server is ahead of the client".into()),
//! })
//! .until(|view| view.nodes[0].next == 20);
//!
//! let report = scenario.run(7).expect_ok();
//! assert!(report.elapsed >= ms(20 * 40)); // twenty round trips
//! assert_eq!(report.trace.difference(&scenario.run(7).trace), None);
//! scenario.sweep(0..100, |_| Ok(()));
//! ```
//!
//! `examples/own_protocol.rs` goes further: it transfers a file, and finds the bug of the alternating-bit protocol.
#![forbid(unsafe_code)]

mod agenda;
mod checker;
mod link;
mod loss;
mod nat;
mod network;
mod node;
mod packet;
mod pipe;
mod queue;
pub mod quic;
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
pub use pipe::{Pipe, PipeStats};
pub use queue::Queue;
pub use scenario::{DOWN, Report, Scenario, Setup, UP};
pub use sweep::{SEED, SEEDS, seeds, sweep};
pub use trace::{Difference, Entry, Fate, Trace};
