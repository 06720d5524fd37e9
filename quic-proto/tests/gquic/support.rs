//! Ends that speak Q044.

use crate::common::{self, EPOCH, Fate, Pair};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::connection::Connection;
use quic_proto::crypto::rustls::Identity;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::{ConnectionError, TransportErrorCode};
use quic_proto::event::Event;
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::id::{Dir, StreamId};
use quic_proto::rng::SeededRng;
use rustls::RootCertStore;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::{Arc, Mutex};

const HOST: &str = "localhost";

/// A self-signed certificate for `localhost` with a key on P-256.
pub(crate) fn ecdsa() -> Identity {
    identity_for(HOST, false)
}

/// A self-signed certificate for `localhost` with an RSA key; ring signs with such keys but makes none.
pub(crate) fn rsa() -> Identity {
    identity_for(HOST, true)
}

/// The one or the other for this host.
pub(crate) fn identity_for(host: &str, rsa: bool) -> Identity {
    let key = if rsa {
        let der = PrivatePkcs8KeyDer::from(&include_bytes!("../../testdata/gquic/rsa-key.der")[..]);
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256)
    } else {
        rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
    };
    identity(&key.unwrap(), host)
}

fn identity(key: &rcgen::KeyPair, host: &str) -> Identity {
    let params = rcgen::CertificateParams::new(vec![host.to_owned()]).unwrap();
    let chain = vec![params.self_signed(key).unwrap().der().clone()];
    Identity { chain, key: PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der())) }
}

/// The trust in just this identity.
pub(crate) fn trust(identity: &Identity) -> ServerTrust {
    let mut roots = RootCertStore::empty();
    roots.add(identity.chain[0].clone()).unwrap();
    ServerTrust::with_roots(roots).unwrap()
}

/// Settings of both sides that trust each other.
pub(crate) fn settings(identity: Identity) -> (gquic::ClientConfig, gquic::ServerConfig) {
    let client = gquic::ClientConfig::new(trust(&identity));
    let server = gquic::ServerConfig::new(ProofSource::from_identity(identity).unwrap(), &[7; 32]);
    (client, server)
}

/// A server that speaks Q044 only.
pub(crate) fn server(settings: gquic::ServerConfig) -> ServerConfig {
    ServerConfig::of(Arc::new(settings), &[3; 32])
}

/// A client that speaks Q044 only.
pub(crate) fn client(settings: gquic::ClientConfig) -> ClientConfig {
    ClientConfig::of(Arc::new(settings))
}

/// Two endpoints and the settings of a client that trusts the server.
pub(crate) fn pair() -> (Pair, ClientConfig) {
    pair_with(TransportConfig::default())
}

pub(crate) fn pair_with(transport: TransportConfig) -> (Pair, ClientConfig) {
    let transport = transport.build().unwrap();
    let (for_client, for_server) = settings(ecdsa());
    let pair = Pair::new(server(for_server).transport(Arc::clone(&transport)));
    (pair, client(for_client).transport(transport))
}

/// A pair with a connection.
pub(crate) fn connected(transport: TransportConfig) -> (Pair, ConnectionHandle, ConnectionHandle) {
    let (mut pair, config) = pair_with(transport);
    let client = pair.connect(&config);
    pair.settle();
    assert!(pair.client_events.contains(&(client, Event::Connected)), "{:?}", pair.client_events);
    let server = pair.accepted[0];
    (pair, client, server)
}

/// Another server with the same address, on other ids: what clients knew is stale.
pub(crate) fn restarted(settings: gquic::ServerConfig, seed: u64) -> Endpoint {
    let config = EndpointConfig::new(&[9; 32]).build().unwrap();
    let server = server(settings).build().unwrap();
    Endpoint::new(config, Some(server), Box::new(SeededRng::from_u64(seed)), EPOCH)
}

/// Opens a stream and writes to it.
pub(crate) fn send(connection: &mut Connection, data: &[u8], fin: bool) -> StreamId {
    let id = connection.open(Dir::Bi).expect("a stream can be opened");
    let mut stream = connection.send_stream(id).unwrap();
    assert_eq!(stream.write(data), Ok(data.len()));
    if fin {
        stream.finish().unwrap();
    }
    id
}

/// Datagrams, each with whether it went to the server.
pub(crate) type Record = Arc<Mutex<Vec<(bool, Vec<u8>)>>>;

/// Keeps a copy of every datagram.
pub(crate) fn record(pair: &mut Pair) -> Record {
    let record = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&record);
    pair.network = Box::new(move |to_server, bytes| {
        copy.lock().unwrap().push((to_server, bytes.clone()));
        Fate::Deliver
    });
    record
}

/// The code of Google QUIC with which this side closed.
pub(crate) fn our_code(reason: Option<&ConnectionError>) -> Option<u32> {
    common::our_code(reason).and_then(TransportErrorCode::as_google)
}

/// The code of Google QUIC with which the other side closed.
pub(crate) fn their_code(reason: Option<&ConnectionError>) -> Option<u32> {
    common::their_code(reason).and_then(TransportErrorCode::as_google)
}
