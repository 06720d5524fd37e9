//! Tokens that spare a returning client the Retry packet (RFC 9000 §8.1.3), from NEW_TOKEN to the next connection.

mod common;

use bytes::Bytes;
use common::raw::Raw;
use common::{EPOCH, Fate, ONE, Pair, TOKEN_SECRET, address, null_client, null_server};
use quic_proto::config::{EndpointConfig, TransportConfig};
use quic_proto::crypto::token::{AddressToken, TokenKey, TokenLifetimes};
use quic_proto::endpoint::Endpoint;
use quic_proto::error::TransportErrorCode as Code;
use quic_proto::id::Side;
use quic_proto::ietf::wire::header::parse_long;
use quic_proto::invariants::{Version, spec};
use quic_proto::net::FourTuple;
use quic_proto::rng::SeededRng;
use quic_proto::time::{Duration, UnixTime};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// A server that asks everybody for a Retry whose address is not known, and what it gave a first client for its next connection.
fn acquainted(lifetime: Duration) -> (Pair, Bytes) {
    let mut pair = Pair::new(null_server().address_token_lifetime(lifetime));
    pair.retry = true;
    let client = pair.connect(&null_client());
    pair.settle();
    assert_eq!((pair.server.stats().retries, pair.accepted.len()), (1, 1));
    let token = pair.c(client).take_address_token().expect("NEW_TOKEN came");
    assert_eq!(pair.c(client).take_address_token(), None, "once");
    (pair, token)
}

/// Connects again with a token; whether that needed a Retry.
fn again(pair: &mut Pair, token: &Bytes) -> bool {
    let before = pair.server.stats();
    let client = pair.connect(&null_client().token(Some(token.clone())));
    pair.settle();
    assert!(pair.c(client).is_established());
    assert_eq!(pair.server.stats().refused, before.refused);
    pair.server.stats().retries > before.retries
}

#[test]
fn a_returning_client_needs_no_retry() {
    let (mut pair, token) = acquainted(Duration::from_secs(1000));
    pair.run(Duration::from_secs(900));
    assert!(!again(&mut pair, &token));
    // RFC 9000 §8.1.4: tokens of NEW_TOKEN frames "SHOULD NOT be accepted multiple times".
    assert!(again(&mut pair, &token), "a replay proves nothing");
}

/// A server of both versions that asks everybody for a Retry whose address is not known.
fn of_both_versions() -> Pair {
    let versions = [Version::V1, Version::V2];
    let config = EndpointConfig::new(&[2; 32]).versions(&versions).build().unwrap();
    let server = Some(null_server().build().unwrap());
    let server = Endpoint::new(config, server, Box::new(SeededRng::from_u64(2)), EPOCH);
    let mut pair = Pair::of(common::endpoint(1, None), server);
    pair.retry = true;
    pair
}

#[test]
fn a_token_is_good_for_the_version_that_it_came_by() {
    // RFC 9369 §5: "Servers MUST validate the originating version of any session ticket or token and not accept one issued from a different
    // version. … A rejected token results in the client address remaining unverified".
    for (own, other) in [(Version::V1, Version::V2), (Version::V2, Version::V1)] {
        let mut pair = of_both_versions();
        let mut retries = |token: Option<Bytes>, version| {
            let before = pair.server.stats().retries;
            let client = pair.connect(&null_client().versions(&[version]).token(token));
            pair.settle();
            assert!(pair.c(client).is_established());
            (pair.c(client).take_address_token(), pair.server.stats().retries - before)
        };
        let (token, first) = retries(None, own);
        assert_eq!(first, 1);
        assert_eq!(retries(token.clone(), other).1, 1, "of {own} in {other}");
        assert_eq!(retries(token, own).1, 0, "it was not used up");
    }
}

#[test]
fn a_client_leaves_its_token_out_when_it_comes_to_another_version() {
    // RFC 9369 §5: "Clients MUST NOT use a session ticket or token from a QUIC version 1 connection to initiate a QUIC version 2 connection, and
    // vice versa."
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&tokens);
    let mut pair = Pair::new(null_server());
    pair.network = Box::new(move |to_server, bytes| {
        let headers = [Version::V1, Version::V2].map(|version| parse_long(bytes, spec(version).unwrap()));
        for header in headers.into_iter().flatten().filter(|_| to_server) {
            seen.lock().unwrap().push((header.version, header.token.to_vec()));
        }
        Fate::Deliver
    });
    let versions = [Version::V2, Version::V1];
    let client = pair.connect(&null_client().versions(&versions).token(Some(Bytes::from_static(b"token"))));
    pair.settle();
    assert_eq!((pair.c(client).version(), pair.c(client).is_established()), (Version::V1, true));
    let mut tokens = tokens.lock().unwrap().clone();
    tokens.dedup();
    assert_eq!(tokens, [(Version::V2, b"token".to_vec()), (Version::V1, Vec::new())]);
}

#[test]
fn an_old_token_is_only_ignored() {
    let (mut pair, token) = acquainted(Duration::from_secs(1000));
    pair.run(Duration::from_secs(1002));
    assert!(again(&mut pair, &token));
}

#[test]
fn a_server_need_not_give_tokens() {
    let mut pair = Pair::new(null_server().address_tokens(false));
    let client = pair.connect(&null_client());
    pair.settle();
    assert!(pair.c(client).is_established());
    assert_eq!(pair.c(client).take_address_token(), None);
}

/// A token for `ip`, made so many seconds ago.
fn token(ip: IpAddr, age: u64) -> Vec<u8> {
    let (issued, version) = (UnixTime::from_secs(EPOCH.as_secs() - age), Version::V1);
    let lifetimes =
        TokenLifetimes { retry: Duration::from_secs(15), address: Duration::from_secs(14 * 24 * 3600) };
    TokenKey::new(&TOKEN_SECRET, lifetimes)
        .seal_address(&mut SeededRng::from_u64(4), &AddressToken { ip, issued, version, memo: None })
}

/// How many bytes a server sends that hears nothing after the client's first datagram, which bears this token; and whether the token counted.
fn sends_unheard(token: Vec<u8>) -> (usize, bool) {
    let mut raw = Raw::new(Side::Client, TransportConfig::default().mtu_discovery(false));
    raw.token = token;
    raw.hello(|_| {});
    assert_eq!(raw.closed(), None, "the connection goes on");
    let (mut bytes, mut buf) = (0, vec![0; 1500]);
    loop {
        while let Some(transmit) = raw.real.poll_transmit(raw.now, &mut buf, ONE) {
            bytes += transmit.len;
        }
        let Some(next) = raw.real.next_timeout() else { break };
        raw.now = raw.now.max(next);
        raw.real.handle_timeout(raw.now);
    }
    (bytes, raw.validated.unwrap())
}

#[test]
fn a_token_lifts_the_amplification_limit() {
    // RFC 9000 §8.1: three times what came, until the address is validated; by §8.1.3 the token does that.
    let ip = address(7).ip();
    let limit = 3 * 1200;
    for (given, counts) in [
        (token(ip, 100), true),
        (Vec::new(), false),
        (token(ip, 365 * 24 * 3600), false),
        (token("198.51.100.1".parse().unwrap(), 100), false),
        (vec![0x11; 60], false),
        (token(ip, 100)[1..].to_vec(), false),
    ] {
        let (bytes, validated) = sends_unheard(given);
        assert!(bytes > 0);
        assert_eq!((bytes > limit, validated), (counts, counts), "{bytes} bytes");
    }
}

#[test]
fn an_address_token_counts_from_every_port() {
    let mut raw = Raw::new(Side::Client, TransportConfig::default());
    raw.token = token(address(7).ip(), 100);
    raw.path = FourTuple::to(SocketAddr::new(address(7).ip(), 4711));
    raw.hello(|_| {});
    assert_eq!(raw.validated, Some(true));
}

#[test]
fn an_initial_of_a_server_bears_no_token() {
    // RFC 9000 §17.2.2: clients that receive one "MUST either discard the packet or generate a connection error".
    let mut raw = Raw::new(Side::Server, TransportConfig::default());
    raw.token = b"token".to_vec();
    raw.hello(|_| {});
    raw.exchange();
    let stats = raw.connection().stats();
    assert_eq!((stats.counters.received.packets, raw.verdict().map(|(code, _)| Code(code))), (0, None));
    assert!(stats.counters.discarded_packets > 0 && !raw.connection().is_established());
}
