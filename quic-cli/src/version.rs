//! The versions of QUIC that the command speaks, and what servers and clients are configured with for them.
//!
//! Owns the choice that `--version` names. Everything else in the command is the same for all versions.

use crate::failure::Failure;
use crate::serve::secret;
use crate::tls::{self, Trust};
use clap::ValueEnum;
use quic_proto::config::family::{ClientFamily, ServerFamily};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::crypto::rustls::{ClientOptions, Identity, RustlsClient};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::invariants;
use std::path::Path;
use std::sync::Arc;

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Version {
    /// QUIC version 1 (RFC 9000)
    V1,
    /// QUIC version 2 (RFC 9369) and no other: both ends must name it
    V2,
    /// Google QUIC, version 44
    Q044,
    /// Version 1 and Q044; a client begins with version 1, which quic-go 0.10 leaves unanswered: name q044 for that
    Any,
}

impl Version {
    /// A server with this identity.
    pub(crate) fn server(
        self,
        identity: Identity,
        alpn: &str,
        keylog: Option<&Path>,
    ) -> Result<ServerConfig, Failure> {
        let secret = secret()?;
        Ok(match self {
            Self::V1 | Self::V2 => {
                ServerConfig::new(Arc::new(tls::server_tls(identity, alpn, keylog)?), &secret)
            }
            Self::Q044 => ServerConfig::of(google_server(identity)?, &secret),
            Self::Any => {
                let copy = Identity { chain: identity.chain.clone(), key: identity.key.clone_key() };
                let config = ServerConfig::new(Arc::new(tls::server_tls(identity, alpn, keylog)?), &secret);
                config.family(google_server(copy)?)
            }
        })
    }

    /// A server's endpoint.
    pub(crate) fn endpoint(self) -> Result<EndpointConfig, Failure> {
        let config = EndpointConfig::new(&secret()?);
        Ok(if self == Self::V2 { config.versions(&[invariants::Version::V2]) } else { config })
    }

    /// A client that believes these servers.
    pub(crate) fn client(self, trust: Trust, options: ClientOptions) -> Result<ClientConfig, Failure> {
        let anew = options.full_handshakes;
        Ok(match self {
            Self::V1 => ClientConfig::new(tls_client(trust, options)?),
            Self::V2 => ClientConfig::new(tls_client(trust, options)?).versions(&[invariants::Version::V2]),
            Self::Q044 => ClientConfig::of(google_client(trust, anew)?),
            Self::Any => {
                ClientConfig::new(tls_client(trust.clone(), options)?).family(google_client(trust, anew)?)
            }
        })
    }

    /// Refuses options that only versions with TLS have, each with whether it was given, if none of them is to be spoken.
    pub(crate) fn permits(self, options: &[(&str, bool)]) -> Result<(), Failure> {
        match options.iter().find(|(_, given)| *given) {
            Some((option, _)) if self == Self::Q044 => {
                let what = format!("{option} is for QUIC version 1: leave it out, or use --version any");
                Err(Failure::Usage(what))
            }
            _ => Ok(()),
        }
    }
}

fn tls_client(trust: Trust, options: ClientOptions) -> Result<Arc<RustlsClient>, Failure> {
    Ok(Arc::new(match trust {
        Trust::Anybody => RustlsClient::danger_accept_any_certificate(options)?,
        Trust::Roots(roots) => RustlsClient::with_roots(roots, options)?,
    }))
}

/// A client of Q044. One that is to start each connection anew remembers no server.
fn google_client(trust: Trust, anew: bool) -> Result<Arc<dyn ClientFamily>, Failure> {
    let client = gquic::ClientConfig::new(match trust {
        Trust::Anybody => ServerTrust::danger_accept_any_certificate(),
        Trust::Roots(roots) => ServerTrust::with_roots(roots)?,
    });
    Ok(Arc::new(if anew { client.remember_servers(0) } else { client }))
}

fn google_server(identity: Identity) -> Result<Arc<dyn ServerFamily>, Failure> {
    Ok(Arc::new(gquic::ServerConfig::new(ProofSource::from_identity(identity)?, &secret()?)))
}
