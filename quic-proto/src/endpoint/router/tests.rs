use super::*;
use crate::crypto::token::AddressToken;
use crate::crypto::{PacketKey, TlsConfigError, TlsServerConfig, TlsSession};
use crate::endpoint::stateless;
use crate::id::ResetToken;
use crate::ietf::wire::header::{LongKind, parse_long};
use crate::ietf::wire::header::{encode_long, finish_long};
use crate::rng::SeededRng;
use crate::time::Duration;
use std::net::SocketAddr;

const NOW: Instant = Instant::from_millis(5);
const EPOCH: UnixTime = UnixTime::from_secs(1_000_000);

/// No connection is made here: what is tested comes before.
struct NoTls;

impl TlsServerConfig for NoTls {
    fn start(&self, _: u32, _: Vec<u8>) -> Result<Box<dyn TlsSession>, TlsConfigError> {
        Err(TlsConfigError::Refused("none".to_owned()))
    }
}

struct Bench {
    router: Router,
    out: [u8; stateless::MAX_RESPONSE],
}

impl Bench {
    fn new(server: impl FnOnce(ServerConfig) -> ServerConfig) -> Self {
        let server = server(ServerConfig::new(Arc::new(NoTls), &[2; 32])).build().unwrap();
        let config = EndpointConfig::new(&[1; 32]).build().unwrap();
        let router = Router::new(config, Some(server), Box::new(SeededRng::from_u64(1)), EPOCH);
        Self { router, out: [0; stateless::MAX_RESPONSE] }
    }

    fn route(&mut self, port: u16, mut datagram: Vec<u8>) -> Routed {
        self.route_at(NOW, port, &mut datagram)
    }

    fn route_at(&mut self, now: Instant, port: u16, payload: &mut [u8]) -> Routed {
        let datagram = Datagram { path: FourTuple::to(address(port)), ecn: None, payload };
        self.router.route(now, &datagram, &mut self.out)
    }

    fn incoming(&mut self, port: u16, datagram: Vec<u8>) -> Incoming {
        match self.route(port, datagram) {
            Routed::Incoming(incoming) => incoming,
            other => panic!("{other:?}"),
        }
    }

    /// The code with which the answer in `out` closes the connection that was tried with `dcid`.
    fn close_code(&mut self, transmit: Transmit, dcid: &Cid) -> u8 {
        let spec = spec(Version::V1).unwrap();
        let keys = crate::crypto::initial::initial_keys(
            &spec.initial_salt,
            &spec.labels,
            dcid,
            crate::id::Side::Client,
        );
        let packet = &mut self.out[..transmit.len];
        let number_at = parse_long(packet, spec).unwrap().number_offset;
        crate::crypto::header_protection::unprotect(&keys.remote.header, packet, number_at).unwrap();
        let (header, payload) = packet.split_at_mut(number_at + 1);
        keys.remote.packet.open(0, header, payload).unwrap();
        assert_eq!(payload[0], 0x1c);
        payload[1]
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

fn cid(byte: u8, len: usize) -> Cid {
    Cid::new(&vec![byte; len]).unwrap()
}

fn initial(dcid: &Cid, token: &[u8], len: usize) -> Vec<u8> {
    long(LongKind::Initial, dcid, token, len)
}

fn long(kind: LongKind, dcid: &Cid, token: &[u8], len: usize) -> Vec<u8> {
    let mut datagram = vec![0; len];
    let mut writer = Writer::new(&mut datagram);
    let spec = spec(Version::V1).unwrap();
    let layout = encode_long(&mut writer, spec, kind, (dcid, &cid(9, 4)), token, 0, 1);
    finish_long(&mut writer, layout, len);
    datagram
}

fn dropped(routed: Routed) -> DropReason {
    match routed {
        Routed::Dropped(reason) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_waits_and_its_repeats_wait_with_it() {
    let mut bench = Bench::new(|server| server);
    let incoming = bench.incoming(1, initial(&cid(1, 8), &[], 1200));
    assert!(!incoming.is_validated() && incoming.may_retry() && incoming.remote() == address(1));
    assert!(matches!(bench.route(1, initial(&cid(1, 8), &[], 1200)), Routed::Buffered));
    assert!(matches!(bench.route(1, long(LongKind::ZeroRtt, &cid(1, 8), &[], 1200)), Routed::Buffered));
    // The same id from elsewhere, and another id from there, are other clients.
    let _ = bench.incoming(2, initial(&cid(1, 8), &[], 1200));
    let _ = bench.incoming(1, initial(&cid(2, 8), &[], 1200));
    for _ in 3..10 {
        assert!(matches!(bench.route(1, initial(&cid(1, 8), &[], 1200)), Routed::Buffered));
    }
    assert_eq!(dropped(bench.route(1, initial(&cid(1, 8), &[], 1200))), DropReason::TooManyIncoming);
    bench.router.ignore(incoming);
    assert_eq!(bench.router.waiting(), 2);
    let _ = bench.incoming(1, initial(&cid(1, 8), &[], 1200));
}

#[test]
fn first_packets_must_conform() {
    let mut bench = Bench::new(|server| server);
    // RFC 9000 §14.1 and §7.2.
    assert_eq!(dropped(bench.route(1, initial(&cid(1, 8), &[], 1199))), DropReason::TooShort);
    assert_eq!(dropped(bench.route(1, initial(&cid(1, 7), &[], 1200))), DropReason::ShortConnectionId);
    let handshake = long(LongKind::Handshake, &cid(1, 8), &[], 1200);
    assert_eq!(dropped(bench.route(1, handshake)), DropReason::UnknownConnection);
    assert_eq!(dropped(bench.route(1, vec![])), DropReason::Malformed);
    assert_eq!(dropped(bench.route(1, vec![0xc0, 0, 0])), DropReason::Malformed);
    bench.router.set_server(None);
    assert_eq!(dropped(bench.route(1, initial(&cid(1, 8), &[], 1200))), DropReason::NotServer);
    assert_eq!(bench.router.stats().dropped, 6);
}

#[test]
fn unknown_versions_are_negotiated_unless_small() {
    let mut bench = Bench::new(|server| server);
    let mut datagram = initial(&cid(1, 20), &[], 1200);
    datagram[1..5].copy_from_slice(&0x5a6a_7a8a_u32.to_be_bytes());
    let mut small = datagram.clone();
    small.pop();
    assert_eq!(dropped(bench.route(1, small)), DropReason::TooShort);
    let Routed::Respond(transmit) = bench.route(1, datagram.clone()) else { panic!() };
    assert_eq!(transmit.path.remote, address(1));
    let mut answer = bench.out[..transmit.len].to_vec();
    assert_eq!(answer[1..5], [0; 4]);
    // RFC 9000 §6.1: "An endpoint MUST NOT send a Version Negotiation packet in response to receiving a Version Negotiation packet."
    answer.resize(31 + 4 * 300, 0);
    assert_eq!(dropped(bench.route(1, answer)), DropReason::UnknownConnection);
    assert_eq!(bench.router.stats().negotiations, 1);
}

#[test]
fn waiting_clients_are_limited_and_expire() {
    let mut bench = Bench::new(|server| server.max_incoming(2, 1 << 20));
    let first = bench.incoming(1, initial(&cid(1, 8), &[], 1200));
    let _ = bench.incoming(2, initial(&cid(1, 8), &[], 1200));
    assert_eq!(dropped(bench.route(3, initial(&cid(1, 8), &[], 1200))), DropReason::TooManyIncoming);
    let later = NOW + Duration::from_secs(10);
    let routed = bench.route_at(later, 3, &mut initial(&cid(1, 8), &[], 1200));
    assert!(matches!(routed, Routed::Incoming(_)));
    assert!(!bench.router.is_waiting(&first));
    assert_eq!(bench.router.accept(later, first).map(drop), Err(AcceptError::Gone));
}

#[test]
fn a_full_server_refuses() {
    let mut bench = Bench::new(|server| server.max_connections(1));
    let handle = bench.router.demux.insert().unwrap();
    let Routed::Respond(transmit) = bench.route(1, initial(&cid(1, 8), &[], 1200)) else { panic!() };
    assert_eq!(bench.close_code(transmit, &cid(1, 8)), 0x02);
    bench.router.remove(handle);
    let incoming = bench.incoming(1, initial(&cid(1, 8), &[], 1200));
    let transmit = bench.router.refuse(incoming, &mut bench.out).unwrap();
    assert_eq!(bench.close_code(transmit, &cid(1, 8)), 0x02);
    assert_eq!((bench.router.stats().refused, bench.router.waiting()), (2, 0));
}

#[test]
fn a_retry_is_answered_once_from_the_same_address_in_time() {
    let mut bench = Bench::new(|server| server);
    let odcid = cid(1, 8);
    let incoming = bench.incoming(1, initial(&odcid, &[], 1200));
    let transmit = bench.router.retry(NOW, incoming, &mut bench.out).unwrap().unwrap();
    let spec = spec(Version::V1).unwrap();
    let answer = bench.out[..transmit.len].to_vec();
    let header = parse_long(&answer, spec).unwrap();
    assert_eq!((header.kind, header.dcid), (LongKind::Retry, cid(9, 4)));
    let (scid, token) = (header.scid, header.token.to_vec());

    let incoming = bench.incoming(1, initial(&scid, &token, 1200));
    assert!(incoming.is_validated() && !incoming.may_retry());
    assert_eq!(incoming.original_dcid(), odcid);
    // RFC 9000 §17.2.5.2: a client takes one Retry packet only.
    let incoming = bench.router.retry(NOW, incoming, &mut bench.out).unwrap_err();
    bench.router.ignore(incoming);

    // RFC 9000 §8.1.2: INVALID_TOKEN, from elsewhere, to another id, or too late.
    let late = NOW + Duration::from_secs(17);
    for (now, port, dcid) in [(NOW, 2, scid), (NOW, 1, cid(3, 8)), (late, 1, scid)] {
        let routed = bench.route_at(now, port, &mut initial(&dcid, &token, 1200));
        let Routed::Respond(transmit) = routed else { panic!("{routed:?}") };
        assert_eq!(bench.close_code(transmit, &dcid), 0x0b);
    }
}

#[test]
fn tokens_of_earlier_connections_validate_and_bad_ones_do_not_matter() {
    let mut bench = Bench::new(|server| server);
    let server = bench.router.server.clone().unwrap();
    let token = AddressToken { ip: address(1).ip(), issued: EPOCH, version: Version::V1, memo: None };
    let token = server.token_key.seal_address(&mut SeededRng::from_u64(3), &token);
    assert!(bench.incoming(1, initial(&cid(1, 8), &token, 1200)).is_validated());
    assert!(bench.incoming(1, initial(&cid(2, 8), &token, 1200)).may_retry());
    // RFC 9000 §8.1.3: "proceed as if the client did not have a validated address".
    assert!(!bench.incoming(1, initial(&cid(3, 8), b"nonsense", 1200)).is_validated());
    let late = NOW + Duration::from_secs(15 * 24 * 3600);
    let Routed::Incoming(expired) = bench.route_at(late, 1, &mut initial(&cid(4, 8), &token, 1200)) else {
        panic!()
    };
    assert!(!expired.is_validated());
}

#[test]
fn packets_of_lost_connections_are_reset_at_a_limited_rate() {
    let mut bench = Bench::new(|server| server);
    let short = [&[0x40][..], &[7; 8], &[0; 60]].concat();
    let Routed::Respond(transmit) = bench.route(1, short.clone()) else { panic!() };
    let expected = bench.router.config.reset_key.token(&cid(7, 8));
    assert_eq!(bench.out[transmit.len - 16..transmit.len], expected.0);
    assert!(transmit.len < short.len());
    let answers = (0..1000).filter(|_| matches!(bench.route(1, short.clone()), Routed::Respond(_))).count();
    assert_eq!(answers, 99);
    assert_eq!(dropped(bench.route(1, short)), DropReason::RateLimited);
    assert_eq!(dropped(bench.route(1, vec![0x40; 21])), DropReason::UnknownConnection);
}

#[test]
fn connections_say_what_leads_to_them() {
    let mut bench = Bench::new(|server| server);
    let handle = bench.router.demux.insert().unwrap();
    let tell = |bench: &mut Bench, kind| bench.router.handle_event(handle, EndpointEvent(kind));
    let found = |routed| matches!(routed, Routed::Connection(found) if found == handle);
    let short = || [&[0x40][..], &[7; 8], &[0; 60]].concat();
    tell(&mut bench, EndpointEventKind::AddCid(cid(7, 8)));
    assert!(found(bench.route(1, short())) && found(bench.route(2, short())));
    assert!(found(bench.route(1, long(LongKind::Handshake, &cid(7, 8), &[], 100))));
    tell(&mut bench, EndpointEventKind::RemoveCid(cid(7, 8)));
    assert!(!found(bench.route(1, short())));

    let (remote, token) = (address(1), ResetToken([0; 16]));
    tell(&mut bench, EndpointEventKind::AddResetToken { remote, token });
    assert!(found(bench.route(1, short())) && !found(bench.route(2, short())));
    // RFC 9000 §10.3: whatever it looks like otherwise.
    assert!(found(bench.route(1, long(LongKind::Handshake, &cid(8, 8), &[], 100))));
    tell(&mut bench, EndpointEventKind::ClearResetTokens);
    assert!(!found(bench.route(1, short())));

    tell(&mut bench, EndpointEventKind::AddCid(cid(7, 8)));
    tell(&mut bench, EndpointEventKind::Drained);
    assert!(!found(bench.route(1, short())));
    assert_eq!(bench.router.connections(), 1);
    bench.router.remove(handle);
    assert_eq!(bench.router.connections(), 0);
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Nothing that a stranger sends makes the router panic, keep more than its limits, or answer with more than it was sent.
        #[test]
        fn strangers_are_harmless(
            datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 1..20),
        ) {
            let mut bench = Bench::new(|server| server.max_incoming(3, 9000));
            for (pad, mut datagram) in datagrams {
                if pad {
                    datagram.resize(1200, 0);
                    datagram[0] |= 0xc0;
                    datagram[1..5].copy_from_slice(&[0, 0, 0, 1]);
                }
                let len = datagram.len();
                if let Routed::Respond(transmit) = bench.route(1, datagram) {
                    prop_assert!(transmit.len < len);
                }
                prop_assert!(bench.router.waiting() <= 3);
            }
        }
    }
}
