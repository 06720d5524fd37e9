//! The socket itself.
//!
//! Owns [`Socket`]. Invariants: no call blocks; what the system refuses to send, for any reason but a full buffer, is lost on the way as far
//! as the protocol is concerned. Timers: none.

use crate::address;
use crate::departures::Departures;
use crate::receive::ReceiveBatch;
use crate::send::{Message, SendBatch};
use crate::stats::{Counters, SocketStats};
use quic_proto::net::FourTuple;
use quic_proto::time::Instant;
use quinn_udp::{EcnCodepoint, UdpSockRef, UdpSocketState};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;

/// What the kernel is asked to buffer in each direction, in bytes; it may give less. A receiver that is not scheduled for a millisecond at 10 Gbit/s
/// has 1.2 MB to catch up with.
const KERNEL_BUFFER: usize = 4 << 20;

/// A kind of UDP socket: of the standard library, tokio, mio or any other that lends its descriptor.
pub trait AsUdp {
    /// The socket, for system calls.
    fn as_udp(&self) -> UdpSockRef<'_>;
}

impl<S> AsUdp for S
where
    for<'a> UdpSockRef<'a>: From<&'a S>,
{
    fn as_udp(&self) -> UdpSockRef<'_> {
        self.into()
    }
}

/// A UDP socket and what is known about it.
pub struct Socket<S> {
    io: S,
    state: UdpSocketState,
    bound: SocketAddr,
    counters: Counters,
    departures: Option<Departures>,
}

/// The system cannot hold datagrams back until they are to leave.
#[derive(Debug, thiserror::Error)]
#[error("this system cannot hold datagrams back until a time that they name (SO_TXTIME)")]
pub struct NoDepartureTimes {
    #[source]
    cause: io::Error,
}

/// Binds a socket; one on an IPv6 wildcard address serves IPv4 too, where the system can do that.
///
/// # Errors
/// If there is no such address, or it is taken.
pub fn bind(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = unbound(addr)?;
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// A socket that can be bound to `addr`.
pub(crate) fn unbound(addr: SocketAddr) -> io::Result<socket2::Socket> {
    let domain = socket2::Domain::for_address(addr);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    if addr.is_ipv6() {
        // Where the system cannot do both, IPv6 alone remains.
        if let Err(error) = socket.set_only_v6(false) {
            tracing::debug!(%error, "no dual stack");
        }
    }
    Ok(socket)
}

impl<S: AsUdp> Socket<S> {
    /// Prepares a bound socket, which `wrap` turns into the kind that the adapter uses. It does not block any more then.
    ///
    /// With `departure_times` what names a [departure](quic_proto::net::Transmit::departure) is held back by the system until then. They say
    /// what the protocol's time is now; it goes on as `std::time::Instant` does.
    ///
    /// Linux takes such times (`SO_TXTIME`), and leaves it to the queueing discipline of the interface to keep to them. `fq` does; `tc
    /// qdisc show` tells which one an interface has, and `sysctl net.core.default_qdisc` what new ones get. Any other sends at once, without
    /// a word: then nothing is gained, and what the pacer hands out within its head start of up to 5 ms is a burst. `fq` drops what a
    /// connection has beyond 100 messages in it (`flow_limit`): fewer wait than that if they are batches, but without segmentation
    /// offload more could from 240 Mbit/s on.
    ///
    /// # Errors
    /// If the socket is not bound or cannot be used so; [`NoDepartureTimes`] in an error of the kind [`Unsupported`](ErrorKind::Unsupported)
    /// if there shall be departure times and the system has nothing of the kind.
    pub fn new(
        socket: std::net::UdpSocket,
        departure_times: Option<Instant>,
        wrap: impl FnOnce(std::net::UdpSocket) -> io::Result<S>,
    ) -> io::Result<Self> {
        let refused = |cause| io::Error::new(ErrorKind::Unsupported, NoDepartureTimes { cause });
        let departures =
            departure_times.map(|now| Departures::new(&socket, now).map_err(refused)).transpose()?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new(UdpSockRef::from(&socket))?;
        #[cfg(target_os = "linux")]
        crate::timestamps::switch_off(&socket)?;
        enlarge_buffers(&state, &socket);
        let bound = socket.local_addr()?;
        Ok(Self { io: wrap(socket)?, state, bound, counters: Counters::default(), departures })
    }

    /// The socket as `wrap` made it.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// The socket as `wrap` made it, to register it with an event loop.
    pub fn io_mut(&mut self) -> &mut S {
        &mut self.io
    }

    /// The address that the socket is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.bound
    }

    /// The path to `remote` as the protocol names it; `None` if the socket cannot reach such an address: an IPv6 address from an IPv4 socket,
    /// port 0, or no address at all.
    pub fn path_to(&self, remote: SocketAddr) -> Option<FourTuple> {
        address::path(self.bound, remote)
    }

    /// How many datagrams one send call takes now. The protocol is to be asked for as many.
    pub fn max_segments(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.state.max_gso_segments()).unwrap_or(NonZeroUsize::MIN)
    }

    /// What the socket did so far.
    pub fn stats(&self) -> SocketStats {
        self.counters.read()
    }

    /// Receives what is there, as much as one system call gives. A failure that may pass gives nothing.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing. Any other error means that the socket is of no use any more.
    pub fn try_receive(&self, batch: &mut ReceiveBatch) -> io::Result<()> {
        let (datagrams, bytes) = batch.fill(&self.state, self.io.as_udp(), self.bound)?;
        self.counters.received(datagrams, bytes);
        Ok(())
    }

    /// Sends what is in `batch`, which is empty then.
    ///
    /// # Errors
    /// `WouldBlock` if the system's buffer is full; the rest is in `batch` still. There is no other error: what the system refuses is lost on
    /// the way, a probe for an MTU that the interface does not have for one, which is what the probe asked.
    pub fn try_send(&self, batch: &mut SendBatch) -> io::Result<()> {
        while let Some(message) = batch.next() {
            match self.send(&message) {
                Ok(()) => self.counters.sent(message.datagrams, message.contents.len()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    tracing::debug!(%error, to = %message.transmit.path.remote, "not sent");
                    if message.segment_size.is_some() && may_be_the_offload(&error) {
                        batch.split();
                        continue;
                    }
                    self.counters.refused(message.datagrams);
                }
            }
            batch.advance();
        }
        Ok(())
    }

    fn send(&self, message: &Message<'_>) -> io::Result<()> {
        let encoded = self.encode(message);
        if let (Some(departures), Some(departure)) = (&self.departures, message.transmit.departure) {
            match departures.try_send(departure, &encoded) {
                // Perhaps it is the batch that is refused: quinn-udp learns from that.
                Err(error) if error.kind() != ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
        self.state.try_send(self.io.as_udp(), &encoded)
    }

    fn encode<'a>(&self, message: &Message<'a>) -> quinn_udp::Transmit<'a> {
        let Message { transmit, contents, segment_size, .. } = *message;
        quinn_udp::Transmit {
            destination: address::destination(self.bound, transmit.path.remote),
            ecn: transmit.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8)),
            contents,
            segment_size,
            src_ip: transmit.path.local.map(|local| local.ip()).filter(|ip| !ip.is_unspecified()),
        }
    }
}

/// Whether single datagrams may pass where a batch was refused. Systems, drivers and interfaces have many ways to say that they cannot
/// segment; the errors here have other causes.
fn may_be_the_offload(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::AddrNotAvailable
            | ErrorKind::ConnectionRefused
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::NetworkUnreachable
            | ErrorKind::PermissionDenied
    )
}

/// Asks for large buffers in the kernel. Smaller ones are no reason to give up, but cost datagrams at high rates.
fn enlarge_buffers(state: &UdpSocketState, socket: &std::net::UdpSocket) {
    let asked = state
        .set_recv_buffer_size(UdpSockRef::from(socket), KERNEL_BUFFER)
        .and_then(|()| state.set_send_buffer_size(UdpSockRef::from(socket), KERNEL_BUFFER));
    if let Err(error) = asked {
        tracing::warn!(%error, "the socket's buffers cannot be enlarged");
    }
    for (direction, size, limit) in [
        ("receive", state.recv_buffer_size(UdpSockRef::from(socket)), "net.core.rmem_max"),
        ("send", state.send_buffer_size(UdpSockRef::from(socket)), "net.core.wmem_max"),
    ] {
        // Linux reports twice what it was asked for: it counts its own bookkeeping.
        let size = size.unwrap_or(0) / if cfg!(target_os = "linux") { 2 } else { 1 };
        if size < KERNEL_BUFFER {
            tracing::warn!(
                direction,
                size,
                wanted = KERNEL_BUFFER,
                limit,
                "the kernel caps the socket's buffer; datagrams get lost at high rates"
            );
        }
    }
}

#[cfg(test)]
mod tests;
