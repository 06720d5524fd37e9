//! Datagrams that the kernel holds back until they are to leave (`SO_TXTIME`, Linux).
//!
//! Owns [`Departures`], a second handle on a socket that sends with a time, beside quinn-udp, which has no word for it. The kernel takes the
//! time with the message (`SCM_TXTIME`) and leaves it to the queueing discipline of the interface to keep to it: `fq` does. Others send at
//! once and say nothing, so that nothing here can tell; the protocol does, when something is acknowledged before it was to leave.
//!
//! The clock is `CLOCK_MONOTONIC`, which is the one of `fq`, needs no privilege, and is what `std::time::Instant` reads, so that one
//! difference, taken at the start, turns the protocol's time into the kernel's.
//!
//! Invariant: a time that has passed is no error; the kernel sends at once then. Timers: none.

use crate::departures::control::Control;
use crate::sockopt;
use quic_proto::time::Instant;
use quinn_udp::Transmit;
use socket2::{MsgHdr, SockAddr, Socket};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, UdpSocket};

/// Another handle on a socket, to send with times.
pub(crate) struct Departures {
    socket: Socket,
    /// `CLOCK_MONOTONIC` at [`Instant::EPOCH`], in nanoseconds.
    origin: u64,
}

impl Departures {
    /// Has the kernel take times for `socket`; `now` is the protocol's time.
    pub(crate) fn new(socket: &UdpSocket, now: Instant) -> io::Result<Self> {
        take_times(socket)?;
        let origin = monotonic_nanos()?.saturating_sub(now.as_nanos());
        Ok(Self { socket: socket.try_clone()?.into(), origin })
    }

    /// Sends a batch, which leaves at `departure`.
    pub(crate) fn try_send(&self, departure: Instant, transmit: &Transmit<'_>) -> io::Result<()> {
        let mut control = Control::default();
        control.push(libc::SOL_SOCKET, libc::SCM_TXTIME, &(self.origin + departure.as_nanos()).to_ne_bytes());
        let ecn = transmit.ecn.map_or(0, |ecn| libc::c_int::from(ecn as u8)).to_ne_bytes();
        match transmit.destination.ip().to_canonical() {
            IpAddr::V4(_) => control.push(libc::IPPROTO_IP, libc::IP_TOS, &ecn),
            IpAddr::V6(_) => control.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &ecn),
        }
        if let Some(size) = transmit.segment_size.and_then(|size| u16::try_from(size).ok()) {
            control.push(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
        }
        // `in_pktinfo` has the interface, our address, and one that only received packets have; `in6_pktinfo` our address and the interface.
        match transmit.src_ip {
            Some(IpAddr::V4(ip)) => {
                let mut info = [0; 12];
                info[4..8].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(ip)) => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&ip.octets());
                control.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            None => {}
        }
        let (to, contents) = (SockAddr::from(transmit.destination), [IoSlice::new(transmit.contents)]);
        let message = MsgHdr::new().with_addr(&to).with_buffers(&contents).with_control(control.bytes());
        loop {
            match self.socket.sendmsg(&message, 0) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map(|_| ()),
            }
        }
    }
}

/// Sets `SO_TXTIME`.
#[allow(unsafe_code, reason = "no safe interface has this socket option")]
fn take_times(socket: &UdpSocket) -> io::Result<()> {
    // Without SOF_TXTIME_DEADLINE_MODE the time is when to send, not until when; fq reports no errors.
    let option = libc::sock_txtime { clockid: libc::CLOCK_MONOTONIC, flags: 0 };
    // SAFETY: the option takes a `sock_txtime`, which has no pointers.
    unsafe { sockopt::set(socket, libc::SO_TXTIME, &option) }
}

/// What `std::time::Instant` reads and does not tell.
#[allow(unsafe_code, reason = "the standard library does not tell the reading of its clock")]
fn monotonic_nanos() -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result, and is not used by others.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

mod control;

#[cfg(test)]
mod tests;
