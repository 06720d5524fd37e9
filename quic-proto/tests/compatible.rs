//! Compatible version negotiation between versions 1 and 2 (RFC 9368 §2.3, RFC 9369 §4.1): the server answers in the version that it prefers, and
//! the client follows.

mod common;

use bytes::Bytes;
use common::raw::Raw;
use common::{DELAY, EPOCH, Fate, Pair, null_client, null_server, read_all};
use quic_proto::codec::Writer;
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::crypto::null::NullClient;
use quic_proto::crypto::rustls::{CipherChoice, ClientOptions, Identity, RustlsClient, server_config};
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::TransportErrorCode as Code;
use quic_proto::event::Event;
use quic_proto::id::{Cid, Dir, Level, Side};
use quic_proto::ietf::wire::{encode, retry};
use quic_proto::invariants::{Version, spec};
use quic_proto::rng::SeededRng;
use quic_proto::time::Duration;
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, Mutex};

const V1: Version = Version::V1;
const V2: Version = Version::V2;

/// What a client begins with and what it ends with.
const BOTH_WAYS: [[Version; 2]; 2] = [[V1, V2], [V2, V1]];

/// A server that prefers the second of these versions.
fn server(config: ServerConfig, [begun, preferred]: [Version; 2]) -> Endpoint {
    let endpoint_config = EndpointConfig::new(&[2; 32]).versions(&[preferred, begun]).build().unwrap();
    let server = Some(config.build().unwrap());
    Endpoint::new(endpoint_config, server, Box::new(SeededRng::from_u64(2)), EPOCH)
}

fn pair_of(config: ServerConfig, versions: [Version; 2]) -> Pair {
    Pair::of(common::endpoint(1, None), server(config, versions))
}

fn pair(versions: [Version; 2]) -> Pair {
    pair_of(null_server(), versions)
}

fn client(versions: [Version; 2]) -> ClientConfig {
    null_client().versions(&versions)
}

/// The versions of long headers, in the order in which they were first seen, to the client and to the server.
type Seen = Arc<Mutex<[Vec<Version>; 2]>>;

fn watch(pair: &mut Pair) -> Seen {
    let seen = Seen::default();
    let watched = Arc::clone(&seen);
    pair.network = Box::new(move |to_server, bytes| {
        note(&watched, to_server, bytes);
        Fate::Deliver
    });
    seen
}

fn note(seen: &Seen, to_server: bool, bytes: &[u8]) {
    let version = Version(u32::from_be_bytes(*bytes[1..].first_chunk().unwrap()));
    let versions = &mut seen.lock().unwrap()[usize::from(to_server)];
    if bytes[0] & 0x80 != 0 && !versions.contains(&version) {
        versions.push(version);
    }
}

/// The connection speaks this version at both ends, and carries data both ways.
fn check(pair: &mut Pair, c: ConnectionHandle, version: Version) {
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    let s = *pair.accepted.last().unwrap();
    assert_eq!((pair.c(c).version(), pair.s(s).version()), (version, version));
    assert!(pair.c(c).is_established() && pair.s(s).is_established());
    let id = pair.c(c).open(Dir::Bi).unwrap();
    pair.c(c).send_stream(id).unwrap().write(b"question").unwrap();
    pair.settle();
    assert_eq!(read_all(pair.s(s), id), (b"question".to_vec(), false));
    pair.s(s).send_stream(id).unwrap().write(b"answer").unwrap();
    pair.settle();
    assert_eq!(read_all(pair.c(c), id), (b"answer".to_vec(), false));
}

#[test]
fn the_server_answers_in_the_version_that_it_prefers() {
    for versions in BOTH_WAYS {
        let mut pair = pair(versions);
        let seen = watch(&mut pair);
        let c = pair.connect(&client(versions));
        // One round trip, as in a single version.
        pair.run(DELAY * 2 + Duration::from_millis(1));
        assert!(pair.c(c).is_established());
        pair.settle();
        check(&mut pair, c, versions[1]);
        assert_eq!(seen.lock().unwrap()[0], [versions[1]], "a server has nothing to say in the first");
        assert_eq!(seen.lock().unwrap()[1], versions);
        assert_eq!(pair.server.stats().negotiations, 0);
    }
}

#[test]
fn a_retry_comes_in_the_original_version() {
    // RFC 9369 §4.1: "If the server sends a Retry packet, it MUST use the original version."
    for versions in BOTH_WAYS {
        let mut pair = pair(versions);
        pair.retry = true;
        let seen = watch(&mut pair);
        let c = pair.connect(&client(versions));
        pair.settle();
        check(&mut pair, c, versions[1]);
        assert_eq!(seen.lock().unwrap()[0], versions);
        assert_eq!(pair.server.stats().retries, 1);
        // §5: "any issued server tokens are considered to originate from the negotiated version, not the original one."
        let token: Option<Bytes> = pair.c(c).take_address_token();
        assert!(token.is_some());
        let again = pair.connect(&null_client().versions(&[versions[1]]).token(token));
        pair.settle();
        check(&mut pair, again, versions[1]);
        assert_eq!(pair.server.stats().retries, 1, "it is good for the negotiated version");
    }
}

#[test]
fn it_is_the_servers_preference_that_decides() {
    for versions in BOTH_WAYS {
        let [first, second] = versions;
        for (server, client, expected) in [
            ([second, first], &[first][..], first),
            ([first, second], &[first, second], first),
            ([second, first], &[second, first], second),
            ([second, first], &[second], second),
        ] {
            let mut pair = pair([server[1], server[0]]);
            let c = pair.connect(&null_client().versions(client));
            pair.settle();
            check(&mut pair, c, expected);
        }
    }
}

/// A client whose hello takes several datagrams.
fn long_hello(versions: [Version; 2]) -> ClientConfig {
    let names = (0..60).map(|n| vec![n; 100]).chain([b"test".to_vec()]).collect();
    ClientConfig::new(Arc::new(NullClient { alpn: names, ..NullClient::default() })).versions(&versions)
}

#[test]
fn before_the_hello_is_whole_the_server_answers_in_the_original_version() {
    // RFC 9369 §4.1: "Before the server is able to process transport parameters from the client, it might need to respond to Initial packets
    // from the client. For these packets, the server uses the original version."
    for versions in BOTH_WAYS {
        let mut pair = pair(versions);
        let seen = Seen::default();
        let watched = Arc::clone(&seen);
        let mut count = 0;
        pair.network = Box::new(move |to_server, bytes| {
            note(&watched, to_server, bytes);
            count += usize::from(to_server);
            // The last part comes late.
            if to_server && count == 6 { Fate::Late(DELAY * 5) } else { Fate::Deliver }
        });
        let c = pair.connect(&long_hello(versions));
        pair.settle();
        check(&mut pair, c, versions[1]);
        assert_eq!(*seen.lock().unwrap(), [versions.to_vec(), versions.to_vec()]);
    }
}

#[test]
fn any_loss_and_any_delay_is_survived() {
    type Make = fn([Version; 2]) -> ClientConfig;
    for versions in BOTH_WAYS {
        for make in [client as Make, long_hello as Make] {
            for nth in 0..12 {
                for fate in [|| Fate::Drop, || Fate::Late(DELAY * 3), || Fate::Twice(DELAY * 3)] {
                    let mut pair = pair(versions);
                    let mut count = 0;
                    pair.network = Box::new(move |_, _| {
                        count += 1;
                        if count == nth + 1 { fate() } else { Fate::Deliver }
                    });
                    let c = pair.connect(&make(versions));
                    pair.run(Duration::from_secs(3));
                    check(&mut pair, c, versions[1]);
                }
            }
        }
    }
}

/// A server that answers in the second version, and says this about versions; with what the client closed.
fn verdict(versions: [Version; 2], info: Option<&[Version]>) -> Option<Code> {
    let mut raw = Raw::serving(&client(versions), versions[0]);
    raw.answers = Some(versions[1]);
    raw.version_information =
        info.map(|info| info.iter().flat_map(|version| version.0.to_be_bytes()).collect());
    raw.handshake(|_| {});
    assert_eq!(raw.connection().version(), versions[1], "it follows");
    let code = raw.verdict().map(|(code, _)| Code(code));
    assert_eq!(raw.events.contains(&Event::Connected), code.is_none());
    code
}

#[test]
fn what_the_packets_say_must_be_what_the_server_says() {
    // RFC 9368 §4: "clients MUST validate that the server's Chosen Version is equal to the Negotiated Version; if they do not match, the client
    // MUST close the connection with a version negotiation error. This prevents an attacker's ability to influence version negotiation by
    // forging the long header Version field."
    let mismatch = Some(Code::VERSION_NEGOTIATION_ERROR);
    for versions in BOTH_WAYS {
        let [first, second] = versions;
        assert_eq!(verdict(versions, Some(&[second, first, second])), None);
        assert_eq!(verdict(versions, Some(&[second])), None);
        assert_eq!(verdict(versions, Some(&[first, first, second])), mismatch);
        assert_eq!(verdict(versions, Some(&[Version(7), second])), mismatch);
        assert_eq!(verdict(versions, None), mismatch);
    }
}

#[test]
fn handshake_bytes_in_the_original_version_settle_it() {
    for versions in BOTH_WAYS {
        // RFC 9369 §4.1: "If the client receives a CRYPTO frame from the server in the original version, it indicates that the negotiated version
        // is equal to the original version." Nor does it follow to a version that it has not listed.
        for (listed, says_hello, expected) in [
            (&versions[..], false, versions[1]),
            (&versions, true, versions[0]),
            (&versions[..1], false, versions[0]),
        ] {
            let mut raw = Raw::serving(&null_client().versions(listed), versions[0]);
            raw.held = Some(Vec::new());
            let mut buf = vec![0; 1500];
            if says_hello {
                raw.hello(|_| {});
            } else {
                let _ = raw.real.poll_transmit(raw.now, &mut buf, common::ONE).unwrap();
                (raw.original, raw.dcid) = (Cid::new(&buf[6..14]).unwrap(), Cid::new(&buf[15..23]).unwrap());
            }
            raw.switch(versions[1]);
            raw.packet(Level::Initial, 0, encode::ping);
            assert_eq!(
                (raw.connection().version(), raw.closed()),
                (expected, None),
                "{listed:?} {says_hello}"
            );
        }
    }
}

#[test]
fn a_server_reads_initial_packets_of_both_until_the_first_handshake_packet() {
    // RFC 9369 §4.1: "The server MUST NOT discard its original version Initial receive keys until it successfully processes a Handshake packet
    // with the negotiated version."
    for versions in BOTH_WAYS {
        let mut raw = Raw::new(Side::Client, TransportConfig::default());
        raw.real = server(null_server(), versions);
        raw.held = Some(Vec::new());
        let info = [versions[0], versions[0], versions[1]];
        raw.version_information = Some(info.iter().flat_map(|version| version.0.to_be_bytes()).collect());
        raw.switch(versions[0]);
        raw.hello(|_| {});
        raw.follow(versions[1]);
        raw.exchange();
        let taken = |raw: &mut Raw, level, version| {
            raw.switch(version);
            let before = raw.connection().stats().counters.received.packets;
            raw.packet(level, 0, encode::ping);
            raw.connection().stats().counters.received.packets - before
        };
        for version in versions {
            assert_eq!(taken(&mut raw, Level::Initial, version), 1, "{version}");
        }
        // "Both endpoints MUST send Handshake and 1-RTT packets using the negotiated version. An endpoint MUST drop packets using any other
        // version."
        let finished = raw.held.take().unwrap();
        assert_eq!(taken(&mut raw, Level::Handshake, versions[0]), 0);
        assert_eq!(taken(&mut raw, Level::Initial, versions[0]), 1, "that one was dropped");
        raw.switch(versions[1]);
        for mut datagram in finished {
            raw.deliver(&mut datagram);
        }
        assert!(raw.connection().is_established());
        for version in versions {
            assert_eq!(taken(&mut raw, Level::Initial, version), 0, "{version}");
        }
        assert_eq!(raw.closed(), None);
    }
}

#[test]
fn forged_packets_of_another_version_change_nothing() {
    for versions in BOTH_WAYS {
        let mut raw = Raw::serving(&client(versions), versions[0]);
        raw.answers = Some(versions[0]);
        raw.version_information =
            Some([versions[0], versions[0]].iter().flat_map(|version| version.0.to_be_bytes()).collect());
        let mut buf = vec![0; 1500];
        let transmit = raw.real.poll_transmit(raw.now, &mut buf, common::ONE).unwrap();
        let (dcid, scid) = (Cid::new(&buf[6..14]).unwrap(), Cid::new(&buf[15..23]).unwrap());
        let spec = spec(versions[1]).unwrap();
        // One that nobody has sealed, and a Retry: RFC 9369 §4.1: "The client ignores Retry packets using other versions."
        let mut junk = buf[..transmit.len].to_vec();
        junk[0] = quic_proto::ietf::wire::LongKind::Initial.first_byte(spec);
        junk[1..5].copy_from_slice(&versions[1].0.to_be_bytes());
        junk[6..14].copy_from_slice(&scid);
        let mut out = [0; 200];
        let mut w = Writer::new(&mut out);
        let elsewhere = Cid::new(b"elsewhere").unwrap();
        assert!(retry::encode(&mut w, spec, 0, &dcid, (&scid, &elsewhere), b"token"));
        let mut retry = w.written().to_vec();
        for _ in 0..3 {
            raw.deliver(&mut junk.clone());
            raw.deliver(&mut retry);
        }
        assert_eq!(raw.connection().version(), versions[0]);
        raw.now = raw.real.next_timeout().unwrap();
        raw.real.handle_timeout(raw.now);
        raw.handshake(|_| {});
        assert!(raw.connection().is_established(), "{:?}", raw.events);
        assert_eq!((raw.connection().version(), raw.closed()), (versions[0], None));
    }
}

fn identity() -> (Identity, RootCertStore) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (Identity { chain: vec![certificate], key }, roots)
}

#[test]
fn with_tls_and_every_cipher() {
    for versions in BOTH_WAYS {
        for cipher in [CipherChoice::Aes128Gcm, CipherChoice::Aes256Gcm, CipherChoice::ChaCha20Poly1305] {
            let (identity, roots) = identity();
            let tls = server_config(identity, &[b"test"]).unwrap();
            let mut pair = pair_of(ServerConfig::new(Arc::new(tls), &[3; 32]), versions);
            let options =
                ClientOptions { alpn: vec![b"test".to_vec()], ciphers: vec![cipher], ..Default::default() };
            let tls = Arc::new(RustlsClient::with_roots(roots, options).unwrap());
            // A second connection with the same configuration; and in between, keys are updated by either end.
            for _ in 0..2 {
                let c = pair.connect(&ClientConfig::new(tls.clone()).versions(&versions));
                pair.settle();
                check(&mut pair, c, versions[1]);
                let s = *pair.accepted.last().unwrap();
                assert!(pair.c(c).initiate_key_update());
                check(&mut pair, c, versions[1]);
                assert!(pair.s(s).initiate_key_update());
                check(&mut pair, c, versions[1]);
                let mut exported = [[0; 16]; 2];
                assert!(pair.c(c).export_keying_material(&mut exported[0], b"x", b""));
                assert!(pair.s(s).export_keying_material(&mut exported[1], b"x", b""));
                assert_eq!(exported[0], exported[1]);
                assert!(pair.c(c).handshake_info().unwrap().cipher_suite.is_some());
            }
        }
    }
}
