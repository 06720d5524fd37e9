//! Retry and Version Negotiation packets count only as long as nothing else was heard from the server (RFC 9000 §6.2, §17.2.5.2).

mod common;

use common::ONE;
use common::raw::Raw;
use quic_proto::codec::Writer;
use quic_proto::config::TransportConfig;
use quic_proto::error::ConnectionError;
use quic_proto::id::{Cid, Side};
use quic_proto::ietf::wire::{header, retry};
use quic_proto::invariants::{Version, encode_version_negotiation, spec};

const OTHER: u32 = 0x0bad_0bad;

/// A server that has said nothing, and the ids of the client's first packet: the one that it made up, and its own.
fn asked() -> (Raw, Cid, Cid) {
    let mut raw = Raw::new(Side::Server, TransportConfig::default());
    let (_, dcid, scid) = initial(&mut raw);
    (raw, dcid, scid)
}

/// The token and the ids of the next packet that the client sends.
fn initial(raw: &mut Raw) -> (Vec<u8>, Cid, Cid) {
    let mut buf = vec![0; 1500];
    let transmit = raw.real.poll_transmit(raw.now, &mut buf, ONE).unwrap();
    let long = header::parse_long(&buf[..transmit.len], spec(Version::V1).unwrap()).unwrap();
    (long.token.to_vec(), long.dcid, long.scid)
}

fn retry_packet(original: &Cid, to: &Cid, from: &[u8], token: &[u8]) -> Vec<u8> {
    let mut buf = [0; 200];
    let mut w = Writer::new(&mut buf);
    let ids = (to, &Cid::new(from).unwrap());
    assert!(retry::encode(&mut w, spec(Version::V1).unwrap(), 0, original, ids, token));
    w.written().to_vec()
}

fn version_negotiation(to: &Cid, from: &Cid, versions: &[u32]) -> Vec<u8> {
    let mut buf = [0; 200];
    let len = encode_version_negotiation(&mut buf, 0, to, from, versions).unwrap();
    buf[..len].to_vec()
}

#[test]
fn one_retry_is_followed() {
    // §17.2.5.2: "A client MUST accept and process at most one Retry packet for each connection attempt."
    let (mut raw, original, own) = asked();
    // §17.2.5.2: "A client MUST discard a Retry packet with a zero-length Retry Token field."
    raw.deliver(&mut retry_packet(&original, &own, b"nothing", b""));
    // §17.2.5.1: "A client MUST discard a Retry packet that contains a Source Connection ID field that is identical to the Destination
    // Connection ID field of its Initial packet."
    raw.deliver(&mut retry_packet(&original, &own, &original, b"same"));
    assert!(raw.real.poll_transmit(raw.now, &mut [0; 1500], ONE).is_none());
    raw.deliver(&mut retry_packet(&original, &own, b"elsewhere", b"first"));
    let elsewhere = Cid::new(b"elsewhere").unwrap();
    assert_eq!(initial(&mut raw), (b"first".to_vec(), elsewhere, own));
    for last in [&original, &elsewhere] {
        raw.deliver(&mut retry_packet(last, &own, b"and again", b"second"));
    }
    assert!(raw.real.poll_transmit(raw.now, &mut [0; 1500], ONE).is_none());
    raw.now = raw.real.next_timeout().unwrap();
    raw.real.handle_timeout(raw.now);
    assert_eq!(initial(&mut raw), (b"first".to_vec(), elsewhere, own));
}

#[test]
fn neither_is_followed_once_the_server_was_heard() {
    type Make = fn(&Raw) -> Vec<u8>;
    let cases: [Make; 2] = [
        // §17.2.5.2: "After the client has received and processed an Initial or Retry packet from the server, it MUST discard any subsequent
        // Retry packets that it receives."
        |raw| retry_packet(&raw.original, &raw.dcid, b"elsewhere", b"late"),
        // §6.2: "A client MUST discard any Version Negotiation packet if it has received and successfully processed any other packet".
        |raw| version_negotiation(&raw.dcid, &raw.scid, &[OTHER]),
    ];
    for (case, packet) in cases.into_iter().enumerate() {
        let mut raw = Raw::new(Side::Server, TransportConfig::default());
        raw.hello(|_| {});
        raw.deliver(&mut packet(&raw));
        assert_eq!(raw.closed(), None, "{case}");
        raw.connection().ping();
        raw.exchange();
        assert!(raw.connection().is_established());
        assert!(!raw.sent_to.is_empty() && raw.sent_to.iter().all(|(_, to)| *to == raw.scid), "{case}");
    }
}

#[test]
fn versions_that_end_an_attempt() {
    let mismatch = || Some(ConnectionError::VersionMismatch { offered: vec![OTHER] });
    let stranger = Cid::new(b"stranger").unwrap();
    let (_, original, own) = asked();
    let cases = [
        (original, vec![OTHER], mismatch()),
        // §15: those "that follow the pattern 0x?a?a?a?a are reserved", and no version at all.
        (original, vec![0x1a2a_3a4a, OTHER], mismatch()),
        // §6.2: "A client MUST discard a Version Negotiation packet that lists the QUIC version selected by the client."
        (original, vec![OTHER, 1], None),
        // §17.2.1: the source id is that which the client sent to.
        (stranger, vec![OTHER], None),
    ];
    for (from, versions, expected) in cases {
        let (mut raw, again, _) = asked();
        assert_eq!(again, original, "the same seed");
        raw.deliver(&mut version_negotiation(&own, &from, &versions));
        assert_eq!(raw.closed().cloned(), expected, "{versions:?}");
    }
}
