//! Versions and what differs between them.
//!
//! Invariant: every [`VersionSpec`] is constant data from an RFC; a version without one cannot be spoken. No timers.

use std::fmt;

/// A version number of QUIC, as in long headers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version(pub u32);

impl Version {
    /// QUIC version 1, RFC 9000.
    pub const V1: Self = Self(0x0000_0001);
    /// QUIC version 2, RFC 9369.
    pub const V2: Self = Self(0x6b33_43cf);
    /// Google QUIC version 44, "Q044".
    pub const Q044: Self = Self(u32::from_be_bytes(*b"Q044"));

    /// Whether this version is reserved to exercise version negotiation: 0x?a?a?a?a (RFC 9000 §15). Nobody speaks those.
    pub const fn is_reserved(self) -> bool {
        self.0 & 0x0f0f_0f0f == 0x0a0a_0a0a
    }

    /// Whether long headers of this version have the lengths of both ids in one byte, as drafts before RFC 8999 had them: so it is in
    /// Google's Q044 to Q049.
    pub const fn packs_id_lengths(self) -> bool {
        self.0 >= Self::Q044.0 && self.0 <= u32::from_be_bytes(*b"Q049")
    }

    /// A reserved version made of the high half-bytes of `random`.
    pub const fn reserved(random: u32) -> Self {
        Self(random & 0xf0f0_f0f0 | 0x0a0a_0a0a)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::V1 => f.write_str("QUICv1"),
            Self::V2 => f.write_str("QUICv2"),
            // Google's are named in ASCII.
            Self(number) => match number.to_be_bytes() {
                [b'Q', name @ ..] if name.iter().all(u8::is_ascii_digit) => {
                    write!(f, "Q{}", String::from_utf8_lossy(&name))
                }
                _ => write!(f, "{number:#010x}"),
            },
        }
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The versions that we speak and offer, best first.
pub const SUPPORTED: &[Version] = &[Version::V1];

/// Which wire format and handshake a version has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// Packets, frames and TLS of RFC 9000 and RFC 9001.
    Ietf,
}

/// The labels with which keys are derived (RFC 9001 §5.1, §6.1; RFC 9369 §3.3.2), without the "tls13 " that HKDF-Expand-Label adds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Labels {
    /// For packet protection keys.
    pub key: &'static str,
    /// For initialization vectors.
    pub iv: &'static str,
    /// For header protection keys.
    pub hp: &'static str,
    /// For the secret after a key update.
    pub ku: &'static str,
}

/// What a version does in its own way.
#[derive(Debug)]
pub struct VersionSpec {
    /// The version that this is about.
    pub version: Version,
    /// How its packets are made.
    pub family: Family,
    /// Salt of the Initial secrets (RFC 9001 §5.2).
    pub initial_salt: [u8; 20],
    /// Labels of key derivation.
    pub labels: Labels,
    /// The two Long Packet Type bits (0 to 3) of Initial, 0-RTT, Handshake and Retry, in this order (RFC 9000 §17.2).
    pub long_types: [u8; 4],
    /// Key of the Retry Integrity Tag (RFC 9001 §5.8).
    pub retry_key: [u8; 16],
    /// Nonce of the Retry Integrity Tag.
    pub retry_nonce: [u8; 12],
}

/// How to speak `version`, if we know.
pub const fn spec(version: Version) -> Option<&'static VersionSpec> {
    match version {
        Version::V1 => Some(&V1),
        Version::V2 => Some(&V2),
        _ => None,
    }
}

static V1: VersionSpec = VersionSpec {
    version: Version::V1,
    family: Family::Ietf,
    initial_salt: [
        0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8, 0x0c, 0xad, 0xcc,
        0xbb, 0x7f, 0x0a,
    ],
    labels: Labels { key: "quic key", iv: "quic iv", hp: "quic hp", ku: "quic ku" },
    long_types: [0, 1, 2, 3],
    retry_key: [
        0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a, 0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e,
    ],
    retry_nonce: [0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb],
};

static V2: VersionSpec = VersionSpec {
    version: Version::V2,
    family: Family::Ietf,
    initial_salt: [
        0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26, 0x9d, 0xcb, 0xf9,
        0xbd, 0x2e, 0xd9,
    ],
    labels: Labels { key: "quicv2 key", iv: "quicv2 iv", hp: "quicv2 hp", ku: "quicv2 ku" },
    long_types: [1, 2, 3, 0],
    retry_key: [
        0x8f, 0xb4, 0xb0, 0x1b, 0x56, 0xac, 0x48, 0xe2, 0x60, 0xfb, 0xcb, 0xce, 0xad, 0x7c, 0xcc, 0x92,
    ],
    retry_nonce: [0xd8, 0x69, 0x69, 0xbc, 0x2d, 0x7c, 0x6d, 0x99, 0x90, 0xef, 0xb0, 0x4a],
};

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn data_of_the_rfcs() {
        for (version, text) in [
            (Version::V1, include_str!("../../testdata/rfc9001_appendix_a_v1.json")),
            (Version::V2, include_str!("../../testdata/rfc9369_appendix_a_v2.json")),
        ] {
            let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
            let spec = spec(version).unwrap();
            assert_eq!(spec.version, version);
            assert_eq!(hex(&version.0.to_be_bytes()), vectors["version"]);
            assert_eq!(hex(&spec.initial_salt), vectors["initial_salt"]);
            assert_eq!(hex(&spec.retry_key), vectors["retry"]["key"]);
            assert_eq!(hex(&spec.retry_nonce), vectors["retry"]["nonce"]);
            let labels = &vectors["labels"];
            assert_eq!(spec.labels.key, labels["key"]);
            assert_eq!(spec.labels.iv, labels["iv"]);
            assert_eq!(spec.labels.hp, labels["hp"]);
            assert_eq!(spec.labels.ku, labels["ku"]);
        }
    }

    #[test]
    fn versions_by_name() {
        let name = |number: u32| Version(number).to_string();
        assert_eq!([name(1), name(0x6b33_43cf)], ["QUICv1", "QUICv2"]);
        assert_eq!([name(0x5130_3434), name(0x5130_3339)], ["Q044", "Q039"]);
        assert_eq!([name(0x5130_34ff), name(0xff00_001d)], ["0x513034ff", "0xff00001d"]);
    }

    #[test]
    fn reserved_versions_are_not_spoken() {
        for version in [0x0a0a_0a0a, 0x1a2a_3a4a, 0xfafa_fafa].map(Version) {
            assert!(version.is_reserved() && spec(version).is_none());
        }
        assert!(!Version::V1.is_reserved() && !Version::V2.is_reserved() && !Version(0).is_reserved());
        assert!(Version::reserved(0x1234_5678).is_reserved());
        assert!(SUPPORTED.iter().all(|version| spec(*version).is_some()));
        assert!(spec(Version(0)).is_none());
    }
}
