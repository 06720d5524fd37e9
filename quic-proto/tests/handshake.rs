//! Handshakes by TLS and around it: ciphers, certificates, key updates, versions, Retry.
#![cfg(any(feature = "ring", feature = "aws-lc-rs"))]

mod common;

use common::{Fate, Pair, address, null_client, null_server, our_code, read_all};
use quic_proto::config::{ClientConfig, ServerConfig};
use quic_proto::crypto::rustls::{
    CipherChoice, ClientOptions, Identity, RustlsClient, RustlsServer, ServerOptions,
};
use quic_proto::error::{ConnectionError, TransportErrorCode as Code};
use quic_proto::event::Event;
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::time::Duration;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, Mutex};

/// A self-signed certificate for `localhost` and the trust in it.
fn identity() -> (Identity, RootCertStore) {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate: CertificateDer<'static> = params.self_signed(&key).unwrap().der().clone();
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (Identity { chain: vec![certificate], key }, roots)
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<(String, Vec<u8>)>>);

impl rustls::KeyLog for Log {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push((label.to_owned(), secret.to_vec()));
    }
}

fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// Ends that trust each other; what is not given is usual.
fn tls(client: ClientOptions, server: ServerOptions) -> (Pair, ClientConfig) {
    let (identity, roots) = identity();
    let server = RustlsServer::with_identity(identity, server).unwrap();
    let client = RustlsClient::with_roots(roots, client).unwrap();
    (Pair::new(ServerConfig::new(Arc::new(server), &[3; 32])), ClientConfig::new(Arc::new(client)))
}

fn usual() -> (ClientOptions, ServerOptions) {
    (
        ClientOptions { alpn: protocols(&["one", "two"]), ..ClientOptions::default() },
        ServerOptions { alpn: protocols(&["two", "three"]), ..ServerOptions::default() },
    )
}

#[test]
fn every_cipher_agrees_on_everything_and_carries_data_over_key_updates() {
    for (choice, name) in [
        (CipherChoice::Aes128Gcm, "TLS_AES_128_GCM_SHA256"),
        (CipherChoice::Aes256Gcm, "TLS_AES_256_GCM_SHA384"),
        (CipherChoice::ChaCha20Poly1305, "TLS_CHACHA20_POLY1305_SHA256"),
    ] {
        let (mut client, server) = usual();
        let log = Arc::new(Log::default());
        client.ciphers = vec![choice];
        client.key_log = Some(log.clone());
        let (mut pair, config) = tls(client, server);
        let client = pair.connect(&config);
        assert!(!pair.c(client).initiate_key_update(), "not before the handshake is confirmed");
        pair.settle();
        let server = pair.accepted[0];
        let (at_client, at_server) =
            (pair.c(client).handshake_info().unwrap(), pair.s(server).handshake_info().unwrap());
        for info in [&at_client, &at_server] {
            assert_eq!((info.protocol.as_deref(), info.cipher_suite), (Some(&b"two"[..]), Some(name)));
        }
        assert_eq!(at_server.server_name.as_deref(), Some("localhost"));
        assert_eq!((at_client.peer_certificates.len(), at_server.peer_certificates.len()), (1, 0));
        let (mut a, mut b) = ([0; 40], [0; 40]);
        assert!(pair.c(client).export_keying_material(&mut a, b"EXPORTER-x", b"context"));
        assert!(pair.s(server).export_keying_material(&mut b, b"EXPORTER-x", b"context"));
        assert!(a == b && a != [0; 40]);
        let labels: Vec<_> = log.0.lock().unwrap().iter().map(|entry| entry.0.clone()).collect();
        for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0", "EXPORTER_SECRET"] {
            assert!(labels.iter().any(|have| have == label), "{labels:?}");
        }
        for round in 0..6 {
            let updated = if round % 2 == 0 {
                pair.c(client).initiate_key_update()
            } else {
                pair.s(server).initiate_key_update()
            };
            assert!(updated, "round {round}");
            // RFC 9001 §6.1: the next update needs an acknowledgement of something sent under the new keys, by either end.
            pair.s(server).ping();
            let id = pair.client_sends(client, &[round; 20_000]);
            pair.run(Duration::from_secs(3));
            assert_eq!(read_all(pair.s(server), id), (vec![round; 20_000], true));
            pair.s(server).ping();
            pair.c(client).ping();
            pair.settle();
        }
        assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    }
}

#[test]
fn client_certificates() {
    for shown in [true, false] {
        let (mut client, mut server) = usual();
        let (me, roots) = identity();
        let certificate = me.chain[0].to_vec();
        client.identity = shown.then_some(me);
        server.client_roots = Some(roots);
        let (mut pair, config) = tls(client, server);
        pair.connect(&config);
        pair.settle();
        let server = pair.accepted[0];
        if shown {
            let info = pair.s(server).handshake_info().unwrap();
            assert_eq!(info.peer_certificates, [certificate]);
        } else {
            // RFC 8446 §6.2: certificate_required.
            assert_eq!(our_code(pair.server_closed()), Some(Code::crypto(116)));
        }
    }
}

#[test]
fn no_common_protocol_and_no_trust() {
    let (mut client, server) = usual();
    client.alpn = protocols(&["four"]);
    let (mut pair, config) = tls(client, server);
    pair.connect(&config);
    pair.settle();
    // RFC 9001 §8.1: no_application_protocol.
    assert_eq!(our_code(pair.server_closed()), Some(Code(0x178)));
    assert_eq!(common::their_code(pair.client_closed()), Some(Code(0x178)));

    let (client, server) = usual();
    let (mut pair, _) = tls(ClientOptions::default(), server);
    let stranger = RustlsClient::with_roots(identity().1, client).unwrap();
    pair.connect(&ClientConfig::new(Arc::new(stranger)));
    pair.settle();
    assert!(our_code(pair.client_closed()).is_some_and(|code| code.alert().is_some()));
    assert!(!pair.client_events.iter().any(|(_, event)| *event == Event::Connected));
}

#[test]
fn a_server_names_its_versions_and_a_client_reports_them() {
    // The client's version becomes one that the server does not know.
    let mut pair = Pair::new(null_server());
    let client = pair.connect(&null_client());
    pair.network = Box::new(|to_server, bytes| {
        if to_server {
            bytes[1..5].copy_from_slice(&0x0bad_cafe_u32.to_be_bytes());
        } else {
            // What it offers is ours: another one, or the client would ignore the packet (RFC 9000 §6.2).
            for at in (7..bytes.len().saturating_sub(3)).rev() {
                if bytes[at..at + 4] == [0, 0, 0, 1] {
                    bytes[at..at + 4].copy_from_slice(&0x6b33_43cf_u32.to_be_bytes());
                }
            }
        }
        Fate::Deliver
    });
    pair.settle();
    assert!(pair.server.stats().negotiations >= 1);
    assert_eq!(pair.client_closed(), Some(&ConnectionError::VersionMismatch { offered: vec![0x6b33_43cf] }));
    assert!(pair.client.get(client).is_none());
}

#[test]
fn version_negotiation_that_names_our_version_is_ignored() {
    let mut pair = Pair::new(null_server());
    let client = pair.connect(&null_client());
    let mut count = 0;
    pair.network = Box::new(move |to_server, bytes| {
        count += u32::from(to_server);
        if to_server && count == 1 {
            bytes[1..5].copy_from_slice(&0x0bad_cafe_u32.to_be_bytes());
        }
        Fate::Deliver
    });
    pair.run(Duration::from_secs(5));
    assert!(pair.server.stats().negotiations == 1 && pair.c(client).is_established());
}

#[test]
fn retry_proves_an_address_and_its_ids_are_authenticated() {
    let mut pair = Pair::new(null_server());
    pair.retry = true;
    let client = pair.connect(&null_client());
    pair.settle();
    assert_eq!((pair.server.stats().retries, pair.accepted.len()), (1, 1));
    assert!(pair.c(client).is_established());
}

#[test]
fn a_tampered_retry_is_ignored() {
    let mut pair = Pair::new(null_server());
    pair.retry = true;
    let client = pair.connect(&null_client());
    let mut tampered = 0;
    pair.network = Box::new(move |to_server, bytes| {
        if !to_server && bytes[0] & 0xf0 == 0xf0 && tampered < 1 {
            tampered += 1;
            bytes[30] ^= 1;
        }
        Fate::Deliver
    });
    pair.run(Duration::from_secs(5));
    assert!(pair.server.stats().retries >= 2 && pair.c(client).is_established());
}

#[test]
fn a_retry_token_from_another_address_is_refused() {
    let mut pair = Pair::new(null_server());
    pair.retry = true;
    pair.connect(&null_client());
    let seen = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let copies = seen.clone();
    pair.network = Box::new(move |to_server, bytes| {
        if to_server {
            copies.lock().unwrap().push(bytes.clone());
            return if copies.lock().unwrap().len() == 2 { Fate::Drop } else { Fate::Deliver };
        }
        Fate::Deliver
    });
    pair.run(Duration::from_millis(100));
    let mut stolen = seen.lock().unwrap()[1].clone();
    let before = pair.server.stats();
    let path = FourTuple::to(address(666));
    pair.server.handle_datagram(pair.now, Datagram { path, ecn: None, payload: &mut stolen });
    // RFC 9000 §8.1.2: "INVALID_TOKEN".
    assert_eq!(pair.server.stats().refused, before.refused + 1);
    assert!(pair.server.poll_incoming().is_none());
}
