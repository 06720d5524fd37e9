//! Exporters (RFC 8446 §7.5) without the session that agreed on them.
//!
//! rustls computes exporters in its sessions only, and a session holds four kilobytes: buffers of the handshake, and record keys that QUIC
//! never uses. The exporter's secret itself is a hash long. rustls tells it to nobody but the configuration's key log, which sees it while
//! the session derives it; so a server's configuration gets a [`Tap`] for a key log, and [`listen`] catches what comes by.
//!
//! Invariant: a secret that was heard leaves with the call of [`listen`] during which it came; no other session on any thread sees it.

use ::rustls::crypto::tls13::{HkdfExpander, OkmBlock};
use ::rustls::{KeyLog, Tls13CipherSuite};
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

/// The name of the exporter's secret in key logs.
const LABEL: &str = "EXPORTER_SECRET";

thread_local! {
    /// A result that rustls' calls have no room for: empty but within [`listen`].
    static HEARD: Cell<Option<OkmBlock>> = const { Cell::new(None) };
}

/// Runs a session of a configuration with a [`Tap`]. Returns the exporter's secret too if it was derived meanwhile.
pub(super) fn listen<T>(run: impl FnOnce() -> T) -> (T, Option<OkmBlock>) {
    HEARD.set(None);
    let result = run();
    (result, HEARD.take())
}

/// A key log that lets [`listen`] hear the exporter's secret, and another one all that it asks for.
pub(super) struct Tap(pub(super) Arc<dyn KeyLog>);

impl KeyLog for Tap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        if label == LABEL && secret.len() <= OkmBlock::MAX_LEN {
            HEARD.set(Some(OkmBlock::new(secret)));
        }
        if self.0.will_log(label) {
            self.0.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        label == LABEL || self.0.will_log(label)
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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
