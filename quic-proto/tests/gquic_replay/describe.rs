//! Frames in the words of the recordings, and written again.

use quic_proto::codec::Writer;
use quic_proto::gquic::wire::{Frame, ack::encode_ack, encode};
use serde_json::{Value, json};

/// The bytes of a hexadecimal string; none if there is no string.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap_or_default();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// A frame as a recording describes it, but for how the data of a stream is laid out.
pub(crate) fn frame(frame: &Frame<'_>) -> Value {
    match frame {
        Frame::Ping => json!({ "type": "PING" }),
        Frame::Stream { stream, offset, data, fin } => {
            json!({ "type": "STREAM", "stream_id": stream, "offset": offset, "data_len": data.len(), "fin": fin })
        }
        Frame::Ack(ack) => {
            let ranges: Vec<_> = ack.ranges.clone().map(|range| [*range.start(), *range.end()]).collect();
            json!({ "type": "ACK", "largest": ack.largest, "delay_us": ack.delay, "ranges": ranges })
        }
        Frame::WindowUpdate { stream, limit } => {
            json!({ "type": "WINDOW_UPDATE", "stream_id": stream, "byte_offset": limit })
        }
        Frame::Blocked { stream } => json!({ "type": "BLOCKED", "stream_id": stream }),
        Frame::RstStream { stream, final_offset, code } => {
            json!({ "type": "RST_STREAM", "stream_id": stream, "final_offset": final_offset, "error_code": code.0 })
        }
        Frame::ConnectionClose { code, reason } => {
            let reason = str::from_utf8(reason).unwrap();
            json!({ "type": "CONNECTION_CLOSE", "error_code": code.0, "reason": reason })
        }
        Frame::Padding(_) | Frame::GoAway { .. } => panic!("quic-go does not send {frame:?}"),
    }
}

/// A recorded frame, without what [`frame`] does not tell.
pub(crate) fn without_layout(recorded: &Value) -> Value {
    let mut recorded = recorded.clone();
    recorded.as_object_mut().unwrap().remove("data_len_present");
    recorded
}

/// Writes the frames; the recording says which of the streams have a length.
pub(crate) fn rebuild(w: &mut Writer<'_>, frames: &[Frame<'_>], recorded: &[Value]) {
    for (frame, recorded) in frames.iter().zip(recorded) {
        match frame {
            Frame::Padding(len) => encode::padding(w, *len),
            Frame::RstStream { stream, final_offset, code } => {
                encode::rst_stream(w, *stream, *final_offset, *code);
            }
            Frame::ConnectionClose { code, reason } => encode::connection_close(w, *code, reason),
            Frame::GoAway { code, last_good_stream, reason } => {
                encode::goaway(w, *code, *last_good_stream, reason);
            }
            Frame::WindowUpdate { stream, limit } => encode::window_update(w, *stream, *limit),
            Frame::Blocked { stream } => encode::blocked(w, *stream),
            Frame::Ping => encode::ping(w),
            Frame::Stream { stream, offset, data, fin } => {
                let len = (recorded["data_len_present"] == true).then_some(data.len());
                encode::stream_header(w, *stream, *offset, len, *fin);
                w.bytes(data);
            }
            Frame::Ack(ack) => assert!(encode_ack(w, ack.ranges.clone(), ack.delay, usize::MAX)),
        }
    }
    assert!(!w.overflowed());
}
