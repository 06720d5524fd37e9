//! Two ends talk to each other through frames. Here is what the rules say of each case; `model` tries random sequences of them.

mod model;

use super::*;
use crate::error::{AppError, TransportError, TransportErrorCode};
use crate::recovery::token::Token;

const RTT: Duration = Duration::from_millis(20);

fn config(side: Side) -> StreamsConfig {
    StreamsConfig {
        side,
        stream_window: 10_000,
        stream_window_max: 40_000,
        connection_window: 25_000,
        connection_window_max: 80_000,
        max_bidi: 4,
        max_uni: 3,
        send_buffer: 30_000,
        rules: StreamRules::default(),
    }
}

fn limits(config: &StreamsConfig) -> PeerLimits {
    PeerLimits {
        max_data: config.connection_window,
        stream_data_bidi_local: config.stream_window,
        stream_data_bidi_remote: config.stream_window,
        stream_data_uni: config.stream_window,
        max_bidi: config.max_bidi,
        max_uni: config.max_uni,
    }
}

/// Client and server, with each other's limits.
fn pair() -> [Streams; 2] {
    pair_with(StreamRules::default())
}

fn pair_with(rules: StreamRules) -> [Streams; 2] {
    let configs = [Side::Client, Side::Server].map(|side| StreamsConfig { rules, ..config(side) });
    let mut ends = configs.map(Streams::new);
    ends[0].set_peer_limits(limits(&configs[1]));
    ends[1].set_peer_limits(limits(&configs[0]));
    ends
}

fn client() -> Streams {
    let [client, _] = pair();
    client
}

#[derive(Clone, Debug)]
enum Frame {
    Stream(StreamId, u64, Vec<u8>, bool),
    Other(Intent),
}

/// The next frame that an end wants to send, of at most `max` stream bytes.
fn next_frame(from: &mut Streams, max: usize) -> Option<(Frame, Token)> {
    if let Some(intent) = from.peek_intent() {
        return Some((Frame::Other(intent), from.take_intent(&intent)));
    }
    let sendable = from.peek_data()?;
    let mut data = vec![0; sendable.len.min(max)];
    let token = from.take_data(&sendable, data.len(), &mut data);
    let Token::Stream { fin, .. } = token else { panic!("a stream's token") };
    Some((Frame::Stream(sendable.id, sendable.offset, data, fin), token))
}

fn deliver(to: &mut Streams, now: Instant, frame: &Frame) -> Result<Received, TransportError> {
    match *frame {
        Frame::Stream(id, offset, ref data, fin) => return to.on_stream(now, RTT, id, offset, data, fin),
        Frame::Other(Intent::MaxData(limit)) => to.on_max_data(limit),
        Frame::Other(Intent::MaxStreamData(id, limit)) => to.on_max_stream_data(id, limit),
        Frame::Other(Intent::MaxStreams(dir, limit)) => to.on_max_streams(dir, limit),
        Frame::Other(Intent::DataBlocked(limit)) => to.on_data_blocked(limit),
        Frame::Other(Intent::StreamDataBlocked(id, limit)) => to.on_stream_data_blocked(id, limit),
        Frame::Other(Intent::StreamsBlocked(dir, limit)) => to.on_streams_blocked(dir, limit),
        Frame::Other(Intent::ResetStream { id, code, final_size }) => {
            to.on_reset_stream(id, code, final_size)
        }
        Frame::Other(Intent::StopSending { id, code }) => to.on_stop_sending(id, code),
    }
    .map(|()| Received::Stored)
}

/// Sends and acknowledges everything that both want to say.
fn settle(ends: &mut [Streams; 2]) {
    let mut quiet = 0;
    while quiet < 2 {
        quiet += 1;
        while let Some((frame, token)) = next_frame(&mut ends[0], 1200) {
            deliver(&mut ends[1], Instant::EPOCH, &frame).unwrap();
            ends[0].on_acked(token);
            quiet = 0;
        }
        ends.swap(0, 1);
    }
    if ends[0].config.side == Side::Server {
        ends.swap(0, 1);
    }
}

fn events(end: &mut Streams) -> Vec<StreamEvent> {
    std::iter::from_fn(|| end.poll_event()).collect()
}

fn bidi(side: Side, index: u64) -> StreamId {
    StreamId::new(side, Dir::Bi, index)
}

fn code<T: std::fmt::Debug>(result: Result<T, TransportError>) -> TransportErrorCode {
    result.unwrap_err().code
}

fn byte(id: StreamId, offset: u64) -> u8 {
    (id.as_u64() * 101 + offset * 31 + offset / 251) as u8
}

#[test]
fn a_request_and_its_response_leave_nothing_behind() {
    let mut ends = pair();
    let id = ends[0].open(Dir::Bi).unwrap();
    ends[0].send_stream(id).unwrap().write(b"request").unwrap();
    ends[0].send_stream(id).unwrap().finish().unwrap();
    assert!(!ends[0].all_sent_acked());
    settle(&mut ends);
    assert!(ends[0].all_sent_acked());
    assert_eq!(events(&mut ends[0]), [StreamEvent::Finished(id)]);
    assert_eq!(events(&mut ends[1]), [StreamEvent::Opened(Dir::Bi), StreamEvent::Readable(id)]);
    assert_eq!(ends[1].accept(Dir::Bi), Some(id));
    assert_eq!(ends[1].accept(Dir::Bi), None);
    let mut out = [0; 20];
    assert_eq!(ends[1].recv_stream(id).unwrap().read(&mut out), Ok(Read { len: 7, fin: true }));
    assert_eq!(&out[..7], b"request");
    let mut response = bytes::Bytes::from(vec![5; 2000]);
    assert_eq!(ends[1].send_stream(id).unwrap().write_bytes(&mut response), Ok(2000));
    ends[1].send_stream(id).unwrap().finish().unwrap();
    settle(&mut ends);
    assert_eq!(ends[0].recv_stream(id).unwrap().read_bytes(5000).unwrap().unwrap(), vec![5; 2000]);
    assert_eq!(ends[0].recv_stream(id).unwrap().read_bytes(5000), Ok(None));
    assert!(ends[0].is_empty() && ends[1].is_empty());
    assert_eq!(ends[0].recv_stream(id).unwrap_err(), ClosedStream);
    for end in &ends {
        assert_eq!((end.pool.bytes_in_use(), end.buffered()), (0, 0));
    }
}

#[test]
fn stream_states_rfc_9000_section_19() {
    let code_of_app = AppError::from(1);
    let mut end = client();
    let (own_uni, peer_uni) =
        (StreamId::new(Side::Client, Dir::Uni, 0), StreamId::new(Side::Server, Dir::Uni, 0));
    let state = TransportErrorCode::STREAM_STATE_ERROR;
    for id in [own_uni, bidi(Side::Client, 0)] {
        assert_eq!(code(end.on_stream(Instant::EPOCH, RTT, id, 0, b"", false)), state);
        assert_eq!(code(end.on_reset_stream(id, code_of_app, 0)), state);
        assert_eq!(code(end.on_stream_data_blocked(id, 0)), state);
        assert_eq!(code(end.on_stop_sending(id, code_of_app)), state);
        assert_eq!(code(end.on_max_stream_data(id, 0)), state);
    }
    assert_eq!(code(end.on_stop_sending(peer_uni, code_of_app)), state);
    assert_eq!(code(end.on_max_stream_data(peer_uni, 0)), state);
    let limit = TransportErrorCode::STREAM_LIMIT_ERROR;
    assert_eq!(code(end.on_max_stream_data(bidi(Side::Server, 4), 0)), limit);
    assert_eq!(code(end.on_stream(Instant::EPOCH, RTT, bidi(Side::Server, 4), 0, b"", false)), limit);
    assert_eq!(code(end.on_max_streams(Dir::Bi, (1 << 60) + 1)), TransportErrorCode::FRAME_ENCODING_ERROR);
    assert_eq!(
        code(end.on_streams_blocked(Dir::Bi, (1 << 60) + 1)),
        TransportErrorCode::FRAME_ENCODING_ERROR
    );
}

#[test]
fn final_sizes_rfc_9000_section_4_5() {
    let mut end = client();
    let (id, now, wrong) = (bidi(Side::Server, 0), Instant::EPOCH, TransportErrorCode::FINAL_SIZE_ERROR);
    end.on_stream(now, RTT, id, 10, b"data", false).unwrap();
    assert_eq!(code(end.on_stream(now, RTT, id, 0, b"data", true)), wrong, "below what was received");
    assert_eq!(code(end.on_reset_stream(id, AppError::from(1), 13)), wrong);
    end.on_stream(now, RTT, id, 20, b"", true).unwrap();
    end.on_stream(now, RTT, id, 20, b"", true).unwrap();
    assert_eq!(code(end.on_stream(now, RTT, id, 20, b"x", false)), wrong, "beyond");
    assert_eq!(code(end.on_stream(now, RTT, id, 20, b"x", true)), wrong, "changed");
    assert_eq!(code(end.on_reset_stream(id, AppError::from(1), 21)), wrong);
    end.on_reset_stream(id, AppError::from(1), 20).unwrap();
    assert_eq!(end.recv_stream(id).unwrap().read(&mut [0; 9]), Err(ReadError::Reset(AppError::from(1))));
}

#[test]
fn flow_control_rfc_9000_section_4_1() {
    let (now, exceeded) = (Instant::EPOCH, TransportErrorCode::FLOW_CONTROL_ERROR);
    let mut end = client();
    assert_eq!(code(end.on_stream(now, RTT, bidi(Side::Server, 0), 9_999, b"xy", false)), exceeded);
    for index in 0..2 {
        end.on_stream(now, RTT, bidi(Side::Server, index), 9_999, b"x", false).unwrap();
    }
    let third = bidi(Side::Server, 2);
    assert_eq!(code(end.on_stream(now, RTT, third, 5_000, b"x", false)), exceeded, "of the connection");
    assert_eq!(code(end.on_reset_stream(third, AppError::from(0), 5_001)), exceeded);
    end.on_stream(now, RTT, third, 4_999, b"x", false).unwrap();
}

#[test]
fn a_reset_gives_the_connection_its_credit_back() {
    let mut end = client();
    end.on_stream(Instant::EPOCH, RTT, bidi(Side::Server, 0), 0, &[0; 1000], false).unwrap();
    end.on_reset_stream(bidi(Side::Server, 0), AppError::from(3), 9_000).unwrap();
    assert_eq!(end.peek_intent(), Some(Intent::MaxData(34_000)));
    assert_eq!(end.pool.bytes_in_use(), 0);
}

#[test]
fn a_stopped_stream_gives_credit_back_and_ends_with_the_peers_reset() {
    let mut ends = pair();
    let id = ends[0].open(Dir::Uni).unwrap();
    ends[0].send_stream(id).unwrap().write(&[1; 9000]).unwrap();
    settle(&mut ends);
    assert_eq!(ends[1].accept(Dir::Uni), Some(id));
    ends[1].recv_stream(id).unwrap().stop(AppError::from(7)).unwrap();
    assert_eq!(ends[1].recv_stream(id).unwrap().read(&mut [0; 9]), Err(ReadError::Closed));
    settle(&mut ends);
    assert!(events(&mut ends[0]).contains(&StreamEvent::Stopped(id, AppError::from(7))));
    assert!(ends[0].is_empty() && ends[1].is_empty());
    assert_eq!(ends[0].send_credit.limit(), 34_000);
    assert_eq!(ends[0].own_opened[1].credit.limit(), 4, "a stream may take its place");
}

#[test]
fn stopping_resets_and_tells_the_writer() {
    let mut end = client();
    let id = end.open(Dir::Bi).unwrap();
    end.send_stream(id).unwrap().write(&[1; 100]).unwrap();
    end.on_stop_sending(id, AppError::from(9)).unwrap();
    assert_eq!(end.send_stream(id).unwrap().write(b"x"), Err(WriteError::Stopped(AppError::from(9))));
    assert!(!end.can_send());
    let reset = Intent::ResetStream { id, code: AppError::from(9), final_size: 0 };
    assert_eq!(end.peek_intent(), Some(reset));
    let token = end.take_intent(&reset);
    assert_eq!(end.peek_intent(), None);
    end.on_lost(token);
    assert_eq!(end.peek_intent(), Some(reset));
}

#[test]
fn writes_wait_for_the_stream_and_say_so_once() {
    let mut end = client();
    let id = end.open(Dir::Bi).unwrap();
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 20_000]), Ok(10_000));
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 9]), Err(WriteError::Blocked));
    let blocked = Intent::StreamDataBlocked(id, 10_000);
    assert_eq!(end.peek_intent(), Some(blocked));
    end.take_intent(&blocked);
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 9]), Err(WriteError::Blocked));
    assert_eq!(end.peek_intent(), None);
    end.on_max_stream_data(id, 9_000).unwrap();
    assert_eq!(end.poll_event(), None, "limits do not shrink");
    end.on_max_stream_data(id, 10_005).unwrap();
    assert_eq!(end.poll_event(), Some(StreamEvent::Writable(id)));
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 9]), Ok(5));
}

#[test]
fn writes_wait_for_room_in_the_send_buffer() {
    let mut end = client();
    end.on_max_data(1 << 20).unwrap();
    let ids: Vec<_> = (0..4).map(|_| end.open(Dir::Bi).unwrap()).collect();
    for id in &ids[..3] {
        assert_eq!(end.send_stream(*id).unwrap().write(&[0; 10_000]), Ok(10_000));
    }
    assert_eq!(end.send_stream(ids[3]).unwrap().write(b"x"), Err(WriteError::Blocked));
    assert_eq!(end.send_stream(ids[3]).unwrap().write(b"x"), Err(WriteError::Blocked));
    let tokens: Vec<_> = std::iter::from_fn(|| next_frame(&mut end, 1000)).map(|(_, token)| token).collect();
    assert!(!end.can_send());
    for token in tokens {
        end.on_acked(token);
    }
    assert_eq!(events(&mut end), [StreamEvent::Writable(ids[3])]);
    assert_eq!(end.buffered(), 0);
}

#[test]
fn the_connections_limit_stops_new_data_only() {
    let mut end = client();
    let ids: Vec<_> = (0..3).map(|_| end.open(Dir::Bi).unwrap()).collect();
    for id in &ids {
        end.send_stream(*id).unwrap().write(&[0; 10_000]).unwrap();
    }
    let mut sent = Vec::new();
    while end.can_send() {
        let (frame, token) = next_frame(&mut end, 1000).unwrap();
        assert!(matches!(frame, Frame::Stream(_, _, ref data, _) if !data.is_empty()));
        sent.push(token);
    }
    assert_eq!(end.stats().sent, 25_000);
    assert_eq!(end.peek_data(), None);
    assert_eq!(end.peek_intent(), Some(Intent::DataBlocked(25_000)));
    end.take_intent(&Intent::DataBlocked(25_000));
    end.on_lost(sent[0]);
    assert!(end.can_send(), "what was lost needs no credit");
    assert!(next_frame(&mut end, 2000).is_some());
    assert!(!end.can_send() && end.peek_intent().is_none());
    end.on_max_data(30_000).unwrap();
    assert!(end.can_send());
}

#[test]
fn opening_waits_for_the_peers_limit() {
    let mut end = client();
    while end.open(Dir::Uni).is_ok() {}
    assert_eq!(end.peek_intent(), Some(Intent::StreamsBlocked(Dir::Uni, 3)));
    end.take_intent(&Intent::StreamsBlocked(Dir::Uni, 3));
    assert_eq!(end.open(Dir::Uni), Err(OpenError::Blocked));
    assert_eq!(end.peek_intent(), None);
    end.on_max_streams(Dir::Uni, 4).unwrap();
    assert_eq!(end.poll_event(), Some(StreamEvent::Available(Dir::Uni)));
    assert!(end.open(Dir::Uni).is_ok());
}

#[test]
fn what_is_lacking_is_told() {
    let mut end = client();
    assert_eq!(end.lack(), Lack::Data);
    let id = end.open(Dir::Bi).unwrap();
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 20_000]), Ok(10_000));
    let mut tokens: Vec<_> =
        std::iter::from_fn(|| next_frame(&mut end, 1000)).map(|(_, token)| token).collect();
    assert_eq!(end.lack(), Lack::Data, "nobody was told to wait");
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 9]), Err(WriteError::Blocked));
    assert_eq!(end.lack(), Lack::StreamCredit);
    end.on_max_stream_data(id, 40_000).unwrap();
    assert_eq!(end.lack(), Lack::Data, "the application's turn");
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 30_000]), Ok(20_000), "the send buffer holds no more");
    assert_eq!(end.send_stream(id).unwrap().write(&[0; 9]), Err(WriteError::Blocked));
    while end.can_send() {
        tokens.extend(next_frame(&mut end, 1000).map(|(_, token)| token));
    }
    assert_eq!(end.lack(), Lack::ConnectionCredit);
    end.on_max_data(80_000).unwrap();
    tokens.extend(std::iter::from_fn(|| next_frame(&mut end, 1000)).map(|(_, token)| token));
    assert_eq!(end.lack(), Lack::Room);
    tokens.into_iter().for_each(|token| end.on_acked(token));
    assert_eq!(end.lack(), Lack::Data);
    while end.open(Dir::Uni).is_ok() {}
    assert_eq!(end.lack(), Lack::Streams);
}

/// A stream that goes on waiting for the peer's limit does not hide that others do not any more, nor do they pile up below it.
#[test]
fn streams_that_waited_are_forgotten() {
    let mut end = client();
    end.on_max_streams(Dir::Bi, 1 << 20).unwrap();
    end.set_peer_limits(PeerLimits { max_bidi: 1 << 20, ..PeerLimits::default() });
    let stalled = |end: &mut Streams| {
        let id = end.open(Dir::Bi).unwrap();
        assert_eq!(end.send_stream(id).unwrap().write(b"x"), Err(WriteError::Blocked));
        id
    };
    let mut before = stalled(&mut end);
    for _ in 0..1000 {
        let id = stalled(&mut end);
        end.send_stream(before).unwrap().reset(AppError::from(1)).unwrap();
        end.recv_stream(before).unwrap().stop(AppError::from(1)).unwrap();
        let tokens: Vec<_> = std::iter::from_fn(|| next_frame(&mut end, 0)).map(|(_, token)| token).collect();
        tokens.into_iter().for_each(|token| end.on_acked(token));
        end.on_reset_stream(before, AppError::from(1), 0).unwrap();
        assert_eq!(end.lack(), Lack::StreamCredit);
        before = id;
    }
    assert!(end.stalled.len() < 10, "{}", end.stalled.len());
    end.send_stream(before).unwrap().finish().unwrap();
    assert_eq!(end.lack(), Lack::Data, "who ended the stream waits no more");
}

#[test]
fn equals_take_turns_and_priority_goes_first() {
    let mut end = client();
    end.on_max_data(1 << 20).unwrap();
    let ids: Vec<_> = (0..3).map(|_| end.open(Dir::Bi).unwrap()).collect();
    for id in &ids {
        end.send_stream(*id).unwrap().write(&[0; 10_000]).unwrap();
    }
    end.send_stream(ids[2]).unwrap().set_priority(5);
    let mut order = Vec::new();
    while let Some((Frame::Stream(id, _, data, _), _)) = next_frame(&mut end, 2048) {
        order.extend(data.iter().map(|_| id));
    }
    let mut turns = Vec::new();
    for run in order.chunk_by(|a, b| a == b) {
        turns.push((run[0], run.len()));
    }
    let [a, b, c] = [ids[0], ids[1], ids[2]];
    assert_eq!(turns, [(c, 10_000), (a, 8192), (b, 8192), (a, 1808), (b, 1808)]);
}

#[test]
fn streams_that_are_not_metered_ignore_the_connections_limit() {
    let id = bidi(Side::Client, 0);
    let rules = StreamRules { unmetered: Some(id), ..StreamRules::default() };
    let mut ends = pair_with(rules);
    ends[0].send_credit = SendCredit::new(0);
    assert_eq!(ends[0].open(Dir::Bi), Ok(id));
    ends[0].send_stream(id).unwrap().write(b"hello").unwrap();
    assert!(ends[0].can_send());
    settle(&mut ends);
    assert_eq!(ends[1].recv_stream(id).unwrap().read(&mut [0; 9]), Ok(Read { len: 5, fin: false }));
}

#[test]
fn limits_of_what_is_open_at_once_rise_with_each_stream_that_is_over() {
    let rules = StreamRules { concurrent_limits: Some(1000), tolerance: 2, ..StreamRules::default() };
    let mut ends = pair_with(rules);
    let ids: Vec<_> = std::iter::from_fn(|| ends[0].open(Dir::Bi).ok()).collect();
    assert_eq!(ids.len(), 4);
    assert_eq!(ends[0].peek_intent(), None, "no frame tells of stream limits");
    for end in 0..2 {
        ends[end].send_stream(ids[1]).unwrap().finish().unwrap();
        settle(&mut ends);
        assert!(ends[1 - end].recv_stream(ids[1]).unwrap().read(&mut [0; 9]).unwrap().fin);
    }
    settle(&mut ends);
    assert!(
        std::iter::from_fn(|| ends[0].poll_event()).any(|event| event == StreamEvent::Available(Dir::Bi))
    );
    assert_eq!(ends[0].open(Dir::Bi), Ok(bidi(Side::Client, 4)));
    assert_eq!(ends[0].open(Dir::Bi), Err(OpenError::Blocked));
    assert_eq!(ends[1].peek_intent(), None);
    // The one that is over and two more than permitted are tolerated, a third one is not.
    let open = |end: &mut Streams, index| {
        end.on_stream(Instant::EPOCH, RTT, bidi(Side::Client, index), 0, b"x", false)
    };
    assert!(open(&mut ends[1], 6).is_ok());
    assert_eq!(open(&mut ends[1], 7).unwrap_err().code, TransportErrorCode::STREAM_LIMIT_ERROR);
}

/// The peer may know that a stream is over long before its acknowledgement comes, and open another one; but it cannot have ever more
/// streams by acknowledging nothing.
#[test]
fn limits_of_what_is_open_at_once_do_not_wait_for_acknowledgements() {
    let rules = StreamRules { concurrent_limits: Some(1000), ..StreamRules::default() };
    let [_, mut end] = pair_with(rules);
    let ask = |end: &mut Streams, index, fin| {
        end.on_stream(Instant::EPOCH, RTT, bidi(Side::Client, index), 0, b"x", fin)
    };
    for index in 0..4 {
        ask(&mut end, index, true).unwrap();
    }
    for index in 0..8 {
        let id = bidi(Side::Client, index);
        assert!(ask(&mut end, index + 4, true).is_err(), "four are open");
        assert!(end.recv_stream(id).unwrap().read(&mut [0; 9]).unwrap().fin);
        if index % 2 == 0 {
            end.send_stream(id).unwrap().finish().unwrap();
            // It is told, and nothing is acknowledged.
            while next_frame(&mut end, 1200).is_some() {}
        } else {
            end.on_stop_sending(id, AppError::from(1)).unwrap();
        }
        assert_eq!(ask(&mut end, index + 4, true).is_ok(), index < 4, "{index}");
    }
}

#[test]
fn a_stop_that_tells_the_end_waits_for_it() {
    let rules = StreamRules { stop_tells_end: true, ..StreamRules::default() };
    let mut ends = pair_with(rules);
    let id = ends[0].open(Dir::Bi).unwrap();
    ends[0].send_stream(id).unwrap().write(b"hello").unwrap();
    ends[0].recv_stream(id).unwrap().stop(AppError::from(3)).unwrap();
    assert_eq!((ends[0].peek_intent(), ends[0].end_of(id)), (None, None));
    // What the peer sends meanwhile is dropped, and it gets credit for more of it.
    let data = vec![0; ends[0].config.stream_window as usize];
    ends[0].on_stream(Instant::EPOCH, RTT, id, 0, &data, false).unwrap();
    let intents: Vec<_> = std::iter::from_fn(|| {
        let intent = ends[0].peek_intent()?;
        ends[0].take_intent(&intent);
        Some(intent)
    })
    .collect();
    assert!(intents.iter().any(|intent| matches!(intent, Intent::MaxStreamData(..))), "{intents:?}");
    ends[0].send_stream(id).unwrap().finish().unwrap();
    assert_eq!(ends[0].end_of(id), Some(5));
    assert_eq!(ends[0].peek_intent(), Some(Intent::StopSending { id, code: AppError::from(3) }));
}

#[test]
fn a_frame_with_too_many_gaps_before_it_is_refused_and_changes_nothing() {
    let mut end = client();
    let id = bidi(Side::Server, 0);
    let mut refused = 0;
    for at in 0..200 {
        match end.on_stream(Instant::EPOCH, RTT, id, 2 * at + 1, b"x", at == 199).unwrap() {
            Received::Stored => assert_eq!(refused, 0),
            Received::Refused => refused += 1,
        }
    }
    assert_eq!(refused, 200 - 64);
    assert_eq!(end.recv_credit.received(), 128, "nothing refused was counted");
    end.on_stream(Instant::EPOCH, RTT, id, 0, &[0; 500], true).unwrap();
    assert_eq!(end.recv_stream(id).unwrap().read(&mut [1; 600]), Ok(Read { len: 500, fin: true }));
}

#[test]
fn events_and_queues_do_not_grow_with_what_a_peer_repeats() {
    let mut end = client();
    let id = bidi(Side::Server, 3);
    for _ in 0..1000 {
        end.on_stream(Instant::EPOCH, RTT, id, 0, b"x", false).unwrap();
        end.on_stop_sending(id, AppError::from(1)).unwrap();
        end.on_streams_blocked(Dir::Bi, 0).unwrap();
        end.on_stream_data_blocked(id, 0).unwrap();
    }
    assert_eq!(events(&mut end).len(), 3);
    assert!(end.wanting.len() <= 1);
    assert_eq!(end.len(), 1, "lower streams cost nothing before they are used");
}
