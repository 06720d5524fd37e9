//! The common configurations, for those who do not want to build a rustls configuration themselves.

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
use crate::crypto::TlsConfigError;
use ::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ::rustls::{CipherSuite, KeyLog, RootCertStore};
use std::sync::Arc;

/// A cipher suite of TLS 1.3.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum CipherChoice {
    /// `TLS_AES_128_GCM_SHA256`.
    Aes128Gcm,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256Gcm,
    /// `TLS_CHACHA20_POLY1305_SHA256`.
    ChaCha20Poly1305,
}

impl CipherChoice {
    #[cfg_attr(not(any(feature = "ring", feature = "aws-lc-rs")), expect(dead_code, reason = "no provider"))]
    const fn suite(self) -> CipherSuite {
        match self {
            Self::Aes128Gcm => CipherSuite::TLS13_AES_128_GCM_SHA256,
            Self::Aes256Gcm => CipherSuite::TLS13_AES_256_GCM_SHA384,
            Self::ChaCha20Poly1305 => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        }
    }
}

/// A certificate chain, leaf first, and the leaf's private key.
#[derive(Debug)]
pub struct Identity {
    /// The chain.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

/// What a client may choose.
#[derive(Default, Debug)]
pub struct ClientOptions {
    /// Application protocols, the preferred one first.
    pub alpn: Vec<Vec<u8>>,
    /// Cipher suites, the preferred one first; all that there are, `TLS_AES_128_GCM_SHA256` first, if empty.
    pub ciphers: Vec<CipherChoice>,
    /// What to show to servers that ask who we are.
    pub identity: Option<Identity>,
    /// Never resume a session of before: every handshake is a full one.
    pub full_handshakes: bool,
    /// Where secrets are written for debugging; nowhere if `None`.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// What a server may choose.
#[derive(Default, Debug)]
pub struct ServerOptions {
    /// Application protocols, the preferred one first.
    pub alpn: Vec<Vec<u8>>,
    /// Cipher suites, the preferred one first; all that there are, `TLS_AES_128_GCM_SHA256` first, if empty.
    pub ciphers: Vec<CipherChoice>,
    /// If set, clients must show a certificate from one of these.
    pub client_roots: Option<RootCertStore>,
    /// Where secrets are written for debugging; nowhere if `None`.
    pub key_log: Option<Arc<dyn KeyLog>>,
}

/// A client that trusts certificates from `roots` and offers the protocols `alpn`.
///
/// # Errors
/// If rustls refuses the configuration.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub fn client_config(roots: RootCertStore, alpn: &[&[u8]]) -> Result<super::RustlsClient, TlsConfigError> {
    let alpn = alpn.iter().map(|name| name.to_vec()).collect();
    super::RustlsClient::with_roots(roots, ClientOptions { alpn, ..ClientOptions::default() })
}

/// A server that shows `identity` and speaks the protocols `alpn`.
///
/// # Errors
/// If rustls refuses the configuration: the key does not fit the certificate, for one.
#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
pub fn server_config(identity: Identity, alpn: &[&[u8]]) -> Result<super::RustlsServer, TlsConfigError> {
    let alpn = alpn.iter().map(|name| name.to_vec()).collect();
    super::RustlsServer::with_identity(identity, ServerOptions { alpn, ..ServerOptions::default() })
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod with_provider {
    use super::super::{RustlsClient, RustlsServer, default_provider, refused};
    use super::{CipherChoice, ClientOptions, Identity, ServerOptions};
    use crate::crypto::TlsConfigError;
    use ::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use ::rustls::client::{Resumption, WantsClientCert};
    use ::rustls::crypto::{CryptoProvider, verify_tls13_signature};
    use ::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use ::rustls::server::WebPkiClientVerifier;
    use ::rustls::version::TLS13;
    use ::rustls::{
        ClientConfig, ConfigBuilder, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
        SignatureScheme,
    };
    use std::sync::Arc;

    impl RustlsClient {
        /// A client that trusts certificates from `roots`.
        ///
        /// # Errors
        /// If rustls refuses the configuration: no cipher suite is left, or the identity's key does not fit its certificate.
        pub fn with_roots(roots: RootCertStore, options: ClientOptions) -> Result<Self, TlsConfigError> {
            let builder = ClientConfig::builder_with_provider(provider(&options.ciphers))
                .with_protocol_versions(&[&TLS13])
                .map_err(refused)?;
            Self::finish(builder.with_root_certificates(roots), options)
        }

        /// A client that believes every server. The connection is secret from those who only listen; whoever can answer in the
        /// server's place reads and writes everything. For tests.
        ///
        /// # Errors
        /// As [`with_roots`](Self::with_roots).
        pub fn danger_accept_any_certificate(options: ClientOptions) -> Result<Self, TlsConfigError> {
            let provider = provider(&options.ciphers);
            let builder = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&TLS13])
                .map_err(refused)?;
            let verifier = Arc::new(AcceptAny(provider));
            Self::finish(builder.dangerous().with_custom_certificate_verifier(verifier), options)
        }

        fn finish(
            builder: ConfigBuilder<ClientConfig, WantsClientCert>,
            options: ClientOptions,
        ) -> Result<Self, TlsConfigError> {
            let mut config = match options.identity {
                Some(Identity { chain, key }) => {
                    builder.with_client_auth_cert(chain, key).map_err(refused)?
                }
                None => builder.with_no_client_auth(),
            };
            config.alpn_protocols = options.alpn;
            let remembered =
                || if options.full_handshakes { Resumption::disabled() } else { Resumption::default() };
            config.resumption = remembered();
            if let Some(key_log) = options.key_log {
                config.key_log = key_log;
            }
            Ok(Self::new(config)?.remember_v2(remembered()))
        }
    }

    impl RustlsServer {
        /// A server that shows `identity` to its clients, and gives each a ticket to resume its session with.
        ///
        /// # Errors
        /// If rustls refuses the configuration: no cipher suite is left, the key does not fit the certificate, or there are no
        /// usable `client_roots`.
        pub fn with_identity(identity: Identity, options: ServerOptions) -> Result<Self, TlsConfigError> {
            let provider = provider(&options.ciphers);
            let builder = ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[&TLS13])
                .map_err(refused)?;
            let builder = match options.client_roots {
                Some(roots) => builder.with_client_cert_verifier(
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| TlsConfigError::Refused(error.to_string()))?,
                ),
                None => builder.with_no_client_auth(),
            };
            let mut config = builder.with_single_cert(identity.chain, identity.key).map_err(refused)?;
            config.alpn_protocols = options.alpn;
            // A client uses a ticket once (RFC 8446 §C.4), and gets another with each connection. rustls sends two, as browsers open several
            // connections at once over TCP; over QUIC one connection does for all.
            config.send_tls13_tickets = 1;
            if let Some(key_log) = options.key_log {
                config.key_log = key_log;
            }
            Self::new(config)
        }
    }

    /// The provider with the suites asked for only, in that order.
    ///
    /// Left to itself, rustls prefers AES-256 with SHA-384. Key exchange and usual certificates are no stronger than AES-128; and processors
    /// that have instructions for SHA-256 seldom have any for SHA-384, which then takes a tenth of a handshake.
    fn provider(ciphers: &[CipherChoice]) -> Arc<CryptoProvider> {
        let mut provider = default_provider();
        if ciphers.is_empty() {
            let preferred = CipherChoice::Aes128Gcm.suite();
            provider.cipher_suites.sort_by_key(|suite| suite.suite() != preferred);
        } else {
            let all = std::mem::take(&mut provider.cipher_suites);
            provider.cipher_suites = ciphers
                .iter()
                .filter_map(|choice| all.iter().find(|suite| suite.suite() == choice.suite()).copied())
                .collect();
        }
        Arc::new(provider)
    }

    /// Believes every certificate, but still wants the handshake to be signed with its key.
    #[derive(Debug)]
    struct AcceptAny(Arc<CryptoProvider>);

    impl ServerCertVerifier for AcceptAny {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _server_name: &ServerName<'_>,
            _ocsp_response: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _cert: &CertificateDer<'_>,
            _dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Err(Error::General("QUIC has no TLS 1.2".into()))
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
