//! Sessions of rustls behind our trait.
//!
//! A client's session lives as long as its connection: tickets may come at any time (RFC 8446 §4.6.1). A server's has nothing to do any
//! more once it said everything; what may be asked of it later is kept, and the rest, four kilobytes, is dropped.

use super::exporter::Exporter;
use super::follower::Follower;
use super::keys;
use super::tap::listen;
use crate::crypto::{NewKeys, PacketKeys, TlsSession};
use crate::error::{TransportError, TransportErrorCode};
use ::rustls::pki_types::CertificateDer;
use ::rustls::quic::{ClientConnection, Connection, KeyChange, Secrets, ServerConnection};
use ::rustls::{AlertDescription, CipherSuite, CommonState, Error, PeerMisbehaved};
use smallvec::SmallVec;

/// A client's side of a handshake.
pub(super) struct ClientSession {
    connection: Connection,
    /// What the next generation of application keys comes from; here once there is a first.
    next: Option<Secrets>,
    /// In place of rustls' keys, where they are for another version than the session began with.
    follower: Option<Box<Follower>>,
}

impl ClientSession {
    pub(super) fn new(connection: ClientConnection) -> Self {
        Self { connection: connection.into(), next: None, follower: None }
    }
}

impl TlsSession for ClientSession {
    fn read(&mut self, data: &[u8]) -> Result<(), TransportError> {
        let connection = &mut self.connection;
        let read = match &mut self.follower {
            None => connection.read_hs(data),
            Some(follower) if !connection.is_handshaking() => return follower.skip(data),
            Some(follower) => {
                let (read, heard) = listen(|| connection.read_hs(data));
                follower.hear(heard);
                read
            }
        };
        read.map_err(|error| refusal(&error, connection.alert()))
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        let change = self.connection.write_hs(out)?;
        let suite = self.connection.negotiated_cipher_suite();
        match (&mut self.follower, suite) {
            (Some(follower), Some(suite)) => Some(follower.new_keys(&change, suite.suite())),
            _ => Some(new_keys(change, &mut self.next)),
        }
    }

    fn follow(&mut self, version: u32) {
        self.follower = Follower::new(version).map(Box::new);
    }

    fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn peer_params(&self) -> Option<&[u8]> {
        // rustls keeps a server's parameters with its session ticket, and shows them to a client that resumes the session until the
        // server's own have come.
        if self.is_handshaking() { None } else { self.connection.quic_transport_parameters() }
    }

    fn next_packet_keys(&mut self) -> Option<PacketKeys> {
        if self.is_handshaking() {
            return None;
        }
        match &mut self.follower {
            Some(follower) => follower.next_packet_keys(),
            None => self.next.as_mut().map(|secrets| keys::wrap_packet_keys(secrets.next_packet_keys())),
        }
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.connection.alpn_protocol()
    }

    fn server_name(&self) -> Option<&str> {
        None
    }

    fn peer_certificates(&self) -> Vec<Vec<u8>> {
        encoded(self.connection.peer_certificates().unwrap_or_default())
    }

    fn cipher_suite(&self) -> Option<&'static str> {
        suite_name(&self.connection)
    }

    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        self.connection.export_keying_material(out, label, Some(context)).is_ok()
    }
}

/// A server's side of a handshake, and what is left of it.
pub(super) struct ServerSession {
    state: State,
    /// As in [`ClientSession`].
    next: Option<Secrets>,
}

enum State {
    Live {
        connection: Box<ServerConnection>,
        /// Heard, once it was derived.
        exporter: Option<Exporter>,
    },
    Over(Agreed),
}

/// What a handshake agreed on.
struct Agreed {
    alpn: Option<SmallVec<[u8; 16]>>,
    server_name: Option<Box<str>>,
    certificates: Vec<CertificateDer<'static>>,
    cipher_suite: Option<&'static str>,
    exporter: Exporter,
}

impl ServerSession {
    pub(super) fn new(connection: ServerConnection) -> Self {
        Self { state: State::Live { connection: Box::new(connection), exporter: None }, next: None }
    }

    /// Nothing is left to be said: lets go of rustls' session if all is there that may be asked for.
    fn settle(&mut self) {
        let State::Live { connection, exporter } = &mut self.state else { return };
        if connection.is_handshaking() {
            return;
        }
        let Some(exporter) = exporter.take() else { return };
        self.state = State::Over(Agreed {
            alpn: connection.alpn_protocol().map(SmallVec::from_slice),
            server_name: connection.server_name().map(Box::from),
            certificates: connection.peer_certificates().unwrap_or_default().to_vec(),
            cipher_suite: suite_name(connection),
            exporter,
        });
    }
}

impl TlsSession for ServerSession {
    fn read(&mut self, data: &[u8]) -> Result<(), TransportError> {
        let State::Live { connection, exporter } = &mut self.state else {
            // RFC 8446 §4.6: of the messages after a handshake clients send KeyUpdate only, and certificates when asked for them. RFC 9001
            // §6, §4.4: "Endpoints MUST treat the receipt of a TLS KeyUpdate message as a connection error of type 0x010a", and servers
            // do not ask.
            let reason = "a client sent a TLS message after its handshake";
            return Err(TransportError::new(TransportErrorCode::crypto(UNEXPECTED_MESSAGE), reason));
        };
        let (read, heard) = listen(|| connection.read_hs(data));
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.tls13());
        if let Some((secret, suite)) = heard.exporter.zip(suite) {
            *exporter = Some(Exporter::new(secret, suite));
        }
        read.map_err(|error| refusal(&error, connection.alert()))
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        let State::Live { connection, .. } = &mut self.state else { return None };
        let before = out.len();
        let change = connection.write_hs(out);
        if change.is_none() && out.len() == before {
            self.settle();
        }
        change.map(|change| new_keys(change, &mut self.next))
    }

    fn is_handshaking(&self) -> bool {
        match &self.state {
            State::Live { connection, .. } => connection.is_handshaking(),
            State::Over(_) => false,
        }
    }

    fn peer_params(&self) -> Option<&[u8]> {
        match &self.state {
            State::Live { connection, .. } => connection.quic_transport_parameters(),
            State::Over(_) => None,
        }
    }

    fn next_packet_keys(&mut self) -> Option<PacketKeys> {
        if self.is_handshaking() {
            return None;
        }
        self.next.as_mut().map(|secrets| keys::wrap_packet_keys(secrets.next_packet_keys()))
    }

    fn alpn(&self) -> Option<&[u8]> {
        match &self.state {
            State::Live { connection, .. } => connection.alpn_protocol(),
            State::Over(agreed) => agreed.alpn.as_deref(),
        }
    }

    fn server_name(&self) -> Option<&str> {
        match &self.state {
            State::Live { connection, .. } => connection.server_name(),
            State::Over(agreed) => agreed.server_name.as_deref(),
        }
    }

    fn peer_certificates(&self) -> Vec<Vec<u8>> {
        match &self.state {
            State::Live { connection, .. } => encoded(connection.peer_certificates().unwrap_or_default()),
            State::Over(agreed) => encoded(&agreed.certificates),
        }
    }

    fn cipher_suite(&self) -> Option<&'static str> {
        match &self.state {
            State::Live { connection, .. } => suite_name(connection),
            State::Over(agreed) => agreed.cipher_suite,
        }
    }

    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        match &self.state {
            // The secret is there before the client has shown who it is.
            State::Live { connection, exporter } => {
                let exporter = exporter.as_ref().filter(|_| !connection.is_handshaking());
                exporter.is_some_and(|exporter| exporter.export(out, label, context))
            }
            State::Over(agreed) => agreed.exporter.export(out, label, context),
        }
    }
}

const HANDSHAKE_FAILURE: u8 = 40;
pub(super) const UNEXPECTED_MESSAGE: u8 = 10;

fn refusal(error: &Error, alert: Option<AlertDescription>) -> TransportError {
    // RFC 9001 §4.1.3: "if there is data from a previous encryption level that TLS has not consumed, this MUST be treated as a connection
    // error of type PROTOCOL_VIOLATION."
    if *error == Error::PeerMisbehaved(PeerMisbehaved::KeyEpochWithPendingFragment) {
        return TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, error.to_string());
    }
    // RFC 9001 §4.8: QUIC carries the alert as an error code. If rustls names none, the general one will do.
    let alert = alert.map_or(HANDSHAKE_FAILURE, u8::from);
    TransportError::new(TransportErrorCode::crypto(alert), error.to_string())
}

fn new_keys(change: KeyChange, secrets: &mut Option<Secrets>) -> NewKeys {
    match change {
        KeyChange::Handshake { keys } => NewKeys::Handshake(keys::wrap(keys)),
        KeyChange::OneRtt { keys, next } => {
            *secrets = Some(next);
            NewKeys::OneRtt(keys::wrap(keys))
        }
    }
}

fn encoded(chain: &[CertificateDer<'_>]) -> Vec<Vec<u8>> {
    chain.iter().map(|certificate| certificate.to_vec()).collect()
}

fn suite_name(session: &CommonState) -> Option<&'static str> {
    // rustls has names of its own for these.
    match session.negotiated_cipher_suite()?.suite() {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => Some("TLS_AES_128_GCM_SHA256"),
        CipherSuite::TLS13_AES_256_GCM_SHA384 => Some("TLS_AES_256_GCM_SHA384"),
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => Some("TLS_CHACHA20_POLY1305_SHA256"),
        other => other.as_str(),
    }
}
