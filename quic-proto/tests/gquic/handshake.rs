//! Handshakes.

use crate::common::{DELAY, EPOCH, Fate, Pair, address, read_all};
use crate::support::{
    client, ecdsa, our_code, pair, pair_with, record, restarted, rsa, send, server, settings, their_code,
    trust,
};
use quic_proto::config::TransportConfig;
use quic_proto::connection::{ConnectError, Connection};
use quic_proto::endpoint::ConnectionHandle;
use quic_proto::error::ConnectionError;
use quic_proto::event::Event;
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::id::Dir;
use quic_proto::invariants::Version;
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::{Rng, SeededRng};
use quic_proto::streams::OpenError;
use quic_proto::time::Duration;
use rustls::pki_types::CertificateDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use std::sync::{Arc, Mutex};

#[test]
fn foobar_comes_back() {
    for identity in [ecdsa(), rsa()] {
        let leaf = identity.chain[0].to_vec();
        let (for_client, for_server) = settings(identity);
        let mut pair = Pair::new(server(for_server));
        let c = pair.connect(&client(for_client));
        assert!(pair.c(c).handshake_info().is_none() && !pair.c(c).is_established());
        pair.settle();
        let s = pair.accepted[0];
        for (connection, events) in
            [(pair.client.get(c), &pair.client_events), (pair.server.get(s), &pair.server_events)]
        {
            let connection = connection.unwrap();
            assert_eq!(connection.version(), Version::Q044);
            assert!(connection.is_established());
            let kinds: Vec<_> = events.iter().map(|(_, event)| event.clone()).collect();
            assert!(
                kinds.contains(&Event::Connected) && kinds.contains(&Event::HandshakeConfirmed),
                "{kinds:?}"
            );
            assert_eq!(connection.handshake_info().unwrap().cipher_suite, Some("AES_128_GCM_12"));
        }
        assert_eq!(pair.c(c).handshake_info().unwrap().peer_certificates, [leaf]);
        assert_eq!(pair.s(s).handshake_info().unwrap().server_name.as_deref(), Some("localhost"));

        let id = send(pair.c(c), b"foobar", false);
        pair.settle();
        assert_eq!(pair.s(s).accept(Dir::Bi), Some(id));
        assert_eq!(read_all(pair.s(s), id), (b"foobar".to_vec(), false));
        pair.s(s).send_stream(id).unwrap().write(b"foobar").unwrap();
        pair.settle();
        assert_eq!(read_all(pair.c(c), id), (b"foobar".to_vec(), false));
        assert_eq!(pair.c(c).open(Dir::Uni), Err(OpenError::Blocked));
    }
}

#[test]
fn a_server_opens_streams_of_its_own() {
    let (mut pair, config) = pair();
    let c = pair.connect(&config);
    pair.settle();
    let s = pair.accepted[0];
    let id = send(pair.s(s), b"news", true);
    pair.settle();
    assert_eq!(pair.c(c).accept(Dir::Bi), Some(id));
    assert_eq!(read_all(pair.c(c), id), (b"news".to_vec(), true));
}

#[test]
fn the_answer_to_a_rejection_that_cost_no_state_tells_the_rtt() {
    let (mut pair, config) = pair();
    pair.connect(&config);
    while pair.accepted.is_empty() {
        pair.run(DELAY);
    }
    let s = pair.accepted[0];
    assert_eq!(pair.s(s).stats().path.rtt, DELAY * 2, "what is lost now is said again soon");
}

/// How long the client's handshake takes, in whole delays of the network.
fn delays(pair: &mut Pair, c: ConnectionHandle) -> u32 {
    let start = pair.now;
    for count in 0..100 {
        if pair.client.get(c).is_some_and(Connection::is_established) {
            return count;
        }
        pair.run(DELAY);
        assert_eq!(pair.now, start + DELAY * (count + 1));
    }
    panic!("{:?}", pair.client_closed());
}

#[test]
fn a_remembered_server_saves_two_round_trips() {
    let (mut pair, config) = pair();
    let first = pair.connect(&config);
    assert_eq!(delays(&mut pair, first), 6);
    pair.settle();
    let now = pair.now;
    pair.c(first).close(now, 0u32.into(), b"");
    pair.settle();
    let second = pair.connect(&config);
    assert_eq!(delays(&mut pair, second), 2);
    pair.settle();
    let id = send(pair.c(second), b"again", true);
    pair.settle();
    let s = pair.accepted[1];
    assert_eq!(read_all(pair.s(s), id), (b"again".to_vec(), true));
}

#[test]
fn tokens_are_taken_over_one_rotation_of_their_key_but_not_over_two() {
    let (mut pair, config) = pair();
    // Connects so many seconds after the last time; how long that takes, in delays of the network.
    let connect = |pair: &mut Pair, later: u64| {
        pair.run(Duration::from_secs(later));
        let c = pair.connect(&config);
        let delays = delays(pair, c);
        let now = pair.now;
        pair.c(c).close(now, 0u32.into(), b"");
        pair.settle();
        assert_eq!(pair.client.connections(), 0);
        delays
    };
    let until_midnight = 86_400 - EPOCH.as_secs() % 86_400;
    assert_eq!(connect(&mut pair, 0), 6, "rejected for want of a token, and for want of a proof");
    assert_eq!(connect(&mut pair, until_midnight - 60), 2, "the same day");
    assert_eq!(connect(&mut pair, 120), 2, "sealed yesterday");
    assert_eq!(connect(&mut pair, 86_400), 4, "sealed the day before yesterday: rejected with a new one");
    assert_eq!(connect(&mut pair, 60), 2, "that one does");
    assert_eq!(pair.accepted.len(), 5, "a rejection for want of a token takes no connection");
}

#[test]
fn a_client_that_remembers_nothing_takes_three_round_trips_each_time() {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server));
    let config = client(for_client.remember_servers(0));
    for _ in 0..2 {
        let c = pair.connect(&config);
        assert_eq!(delays(&mut pair, c), 6);
        let now = pair.now;
        pair.c(c).close(now, 0u32.into(), b"");
        pair.settle();
    }
}

#[test]
fn one_connection_to_an_address_at_a_time() {
    let (mut pair, config) = pair();
    let c = pair.connect(&config);
    pair.settle();
    let config = config.build().unwrap();
    let again =
        |pair: &mut Pair| pair.client.connect(pair.now, FourTuple::to(address(2)), "localhost", &config);
    assert_eq!(again(&mut pair), Err(ConnectError::AddressInUse(address(2))));
    // Who closes need not wait for the end of that.
    let now = pair.now;
    pair.c(c).close(now, 0u32.into(), b"");
    let next = again(&mut pair).unwrap();
    pair.settle();
    assert!(pair.c(next).is_established());
    assert_eq!(pair.server.connections(), 1);
}

#[test]
fn refused_and_superfluous_clients_are_told_so() {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server).max_connections(1));
    pair.accepting = false;
    let config = client(for_client);
    pair.connect(&config);
    pair.settle();
    let incoming = pair.server.poll_incoming().unwrap();
    assert_eq!(
        (incoming.version(), incoming.is_validated(), incoming.may_retry()),
        (Version::Q044, true, false)
    );
    pair.server.refuse(incoming);
    pair.settle();
    assert!(
        matches!(pair.client_closed(), Some(ConnectionError::PeerApplication { code, .. }) if code.as_u64() == 0)
    );
    pair.accepting = true;
    pair.client_events.clear();
    let first = pair.connect(&config);
    pair.settle();
    assert!(pair.c(first).is_established());
    // Another client, from another address: the endpoint has room for one.
    let mut other = crate::common::endpoint(9, None);
    let second =
        other.connect(pair.now, FourTuple::to(address(2)), "localhost", &config.build().unwrap()).unwrap();
    std::mem::swap(&mut pair.client, &mut other);
    pair.inject(true, vec![0; 40]);
    pair.run(Duration::from_millis(100));
    assert!(pair.client.get(second).is_none_or(|connection| !connection.is_established()));
    assert_eq!(pair.server.connections(), 1);
}

/// A pair whose client knows the server and sends data at once, and is not connected now.
fn acquainted() -> (Pair, quic_proto::config::ClientConfig) {
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server));
    let config = client(for_client.early_data(true));
    let c = pair.connect(&config);
    pair.settle();
    let now = pair.now;
    pair.c(c).close(now, 0u32.into(), b"");
    pair.settle();
    pair.accepted.clear();
    (pair, config)
}

#[test]
fn early_data_arrives_with_the_first_flight() {
    let (mut pair, config) = acquainted();
    let c = pair.connect(&config);
    let id = send(pair.c(c), b"early", true);
    pair.run(DELAY);
    let s = pair.accepted[0];
    assert_eq!(pair.s(s).accept(Dir::Bi), Some(id));
    assert_eq!(read_all(pair.s(s), id), (b"early".to_vec(), true));
    // The answer comes with the server's first flight.
    pair.s(s).send_stream(id).unwrap().write(b"answer").unwrap();
    pair.run(DELAY);
    assert_eq!(read_all(pair.c(c), id), (b"answer".to_vec(), false));
}

/// Chapter 15, 13: "quic-go's server reads nothing below forward secure once it has seen the complete CHLO; do not wait for an ACK of such
/// packets and do not treat their loss as congestion."
#[test]
fn early_data_that_no_server_can_read_comes_again_and_is_no_congestion() {
    let (mut pair, config) = acquainted();
    pair.network =
        Box::new(|to_server, bytes| if to_server && bytes[0] == 0xfc { Fate::Drop } else { Fate::Deliver });
    let c = pair.connect(&config);
    let id = send(pair.c(c), &[6; 8_000], true);
    let window = pair.c(c).stats().path.window;
    pair.settle();
    let s = pair.accepted[0];
    assert_eq!(read_all(pair.s(s), id), (vec![6; 8_000], true));
    let stats = pair.c(c).stats();
    assert!(stats.counters.lost_packets >= 7, "{}", stats.counters.lost_packets);
    assert_eq!(stats.counters.congestion_events, 0);
    assert!(stats.path.window >= window);
}

#[test]
fn recorded_hellos_and_early_data_are_worth_nothing() {
    let (mut pair, config) = acquainted();
    let record = record(&mut pair);
    let c = pair.connect(&config);
    send(pair.c(c), b"pay once", true);
    pair.settle();
    assert_eq!(pair.accepted.len(), 1);
    let recorded: Vec<_> =
        record.lock().unwrap().iter().filter(|(to_server, _)| *to_server).take(2).cloned().collect();
    let now = pair.now;
    pair.c(c).close(now, 0u32.into(), b"");
    pair.settle();
    assert_eq!(pair.server.connections(), 0);
    // From another port, but the same address.
    for (_, mut bytes) in recorded {
        let datagram = Datagram { path: FourTuple::to(address(77)), ecn: None, payload: &mut bytes };
        let now = pair.now;
        pair.server.handle_datagram(now, datagram);
    }
    pair.settle();
    assert_eq!(pair.accepted.len(), 2);
    let replayed = pair.accepted[1];
    assert!(!pair.s(replayed).is_established());
    assert_eq!(pair.s(replayed).accept(Dir::Bi), None);
}

#[test]
fn a_server_that_forgot_its_config_is_learnt_anew() {
    let identity = ecdsa();
    let copy =
        quic_proto::crypto::rustls::Identity { chain: identity.chain.clone(), key: identity.key.clone_key() };
    let (for_client, for_server) = settings(identity);
    let mut pair = Pair::new(server(for_server));
    let config = client(for_client.early_data(true));
    let c = pair.connect(&config);
    pair.settle();
    let now = pair.now;
    pair.c(c).close(now, 0u32.into(), b"");
    pair.settle();
    // Its token secret stays, its configs do not: the first hello is taken for an inchoate one.
    pair.replace_server(restarted(settings(copy).1, 55));
    let c = pair.connect(&config);
    let id = send(pair.c(c), b"early, but to no avail", true);
    pair.run(Duration::from_secs(2));
    let s = pair.accepted[0];
    assert!(pair.c(c).is_established() && pair.s(s).is_established());
    assert_eq!(read_all(pair.s(s), id), (b"early, but to no avail".to_vec(), true));
}

#[test]
fn who_is_not_believed_is_told_so() {
    let (other, known) = (ecdsa(), ecdsa());
    let (_, for_server) = settings(known);
    let mut pair = Pair::new(server(for_server));
    pair.connect(&client(gquic::ClientConfig::new(trust(&other))));
    pair.settle();
    assert_eq!(our_code(pair.client_closed()), Some(42));
    assert_eq!(their_code(pair.server_closed()), Some(42));
    // The right certificate, but for another host.
    let (for_client, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server));
    let config = client(for_client).build().unwrap();
    pair.client.connect(pair.now, FourTuple::to(address(2)), "example.com", &config).unwrap();
    pair.settle();
    assert_eq!(our_code(pair.client_closed()), Some(42));
    // Who believes everybody still wants to see the key.
    let (_, for_server) = settings(ecdsa());
    let mut pair = Pair::new(server(for_server));
    let c = pair.connect(&client(gquic::ClientConfig::new(ServerTrust::danger_accept_any_certificate())));
    pair.settle();
    assert!(pair.c(c).is_established());
}

/// A key of a length that our libraries neither sign with nor verify.
#[derive(Debug)]
struct ShortKey;

impl SigningKey for ShortKey {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        Some(Box::new(Self))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::RSA
    }
}

impl Signer for ShortKey {
    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(vec![1; 128])
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::RSA_PSS_SHA256
    }
}

#[test]
fn the_short_keys_of_quic_gos_examples_do_for_who_believes_everybody() {
    let leaf = CertificateDer::from(&include_bytes!("../../testdata/gquic/rsa-1024-cert.der")[..]);
    let source = ProofSource::new(vec![leaf], Arc::new(ShortKey)).unwrap();
    let mut pair = Pair::new(server(gquic::ServerConfig::new(source, &[7; 32])));
    let c = pair.connect(&client(gquic::ClientConfig::new(ServerTrust::danger_accept_any_certificate())));
    pair.settle();
    assert!(pair.c(c).is_established(), "{:?}", pair.client_closed());
}

#[test]
fn a_hello_without_an_address_costs_no_state_and_amplifies_nothing() {
    let (mut pair, config) = pair();
    let record = record(&mut pair);
    pair.connect(&config);
    pair.poll();
    let (_, hello) = record.lock().unwrap()[0].clone();
    let (mut came, mut left) = (0, 0);
    let mut buf = [0; 1500];
    for port in 1..5000 {
        let mut bytes = hello.clone();
        came += bytes.len();
        let datagram = Datagram { path: FourTuple::to(address(port)), ecn: None, payload: &mut bytes };
        pair.server.handle_datagram(pair.now, datagram);
        while let Some(transmit) = pair.server.poll_transmit(pair.now, &mut buf, crate::common::ONE) {
            left += transmit.len;
        }
        assert!(pair.server.poll_incoming().is_none());
    }
    assert!(left > 0 && left < came / 2, "{left} bytes for {came}");
    assert_eq!((pair.server.connections(), pair.server.stats().incoming), (0, 0));
}

#[test]
fn handshakes_survive_a_bad_network() {
    for seed in 0..40u64 {
        let (mut pair, config) = pair();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        pair.network = Box::new(move |_, bytes| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 10 {
                0 => Fate::Drop,
                1 => Fate::Late(Duration::from_millis(30)),
                2 => Fate::Twice(Duration::from_millis(15)),
                3 => {
                    let at = (state >> 8) as usize % bytes.len();
                    bytes[at] ^= 1 << (state >> 40 & 7);
                    Fate::Deliver
                }
                _ => Fate::Deliver,
            }
        });
        let c = pair.connect(&config);
        pair.run(Duration::from_secs(30));
        let established = pair.client.get(c).is_some_and(Connection::is_established);
        assert!(established, "seed {seed}: {:?} {:?}", pair.client_closed(), pair.server_closed());
        let id = send(pair.c(c), &[7; 50_000], true);
        pair.run(Duration::from_secs(30));
        let s = *pair.accepted.last().unwrap();
        let (data, fin) = read_all(pair.s(s), id);
        assert!(fin && data == [7; 50_000], "seed {seed}: {} bytes, {fin}", data.len());
    }
}

#[test]
fn a_hello_that_comes_again_is_answered_again() {
    let (mut pair, config) = pair();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let (copy, mut lost) = (Arc::clone(&sent), false);
    pair.network = Box::new(move |to_server, bytes| {
        if !to_server {
            copy.lock().unwrap().push(bytes[0]);
            if bytes[0] == 0xfc && !std::mem::replace(&mut lost, true) {
                return Fate::Drop;
            }
        }
        Fate::Deliver
    });
    let c = pair.connect(&config);
    pair.run(Duration::from_millis(500));
    assert!(pair.c(c).is_established());
    let sent = sent.lock().unwrap();
    let shlos: Vec<_> = (0..sent.len()).filter(|at| sent[*at] == 0xfc).collect();
    assert_eq!(shlos.len(), 2);
    let readable = sent[..shlos[1]].iter().all(|first| first & 0x80 != 0);
    assert!(readable, "the client got nothing that it cannot read: {sent:x?}");
}

#[test]
fn a_handshake_that_nobody_answers_is_given_up_in_words() {
    let (mut pair, config) = pair_with(TransportConfig::default().handshake_timeout(Duration::from_secs(3)));
    pair.network = Box::new(|to_server, _| if to_server { Fate::Deliver } else { Fate::Drop });
    pair.connect(&config);
    pair.run(Duration::from_millis(2900));
    assert_eq!(pair.client_closed(), None);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.client_closed(), Some(&ConnectionError::TimedOut));
}

/// Chapter 2.5: quic-go's client keeps ten packets that it cannot read yet, and gives up if there are more and the SHLO that makes them
/// readable is still not there 500 ms later. A server that talks at once, over a path that loses 15 %, must not get near that.
#[test]
fn a_server_sends_hardly_anything_before_its_client_can_read_it() {
    const SEEDS: u64 = 400;
    let mut total = Duration::ZERO;
    for seed in 0..SEEDS {
        let early = seed % 2 == 1;
        let (mut pair, config) = if early { acquainted() } else { pair() };
        let (mut rng, unread) = (SeededRng::from_u64(seed), Arc::new(Mutex::new(0)));
        let count = Arc::clone(&unread);
        pair.network = Box::new(move |to_server, bytes| {
            if rng.below(100) < 15 {
                return Fate::Drop;
            }
            *count.lock().unwrap() += u32::from(!to_server && bytes[0] & 0x80 == 0);
            Fate::Deliver
        });
        let start = pair.now;
        let c = pair.connect(&config);
        if early {
            send(pair.c(c), &[1; 20_000], true);
        }
        let mut talking = false;
        while !pair.client.get(c).is_some_and(Connection::is_established) {
            let s = pair.accepted.last().copied();
            if let Some(s) =
                s.filter(|s| !talking && pair.server.get(*s).is_some_and(Connection::is_established))
            {
                send(pair.s(s), &[2; 60_000], true);
                talking = true;
            }
            pair.run(Duration::from_millis(1));
            assert!(pair.now - start < Duration::from_secs(10), "seed {seed}: {:?}", pair.client_closed());
        }
        total += pair.now - start;
        let unread = *unread.lock().unwrap();
        assert!(unread <= 5, "seed {seed}: {unread} packets came before they could be read");
    }
    let mean = total / SEEDS as u32;
    assert!(mean < Duration::from_millis(300), "{mean:?}: what is lost is said again soon");
}
