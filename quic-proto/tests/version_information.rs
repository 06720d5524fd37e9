//! Version Information (RFC 9368): who sends it, and what is made of it, with exactly the error code that the RFC names.

mod common;

use common::raw::Raw;
use common::{EPOCH, Fate, ONE, Pair, null_client, null_server, our_code, their_code};
use quic_proto::config::{ClientConfig, EndpointConfig, TransportConfig};
use quic_proto::endpoint::Endpoint;
use quic_proto::error::TransportErrorCode as Code;
use quic_proto::event::Event;
use quic_proto::id::{Cid, Side};
use quic_proto::ietf::wire::{VersionInformation, header};
use quic_proto::invariants::{Version, encode_version_negotiation, spec};
use quic_proto::rng::SeededRng;
use std::sync::{Arc, Mutex};

const V1: u32 = Version::V1.0;
const V2: u32 = Version::V2.0;
const OTHER: u32 = 0x0bad_0bad;
const RESERVED: u32 = 0x1a2a_3a4a;

const MISMATCH: Option<Code> = Some(Code::VERSION_NEGOTIATION_ERROR);
const MALFORMED: Option<Code> = Some(Code::TRANSPORT_PARAMETER_ERROR);

fn bytes(versions: &[u32]) -> Option<Vec<u8>> {
    Some(versions.iter().flat_map(|version| version.to_be_bytes()).collect())
}

fn code(raw: &Raw) -> Option<Code> {
    raw.verdict().map(|(code, _)| Code(code))
}

/// What the real end makes of a peer on `side`, of version 1, that sends this value.
fn verdict(side: Side, value: Option<Vec<u8>>) -> Option<Code> {
    let mut raw = Raw::new(side, TransportConfig::default());
    raw.version_information = value;
    raw.handshake(|_| {});
    assert_eq!(
        raw.closed().is_none(),
        raw.events.contains(&Event::Connected),
        "it completes or it is closed"
    );
    if code(&raw).is_some() {
        assert!(raw.seen.iter().any(|(_, frame)| frame.starts_with("ConnectionClose")), "it is told");
    }
    code(&raw)
}

#[test]
fn both_ends_send_it() {
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::new(side, TransportConfig::default());
        raw.hello(|_| {});
        raw.exchange();
        let info = VersionInformation::find(raw.heard(), !side).unwrap().expect("it was sent");
        let (reserved, available): (Vec<_>, Vec<_>) =
            info.available().partition(|version| version.is_reserved());
        assert_eq!(
            (info.chosen, &available[..], reserved.len()),
            (Version::V1, &[Version::V1][..], 1),
            "{side:?}"
        );
    }
}

#[test]
fn a_client_lists_what_its_first_flight_is_compatible_with() {
    // §3: "the Available Versions field lists all the versions that this first flight is compatible with, ordered by descending preference. Note
    // that the version in the Chosen Version field MUST be included in this list".
    for versions in [&[Version::V2, Version::V1][..], &[Version::V1, Version::V2], &[Version::V2]] {
        let mut raw = Raw::serving(&null_client().versions(versions), versions[0]);
        raw.hello(|_| {});
        let info = VersionInformation::find(raw.heard(), Side::Client).unwrap().unwrap();
        assert_eq!(info.chosen, versions[0]);
        let listed: Vec<_> = info.available().filter(|version| !version.is_reserved()).collect();
        assert_eq!(listed, versions);
    }
}

#[test]
fn parsing_failures() {
    for side in [Side::Client, Side::Server] {
        // §4: "if the connection was using QUIC version 1, that connection closure MUST use a transport error of type
        // TRANSPORT_PARAMETER_ERROR."
        for value in [&[][..], &[0, 0, 0], &[0, 0, 0, 1, 0], &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]] {
            assert_eq!(verdict(side, Some(value.to_vec())), MALFORMED, "{side:?} {value:?}");
        }
        for versions in [[0, V1, 0], [V1, V1, 0], [0, 0, V1]] {
            assert_eq!(verdict(side, bytes(&versions)), MALFORMED, "{side:?} {versions:?}");
        }
    }
    // §4: "If a server receives Version Information where the Chosen Version is not included in Available Versions, it MUST treat it as a
    // parsing failure."
    assert_eq!(verdict(Side::Client, bytes(&[V1])), MALFORMED);
    assert_eq!(verdict(Side::Client, bytes(&[V1, V2, RESERVED])), MALFORMED);
}

#[test]
fn what_a_server_makes_of_a_clients() {
    // §4: "Servers MAY complete the handshake even if the Version Information is missing."
    assert_eq!(verdict(Side::Client, None), None);
    assert_eq!(verdict(Side::Client, bytes(&[V1, V1])), None);
    assert_eq!(verdict(Side::Client, bytes(&[V1, RESERVED, V2, V1, OTHER])), None);
    // "if … the client's Chosen Version is not set to 0x00000001, the server MUST close the connection with a version negotiation error."
    assert_eq!(verdict(Side::Client, bytes(&[V2, V2, V1])), MISMATCH);
    assert_eq!(verdict(Side::Client, bytes(&[RESERVED, RESERVED])), MISMATCH);
}

#[test]
fn what_a_client_makes_of_a_servers() {
    assert_eq!(verdict(Side::Server, None), None);
    // §3: "the version in the Chosen Version field is not necessarily included in this list …, the Available Versions field MAY be empty."
    assert_eq!(verdict(Side::Server, bytes(&[V1])), None);
    assert_eq!(verdict(Side::Server, bytes(&[V1, V2, RESERVED])), None);
    // §4: "If a client receives Version Information where the server's Chosen Version was not sent by the client as part of its Available
    // Versions, the client MUST close the connection with a version negotiation error."
    assert_eq!(verdict(Side::Server, bytes(&[V2, V1, V2])), MISMATCH);
    assert_eq!(verdict(Side::Server, bytes(&[OTHER])), MISMATCH);
}

fn version_negotiation(initial: &[u8], asked: Version, versions: &[u32]) -> Vec<u8> {
    let long = header::parse_long(initial, spec(asked).unwrap()).unwrap();
    let mut buf = [0; 200];
    let len = encode_version_negotiation(&mut buf, 0, &long.scid, &long.dcid, versions).unwrap();
    buf[..len].to_vec()
}

/// A client of both versions that was told by a Version Negotiation packet to try the one that it likes less, and a server of that one.
fn told(preference: [Version; 2]) -> Raw {
    let config = null_client().versions(&preference);
    let mut raw = Raw::serving(&config, preference[1]);
    let mut buf = [0; 1500];
    let transmit = raw.real.poll_transmit(raw.now, &mut buf, ONE).unwrap();
    raw.deliver(&mut version_negotiation(&buf[..transmit.len], preference[0], &[preference[1].0, OTHER]));
    raw
}

#[test]
fn what_a_client_makes_of_it_after_version_negotiation() {
    const V2_FIRST: [Version; 2] = [Version::V2, Version::V1];
    const V1_FIRST: [Version; 2] = [Version::V1, Version::V2];
    for (preference, versions, expected) in [
        // §8: without it, "as if" the server spoke version 1 alone. §4: "Clients MUST NOT complete the handshake if they are reacting to a
        // Version Negotiation packet and the Version Information is missing".
        (V2_FIRST, None, None),
        (V1_FIRST, None, MISMATCH),
        (V2_FIRST, Some(&[V1, V1][..]), None),
        (V1_FIRST, Some(&[V2, V2]), None),
        // "if the client reacted to a Version Negotiation packet and the server's Available Versions field is empty, the client MUST close the
        // connection with a version negotiation error."
        (V2_FIRST, Some(&[V1]), MISMATCH),
        // "the versions in the server's Available Versions field, plus the Negotiated Version".
        (V2_FIRST, Some(&[V1, OTHER]), None),
        (V1_FIRST, Some(&[V2, RESERVED, OTHER]), None),
        // "If the client would have selected a different version, the client MUST close the connection with a version negotiation error."
        (V2_FIRST, Some(&[V1, V1, V2]), MISMATCH),
        (V2_FIRST, Some(&[V1, V2]), MISMATCH),
        (V1_FIRST, Some(&[V2, V2, OTHER, V1]), MISMATCH),
        // The chosen version is not the negotiated one.
        (V2_FIRST, Some(&[V2, V1]), MISMATCH),
        (V1_FIRST, Some(&[V1, V2]), MISMATCH),
    ] {
        let mut raw = told(preference);
        raw.version_information = versions.and_then(bytes);
        raw.handshake(|_| {});
        assert_eq!(code(&raw), expected, "{preference:?} {versions:?}");
        assert_eq!(raw.events.contains(&Event::Connected), expected.is_none(), "{preference:?} {versions:?}");
        assert_eq!(raw.connection().version(), preference[1]);
    }
}

#[test]
fn a_second_negotiation_is_ignored() {
    // §4: "A client that makes a connection attempt based on information received from a Version Negotiation packet MUST ignore any Version
    // Negotiation packets it receives in response to that connection attempt."
    let mut raw = told([Version::V2, Version::V1]);
    let mut buf = [0; 1500];
    let transmit = raw.real.poll_transmit(raw.now, &mut buf, ONE).unwrap();
    raw.deliver(&mut version_negotiation(&buf[..transmit.len], Version::V1, &[V2, OTHER]));
    assert_eq!((raw.connection().version(), raw.closed()), (Version::V1, None));
}

fn endpoint(seed: u8, versions: &[Version], server: bool) -> Endpoint {
    let config = EndpointConfig::new(&[seed; 32]).versions(versions).build().unwrap();
    let server = server.then(|| null_server().build().unwrap());
    Endpoint::new(config, server, Box::new(SeededRng::from_u64(seed.into())), EPOCH)
}

fn pair(server: &[Version]) -> Pair {
    Pair::of(endpoint(1, &[Version::V1], false), endpoint(2, server, true))
}

fn client(versions: [Version; 2]) -> ClientConfig {
    null_client().versions(&versions)
}

#[test]
fn a_server_stays_with_the_clients_only_version() {
    for (accepted, asked) in
        [([Version::V1, Version::V2], Version::V2), ([Version::V2, Version::V1], Version::V1)]
    {
        let mut pair = pair(&accepted);
        let c = pair.connect(&null_client().versions(&[asked]));
        pair.settle();
        // §2.3: "the client can disable compatible version negotiation by only including the Chosen Version in the Available Versions field".
        assert_eq!((pair.c(c).version(), pair.client_closed()), (asked, None));
        let s = pair.accepted[0];
        assert!(pair.c(c).is_established() && pair.s(s).version() == asked);
    }
}

#[test]
fn negotiation_that_was_genuine() {
    for (preference, spoken) in
        [([Version::V2, Version::V1], Version::V1), ([Version::V1, Version::V2], Version::V2)]
    {
        let mut pair = pair(&[spoken]);
        let c = pair.connect(&client(preference));
        pair.settle();
        assert_eq!((pair.c(c).version(), pair.client_closed()), (spoken, None));
        assert!(pair.c(c).is_established());
    }
}

#[test]
fn a_forged_negotiation_is_found_out() {
    for preference in [[Version::V2, Version::V1], [Version::V1, Version::V2]] {
        let mut pair = pair(&[Version::V1, Version::V2]);
        // Somebody answers the first packet, and the server never sees it.
        let seen = Arc::new(Mutex::new(None));
        let first = Arc::clone(&seen);
        pair.network = Box::new(move |_, bytes| {
            let mut seen = first.lock().unwrap();
            if seen.is_some() {
                return Fate::Deliver;
            }
            *seen = Some(bytes.clone());
            Fate::Drop
        });
        pair.connect(&client(preference));
        pair.poll();
        let initial = seen.lock().unwrap().clone().unwrap();
        pair.inject(false, version_negotiation(&initial, preference[0], &[preference[1].0]));
        pair.settle();
        assert_eq!(our_code(pair.client_closed()), MISMATCH, "{preference:?}");
        assert_eq!(their_code(pair.server_closed()), MISMATCH, "{preference:?}");
        assert!(!pair.client_events.iter().any(|(_, event)| *event == Event::Connected));
    }
}

#[test]
fn a_forged_negotiation_that_lists_the_version_is_ignored() {
    // §4: "Clients MUST ignore any received Version Negotiation packets that contain the Original Version."
    let config = client([Version::V2, Version::V1]);
    let mut raw = Raw::serving(&config, Version::V2);
    let mut buf = [0; 1500];
    let transmit = raw.real.poll_transmit(raw.now, &mut buf, ONE).unwrap();
    raw.deliver(&mut version_negotiation(&buf[..transmit.len], Version::V2, &[V1, V2]));
    assert_eq!((raw.connection().version(), raw.closed()), (Version::V2, None));
    // Nor is one that somebody made up who did not see the packet.
    let mut packet = version_negotiation(&buf[..transmit.len], Version::V2, &[V1]);
    let stranger = Cid::new(b"stranger").unwrap();
    let at = packet.len() - 4 - stranger.len();
    packet[at..at + stranger.len()].copy_from_slice(&stranger);
    raw.deliver(&mut packet);
    assert_eq!((raw.connection().version(), raw.closed()), (Version::V2, None));
}
