//! The peer's address changes: which connection ids are used where (RFC 9000 §9.5).

mod common;

use common::address;
use common::raw::Raw;
use quic_proto::codec::Writer;
use quic_proto::config::TransportConfig;
use quic_proto::event::Event;
use quic_proto::id::{Cid, Dir, Level, ResetToken, Side};
use quic_proto::ietf::wire::encode;
use quic_proto::net::FourTuple;
use quic_proto::time::Duration;

const SPARE: [u8; 8] = [1; 8];

/// A client that gave the server one more id, and learnt one of the server's.
fn client() -> (Raw, Cid) {
    let mut raw = Raw::connected(Side::Client, TransportConfig::default().mtu_discovery(false));
    raw.frames(|w| encode::new_connection_id(w, 1, 0, &Cid::new(&SPARE).unwrap(), &ResetToken([1; 16])));
    let fresh = raw.offered.first().copied().expect("the server offers ids");
    raw.sent_to.clear();
    raw.seen.clear();
    (raw, fresh)
}

/// Sends these frames from another address, and takes what comes there.
fn from(raw: &mut Raw, port: u16, frames: impl FnOnce(&mut Writer<'_>)) -> FourTuple {
    raw.path = FourTuple::to(address(port));
    raw.frames(frames);
    raw.path
}

fn saw(raw: &Raw, frame: &str) -> bool {
    raw.seen.iter().any(|(level, seen)| *level == Level::OneRtt && seen.starts_with(frame))
}

#[test]
fn a_fresh_id_is_answered_by_a_fresh_id() {
    // RFC 9000 §9.5: "An endpoint MUST NOT reuse a connection ID when sending to more than one destination address."
    let (mut raw, fresh) = client();
    let old_id = raw.scid;
    raw.dcid = fresh;
    let new = from(&mut raw, 50, encode::ping);
    let spare = Cid::new(&SPARE).unwrap();
    assert!(raw.sent_to.contains(&(new, spare)), "{:?}", raw.sent_to);
    assert!(raw.sent_to.iter().all(|(path, cid)| (*path == new) == (*cid == spare)), "{:?}", raw.sent_to);
    // The old path is validated too (§9.3.3), under the id that was always used there, which is given back once nobody answers there.
    assert!(raw.sent_to.iter().any(|(_, cid)| *cid == old_id), "{:?}", raw.sent_to);
    assert!(!saw(&raw, "RetireConnectionId"));
    raw.answer_challenges(new);
    assert!(raw.events.contains(&Event::PathChanged(new)), "{:?}", raw.events);
    raw.wait(Duration::from_secs(10));
    assert!(saw(&raw, "RetireConnectionId(0)"), "{:?}", raw.seen);
    assert_eq!(raw.closed(), None);
}

#[test]
fn a_probed_path_has_an_id_of_its_own() {
    let (mut raw, fresh) = client();
    let (old, old_id) = (raw.path, raw.scid);
    raw.dcid = fresh;
    let new = from(&mut raw, 50, |w| encode::path_challenge(w, &[7; 8]));
    assert!(saw(&raw, "PathResponse"), "{:?}", raw.seen);
    assert!(raw.sent_to.iter().any(|(path, _)| *path == new), "{:?}", raw.sent_to);
    assert!(raw.sent_to.iter().all(|(path, cid)| (*path == new) == (cid[..] == SPARE)), "{:?}", raw.sent_to);
    // Everything else stays on the path that is in use.
    raw.sent_to.clear();
    from(&mut raw, 7, encode::ping);
    raw.wait(Duration::from_millis(100));
    assert!(raw.sent_to.contains(&(old, old_id)), "{:?}", raw.sent_to);
}

#[test]
fn a_new_address_gets_no_more_than_three_times_what_came_from_it() {
    // RFC 9000 §8: "an endpoint MUST limit the amount of data it sends to the unvalidated address to three times the amount of data received
    // from that address."
    let (mut raw, fresh) = client();
    let old = raw.path;
    raw.dcid = fresh;
    let packet = raw.build(Level::OneRtt, 0, encode::ping);
    raw.sizes.clear();
    raw.path = FourTuple::to(address(50));
    raw.deliver(&mut packet.clone());
    let id = raw.connection().open(Dir::Uni).unwrap();
    raw.connection().send_stream(id).unwrap().write(&[1; 10_000]).unwrap();
    raw.wait(Duration::from_millis(900));
    let new = raw.path;
    let sent: usize = raw.sizes.iter().filter(|(path, _)| *path == new).map(|(_, size)| size).sum();
    assert!(sent > 0 && sent <= 3 * packet.len(), "{sent} bytes for {}", packet.len());
    // §8.2.1: "An endpoint MUST expand datagrams that contain a PATH_CHALLENGE frame to at least the smallest allowed maximum datagram size of
    // 1200 bytes, unless the anti-amplification limit for the path does not permit": it does on the old path.
    assert!(raw.sizes.iter().any(|(path, _)| *path == old), "{:?}", raw.sizes);
    assert!(raw.sizes.iter().all(|(path, size)| *path == new || *size == 1200), "{:?}", raw.sizes);
    // §8.2.1: when an answer has come "the endpoint MUST perform a second path validation by sending a PATH_CHALLENGE frame in a datagram of at
    // least 1200 bytes"; and the data is free to leave.
    raw.sizes.clear();
    raw.answer_challenges(new);
    raw.wait(Duration::from_millis(100));
    let expanded = raw.sizes.iter().filter(|(path, size)| *path == new && *size >= 1200).count();
    assert!(expanded > 8, "{:?}", raw.sizes);
}

#[test]
fn answers_to_challenges_are_expanded_where_that_is_permitted() {
    // RFC 9000 §8.2.2: "An endpoint MUST expand datagrams that contain a PATH_RESPONSE frame to at least the smallest allowed maximum datagram
    // size of 1200 bytes. … However, an endpoint MUST NOT expand the datagram containing the PATH_RESPONSE if the resulting data exceeds the
    // anti-amplification limit."
    let (mut raw, fresh) = client();
    raw.sizes.clear();
    raw.frames(|w| encode::path_challenge(w, &[7; 8]));
    assert!(raw.sizes.iter().any(|(_, size)| *size == 1200), "{:?}", raw.sizes);
    raw.sizes.clear();
    raw.dcid = fresh;
    let new = from(&mut raw, 50, |w| encode::path_challenge(w, &[8; 8]));
    let sizes: Vec<_> = raw.sizes.iter().filter(|(path, _)| *path == new).map(|(_, size)| *size).collect();
    assert!(!sizes.is_empty() && sizes.iter().all(|size| *size < 200), "{sizes:?}");
}

#[test]
fn an_id_that_was_in_use_may_be_a_nat() {
    // "MAY continue to use the current connection ID with the new remote address"
    let (mut raw, _) = client();
    let new = from(&mut raw, 50, encode::ping);
    assert!(raw.sent_to.contains(&(new, raw.scid)), "{:?}", raw.sent_to);
    assert!(raw.sent_to.iter().all(|(_, cid)| *cid == raw.scid), "{:?}", raw.sent_to);
}

#[test]
fn a_replayed_packet_costs_no_id() {
    let (mut raw, fresh) = client();
    raw.dcid = fresh;
    let packet = raw.build(Level::OneRtt, 0, encode::ping);
    raw.deliver(&mut packet.clone());
    raw.dcid = raw.first_id;
    raw.frames(encode::ping);
    raw.path = FourTuple::to(address(50));
    raw.deliver(&mut packet.clone());
    raw.exchange();
    raw.wait(Duration::from_secs(10));
    assert!(!saw(&raw, "RetireConnectionId"), "{:?}", raw.seen);
}
