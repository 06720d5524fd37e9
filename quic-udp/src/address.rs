//! Addresses as the protocol sees them, and as the system wants them.
//!
//! Invariant: the protocol sees IPv4 addresses as such, also on a dual-stack socket, which maps them into IPv6; what goes out is mapped
//! back. Timers: none.

use quic_proto::net::FourTuple;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// An address without the disguises that the system puts on it: IPv4 mapped into IPv6, and the flow label.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr {
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(v4.into(), v6.port()),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
        v4 @ SocketAddr::V4(_) => v4,
    }
}

/// `remote` as a socket bound to `bound` wants it.
pub(crate) fn destination(bound: SocketAddr, remote: SocketAddr) -> SocketAddr {
    match remote {
        SocketAddr::V4(v4) if bound.is_ipv6() => {
            SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
        }
        other => other,
    }
}

/// The address of ours that a message to `ip` came to, on a socket bound to `bound`.
pub(crate) fn local(bound: SocketAddr, ip: Option<IpAddr>) -> Option<SocketAddr> {
    match ip {
        Some(ip) => Some(SocketAddr::new(ip.to_canonical(), bound.port())),
        None => Some(bound).filter(|bound| !bound.ip().is_unspecified()),
    }
}

/// The path to `remote` from a socket bound to `bound`; `None` if it cannot reach such an address.
pub(crate) fn path(bound: SocketAddr, remote: SocketAddr) -> Option<FourTuple> {
    let remote = canonical(remote);
    if remote.port() == 0 || remote.ip().is_unspecified() || (remote.is_ipv6() && bound.is_ipv4()) {
        return None;
    }
    Some(FourTuple { local: local(bound, None), remote })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn mapped_addresses_are_unmapped_and_mapped_back() {
        let mapped = addr("[::ffff:192.0.2.1]:7");
        assert_eq!(canonical(mapped), addr("192.0.2.1:7"));
        assert_eq!(destination(addr("[::]:1"), addr("192.0.2.1:7")), mapped);
        assert_eq!(destination(addr("0.0.0.0:1"), addr("192.0.2.1:7")), addr("192.0.2.1:7"));
        let plain = addr("[2001:db8::1]:7");
        assert_eq!((canonical(plain), destination(addr("[::]:1"), plain)), (plain, plain));
    }

    #[test]
    fn paths_are_reachable() {
        for (bound, remote) in [
            ("0.0.0.0:1", "[2001:db8::1]:7"),
            ("0.0.0.0:1", "192.0.2.1:0"),
            ("[::]:1", "[::]:7"),
            ("[::]:1", "0.0.0.0:7"),
        ] {
            assert_eq!(path(addr(bound), addr(remote)), None, "from {bound} to {remote}");
        }
        let path = |bound, remote| path(addr(bound), addr(remote)).unwrap();
        assert_eq!(path("[::]:1", "192.0.2.1:7"), FourTuple::to(addr("192.0.2.1:7")));
        assert_eq!(path("127.0.0.1:1", "127.0.0.1:7").local, Some(addr("127.0.0.1:1")));
    }

    #[test]
    fn the_local_address_is_learnt_from_the_message() {
        let any = addr("[::]:9");
        assert_eq!(local(any, Some("::ffff:192.0.2.1".parse().unwrap())), Some(addr("192.0.2.1:9")));
        assert_eq!(local(any, None), None);
        assert_eq!(local(addr("[::1]:9"), None), Some(addr("[::1]:9")));
    }
}
