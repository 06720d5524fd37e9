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
    /// Takes a bound socket, which holds datagrams back until the times that they name if it is told what the time is. Must be called within
    /// a tokio runtime.
    pub(crate) fn new(socket: std::net::UdpSocket, departure_times: Option<Instant>) -> io::Result<Self> {
        Ok(Self(quic_udp::Socket::new(socket, departure_times, UdpSocket::from_std)?))
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

    /// Receives what one system call gives. `Pending` means that the task is woken when there is something.
    ///
    /// A runtime that always has a task to run looks at its sockets rarely. A task that goes on without having been woken by one is `eager`:
    /// it asks the system itself.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        batch: &mut ReceiveBatch,
        eager: bool,
    ) -> Poll<io::Result<()>> {
        let io = self.0.io();
        loop {
            match io.poll_recv_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if eager => return pending_if_blocked(self.0.try_receive(batch)),
                Poll::Pending => return Poll::Pending,
            }
            let mut received = false;
            let tried = io.try_io(Interest::READABLE, || {
                self.0.try_receive(batch)?;
                received = true;
                // Else tokio would have the socket asked again, in vain.
                if batch.drained_the_socket() { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            let result = if received { Ok(()) } else { tried };
            if let Poll::Ready(result) = pending_if_blocked(result) {
                return Poll::Ready(result);
            }
        }
    }

    /// Sends what is in `batch`. `Pending` means that the rest of it is there still.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, batch: &mut SendBatch) -> Poll<io::Result<()>> {
        let io = self.0.io();
        loop {
            ready!(io.poll_send_ready(cx))?;
            let sent = io.try_io(Interest::WRITABLE, || self.0.try_send(batch));
            if let Poll::Ready(result) = pending_if_blocked(sent) {
                return Poll::Ready(result);
            }
        }
    }
}

fn pending_if_blocked(result: io::Result<()>) -> Poll<io::Result<()>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}
