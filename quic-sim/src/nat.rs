//! Address translation in front of a node, and its rebinding.
//!
//! Owns one node's mapping. Invariant: `outside` is the only address at which the node is reachable; those it had before still lead
//! to the NAT, which drops what comes there. No timers: the network schedules rebindings as actions of its own.

use std::net::{IpAddr, SocketAddr};

/// How a NAT's mapping changes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rebind {
    /// Another port at the same address, as after an idle timeout.
    Port,
    /// Another address and port, as after a change of network.
    Address,
    /// This address.
    To(SocketAddr),
}

/// One node's mapping.
#[derive(Debug)]
pub(crate) struct Nat {
    outside: SocketAddr,
}

impl Nat {
    pub(crate) const fn new(outside: SocketAddr) -> Self {
        Self { outside }
    }

    /// The address that others see.
    pub(crate) const fn outside(&self) -> SocketAddr {
        self.outside
    }

    /// Changes the mapping, passing over addresses for which `taken` holds.
    pub(crate) fn rebind(&mut self, how: Rebind, taken: impl Fn(SocketAddr) -> bool) {
        let mut next = self.outside;
        loop {
            next = match how {
                Rebind::Port => SocketAddr::new(next.ip(), next_port(next.port())),
                Rebind::Address => SocketAddr::new(next_ip(next.ip()), next_port(next.port())),
                Rebind::To(address) => address,
            };
            // A caller who names an address gets it; a port space that is full gives back what we had.
            if matches!(how, Rebind::To(_)) || next == self.outside || !taken(next) {
                break;
            }
        }
        self.outside = next;
    }
}

/// Ports are taken from 1024 up: QUIC and others treat the well-known ones as suspicious.
const fn next_port(port: u16) -> u16 {
    if port < 1024 || port == u16::MAX { 1024 } else { port + 1 }
}

fn next_ip(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4(ip.to_bits().wrapping_add(1).into()),
        IpAddr::V6(ip) => IpAddr::V6(ip.to_bits().wrapping_add(1).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(last: u8, port: u16) -> SocketAddr {
        ([203, 0, 113, last], port).into()
    }

    #[test]
    fn rebinding_changes_what_it_says() {
        let mut nat = Nat::new(at(1, 5000));
        nat.rebind(Rebind::Port, |_| false);
        assert_eq!(nat.outside(), at(1, 5001));
        nat.rebind(Rebind::Address, |_| false);
        assert_eq!(nat.outside(), at(2, 5002));
        nat.rebind(Rebind::To(at(9, 9)), |_| true);
        assert_eq!(nat.outside(), at(9, 9));
    }

    #[test]
    fn rebinding_passes_over_what_is_taken_and_wraps() {
        let mut nat = Nat::new(at(1, 65534));
        nat.rebind(Rebind::Port, |address| address.port() == 65535 || address.port() == 1024);
        assert_eq!(nat.outside(), at(1, 1025));
        nat.rebind(Rebind::Port, |_| true);
        assert_eq!(nat.outside(), at(1, 1025), "nothing is free");
    }
}
