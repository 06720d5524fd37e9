//! What hosts speak.
//!
//! Owns [`Protocol`]. Invariant: lengths of everything that is sent follow from the seed. Signatures draw randomness of their own, so that
//! only those of one length will do: Ed25519 in TLS, RSA in Q044. No timers.

use quic_proto::config::{ClientConfig, ServerConfig};
use quic_proto::crypto::null::{NullClient, NullServer};
use quic_proto::crypto::rustls::Identity;
use quic_proto::crypto::{TlsClientConfig, TlsServerConfig};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use std::sync::Arc;

type MakeClient = dyn Fn() -> ClientConfig + Send + Sync;
type MakeServer = dyn Fn(&[u8; 32]) -> ServerConfig + Send + Sync;

/// A version of QUIC with its cryptography: how configurations of clients and servers are made. They are made anew for every host, since
/// what clients and servers remember is in there.
#[derive(Clone)]
pub struct Protocol {
    client: Arc<MakeClient>,
    server: Arc<MakeServer>,
}

impl Protocol {
    /// One that is configured by these; the server's is given its secret.
    pub fn new(
        client: impl Fn() -> ClientConfig + Send + Sync + 'static,
        server: impl Fn(&[u8; 32]) -> ServerConfig + Send + Sync + 'static,
    ) -> Self {
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    /// QUIC version 1 with a handshake without security, whose keys follow from the seed: runs repeat to the byte.
    pub fn null() -> Self {
        let alpn = vec![b"sim".to_vec()];
        let client = NullClient { alpn: alpn.clone(), ..NullClient::default() };
        Self::tls(Arc::new(client), Arc::new(NullServer { alpn, ..NullServer::default() }))
    }

    /// QUIC version 1 with this TLS.
    pub fn tls(client: Arc<dyn TlsClientConfig>, server: Arc<dyn TlsServerConfig>) -> Self {
        Self::new(
            move || ClientConfig::new(Arc::clone(&client)),
            move |secret| ServerConfig::new(Arc::clone(&server), secret),
        )
    }

    /// Google QUIC, version 44, with its own cryptography: the server proves itself with an RSA key that everybody knows. There are no
    /// unidirectional streams, and no Retry.
    pub fn q044() -> Self {
        const CERTIFICATE: &[u8] = include_bytes!("../../testdata/rsa-cert.der");
        const KEY: &[u8] = include_bytes!("../../testdata/rsa-key.der");
        let client = || gquic::ClientConfig::new(ServerTrust::danger_accept_any_certificate());
        let server = |secret: &[u8; 32]| {
            let key = KEY.try_into().expect("invariant: the key is in PKCS #8");
            let identity = Identity { chain: vec![CERTIFICATE.into()], key };
            let proof = ProofSource::from_identity(identity).expect("invariant: the key can sign");
            gquic::ServerConfig::new(proof, secret)
        };
        Self::new(
            move || ClientConfig::of(Arc::new(client())),
            move |secret| ServerConfig::of(Arc::new(server(secret)), secret),
        )
    }

    /// A client's configuration.
    pub fn client(&self) -> ClientConfig {
        (self.client)()
    }

    /// A server's configuration.
    pub fn server(&self, secret: &[u8; 32]) -> ServerConfig {
        (self.server)(secret)
    }
}
