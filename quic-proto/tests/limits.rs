//! What a peer may make us keep, and make us send.

mod common;

use common::raw::Raw;
use common::{Fate, Pair, null_client, null_server};
use quic_proto::config::TransportConfig;
use quic_proto::error::TransportErrorCode as Code;
use quic_proto::id::{Dir, Level, Side, StreamId};
use quic_proto::ietf::wire::encode;
use quic_proto::streams::WriteError;
use quic_proto::time::Duration;

fn transport() -> TransportConfig {
    TransportConfig::default().mtu_discovery(false)
}

#[test]
fn no_more_than_three_times_goes_to_an_unvalidated_address() {
    // RFC 9000 §8.1: whatever the time, until a Handshake packet comes from there.
    let mut raw = Raw::new(Side::Client, transport());
    raw.hello(|_| {});
    let mut silent = 0;
    let mut buf = vec![0; 1500];
    for _ in 0..200 {
        while let Some(transmit) = raw.real.poll_transmit(raw.now, &mut buf, common::ONE) {
            silent += transmit.len;
        }
        let Some(next) = raw.real.next_timeout() else { break };
        raw.now = raw.now.max(next);
        raw.real.handle_timeout(raw.now);
    }
    assert!(silent > 0 && silent <= 3 * 1200, "{silent}");
}

#[test]
fn a_handshake_completes_though_the_server_was_held_by_the_limit() {
    // The server's first flight is lost twice: the client's probes must set it free (RFC 9002 §6.2.2.1).
    let mut pair = Pair::new(null_server());
    let mut count = 0;
    pair.network = Box::new(move |to_server, _| {
        count += u32::from(!to_server);
        if !to_server && count <= 3 { Fate::Drop } else { Fate::Deliver }
    });
    let client = pair.connect(&null_client());
    pair.run(Duration::from_secs(20));
    assert!(pair.c(client).is_established());
}

#[test]
fn clients_that_wait_are_limited() {
    let mut pair = Pair::new(null_server().max_incoming(3, 1 << 20));
    pair.accepting = false;
    for _ in 0..10 {
        pair.connect(&null_client());
    }
    pair.run(Duration::from_millis(50));
    let mut waiting = 0;
    while let Some(incoming) = pair.server.poll_incoming() {
        pair.server.ignore(incoming);
        waiting += 1;
    }
    assert_eq!(waiting, 3);
}

#[test]
fn connections_are_limited() {
    let mut pair = Pair::new(null_server().max_connections(2));
    for _ in 0..4 {
        pair.connect(&null_client());
    }
    pair.run(Duration::from_secs(3));
    assert_eq!((pair.accepted.len(), pair.server.connections()), (2, 2));
    let refused = pair.client_events.iter().filter(|(_, event)| {
        matches!(event, quic_proto::event::Event::Closed(reason)
            if common::their_code(Some(reason)) == Some(Code::CONNECTION_REFUSED))
    });
    assert_eq!(refused.count(), 2);
}

#[test]
fn packets_before_their_keys_are_kept_in_a_bounded_stash() {
    // 1-RTT packets by the thousand while the server has no keys for them: they neither break nor delay the handshake.
    let mut raw = Raw::new(Side::Client, transport());
    raw.hello(|_| {});
    let handle = raw.handle.unwrap();
    let mut junk = [vec![0x40], vec![0x11; 1100]].concat();
    for _ in 0..5000 {
        raw.deliver(&mut junk.clone());
    }
    junk[0] = 0xe0;
    for _ in 0..5 {
        raw.exchange();
    }
    assert!(raw.real.connection(handle).unwrap().is_established());
    assert_eq!(raw.closed(), None);
}

#[test]
fn handshake_bytes_ahead_are_bounded() {
    let mut raw = Raw::connected(Side::Client, transport());
    raw.frames(|w| {
        encode::crypto_header(w, 60_000, 10);
        w.zeros(10);
    });
    assert_eq!(raw.verdict(), None, "within the buffer");
    raw.frames(|w| {
        encode::crypto_header(w, 65_536, 10);
        w.zeros(10);
    });
    assert_eq!(raw.verdict().map(|(code, _)| Code(code)), Some(Code::CRYPTO_BUFFER_EXCEEDED));
}

#[test]
fn gaps_in_a_stream_are_bounded_and_never_close_a_connection() {
    let mut raw = Raw::connected(Side::Client, transport());
    for start in 0..2000_u64 {
        raw.packet(Level::OneRtt, 0, |w| {
            for n in 0..20 {
                encode::stream_header(w, StreamId::from_u64(0), (start * 20 + n) * 2 + 1, Some(1), false);
                w.zeros(1);
            }
        });
        if start % 50 == 0 {
            raw.exchange();
        }
    }
    raw.exchange();
    assert_eq!(raw.closed(), None);
}

#[test]
fn streams_are_limited_and_come_again() {
    let (mut pair, client, server) = Pair::connected(transport().max_uni_streams(3).max_bidi_streams(2));
    for (dir, limit) in [(Dir::Uni, 3), (Dir::Bi, 2)] {
        let opened = std::iter::from_fn(|| pair.c(client).open(dir).ok()).take(10).count();
        assert_eq!(opened, limit);
    }
    for index in 0..3 {
        let id = StreamId::new(Side::Client, Dir::Uni, index);
        pair.c(client).send_stream(id).unwrap().finish().unwrap();
    }
    pair.settle();
    while let Some(id) = pair.s(server).accept(Dir::Uni) {
        assert_eq!(common::read_all(pair.s(server), id), (Vec::new(), true));
    }
    pair.settle();
    assert!(pair.c(client).open(Dir::Uni).is_ok());
}

#[test]
fn a_reader_that_does_not_read_stops_its_sender() {
    let window = 1 << 14;
    let (mut pair, client, server) = Pair::connected(
        transport().stream_window(window, window).connection_window(window, window).send_buffer(40_000),
    );
    let id = pair.c(client).open(Dir::Uni).unwrap();
    let mut written = 0;
    for _ in 0..100 {
        let result = pair.c(client).send_stream(id).unwrap().write(&[7; 10_000]);
        match result {
            Ok(len) => written += len,
            Err(error) => assert_eq!(error, WriteError::Blocked),
        }
        pair.run(Duration::from_millis(50));
    }
    assert!(written as u64 <= window + 40_000, "{written}");
    let (data, _) = common::read_all(pair.s(server), id);
    assert_eq!(data.len() as u64, window);
    pair.settle();
    assert!(pair.c(client).send_stream(id).unwrap().write(&[7; 10_000]).is_ok());
}
