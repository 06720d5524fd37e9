//! The place of [`departures`](crate) on systems that do not hold datagrams back: there is none.
//!
//! Owns nothing. Timers: none.

use quic_proto::time::Instant;
use quinn_udp::Transmit;
use std::io::{self, ErrorKind};
use std::net::UdpSocket;

/// Cannot be made.
pub(crate) enum Departures {}

impl Departures {
    /// Always an error.
    pub(crate) fn new(_: &UdpSocket, _: Instant) -> io::Result<Self> {
        Err(ErrorKind::Unsupported.into())
    }

    /// Cannot be called.
    pub(crate) fn try_send(&self, _: Instant, _: &Transmit<'_>) -> io::Result<()> {
        match *self {}
    }
}
