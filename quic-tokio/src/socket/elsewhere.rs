//! Readiness where sockets are no file descriptors.
//!
//! Owns nothing: tokio's own socket watches for datagrams and for room at once. Timers: none.

use super::{Socket, pending_if_blocked};
use quic_udp::{ReceiveBatch, SendBatch};
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::UdpSocket;

pub(super) type Io = UdpSocket;

pub(super) fn register(socket: std::net::UdpSocket) -> io::Result<Io> {
    UdpSocket::from_std(socket)
}

/// The watch for room in the socket's buffer: there always is one.
#[derive(Default)]
pub(crate) struct Room;

impl Socket {
    /// As on Unix.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        batch: &mut ReceiveBatch,
        asked: bool,
    ) -> Poll<io::Result<()>> {
        let io = self.0.io();
        loop {
            match io.poll_recv_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if asked => return pending_if_blocked(self.0.try_receive(batch)),
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

    /// As on Unix.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        batch: &mut SendBatch,
        _: &mut Room,
    ) -> Poll<io::Result<()>> {
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
