//! Derivation of keys by HKDF-SHA256.
//!
//! The initial keys come from the client's key and that of the server config, the forward-secure keys from the client's and the server's
//! ephemeral one. Both are bound to the connection id, and to the complete client hello, the server config and the leaf certificate as they
//! were on the wire. The server's half of the initial keys is then diversified, so that a replayed hello does not give the same keys twice.
//!
//! No state, no timers.

use super::aead12::{Aes128Gcm12, IV_LEN, KEY_LEN};
use ::ring::hkdf;
use std::fmt;

/// Which keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyLevel {
    /// From the server config.
    Initial,
    /// From the server's ephemeral key.
    ForwardSecure,
}

impl KeyLevel {
    const fn label(self) -> &'static [u8] {
        match self {
            Self::Initial => b"QUIC key expansion\0",
            Self::ForwardSecure => b"QUIC forward secure key expansion\0",
        }
    }
}

/// What both ends know, as the bytes that were on the wire.
#[derive(Clone, Copy, Debug)]
pub struct KeyContext<'a> {
    /// NONC of the complete client hello.
    pub client_nonce: &'a [u8],
    /// SNO: for initial keys that of the client hello, often none; for forward-secure keys that of the server hello.
    pub server_nonce: &'a [u8],
    /// The connection id.
    pub cid: &'a [u8],
    /// The complete client hello, head to padding.
    pub chlo: &'a [u8],
    /// The server config.
    pub scfg: &'a [u8],
    /// The leaf certificate, in DER.
    pub leaf: &'a [u8],
}

/// Keys of both directions at one level.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyMaterial {
    client: Half,
    server: Half,
}

/// Key and start of the nonces of what one end sends.
#[derive(Clone, PartialEq, Eq)]
struct Half {
    key: [u8; KEY_LEN],
    iv: [u8; IV_LEN],
}

impl Half {
    fn packet_key(&self) -> Aes128Gcm12 {
        Aes128Gcm12::new(&self.key, self.iv)
    }
}

impl KeyMaterial {
    /// The keys of `level` from a shared secret.
    pub fn derive(level: KeyLevel, shared_secret: &[u8], context: &KeyContext<'_>) -> Self {
        let salt = [context.client_nonce, context.server_nonce].concat();
        let info = [level.label(), context.cid, context.chlo, context.scfg, context.leaf];
        let mut okm = [0; 2 * (KEY_LEN + IV_LEN)];
        hkdf_sha256(shared_secret, &salt, &info, &mut okm);
        let mut parts = Parts(&okm);
        let (client_key, server_key) = (parts.take(), parts.take());
        let (client_iv, server_iv) = (parts.take(), parts.take());
        Self {
            client: Half { key: client_key, iv: client_iv },
            server: Half { key: server_key, iv: server_iv },
        }
    }

    /// The same with the server's half diversified; `nonce` is in the header of the server's initial packets.
    #[must_use]
    pub fn diversify(&self, nonce: &[u8]) -> Self {
        let secret = [&self.server.key[..], &self.server.iv].concat();
        let mut okm = [0; KEY_LEN + IV_LEN];
        hkdf_sha256(&secret, nonce, &[b"QUIC key diversification"], &mut okm);
        let mut parts = Parts(&okm);
        Self { client: self.client.clone(), server: Half { key: parts.take(), iv: parts.take() } }
    }

    /// Protects what the client sends.
    pub fn client_key(&self) -> Aes128Gcm12 {
        self.client.packet_key()
    }

    /// Protects what the server sends.
    pub fn server_key(&self) -> Aes128Gcm12 {
        self.server.packet_key()
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyMaterial(…)")
    }
}

/// Cuts what was derived into keys.
struct Parts<'a>(&'a [u8]);

impl Parts<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (part, rest) =
            self.0.split_first_chunk().expect("invariant: the lengths add up to what was derived");
        self.0 = rest;
        *part
    }
}

/// Extract, then expand; `okm` is shorter than 255 hashes.
fn hkdf_sha256(secret: &[u8], salt: &[u8], info: &[&[u8]], okm: &mut [u8]) {
    struct Len(usize);
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            self.0
        }
    }
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(info, Len(okm.len()))
        .and_then(|derived| derived.fill(okm))
        .expect("invariant: no key is longer than 255 hashes");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gquic::wire::vectors::{bytes, recorded};
    use serde_json::Value;

    fn check(material: &KeyMaterial, json: &Value) {
        for (half, side) in [(&material.client, "client"), (&material.server, "server")] {
            assert_eq!(half.key.to_vec(), bytes(&json[format!("{side}_write_key")]));
            assert_eq!(half.iv.to_vec(), bytes(&json[format!("{side}_write_iv")]));
        }
    }

    #[test]
    fn keys_of_short_inputs() {
        let text = include_str!("../../../testdata/gquic/gquic_key_derivation.json");
        let json: Value = serde_json::from_str(text).unwrap();
        let input = |name: &str| bytes(&json["input"][name]);
        let context = KeyContext {
            client_nonce: &input("nonces"),
            server_nonce: &[],
            cid: &input("cid"),
            chlo: &input("chlo"),
            scfg: &input("scfg"),
            leaf: &input("cert"),
        };
        for case in json["output"].as_array().unwrap() {
            let forward_secure = case["forward_secure"] == true;
            let level = if forward_secure { KeyLevel::ForwardSecure } else { KeyLevel::Initial };
            let derived = KeyMaterial::derive(level, &input("ss"), &context);
            check(&if forward_secure { derived } else { derived.diversify(&input("div")) }, case);
        }
    }

    #[test]
    fn recorded_keys() {
        for json in recorded("handshake-0rtt-data", "key_derivation") {
            let salt = bytes(&json["hkdf_salt"]);
            let (client_nonce, server_nonce) = salt.split_at(32);
            let context = KeyContext {
                client_nonce,
                server_nonce,
                cid: &bytes(&json["info_connection_id"]),
                chlo: &bytes(&json["info_chlo"]),
                scfg: &bytes(&json["info_scfg"]),
                leaf: &bytes(&json["info_leaf_cert"]),
            };
            let level =
                if json["level"] == "forward_secure" { KeyLevel::ForwardSecure } else { KeyLevel::Initial };
            let derived = KeyMaterial::derive(level, &bytes(&json["hkdf_secret"]), &context);
            match json["level"].as_str().unwrap() {
                "initial" => check(&derived.diversify(&bytes(&json["diversification_nonce"])), &json),
                "forward_secure" => check(&derived, &json),
                level => {
                    assert_eq!(level, "initial_client_only");
                    assert_eq!(derived.client.key.to_vec(), bytes(&json["client_write_key"]));
                    assert_eq!(derived.client.iv.to_vec(), bytes(&json["client_write_iv"]));
                }
            }
        }
    }

    #[test]
    fn only_the_servers_half_is_diversified() {
        let context =
            KeyContext { client_nonce: &[1], server_nonce: &[], cid: &[], chlo: &[], scfg: &[], leaf: &[] };
        let derived = KeyMaterial::derive(KeyLevel::Initial, &[2], &context);
        let diversified = derived.diversify(&[3; 32]);
        assert!(diversified.client == derived.client && diversified.server != derived.server);
        assert_eq!(format!("{derived:?}"), "KeyMaterial(…)", "no secret in a log");
    }
}
