//! The UDP socket: batches in, batches out.
//!
//! Owns [`Socket`], a tokio socket with the offloads that quinn-udp finds on the platform (GSO, GRO, ECN, packet info), and
//! [`ReceiveBatch`], the buffers that every receive call fills again.
//!
//! Invariants: the protocol sees IPv4 addresses as such, also on a dual-stack socket, which maps them into IPv6; what goes out is mapped
//! back. Nothing is allocated after the start.
//!
//! Timers: none.

use quic_proto::net::{Datagram, Ecn, FourTuple, Transmit};
use quinn_udp::{EcnCodepoint, RecvMeta, UdpSockRef, UdpSocketState};
use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// Messages that one system call takes. With GRO a message holds up to 64 datagrams.
const MESSAGES: usize = 16;

/// Room for one message: the largest UDP payload, which is also the most that GRO puts together.
const MESSAGE_SIZE: usize = 1 << 16;

/// The most bytes that one send call takes: the largest UDP payload over IPv4, which bounds a GSO batch too.
pub(crate) const SEND_SIZE: usize = 65_507;

/// What the kernel is asked to buffer in each direction, in bytes; it may give less. A receiver that is not scheduled for a millisecond at 10 Gbit/s
/// has 1.2 MB to catch up with.
const KERNEL_BUFFER: usize = 4 << 20;

/// A socket and what is known about it.
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl Socket {
    /// Takes a bound socket. Must be called within a tokio runtime.
    pub(crate) fn new(socket: std::net::UdpSocket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        // A smaller buffer is no reason to give up.
        let _ = state.set_recv_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        let _ = state.set_send_buffer_size(UdpSockRef::from(&socket), KERNEL_BUFFER);
        let local = socket.local_addr()?;
        Ok(Self { io: UdpSocket::from_std(socket)?, state, local })
    }

    /// Binds a socket; one on an IPv6 wildcard address serves IPv4 too.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
        let domain = socket2::Domain::for_address(addr);
        let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
        if addr.is_ipv6() {
            // Where the system cannot do both, IPv6 alone remains.
            if let Err(error) = socket.set_only_v6(false) {
                tracing::debug!(%error, "no dual stack");
            }
        }
        socket.bind(&addr.into())?;
        Ok(socket.into())
    }

    /// The address that the socket is bound to.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The path to `remote` as the protocol names it; `None` if the socket cannot reach such an address.
    pub(crate) fn path_to(&self, remote: SocketAddr) -> Option<FourTuple> {
        let remote = canonical(remote);
        if remote.port() == 0 || remote.ip().is_unspecified() || (remote.is_ipv6() && self.local.is_ipv4()) {
            return None;
        }
        Some(FourTuple { local: Some(self.local).filter(|local| !local.ip().is_unspecified()), remote })
    }

    /// How many datagrams one send call takes.
    pub(crate) fn max_segments(&self) -> usize {
        self.state.max_gso_segments().max(1)
    }

    /// Receives a batch of messages and returns their number.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        batch: &mut ReceiveBatch,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            match self.io.try_io(Interest::READABLE, || batch.receive(&self.state, &self.io)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Sends what the protocol wrote to `buf`. `Pending` means that nothing of it was sent; what the system refuses for any other reason
    /// counts as lost on the way.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, transmit: &Transmit, buf: &[u8]) -> Poll<()> {
        let message = quinn_udp::Transmit {
            destination: self.destination(transmit.path.remote),
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents: &buf[..transmit.len],
            segment_size: transmit.segment_size.map(|size| usize::from(size.get())),
            src_ip: transmit.path.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified()),
        };
        loop {
            if ready!(self.io.poll_send_ready(cx)).is_err() {
                return Poll::Ready(());
            }
            let result = self
                .io
                .try_io(Interest::WRITABLE, || self.state.try_send(UdpSockRef::from(&self.io), &message));
            match result {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // An MTU probe that the interface does not take is lost, which is what the probe asked.
                Err(error) => {
                    tracing::debug!(%error, to = %transmit.path.remote, "not sent");
                    return Poll::Ready(());
                }
                Ok(()) => return Poll::Ready(()),
            }
        }
    }

    fn destination(&self, remote: SocketAddr) -> SocketAddr {
        match remote {
            SocketAddr::V4(v4) if self.local.is_ipv6() => {
                SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
            }
            other => other,
        }
    }
}

/// An address without the disguises that the system puts on it: IPv4 mapped into IPv6, and the flow label.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
        v4 @ SocketAddr::V4(_) => v4,
    }
}

/// The buffers of a receive call.
pub(crate) struct ReceiveBatch {
    data: Box<[u8]>,
    metas: [RecvMeta; MESSAGES],
}

impl ReceiveBatch {
    pub(crate) fn new() -> Self {
        Self { data: vec![0; MESSAGES * MESSAGE_SIZE].into(), metas: [RecvMeta::default(); MESSAGES] }
    }

    fn receive(&mut self, state: &UdpSocketState, io: &UdpSocket) -> io::Result<usize> {
        let mut chunks = self.data.chunks_exact_mut(MESSAGE_SIZE);
        let mut slices: [IoSliceMut<'_>; MESSAGES] =
            std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
        state.recv(UdpSockRef::from(io), &mut slices, &mut self.metas)
    }

    /// The datagrams of the first `messages` messages, for the protocol to decrypt in place.
    pub(crate) fn datagrams(
        &mut self,
        messages: usize,
        local: SocketAddr,
    ) -> impl Iterator<Item = Datagram<'_>> {
        let buffers = self.data.chunks_exact_mut(MESSAGE_SIZE);
        buffers.zip(&self.metas).take(messages).flat_map(move |(buffer, meta)| {
            let path = FourTuple { local: local_of(meta.dst_ip, local), remote: canonical(meta.addr) };
            let ecn = meta.ecn.and_then(|ecn| Ecn::from_bits(ecn as u8));
            let len = meta.len.min(MESSAGE_SIZE);
            let payloads = buffer[..len].chunks_mut(meta.stride.max(1));
            payloads.map(move |payload| Datagram { path, ecn, payload })
        })
    }
}

/// The address of ours that a message came to.
fn local_of(ip: Option<IpAddr>, bound: SocketAddr) -> Option<SocketAddr> {
    match ip {
        Some(ip) => Some(SocketAddr::new(ip.to_canonical(), bound.port())),
        None => Some(bound).filter(|bound| !bound.ip().is_unspecified()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_unmapped() {
        let mapped: SocketAddr = "[::ffff:192.0.2.1]:7".parse().unwrap();
        assert_eq!(canonical(mapped), "192.0.2.1:7".parse().unwrap());
        let plain: SocketAddr = "[2001:db8::1]:7".parse().unwrap();
        assert_eq!(canonical(plain), plain);
    }

    #[test]
    fn messages_are_cut_into_datagrams() {
        let mut batch = ReceiveBatch::new();
        batch.metas[0].len = 2500;
        batch.metas[0].stride = 1200;
        batch.metas[1].len = 100;
        batch.metas[1].stride = 100;
        let local = "127.0.0.1:9".parse().unwrap();
        let lens: Vec<_> = batch.datagrams(2, local).map(|datagram| datagram.payload.len()).collect();
        assert_eq!(lens, [1200, 1200, 100, 100]);
    }
}
