//! Which stateless resets end a connection: the token counts with the address to which packets were sent under its id (RFC 9000 §10.3.1).

mod common;

use common::address;
use common::raw::Raw;
use quic_proto::config::TransportConfig;
use quic_proto::error::ConnectionError;
use quic_proto::id::{Cid, Level, ResetToken, Side};
use quic_proto::ietf::wire::encode;
use quic_proto::net::FourTuple;
use quic_proto::time::Duration;

const OLD: u16 = 7;
const NEW: u16 = 50;

/// Offers the server an id with this number, and with a token and an id of this byte.
fn offer(raw: &mut Raw, sequence: u8, retire_prior_to: u64) {
    let (cid, token) = (Cid::new(&[sequence; 8]).unwrap(), ResetToken([sequence; 16]));
    raw.packet(Level::OneRtt, 0, |w| {
        encode::new_connection_id(w, sequence.into(), retire_prior_to, &cid, &token);
    });
}

/// A client whose server sends to id 1 and knows id 2.
fn client() -> Raw {
    let mut raw = Raw::connected(Side::Client, TransportConfig::default().mtu_discovery(false));
    offer(&mut raw, 1, 1);
    offer(&mut raw, 2, 1);
    raw.exchange();
    raw
}

/// The same after the client has moved from the old address to the new one, where the server sends to id 2.
fn moved() -> Raw {
    let mut raw = client();
    raw.dcid = raw.offered[0];
    raw.path = FourTuple::to(address(NEW));
    raw.frames(encode::ping);
    let second = Cid::new(&[2; 8]).unwrap();
    assert!(raw.sent_to.contains(&(raw.path, second)), "{:?}", raw.sent_to);
    raw
}

/// Whether the token of id `sequence` from this address ends the connection, be it that the datagram seems to be for the connection or for none.
#[track_caller]
fn resets(make: impl Fn() -> Raw, port: u16, sequence: u8) -> bool {
    let ends = |own_id: bool| {
        let mut raw = make();
        let mut datagram = vec![0x40];
        datagram.extend(if own_id { &*raw.dcid } else { &[0x55; 8] });
        datagram.resize(60, 0x55);
        datagram.extend([sequence; 16]);
        raw.path = FourTuple::to(address(port));
        raw.deliver(&mut datagram);
        assert!(matches!(raw.closed(), None | Some(ConnectionError::Reset)), "{:?}", raw.closed());
        raw.closed().is_some()
    };
    let (own, other) = (ends(true), ends(false));
    assert_eq!(own, other, "the connection and the router do not agree");
    own
}

#[test]
fn only_tokens_of_ids_in_use_are_checked() {
    // "An endpoint MUST NOT check for any stateless reset tokens associated with connection IDs it has not used or for connection IDs that have
    // been retired."
    assert!(resets(client, OLD, 1));
    assert!(!resets(client, OLD, 2), "not used");
    let retired = || {
        let mut raw = client();
        offer(&mut raw, 3, 2);
        raw.exchange();
        raw
    };
    assert!(!resets(retired, OLD, 1));
    assert!(resets(retired, OLD, 2), "it has taken the place of the retired one");
}

#[test]
fn an_id_is_used_once_something_was_sent_to_it() {
    let chosen = || {
        let mut raw = client();
        offer(&mut raw, 3, 2);
        raw
    };
    assert!(!resets(chosen, OLD, 2));
    assert!(!resets(chosen, OLD, 1), "retired already");
}

#[test]
fn each_path_has_its_token() {
    // "all stateless reset tokens associated with the remote address on which the datagram was received".
    assert!(resets(moved, NEW, 2));
    assert!(resets(moved, OLD, 1), "packets are still sent there, to validate the path");
    assert!(!resets(moved, NEW, 1));
    assert!(!resets(moved, OLD, 2));
    assert!(!resets(moved, 99, 2), "from nowhere");
}

#[test]
fn a_path_that_is_given_up_takes_its_token_along() {
    let settled = || {
        let mut raw = moved();
        raw.answer_challenges(FourTuple::to(address(NEW)));
        raw.wait(Duration::from_secs(5));
        raw
    };
    assert!(!resets(settled, OLD, 1));
    assert!(resets(settled, NEW, 2));
}

#[test]
fn a_new_address_under_the_same_id_is_known_too() {
    // A NAT bound anew: the peer does not know that it moved, and the id stays in use at both addresses.
    let rebound = || {
        let mut raw = client();
        raw.path = FourTuple::to(address(NEW));
        raw.frames(encode::ping);
        raw
    };
    assert!(resets(rebound, NEW, 1) && resets(rebound, OLD, 1));
}
