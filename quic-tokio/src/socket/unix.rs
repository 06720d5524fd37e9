//! Readiness on Unix.
//!
//! Owns [`Room`]. Whoever watches a socket for room to send is woken each time that the system has let go of what was sent before, which
//! costs a turn of the event loop for each datagram of a quiet connection. So the socket is watched for datagrams only, and once its buffer
//! was full a second descriptor of it is watched for room, until what waits has left. Timers: none.

use super::{Socket, pending_if_blocked};
use quic_udp::{ReceiveBatch, SendBatch};
use std::io;
use std::net::UdpSocket;
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub(super) type Io = AsyncFd<UdpSocket>;

pub(super) fn register(socket: UdpSocket) -> io::Result<Io> {
    watch(socket, Interest::READABLE)
}

#[allow(
    deprecated,
    reason = "its successor is unsafe, for objects that do not keep their descriptor, and not in tokio 1.47; a socket of std keeps it"
)]
fn watch(socket: UdpSocket, interest: Interest) -> io::Result<Io> {
    AsyncFd::with_interest(socket, interest)
}

/// The watch for room in the socket's buffer, while something waits for that.
#[derive(Default)]
pub(crate) struct Room(Option<Io>);

impl Socket {
    /// Receives what one system call gives. `Pending` means that the task is woken when there is something.
    ///
    /// A runtime that always has a task to run looks at its sockets rarely. A task that goes on without having been woken by one may have the
    /// system itself `asked`.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        batch: &mut ReceiveBatch,
        asked: bool,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut ready = match self.0.io().poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending if asked => return pending_if_blocked(self.0.try_receive(batch)),
                Poll::Pending => return Poll::Pending,
            };
            let received = pending_if_blocked(self.0.try_receive(batch));
            if received.is_pending() || batch.drained_the_socket() {
                ready.clear_ready();
            }
            if received.is_ready() {
                return received;
            }
        }
    }

    /// Sends what is in `batch`. `Pending` means that the rest of it is there still, and the task is woken when there is `room`.
    pub(crate) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        batch: &mut SendBatch,
        room: &mut Room,
    ) -> Poll<io::Result<()>> {
        room.poll(cx, self.0.io().get_ref(), || self.0.try_send(batch))
    }
}

impl Room {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        socket: &UdpSocket,
        mut send: impl FnMut() -> io::Result<()>,
    ) -> Poll<io::Result<()>> {
        loop {
            if let Some(watched) = &self.0 {
                ready!(watched.poll_write_ready(cx))?.clear_ready();
            }
            let sent = pending_if_blocked(send());
            if sent.is_ready() {
                self.0 = None;
                return sent;
            }
            if self.0.is_none() {
                self.0 = Some(watch(socket.try_clone()?, Interest::WRITABLE)?);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::ErrorKind;

    #[tokio::test]
    async fn room_is_waited_for_only_while_there_is_none() {
        let io = register(quic_udp::bind("127.0.0.1:0".parse().unwrap()).unwrap()).unwrap();
        let (mut room, mut tries) = (Room::default(), 0);
        let mut send = || {
            tries += 1;
            if tries < 2 { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        let mut waited = false;
        let sent = poll_fn(|cx| {
            let sent = room.poll(cx, io.get_ref(), &mut send);
            waited |= sent.is_pending() && room.0.is_some();
            sent
        });
        sent.await.unwrap();
        assert!(waited && room.0.is_none());
        assert_eq!(tries, 2);
    }
}
