use super::*;
use crate::crypto::PacketKey;
use crate::crypto::testing::{End, check_complete, shake};
use crate::error::TransportErrorCode;
use crate::id::Side;
use ::rustls::RootCertStore;
use ::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A self-signed certificate for `localhost` on Ed25519.
fn identity() -> (Identity, RootCertStore) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (Identity { chain: vec![certificate], key }, roots)
}

fn options(alpn: &[&str], ciphers: &[CipherChoice]) -> ClientOptions {
    let alpn = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    ClientOptions { alpn, ciphers: ciphers.to_vec(), ..ClientOptions::default() }
}

fn ends(client: &RustlsClient, server: &RustlsServer, version: u32) -> (End, End) {
    let client = client.start(version, "localhost", b"client params".to_vec()).unwrap();
    let server = server.start(version, b"server params".to_vec()).unwrap();
    (End::new(client), End::new(server))
}

#[test]
fn handshake_with_every_suite_and_version() {
    for (choice, name) in [
        (CipherChoice::Aes128Gcm, "TLS_AES_128_GCM_SHA256"),
        (CipherChoice::Aes256Gcm, "TLS_AES_256_GCM_SHA384"),
        (CipherChoice::ChaCha20Poly1305, "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        for (version, piece) in [(1, 10_000), (0x6b33_43cf, 100)] {
            let (identity, roots) = identity();
            let certificate = identity.chain[0].to_vec();
            let server = server_config(identity, &[b"two", b"three"]).unwrap();
            let client = RustlsClient::with_roots(roots, options(&["one", "two"], &[choice])).unwrap();
            let (mut client, mut server) = ends(&client, &server, version);
            assert!(client.session.next_packet_keys().is_none());
            assert!(!client.session.export_keying_material(&mut [0; 8], b"x", b""));
            shake(&mut client, &mut server, piece).unwrap();
            check_complete(&mut client, &mut server);
            assert_eq!(client.session.cipher_suite(), Some(name));
            assert_eq!(client.session.peer_certificates(), [certificate]);
            assert!(server.session.peer_certificates().is_empty());
            exporters_agree(&client, &server);
            // RFC 9001 §6.6: the limits that come through the adapter.
            let limits = if choice == CipherChoice::ChaCha20Poly1305 {
                (u64::MAX, 1 << 36)
            } else {
                (1 << 23, 1 << 52)
            };
            let key = &client.one_rtt.as_ref().unwrap().local.packet;
            assert_eq!((key.confidentiality_limit(), key.integrity_limit()), limits);
        }
    }
}

/// The client's session is rustls' own; the server's is gone, and what it left has to give the same.
fn exporters_agree(client: &End, server: &End) {
    let long = [b'l'; 249];
    let cases: [(&[u8], &[u8], usize); 5] = [
        (b"label", b"context", 32),
        (b"", b"", 1),
        (b"label", b"", 8000),
        (&long, &[7; 70_000], 48),
        (b"label", b"", 0),
    ];
    for (label, context, len) in cases {
        let exports = [client, server].map(|end| {
            let mut out = vec![0; len];
            let done = end.session.export_keying_material(&mut out, label, context);
            (done, out)
        });
        assert_eq!(exports[0], exports[1], "{len} bytes");
        assert_eq!(exports[0].0, len > 0);
    }
    // HKDF gives no more than 255 hashes (RFC 5869 §2.3), and a label has a length of one byte.
    assert!(!server.session.export_keying_material(&mut vec![0; 255 * 48 + 1], b"label", b""));
    assert!(!server.session.export_keying_material(&mut [0; 32], &[b'l'; 250], b""));
}

#[test]
fn names_of_protocols_have_1_to_255_bytes() {
    // RFC 7301 §3.1.
    for (len, fine) in [(0, false), (1, true), (255, true), (256, false)] {
        let (identity, roots) = identity();
        let name = vec![b'x'; len];
        let server = server_config(identity, &[b"fine", &name]);
        let client = client_config(roots, &[&name, b"fine"]);
        assert_eq!((server.is_ok(), client.is_ok()), (fine, fine), "{len}");
    }
}

#[test]
fn without_a_wish_it_is_aes_128() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let (mut client, mut server) = ends(&client_config(roots, &[b"two"]).unwrap(), &server, 1);
    shake(&mut client, &mut server, 10_000).unwrap();
    for end in [&client, &server] {
        assert_eq!(end.session.cipher_suite(), Some("TLS_AES_128_GCM_SHA256"));
    }
}

#[derive(Debug, Default)]
struct Heard(std::sync::Mutex<Vec<String>>);

impl ::rustls::KeyLog for Heard {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        assert_eq!(secret.len(), 32);
        self.0.lock().unwrap().push(label.to_owned());
    }

    fn will_log(&self, label: &str) -> bool {
        label != "SERVER_TRAFFIC_SECRET_0"
    }
}

#[test]
fn a_key_log_hears_what_it_asks_for() {
    let (identity, roots) = identity();
    let log = Arc::new(Heard::default());
    let options = ServerOptions {
        alpn: vec![b"two".to_vec()],
        ciphers: vec![CipherChoice::Aes128Gcm],
        key_log: Some(log.clone()),
        ..ServerOptions::default()
    };
    let server = RustlsServer::with_identity(identity, options).unwrap();
    let (mut client, mut server) = ends(&client_config(roots, &[b"two"]).unwrap(), &server, 1);
    shake(&mut client, &mut server, 10_000).unwrap();
    let mut heard = log.0.lock().unwrap().clone();
    heard.sort();
    let expected = [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    ];
    assert_eq!(heard, expected);
    assert!(tap::listen(|| ()).1.exporter.is_none(), "no secret stays behind");
}

#[test]
fn a_server_keeps_what_was_agreed_on_and_lets_go_of_the_rest() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let (mut client, mut server) = ends(&client_config(roots, &[b"two"]).unwrap(), &server, 1);
    shake(&mut client, &mut server, 10_000).unwrap();
    assert_eq!(server.session.peer_params(), None, "that was for the handshake");
    assert_eq!(client.session.peer_params(), Some(&b"server params"[..]));
    assert_eq!((server.session.alpn(), server.session.server_name()), (Some(&b"two"[..]), Some("localhost")));
    assert!(server.session.cipher_suite().is_some() && !server.session.is_handshaking());
    // RFC 8446 §4.6: nothing more may come from a client.
    let error = server.session.read(&[0]).unwrap_err();
    assert_eq!(error.code, TransportErrorCode::crypto(10));
}

#[test]
fn no_common_protocol_is_alert_120() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"three"]).unwrap();
    for alpn in [&["one", "two"][..], &[]] {
        let client = RustlsClient::with_roots(roots.clone(), options(alpn, &[])).unwrap();
        let (mut client, mut server) = ends(&client, &server, 1);
        let (side, error) = shake(&mut client, &mut server, 10_000).unwrap_err();
        // RFC 9001 §8.1: "endpoints MUST immediately close a connection … with a no_application_protocol TLS alert".
        assert_eq!((side, error.code), (Side::Server, TransportErrorCode::crypto(120)));
    }
}

#[test]
fn untrusted_certificates_are_refused_unless_asked_otherwise() {
    let server = server_config(identity().0, &[b"two"]).unwrap();
    let (_, other_roots) = identity();
    let client = client_config(other_roots, &[b"two"]).unwrap();
    let (mut client, mut server_end) = ends(&client, &server, 1);
    let (side, error) = shake(&mut client, &mut server_end, 10_000).unwrap_err();
    assert_eq!(side, Side::Client);
    // unknown_ca; a stranger's signature over the same name is decrypt_error or bad_certificate.
    assert!(matches!(error.code.alert(), Some(48 | 51 | 42)), "{error}");
    assert!(client.one_rtt.is_none());

    let client = RustlsClient::danger_accept_any_certificate(options(&["two"], &[])).unwrap();
    let (mut client, mut server_end) = ends(&client, &server, 1);
    shake(&mut client, &mut server_end, 10_000).unwrap();
    check_complete(&mut client, &mut server_end);
}

#[test]
fn certificates_for_another_name_are_refused() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let client = client_config(roots, &[b"two"]).unwrap();
    let mut client = End::new(client.start(1, "example.org", Vec::new()).unwrap());
    let mut server = End::new(server.start(1, Vec::new()).unwrap());
    let (side, error) = shake(&mut client, &mut server, 10_000).unwrap_err();
    assert_eq!((side, error.code), (Side::Client, TransportErrorCode::crypto(42)));
}

#[test]
fn clients_show_their_certificate() {
    let (server_identity, roots) = identity();
    let (client_identity, client_roots) = identity();
    let certificate = client_identity.chain[0].to_vec();
    let options_with = |client_roots| ServerOptions {
        alpn: vec![b"two".to_vec()],
        client_roots: Some(client_roots),
        ..ServerOptions::default()
    };
    let server = RustlsServer::with_identity(server_identity, options_with(client_roots)).unwrap();
    let with = ClientOptions { identity: Some(client_identity), ..options(&["two"], &[]) };
    let (mut client, mut server_end) =
        ends(&RustlsClient::with_roots(roots.clone(), with).unwrap(), &server, 1);
    shake(&mut client, &mut server_end, 10_000).unwrap();
    assert_eq!(server_end.session.peer_certificates(), [certificate]);

    let (mut client, mut server_end) =
        ends(&RustlsClient::with_roots(roots, options(&["two"], &[])).unwrap(), &server, 1);
    let (side, error) = shake(&mut client, &mut server_end, 10_000).unwrap_err();
    // certificate_required, RFC 8446 §4.4.2.4.
    assert_eq!((side, error.code), (Side::Server, TransportErrorCode::crypto(116)));
}

#[test]
fn full_handshakes_offer_no_session() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    for full_handshakes in [false, true] {
        let options = ClientOptions { full_handshakes, ..options(&["two"], &[]) };
        let client = RustlsClient::with_roots(roots.clone(), options).unwrap();
        let mut hellos = Vec::new();
        for _ in 0..2 {
            let mut hello = Vec::new();
            client.start(1, "localhost", b"client params".to_vec()).unwrap().write(&mut hello);
            hellos.push(hello.len());
            // The server's tickets come at the end.
            let (mut client, mut server) = ends(&client, &server, 1);
            shake(&mut client, &mut server, 10_000).unwrap();
        }
        // A session to resume is a pre_shared_key extension more (RFC 8446 §4.2.11).
        assert_eq!(hellos[0] == hellos[1], full_handshakes, "{hellos:?}");
    }
}

/// How many bytes the server answers a client's first message with. It is fewer when a session is resumed: then there is no certificate.
fn first_flight(client: &RustlsClient, server: &RustlsServer, version: u32) -> (usize, usize) {
    let (mut client, mut server) = ends(client, server, version);
    let (mut hello, mut answer) = (Vec::new(), Vec::new());
    client.session.write(&mut hello);
    server.session.read(&hello).unwrap();
    while server.session.write(&mut answer).is_some() {}
    (hello.len(), answer.len())
}

#[test]
fn tickets_are_good_for_one_version() {
    // RFC 9369 §5: "Clients MUST NOT use a session ticket or token from a QUIC version 1 connection to initiate a QUIC version 2 connection, and
    // vice versa. … Servers MUST validate the originating version of any session ticket or token and not accept one issued from a different
    // version."
    let (identity, roots) = identity();
    let copy = Identity { chain: identity.chain.clone(), key: identity.key.clone_key() };
    let stateful = server_config(identity, &[b"two"]).unwrap();
    let mut config = (*server_config(copy, &[b"two"]).unwrap().v1).clone();
    config.ticketer = Arc::new(Plain);
    let stateless = RustlsServer::new(config).unwrap();
    for (version, other) in [(V1, V2), (V2, V1)] {
        for server in [&stateful, &stateless] {
            let client = RustlsClient::with_roots(roots.clone(), options(&["two"], &[])).unwrap();
            let careless = RustlsClient { v1: Arc::clone(&client.v1), v2: Arc::clone(&client.v1) };
            let meet = |client: &RustlsClient| {
                let (mut client, mut server) = ends(client, server, version);
                shake(&mut client, &mut server, 10_000).unwrap();
            };
            let (hello, full) = first_flight(&client, server, version);
            meet(&client);
            let (same, of_other) =
                (first_flight(&client, server, version), first_flight(&client, server, other));
            assert!(same.0 > hello && same.1 < full / 2, "resumed: {same:?}, {full}");
            assert!(of_other.0 == hello && of_other.1 > full / 2, "not offered: {of_other:?}, {full}");
            meet(&careless);
            let refused = first_flight(&careless, server, other);
            assert!(refused.0 > hello && refused.1 > full / 2, "offered and refused: {refused:?}, {full}");
        }
    }
}

/// Tickets that hide nothing.
#[derive(Debug)]
struct Plain;

impl ::rustls::server::ProducesTickets for Plain {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        1000
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        Some(plain.to_vec())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        Some(cipher.to_vec())
    }
}

#[test]
fn a_configuration_of_ones_own_remembers_no_session_of_version_2_unasked() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let config = (*RustlsClient::with_roots(roots, options(&["two"], &[])).unwrap().v1).clone();
    let client = RustlsClient::new(config).unwrap();
    let grows = |client: &RustlsClient| {
        let (before, _) = first_flight(client, &server, V2);
        let (mut end, mut peer) = ends(client, &server, V2);
        shake(&mut end, &mut peer, 10_000).unwrap();
        first_flight(client, &server, V2).0 > before
    };
    assert!(!grows(&client));
    assert!(grows(&client.remember_v2(Resumption::in_memory_sessions(8))));
}

#[test]
fn a_client_follows_to_another_version() {
    for (begun, chosen) in [(V1, V2), (V2, V1)] {
        for cipher in [CipherChoice::Aes128Gcm, CipherChoice::Aes256Gcm, CipherChoice::ChaCha20Poly1305] {
            let (identity, roots) = identity();
            let server = server_config(identity, &[b"two"]).unwrap();
            let client = RustlsClient::with_roots(roots, options(&["two"], &[cipher])).unwrap();
            assert!(client.follows());
            let (mut end, _) = ends(&client, &server, begun);
            let (_, mut peer) = ends(&client, &server, chosen);
            end.session.follow(chosen);
            shake(&mut end, &mut peer, 1).unwrap();
            check_complete(&mut end, &mut peer);
            // RFC 9369 §5: "After compatible version negotiation, any resulting session ticket maps to the negotiated version rather than the
            // original one": it is not offered in the original version. Here it is not kept at all.
            let anew =
                RustlsClient::with_roots(RootCertStore::empty(), options(&["two"], &[cipher])).unwrap();
            for version in [V1, V2] {
                let (hello, _) = first_flight(&client, &server, version);
                assert_eq!(hello, first_flight(&anew, &server, version).0, "no session is offered");
            }
            // RFC 9001 §6, wherever the message is cut.
            assert!(end.session.read(&[4, 0, 0, 3]).is_ok());
            assert!(end.session.read(&[24, 24, 24, 4, 0]).is_ok());
            assert!(end.session.read(&[0, 0]).is_ok());
            let error = end.session.read(&[24, 0, 0, 1, 0]).unwrap_err();
            assert_eq!(error.code, TransportErrorCode::crypto(10));
        }
    }
}

#[test]
fn a_client_that_stays_has_other_keys() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let client = client_config(roots, &[b"two"]).unwrap();
    let (mut end, _) = ends(&client, &server, V1);
    let (_, mut peer) = ends(&client, &server, V2);
    shake(&mut end, &mut peer, 100).unwrap();
    let (ours, theirs) = (end.one_rtt.unwrap(), peer.one_rtt.unwrap());
    assert!(!crate::crypto::testing::opens(&theirs.local.packet, &ours.remote.packet));
}

#[test]
fn the_hello_of_rustls_can_be_looked_into() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let mut hello = Vec::new();
    ends(&client_config(roots, &[b"two"]).unwrap(), &server, V1).0.session.write(&mut hello);
    assert_eq!(server.peek_hello(&hello), Hello::Complete(b"client params"));
    assert_eq!(server.peek_hello(&hello[..hello.len() - 1]), Hello::Incomplete);
}

#[test]
fn junk_is_refused_with_an_alert() {
    let server = server_config(identity().0, &[b"two"]).unwrap();
    let mut session = server.start(1, Vec::new()).unwrap();
    let error = session.read(&[0xff; 64]).unwrap_err();
    assert!(error.code.alert().is_some(), "{error}");
}

#[test]
fn bad_configurations_are_refused() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let client = client_config(roots, &[b"two"]).unwrap();
    assert!(matches!(server.start(0xbabababa, Vec::new()), Err(TlsConfigError::Refused(_))));
    let bad_name = client.start(1, "no name", Vec::new()).err();
    assert_eq!(bad_name, Some(TlsConfigError::InvalidServerName("no name".into())));
    assert!(client.start(1, "192.0.2.1", Vec::new()).is_ok());
}

#[test]
fn bytes_left_over_when_keys_change_are_a_violation() {
    // RFC 9001 §4.1.3: the beginning of another message behind the ClientHello, at the same level.
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let (mut client, mut server) = ends(&client_config(roots, &[b"two"]).unwrap(), &server, 1);
    let mut hello = Vec::new();
    client.session.write(&mut hello);
    hello.push(1);
    assert_eq!(server.session.read(&hello).unwrap_err().code, TransportErrorCode::PROTOCOL_VIOLATION);
}

#[test]
fn tls_key_updates_are_refused() {
    let (identity, roots) = identity();
    let server = server_config(identity, &[b"two"]).unwrap();
    let (mut client, mut server) = ends(&client_config(roots, &[b"two"]).unwrap(), &server, 1);
    shake(&mut client, &mut server, 10_000).unwrap();
    for end in [&mut client, &mut server] {
        // RFC 9001 §6: "Endpoints MUST treat the receipt of a TLS KeyUpdate message as a connection error of type 0x010a".
        let error = end.session.read(&[24, 0, 0, 1, 0]).unwrap_err();
        assert_eq!(error.code, TransportErrorCode::crypto(10));
    }
}
