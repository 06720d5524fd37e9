//! Frames as quic-go writes them, what it refuses, and round trips.

use super::*;
use crate::codec::Writer;
use crate::gquic::wire::encode;
use crate::gquic::wire::vectors::{bytes, units};
use proptest::prelude::*;
use serde_json::Value;

fn one(bytes: &[u8]) -> Result<Frame<'_>, Violation> {
    let mut frames = Frames::new(bytes);
    let frame = frames.next().expect("a frame");
    assert!(frames.next().is_none(), "nothing more");
    frame
}

fn u64_of(json: &Value, field: &str) -> u64 {
    json[field].as_u64().unwrap_or_else(|| panic!("{field} in {json}"))
}

/// Checks a frame against its description in a vector.
fn check(frame: &Frame<'_>, json: &Value) {
    let u32_of = |field| u64_of(json, field) as u32;
    match (frame, json["type"].as_str().unwrap()) {
        (Frame::Ping, "PING") => {}
        (Frame::Stream { stream, offset, data, fin }, "STREAM") => {
            assert_eq!((*stream, *offset), (u32_of("stream_id"), u64_of(json, "offset")));
            assert_eq!((data.len() as u64, *fin), (u64_of(json, "data_len"), json["fin"] == true));
        }
        (Frame::RstStream { stream, final_offset, code }, "RST_STREAM") => {
            assert_eq!((*stream, *final_offset), (u32_of("stream_id"), u64_of(json, "final_offset")));
            assert_eq!(code.0, u32_of("error_code"));
        }
        (Frame::ConnectionClose { code, reason }, "CONNECTION_CLOSE") => {
            assert_eq!(
                (code.0, *reason),
                (u32_of("error_code"), json["reason"].as_str().unwrap().as_bytes())
            );
        }
        (Frame::GoAway { code, last_good_stream, reason }, "GOAWAY") => {
            assert_eq!((code.0, *last_good_stream), (u32_of("error_code"), u32_of("last_good_stream")));
            assert_eq!(*reason, json["reason"].as_str().unwrap().as_bytes());
        }
        (Frame::WindowUpdate { stream, limit }, "WINDOW_UPDATE") => {
            assert_eq!((*stream, *limit), (u32_of("stream_id"), u64_of(json, "byte_offset")));
        }
        (Frame::Blocked { stream }, "BLOCKED") => assert_eq!(*stream, u32_of("stream_id")),
        (Frame::Ack(ack), "ACK") => {
            assert_eq!((ack.largest, ack.delay), (u64_of(json, "largest"), u64_of(json, "delay_us")));
            let range = |range: &Value| range[0].as_u64().unwrap()..=range[1].as_u64().unwrap();
            let expected: Vec<_> = json["ranges"].as_array().unwrap().iter().map(range).collect();
            assert_eq!(ack.ranges.clone().collect::<Vec<_>>(), expected);
        }
        (frame, kind) => panic!("{frame:?} is no {kind}"),
    }
}

/// Writes a frame as it was read.
fn write(frame: &Frame<'_>, with_len: bool) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut w = Writer::new(&mut buffer);
    match frame {
        Frame::Padding(len) => encode::padding(&mut w, *len),
        Frame::RstStream { stream, final_offset, code } => {
            encode::rst_stream(&mut w, *stream, *final_offset, *code);
        }
        Frame::ConnectionClose { code, reason } => encode::connection_close(&mut w, *code, reason),
        Frame::GoAway { code, last_good_stream, reason } => {
            encode::goaway(&mut w, *code, *last_good_stream, reason);
        }
        Frame::WindowUpdate { stream, limit } => encode::window_update(&mut w, *stream, *limit),
        Frame::Blocked { stream } => encode::blocked(&mut w, *stream),
        Frame::Ping => encode::ping(&mut w),
        Frame::Stream { stream, offset, data, fin } => {
            encode::stream_header(&mut w, *stream, *offset, with_len.then_some(data.len()), *fin);
            assert_eq!(w.len(), encode::stream_overhead(*stream, *offset, with_len));
            w.bytes(data);
        }
        Frame::Ack(ack) => {
            assert!(ack::encode_ack(&mut w, ack.ranges.clone(), ack.delay, 1000));
        }
    }
    assert!(!w.overflowed());
    w.written().to_vec()
}

#[test]
fn frames_as_quic_go_writes_them() {
    for case in units("frame") {
        let encoded = bytes(&case["encoded"]);
        let frame = one(&encoded).unwrap();
        check(&frame, &case["frame"]);
        if let Frame::Stream { data, .. } = &frame {
            assert_eq!(*data, bytes(&case["data"]));
        }
        assert_eq!(write(&frame, case["frame"]["data_len_present"] == true), encoded, "{case}");
    }
}

#[test]
fn frames_to_be_read_and_to_be_refused() {
    for case in units("frame_read") {
        let encoded = bytes(&case["encoded"]);
        let last = Frames::new(&encoded).last().unwrap();
        let Some(error) = case["error"].as_str() else {
            check(&last.unwrap(), &case["frame"]);
            continue;
        };
        let ours = last.unwrap_err().code;
        let theirs = match error.split_once(':').map_or(error, |(code, _)| code) {
            "InvalidAckData" => ErrorCode::INVALID_ACK_DATA,
            // Chromium's codes for these two name the fault.
            "InvalidStreamData" if error.contains("EmptyStreamFrameNoFin") => {
                ErrorCode::EMPTY_STREAM_FRAME_NO_FIN
            }
            "STOP_WAITING frames not supported by this QUIC version" => ErrorCode::INVALID_STOP_WAITING_DATA,
            "InvalidStreamData" => ErrorCode::INVALID_STREAM_DATA,
            "InvalidFrameData" => ErrorCode::INVALID_FRAME_DATA,
            other => panic!("no code for {other}"),
        };
        assert_eq!(ours, theirs, "{case}");
    }
}

#[test]
fn a_truncated_frame_is_closed_with_its_code() {
    let whole: [(&[u8], ErrorCode); 7] = [
        (&[0x01, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 6], ErrorCode::INVALID_RST_STREAM_DATA),
        (&[0x02, 0, 0, 0, 16, 0, 2, 1, 1], ErrorCode::INVALID_CONNECTION_CLOSE_DATA),
        (&[0x03, 0, 0, 0, 16, 0, 0, 0, 7, 0, 2, 1, 1], ErrorCode::INVALID_GOAWAY_DATA),
        (&[0x04, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9], ErrorCode::INVALID_WINDOW_UPDATE_DATA),
        (&[0x05, 0, 0, 0, 3], ErrorCode::INVALID_BLOCKED_DATA),
        (&[0xa5, 3, 0xff, 0xff, 0, 1, 7], ErrorCode::INVALID_STREAM_DATA),
        (&[0x60, 5, 0, 0, 1, 1, 1, 1, 0], ErrorCode::INVALID_ACK_DATA),
    ];
    for (bytes, code) in whole {
        for len in 1..bytes.len() {
            assert_eq!(one(&bytes[..len]).unwrap_err().code, code, "{:02x?}", &bytes[..len]);
        }
    }
}

#[test]
fn unknown_types_and_data_without_end() {
    for frame_type in (0x08..0x40).chain([0x20, 0x3f]) {
        assert_eq!(one(&[frame_type]).unwrap_err().code, ErrorCode::INVALID_FRAME_DATA);
    }
    let beyond = [0x9c, 3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 7];
    assert_eq!(one(&beyond).unwrap_err().code, ErrorCode::INVALID_STREAM_DATA);
    assert!(Frames::new(&[]).next().is_none());
    let error = Frames::new(&[7, 8, 7]).collect::<Vec<_>>();
    assert!(error.len() == 2 && error[1].is_err(), "nothing is read behind an error");
}

#[test]
fn padding_is_counted_and_what_elicits() {
    let payload = [[0x07].as_slice(), &[0; 1000]].concat();
    let frames: Vec<_> = Frames::new(&payload).map(Result::unwrap).collect();
    assert_eq!(frames, [Frame::Ping, Frame::Padding(1000)]);
    assert!(frames[0].is_ack_eliciting() && !frames[1].is_ack_eliciting());
}

#[test]
fn a_reason_is_cut_to_what_fits() {
    let mut buffer = [0; 12];
    let mut w = Writer::new(&mut buffer);
    encode::connection_close(&mut w, ErrorCode::PEER_GOING_AWAY, b"a long reason");
    assert_eq!(w.written(), [&[0x02, 0, 0, 0, 16, 0, 5], &b"a lon"[..]].concat());
    assert!(!Writer::new(&mut buffer[..6]).attempt(|w| encode::connection_close(
        w,
        ErrorCode::NO_ERROR,
        b""
    )));
}

proptest! {
    #[test]
    fn stream_frames_read_back(
        stream in prop_oneof![0u32..300, any::<u32>()],
        offset in prop_oneof![0u64..300, 0u64..1 << 34, 0u64..u64::MAX - 100],
        data in proptest::collection::vec(any::<u8>(), 0..50),
        fin: bool,
        with_len: bool,
    ) {
        let fin = fin || data.is_empty();
        let frame = Frame::Stream { stream, offset, data: &data, fin };
        let mut bytes = write(&frame, with_len);
        prop_assert_eq!(one(&bytes).unwrap(), frame.clone());
        if with_len {
            bytes.push(0x07);
            prop_assert_eq!(Frames::new(&bytes).map(Result::unwrap).collect::<Vec<_>>(), [frame, Frame::Ping]);
        }
    }

    #[test]
    fn small_frames_read_back(a: u32, b: u64, c: u32, reason in proptest::collection::vec(any::<u8>(), 0..40)) {
        let frames = [
            Frame::RstStream { stream: a, final_offset: b, code: ResetCode(c) },
            Frame::ConnectionClose { code: ErrorCode(a), reason: &reason },
            Frame::GoAway { code: ErrorCode(a), last_good_stream: c, reason: &reason },
            Frame::WindowUpdate { stream: a, limit: b },
            Frame::Blocked { stream: a },
        ];
        let payload: Vec<u8> = frames.iter().flat_map(|frame| write(frame, true)).collect();
        prop_assert_eq!(Frames::new(&payload).map(Result::unwrap).collect::<Vec<_>>(), frames);
    }

    #[test]
    fn any_bytes_end_without_a_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Frames::new(&payload).count() <= payload.len());
    }
}
