//! Proofs: a server signs the client hello and its config, and shows a certificate chain for the key.
//!
//! Owns what is signed, the signature schemes (RSASSA-PSS or ECDSA, both with SHA-256), and who is believed. Whoever has an RSA key signs
//! with the first, with a salt of 32 bytes; ECDSA signatures are in DER. The host name is checked by rustls as it is for TLS.
//!
//! Signatures draw their own randomness, as in TLS; those of RSA keys have one length. No state, no timers.

use super::certs;
use super::fnv::fnv64;
use crate::gquic::wire::message::MAX_VALUE_LEN;
use crate::gquic::wire::{ErrorCode, Violation};
use crate::time::{Duration, UnixTime};
use ::ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use ::rustls::SignatureScheme;
use ::rustls::client::danger::ServerCertVerifier;
use ::rustls::pki_types::alg_id::RSA_ENCRYPTION;
use ::rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime as PkiTime};
use ::rustls::sign::SigningKey;
use ::webpki::EndEntityCert;
use ::webpki::ring::{ECDSA_P256_SHA256, ECDSA_P384_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY};
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// What proofs are signed with, the first that fits the key.
const SIGNING_SCHEMES: &[SignatureScheme] =
    &[SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256];
/// What proofs are verified with: quic-go signs with any curve.
const VERIFYING: &[&dyn SignatureVerificationAlgorithm] =
    &[ECDSA_P256_SHA256, ECDSA_P384_SHA256, RSA_PSS_2048_8192_SHA256_LEGACY_KEY];

/// What a server proves itself with: a chain, packed once for all clients, and the key of its leaf.
pub struct ProofSource {
    chain: Vec<CertificateDer<'static>>,
    packed: Vec<u8>,
    leaf_hash: u64,
    key: Arc<dyn SigningKey>,
}

/// An identity that cannot serve Google QUIC.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofSourceError {
    /// There is no certificate.
    #[error("the certificate chain is empty")]
    NoCertificate,
    /// A client would refuse the chain: packed it has so many bytes.
    #[error(
        "the certificate chain has {0} bytes when it is packed, more than {MAX_VALUE_LEN}, or too many certificates"
    )]
    ChainTooLong(usize),
    /// The key is neither of RSA nor of ECDSA with P-256.
    #[error("the key can sign neither with RSA nor with ECDSA P-256")]
    UnsupportedKey,
    /// The TLS library cannot read the key.
    #[error("the private key cannot be read: {0}")]
    Key(String),
}

impl ProofSource {
    /// From a chain, leaf first, and the key of the leaf.
    ///
    /// # Errors
    /// If the key cannot sign proofs, or the chain does not fit a handshake message.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: Arc<dyn SigningKey>,
    ) -> Result<Self, ProofSourceError> {
        let leaf = chain.first().ok_or(ProofSourceError::NoCertificate)?;
        if key.choose_scheme(SIGNING_SCHEMES).is_none() {
            return Err(ProofSourceError::UnsupportedKey);
        }
        let leaf_hash = fnv64(leaf);
        let packed = certs::compress(&chain, &[]);
        if packed.len() > MAX_VALUE_LEN || chain.len() > certs::MAX_CERTIFICATES {
            return Err(ProofSourceError::ChainTooLong(packed.len()));
        }
        Ok(Self { chain, packed, leaf_hash, key })
    }

    /// The leaf certificate, in DER: it takes part in the derivation of keys.
    pub fn leaf(&self) -> &[u8] {
        &self.chain[0]
    }

    /// The hash of the leaf: what XLCT must be.
    pub fn leaf_hash(&self) -> u64 {
        self.leaf_hash
    }

    /// The chain as the value of CRT, all of it compressed.
    pub fn packed_chain(&self) -> &[u8] {
        &self.packed
    }

    /// Signs for the hello `chlo`, the whole message that is answered, and the config `scfg`.
    ///
    /// # Errors
    /// `CRYPTO_INTERNAL_ERROR`, if the key fails to sign.
    pub fn sign(&self, chlo: &[u8], scfg: &[u8]) -> Result<Vec<u8>, Violation> {
        let signer = self.key.choose_scheme(SIGNING_SCHEMES);
        let signature = signer.and_then(|signer| signer.sign(&signed_data(chlo, scfg)).ok());
        signature.ok_or_else(|| Violation::new(ErrorCode::CRYPTO_INTERNAL_ERROR, "the key does not sign"))
    }
}

impl fmt::Debug for ProofSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { chain, key, .. } = self;
        write!(f, "ProofSource({} certificates, {:?})", chain.len(), key.algorithm())
    }
}

#[cfg(any(feature = "ring", feature = "aws-lc-rs"))]
mod with_provider {
    use super::{ProofSource, ProofSourceError, ServerTrust};
    use crate::crypto::TlsConfigError;
    use crate::crypto::rustls::{Identity, default_provider};
    use ::rustls::RootCertStore;
    use ::rustls::client::WebPkiServerVerifier;
    use std::sync::Arc;

    impl ProofSource {
        /// From the identity that TLS is configured with.
        ///
        /// # Errors
        /// As [`new`](Self::new), and if the key cannot be read.
        pub fn from_identity(identity: Identity) -> Result<Self, ProofSourceError> {
            let key = default_provider().key_provider.load_private_key(identity.key);
            Self::new(identity.chain, key.map_err(|error| ProofSourceError::Key(error.to_string()))?)
        }
    }

    impl ServerTrust {
        /// Believes servers with a certificate from one of these.
        ///
        /// # Errors
        /// If there are none.
        pub fn with_roots(roots: RootCertStore) -> Result<Self, TlsConfigError> {
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
                .build()
                .map(|verifier| Self::with_verifier(verifier))
                .map_err(|error| TlsConfigError::Refused(error.to_string()))
        }
    }
}

/// Which servers a client believes.
#[derive(Clone, Debug)]
pub struct ServerTrust {
    /// Everybody if `None`.
    verifier: Option<Arc<dyn ServerCertVerifier>>,
}

impl ServerTrust {
    /// Asks a verifier of rustls about each chain; signatures are verified here.
    pub fn with_verifier(verifier: Arc<dyn ServerCertVerifier>) -> Self {
        Self { verifier: Some(verifier) }
    }

    /// Believes every chain, but still wants the proof to be signed with the leaf's key. For tests.
    ///
    /// Proofs of RSA keys below 2048 bits are not looked at: TLS libraries refuse to verify such signatures, and the example programs of
    /// quic-go have such keys. That makes believing everybody no worse: anybody can have a good signature for a certificate of their own.
    pub fn danger_accept_any_certificate() -> Self {
        Self { verifier: None }
    }

    /// Verifies that `chain`, leaf first, belongs to `host` at the time `now`.
    ///
    /// # Errors
    /// `PROOF_INVALID`, if it is not believed.
    pub fn verify_chain(
        &self,
        chain: &[impl AsRef<[u8]>],
        host: &str,
        now: UnixTime,
    ) -> Result<(), Violation> {
        let certificates: Vec<_> = chain.iter().map(|der| CertificateDer::from(der.as_ref())).collect();
        let (leaf, intermediates) =
            certificates.split_first().ok_or_else(|| invalid("the chain is empty"))?;
        let Some(verifier) = &self.verifier else { return Ok(()) };
        let host = ServerName::try_from(host).map_err(|_| invalid("the host name is none"))?;
        let now = PkiTime::since_unix_epoch(Duration::from_secs(now.as_secs()));
        match verifier.verify_server_cert(leaf, intermediates, &host, &[], now) {
            Ok(_) => Ok(()),
            Err(error) => Err(invalid(error.to_string())),
        }
    }

    /// Verifies a proof as [`verify_signature`] does, if its key can be believed.
    ///
    /// # Errors
    /// `PROOF_INVALID`, if it is wrong or the certificate cannot be read.
    pub fn verify_proof(
        &self,
        leaf: &[u8],
        chlo: &[u8],
        scfg: &[u8],
        signature: &[u8],
    ) -> Result<(), Violation> {
        if self.verifier.is_none() && is_short_rsa_key(&read(&CertificateDer::from(leaf))?) {
            return Ok(());
        }
        verify_signature(leaf, chlo, scfg, signature)
    }
}

/// Verifies the signature under the hello `chlo`, which the client sent last, and the config `scfg`, with the key of a leaf certificate.
///
/// # Errors
/// `PROOF_INVALID`, if it is wrong or the certificate cannot be read.
pub fn verify_signature(leaf: &[u8], chlo: &[u8], scfg: &[u8], signature: &[u8]) -> Result<(), Violation> {
    let leaf = CertificateDer::from(leaf);
    let leaf = read(&leaf)?;
    let data = signed_data(chlo, scfg);
    let verified =
        VERIFYING.iter().any(|algorithm| leaf.verify_signature(*algorithm, &data, signature).is_ok());
    if verified { Ok(()) } else { Err(invalid("the signature is wrong")) }
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Result<EndEntityCert<'a>, Violation> {
    EndEntityCert::try_from(certificate).map_err(|error| invalid(format!("the certificate: {error}")))
}

/// Whether the key is of RSA and its modulus too short for the algorithms in [`VERIFYING`].
fn is_short_rsa_key(certificate: &EndEntityCert<'_>) -> bool {
    // A modulus of 2048 bits alone has as many bytes.
    const LEAST: usize = 2048 / 8;
    let key = certificate.subject_public_key_info();
    key.len() < LEAST && key.windows(RSA_ENCRYPTION.len()).any(|part| part == RSA_ENCRYPTION.as_ref())
}

fn invalid(reason: impl Into<Cow<'static, str>>) -> Violation {
    Violation::new(ErrorCode::PROOF_INVALID, reason)
}

/// What is signed.
fn signed_data(chlo: &[u8], scfg: &[u8]) -> Vec<u8> {
    let hash_len = (SHA256_OUTPUT_LEN as u32).to_le_bytes();
    let hash = digest(&SHA256, chlo);
    [b"QUIC CHLO and server config signature\0", &hash_len[..], hash.as_ref(), scfg].concat()
}

#[cfg(all(test, feature = "ring"))]
mod tests;
