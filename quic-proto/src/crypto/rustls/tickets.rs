//! Session tickets belong to a version of QUIC.
//!
//! RFC 9369 §5: "TLS session tickets and NEW_TOKEN tokens are specific to the QUIC version of the connection that provided them." rustls knows
//! nothing of that. So each version has a configuration of its own, whose tickets and stored sessions bear the version's number: those of
//! another one are not found.
//!
//! Invariant: what one version's configuration gave out no other accepts. Timers: none.

use ::rustls::ServerConfig;
use ::rustls::server::{ProducesTickets, StoresServerSessions};
use std::sync::Arc;

/// A copy of `config` whose tickets are good for this version only.
///
/// RFC 9369 §5: "Servers MUST validate the originating version of any session ticket or token and not accept one issued from a different
/// version. A rejected ticket results in falling back to a full TLS handshake, without 0-RTT."
pub(super) fn of_version(config: &ServerConfig, version: u32) -> Arc<ServerConfig> {
    let mut config = config.clone();
    let number = version.to_be_bytes();
    config.ticketer = Arc::new(Tickets { inner: config.ticketer, number });
    config.session_storage = Arc::new(Sessions { inner: config.session_storage, number });
    Arc::new(config)
}

/// Tickets with the number of their version inside.
#[derive(Debug)]
struct Tickets {
    inner: Arc<dyn ProducesTickets>,
    number: [u8; 4],
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        self.inner.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.inner.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.inner.encrypt(&[&self.number, plain].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.inner.decrypt(cipher)?.strip_prefix(&self.number).map(<[u8]>::to_vec)
    }
}

/// Sessions that are stored under the number of their version.
#[derive(Debug)]
struct Sessions {
    inner: Arc<dyn StoresServerSessions>,
    number: [u8; 4],
}

impl Sessions {
    fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.number, key].concat()
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.inner.put(self.key(&key), value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.get(&self.key(key))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.inner.take(&self.key(key))
    }

    fn can_cache(&self) -> bool {
        self.inner.can_cache()
    }
}
