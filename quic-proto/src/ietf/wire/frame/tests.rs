use super::super::encode;
use super::types::*;
use super::*;
use crate::codec::Writer;
use crate::net::EcnCounts;
use proptest::collection::vec;
use proptest::prelude::*;

/// Writes a frame as a sender would.
fn write(w: &mut Writer<'_>, frame: &Frame<'_>) {
    match frame {
        Frame::Padding(len) => encode::padding(w, *len),
        Frame::Ping => encode::ping(w),
        Frame::Ack(ack) => {
            assert!(ack::encode_ack(w, ack.ranges.clone(), ack.delay, ack.ecn, 64));
        }
        Frame::ResetStream { id, code, final_size } => encode::reset_stream(w, *id, *code, *final_size),
        Frame::StopSending { id, code } => encode::stop_sending(w, *id, *code),
        Frame::Crypto { offset, data } => {
            let start = w.len();
            encode::crypto_header(w, *offset, data.len());
            assert_eq!(w.len() - start, encode::crypto_overhead(*offset, data.len()));
            w.bytes(data);
        }
        Frame::NewToken(token) => encode::new_token(w, token),
        Frame::Stream { id, offset, data, fin } => {
            let start = w.len();
            encode::stream_header(w, *id, *offset, Some(data.len()), *fin);
            assert_eq!(w.len() - start, encode::stream_overhead(*id, *offset, Some(data.len())));
            w.bytes(data);
        }
        Frame::MaxData(limit) => encode::max_data(w, *limit),
        Frame::MaxStreamData { id, limit } => encode::max_stream_data(w, *id, *limit),
        Frame::MaxStreams { dir, limit } => encode::max_streams(w, *dir, *limit),
        Frame::DataBlocked(limit) => encode::data_blocked(w, *limit),
        Frame::StreamDataBlocked { id, limit } => encode::stream_data_blocked(w, *id, *limit),
        Frame::StreamsBlocked { dir, limit } => encode::streams_blocked(w, *dir, *limit),
        Frame::NewConnectionId { sequence, retire_prior_to, cid, reset_token } => {
            encode::new_connection_id(w, *sequence, *retire_prior_to, cid, reset_token);
        }
        Frame::RetireConnectionId(sequence) => encode::retire_connection_id(w, *sequence),
        Frame::PathChallenge(data) => encode::path_challenge(w, data),
        Frame::PathResponse(data) => encode::path_response(w, data),
        Frame::ConnectionClose { code, frame_type, reason } => {
            encode::connection_close(w, *code, *frame_type, reason);
        }
        Frame::ApplicationClose { code, reason } => encode::application_close(w, *code, reason),
        Frame::HandshakeDone => encode::handshake_done(w),
    }
}

fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 2u32..64).prop_map(|(number, shift)| number >> shift)
}

/// Frames whose bytes live as long as the test process: a test's inputs are few and small.
fn bytes() -> impl Strategy<Value = &'static [u8]> {
    vec(any::<u8>(), 0..80).prop_map(|bytes| &*bytes.leak())
}

fn id() -> impl Strategy<Value = StreamId> {
    number().prop_map(StreamId::from_u64)
}

fn code() -> impl Strategy<Value = AppError> {
    number().prop_map(|code| AppError::try_from(code).unwrap())
}

fn dir() -> impl Strategy<Value = Dir> {
    any::<bool>().prop_map(|uni| if uni { Dir::Uni } else { Dir::Bi })
}

fn ecn() -> impl Strategy<Value = EcnCounts> {
    (number(), number(), number()).prop_map(|(ect0, ect1, ce)| EcnCounts { ect0, ect1, ce })
}

fn ack() -> impl Strategy<Value = Frame<'static>> {
    let steps = vec((0u64..1 << 20, 0u64..1 << 20), 0..8);
    (number(), number(), proptest::option::of(ecn()), steps).prop_map(|(smallest, delay, ecn, steps)| {
        // Written from below, so that nothing goes under zero; then read, as only the parser makes an AckFrame.
        let mut ranges = vec![smallest / 2..=smallest / 2];
        for (gap, length) in steps {
            let start = *ranges[0].end() + gap + 2;
            ranges.insert(0, start..=start + length);
        }
        let mut buffer = [0; 1000];
        let mut w = Writer::new(&mut buffer);
        assert!(ack::encode_ack(&mut w, ranges.clone().into_iter(), delay, ecn, 64));
        let payload = &*w.written().to_vec().leak();
        let (_, frame) = Frames::new(payload).next().unwrap().unwrap();
        let Frame::Ack(ack) = &frame else { panic!("{frame:?}") };
        assert_eq!(ack.ranges.clone().collect::<Vec<_>>(), ranges);
        assert_eq!((ack.largest, ack.delay, ack.ecn), (*ranges[0].end(), delay, ecn));
        frame
    })
}

fn new_connection_id() -> impl Strategy<Value = Frame<'static>> {
    (number(), number(), vec(any::<u8>(), 1..=20), any::<[u8; 16]>()).prop_map(|(a, b, cid, token)| {
        Frame::NewConnectionId {
            sequence: a.max(b),
            retire_prior_to: a.min(b),
            cid: Cid::new(&cid).unwrap(),
            reset_token: ResetToken(token),
        }
    })
}

fn any_frame() -> impl Strategy<Value = Frame<'static>> {
    let small = prop_oneof![
        (1usize..50).prop_map(Frame::Padding),
        Just(Frame::Ping),
        Just(Frame::HandshakeDone),
        number().prop_map(Frame::MaxData),
        number().prop_map(Frame::DataBlocked),
        number().prop_map(Frame::RetireConnectionId),
        any::<[u8; 8]>().prop_map(Frame::PathChallenge),
        any::<[u8; 8]>().prop_map(Frame::PathResponse),
        (dir(), 0..=MAX_STREAMS).prop_map(|(dir, limit)| Frame::MaxStreams { dir, limit }),
        (dir(), 0..=MAX_STREAMS).prop_map(|(dir, limit)| Frame::StreamsBlocked { dir, limit }),
    ];
    let streams = prop_oneof![
        (id(), code(), number()).prop_map(|(id, code, final_size)| Frame::ResetStream {
            id,
            code,
            final_size
        }),
        (id(), code()).prop_map(|(id, code)| Frame::StopSending { id, code }),
        (id(), number()).prop_map(|(id, limit)| Frame::MaxStreamData { id, limit }),
        (id(), number()).prop_map(|(id, limit)| Frame::StreamDataBlocked { id, limit }),
        (id(), number(), bytes(), any::<bool>()).prop_map(|(id, offset, data, fin)| Frame::Stream {
            id,
            offset: offset.min(varint::MAX - 100),
            data,
            fin
        }),
    ];
    let long = prop_oneof![
        ack(),
        new_connection_id(),
        (number(), bytes())
            .prop_map(|(offset, data)| Frame::Crypto { offset: offset.min(varint::MAX - 100), data }),
        bytes().prop_map(|token| Frame::NewToken(if token.is_empty() { b"t" } else { token })),
        (number(), number(), bytes()).prop_map(|(code, frame_type, reason)| Frame::ConnectionClose {
            code: TransportErrorCode(code),
            frame_type,
            reason
        }),
        (code(), bytes()).prop_map(|(code, reason)| Frame::ApplicationClose { code, reason }),
    ];
    prop_oneof![small, streams, long]
}

proptest! {
    #[test]
    fn every_frame_reads_back(frames in vec(any_frame(), 1..12)) {
        let mut buffer = vec![0; 8000];
        let mut w = Writer::new(&mut buffer);
        frames.iter().for_each(|frame| write(&mut w, frame));
        prop_assert!(!w.overflowed());
        let mut read = Vec::new();
        for result in Frames::new(w.written()) {
            read.push(result.unwrap().1);
        }
        // Neighbouring runs of padding are one run to the reader.
        let mut expected: Vec<Frame<'_>> = Vec::new();
        for frame in frames {
            match (expected.last_mut(), &frame) {
                (Some(Frame::Padding(run)), Frame::Padding(more)) => *run += more,
                _ => expected.push(frame),
            }
        }
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_cut_frame_is_an_error(frame in any_frame(), cut: prop::sample::Index) {
        prop_assume!(!matches!(frame, Frame::Padding(_)));
        let mut buffer = vec![0; 8000];
        let mut w = Writer::new(&mut buffer);
        write(&mut w, &frame);
        let whole = w.written();
        let (frame_type, _) = Frames::new(whole).next().unwrap().unwrap();
        let cut = cut.index(whole.len());
        let result = Frames::new(&whole[..cut]).next();
        if cut == 0 {
            prop_assert!(result.is_none());
        } else {
            let error = result.unwrap().unwrap_err();
            prop_assert_eq!((error.code, error.frame), (TransportErrorCode::FRAME_ENCODING_ERROR, Some(frame_type)));
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200), first in 0u8..0x20) {
        for payload in [&bytes[..], &[&[first], &bytes[..]].concat()] {
            let mut frames = Frames::new(payload);
            let mut count = 0;
            for result in frames.by_ref() {
                count += 1;
                match result {
                    Ok((_, Frame::Ack(ack))) => {
                        let mut below = u64::MAX;
                        for range in ack.ranges {
                            prop_assert!(range.start() <= range.end() && *range.end() < below);
                            below = range.start().saturating_sub(1);
                        }
                    }
                    Ok((_, Frame::Stream { offset, data, .. } | Frame::Crypto { offset, data })) => {
                        prop_assert!(offset + data.len() as u64 <= varint::MAX);
                    }
                    Ok(_) => {}
                    Err(error) => prop_assert!(error.frame.is_some()),
                }
            }
            prop_assert!(count <= payload.len());
            prop_assert!(frames.next().is_none());
        }
    }
}

fn error_of(payload: &[u8]) -> TransportErrorCode {
    Frames::new(payload).next().unwrap().unwrap_err().code
}

/// A payload of a frame type and variable-length integers of eight bytes, and then bytes.
fn payload(frame_type: u64, fields: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut payload = vec![frame_type as u8];
    fields.iter().for_each(|field| payload.extend((field | 0b11 << 62).to_be_bytes()));
    payload.extend_from_slice(bytes);
    payload
}

#[test]
fn limits_of_the_rfc() {
    const ENCODING: TransportErrorCode = TransportErrorCode::FRAME_ENCODING_ERROR;
    let parses = |payload: &[u8]| Frames::new(payload).all(|frame| frame.is_ok());
    for frame_type in [MAX_STREAMS_BIDI, MAX_STREAMS_UNI, STREAMS_BLOCKED_BIDI, STREAMS_BLOCKED_UNI] {
        assert!(parses(&payload(frame_type, &[1 << 60], &[])));
        assert_eq!(error_of(&payload(frame_type, &[(1 << 60) + 1], &[])), ENCODING);
    }
    for (frame_type, fields) in [
        (CRYPTO, &[varint::MAX - 1, 2][..]),
        (STREAM | STREAM_OFF | STREAM_LEN, &[0, varint::MAX - 1, 2][..]),
    ] {
        let mut fits = fields.to_vec();
        *fits.last_mut().unwrap() = 1;
        assert!(parses(&payload(frame_type, &fits, &[7])));
        assert_eq!(error_of(&payload(frame_type, fields, &[7, 7])), ENCODING);
    }
    assert_eq!(error_of(&payload(STREAM | STREAM_OFF, &[0, varint::MAX], &[7])), ENCODING);
    assert_eq!(error_of(&[NEW_TOKEN as u8, 0]), ENCODING);
    assert_eq!(error_of(&payload(NEW_CONNECTION_ID, &[1, 2], &[1; 18])), ENCODING);
    assert_eq!(error_of(&payload(NEW_CONNECTION_ID, &[1, 1], &[0; 17])), ENCODING);
    assert_eq!(error_of(&payload(NEW_CONNECTION_ID, &[1, 1], &[21; 38])), ENCODING);
    assert!(parses(&payload(NEW_CONNECTION_ID, &[1, 1], &[20; 37])));
}

#[test]
fn types_are_known_and_short() {
    assert_eq!(error_of(&[0x40, 0x01]), TransportErrorCode::PROTOCOL_VIOLATION);
    for unknown in [&[0x1f][..], &[0x30], &[0x31], &[0x40, 0x52], &[0x80, 0, 0x40, 0]] {
        let error = Frames::new(unknown).next().unwrap().unwrap_err();
        assert_eq!(error.code, TransportErrorCode::FRAME_ENCODING_ERROR);
        assert_eq!(error.frame, Some(varint::decode(unknown).unwrap().0));
    }
}

#[test]
fn a_stream_frame_without_length_takes_the_rest() {
    let mut buffer = [0; 20];
    let mut w = Writer::new(&mut buffer);
    let id = StreamId::from_u64(4);
    encode::stream_header(&mut w, id, 0, None, true);
    assert_eq!(w.len(), encode::stream_overhead(id, 0, None));
    w.bytes(&[0, 1, 2]);
    let frames: Vec<_> = Frames::new(w.written()).collect();
    assert_eq!(frames, [Ok((0x09, Frame::Stream { id, offset: 0, data: &[0, 1, 2], fin: true }))]);
}

#[test]
fn a_reason_is_cut_to_what_fits() {
    let reason = [b'r'; 200];
    for room in 4..220 {
        let mut buffer = vec![0; room];
        let mut w = Writer::new(&mut buffer);
        encode::connection_close(&mut w, TransportErrorCode::NO_ERROR, 0, &reason);
        assert!(!w.overflowed(), "{room}");
        let (_, frame) = Frames::new(w.written()).next().unwrap().unwrap();
        let Frame::ConnectionClose { reason: read, .. } = frame else { panic!("{frame:?}") };
        assert!(read.len() + 6 >= room.min(206), "{} of {room}", read.len());
    }
}

#[test]
fn table_3_of_rfc_9000() {
    // Type, the Pkts column, whether it is ack-eliciting (no N in the Spec column, and not PADDING), whether it is probing (P).
    let table = [
        (0x00..=0x00, "IH01"),
        (0x01..=0x01, "IH01"),
        (0x02..=0x03, "IH_1"),
        (0x04..=0x05, "__01"),
        (0x06..=0x06, "IH_1"),
        (0x07..=0x07, "___1"),
        (0x08..=0x1a, "__01"),
        (0x1b..=0x1b, "___1"),
        (0x1c..=0x1c, "IH01"),
        (0x1d..=0x1d, "__01"),
        (0x1e..=0x1e, "___1"),
    ];
    for (frame_types, packets) in table {
        for frame_type in frame_types {
            let levels = [Level::Initial, Level::Handshake, Level::ZeroRtt, Level::OneRtt];
            for (level, letter) in levels.into_iter().zip(packets.chars()) {
                assert_eq!(legal_at(frame_type, level), letter != '_', "{frame_type:#x} {level:?}");
            }
        }
    }
}

#[test]
fn properties_of_frames() {
    let code = TransportErrorCode::NO_ERROR;
    let quiet = [
        Frame::Padding(1),
        Frame::ConnectionClose { code, frame_type: 0, reason: &[] },
        Frame::ApplicationClose { code: AppError::default(), reason: &[] },
    ];
    assert!(quiet.iter().all(|frame| !is_ack_eliciting(frame)));
    let (_, ack) = Frames::new(&[0x02, 0, 0, 0, 0]).next().unwrap().unwrap();
    assert!(!is_ack_eliciting(&ack) && !is_probing(&ack));
    assert!([Frame::Ping, Frame::HandshakeDone, Frame::PathResponse([0; 8])].iter().all(is_ack_eliciting));
    assert!(
        [Frame::Padding(3), Frame::PathChallenge([0; 8]), Frame::PathResponse([0; 8])].iter().all(is_probing)
    );
    assert!(!is_probing(&Frame::Ping) && !is_probing(&Frame::RetireConnectionId(0)));
}
