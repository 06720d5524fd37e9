//! Recorded proofs, proofs of our own, and who is not believed.

use super::*;
use crate::crypto::rustls::Identity;
use crate::gquic::wire::vectors::{bytes, recorded};
use crate::rng::{Rng, SeededRng};
use ::rustls::RootCertStore;
use ::rustls::pki_types::PrivateKeyDer;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};

fn identity(params: &CertificateParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

fn localhost() -> ProofSource {
    let (leaf, key) = identity(&CertificateParams::new(["localhost".to_string()]).unwrap());
    ProofSource::from_identity(Identity { chain: vec![leaf], key }).unwrap()
}

#[test]
fn recorded_proofs() {
    for scenario in ["handshake-echo-rsa", "handshake-echo-ecdsa", "handshake-stale-scfg"] {
        for json in recorded(scenario, "proof") {
            let field = |name: &str| bytes(&json[name]);
            let (leaf, chlo, scfg) = (field("leaf_cert"), field("chlo"), field("scfg"));
            assert_eq!(signed_data(&chlo, &scfg), field("signed_data"));
            let signature = field("signature");
            assert_eq!(verify_signature(&leaf, &chlo, &scfg, &signature), Ok(()));
            for (changed, at) in [(0, 0), (0, 100), (1, 9), (2, 40)] {
                let mut inputs = [chlo.clone(), scfg.clone(), signature.clone()];
                inputs[changed][at] ^= 1;
                let [chlo, scfg, signature] = inputs;
                let error = verify_signature(&leaf, &chlo, &scfg, &signature).unwrap_err();
                assert_eq!(error.code, ErrorCode::PROOF_INVALID);
            }
            // The same host with another key.
            let other = localhost();
            assert!(verify_signature(other.leaf(), &chlo, &scfg, &signature).is_err());
            assert!(verify_signature(&leaf[..100], &chlo, &scfg, &signature).is_err());
        }
    }
}

#[test]
fn what_is_signed_here_verifies() {
    let ecdsa = localhost();
    let rsa = {
        let key = include_bytes!("../../../../testdata/gquic/rsa-key.der");
        let leaf = include_bytes!("../../../../testdata/gquic/rsa-cert.der");
        let chain = vec![CertificateDer::from(&leaf[..])];
        ProofSource::from_identity(Identity { chain, key: PrivateKeyDer::try_from(&key[..]).unwrap() })
            .unwrap()
    };
    for source in [ecdsa, rsa] {
        let signature = source.sign(b"chlo", b"scfg").unwrap();
        assert_eq!(verify_signature(source.leaf(), b"chlo", b"scfg", &signature), Ok(()));
        assert!(verify_signature(source.leaf(), b"chlo", b"other", &signature).is_err());
        assert_eq!(source.leaf_hash(), fnv64(source.leaf()));
        let unpacked = certs::decompress(source.packed_chain(), &[] as &[&[u8]]);
        assert_eq!(unpacked, Ok(vec![source.leaf().to_vec()]));
    }
}

#[test]
fn chains_are_verified_for_the_host_and_the_time() {
    let mut params = CertificateParams::new(["localhost".to_string()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let leaf_key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut leaf = CertificateParams::new(["localhost".to_string()]).unwrap();
    leaf.not_after = rcgen::date_time_ymd(2030, 1, 1);
    let leaf = leaf.signed_by(&leaf_key, &rcgen::Issuer::from_params(&params, &ca_key)).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    let trust = ServerTrust::with_roots(roots).unwrap();
    let chain = [leaf.der().to_vec()];
    let (year_2027, year_2031) = (UnixTime::from_secs(1_800_000_000), UnixTime::from_secs(1_925_000_000));
    assert_eq!(trust.verify_chain(&chain, "localhost", year_2027), Ok(()));
    for (chain, host, now) in [
        (&chain, "example.com", year_2027),
        (&chain, "localhost", year_2031),
        (&chain, "no name", year_2027),
        (&[localhost().leaf().to_vec()], "localhost", year_2027),
    ] {
        assert_eq!(
            trust.verify_chain(chain, host, now).unwrap_err().code,
            ErrorCode::PROOF_INVALID,
            "{host}"
        );
    }
    let any = ServerTrust::danger_accept_any_certificate();
    assert_eq!(any.verify_chain(&chain, "example.com", year_2031), Ok(()));
    assert!(any.verify_chain(&chain[..0], "example.com", year_2031).is_err(), "there must be one");
}

#[test]
fn identities_that_cannot_serve() {
    let from = |chain, key| ProofSource::from_identity(Identity { chain, key }).unwrap_err();
    let (leaf, key) = identity(&CertificateParams::new(["localhost".to_string()]).unwrap());
    assert_eq!(from(vec![], key.clone_key()), ProofSourceError::NoCertificate);
    assert!(matches!(from(vec![leaf.clone(); 17], key.clone_key()), ProofSourceError::ChainTooLong(_)));
    let mut noise = vec![0; 5000];
    SeededRng::from_u64(1).fill(&mut noise);
    assert!(matches!(from(vec![noise.into()], key), ProofSourceError::ChainTooLong(4001..)));
    let ed25519 = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let key = PrivateKeyDer::Pkcs8(ed25519.serialize_der().into());
    assert_eq!(from(vec![leaf.clone()], key), ProofSourceError::UnsupportedKey);
    let key = PrivateKeyDer::Pkcs8(vec![1, 2, 3].into());
    assert!(matches!(from(vec![leaf], key), ProofSourceError::Key(_)));
}

#[test]
fn short_keys_are_good_enough_for_who_believes_everybody() {
    let short = include_bytes!("../../../../testdata/gquic/rsa-1024-cert.der");
    let long = include_bytes!("../../../../testdata/gquic/rsa-cert.der");
    let everybody = ServerTrust::danger_accept_any_certificate();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(&short[..])).unwrap();
    let some = ServerTrust::with_roots(roots).unwrap();
    let verify = |trust: &ServerTrust, leaf: &[u8]| trust.verify_proof(leaf, b"chlo", b"scfg", &[7; 128]);
    assert_eq!(verify(&everybody, short), Ok(()));
    for (trust, leaf) in
        [(&some, &short[..]), (&everybody, long), (&everybody, localhost().leaf()), (&everybody, &[])]
    {
        assert_eq!(verify(trust, leaf).unwrap_err().code, ErrorCode::PROOF_INVALID);
    }
}
