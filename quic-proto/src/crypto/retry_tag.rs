//! The Retry Integrity Tag (RFC 9001 §5.8): AES-128-GCM over nothing, with a key that everybody knows.
//!
//! It shows that the sender of a Retry saw the Initial packet that it answers, and that no bit was flipped on the way; it proves nothing
//! else. No state, no timers.

use ring::aead;

/// The tag over `pseudo_packet` with the key and nonce of a version.
pub fn seal(key: &[u8; 16], nonce: [u8; 12], pseudo_packet: &[u8]) -> [u8; 16] {
    let tag = aead_key(key)
        .seal_in_place_separate_tag(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(pseudo_packet),
            &mut [],
        )
        .expect("invariant: the pseudo-packet is far shorter than the AEAD's limit on associated data");
    let mut bytes = [0; 16];
    bytes.copy_from_slice(tag.as_ref());
    bytes
}

/// Whether `tag` is the tag over `pseudo_packet`; compares in constant time.
pub fn verify(key: &[u8; 16], nonce: [u8; 12], pseudo_packet: &[u8], tag: &[u8; 16]) -> bool {
    // The plaintext is empty, so that the ciphertext is nothing but the tag.
    let mut ciphertext = *tag;
    aead_key(key)
        .open_in_place(
            aead::Nonce::assume_unique_for_key(nonce),
            aead::Aad::from(pseudo_packet),
            &mut ciphertext,
        )
        .is_ok()
}

fn aead_key(key: &[u8; 16]) -> aead::LessSafeKey {
    let key =
        aead::UnboundKey::new(&aead::AES_128_GCM, key).expect("invariant: a key of AES-128-GCM has 16 bytes");
    aead::LessSafeKey::new(key)
}
