//! What the network carries datagrams between: anything that takes bytes and a time and gives bytes and a deadline.
//!
//! Owns the [`Node`] trait and nothing else. Its timers are the nodes' own: the network asks for the next deadline and calls back.

use std::fmt;
use std::num::NonZeroUsize;

use quic_proto::net::{Datagram, Transmit};
use quic_proto::time::Instant;

/// A protocol without I/O (a socket-less endpoint together with the application on it, as a rule).
///
/// After each call of one of the two `handle_` methods the network calls [`poll_transmit`](Self::poll_transmit) until it returns
/// `None`, then sleeps until [`next_timeout`](Self::next_timeout).
pub trait Node {
    /// A datagram arrived.
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>);

    /// The deadline passed. May be called early when a network is told to (see
    /// [`Network::set_spurious_timeouts`](crate::Network::set_spurious_timeouts)).
    fn handle_timeout(&mut self, now: Instant);

    /// Writes the next datagram, or several of equal size up to `max_segments`, into `buf`.
    fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], max_segments: NonZeroUsize)
    -> Option<Transmit>;

    /// When to call [`handle_timeout`](Self::handle_timeout). A deadline before the current time is a violation, and so is one
    /// that stays at the current time however often it is handled.
    fn next_timeout(&self) -> Option<Instant>;
}

impl<N: Node + ?Sized> Node for Box<N> {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        (**self).handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        (**self).handle_timeout(now);
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        (**self).poll_transmit(now, buf, max_segments)
    }

    fn next_timeout(&self) -> Option<Instant> {
        (**self).next_timeout()
    }
}

/// One of two types of node, for a network whose clients and servers are different types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Either<A, B> {
    /// The first type, the client by convention.
    A(A),
    /// The second type, the server by convention.
    B(B),
}

impl<A, B> Either<A, B> {
    /// The node, if it is of the first type.
    pub const fn a(&self) -> Option<&A> {
        if let Self::A(a) = self { Some(a) } else { None }
    }

    /// The node, if it is of the second type.
    pub const fn b(&self) -> Option<&B> {
        if let Self::B(b) = self { Some(b) } else { None }
    }
}

impl<A: Node, B: Node> Node for Either<A, B> {
    fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        match self {
            Self::A(a) => a.handle_datagram(now, datagram),
            Self::B(b) => b.handle_datagram(now, datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::A(a) => a.handle_timeout(now),
            Self::B(b) => b.handle_timeout(now),
        }
    }

    fn poll_transmit(
        &mut self,
        now: Instant,
        buf: &mut [u8],
        max_segments: NonZeroUsize,
    ) -> Option<Transmit> {
        match self {
            Self::A(a) => a.poll_transmit(now, buf, max_segments),
            Self::B(b) => b.poll_transmit(now, buf, max_segments),
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        match self {
            Self::A(a) => a.next_timeout(),
            Self::B(b) => b.next_timeout(),
        }
    }
}

/// A node's place in a network: nodes are numbered from zero in the order in which they are added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}
