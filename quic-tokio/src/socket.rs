//! The UDP socket as a tokio task waits for it.
//!
//! Owns [`Socket`]: `quic-udp` moves the datagrams, tokio says when that is possible. Timers: none.

use quic_proto::net::FourTuple;
use quic_proto::time::Instant;
use quic_udp::{ReceiveBatch, SendBatch, SocketStats};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::UdpSocket;

pub(crate) struct Socket(quic_udp::Socket<UdpSocket>);

impl Socket {
    /// Takes a bound socket. Must be called within a tokio runtime.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        Ok(Self(quic_udp::Socket::new(socket, UdpSocket::from_std)?))
    }

    /// The same, for datagrams that name the times at which they are to leave; it is `now`.
    pub(crate) fn with_departure_times(socket: std::net::UdpSocket, now: Instant) -> io::Result<Self> {
        Ok(Self(quic_udp::Socket::with_departure_times(socket, now, UdpSocket::from_std)?))
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

    /// Receives what one system call gives.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        batch: &mut ReceiveBatch,
    ) -> Poll<io::Result<()>> {
        let io = self.0.io();
        loop {
            ready!(io.poll_recv_ready(cx))?;
            match io.try_io(Interest::READABLE, || self.0.try_receive(batch)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends what is in `batch`. `Pending` means that the rest of it is there still.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, batch: &mut SendBatch) -> Poll<io::Result<()>> {
        let io = self.0.io();
        loop {
            ready!(io.poll_send_ready(cx))?;
            match io.try_io(Interest::WRITABLE, || self.0.try_send(batch)) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }
}
