//! One port on several sockets, each with the connections of one core.
//!
//! Owns [`Shards`], the rule that leads a datagram to its shard; [`bind_group`], sockets that share a port; and [`steer`], which has the
//! kernel apply the rule.
//!
//! The rule: the shard is the first byte of the destination connection id, modulo the number of shards. Our ids are made for it; ids that
//! clients make up for their first packets are random, and spread clients over the shards. Where that byte lies is the same for all versions
//! of QUIC (RFC 8999 §5), and nothing protects it on the way. So a datagram finds its shard wherever it comes from: a client that migrates,
//! or whose NAT does, stays where its connection is. An observer learns nothing from a byte that is random but for its remainder.
//!
//! The kernel spreads what it cannot steer (a datagram without an id, or all of them where there is no [`steer`]) by addresses. Then a
//! datagram may come to another shard than its own, which must forward it.
//!
//! Invariants: the rule in the kernel and the one here are the same; the sockets of a group are in the order of their shards. Timers: none.

#[cfg(target_os = "linux")]
mod filter;

use crate::socket::unbound;
use quic_proto::cid::CidGenerator;
use quic_proto::config::EndpointConfig;
use quic_proto::id::{Cid, MAX_CID_LEN};
use quic_proto::rng::Rng;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::sync::Arc;

/// The byte that steers, and 8 random ones. RFC 9000 §8.1: an id with "at least 64 bits of entropy" that comes back validates the peer's
/// address.
const CID_LEN: usize = 9;

/// Where a packet with a long header has the length of its destination connection id, and where the id (RFC 8999 §5.1).
const LONG_DCID_LEN: usize = 5;
const LONG_DCID: usize = 6;
/// Where a packet with a short header has its id (RFC 8999 §5.2).
const SHORT_DCID: usize = 1;
/// The bit that tells them apart.
const LONG_FORM: u8 = 0x80;

/// How many shards there are, and which is whose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shards(NonZeroU8);

impl Shards {
    /// This many shards: one for each core that is to work.
    pub const fn new(count: NonZeroU8) -> Self {
        Self(count)
    }

    /// How many there are.
    pub const fn count(self) -> usize {
        self.0.get() as usize
    }

    /// The shard that a datagram belongs to; `None` if it has no connection id, or is no QUIC packet: then it belongs where it came.
    pub fn of(self, datagram: &[u8]) -> Option<usize> {
        let byte = if datagram.first()? & LONG_FORM == 0 {
            datagram.get(SHORT_DCID)?
        } else if *datagram.get(LONG_DCID_LEN)? == 0 {
            return None;
        } else {
            datagram.get(LONG_DCID)?
        };
        Some(usize::from(*byte % self.0))
    }

    /// The configuration of the endpoint of one shard: its connection ids, of 9 bytes, lead to it.
    #[must_use]
    pub fn configure(self, shard: usize, config: EndpointConfig) -> EndpointConfig {
        let ids = ShardCids { shards: self, shard: (shard % self.count()) as u8 };
        config.cids(Arc::new(ids))
    }
}

/// Makes ids that lead to one shard.
#[derive(Clone, Copy)]
struct ShardCids {
    shards: Shards,
    shard: u8,
}

impl CidGenerator for ShardCids {
    fn generate(&self, rng: &mut dyn Rng) -> Cid {
        let mut bytes = [0; MAX_CID_LEN];
        let bytes = &mut bytes[..CID_LEN];
        rng.fill(bytes);
        // One of the values with the remainder that is wanted, each as likely as the others.
        let (count, shard) = (u64::from(self.shards.0.get()), u64::from(self.shard));
        let values = (u64::from(u8::MAX) - shard) / count + 1;
        bytes[0] = (rng.below(values) * count + shard) as u8;
        Cid::new(bytes).expect("invariant: CID_LEN is below the longest length of an id")
    }

    fn len(&self) -> usize {
        CID_LEN
    }
}

/// Binds a socket for each shard, all to one address (`SO_REUSEPORT`); see [`bind`](crate::bind) for the rest.
///
/// # Errors
/// If there is no such address, it is taken, or the system cannot share a port.
pub fn bind_group(addr: SocketAddr, shards: Shards) -> io::Result<Vec<UdpSocket>> {
    let mut sockets: Vec<UdpSocket> = Vec::with_capacity(shards.count());
    for _ in 0..shards.count() {
        // The first one may have found a port.
        let addr = sockets.first().map_or(Ok(addr), UdpSocket::local_addr)?;
        let socket = unbound(addr)?;
        share_port(&socket)?;
        socket.bind(&addr.into())?;
        sockets.push(socket.into());
    }
    Ok(sockets)
}

#[cfg(unix)]
fn share_port(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(unix))]
fn share_port(_: &socket2::Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Has the kernel lead each datagram to its shard's socket. `sockets` are all that share the port, in the order in which they were bound.
///
/// # Errors
/// If the system cannot do that. The sockets can be used all the same.
#[cfg(target_os = "linux")]
pub fn steer(sockets: &[UdpSocket]) -> io::Result<()> {
    let count = u8::try_from(sockets.len()).ok().and_then(NonZeroU8::new);
    let (Some(socket), Some(count)) = (sockets.first(), count) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    filter::attach(socket, &filter::program(Shards(count)))
}

/// Has the kernel lead each datagram to its shard's socket. `sockets` are all that share the port, in the order in which they were bound.
///
/// # Errors
/// Always: this system cannot do that. The sockets can be used all the same.
#[cfg(not(target_os = "linux"))]
pub fn steer(_: &[UdpSocket]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests;
