//! What the tests of every TLS implementation have in common.

use super::{Keys, NewKeys, PacketKey, TlsSession};
use crate::crypto::header_protection::{protect, unprotect};
use crate::error::TransportError;
use crate::id::Side;

/// One end of a handshake and the keys it got so far.
pub(super) struct End {
    pub(super) session: Box<dyn TlsSession>,
    pub(super) handshake: Option<Keys>,
    pub(super) one_rtt: Option<Keys>,
    /// The peer's parameters, seen before the end of the handshake.
    params: Option<Vec<u8>>,
}

impl End {
    pub(super) fn new(session: Box<dyn TlsSession>) -> Self {
        Self { session, handshake: None, one_rtt: None, params: None }
    }

    /// Everything that can be written now, as one flight for each level.
    fn flights(&mut self) -> Vec<Vec<u8>> {
        let mut flights = Vec::new();
        if let Some(params) = self.session.peer_params() {
            self.params = Some(params.to_vec());
        }
        loop {
            let mut out = Vec::new();
            let keys = self.session.write(&mut out);
            let done = out.is_empty() && keys.is_none();
            flights.push(out);
            match keys {
                Some(NewKeys::Handshake(keys)) => assert!(self.handshake.replace(keys).is_none()),
                Some(NewKeys::OneRtt(keys)) => {
                    assert!(self.handshake.is_some(), "in order");
                    assert!(self.one_rtt.replace(keys).is_none());
                }
                None if done => return flights,
                None => {}
            }
        }
    }
}

/// Passes handshake bytes, in pieces of at most `piece` bytes, until neither end has any; on failure, says who failed.
pub(super) fn shake(client: &mut End, server: &mut End, piece: usize) -> Result<(), (Side, TransportError)> {
    for _ in 0..10 {
        let mut moved = false;
        for side in [Side::Client, Side::Server] {
            let (from, to) =
                if side.is_client() { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
            for flight in from.flights() {
                moved |= !flight.is_empty();
                for data in flight.chunks(piece) {
                    to.session.read(data).map_err(|error| (!side, error))?;
                }
            }
        }
        if !moved {
            return Ok(());
        }
    }
    panic!("the handshake goes on for ever");
}

/// A packet that one end seals is opened by the other, and not if it was changed.
pub(super) fn packets_pass(from: &Keys, to: &Keys) {
    let mut packet = [&b"\x41cid"[..], &[0x12, 0x34], b"some frames", &[0; 16]].concat();
    let before = packet.clone();
    from.local.packet.seal(0x1234, &mut packet, 6);
    protect(&from.local.header, &mut packet, 4, 2);
    let mut copy = packet.clone();
    let opened = unprotect(&to.remote.header, &mut packet, 4).unwrap();
    assert_eq!((opened.first, opened.number_len, opened.truncated), (0x41, 2, 0x1234));
    let (header, payload) = packet.split_at_mut(6);
    assert_eq!(header, &before[..6]);
    assert_eq!(to.remote.packet.open(0x1234, header, payload), Ok(11));
    assert_eq!(&payload[..11], b"some frames");
    copy[20] ^= 1;
    assert!(to.remote.packet.open(0x1234, header, &mut copy[6..]).is_err());
}

/// The same for packet keys alone.
pub(super) fn opens(from: &dyn PacketKey, to: &dyn PacketKey) -> bool {
    let mut packet = [&b"head"[..], b"payload", &[0; 16]].concat();
    from.seal(7, &mut packet, 4);
    let (header, payload) = packet.split_at_mut(4);
    to.open(7, header, payload) == Ok(7)
}

/// All that must hold after a handshake with parameters `b"client params"` and `b"server params"` and the protocol `b"two"`.
pub(super) fn check_complete(client: &mut End, server: &mut End) {
    for (end, params) in [(&*client, &b"server params"[..]), (&*server, b"client params")] {
        assert!(!end.session.is_handshaking());
        assert_eq!(end.params.as_deref(), Some(params));
        assert_eq!(end.session.alpn(), Some(&b"two"[..]));
    }
    assert_eq!(server.session.server_name(), Some("localhost"));
    assert_eq!(client.session.cipher_suite(), server.session.cipher_suite());
    let (client_keys, server_keys) = (client.one_rtt.as_ref().unwrap(), server.one_rtt.as_ref().unwrap());
    let levels = [
        (client_keys, server_keys),
        (client.handshake.as_ref().unwrap(), server.handshake.as_ref().unwrap()),
    ];
    for (client, server) in levels {
        packets_pass(client, server);
        packets_pass(server, client);
    }
    // Another level's keys, or the other direction's, open nothing.
    assert!(!opens(&client_keys.local.packet, &levels[1].1.remote.packet));
    assert!(!opens(&client_keys.local.packet, &client_keys.remote.packet));

    let export = |end: &End, label: &[u8], context: &[u8]| {
        let mut out = [0; 32];
        assert!(end.session.export_keying_material(&mut out, label, context));
        out
    };
    assert_eq!(export(client, b"EXPERIMENTAL x", b"c"), export(server, b"EXPERIMENTAL x", b"c"));
    assert_ne!(export(client, b"EXPERIMENTAL x", b"c"), export(client, b"EXPERIMENTAL y", b"c"));
    assert_ne!(export(client, b"EXPERIMENTAL x", b"c"), export(client, b"EXPERIMENTAL x", b"d"));

    let (client_next, server_next) =
        (client.session.next_packet_keys().unwrap(), server.session.next_packet_keys().unwrap());
    let later = client.session.next_packet_keys().unwrap();
    assert!(opens(&client_next.local, &server_next.remote));
    assert!(opens(&server_next.local, &client_next.remote));
    assert!(!opens(&later.local, &server_next.remote));
    assert!(!opens(&client_next.local, &server.one_rtt.as_ref().unwrap().remote.packet));
}
