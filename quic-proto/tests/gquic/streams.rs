//! Streams: limits, flow control, resets.

use crate::common::{DELAY, Fate, Pair, address, closed, read_all};
use crate::support::{connected, pair_with, send};
use quic_proto::config::TransportConfig;
use quic_proto::connection::Connection;
use quic_proto::endpoint::ConnectionHandle;
use quic_proto::error::AppError;
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, StreamId};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::streams::{OpenError, ReadError, WriteError};
use quic_proto::time::Duration;
use std::sync::{Arc, Mutex};

fn usual() -> (Pair, ConnectionHandle, ConnectionHandle) {
    connected(TransportConfig::default())
}

#[test]
fn a_hundred_streams_at_once_echo() {
    let (mut pair, c, s) = usual();
    let data = |id: StreamId| vec![id.as_u64() as u8; 3000 + id.index() as usize];
    let ids: Vec<_> = (0..100)
        .map(|index| {
            let id = StreamId::new(quic_proto::id::Side::Client, Dir::Bi, index);
            assert_eq!(send(pair.c(c), &data(id), true), id);
            id
        })
        .collect();
    assert_eq!(pair.c(c).open(Dir::Bi), Err(OpenError::Blocked), "the hundred and first waits");
    pair.settle();
    for id in &ids {
        assert_eq!(pair.s(s).accept(Dir::Bi), Some(*id));
        let (came, fin) = read_all(pair.s(s), *id);
        assert!(fin && came == data(*id));
        let mut stream = pair.s(s).send_stream(*id).unwrap();
        assert_eq!(stream.write(&came), Ok(came.len()));
        stream.finish().unwrap();
    }
    pair.settle();
    for id in &ids {
        assert_eq!(read_all(pair.c(c), *id), (data(*id), true));
    }
    // All are over: as many more can be opened.
    pair.settle();
    let available = Event::Stream(StreamEvent::Available(Dir::Bi));
    assert!(pair.client_events.iter().any(|(_, event)| *event == available));
    assert_eq!((0..101).map_while(|_| pair.c(c).open(Dir::Bi).ok()).count(), 100);
}

#[test]
fn open_waits_for_a_stream_to_be_over() {
    let (mut pair, c, s) = connected(TransportConfig::default().max_bidi_streams(1));
    let id = send(pair.c(c), b"one", true);
    assert_eq!(pair.c(c).open(Dir::Bi), Err(OpenError::Blocked));
    pair.settle();
    assert_eq!(read_all(pair.s(s), id), (b"one".to_vec(), true));
    pair.settle();
    assert_eq!(pair.c(c).open(Dir::Bi), Err(OpenError::Blocked), "the server has not finished its part");
    pair.s(s).send_stream(id).unwrap().finish().unwrap();
    pair.settle();
    assert_eq!(read_all(pair.c(c), id), (Vec::new(), true));
    assert!(pair.c(c).open(Dir::Bi).is_ok());
}

/// Writes until nothing more is taken.
fn fill(pair: &mut Pair, c: ConnectionHandle, id: StreamId) -> usize {
    let mut written = 0;
    loop {
        match pair.c(c).send_stream(id).unwrap().write(&[5; 1000]) {
            Ok(len) => written += len,
            Err(error) => {
                assert_eq!(error, WriteError::Blocked);
                return written;
            }
        }
    }
}

#[test]
fn a_reader_that_stalls_stops_its_sender_and_reading_resumes_it() {
    let windows = TransportConfig::default().stream_window(32_768, 32_768).connection_window(49_152, 49_152);
    let (mut pair, c, s) = connected(windows);
    let first = pair.c(c).open(Dir::Bi).unwrap();
    assert_eq!(fill(&mut pair, c, first), 32_768);
    pair.settle();
    // The reader does not read: no window update; the writer is blocked, and says so.
    assert_eq!(pair.s(s).stats().counters.sent.frames.max_stream_data, 0);
    assert_eq!(pair.s(s).stats().counters.received.frames.stream_data_blocked, 1);
    assert_eq!(
        pair.s(s).stats().counters.received.frames.data_blocked,
        0,
        "the first stream is free of the connection's limit"
    );
    // Two other streams come to the connection's limit.
    let others = [pair.c(c).open(Dir::Bi).unwrap(), pair.c(c).open(Dir::Bi).unwrap()];
    for id in others {
        fill(&mut pair, c, id);
    }
    pair.settle();
    assert_eq!(pair.s(s).stats().counters.received.frames.data_blocked, 1);
    let received: usize = others.iter().map(|id| read_all(pair.s(s), *id).0.len()).sum();
    assert_eq!(received, 49_152);
    assert_eq!(read_all(pair.s(s), first).0.len(), 32_768);
    // Reading resumes them.
    pair.settle();
    assert!(pair.s(s).stats().counters.sent.frames.max_stream_data >= 1);
    assert!(pair.s(s).stats().counters.sent.frames.max_data >= 1);
    let writable = |id| Event::Stream(StreamEvent::Writable(id));
    assert!(pair.client_events.iter().any(|(_, event)| *event == writable(first)));
    assert_eq!(fill(&mut pair, c, first), 32_768);
    pair.settle();
    let received: usize = others.iter().map(|id| read_all(pair.s(s), *id).0.len()).sum();
    assert_eq!(received, 2 * 32_768 - 49_152);
}

#[test]
fn windows_grow_while_the_reader_keeps_up() {
    let windows =
        TransportConfig::default().stream_window(32_768, 1 << 20).connection_window(49_152, 3 << 19);
    let (mut pair, c, s) = connected(windows);
    let id = pair.c(c).open(Dir::Bi).unwrap();
    let (mut left, mut received) = (3_000_000, 0);
    while received < 3_000_000 {
        if left > 0
            && let Ok(len) = pair.c(c).send_stream(id).unwrap().write(&vec![1; left.min(65_536)])
        {
            left -= len;
        }
        pair.run(Duration::from_millis(5));
        received += read_all(pair.s(s), id).0.len();
        assert!(pair.client_closed().is_none());
    }
    let seconds = (pair.now - quic_proto::time::Instant::EPOCH).as_secs_f64();
    // At 32 KiB a round trip of 20 ms it would take 1.8 s.
    assert!(seconds < 1.8, "{seconds}");
}

#[test]
fn a_reset_goes_both_ways() {
    let (mut pair, c, s) = usual();
    let id = send(pair.c(c), b"never mind", false);
    pair.settle();
    assert_eq!(read_all(pair.s(s), id).0, b"never mind");
    pair.s(s).send_stream(id).unwrap().write(b"half an answer").unwrap();
    pair.c(c).send_stream(id).unwrap().reset(AppError::from(300)).unwrap();
    pair.settle();
    // The server hears of the reset, and is asked to stop as well.
    let mut buf = [0; 10];
    assert_eq!(pair.s(s).recv_stream(id).unwrap().read(&mut buf), Err(ReadError::Reset(AppError::from(300))));
    let stopped = Event::Stream(StreamEvent::Stopped(id, AppError::from(300)));
    assert!(pair.server_events.iter().any(|(_, event)| *event == stopped));
    // It answers with the code for that.
    assert_eq!(pair.c(c).stats().counters.received.frames.reset_stream, 1);
    let read = pair.c(c).recv_stream(id).unwrap().read(&mut buf);
    assert_eq!(read, Err(ReadError::Reset(AppError::from(7))));
    pair.settle();
    assert!(
        pair.c(c).send_stream(id).is_err() && pair.s(s).recv_stream(id).is_err(),
        "it is over at both ends"
    );
}

#[test]
fn who_wants_no_answer_says_so_without_spoiling_the_request() {
    let (mut pair, c, s) = usual();
    let id = send(pair.c(c), b"request", false);
    pair.c(c).recv_stream(id).unwrap().stop(AppError::from(9)).unwrap();
    pair.settle();
    let stops = |pair: &Pair| {
        let event = |event: &Event| matches!(event, Event::Stream(StreamEvent::Stopped(..)));
        pair.server_events.iter().filter(|(_, happened)| event(happened)).count()
    };
    assert_eq!(stops(&pair), 0, "where the request ends is not known");
    pair.c(c).send_stream(id).unwrap().finish().unwrap();
    pair.settle();
    assert_eq!(stops(&pair), 1);
    assert_eq!(pair.s(s).stats().counters.received.frames.reset_stream, 1);
    assert_eq!(pair.s(s).send_stream(id).unwrap().write(b"x"), Err(WriteError::Stopped(AppError::from(0))));
    // The request is complete.
    assert_eq!(read_all(pair.s(s), id), (b"request".to_vec(), true));
    pair.settle();
    assert!(pair.c(c).recv_stream(id).is_err());
}

#[test]
fn who_wants_no_answer_can_say_all_to_a_peer_that_answers_first() {
    const LEN: usize = 200_000;
    let windows = TransportConfig::default().stream_window(32_768, 65_536);
    let (mut pair, c, s) = connected(windows);
    let id = send(pair.c(c), b"request", false);
    pair.settle();
    pair.c(c).recv_stream(id).unwrap().stop(AppError::from(0)).unwrap();
    let write = |connection: &mut Connection, left: &mut usize| {
        let mut stream = connection.send_stream(id).unwrap();
        *left -= stream.write(&vec![1; *left]).unwrap_or(0);
        if *left == 0 {
            // The server may be asked to stop by then.
            let _ = stream.finish();
        }
    };
    // The server does not read before it has written everything: as the file server of a quic-go program would.
    let (mut request, mut answer, mut came) = (LEN, LEN, 0);
    for _ in 0..100 {
        if request > 0 {
            write(pair.c(c), &mut request);
        }
        if answer > 0 {
            write(pair.s(s), &mut answer);
        } else {
            came += read_all(pair.s(s), id).0.len();
        }
        pair.run(Duration::from_millis(20));
    }
    assert_eq!((request, answer, came), (0, 0, b"request".len() + LEN));
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
}

#[test]
fn a_reset_after_the_end_is_not_answered() {
    let (mut pair, c, s) = usual();
    let id = send(pair.c(c), b"long request", false);
    pair.settle();
    pair.s(s).send_stream(id).unwrap().finish().unwrap();
    pair.settle();
    pair.c(c).send_stream(id).unwrap().reset(AppError::from(0)).unwrap();
    pair.settle();
    assert_eq!(pair.s(s).stats().counters.sent.frames.reset_stream, 0, "the server has sent its end already");
    let mut buf = [0; 20];
    // What came before the reset is gone with it; code 0 has another meaning on the wire.
    let read = pair.s(s).recv_stream(id).unwrap().read(&mut buf);
    assert_eq!(read, Err(ReadError::Reset(AppError::from(6))));
}

#[test]
fn a_close_delivers_what_was_finished_and_its_code() {
    for (code, came) in [(0, 0), (300, 300)] {
        let (mut pair, c, s) = usual();
        let id = send(pair.c(c), &[3; 100_000], true);
        let now = pair.now;
        pair.c(c).close(now, AppError::from(code), b"done");
        pair.server.keep(s, true);
        pair.run(Duration::from_secs(5));
        let expected = quic_proto::error::ConnectionError::PeerApplication {
            code: AppError::from(came),
            reason: b"done"[..].into(),
        };
        assert_eq!(closed(&pair.server_events), Some(&expected));
        let (_, mut remains) = pair.server.poll_remains().unwrap();
        assert_eq!(read_all(&mut remains, id), (vec![3; 100_000], true));
    }
}

#[test]
fn idle_connections_end_in_words() {
    let transport = TransportConfig::default().max_idle_timeout(Some(Duration::from_secs(8)));
    let (mut pair, config) = pair_with(transport);
    pair.connect(&config);
    pair.run(Duration::from_secs(7));
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    pair.run(Duration::from_secs(5));
    let timed_out = quic_proto::error::ConnectionError::TimedOut;
    assert_eq!(pair.client_closed().or(pair.server_closed()), Some(&timed_out));
    pair.run(Duration::from_secs(5));
    assert_eq!((pair.client.connections(), pair.server.connections()), (0, 0));
}

#[test]
fn keep_alives_keep_it_alive() {
    let transport = TransportConfig::default()
        .max_idle_timeout(Some(Duration::from_secs(8)))
        .keep_alive(Some(Duration::from_secs(7)));
    let (mut pair, c, _) = connected(transport);
    let before = pair.c(c).stats().counters.sent.frames.ping;
    pair.run(Duration::from_secs(60));
    assert_eq!((pair.client_closed(), pair.server_closed()), (None, None));
    // At half of the peer's idle timeout (chapter 11), which is sooner than what was configured; the server sends some of them.
    let pings = pair.c(c).stats().counters.sent.frames.ping - before;
    assert!((4..=16).contains(&pings), "{pings}");
}

#[test]
fn a_client_whose_address_changes_is_followed() {
    let (mut pair, c, s) = usual();
    let moved = FourTuple::to(address(9));
    // From now on what the client sends comes from another port, as if a NAT had forgotten it.
    let sent = Arc::new(Mutex::new(Vec::new()));
    let copy = Arc::clone(&sent);
    pair.network = Box::new(move |to_server, bytes| {
        if to_server {
            copy.lock().unwrap().push(bytes.clone());
            return Fate::Drop;
        }
        Fate::Deliver
    });
    let id = send(pair.c(c), b"here I am", false);
    for _ in 0..20 {
        pair.run(Duration::from_millis(5));
        for mut payload in std::mem::take(&mut *sent.lock().unwrap()) {
            let datagram = Datagram { path: moved, ecn: None, payload: &mut payload };
            pair.server.handle_datagram(pair.now, datagram);
        }
    }
    assert_eq!(pair.s(s).path(), moved);
    assert_eq!(read_all(pair.s(s), id).0, b"here I am");
    // The client acknowledged what went there: more than three times what came may follow.
    let mut answer = pair.s(s).send_stream(id).unwrap();
    assert_eq!(answer.write(&[1; 50_000]), Ok(50_000));
    for _ in 0..100 {
        pair.run(Duration::from_millis(5));
        for mut payload in std::mem::take(&mut *sent.lock().unwrap()) {
            let datagram = Datagram { path: moved, ecn: None, payload: &mut payload };
            pair.server.handle_datagram(pair.now, datagram);
        }
    }
    assert_eq!(read_all(pair.c(c), id).0.len(), 50_000);
}

#[test]
fn a_receiver_asks_now_and_then_whether_its_acknowledgements_arrive() {
    // With windows so large that no update is due.
    let wide =
        TransportConfig::default().stream_window(32 << 20, 32 << 20).connection_window(32 << 20, 32 << 20);
    let (mut pair, c, s) = connected(wide);
    let id = send(pair.c(c), b"much, please", true);
    pair.settle();
    let before = pair.c(c).stats().counters.sent;
    let mut left = 2_000_000;
    while left > 0 {
        if let Ok(len) = pair.s(s).send_stream(id).unwrap().write(&vec![2; left.min(100_000)]) {
            left -= len;
        }
        pair.run(Duration::from_millis(10));
        read_all(pair.c(c), id);
    }
    let after = pair.c(c).stats().counters.sent;
    let (acks, pings) = (after.frames.ack - before.frames.ack, after.frames.ping - before.frames.ping);
    // Chapter 5: after 19 packets with nothing but an ACK.
    assert!(acks > 40 && (acks / 20 - 2..=acks / 20 + 2).contains(&pings), "{acks} acks, {pings} pings");
    // From packet 100 on every tenth is acknowledged at once.
    assert!(acks < 1_400 / 4, "{acks}");
}

/// Chapter 5: "ACK at once for the first packet, then for every second retransmittable packet, or 25 ms after the first unacknowledged one …
/// From packet number 100 on: every tenth, or min(25 ms, a quarter of the smallest RTT)."
#[test]
fn acknowledgements_are_delayed_and_become_scarce() {
    let (mut pair, c, s) = connected(TransportConfig::default().mtu_discovery(false).pacing(false));
    let id = send(pair.c(c), b"first", false);
    let sent = |pair: &Pair| (pair.sent[1].0, pair.sent[0].0);
    // One packet alone is acknowledged 25 ms after it came, and not before.
    let (_, before) = sent(&pair);
    pair.run(DELAY + Duration::from_millis(24));
    assert_eq!(sent(&pair).1, before);
    pair.run(Duration::from_millis(2));
    assert_eq!(sent(&pair).1, before + 1);
    // Of a hundred packets every second one.
    let write = |pair: &mut Pair, packets: usize| {
        let start = sent(pair);
        for _ in 0..packets {
            let mut stream = pair.c(c).send_stream(id).unwrap();
            assert_eq!(stream.write(&[7; 1000]), Ok(1000));
            pair.run(Duration::from_micros(100));
        }
        pair.settle();
        read_all(pair.s(s), id);
        let end = sent(pair);
        (end.0 - start.0, end.1 - start.1)
    };
    let (packets, answers) = write(&mut pair, 10);
    assert_eq!((packets, answers), (10, 5));
    while sent(&pair).0 < 110 {
        write(&mut pair, 8);
    }
    let (packets, answers) = write(&mut pair, 20);
    assert_eq!((packets, answers), (20, 2), "every tenth");
}
