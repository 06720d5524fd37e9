//! What a behaviour asks of its endpoints.
//!
//! Owns [`Setup`], and the configurations that follow from it. The certificate is made anew each time. Timers: none.

use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::crypto::rustls::{Identity, client_config, server_config};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::invariants::Version;
use rustls::RootCertStore;
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::sync::Arc;

/// The application protocol.
pub const ALPN: &[u8] = b"suite";

/// What a behaviour asks of its endpoints.
pub struct Setup {
    version: Version,
    client: TransportConfig,
    server: TransportConfig,
    departure_times: bool,
}

/// The configurations of a pair.
pub struct Configs {
    /// Of either endpoint.
    pub endpoint: EndpointConfig,
    /// Of the client's connections.
    pub client: ClientConfig,
    /// Of the server.
    pub server: Arc<ServerConfig>,
}

impl Setup {
    /// Both ends speak this version, with default limits and timing.
    pub fn new(version: Version) -> Self {
        let (client, server) = Default::default();
        Self { version, client, server, departure_times: false }
    }

    /// Changes limits and timing of the client.
    #[must_use]
    pub fn client(mut self, change: impl FnOnce(TransportConfig) -> TransportConfig) -> Self {
        self.client = change(self.client);
        self
    }

    /// Changes limits and timing of the server.
    #[must_use]
    pub fn server(mut self, change: impl FnOnce(TransportConfig) -> TransportConfig) -> Self {
        self.server = change(self.server);
        self
    }

    /// Changes limits and timing of both.
    #[must_use]
    pub fn both(self, change: impl Fn(TransportConfig) -> TransportConfig) -> Self {
        self.client(&change).server(change)
    }

    /// Whether datagrams name times to leave at.
    #[must_use]
    pub fn departure_times(mut self, on: bool) -> Self {
        self.departure_times = on;
        self
    }

    /// The configurations. The server's certificate is for `localhost`.
    pub fn build(self) -> Configs {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let identity = Identity { chain: vec![made.cert.der().clone()], key };
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("it is a certificate");
        let (client, server) = match self.version {
            Version::Q044 => google(identity, roots),
            version => ietf(version, identity, roots),
        };
        let valid = "the setup is valid";
        Configs {
            endpoint: EndpointConfig::new(&[8; 32])
                .departure_times(self.departure_times)
                .build()
                .expect(valid),
            client: client.transport(self.client.build().expect(valid)).build().expect(valid),
            server: server.transport(self.server.build().expect(valid)).build().expect(valid),
        }
    }
}

fn ietf(version: Version, identity: Identity, roots: RootCertStore) -> (ClientConfig, ServerConfig) {
    let server = server_config(identity, &[ALPN]).expect("the key fits");
    let client = client_config(roots, &[ALPN]).expect("there is a root");
    let client = ClientConfig::new(Arc::new(client)).versions(&[version]);
    (client, ServerConfig::new(Arc::new(server), &[7; 32]))
}

fn google(identity: Identity, roots: RootCertStore) -> (ClientConfig, ServerConfig) {
    let trust = ServerTrust::with_roots(roots).expect("there is a root");
    let proof = ProofSource::from_identity(identity).expect("the key fits");
    let client = ClientConfig::of(Arc::new(gquic::ClientConfig::new(trust)));
    (client, ServerConfig::of(Arc::new(gquic::ServerConfig::new(proof, &[7; 32])), &[6; 32]))
}
