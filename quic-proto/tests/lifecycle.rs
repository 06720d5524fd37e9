//! How connections end, and what keeps them alive (RFC 9000 §10).

mod common;

use common::raw::Raw;
use common::{DELAY, Fate, Pair, endpoint, null_client, null_server, read_all};
use quic_proto::config::TransportConfig;
use quic_proto::error::{AppError, ConnectionError, TransportErrorCode as Code};
use quic_proto::event::Event;
use quic_proto::id::{Dir, Level, ResetToken, Side, StreamId};
use quic_proto::ietf::wire::encode;
use quic_proto::streams::OpenError;
use quic_proto::time::Duration;
use std::cell::Cell;
use std::rc::Rc;

const SECOND: Duration = Duration::from_secs(1);

fn idle(seconds: u64) -> TransportConfig {
    TransportConfig::default().max_idle_timeout(Some(SECOND * seconds as u32)).mtu_discovery(false)
}

#[test]
fn silence_ends_a_connection_on_both_sides_without_a_word() {
    let (mut pair, ..) = Pair::connected(idle(10));
    let sent = pair.sent;
    pair.run(SECOND * 9);
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    pair.run(SECOND * 2);
    assert_eq!(pair.client_closed(), Some(&ConnectionError::TimedOut));
    assert_eq!(pair.server_closed(), Some(&ConnectionError::TimedOut));
    assert_eq!(pair.sent, sent, "RFC 9000 §10.1: it is silently closed");
    assert_eq!((pair.client.connections(), pair.server.connections()), (0, 0));
    assert_eq!((pair.client.next_timeout(), pair.server.next_timeout()), (None, None));
}

/// What is kept so that packets cost no allocation goes when no packets come, and comes back with them.
#[test]
fn a_connection_at_rest_keeps_little() {
    let (mut pair, client, server) = Pair::connected(idle(100));
    let data = [7; 50_000];
    let mut before = None;
    for _ in 0..2 {
        let id = pair.client_sends(client, &data);
        pair.settle();
        assert_eq!(read_all(pair.s(server), id), (data.to_vec(), true));
        pair.run(SECOND / 2);
        let memory = [pair.c(client).stats().memory, pair.s(server).stats().memory];
        assert!(pair.c(client).stats().buffers >= 50_000, "they are kept for what comes next");
        pair.run(SECOND);
        for (stats, memory) in [pair.c(client).stats(), pair.s(server).stats()].iter().zip(memory) {
            assert_eq!(stats.buffers, 0);
            assert!(
                stats.memory < 6000 && stats.memory + 40_000 < memory,
                "{} of {memory} bytes",
                stats.memory
            );
        }
        let after = [pair.c(client).stats().memory, pair.s(server).stats().memory];
        assert!(before.is_none_or(|before| before == after));
        before = Some(after);
    }
    let (_, waiting) = (pair.run(SECOND * 20), (pair.client.next_timeout(), pair.server.next_timeout()));
    let idle = pair.now + SECOND * 50;
    assert!(waiting.0 > Some(idle) && waiting.1 > Some(idle), "nothing more is to be done than to time out");
}

#[test]
fn the_shorter_idle_timeout_counts() {
    let mut pair = Pair::new(null_server().transport(idle(100).build().unwrap()));
    pair.connect(&null_client().transport(idle(4).build().unwrap()));
    pair.run(SECOND * 6);
    assert_eq!(pair.server_closed(), Some(&ConnectionError::TimedOut));
}

#[test]
fn an_idle_timeout_leaves_time_for_probes() {
    // RFC 9000 §10.1: "To avoid excessively small idle timeout periods, endpoints MUST increase the idle timeout period to be at least three
    // times the current Probe Timeout (PTO)."
    let hasty = TransportConfig::default().max_idle_timeout(Some(Duration::from_millis(1)));
    let mut raw = Raw::connected(Side::Client, hasty.mtu_discovery(false));
    let heard = raw.now;
    while raw.closed().is_none() {
        raw.wait(Duration::from_millis(1));
    }
    assert_eq!(raw.closed(), Some(&ConnectionError::TimedOut));
    // There is no sample of the RTT: it is assumed to be 333 ms, and the PTO is three times that and the peer's delay (RFC 9002 §6.2).
    let three_pto = Duration::from_millis(3 * (333 * 3 + 25));
    assert!(
        (three_pto - SECOND / 10..three_pto + SECOND).contains(&(raw.now - heard)),
        "{:?}",
        raw.now - heard
    );
}

#[test]
fn keep_alive_keeps_alive() {
    let (mut pair, client, server) = Pair::connected(idle(10).keep_alive(Some(SECOND * 3)));
    pair.run(SECOND * 60);
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    assert!(
        pair.c(client).stats().counters.sent.frames.ping + pair.s(server).stats().counters.sent.frames.ping
            <= 45
    );
    // But not a connection whose peer is gone.
    pair.network = Box::new(|_, _| Fate::Drop);
    pair.run(SECOND * 30);
    assert_eq!(pair.client_closed(), Some(&ConnectionError::TimedOut));
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    let transport = TransportConfig::default().handshake_timeout(SECOND * 5).build().unwrap();
    let mut pair = Pair::new(null_server());
    pair.network = Box::new(|_, _| Fate::Drop);
    pair.connect(&null_client().transport(transport));
    pair.run(SECOND * 20);
    assert_eq!(pair.client_closed(), Some(&ConnectionError::TimedOut));
    assert!((2..20).contains(&pair.sent[1].0), "probes back off: {}", pair.sent[1].0);
}

#[test]
fn close_in_every_state() {
    // From before the first packet to long after the handshake, each millisecond; by either side.
    for by_client in [true, false] {
        for at in 0..60 {
            let mut pair = Pair::new(null_server());
            let client = pair.connect(&null_client());
            pair.run(Duration::from_millis(at));
            let now = pair.now;
            let (code, reason) = (AppError::from(77), b"enough");
            if by_client {
                pair.c(client).close(now, code, reason);
            } else {
                let Some(server) = pair.accepted.first().copied() else { continue };
                pair.s(server).close(now, code, reason);
            }
            pair.run(SECOND * 40);
            let (ours, theirs) = if by_client {
                (pair.client_closed(), pair.server_closed())
            } else {
                (pair.server_closed(), pair.client_closed())
            };
            assert_eq!(ours, Some(&ConnectionError::LocallyClosed), "by client: {by_client}, at {at}");
            match theirs {
                Some(ConnectionError::PeerApplication { code: seen, reason: text }) => {
                    assert_eq!((*seen, &text[..]), (code, &reason[..]));
                }
                // RFC 9000 §10.2.3: before the handshake is done nothing of the application is revealed.
                Some(ConnectionError::PeerTransport(error)) => {
                    assert_eq!((error.code, error.reason.as_ref()), (Code::APPLICATION_ERROR, ""));
                    assert!(at < 50);
                }
                None => assert!(pair.accepted.is_empty(), "by client: {by_client}, at {at}"),
                other => panic!("by client: {by_client}, at {at}: {other:?}"),
            }
            assert_eq!((pair.client.connections(), pair.server.connections()), (0, 0));
        }
    }
}

#[test]
fn who_is_closed_falls_silent() {
    // RFC 9000 §10.2.2: "An endpoint in the draining state MUST NOT send any packets."
    let mut raw = Raw::connected(Side::Client, idle(30));
    raw.packet(Level::OneRtt, 0, |w| encode::application_close(w, AppError::from(5), b"bye"));
    let before = raw.datagrams;
    for _ in 0..100 {
        raw.frames(encode::ping);
    }
    assert!(raw.datagrams <= before + 1);
    assert!(matches!(raw.closed(), Some(ConnectionError::PeerApplication { .. })));
    assert_eq!(raw.real.connections(), 1);
    raw.wait(SECOND * 5);
    assert_eq!(raw.real.connections(), 0);
}

#[test]
fn a_closed_end_answers_at_a_limited_rate() {
    // RFC 9000 §10.2.1: "An endpoint SHOULD limit the rate at which it generates packets in the closing state."
    let mut raw = Raw::connected(Side::Client, idle(30));
    let (handle, now) = (raw.handle.unwrap(), raw.now);
    raw.real.connection(handle).unwrap().close(now, AppError::from(1), b"");
    raw.exchange();
    let before = raw.datagrams;
    for _ in 0..1000 {
        raw.frames(encode::ping);
    }
    let answers = raw.datagrams - before;
    assert!((5..=12).contains(&answers), "{answers}");
}

#[test]
fn nothing_follows_the_event_of_the_end() {
    for side in [Side::Client, Side::Server] {
        let mut raw = Raw::connected(side, idle(30));
        let now = raw.now;
        raw.connection().abort(now, AppError::from(1), b"");
        raw.exchange();
        assert!(matches!(raw.events.last(), Some(Event::Closed(ConnectionError::LocallyClosed))));
        let before = raw.events.len();
        let (opened, used) = (StreamId::new(side, Dir::Uni, 0), raw.connection().stats().buffers);
        raw.frames(|w| {
            encode::max_streams(w, Dir::Bi, 100);
            encode::stream_header(w, opened, 0, Some(5), true);
            w.bytes(b"hello");
        });
        assert_eq!(raw.events[before..], [], "{side:?}");
        assert_eq!((raw.connection().accept(Dir::Uni), raw.connection().stats().buffers), (None, used));
        // That the peer closes too is still heard: RFC 9000 §10.2.1, "If an endpoint … receives a CONNECTION_CLOSE frame, it MAY enter the
        // draining state".
        raw.frames(|w| encode::application_close(w, AppError::from(5), b"bye"));
        let silent = raw.datagrams;
        for _ in 0..10 {
            raw.frames(encode::ping);
        }
        assert_eq!((raw.datagrams, raw.events.len()), (silent, before));
    }
}

#[test]
fn a_graceful_close_loses_nothing() {
    for lossy in [false, true] {
        let (mut pair, client, server) = Pair::connected(idle(30));
        let count = Rc::new(Cell::new(0_u32));
        if lossy {
            let count = count.clone();
            pair.network = Box::new(move |_, _| {
                count.set(count.get() + 1);
                if count.get() % 5 == 2 { Fate::Drop } else { Fate::Deliver }
            });
        }
        let data: Vec<u8> = (0..200_000_u32).map(|n| (n * 7 % 251) as u8).collect();
        let id = pair.client_sends(client, &data);
        let now = pair.now;
        pair.c(client).close(now, AppError::from(9), b"done");
        assert!(pair.c(client).is_closing() && pair.c(client).open(Dir::Bi) == Err(OpenError::Closed));
        let (mut got, mut ended) = (Vec::new(), false);
        for _ in 0..20_000 {
            let end = pair.now + Duration::from_millis(5);
            pair.step(end);
            pair.now = pair.now.max(end);
            let Some(connection) = pair.server.connection(server) else { break };
            if !ended {
                let (more, fin) = read_all(connection, id);
                got.extend(more);
                ended = fin;
            }
        }
        assert!(ended && got == data, "lossy: {lossy}, {} bytes", got.len());
        assert_eq!(pair.client_closed(), Some(&ConnectionError::LocallyClosed));
        assert!(matches!(pair.server_closed(), Some(ConnectionError::PeerApplication { .. })));
    }
}

#[test]
fn an_abort_does_not_wait() {
    let (mut pair, client, _) = Pair::connected(idle(30));
    pair.client_sends(client, &[1; 100_000]);
    let now = pair.now;
    pair.c(client).abort(now, AppError::from(3), b"now");
    pair.run(DELAY);
    assert_eq!(pair.client_closed(), Some(&ConnectionError::LocallyClosed));
    assert!(
        matches!(pair.server_closed(), Some(ConnectionError::PeerApplication { code, .. }) if code.as_u64() == 3)
    );
}

#[test]
fn nothing_can_be_written_after_a_close() {
    let (mut pair, client, _) = Pair::connected(idle(30));
    let id = pair.c(client).open(Dir::Bi).unwrap();
    let now = pair.now;
    pair.c(client).close(now, AppError::default(), b"");
    assert!(pair.c(client).send_stream(id).is_err());
    assert_eq!(pair.c(client).open(Dir::Uni), Err(OpenError::Closed));
}

#[test]
fn a_long_reason_arrives_as_text() {
    let (mut pair, client, _) = Pair::connected(idle(30));
    let now = pair.now;
    pair.c(client).close(now, AppError::from(9), format!("a{}", "é".repeat(200)).as_bytes());
    pair.settle();
    let Some(ConnectionError::PeerApplication { reason, .. }) = pair.server_closed() else {
        panic!("{:?}", pair.server_events)
    };
    assert_eq!(std::str::from_utf8(reason), Ok(&*format!("a{}", "é".repeat(127))));
}

#[test]
fn a_server_that_forgot_resets_its_clients() {
    let (mut pair, client, _) = Pair::connected(idle(30));
    // It starts again with the same secret, from which the tokens are derived.
    pair.replace_server(endpoint(2, Some(null_server().build().unwrap())));
    pair.client_sends(client, &[1; 1000]);
    pair.run(DELAY * 2);
    assert_eq!(pair.client_closed(), Some(&ConnectionError::Reset));
    // RFC 9000 §10.3.1: "the endpoint MUST enter the draining period and not send any further packets on this connection."
    let sent = pair.sent;
    assert_eq!(pair.client.connections(), 1);
    pair.run(SECOND * 5);
    assert_eq!((pair.sent, pair.server.stats().resets), (sent, 1));
    assert_eq!((pair.client.connections(), pair.client.next_timeout()), (0, None));
}

#[test]
fn a_reset_may_look_like_anything() {
    // RFC 9000 §10.3: "Endpoints MUST treat any packet ending in a valid stateless reset token as a Stateless Reset, as other QUIC versions
    // might allow the use of a long header." To the client's own id they come to the connection, to others to the router.
    let heads: [(u8, Option<u32>); 7] = [
        (0x40, None),
        (0x00, None),
        (0xc0, Some(1)),
        (0xe0, Some(1)),
        (0x80, Some(1)),
        (0xc0, Some(0x6b33_43cf)),
        (0xff, Some(0)),
    ];
    for (first, version) in heads {
        for own_id in [false, true] {
            let mut raw = Raw::new(Side::Server, idle(30));
            raw.handshake(|p| p.stateless_reset_token = Some(ResetToken([7; 16])));
            let mut datagram = vec![first];
            if let Some(version) = version {
                datagram.extend(version.to_be_bytes());
                datagram.push(8);
            }
            datagram.extend(if own_id { &*raw.dcid } else { &[0x55; 8] });
            datagram.resize(80, 0x55);
            datagram.extend([6; 16]);
            raw.deliver(&mut datagram.clone());
            assert_eq!(raw.closed(), None, "{first:#x} {version:?}: another token");
            let at = datagram.len() - 16;
            datagram[at..].fill(7);
            raw.deliver(&mut datagram);
            let reset = Some(&ConnectionError::Reset);
            assert_eq!(raw.closed(), reset, "{first:#x} {version:?}, own id: {own_id}");
        }
    }
}

#[test]
fn a_reset_with_another_token_is_not_believed() {
    let (mut pair, client, _) = Pair::connected(idle(30));
    let mut forged = vec![0x5a; 60];
    forged[0] = 0x40;
    pair.inject(false, forged);
    pair.settle();
    assert_eq!(pair.client_closed(), None);
    assert!(!pair.c(client).is_closing());
}
