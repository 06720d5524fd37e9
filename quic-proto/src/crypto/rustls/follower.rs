//! A client's keys in another version of QUIC than its session began with (RFC 9369 §4.1).
//!
//! The client's hello is the same in both versions, and so are all secrets; only the labels differ by which keys come from them. rustls fixes the
//! labels when a session starts. So the keys are made here, from the secrets that the [`tap`](super::tap) hears.
//!
//! RFC 9369 §5: "After compatible version negotiation, any resulting session ticket maps to the negotiated version rather than the original
//! one." rustls would keep it with those of the version that the session began with. So none is kept: what comes after the handshake does
//! not reach rustls.
//!
//! Invariant: exists before the session has read anything. Timers: none.

use super::session::UNEXPECTED_MESSAGE;
use super::tap::{Heard, Traffic};
use crate::crypto::ring::{Aead, RingKeys};
use crate::crypto::{BoxedHeaderKey, BoxedPacketKey, DirectionalKeys, Keys, NewKeys, PacketKeys};
use crate::error::{TransportError, TransportErrorCode};
use crate::invariants::{Labels, Version, spec};
use ::ring::hkdf::Prk;
use ::rustls::CipherSuite;
use ::rustls::crypto::tls13::OkmBlock;
use ::rustls::quic::KeyChange;

/// RFC 8446 §4: the type of a `NewSessionTicket` message.
const NEW_SESSION_TICKET: u8 = 4;

/// The keys of such a session.
pub(super) struct Follower {
    labels: &'static Labels,
    /// Secrets whose keys were not asked for.
    heard: Heard,
    /// The secrets of the next generation of packet keys.
    next: Option<Secrets>,
    /// How many bytes of a message after the handshake are still to come; and its header, as far as that has come.
    rest: usize,
    header: [u8; 4],
    header_len: usize,
}

/// Secrets of both directions.
struct Secrets {
    aead: Aead,
    client: OkmBlock,
    server: OkmBlock,
}

/// Whether there are keys for a cipher suite.
pub(super) fn knows(suite: CipherSuite) -> bool {
    aead(suite).is_some()
}

fn aead(suite: CipherSuite) -> Option<Aead> {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some(Aead::Aes128Gcm),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some(Aead::Aes256Gcm),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some(Aead::ChaCha20Poly1305),
        _ => None,
    }
}

impl Follower {
    /// Of a session that goes on in this version; `None` if there is no such version.
    pub(super) fn new(version: u32) -> Option<Self> {
        let labels = &spec(Version(version))?.labels;
        let (heard, next) = (Heard::default(), None);
        Some(Self { labels, heard, next, rest: 0, header: [0; 4], header_len: 0 })
    }

    /// Takes what was heard while the session read.
    pub(super) fn hear(&mut self, heard: Heard) {
        let Heard { handshake, application, .. } = heard;
        for (place, traffic) in
            [(&mut self.heard.handshake, handshake), (&mut self.heard.application, application)]
        {
            if traffic.client.is_some() {
                *place = traffic;
            }
        }
    }

    /// The keys that belong in the place of rustls'.
    pub(super) fn new_keys(&mut self, change: &KeyChange, suite: CipherSuite) -> NewKeys {
        let aead = aead(suite).expect("invariant: no other suite is offered by a session that may follow");
        match change {
            KeyChange::Handshake { .. } => {
                NewKeys::Handshake(Secrets::new(aead, &mut self.heard.handshake).keys(self.labels))
            }
            KeyChange::OneRtt { .. } => {
                let secrets = Secrets::new(aead, &mut self.heard.application);
                let keys = secrets.keys(self.labels);
                self.next = Some(secrets.updated(self.labels));
                NewKeys::OneRtt(keys)
            }
        }
    }

    /// The next generation of packet keys.
    pub(super) fn next_packet_keys(&mut self) -> Option<PacketKeys> {
        let secrets = self.next.as_mut()?;
        let key = |secret: &OkmBlock| {
            BoxedPacketKey::new(secrets.aead.packet_key(&prk(secrets.aead, secret), self.labels))
        };
        let keys = PacketKeys { local: key(&secrets.client), remote: key(&secrets.server) };
        *secrets = secrets.updated(self.labels);
        Some(keys)
    }

    /// Takes what comes after the handshake: tickets, of which nothing is kept.
    pub(super) fn skip(&mut self, mut data: &[u8]) -> Result<(), TransportError> {
        while let Some((first, tail)) = data.split_first() {
            if self.rest > 0 {
                let skipped = self.rest.min(data.len());
                self.rest -= skipped;
                data = &data[skipped..];
                continue;
            }
            // RFC 9001 §6: "Endpoints MUST treat the receipt of a TLS KeyUpdate message as a connection error of type 0x010a"; there are no
            // other messages after a handshake but those that a client has asked for (RFC 8446 §4.6).
            if self.header_len == 0 && *first != NEW_SESSION_TICKET {
                let code = TransportErrorCode::crypto(UNEXPECTED_MESSAGE);
                return Err(TransportError::new(code, "a server sent a TLS message that is no ticket"));
            }
            self.header[self.header_len] = *first;
            self.header_len += 1;
            data = tail;
            if self.header_len == self.header.len() {
                let [_, length @ ..] = self.header;
                self.rest = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                self.header_len = 0;
            }
        }
        Ok(())
    }
}

impl Secrets {
    fn new(aead: Aead, heard: &mut Traffic) -> Self {
        let Traffic { client, server } = std::mem::take(heard);
        let (client, server) = client
            .zip(server)
            .expect("invariant: rustls tells its key log each secret before it gives out the keys");
        Self { aead, client, server }
    }

    /// A client's keys.
    fn keys(&self, labels: &Labels) -> Keys {
        let direction = |secret| {
            let RingKeys { header, packet } = self.aead.directional_keys(&prk(self.aead, secret), labels);
            DirectionalKeys { header: BoxedHeaderKey::new(header), packet: BoxedPacketKey::new(packet) }
        };
        Keys { local: direction(&self.client), remote: direction(&self.server) }
    }

    /// The secrets after a key update (RFC 9001 §6.1).
    fn updated(&self, labels: &Labels) -> Self {
        let update = |secret| {
            let mut next = [0; OkmBlock::MAX_LEN];
            let next = &mut next[..self.aead.secret_len()];
            Aead::update_secret(&prk(self.aead, secret), labels, next);
            OkmBlock::new(next)
        };
        Self { aead: self.aead, client: update(&self.client), server: update(&self.server) }
    }
}

fn prk(aead: Aead, secret: &OkmBlock) -> Prk {
    Prk::new_less_safe(aead.hash(), secret.as_ref())
}
