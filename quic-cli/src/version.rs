//! The versions of QUIC that the command speaks, and what servers and clients are configured with for them.
//!
//! Owns [`Versions`], the list that `--version` names. Everything else in the command is the same for all versions.

use crate::failure::Failure;
use crate::serve::secret;
use crate::tls::{self, Trust};
use quic_proto::config::family::{ClientFamily, ServerFamily};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::crypto::rustls::{ClientOptions, Identity, RustlsClient};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::invariants::Version;
use std::path::Path;
use std::sync::Arc;

/// The versions by name, in the order of `any`.
const NAMES: [(&str, Version); 3] = [("v1", Version::V1), ("v2", Version::V2), ("q044", Version::Q044)];

/// The versions to speak, the preferred one first; one at least, each once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Versions(Vec<Version>);

impl Versions {
    /// Reads names with commas between, or `any`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text == "any" {
            return Ok(Self(NAMES.map(|(_, version)| version).to_vec()));
        }
        let mut versions = Vec::new();
        for name in text.split(',') {
            let Some((_, version)) = NAMES.iter().find(|(known, _)| *known == name) else {
                return Err(format!(
                    "{name:?} must be v1, v2 or q044, with commas between several, or any alone"
                ));
            };
            if versions.contains(version) {
                return Err(format!("{name} is named twice"));
            }
            versions.push(*version);
        }
        Ok(Self(versions))
    }

    /// A server with this identity.
    pub(crate) fn server(
        &self,
        identity: Identity,
        alpn: &str,
        keylog: Option<&Path>,
    ) -> Result<ServerConfig, Failure> {
        let secret = secret()?;
        if !self.has_tls() {
            return Ok(ServerConfig::of(google_server(identity)?, &secret));
        }
        let copy = Identity { chain: identity.chain.clone(), key: identity.key.clone_key() };
        let config = ServerConfig::new(Arc::new(tls::server_tls(identity, alpn, keylog)?), &secret);
        Ok(if self.has_google() { config.family(google_server(copy)?) } else { config })
    }

    /// A server's endpoint; those of clients do not look at its versions.
    pub(crate) fn endpoint(&self) -> Result<EndpointConfig, Failure> {
        let config = EndpointConfig::new(&secret()?);
        let with_tls: Vec<_> = self.with_tls().collect();
        Ok(if with_tls.is_empty() { config } else { config.versions(&with_tls) })
    }

    /// A client that believes these servers.
    pub(crate) fn client(&self, trust: Trust, options: ClientOptions) -> Result<ClientConfig, Failure> {
        let anew = options.full_handshakes;
        if !self.has_tls() {
            return Ok(ClientConfig::of(google_client(trust, anew)?));
        }
        let config = ClientConfig::new(tls_client(trust.clone(), options)?);
        let config = if self.has_google() { config.family(google_client(trust, anew)?) } else { config };
        Ok(config.versions(&self.0))
    }

    /// Refuses options that only versions with TLS have, each with whether it was given, if none of them is to be spoken.
    pub(crate) fn permits(&self, options: &[(&str, bool)]) -> Result<(), Failure> {
        match options.iter().find(|(_, given)| *given) {
            Some((option, _)) if !self.has_tls() => {
                let what =
                    format!("{option} is for QUIC versions 1 and 2: leave it out, or name one of them too");
                Err(Failure::Usage(what))
            }
            _ => Ok(()),
        }
    }

    /// Whether there is a version of the IETF's among them.
    pub(crate) fn has_tls(&self) -> bool {
        self.with_tls().next().is_some()
    }

    fn has_google(&self) -> bool {
        self.0.contains(&Version::Q044)
    }

    fn with_tls(&self) -> impl Iterator<Item = Version> {
        self.0.iter().copied().filter(|version| *version != Version::Q044)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_their_order() {
        let of = |text: &str| Versions::parse(text).map(|versions| versions.0);
        assert_eq!(of("q044").unwrap(), [Version::Q044]);
        assert_eq!(of("v2,v1").unwrap(), [Version::V2, Version::V1]);
        assert_eq!(of("any"), of("v1,v2,q044"));
        for wrong in ["", "v3", "v1,", "v1, v2", "v1,any", "v1,v2,v1"] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
