//! The keys of Initial packets, which anybody can derive who saw the client's first packet (RFC 9001 §5.2).
//!
//! They protect against accidents and against those who cannot see the packets, nothing else.

use super::ring::{Aead, RingKeys, hkdf_expand_label};
use super::{DirectionalKeys, HeaderKey, Keys, NotAuthentic, PacketKey};
use crate::id::Side;
use crate::invariants::Labels;
use ::ring::hkdf;
use std::sync::Arc;

/// The Initial keys of the end `side`, for the Destination Connection ID `dcid` of the client's first Initial packet (or of the one
/// after a Retry), in the version that has this salt and these labels.
pub fn initial_keys(salt: &[u8], labels: &Labels, dcid: &[u8], side: Side) -> Keys {
    let initial = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(dcid);
    // RFC 9001 §5.2: Initial packets use AEAD_AES_128_GCM with SHA-256 whatever TLS negotiates.
    let keys = |sender: Side| {
        let label = if sender.is_client() { "client in" } else { "server in" };
        let mut secret = [0; 32];
        hkdf_expand_label(&initial, label, &mut secret);
        let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
        Aead::Aes128Gcm.directional_keys(&secret, labels)
    };
    let both = Arc::new(Both { client: keys(Side::Client), server: keys(Side::Server) });
    let share = |sender| DirectionalKeys {
        header: InitialKey { both: Arc::clone(&both), sender }.into(),
        packet: InitialKey { both: Arc::clone(&both), sender }.into(),
    };
    Keys { local: share(side), remote: share(!side) }
}

/// The keys of both directions. They are derived, used and discarded together, so that they share their memory: every client and
/// everybody who pretends to be one makes a server derive them.
struct Both {
    client: RingKeys,
    server: RingKeys,
}

/// The packet key or the header key of what `sender` sends.
pub(super) struct InitialKey {
    both: Arc<Both>,
    sender: Side,
}

impl InitialKey {
    fn keys(&self) -> &RingKeys {
        match self.sender {
            Side::Client => &self.both.client,
            Side::Server => &self.both.server,
        }
    }
}

impl PacketKey for InitialKey {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        self.keys().packet.seal(number, packet, header_len);
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        self.keys().packet.open(number, header, payload)
    }

    fn tag_len(&self) -> usize {
        self.keys().packet.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.keys().packet.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.keys().packet.integrity_limit()
    }
}

impl HeaderKey for InitialKey {
    fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        self.keys().header.mask(sample)
    }
}

/// The vectors of RFC 9001 and RFC 9369, for the tests of this folder.
#[cfg(test)]
pub(super) mod vectors {
    use crate::invariants::Labels;
    use serde_json::Value;

    pub(crate) struct Vectors {
        pub(crate) json: Value,
        pub(crate) labels: Labels,
    }

    impl Vectors {
        pub(crate) fn all() -> [Self; 2] {
            let new = |text, labels| Self { json: serde_json::from_str(text).unwrap(), labels };
            [
                new(
                    include_str!("../../testdata/rfc9001_appendix_a_v1.json"),
                    Labels { key: "quic key", iv: "quic iv", hp: "quic hp", ku: "quic ku" },
                ),
                new(
                    include_str!("../../testdata/rfc9369_appendix_a_v2.json"),
                    Labels { key: "quicv2 key", iv: "quicv2 iv", hp: "quicv2 hp", ku: "quicv2 ku" },
                ),
            ]
        }
    }

    pub(crate) fn hex(value: &Value) -> Vec<u8> {
        let digits = value.as_str().unwrap();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::vectors::{Vectors, hex};
    use super::*;
    use crate::crypto::header_protection::{protect, unprotect};
    use crate::crypto::{HeaderKey, PacketKey};

    /// RFC 9001 A.1: the label encoder, seen through every value that A.1 derives.
    #[test]
    fn secrets_and_keys_of_appendix_a1() {
        for vectors in Vectors::all() {
            let json = &vectors.json;
            let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, &hex(&json["initial_salt"]));
            let initial = salt.extract(&hex(&json["client_dcid"]));
            for (side, label) in [("client", "client in"), ("server", "server in")] {
                let mut secret = [0; 32];
                hkdf_expand_label(&initial, label, &mut secret);
                assert_eq!(secret.to_vec(), hex(&json[side]["secret"]));
                let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &secret);
                for (field, label, len) in [
                    ("key", vectors.labels.key, 16),
                    ("iv", vectors.labels.iv, 12),
                    ("hp", vectors.labels.hp, 16),
                ] {
                    let mut out = vec![0; len];
                    hkdf_expand_label(&secret, label, &mut out);
                    assert_eq!(out, hex(&json[side][field]), "{side} {field}");
                }
            }
        }
    }

    /// RFC 9001 A.2 and A.3, and the same of RFC 9369: sealed byte for byte by one end, opened by the other.
    #[test]
    fn initial_packets_of_appendix_a2_and_a3() {
        for vectors in Vectors::all() {
            let json = &vectors.json;
            let (salt, dcid) = (hex(&json["initial_salt"]), hex(&json["client_dcid"]));
            let client = initial_keys(&salt, &vectors.labels, &dcid, Side::Client);
            let server = initial_keys(&salt, &vectors.labels, &dcid, Side::Server);
            let mut client_payload = hex(&json["client_initial"]["crypto_frame"]);
            client_payload.resize(1162, 0);
            let server_payload = hex(&json["server_initial"]["payload"]);
            for (case, payload, number, number_len, from, to) in [
                (&json["client_initial"], client_payload, 2, 4, &client, &server),
                (&json["server_initial"], server_payload, 1, 2, &server, &client),
            ] {
                let header = hex(&case["unprotected_header"]);
                let number_at = header.len() - number_len;
                let mut packet = [&header[..], &payload, &[0; 16]].concat();
                from.local.packet.seal(number, &mut packet, header.len());
                protect(&from.local.header, &mut packet, number_at, number_len);
                assert_eq!(packet, hex(&case["packet"]));

                let sample = hex(&case["hp_sample"]).try_into().unwrap();
                assert_eq!(to.remote.header.mask(&sample).to_vec(), hex(&case["hp_mask"]));
                let opened = unprotect(&to.remote.header, &mut packet, number_at).unwrap();
                assert_eq!(opened.number_len, number_len);
                assert_eq!(u64::from(opened.truncated), number);
                let (head, sealed) = packet.split_at_mut(header.len());
                assert_eq!(head, header);
                let len = to.remote.packet.open(number, head, sealed).unwrap();
                assert_eq!(&sealed[..len], payload);
            }
        }
    }
}
