//! What the tests share: a certificate, configurations, and pairs of endpoints on loopback.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use quic_proto::crypto::rustls::{Identity, client_config, server_config};
use quic_tokio::{ClientConfig, Connection, Endpoint, ServerConfig, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub const ALPN: &[u8] = b"hq-interop";

/// A self-signed certificate for `localhost` and its key.
pub struct Certificate {
    pub der: CertificateDer<'static>,
    key: Vec<u8>,
}

impl Certificate {
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        Self { der: made.cert.der().clone(), key: made.signing_key.serialize_der() }
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        roots
    }
}

pub fn server(certificate: &Certificate, transport: TransportConfig) -> Arc<ServerConfig> {
    let identity = Identity { chain: vec![certificate.der.clone()], key: certificate.key() };
    let tls = server_config(identity, &[ALPN]).unwrap();
    ServerConfig::new(Arc::new(tls), &[7; 32]).transport(transport.build().unwrap()).build().unwrap()
}

pub fn client(certificate: &Certificate, transport: TransportConfig) -> ClientConfig {
    let tls = client_config(certificate.roots(), &[ALPN]).unwrap();
    ClientConfig::new(Arc::new(tls)).transport(transport.build().unwrap()).build().unwrap()
}

/// A client's and a server's endpoint, both on loopback.
pub struct Pair {
    pub client: Endpoint,
    pub server: Endpoint,
}

impl Pair {
    pub fn new() -> Self {
        Self::with(TransportConfig::default(), TransportConfig::default())
    }

    pub fn with(client_transport: TransportConfig, server_transport: TransportConfig) -> Self {
        let certificate = Certificate::new();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let server = Endpoint::server(server(&certificate, server_transport), any).unwrap();
        let mut endpoint = Endpoint::client(any).unwrap();
        endpoint.set_default_client_config(client(&certificate, client_transport));
        Self { client: endpoint, server }
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// A connection, as the client and as the server hold it.
    pub async fn connect(&self) -> (Connection, Connection) {
        let connecting = self.client.connect(self.addr(), "localhost").unwrap();
        let accepted = async { self.server.accept().await.unwrap().await.unwrap() };
        let (connected, accepted) = tokio::join!(connecting, accepted);
        (connected.unwrap(), accepted)
    }
}

/// Fails a test that hangs, instead of waiting for ever.
pub async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("it hangs")
}

/// Bytes that differ from place to place, so that any that are swapped, lost or repeated show.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
