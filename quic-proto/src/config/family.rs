//! Settings of protocol families beside the IETF's.
//!
//! Owns the two traits by which such a family takes part in what everybody does with a configuration: to offer versions, and to
//! answer strangers. What else is in its settings only the family knows. TLS and the versions of the IETF are configured apart, since
//! they are there in every build.
//!
//! Invariant: nothing in here keeps state about a stranger. Timers: none.

use crate::id::Cid;
use crate::invariants::Version;
use crate::net::FourTuple;
use crate::rng::Rng;
use crate::time::UnixTime;
use std::any::Any;

/// What a client needs for connections of a family.
pub trait ClientFamily: Any + Send + Sync {
    /// The versions of the family that these settings are for, the preferred one first.
    fn versions(&self) -> &[Version];
}

/// What a server needs for connections of a family.
pub trait ServerFamily: Any + Send + Sync {
    /// The versions of the family that these settings are for, the preferred one first.
    fn versions(&self) -> &[Version];

    /// A packet with a long header, in one of the versions, that belongs to no connection. An answer is written to `out`.
    fn greet(&self, rng: &mut dyn Rng, stranger: &Stranger<'_>, out: &mut [u8]) -> Greeting;

    /// A packet without a long header that belongs to no connection and may be of an older version of the family. Gives the length of
    /// an answer written to `out`, if there is to be one.
    fn greet_old(&self, stranger: &Stranger<'_>, out: &mut [u8]) -> Option<usize>;

    /// Writes to `out` that the client that asked for connection `cid` is not wanted. Gives the length, if there is a way to say so.
    fn refuse(&self, cid: &Cid, out: &mut [u8]) -> Option<usize>;
}

/// A datagram from somebody without a connection.
pub struct Stranger<'a> {
    /// The time.
    pub now: UnixTime,
    /// Where it came from.
    pub path: FourTuple,
    /// The datagram.
    pub payload: &'a [u8],
    /// All versions that the endpoint accepts, the preferred one first.
    pub versions: &'a [Version],
}

/// What is to be done with a stranger.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// An answer of this length was written; nothing is kept.
    Answer(usize),
    /// The client receives what is sent to its address, and wants the connection of this id: it is for the application to accept it.
    Meet(Cid),
    /// Its datagram is of no use.
    Ignore,
}
