//! What passes between the protocol and a socket.

use crate::time::Instant;
use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU16;

/// The addresses that a datagram travels between, seen from this side.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FourTuple {
    /// Our address, if it is known (a socket bound to a wildcard address learns it from each datagram).
    pub local: Option<SocketAddr>,
    /// The peer's address.
    pub remote: SocketAddr,
}

impl FourTuple {
    /// A path to `remote` from an address that the operating system chooses.
    pub const fn to(remote: SocketAddr) -> Self {
        Self { local: None, remote }
    }

    /// Whether `other` is the same path; an unknown local address matches any.
    pub fn matches(&self, other: &Self) -> bool {
        self.remote == other.remote
            && match (self.local, other.local) {
                (Some(a), Some(b)) => a == b,
                _ => true,
            }
    }
}

impl fmt::Debug for FourTuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.local {
            Some(local) => write!(f, "{local}->{}", self.remote),
            None => write!(f, "*->{}", self.remote),
        }
    }
}

/// The ECN codepoint of an IP header (RFC 3168 §5); `None` of an `Option<Ecn>` is Not-ECT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Ecn {
    /// ECN-capable transport, codepoint 0b01.
    Ect1 = 0b01,
    /// ECN-capable transport, codepoint 0b10; what this library sends.
    Ect0 = 0b10,
    /// Congestion experienced, codepoint 0b11.
    Ce = 0b11,
}

impl Ecn {
    /// The codepoint in the two low bits of an IP traffic class octet.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0b11 {
            0b01 => Some(Self::Ect1),
            0b10 => Some(Self::Ect0),
            0b11 => Some(Self::Ce),
            _ => None,
        }
    }
}

/// How many packets with each ECN codepoint were received in a packet number space, as ACK frames report them (RFC 9000 §19.3.2).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct EcnCounts {
    /// Packets with ECT(0).
    pub ect0: u64,
    /// Packets with ECT(1).
    pub ect1: u64,
    /// Packets with ECN-CE.
    pub ce: u64,
}

/// A received UDP datagram. The payload is decrypted in place.
#[derive(Debug)]
pub struct Datagram<'a> {
    /// Where it came from and, if known, which of our addresses it went to.
    pub path: FourTuple,
    /// The ECN codepoint of its IP header.
    pub ecn: Option<Ecn>,
    /// The UDP payload.
    pub payload: &'a mut [u8],
}

/// What was written to the caller's buffer and must be sent: now, unless it names a time.
#[must_use = "the bytes are lost if they are not sent"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// Where to send it.
    pub path: FourTuple,
    /// The ECN codepoint to set.
    pub ecn: Option<Ecn>,
    /// Bytes written to the buffer.
    pub len: usize,
    /// If set, the buffer holds several datagrams of this many bytes (the last may be shorter).
    pub segment_size: Option<NonZeroU16>,
    /// If set, the socket must hold it back until then; only where
    /// [`EndpointConfig::departure_times`](crate::config::EndpointConfig::departure_times) says that it can.
    pub departure: Option<Instant>,
}

impl Transmit {
    /// One datagram of `len` bytes without an ECN mark, to be sent now.
    pub const fn single(path: FourTuple, len: usize) -> Self {
        Self { path, ecn: None, len, segment_size: None, departure: None }
    }

    /// The datagrams in `buf`, which must be the buffer that was passed to `poll_transmit`.
    pub fn datagrams<'b>(&self, buf: &'b [u8]) -> std::slice::Chunks<'b, u8> {
        let size = self.segment_size.map_or(self.len, |size| usize::from(size.get())).max(1);
        buf[..self.len.min(buf.len())].chunks(size)
    }
}
