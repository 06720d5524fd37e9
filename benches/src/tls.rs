//! The handshake of rustls alone: what no implementation over it can go below. Two sessions hand each other their bytes, and derive the
//! keys that QUIC uses; no packet is built.

use crate::theirs::{AcceptAny, provider};
use crate::{ALPN, Certificate, SERVER_NAME};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::quic::{ClientConnection, Connection, KeyChange, ServerConnection, Version};
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig, Side};
use std::sync::Arc;

/// As long as usual ones.
const PARAMETERS: [u8; 60] = [0; 60];

/// Both configurations.
pub struct Tls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
}

impl Tls {
    /// Set up as the other implementations are.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn new(certificate: &Certificate) -> Self {
        let builder = ClientConfig::builder_with_provider(provider());
        let mut client = builder
            .with_protocol_versions(&[&TLS13])
            .expect("a sound configuration")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider())))
            .with_no_client_auth();
        client.alpn_protocols = vec![ALPN.to_vec()];
        let chain = vec![CertificateDer::from(certificate.chain.clone())];
        let key = PrivateKeyDer::Pkcs8(certificate.key.clone().into());
        let builder = ServerConfig::builder_with_provider(provider());
        let mut server = builder
            .with_protocol_versions(&[&TLS13])
            .expect("a sound configuration")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a sound configuration");
        server.alpn_protocols = vec![ALPN.to_vec()];
        // As many as ours.
        server.send_tls13_tickets = 1;
        Self { client: Arc::new(client), server: Arc::new(server) }
    }

    /// One full handshake.
    ///
    /// # Panics
    /// If it fails.
    pub fn handshake(&self) {
        let name = ServerName::try_from(SERVER_NAME).expect("a name");
        let client = ClientConnection::new(Arc::clone(&self.client), Version::V1, name, PARAMETERS.to_vec());
        let server = ServerConnection::new(Arc::clone(&self.server), Version::V1, PARAMETERS.to_vec());
        let mut ends =
            [Connection::from(client.expect("a session")), Connection::from(server.expect("a session"))];
        let suite = provider().cipher_suites[0].tls13().expect("TLS 1.3").quic_suite().expect("for QUIC");
        let initial = [Side::Client, Side::Server].map(|side| suite.keys(&[7; 8], side, Version::V1));
        let mut kept = Vec::new();
        let mut bytes = Vec::new();
        let (mut from, mut silent) = (0, 0);
        while silent < 2 {
            // Level by level: what is written after a change of keys is another flight to the reader.
            let change = ends[from].write_hs(&mut bytes);
            if bytes.is_empty() && change.is_none() {
                silent += 1;
                from = 1 - from;
                continue;
            }
            silent = 0;
            ends[1 - from].read_hs(&bytes).expect("a sound flight");
            bytes.clear();
            kept.extend(change);
        }
        assert!(ends.iter().all(|end| !end.is_handshaking()), "the handshake is complete");
        assert_eq!(kept.iter().filter(|change| matches!(change, KeyChange::OneRtt { .. })).count(), 2);
        drop(initial);
    }
}
