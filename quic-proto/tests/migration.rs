//! The peer's address changes: which connection ids are used where (RFC 9000 §9.5).

mod common;

use common::address;
use common::raw::Raw;
use quic_proto::codec::Writer;
use quic_proto::config::TransportConfig;
use quic_proto::event::Event;
use quic_proto::id::{Cid, Level, ResetToken, Side};
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
