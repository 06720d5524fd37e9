//! Exporters (RFC 8446 §7.5) without the session that agreed on them.
//!
//! rustls computes exporters in its sessions only, and a session holds four kilobytes: buffers of the handshake, and record keys that QUIC
//! never uses. The exporter's secret itself is a hash long; the [`tap`](super::tap) hears it. Timers: none.

use ::rustls::Tls13CipherSuite;
use ::rustls::crypto::tls13::{HkdfExpander, OkmBlock};

/// Computes exporters.
pub(super) struct Exporter {
    secret: OkmBlock,
    suite: &'static Tls13CipherSuite,
}

impl Exporter {
    pub(super) fn new(secret: OkmBlock, suite: &'static Tls13CipherSuite) -> Self {
        Self { secret, suite }
    }

    /// Fills `out` as RFC 8446 §7.5 has it: `HKDF-Expand-Label(Derive-Secret(Secret, label, ""), "exporter", Hash(context_value),
    /// key_length)`. `false` if that is no key: too long, of no bytes, or for a label that is too long.
    pub(super) fn export(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        let hash = |data| self.suite.common.hash_provider.hash(data);
        let expander = self.suite.hkdf_provider.expander_for_okm(&self.secret);
        let mut secret = [0; OkmBlock::MAX_LEN];
        let secret = &mut secret[..expander.hash_len()];
        if out.is_empty() || !expand_label(&*expander, label, hash(&[]).as_ref(), secret) {
            return false;
        }
        let expander = self.suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
        expand_label(&*expander, b"exporter", hash(context).as_ref(), out)
    }
}

/// HKDF-Expand-Label (RFC 8446 §7.1); `false` if a length is out of its range.
fn expand_label(expander: &dyn HkdfExpander, label: &[u8], context: &[u8], out: &mut [u8]) -> bool {
    const PREFIX: &[u8] = b"tls13 ";
    let (Ok(len), Ok(label_len), Ok(context_len)) =
        (u16::try_from(out.len()), u8::try_from(PREFIX.len() + label.len()), u8::try_from(context.len()))
    else {
        return false;
    };
    let info = [&len.to_be_bytes()[..], &[label_len], PREFIX, label, &[context_len], context];
    expander.expand_slice(&info, out).is_ok()
}
