//! A user tests a protocol of his own: a transfer by stop and wait.
//!
//! The protocol numbers its blocks. With 32-bit numbers it survives everything; with one bit (the textbook's alternating-bit
//! protocol) it works on wires that keep the order, and the simulator finds the seed under which a late datagram breaks it:
//!
//! ```text
//! cargo run -p quic-sim --example own_protocol
//! ```
#![allow(clippy::print_stdout, reason = "an example may talk")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use quic_proto::net::{Datagram, FourTuple, Transmit};
use quic_proto::time::{Duration, Instant};
use quic_sim::units::{mbit, ms, percent, secs};
use quic_sim::{Either, Node, Scenario, Setup, UP, View, seeds};

const BLOCK: usize = 1000;
const RETRANSMIT: Duration = ms(100);

/// Sends a file block by block; each waits for its acknowledgement.
struct Sender {
    to: SocketAddr,
    file: Vec<u8>,
    block: u32,
    mask: u32,
    ready: bool,
    deadline: Option<Instant>,
}

impl Sender {
    fn new(to: SocketAddr, file: Vec<u8>, mask: u32) -> Self {
        Self { to, file, block: 0, mask, ready: true, deadline: None }
    }

    fn current(&self) -> Option<&[u8]> {
        self.file.chunks(BLOCK).nth(self.block as usize)
    }
}

impl Node for Sender {
    fn handle_datagram(&mut self, _now: Instant, datagram: Datagram<'_>) {
        // Anyone may send anything: what is not an acknowledgement of the current block is ignored.
        let number = <[u8; 4]>::try_from(&*datagram.payload).map(u32::from_be_bytes);
        if number.ok() == Some(self.block & self.mask) && self.current().is_some() {
            self.block += 1;
            self.deadline = None;
            self.ready = self.current().is_some();
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        // An early call must do no harm.
        self.ready |= self.deadline.is_some_and(|at| at <= now);
    }

    fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], _max: NonZeroUsize) -> Option<Transmit> {
        if !std::mem::take(&mut self.ready) {
            return None;
        }
        let block = self.current()?;
        let len = 4 + block.len();
        buf[..4].copy_from_slice(&(self.block & self.mask).to_be_bytes());
        buf[4..len].copy_from_slice(block);
        self.deadline = Some(now + RETRANSMIT);
        Some(Transmit::single(FourTuple::to(self.to), len))
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

/// Collects the file and acknowledges every block, also those that it has.
struct Receiver {
    file: Vec<u8>,
    block: u32,
    mask: u32,
    acknowledge: Option<(SocketAddr, u32)>,
}

impl Receiver {
    fn new(mask: u32) -> Self {
        Self { file: Vec::new(), block: 0, mask, acknowledge: None }
    }
}

impl Node for Receiver {
    fn handle_datagram(&mut self, _now: Instant, datagram: Datagram<'_>) {
        let Some((number, block)) = datagram.payload.split_first_chunk() else { return };
        let number = u32::from_be_bytes(*number);
        if number == self.block & self.mask {
            self.file.extend_from_slice(block);
            self.block += 1;
        }
        self.acknowledge = Some((datagram.path.remote, number));
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_transmit(&mut self, _now: Instant, buf: &mut [u8], _max: NonZeroUsize) -> Option<Transmit> {
        let (to, number) = self.acknowledge.take()?;
        buf[..4].copy_from_slice(&number.to_be_bytes());
        Some(Transmit::single(FourTuple::to(to), 4))
    }

    fn next_timeout(&self) -> Option<Instant> {
        None
    }
}

type Peer = Either<Sender, Receiver>;

/// What the receiver has is always the beginning of the file.
fn nothing_lost_or_doubled(view: &View<'_, Peer>) -> Result<(), String> {
    match view.nodes {
        [Either::A(sender), Either::B(receiver)] if !sender.file.starts_with(&receiver.file) => {
            Err(format!("wrong after block {}", receiver.block))
        }
        _ => Ok(()),
    }
}

fn complete(view: &View<'_, Peer>) -> bool {
    view.nodes[0].a().is_some_and(|sender| sender.current().is_none())
}

/// A transfer of 50 blocks with numbers of as many bits as `mask` has.
fn transfer(mask: u32) -> Scenario<Peer> {
    let sender = move |mut setup: Setup| {
        let mut file = vec![0; 50 * BLOCK];
        setup.rng.fill(&mut file);
        Either::A(Sender::new(setup.server, file, mask))
    };
    Scenario::between(sender, move |_| Either::B(Receiver::new(mask)))
        .rate(mbit(10))
        .delay(ms(20))
        .loss(percent(5))
        .duplicate(percent(5))
        .spurious_timeouts(percent(10))
        .check(nothing_lost_or_doubled)
        .until(complete)
        .time_limit(secs(120))
}

fn main() {
    let report = transfer(u32::MAX).reorder(percent(5), ms(150)).run_twice(1).expect_ok();
    let up = report.links[UP.0];
    println!(
        "50 blocks took {:?}; {} datagrams went up, {} were dropped",
        report.elapsed, up.offered, up.dropped
    );

    transfer(u32::MAX).reorder(percent(5), ms(150)).sweep(0..200, |_| Ok(()));
    println!("200 seeds pass with 32-bit numbers, late datagrams and all");
    transfer(1).sweep(0..200, |_| Ok(()));
    println!("200 seeds pass with one bit, as long as nothing overtakes");

    let alternating = transfer(1).reorder(percent(5), ms(150));
    let broken = seeds(0..200).map(|seed| alternating.run(seed)).find_map(|report| {
        let what = report.verdict().err()?;
        Some(format!("{what}\n  {}", report.reproduce))
    });
    println!("one bit and late datagrams: {}", broken.as_deref().unwrap_or("no failure found"));
}
