//! Writing frames, one function for each; ACK frames are in [`ack`](super::ack).
//!
//! Owns the encodings, and for frames with data the sizes that a sender needs to know before it cuts the data. A frame that does not fit
//! leaves the writer overflowed: wrap the call in [`Writer::attempt`]. There is no `STOP_WAITING` in Q044, and no GOAWAY towards quic-go,
//! which would close the connection.
//!
//! Invariant: what is written here is parsed by [`Frames`](super::Frames) as the same frame. No state, no timers.

use super::error::{ErrorCode, ResetCode};
use super::frame::types;
use crate::codec::Writer;

/// Writes a PING frame.
pub fn ping(w: &mut Writer<'_>) {
    w.u8(types::PING);
}

/// Writes `len` PADDING frames, a byte each.
pub fn padding(w: &mut Writer<'_>, len: usize) {
    w.zeros(len);
}

/// Writes an `RST_STREAM` frame.
pub fn rst_stream(w: &mut Writer<'_>, stream: u32, final_offset: u64, code: ResetCode) {
    w.u8(types::RST_STREAM);
    w.u32(stream);
    w.u64(final_offset);
    w.u32(code.0);
}

/// Writes a `CONNECTION_CLOSE` frame. The reason is cut to what fits.
pub fn connection_close(w: &mut Writer<'_>, code: ErrorCode, reason: &[u8]) {
    w.u8(types::CONNECTION_CLOSE);
    w.u32(code.0);
    cut_reason(w, reason);
}

/// Writes a GOAWAY frame. The reason is cut to what fits.
pub fn goaway(w: &mut Writer<'_>, code: ErrorCode, last_good_stream: u32, reason: &[u8]) {
    w.u8(types::GOAWAY);
    w.u32(code.0);
    w.u32(last_good_stream);
    cut_reason(w, reason);
}

/// Writes a `WINDOW_UPDATE` frame; stream 0 is the connection.
pub fn window_update(w: &mut Writer<'_>, stream: u32, limit: u64) {
    w.u8(types::WINDOW_UPDATE);
    w.u32(stream);
    w.u64(limit);
}

/// Writes a BLOCKED frame; stream 0 is the connection.
pub fn blocked(w: &mut Writer<'_>, stream: u32) {
    w.u8(types::BLOCKED);
    w.u32(stream);
}

/// How many bytes [`stream_header`] writes.
pub const fn stream_overhead(stream: u32, offset: u64, with_len: bool) -> usize {
    1 + id_len(stream) + offset_len(offset) + if with_len { 2 } else { 0 }
}

/// Writes a STREAM frame up to its data, of which `len` bytes (at most 65535) must follow; without `len` all that follows in the packet is
/// data.
pub fn stream_header(w: &mut Writer<'_>, stream: u32, offset: u64, len: Option<usize>, fin: bool) {
    let (id_len, offset_len) = (id_len(stream), offset_len(offset));
    let mut frame_type = types::STREAM | (id_len - 1) as u8;
    if offset_len > 0 {
        frame_type |= ((offset_len - 1) as u8) << types::STREAM_OFFSET_SHIFT;
    }
    if len.is_some() {
        frame_type |= types::STREAM_LEN;
    }
    if fin {
        frame_type |= types::STREAM_FIN;
    }
    w.u8(frame_type);
    w.bytes(&stream.to_be_bytes()[4 - id_len..]);
    w.bytes(&offset.to_be_bytes()[8 - offset_len..]);
    if let Some(len) = len {
        debug_assert!(len <= usize::from(u16::MAX));
        w.u16(len as u16);
    }
}

/// Bytes of a stream id: 1 to 4.
const fn id_len(stream: u32) -> usize {
    let bytes = (u32::BITS - stream.leading_zeros()).div_ceil(8) as usize;
    if bytes == 0 { 1 } else { bytes }
}

/// Bytes of an offset: none, or 2 to 8.
const fn offset_len(offset: u64) -> usize {
    let bytes = (u64::BITS - offset.leading_zeros()).div_ceil(8) as usize;
    if bytes == 1 { 2 } else { bytes }
}

/// Writes a reason with its length, cut so that both fit.
fn cut_reason(w: &mut Writer<'_>, reason: &[u8]) {
    let len = reason.len().min(w.remaining().saturating_sub(2)).min(u16::MAX.into());
    w.u16(len as u16);
    w.bytes(&reason[..len]);
}
