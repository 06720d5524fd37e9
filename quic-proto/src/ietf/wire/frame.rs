//! Frames, RFC 9000 §19: parsing, and the properties that Table 3 (§12.4) gives each type.
//!
//! Owns every check that needs only the frame's own bytes. What a frame means for streams, limits or paths is checked by those.
//!
//! Invariants: a [`Frame`] that was parsed is valid in itself: offsets end at most at 2^62-1, stream counts are at most 2^60, ids have
//! 1 to 20 bytes. Parsing borrows from the payload, allocates nothing unless it fails, and ends. No timers.

use super::ack::{self, AckError, AckFrame};
use crate::codec::{Reader, UnexpectedEnd, varint};
use crate::error::{AppError, TransportError, TransportErrorCode};
use crate::id::{Cid, Dir, Level, ResetToken, StreamId};

/// Frame types (RFC 9000 §12.4, Table 3). Where low bits are flags, the type without them.
#[allow(missing_docs)] // The names are those of the table.
pub mod types {
    pub use super::super::ack::{ACK, ACK_ECN};
    pub const PADDING: u64 = 0x00;
    pub const PING: u64 = 0x01;
    pub const RESET_STREAM: u64 = 0x04;
    pub const STOP_SENDING: u64 = 0x05;
    pub const CRYPTO: u64 = 0x06;
    pub const NEW_TOKEN: u64 = 0x07;
    pub const STREAM: u64 = 0x08;
    pub const STREAM_FIN: u64 = 0x01;
    pub const STREAM_LEN: u64 = 0x02;
    pub const STREAM_OFF: u64 = 0x04;
    pub const STREAM_LAST: u64 = 0x0f;
    pub const MAX_DATA: u64 = 0x10;
    pub const MAX_STREAM_DATA: u64 = 0x11;
    pub const MAX_STREAMS_BIDI: u64 = 0x12;
    pub const MAX_STREAMS_UNI: u64 = 0x13;
    pub const DATA_BLOCKED: u64 = 0x14;
    pub const STREAM_DATA_BLOCKED: u64 = 0x15;
    pub const STREAMS_BLOCKED_BIDI: u64 = 0x16;
    pub const STREAMS_BLOCKED_UNI: u64 = 0x17;
    pub const NEW_CONNECTION_ID: u64 = 0x18;
    pub const RETIRE_CONNECTION_ID: u64 = 0x19;
    pub const PATH_CHALLENGE: u64 = 0x1a;
    pub const PATH_RESPONSE: u64 = 0x1b;
    pub const CONNECTION_CLOSE: u64 = 0x1c;
    pub const APPLICATION_CLOSE: u64 = 0x1d;
    pub const HANDSHAKE_DONE: u64 = 0x1e;
}

/// The most streams that can ever be opened in one direction (RFC 9000 §4.6).
pub const MAX_STREAMS: u64 = 1 << 60;

/// One frame, borrowing from the payload that it was parsed from.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The fields are those of the sections named.
pub enum Frame<'a> {
    /// A run of this many PADDING frames (§19.1).
    Padding(usize),
    /// §19.2.
    Ping,
    /// §19.3.
    Ack(AckFrame<'a>),
    /// §19.4.
    ResetStream { id: StreamId, code: AppError, final_size: u64 },
    /// §19.5.
    StopSending { id: StreamId, code: AppError },
    /// §19.6.
    Crypto { offset: u64, data: &'a [u8] },
    /// §19.7; never empty.
    NewToken(&'a [u8]),
    /// §19.8.
    Stream { id: StreamId, offset: u64, data: &'a [u8], fin: bool },
    /// §19.9.
    MaxData(u64),
    /// §19.10.
    MaxStreamData { id: StreamId, limit: u64 },
    /// §19.11; at most 2^60.
    MaxStreams { dir: Dir, limit: u64 },
    /// §19.12.
    DataBlocked(u64),
    /// §19.13.
    StreamDataBlocked { id: StreamId, limit: u64 },
    /// §19.14; at most 2^60.
    StreamsBlocked { dir: Dir, limit: u64 },
    /// §19.15; `retire_prior_to` is at most `sequence`.
    NewConnectionId { sequence: u64, retire_prior_to: u64, cid: Cid, reset_token: ResetToken },
    /// §19.16.
    RetireConnectionId(u64),
    /// §19.17.
    PathChallenge([u8; 8]),
    /// §19.18.
    PathResponse([u8; 8]),
    /// §19.19, type 0x1c; a `frame_type` of zero means that no type is known.
    ConnectionClose { code: TransportErrorCode, frame_type: u64, reason: &'a [u8] },
    /// §19.19, type 0x1d.
    ApplicationClose { code: AppError, reason: &'a [u8] },
    /// §19.20.
    HandshakeDone,
}

/// Parses the frames of a packet's payload, each with its type. After an error nothing more comes.
///
/// An empty payload gives no frame: it is for the caller to treat that as `PROTOCOL_VIOLATION` (RFC 9000 §12.4), once it knows that the
/// packet is authentic.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    reader: Reader<'a>,
}

impl<'a> Frames<'a> {
    /// The frames in `payload`.
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { reader: Reader::new(payload) }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<(u64, Frame<'a>), TransportError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let first = self.reader.peek_u8()?;
        let result = parse_type(&mut self.reader, first).and_then(|frame_type| {
            match parse(&mut self.reader, frame_type) {
                Ok(frame) => Ok((frame_type, frame)),
                Err(invalid) => Err(invalid.into_error(frame_type)),
            }
        });
        if result.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(result)
    }
}

/// Whether a frame of this type may be in a packet of this level: the "Pkts" column of Table 3 (RFC 9000 §12.4). "An endpoint MUST
/// treat receipt of a frame in a packet type that is not permitted as a connection error of type `PROTOCOL_VIOLATION`."
pub const fn legal_at(frame_type: u64, level: Level) -> bool {
    use types::*;
    match level {
        // "Note that all frames can appear in 1-RTT packets."
        Level::OneRtt => true,
        Level::Initial | Level::Handshake => {
            matches!(frame_type, PADDING | PING | ACK | ACK_ECN | CRYPTO | CONNECTION_CLOSE)
        }
        Level::ZeroRtt => {
            !matches!(frame_type, ACK | ACK_ECN | CRYPTO | NEW_TOKEN | PATH_RESPONSE | HANDSHAKE_DONE)
        }
    }
}

/// Whether a packet with this frame must be acknowledged: all frames "other than ACK, PADDING, and `CONNECTION_CLOSE`" (RFC 9002 §2).
pub const fn is_ack_eliciting(frame: &Frame<'_>) -> bool {
    use Frame as F;
    !matches!(frame, F::Padding(_) | F::Ack(_) | F::ConnectionClose { .. } | F::ApplicationClose { .. })
}

/// Whether this is a probing frame (RFC 9000 §9.1): a packet with nothing else does not make the peer's new address the active one.
pub const fn is_probing(frame: &Frame<'_>) -> bool {
    use Frame as F;
    matches!(frame, F::PathChallenge(_) | F::PathResponse(_) | F::NewConnectionId { .. } | F::Padding(_))
}

/// Whether this frame ends the connection (§19.19).
pub const fn is_close(frame: &Frame<'_>) -> bool {
    matches!(frame, Frame::ConnectionClose { .. } | Frame::ApplicationClose { .. })
}

/// What is wrong with a frame, all of it `FRAME_ENCODING_ERROR`.
struct Invalid(&'static str);

impl Invalid {
    fn into_error(self, frame_type: u64) -> TransportError {
        TransportError::new(TransportErrorCode::FRAME_ENCODING_ERROR, self.0).in_frame(frame_type)
    }
}

impl From<UnexpectedEnd> for Invalid {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self("the frame is truncated")
    }
}

impl From<AckError> for Invalid {
    fn from(error: AckError) -> Self {
        match error {
            AckError::Truncated => UnexpectedEnd.into(),
            AckError::BelowZero => Self("an ACK range goes below packet number zero"),
        }
    }
}

fn parse_type(reader: &mut Reader<'_>, first: u8) -> Result<u64, TransportError> {
    // The usual case: a type of one byte.
    if first & 0xc0 == 0 && reader.skip(1).is_ok() {
        return Ok(first.into());
    }
    let before = reader.remaining();
    let frame_type = reader.varint().map_err(|end| Invalid::from(end).into_error(u64::from(first)))?;
    // RFC 9000 §12.4: "An endpoint MAY treat the receipt of a frame type that uses a longer encoding than necessary as a connection
    // error of type PROTOCOL_VIOLATION."
    if before - reader.remaining() != varint::size(frame_type) {
        let reason = "the frame type is not in its shortest encoding";
        return Err(TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason).in_frame(frame_type));
    }
    Ok(frame_type)
}

#[inline]
fn parse<'a>(r: &mut Reader<'a>, frame_type: u64) -> Result<Frame<'a>, Invalid> {
    use types::*;
    Ok(match frame_type {
        STREAM..=STREAM_LAST => parse_stream(r, frame_type)?,
        ACK | ACK_ECN => Frame::Ack(ack::parse(r, frame_type == ACK_ECN)?),
        PADDING => parse_padding(r)?,
        PING => Frame::Ping,
        RESET_STREAM => {
            Frame::ResetStream { id: stream_id(r)?, code: app_error(r)?, final_size: r.varint()? }
        }
        STOP_SENDING => Frame::StopSending { id: stream_id(r)?, code: app_error(r)? },
        CRYPTO => {
            let (offset, data) = (r.varint()?, r.varint_bytes()?);
            // RFC 9000 §19.6: "The largest offset delivered on a stream -- the sum of the offset and data length -- cannot exceed
            // 2^62-1."
            Frame::Crypto { offset: checked_end(offset, data)?, data }
        }
        NEW_TOKEN => parse_new_token(r)?,
        MAX_DATA => Frame::MaxData(r.varint()?),
        MAX_STREAM_DATA => Frame::MaxStreamData { id: stream_id(r)?, limit: r.varint()? },
        MAX_STREAMS_BIDI => Frame::MaxStreams { dir: Dir::Bi, limit: stream_count(r)? },
        MAX_STREAMS_UNI => Frame::MaxStreams { dir: Dir::Uni, limit: stream_count(r)? },
        DATA_BLOCKED => Frame::DataBlocked(r.varint()?),
        STREAM_DATA_BLOCKED => Frame::StreamDataBlocked { id: stream_id(r)?, limit: r.varint()? },
        STREAMS_BLOCKED_BIDI => Frame::StreamsBlocked { dir: Dir::Bi, limit: stream_count(r)? },
        STREAMS_BLOCKED_UNI => Frame::StreamsBlocked { dir: Dir::Uni, limit: stream_count(r)? },
        NEW_CONNECTION_ID => parse_new_connection_id(r)?,
        RETIRE_CONNECTION_ID => Frame::RetireConnectionId(r.varint()?),
        PATH_CHALLENGE => Frame::PathChallenge(r.array()?),
        PATH_RESPONSE => Frame::PathResponse(r.array()?),
        CONNECTION_CLOSE => Frame::ConnectionClose {
            code: TransportErrorCode(r.varint()?),
            frame_type: r.varint()?,
            reason: r.varint_bytes()?,
        },
        APPLICATION_CLOSE => Frame::ApplicationClose { code: app_error(r)?, reason: r.varint_bytes()? },
        HANDSHAKE_DONE => Frame::HandshakeDone,
        // RFC 9000 §12.4: "An endpoint MUST treat the receipt of a frame of unknown type as a connection error of type
        // FRAME_ENCODING_ERROR."
        _ => return Err(Invalid("unknown frame type")),
    })
}

fn parse_stream<'a>(r: &mut Reader<'a>, frame_type: u64) -> Result<Frame<'a>, Invalid> {
    let id = stream_id(r)?;
    let offset = if frame_type & types::STREAM_OFF != 0 { r.varint()? } else { 0 };
    let data = if frame_type & types::STREAM_LEN != 0 { r.varint_bytes()? } else { r.bytes(r.remaining())? };
    // RFC 9000 §19.8: "Receipt of a frame that exceeds this limit MUST be treated as a connection error of type FRAME_ENCODING_ERROR
    // or FLOW_CONTROL_ERROR."
    let offset = checked_end(offset, data)?;
    Ok(Frame::Stream { id, offset, data, fin: frame_type & types::STREAM_FIN != 0 })
}

/// Counts the PADDING frames after one that was read: padded packets have a thousand of them.
fn parse_padding<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, Invalid> {
    // Sixteen at a time, then one by one.
    let (words, _) = r.rest().as_chunks::<16>();
    let zeros = 16 * words.iter().take_while(|word| u128::from_ne_bytes(**word) == 0).count();
    let more = zeros + r.rest()[zeros..].iter().take_while(|byte| **byte == 0).count();
    r.skip(more)?;
    Ok(Frame::Padding(1 + more))
}

fn parse_new_token<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, Invalid> {
    let token = r.varint_bytes()?;
    // RFC 9000 §19.7: "A client MUST treat receipt of a NEW_TOKEN frame with an empty Token field as a connection error of type
    // FRAME_ENCODING_ERROR."
    if token.is_empty() {
        return Err(Invalid("the token is empty"));
    }
    Ok(Frame::NewToken(token))
}

fn parse_new_connection_id<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, Invalid> {
    let (sequence, retire_prior_to, len) = (r.varint()?, r.varint()?, r.u8()?);
    // RFC 9000 §19.15: "Receiving a value in the Retire Prior To field that is greater than that in the Sequence Number field MUST be
    // treated as a connection error of type FRAME_ENCODING_ERROR."
    if retire_prior_to > sequence {
        return Err(Invalid("Retire Prior To is greater than Sequence Number"));
    }
    // RFC 9000 §19.15: "Values less than 1 and greater than 20 are invalid and MUST be treated as a connection error of type
    // FRAME_ENCODING_ERROR."
    if !(1..=20).contains(&len) {
        return Err(Invalid("a connection id must have 1 to 20 bytes"));
    }
    let cid = Cid::new(r.bytes(len.into())?).map_err(|_| Invalid("the connection id is too long"))?;
    Ok(Frame::NewConnectionId { sequence, retire_prior_to, cid, reset_token: ResetToken(r.array()?) })
}

fn stream_id(r: &mut Reader<'_>) -> Result<StreamId, UnexpectedEnd> {
    r.varint().map(StreamId::from_u64)
}

fn app_error(r: &mut Reader<'_>) -> Result<AppError, Invalid> {
    AppError::try_from(r.varint()?).map_err(|_| Invalid("the error code is too large"))
}

fn stream_count(r: &mut Reader<'_>) -> Result<u64, Invalid> {
    let count = r.varint()?;
    // RFC 9000 §19.11, and alike §19.14: "Receipt of a frame that permits opening of a stream larger than this limit MUST be treated as
    // a connection error of type FRAME_ENCODING_ERROR."
    if count > MAX_STREAMS {
        return Err(Invalid("more than 2^60 streams"));
    }
    Ok(count)
}

/// `offset`, if `data` there ends at most at 2^62-1.
fn checked_end(offset: u64, data: &[u8]) -> Result<u64, Invalid> {
    if data.len() as u64 > varint::MAX - offset {
        return Err(Invalid("the data ends beyond 2^62-1"));
    }
    Ok(offset)
}

#[cfg(test)]
mod tests;
