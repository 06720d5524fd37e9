//! The network paths of a connection.
//!
//! Owns all state that belongs to a pair of addresses and must not leak to another (RFC 9000 §9.4): round-trip time, congestion
//! control, pacing, MTU, ECN, the spin bit, the anti-amplification credit and path validation. Packets remember the *generation* of the path that
//! they were sent on, so that their fate never touches another path.
//!
//! Invariants: one path is active; at most one previous and [`MAX_PROBING`] probed paths are kept, whatever addresses a peer (or one who
//! forges addresses) shows; an unvalidated path never displaces the last validated one (§9.3.2).
//! Timers: [`PathSet::validation_deadline`] and [`Mtu::deadline`] of the active path.

mod amplification;
mod ecn;
mod mtu;
mod set;
mod spin;
mod validation;

pub use amplification::Amplification;
pub use ecn::EcnState;
pub use mtu::{BASE, Mtu};
pub use set::{MAX_PROBING, NoPath, PathSet, TimedOut};
pub use spin::SpinBit;
pub use validation::{Proof, Responses, Validation};

use crate::congestion::{Controller, Pacer};
use crate::net::FourTuple;
use crate::recovery::rtt::Rtt;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// What all paths of a connection begin with.
#[derive(Clone, Copy, Debug)]
pub struct PathConfig {
    /// The round-trip time before the first sample (RFC 9002 §6.2.2: 333 ms).
    pub initial_rtt: Duration,
    /// The largest datagram that MTU discovery tries, in bytes.
    pub mtu_ceiling: u16,
    /// Whether the socket can set and read ECN codepoints.
    pub ecn: bool,
    /// Whether the latency spin bit takes part (RFC 9000 §17.4), but for the paths on which it must not.
    pub spin_bit: bool,
    /// Whether the socket holds datagrams back until they are to leave.
    pub departure_times: bool,
}

/// A path and all that is known of it.
#[derive(Debug)]
pub struct Path {
    /// The addresses.
    pub tuple: FourTuple,
    /// Tells this path from all others of the connection, earlier ones included.
    pub generation: u32,
    /// Sequence number of the peer's connection id that packets on this path go to.
    pub peer_cid: u64,
    /// The round-trip time.
    pub rtt: Rtt,
    /// The congestion controller.
    pub cc: Box<dyn Controller>,
    /// The pacer.
    pub pacer: Pacer,
    /// The datagram size.
    pub mtu: Mtu,
    /// The credit for sending to an address that was not validated.
    pub amplification: Amplification,
    /// The ECN validation.
    pub ecn: EcnState,
    /// The latency spin bit.
    pub spin: SpinBit,
    /// The path validation in progress.
    pub validation: Option<Validation>,
    /// The responses to the peer's challenges that are owed here.
    pub responses: Responses,
}

impl Path {
    /// The first path of a connection, `validated` already or not.
    pub fn new(
        tuple: FourTuple,
        peer_cid: u64,
        cc: Box<dyn Controller>,
        config: &PathConfig,
        validated: bool,
    ) -> Self {
        let mut pacer = Pacer::new(BASE);
        pacer.departure_times(config.departure_times);
        Self {
            tuple,
            generation: 0,
            peer_cid,
            rtt: Rtt::new(config.initial_rtt),
            cc,
            pacer,
            mtu: Mtu::new(config.mtu_ceiling),
            amplification: Amplification::new(validated),
            ecn: EcnState::new(config.ecn),
            spin: SpinBit::default(),
            validation: None,
            responses: Responses::default(),
        }
    }

    /// Another path of the same connection, in its initial state and not validated.
    fn sibling(&mut self, tuple: FourTuple, generation: u32, config: &PathConfig) -> Self {
        let mut path = Self::new(tuple, self.peer_cid, self.cc.fresh(BASE), config, false);
        path.generation = generation;
        path.ecn = self.ecn.for_new_path(config.ecn);
        path
    }

    /// Packets on the path go to another of the peer's connection ids from now on.
    pub fn use_cid(&mut self, sequence: u64, rng: &mut dyn Rng) {
        self.peer_cid = sequence;
        self.spin.on_new_cid(rng);
    }

    /// Begins to validate the path, unless that is under way. `pto` is the larger of the current probe timeout and the new path's.
    pub fn validate(&mut self, now: Instant, pto: Duration) {
        self.validation.get_or_insert_with(|| Validation::new(now, pto));
    }
}
