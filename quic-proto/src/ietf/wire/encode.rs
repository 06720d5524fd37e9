//! Writing frames, RFC 9000 §19, one function for each; ACK frames are in [`ack`](super::ack).
//!
//! Owns the encodings, and for frames with data the sizes that a sender needs to know before it cuts the data. A frame that does not fit
//! leaves the writer overflowed: wrap the call in [`Writer::attempt`].
//!
//! Invariant: what is written here is parsed by [`Frames`](super::Frames) as the same frame. No state, no timers.

use super::frame::types;
use crate::codec::{Writer, varint};
use crate::error::{AppError, TransportErrorCode};
use crate::id::{Cid, Dir, ResetToken, StreamId};

/// Writes `len` PADDING frames, a byte each.
pub fn padding(w: &mut Writer<'_>, len: usize) {
    w.zeros(len);
}

/// Writes a PING frame.
pub fn ping(w: &mut Writer<'_>) {
    w.varint(types::PING);
}

/// Writes a `RESET_STREAM` frame.
pub fn reset_stream(w: &mut Writer<'_>, id: StreamId, code: AppError, final_size: u64) {
    w.varint(types::RESET_STREAM);
    w.varint(id.as_u64());
    w.varint(code.as_u64());
    w.varint(final_size);
}

/// Writes a `STOP_SENDING` frame.
pub fn stop_sending(w: &mut Writer<'_>, id: StreamId, code: AppError) {
    w.varint(types::STOP_SENDING);
    w.varint(id.as_u64());
    w.varint(code.as_u64());
}

/// How many bytes [`crypto_header`] writes.
pub const fn crypto_overhead(offset: u64, len: usize) -> usize {
    1 + varint::size(offset) + varint::size(len as u64)
}

/// Writes a CRYPTO frame up to its data, of which `len` bytes must follow.
pub fn crypto_header(w: &mut Writer<'_>, offset: u64, len: usize) {
    w.varint(types::CRYPTO);
    w.varint(offset);
    w.varint(len as u64);
}

/// Writes a `NEW_TOKEN` frame; `token` must not be empty (RFC 9000 §19.7).
pub fn new_token(w: &mut Writer<'_>, token: &[u8]) {
    debug_assert!(!token.is_empty(), "a token must not be empty");
    w.varint(types::NEW_TOKEN);
    w.varint_bytes(token);
}

/// How many bytes [`stream_header`] writes. `len` is `None` if the data goes on to the end of the packet.
pub const fn stream_overhead(id: StreamId, offset: u64, len: Option<usize>) -> usize {
    let offset_size = if offset == 0 { 0 } else { varint::size(offset) };
    let len_size = match len {
        Some(len) => varint::size(len as u64),
        None => 0,
    };
    1 + varint::size(id.as_u64()) + offset_size + len_size
}

/// Writes a STREAM frame up to its data, of which `len` bytes must follow; without `len` all that follows in the packet is data.
pub fn stream_header(w: &mut Writer<'_>, id: StreamId, offset: u64, len: Option<usize>, fin: bool) {
    let mut frame_type = types::STREAM;
    if offset != 0 {
        frame_type |= types::STREAM_OFF;
    }
    if len.is_some() {
        frame_type |= types::STREAM_LEN;
    }
    if fin {
        frame_type |= types::STREAM_FIN;
    }
    w.varint(frame_type);
    w.varint(id.as_u64());
    if offset != 0 {
        w.varint(offset);
    }
    if let Some(len) = len {
        w.varint(len as u64);
    }
}

/// Writes a `MAX_DATA` frame.
pub fn max_data(w: &mut Writer<'_>, limit: u64) {
    w.varint(types::MAX_DATA);
    w.varint(limit);
}

/// Writes a `MAX_STREAM_DATA` frame.
pub fn max_stream_data(w: &mut Writer<'_>, id: StreamId, limit: u64) {
    w.varint(types::MAX_STREAM_DATA);
    w.varint(id.as_u64());
    w.varint(limit);
}

/// Writes a `MAX_STREAMS` frame; `limit` is at most 2^60.
pub fn max_streams(w: &mut Writer<'_>, dir: Dir, limit: u64) {
    w.varint(match dir {
        Dir::Bi => types::MAX_STREAMS_BIDI,
        Dir::Uni => types::MAX_STREAMS_UNI,
    });
    w.varint(limit);
}

/// Writes a `DATA_BLOCKED` frame.
pub fn data_blocked(w: &mut Writer<'_>, limit: u64) {
    w.varint(types::DATA_BLOCKED);
    w.varint(limit);
}

/// Writes a `STREAM_DATA_BLOCKED` frame.
pub fn stream_data_blocked(w: &mut Writer<'_>, id: StreamId, limit: u64) {
    w.varint(types::STREAM_DATA_BLOCKED);
    w.varint(id.as_u64());
    w.varint(limit);
}

/// Writes a `STREAMS_BLOCKED` frame; `limit` is at most 2^60.
pub fn streams_blocked(w: &mut Writer<'_>, dir: Dir, limit: u64) {
    w.varint(match dir {
        Dir::Bi => types::STREAMS_BLOCKED_BIDI,
        Dir::Uni => types::STREAMS_BLOCKED_UNI,
    });
    w.varint(limit);
}

/// Writes a `NEW_CONNECTION_ID` frame; `cid` is not empty, `retire_prior_to` at most `sequence`.
pub fn new_connection_id(
    w: &mut Writer<'_>,
    sequence: u64,
    retire_prior_to: u64,
    cid: &Cid,
    reset_token: &ResetToken,
) {
    debug_assert!(!cid.is_empty() && retire_prior_to <= sequence);
    w.varint(types::NEW_CONNECTION_ID);
    w.varint(sequence);
    w.varint(retire_prior_to);
    w.u8(cid.len() as u8);
    w.bytes(cid);
    w.bytes(&reset_token.0);
}

/// Writes a `RETIRE_CONNECTION_ID` frame.
pub fn retire_connection_id(w: &mut Writer<'_>, sequence: u64) {
    w.varint(types::RETIRE_CONNECTION_ID);
    w.varint(sequence);
}

/// Writes a `PATH_CHALLENGE` frame.
pub fn path_challenge(w: &mut Writer<'_>, data: &[u8; 8]) {
    w.varint(types::PATH_CHALLENGE);
    w.bytes(data);
}

/// Writes a `PATH_RESPONSE` frame.
pub fn path_response(w: &mut Writer<'_>, data: &[u8; 8]) {
    w.varint(types::PATH_RESPONSE);
    w.bytes(data);
}

/// Writes a `CONNECTION_CLOSE` frame of type 0x1c; `frame_type` is zero if no frame caused the error. The reason is cut to what fits.
pub fn connection_close(w: &mut Writer<'_>, code: TransportErrorCode, frame_type: u64, reason: &[u8]) {
    w.varint(types::CONNECTION_CLOSE);
    w.varint(code.0);
    w.varint(frame_type);
    cut_reason(w, reason);
}

/// Writes a `CONNECTION_CLOSE` frame of type 0x1d. The reason is cut to what fits.
pub fn application_close(w: &mut Writer<'_>, code: AppError, reason: &[u8]) {
    w.varint(types::APPLICATION_CLOSE);
    w.varint(code.as_u64());
    cut_reason(w, reason);
}

/// Writes a `HANDSHAKE_DONE` frame.
pub fn handshake_done(w: &mut Writer<'_>) {
    w.varint(types::HANDSHAKE_DONE);
}

/// Writes a reason phrase, cut so that it fits with its length: RFC 9000 §19.19, "any limits on packet size will also limit the space
/// available for a reason phrase".
fn cut_reason(w: &mut Writer<'_>, reason: &[u8]) {
    let room = w.remaining();
    let room = room.saturating_sub(varint::size(reason.len().min(room) as u64));
    w.varint_bytes(&reason[..reason.len().min(room)]);
}
