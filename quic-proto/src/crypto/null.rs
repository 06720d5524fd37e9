//! A handshake without any security, for tests and fuzzing: deterministic, readable in a dump, quick.
//!
//! **Never use it on a network.** Nothing is encrypted; a "tag" is a checksum that anybody can compute. It has the shape of TLS 1.3 in
//! QUIC all the same: the same levels in the same order, transport parameters, ALPN, a server identity that can be wrong, alerts,
//! exporters and key updates, so that everything above it behaves as it will with TLS.
//!
//! Messages: type (1 byte), length (2 bytes), body. `ClientHello` (1): ALPN list, server name, parameters. `ServerHello` (2): empty.
//! `EncryptedExtensions` (8): ALPN, identity, parameters. Finished (20): checksum of what came before. In bodies each field has its
//! length (2 bytes) in front; the ALPN list is one field of such fields.

mod keys;

use super::{Hello, NewKeys, PacketKeys, TlsClientConfig, TlsConfigError, TlsServerConfig, TlsSession};
use crate::error::{TransportError, TransportErrorCode};
use crate::id::Side;
pub use keys::NullLimits;
use keys::{Generation, fnv};
use std::collections::VecDeque;

/// Makes client sessions without security.
#[derive(Clone, Default, Debug)]
pub struct NullClient {
    /// Application protocols to offer; if empty, none is negotiated.
    pub alpn: Vec<Vec<u8>>,
    /// How many packets each key may seal, and how many may fail to open.
    pub limits: NullLimits,
}

/// Makes server sessions without security.
#[derive(Clone, Default, Debug)]
pub struct NullServer {
    /// Application protocols, the preferred one first; any if empty.
    pub alpn: Vec<Vec<u8>>,
    /// The name that the server claims to have; that which the client asked for if `None`.
    pub identity: Option<String>,
    /// How many packets each key may seal, and how many may fail to open.
    pub limits: NullLimits,
}

impl TlsClientConfig for NullClient {
    fn start(
        &self,
        version: u32,
        server_name: &str,
        params: Vec<u8>,
    ) -> Result<Box<dyn TlsSession>, TlsConfigError> {
        if server_name.is_empty() {
            return Err(TlsConfigError::InvalidServerName(String::new()));
        }
        let mut session = Session::new(Side::Client, version, self.alpn.clone(), params, self.limits);
        session.server_name = Some(server_name.to_owned());
        session.hello()?;
        Ok(Box::new(session))
    }

    fn follows(&self) -> bool {
        true
    }
}

impl TlsServerConfig for NullServer {
    fn start(&self, version: u32, params: Vec<u8>) -> Result<Box<dyn TlsSession>, TlsConfigError> {
        let mut session = Session::new(Side::Server, version, self.alpn.clone(), params, self.limits);
        session.identity.clone_from(&self.identity);
        Ok(Box::new(session))
    }

    fn peek_hello<'a>(&self, bytes: &'a [u8]) -> Hello<'a> {
        let [CLIENT_HELLO, high, low, rest @ ..] = bytes else {
            return if bytes.len() < 3 { Hello::Incomplete } else { Hello::Opaque };
        };
        let Some(mut body) = rest.get(..usize::from(u16::from_be_bytes([*high, *low]))) else {
            return Hello::Incomplete;
        };
        fields(&mut body).map_or(Hello::Opaque, |[_, _, params]| Hello::Complete(params))
    }
}

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const ENCRYPTED_EXTENSIONS: u8 = 8;
const FINISHED: u8 = 20;

/// The alerts that can come, RFC 8446 §6.
#[derive(Clone, Copy)]
enum Alert {
    UnexpectedMessage = 10,
    BadCertificate = 42,
    DecodeError = 50,
    DecryptError = 51,
    NoApplicationProtocol = 120,
}

impl From<Alert> for TransportError {
    fn from(alert: Alert) -> Self {
        let reason = match alert {
            Alert::UnexpectedMessage => "unexpected handshake message",
            Alert::BadCertificate => "the server is somebody else",
            Alert::DecodeError => "badly formatted handshake message",
            Alert::DecryptError => "the ends saw different handshakes",
            Alert::NoApplicationProtocol => "no common application protocol",
        };
        Self::new(TransportErrorCode::crypto(alert as u8), reason)
    }
}

/// What is to be given out by `write`, in this order.
enum Output {
    Message(Vec<u8>),
    HandshakeKeys,
    OneRttKeys,
}

struct Session {
    side: Side,
    /// Of QUIC: each has keys of its own.
    version: u32,
    /// Ours; after the handshake, only the chosen one.
    alpn: Vec<Vec<u8>>,
    params: Vec<u8>,
    limits: NullLimits,
    identity: Option<String>,
    server_name: Option<String>,
    chosen: Option<Vec<u8>>,
    peer_params: Option<Vec<u8>>,
    /// The type of message that must come next; `None` once the handshake is complete.
    expected: Option<u8>,
    /// Checksum of all messages so far, in the order of the handshake; keys are made from it.
    transcript: u64,
    /// Bytes of a message that is not complete; at most 64 KiB and what one `read` brings.
    partial: Vec<u8>,
    output: VecDeque<Output>,
    /// From the `ClientHello`; all keys of the session derive from it.
    secret: u64,
    generation: u64,
}

impl Session {
    fn new(side: Side, version: u32, alpn: Vec<Vec<u8>>, params: Vec<u8>, limits: NullLimits) -> Self {
        Self {
            side,
            version,
            alpn,
            params,
            limits,
            identity: None,
            server_name: None,
            chosen: None,
            peer_params: None,
            expected: Some(if side.is_client() { SERVER_HELLO } else { CLIENT_HELLO }),
            transcript: 0,
            partial: Vec::new(),
            output: VecDeque::new(),
            secret: 0,
            generation: 0,
        }
    }

    /// The client's first message.
    fn hello(&mut self) -> Result<(), TlsConfigError> {
        let mut list = Vec::new();
        let mut fits = self.alpn.iter().all(|name| put_field(&mut list, name));
        let mut body = Vec::new();
        let name = self.server_name.clone().unwrap_or_default();
        for field in [&list[..], name.as_bytes(), &self.params] {
            fits &= put_field(&mut body, field);
        }
        if !fits || !self.send(CLIENT_HELLO, &body) {
            return Err(TlsConfigError::Refused("a ClientHello has at most 64 KiB".into()));
        }
        self.secret = self.transcript;
        Ok(())
    }

    /// Queues a message; `false` if it is too long.
    fn send(&mut self, kind: u8, body: &[u8]) -> bool {
        let mut message = vec![kind];
        let fits = put_field(&mut message, body);
        self.transcript = fnv(self.transcript, &message);
        self.output.push_back(Output::Message(message));
        fits
    }

    /// One complete message of the peer.
    fn receive(&mut self, message: &[u8]) -> Result<(), TransportError> {
        let [kind, _, _, body @ ..] = message else { return Err(Alert::DecodeError.into()) };
        if self.expected != Some(*kind) {
            return Err(Alert::UnexpectedMessage.into());
        }
        if *kind == FINISHED && body != self.transcript.to_be_bytes() {
            return Err(Alert::DecryptError.into());
        }
        self.transcript = fnv(self.transcript, message);
        match *kind {
            CLIENT_HELLO => self.on_client_hello(body),
            SERVER_HELLO => {
                self.output.push_back(Output::HandshakeKeys);
                self.expected = Some(ENCRYPTED_EXTENSIONS);
                Ok(())
            }
            ENCRYPTED_EXTENSIONS => self.on_encrypted_extensions(body),
            _ => {
                if self.side.is_client() {
                    self.finish();
                    self.output.push_back(Output::OneRttKeys);
                }
                self.expected = None;
                Ok(())
            }
        }
    }

    fn on_client_hello(&mut self, mut body: &[u8]) -> Result<(), TransportError> {
        self.secret = self.transcript;
        let [mut list, name, params] = fields(&mut body)?;
        let mut offered = Vec::new();
        while !list.is_empty() {
            let [name] = fields_front(&mut list)?;
            offered.push(name);
        }
        let chosen = if self.alpn.is_empty() {
            offered.first().copied()
        } else {
            self.alpn.iter().map(Vec::as_slice).find(|name| offered.contains(name))
        };
        // RFC 9001 §8.1: "Unless another mechanism is used for agreeing on an application protocol, endpoints MUST use ALPN": two ends
        // that name none agree by other means, as it is with TLS.
        if chosen.is_none() && !(self.alpn.is_empty() && offered.is_empty()) {
            return Err(Alert::NoApplicationProtocol.into());
        }
        self.chosen = chosen.map(<[u8]>::to_vec);
        let name = std::str::from_utf8(name).map_err(|_| Alert::DecodeError)?.to_owned();
        self.peer_params = Some(params.to_vec());

        let mut body = Vec::new();
        let identity = self.identity.as_ref().unwrap_or(&name);
        let chosen = self.chosen.as_deref().unwrap_or_default();
        let fits =
            [chosen, identity.as_bytes(), &self.params].iter().all(|field| put_field(&mut body, field));
        self.server_name = Some(name);
        self.send(SERVER_HELLO, &[]);
        self.output.push_back(Output::HandshakeKeys);
        if !fits || !self.send(ENCRYPTED_EXTENSIONS, &body) {
            return Err(TransportError::new(
                TransportErrorCode::INTERNAL_ERROR,
                "handshake message too long",
            ));
        }
        self.finish();
        self.output.push_back(Output::OneRttKeys);
        self.expected = Some(FINISHED);
        Ok(())
    }

    fn on_encrypted_extensions(&mut self, mut body: &[u8]) -> Result<(), TransportError> {
        let [alpn, identity, params] = fields(&mut body)?;
        let none_wanted = self.alpn.is_empty() && alpn.is_empty();
        if !none_wanted && !self.alpn.iter().any(|name| name == alpn) {
            return Err(Alert::NoApplicationProtocol.into());
        }
        if self.server_name.as_deref().map(str::as_bytes) != Some(identity) {
            return Err(Alert::BadCertificate.into());
        }
        self.chosen = (!none_wanted).then(|| alpn.to_vec());
        self.peer_params = Some(params.to_vec());
        self.expected = Some(FINISHED);
        Ok(())
    }

    fn finish(&mut self) {
        let sum = self.transcript.to_be_bytes();
        self.send(FINISHED, &sum);
    }

    fn keys(&self, generation: Generation) -> super::Keys {
        let secret = fnv(self.secret, &self.version.to_be_bytes());
        keys::keys(secret, generation, self.side, self.limits)
    }
}

impl TlsSession for Session {
    fn read(&mut self, data: &[u8]) -> Result<(), TransportError> {
        self.partial.extend_from_slice(data);
        let partial = std::mem::take(&mut self.partial);
        let mut rest = &partial[..];
        while let [_, high, low, ..] = rest {
            let len = 3 + usize::from(u16::from_be_bytes([*high, *low]));
            let Some((message, tail)) = rest.split_at_checked(len) else { break };
            self.receive(message)?;
            rest = tail;
        }
        self.partial = rest.to_vec();
        Ok(())
    }

    fn write(&mut self, out: &mut Vec<u8>) -> Option<NewKeys> {
        while let Some(output) = self.output.pop_front() {
            match output {
                Output::Message(message) => out.extend_from_slice(&message),
                Output::HandshakeKeys => return Some(NewKeys::Handshake(self.keys(Generation::Handshake))),
                Output::OneRttKeys => return Some(NewKeys::OneRtt(self.keys(Generation::OneRtt(0)))),
            }
        }
        None
    }

    fn is_handshaking(&self) -> bool {
        self.expected.is_some()
    }

    fn peer_params(&self) -> Option<&[u8]> {
        self.peer_params.as_deref()
    }

    fn follow(&mut self, version: u32) {
        self.version = version;
    }

    fn next_packet_keys(&mut self) -> Option<PacketKeys> {
        if self.is_handshaking() {
            return None;
        }
        self.generation += 1;
        let keys = self.keys(Generation::OneRtt(self.generation));
        Some(PacketKeys { local: keys.local.packet, remote: keys.remote.packet })
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.chosen.as_deref()
    }

    fn server_name(&self) -> Option<&str> {
        if self.side.is_server() { self.server_name.as_deref() } else { None }
    }

    fn peer_certificates(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn cipher_suite(&self) -> Option<&'static str> {
        self.peer_params.as_ref().map(|_| "TLS_NULL")
    }

    fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        if self.is_handshaking() {
            return false;
        }
        let mut state = fnv(fnv(fnv(self.secret, label), &[0]), context);
        for chunk in out.chunks_mut(8) {
            state = fnv(state, b"export");
            chunk.copy_from_slice(&state.to_be_bytes()[..chunk.len()]);
        }
        true
    }
}

/// Appends a field and its length; `false` (and nothing of use) if it is longer than 64 KiB.
fn put_field(out: &mut Vec<u8>, field: &[u8]) -> bool {
    let Ok(len) = u16::try_from(field.len()) else { return false };
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(field);
    true
}

/// The fields of a whole body.
fn fields<'a, const N: usize>(body: &mut &'a [u8]) -> Result<[&'a [u8]; N], TransportError> {
    let fields = fields_front(body)?;
    if body.is_empty() { Ok(fields) } else { Err(Alert::DecodeError.into()) }
}

/// The first fields of a body.
fn fields_front<'a, const N: usize>(body: &mut &'a [u8]) -> Result<[&'a [u8]; N], TransportError> {
    let mut fields = [&[][..]; N];
    for field in &mut fields {
        let (len, rest) = body.split_first_chunk().ok_or(Alert::DecodeError)?;
        (*field, *body) =
            rest.split_at_checked(usize::from(u16::from_be_bytes(*len))).ok_or(Alert::DecodeError)?;
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::testing::{End, check_complete, shake};
    use proptest::prelude::*;

    fn client() -> NullClient {
        NullClient { alpn: vec![b"one".to_vec(), b"two".to_vec()], ..NullClient::default() }
    }

    fn server(alpn: &[u8], identity: Option<&str>) -> NullServer {
        NullServer { alpn: vec![alpn.to_vec()], identity: identity.map(Into::into), ..NullServer::default() }
    }

    fn ends(server: &NullServer) -> (End, End) {
        let client = client().start(1, "localhost", b"client params".to_vec()).unwrap();
        (End::new(client), End::new(server.start(1, b"server params".to_vec()).unwrap()))
    }

    #[test]
    fn handshake_in_pieces_of_any_size() {
        for piece in [1, 7, 1000] {
            let (mut client, mut server) = ends(&server(b"two", None));
            assert!(!client.session.export_keying_material(&mut [0; 8], b"x", b""));
            assert!(client.session.next_packet_keys().is_none());
            shake(&mut client, &mut server, piece).unwrap();
            check_complete(&mut client, &mut server);
        }
    }

    #[test]
    fn no_common_protocol_is_alert_120() {
        let (mut client, mut server) = ends(&server(b"three", None));
        let (side, error) = shake(&mut client, &mut server, 100).unwrap_err();
        assert_eq!((side, error.code), (Side::Server, TransportErrorCode::crypto(120)));
    }

    #[test]
    fn ends_that_name_no_protocol_agree_on_none() {
        let client = NullClient::default().start(1, "localhost", Vec::new()).unwrap();
        let server = NullServer::default().start(1, Vec::new()).unwrap();
        let (mut client, mut server) = (End::new(client), End::new(server));
        shake(&mut client, &mut server, 100).unwrap();
        assert!(!client.session.is_handshaking() && !server.session.is_handshaking());
        assert_eq!((client.session.alpn(), server.session.alpn()), (None, None));
        // One that wants a protocol does not do without.
        let client = NullClient::default().start(1, "localhost", Vec::new()).unwrap();
        let server = self::server(b"two", None).start(1, Vec::new()).unwrap();
        let (side, error) = shake(&mut End::new(client), &mut End::new(server), 100).unwrap_err();
        assert_eq!((side, error.code), (Side::Server, TransportErrorCode::crypto(120)));
    }

    #[test]
    fn another_server_is_alert_42() {
        let (mut client, mut server) = ends(&server(b"two", Some("elsewhere")));
        let (side, error) = shake(&mut client, &mut server, 100).unwrap_err();
        assert_eq!((side, error.code), (Side::Client, TransportErrorCode::crypto(42)));
        assert!(client.one_rtt.is_none());
    }

    #[test]
    fn a_changed_hello_is_noticed() {
        let mut client = client().start(1, "localhost", b"client params".to_vec()).unwrap();
        let mut server = server(b"two", None).start(1, Vec::new()).unwrap();
        let mut hello = Vec::new();
        assert!(client.write(&mut hello).is_none());
        *hello.last_mut().unwrap() ^= 1;
        server.read(&hello).unwrap();
        let mut flight = Vec::new();
        while server.write(&mut flight).is_some() {}
        assert_eq!(client.read(&flight).unwrap_err().code, TransportErrorCode::crypto(51));
    }

    proptest! {
        #[test]
        fn junk_never_panics(data in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..30, client_side: bool) {
            let mut session = if client_side {
                client().start(1, "localhost", Vec::new()).unwrap()
            } else {
                server(b"two", None).start(1, Vec::new()).unwrap()
            };
            let mut message = vec![kind];
            put_field(&mut message, &data);
            let _ = session.read(&message);
            let _ = session.read(&data);
        }
    }
}
