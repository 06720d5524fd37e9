//! Packet and header keys by ring, derived from a TLS secret (RFC 9001 §5.1, §5.4).
//!
//! Initial packets always use these, whatever makes the TLS keys: their secret is public and their AEAD is fixed by the version.
//! Nothing here can fail on what a peer sends except [`PacketKey::open`], which says so.

use super::{HeaderKey, NotAuthentic, PacketKey};
use crate::invariants::Labels;
use ::ring::aead::{self, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey, quic};
use ::ring::hkdf;

/// An AEAD of TLS 1.3, together with its hash and its header protection cipher.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Aead {
    /// `TLS_AES_128_GCM_SHA256`: what Initial packets use.
    Aes128Gcm,
    /// `TLS_AES_256_GCM_SHA384`.
    Aes256Gcm,
    /// `TLS_CHACHA20_POLY1305_SHA256`.
    ChaCha20Poly1305,
}

impl Aead {
    /// The hash that secrets for this AEAD are expanded with.
    pub fn hash(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    /// Length of a traffic secret in bytes: 32 or 48.
    pub fn secret_len(self) -> usize {
        self.hash().hmac_algorithm().digest_algorithm().output_len()
    }

    /// The keys of one direction from its traffic secret (RFC 9001 §5.1).
    pub fn directional_keys(self, secret: &hkdf::Prk, labels: &Labels) -> RingKeys {
        RingKeys { header: self.header_key(secret, labels), packet: self.packet_key(secret, labels) }
    }

    /// The packet key of a traffic secret.
    pub fn packet_key(self, secret: &hkdf::Prk, labels: &Labels) -> RingPacketKey {
        let mut key = [0; MAX_KEY_LEN];
        let key = &mut key[..self.algorithm().key_len()];
        hkdf_expand_label(secret, labels.key, key);
        let mut iv = [0; NONCE_LEN];
        hkdf_expand_label(secret, labels.iv, &mut iv);
        RingPacketKey::new(self, key, iv)
    }

    /// The header protection key of a traffic secret; a key update does not change it (RFC 9001 §6).
    pub fn header_key(self, secret: &hkdf::Prk, labels: &Labels) -> RingHeaderKey {
        let mut key = [0; MAX_KEY_LEN];
        let key = &mut key[..self.header_algorithm().key_len()];
        hkdf_expand_label(secret, labels.hp, key);
        RingHeaderKey(
            quic::HeaderProtectionKey::new(self.header_algorithm(), key)
                .expect("invariant: the key has the length that its algorithm asks for"),
        )
    }

    /// Writes the traffic secret that follows `secret` in a key update (RFC 9001 §6.1) to `next`, of
    /// [`secret_len`](Self::secret_len) bytes.
    pub fn update_secret(secret: &hkdf::Prk, labels: &Labels, next: &mut [u8]) {
        hkdf_expand_label(secret, labels.ku, next);
    }

    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    fn header_algorithm(self) -> &'static quic::Algorithm {
        match self {
            Self::Aes128Gcm => &quic::AES_128,
            Self::Aes256Gcm => &quic::AES_256,
            Self::ChaCha20Poly1305 => &quic::CHACHA20,
        }
    }

    /// RFC 9001 §6.6, for packets of up to 2^16 bytes.
    const fn limits(self) -> (u64, u64) {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => (1 << 23, 1 << 52),
            // "… the confidentiality limit is greater than the number of possible packets (2^62) and so can be disregarded."
            Self::ChaCha20Poly1305 => (u64::MAX, 1 << 36),
        }
    }
}

/// The longest key of any [`Aead`], in bytes.
const MAX_KEY_LEN: usize = 32;

/// HKDF-Expand-Label of TLS 1.3 (RFC 8446 §7.1) with an empty context: fills `out` from `secret`.
///
/// The label, of at most 249 bytes, and the length of `out`, at most 255 hashes, are chosen by this program and never by a peer.
pub fn hkdf_expand_label(secret: &hkdf::Prk, label: &str, out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let len = u16::try_from(out.len()).expect("invariant: no key is longer than 64 KiB").to_be_bytes();
    let label_len = u8::try_from(PREFIX.len() + label.len()).expect("invariant: labels are short");
    let info = [&len[..], &[label_len], PREFIX, label.as_bytes(), &[0]];
    secret
        .expand(&info, OutputLen(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("invariant: no key is longer than 255 hashes");
}

/// ring wants the length of what it derives as a type.
pub(super) struct OutputLen(pub(super) usize);

impl hkdf::KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// Keys of one direction.
pub struct RingKeys {
    /// Header protection.
    pub header: RingHeaderKey,
    /// Packet protection.
    pub packet: RingPacketKey,
}

/// A packet key on ring's AEADs.
pub struct RingPacketKey {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    confidentiality_limit: u64,
    integrity_limit: u64,
}

impl RingPacketKey {
    fn new(aead: Aead, key: &[u8], iv: [u8; NONCE_LEN]) -> Self {
        let key = UnboundKey::new(aead.algorithm(), key)
            .expect("invariant: the key has the length that its algorithm asks for");
        let (confidentiality_limit, integrity_limit) = aead.limits();
        Self { key: LessSafeKey::new(key), iv, confidentiality_limit, integrity_limit }
    }

    /// RFC 9001 §5.3: "The 62 bits of the reconstructed QUIC packet number in network byte order are left-padded with zeros to the
    /// size of the IV. The exclusive OR of the padded packet number and the IV forms the AEAD nonce."
    fn nonce(&self, number: u64) -> Nonce {
        let mut nonce = self.iv;
        for (byte, number) in nonce[NONCE_LEN - 8..].iter_mut().zip(number.to_be_bytes()) {
            *byte ^= number;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl PacketKey for RingPacketKey {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let (header, payload) = packet.split_at_mut(header_len);
        let (payload, tag) = payload.split_at_mut(payload.len() - self.tag_len());
        let sealed = self
            .key
            .seal_in_place_separate_tag(self.nonce(number), Aad::from(&*header), payload)
            .expect("invariant: a packet is shorter than the AEAD's limit of 64 GiB");
        tag.copy_from_slice(sealed.as_ref());
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        self.key
            .open_in_place(self.nonce(number), Aad::from(header), payload)
            .map(|plain| plain.len())
            .map_err(|_| NotAuthentic)
    }

    fn tag_len(&self) -> usize {
        self.key.algorithm().tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.confidentiality_limit
    }

    fn integrity_limit(&self) -> u64 {
        self.integrity_limit
    }
}

/// A header protection key on ring's ciphers.
pub struct RingHeaderKey(quic::HeaderProtectionKey);

impl HeaderKey for RingHeaderKey {
    fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        self.0.new_mask(sample).expect("invariant: every QUIC cipher samples 16 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::header_protection::{protect, unprotect};
    use crate::crypto::initial::vectors::{Vectors, hex};

    /// RFC 9001 A.5 and RFC 9369 A.5: a short header packet under `ChaCha20`, sealed and opened, and the secret after it.
    #[test]
    fn chacha20_short_header() {
        for vectors in Vectors::all() {
            let case = |field: &str| hex(&vectors.json["chacha20_short_header"][field]);
            let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &case("secret"));
            let aead = Aead::ChaCha20Poly1305;
            let mut next = vec![0; aead.secret_len()];
            Aead::update_secret(&secret, &vectors.labels, &mut next);
            assert_eq!(next, case("next_secret_ku"));

            let keys = aead.directional_keys(&secret, &vectors.labels);
            let header = case("unprotected_header");
            let mut packet = [&header[..], &case("payload"), &[0; 16]].concat();
            keys.packet.seal(654_360_564, &mut packet, header.len());
            assert_eq!(&packet[header.len()..], case("ciphertext"));
            let sample = case("hp_sample").try_into().unwrap();
            assert_eq!(keys.header.mask(&sample).to_vec(), case("hp_mask"));
            protect(&keys.header, &mut packet, 1, 3);
            assert_eq!(packet, case("packet"));

            let opened = unprotect(&keys.header, &mut packet, 1).unwrap();
            assert_eq!((opened.first, opened.number_len, opened.truncated), (header[0], 3, 0xbff4));
            let (head, payload) = packet.split_at_mut(4);
            assert_eq!(keys.packet.open(654_360_564, head, payload), Ok(1));
            assert_eq!(payload[0], 1);
        }
    }

    /// RFC 9001 §6.6.
    #[test]
    fn limits_of_section_6_6() {
        let labels = Vectors::all()[0].labels;
        for (aead, confidentiality, integrity) in [
            (Aead::Aes128Gcm, 1 << 23, 1 << 52),
            (Aead::Aes256Gcm, 1 << 23, 1 << 52),
            (Aead::ChaCha20Poly1305, u64::MAX, 1 << 36),
        ] {
            let secret = hkdf::Prk::new_less_safe(aead.hash(), &vec![7; aead.secret_len()]);
            let key = aead.packet_key(&secret, &labels);
            assert_eq!((key.confidentiality_limit(), key.integrity_limit()), (confidentiality, integrity));
        }
    }

    /// Each input to the AEAD is authenticated, and a payload shorter than a tag is refused rather than sliced.
    #[test]
    fn what_was_changed_does_not_open() {
        let labels = Vectors::all()[0].labels;
        for aead in [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305] {
            let secret = hkdf::Prk::new_less_safe(aead.hash(), &vec![7; aead.secret_len()]);
            let key = aead.packet_key(&secret, &labels);
            let mut packet = [&b"head"[..], b"payload", &[0; 16]].concat();
            key.seal(5, &mut packet, 4);
            let open = |number, packet: &[u8]| {
                let mut payload = packet[4..].to_vec();
                key.open(number, &packet[..4], &mut payload).map(|len| payload[..len].to_vec())
            };
            assert_eq!(open(5, &packet).unwrap(), b"payload");
            assert_eq!(open(6, &packet), Err(NotAuthentic));
            for at in 0..packet.len() {
                let mut changed = packet.clone();
                changed[at] ^= 1;
                assert_eq!(open(5, &changed), Err(NotAuthentic), "byte {at}");
            }
            assert_eq!(key.open(5, b"head", &mut [0; 15]), Err(NotAuthentic));
            assert_eq!(key.open(5, b"head", &mut []), Err(NotAuthentic));
        }
    }
}
