//! The UDP socket as a tokio task waits for it.
//!
//! Owns [`Socket`]: `quic-udp` moves the datagrams, tokio says when that is possible. How it is asked differs: on Unix it watches for
//! datagrams only, and for room to send only while there was none ([`unix`]); elsewhere tokio's own socket watches for both. Timers: none.

use quic_proto::net::FourTuple;
use quic_proto::time::Instant;
use quic_udp::SocketStats;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::task::Poll;

#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod unix;
#[cfg(not(unix))]
use elsewhere as system;
#[cfg(unix)]
use unix as system;

pub(crate) use system::Room;

pub(crate) struct Socket(quic_udp::Socket<system::Io>);

impl Socket {
    /// Takes a bound socket, which holds datagrams back until the times that they name if it is told what the time is. Must be called within
    /// a tokio runtime.
    pub(crate) fn new(socket: std::net::UdpSocket, departure_times: Option<Instant>) -> io::Result<Self> {
        Ok(Self(quic_udp::Socket::new(socket, departure_times, system::register)?))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.0.local_addr()
    }

    /// The path to `remote` as the protocol names it; `None` if the socket cannot reach such an address.
    pub(crate) fn path_to(&self, remote: SocketAddr) -> Option<FourTuple> {
        self.0.path_to(remote)
    }

    /// How many datagrams one send call takes.
    pub(crate) fn max_segments(&self) -> NonZeroUsize {
        self.0.max_segments()
    }

    pub(crate) fn stats(&self) -> SocketStats {
        self.0.stats()
    }
}

fn pending_if_blocked(result: io::Result<()>) -> Poll<io::Result<()>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
