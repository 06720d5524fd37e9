//! The latency spin bit (RFC 9000 §17.4), from outside: what short packets bear.

mod common;

use common::raw::Raw;
use common::{DELAY, EPOCH, Fate, Pair, address, null_client, null_server};
use quic_proto::config::{EndpointConfig, TransportConfig};
use quic_proto::endpoint::Endpoint;
use quic_proto::id::{Cid, Dir, Level, ResetToken, Side};
use quic_proto::ietf::wire::encode;
use quic_proto::ietf::wire::header::SPIN;
use quic_proto::invariants::Version;
use quic_proto::net::FourTuple;
use quic_proto::rng::SeededRng;
use quic_proto::time::Duration;
use std::cell::RefCell;
use std::rc::Rc;

const SPARE: [u8; 8] = [1; 8];

fn transport() -> TransportConfig {
    TransportConfig::default().mtu_discovery(false)
}

/// The bits of what the real end sends in answer to a PING with this one.
fn answer(raw: &mut Raw, spin: bool) -> Vec<(FourTuple, bool)> {
    raw.spins.clear();
    raw.packet(Level::OneRtt, if spin { SPIN } else { 0 }, encode::ping);
    raw.wait(Duration::from_millis(50));
    assert!(!raw.spins.is_empty());
    raw.spins.clone()
}

fn all(spins: &[(FourTuple, bool)], value: bool) -> bool {
    spins.iter().all(|(_, spin)| *spin == value)
}

#[test]
fn a_server_reflects_and_a_client_inverts() {
    // "it sets the spin value for that path to be equal to the spin bit in the received packet" (a server), "to the inverse" (a client).
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::connected(side, transport());
        for spin in [true, true, false, false, true] {
            let spins = answer(&mut raw, spin);
            assert!(all(&spins, spin == side.is_client()), "{side:?}: {spins:?}");
        }
    }
}

#[test]
fn only_a_higher_packet_number_counts() {
    // "a 1-RTT packet that increases the highest packet number seen".
    let mut raw = Raw::connected(Side::Client, transport());
    let mut late = raw.build(Level::OneRtt, 0, encode::ping);
    assert!(all(&answer(&mut raw, true), true));
    raw.spins.clear();
    raw.deliver(&mut late);
    raw.wait(Duration::from_millis(50));
    assert!(!raw.spins.is_empty() && all(&raw.spins, true), "{:?}", raw.spins);
}

#[test]
fn each_path_has_a_value_of_its_own() {
    let mut raw = Raw::connected(Side::Client, transport());
    raw.frames(|w| encode::new_connection_id(w, 1, 0, &Cid::new(&SPARE).unwrap(), &ResetToken([1; 16])));
    let old = raw.path;
    raw.dcid = raw.offered[0];
    raw.spins.clear();
    let new = FourTuple::to(address(50));
    raw.path = new;
    raw.packet(Level::OneRtt, SPIN, |w| encode::path_challenge(w, &[7; 8]));
    raw.wait(Duration::from_millis(50));
    assert!(raw.spins.contains(&(new, true)), "{:?}", raw.spins);
    assert!(raw.spins.iter().all(|(path, spin)| *spin == (*path == new)), "{:?}", raw.spins);
    raw.path = old;
    assert!(answer(&mut raw, false).contains(&(old, false)));
    // The peer moves: the new path goes on with what it had, and with what comes there.
    raw.path = new;
    assert!(answer(&mut raw, true).contains(&(new, true)));
}

#[test]
fn another_connection_id_begins_with_zero() {
    // "An endpoint resets the spin value for a network path to 0 when changing the connection ID being used on that network path."
    let mut raw = Raw::connected(Side::Client, transport());
    assert!(all(&answer(&mut raw, true), true));
    raw.spins.clear();
    let spare = Cid::new(&SPARE).unwrap();
    raw.packet(Level::OneRtt, SPIN, |w| encode::new_connection_id(w, 1, 1, &spare, &ResetToken([1; 16])));
    raw.wait(Duration::from_millis(50));
    assert!(raw.sent_to.ends_with(&[(raw.path, spare)]), "{:?}", raw.sent_to);
    assert!(!raw.spins.is_empty() && all(&raw.spins, false), "{:?}", raw.spins);
    assert!(all(&answer(&mut raw, true), true));
}

/// The spin bits of the packets to the client and to the server.
type Seen = Rc<RefCell<[Vec<bool>; 2]>>;

/// A connection whose client sends a little every millisecond for twenty round trips, as an observer sees it.
fn observe(seed: u64, version: Version, client: TransportConfig, server: TransportConfig) -> Seen {
    let endpoint = |seed: u64, server| {
        let config = EndpointConfig::new(&[9; 32]).versions(&[version]).build().unwrap();
        Endpoint::new(config, server, Box::new(SeededRng::from_u64(seed)), EPOCH)
    };
    let server = null_server().transport(server.build().unwrap()).build().unwrap();
    let mut pair = Pair::of(endpoint(2 * seed, None), endpoint(2 * seed + 1, Some(server)));
    let client = pair.connect(&null_client().transport(client.build().unwrap()).versions(&[version]));
    pair.run(DELAY * 10);
    let seen = Seen::default();
    let observer = Rc::clone(&seen);
    pair.network = Box::new(move |to_server, bytes| {
        assert!(bytes[0] & 0x80 == 0, "the handshake is over");
        observer.borrow_mut()[usize::from(to_server)].push(bytes[0] & SPIN != 0);
        Fate::Deliver
    });
    let stream = pair.c(client).open(Dir::Uni).unwrap();
    for _ in 0..20 * 2 * DELAY.as_millis() {
        pair.c(client).send_stream(stream).unwrap().write(&[1; 100]).unwrap();
        pair.run(Duration::from_millis(1));
    }
    seen
}

/// How often the bit changed on the way to the client, and to the server.
fn edges(seen: &Seen) -> [usize; 2] {
    let edges = |bits: &Vec<bool>| {
        assert!(bits.len() > 100, "{}", bits.len());
        bits.windows(2).filter(|pair| pair[0] != pair[1]).count()
    };
    seen.borrow().each_ref().map(edges)
}

#[test]
fn one_connection_in_eight_does_not_spin() {
    // "As each endpoint disables the spin bit independently, this ensures that the spin bit signal is disabled on approximately one in eight
    // network paths." The others spin once a round trip, in both versions.
    let mut still = 0;
    for seed in 0..100 {
        let version = if seed % 2 == 0 { Version::V1 } else { Version::V2 };
        match edges(&observe(seed, version, transport(), transport())) {
            [0, 0] => still += 1,
            edges => assert!(edges.iter().all(|edges| (17..=20).contains(edges)), "{seed}: {edges:?}"),
        }
    }
    assert!((6..=20).contains(&still), "{still} of 100");
}

#[test]
fn a_bit_that_is_switched_off_stays_as_it_is() {
    // "When the spin bit is disabled, endpoints MAY set the spin bit to any value and MUST ignore any incoming value." It is random for each
    // connection id.
    let mut ones = [0; 2];
    for seed in 0..20 {
        let off = || transport().spin_bit(false);
        let (mut clients, mut servers) = (transport(), transport());
        if seed % 2 == 0 {
            clients = off();
        } else {
            servers = off();
        }
        let seen = observe(seed, Version::V1, clients, servers);
        assert_eq!(edges(&seen), [0, 0], "{seed}");
        let who = usize::from(seed % 2 == 0);
        ones[who] += usize::from(seen.borrow()[who][0]);
    }
    assert!(ones.iter().all(|ones| (1..=9).contains(ones)), "{ones:?}");
}
