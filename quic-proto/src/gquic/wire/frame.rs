//! Frames: parsing, and the code that each is closed with if it is wrong.
//!
//! Owns every check that needs only the frame's own bytes. What a frame means for streams and limits is checked by those.
//!
//! Invariants: parsing borrows from the payload, allocates nothing unless it fails, and ends. No timers.

use super::ack::{self, AckError, AckFrame};
use super::error::{ErrorCode, ResetCode, Violation};
use crate::codec::{Reader, UnexpectedEnd};

/// Frame types. Those of STREAM and ACK have flags in their lower bits.
#[allow(missing_docs)] // The names are those of the frames.
pub mod types {
    pub const PADDING: u8 = 0x00;
    pub const RST_STREAM: u8 = 0x01;
    pub const CONNECTION_CLOSE: u8 = 0x02;
    pub const GOAWAY: u8 = 0x03;
    pub const WINDOW_UPDATE: u8 = 0x04;
    pub const BLOCKED: u8 = 0x05;
    /// Not in Q044: of Q043 and before.
    pub const STOP_WAITING: u8 = 0x06;
    pub const PING: u8 = 0x07;
    pub const ACK: u8 = 0x40;
    pub const ACK_LAST: u8 = 0x7f;
    pub const STREAM: u8 = 0x80;
    pub const STREAM_LAST: u8 = 0xff;
    /// The stream ends here.
    pub const STREAM_FIN: u8 = 0x40;
    /// A length follows the offset; otherwise the data goes on to the end of the packet.
    pub const STREAM_LEN: u8 = 0x20;
    /// Length of the offset: none, or one less than the bytes.
    pub const STREAM_OFFSET_SHIFT: u8 = 2;
    /// Length of the stream id, less one.
    pub const STREAM_ID_MASK: u8 = 0x03;
}

/// One frame, borrowing from the payload that it was parsed from. Streams have the numbers of the wire; 0 stands for the connection.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // The fields are those of the specification.
pub enum Frame<'a> {
    /// A run of this many PADDING frames.
    Padding(usize),
    /// The sender's direction ends at `final_offset`, and the peer shall end the other one.
    RstStream {
        stream: u32,
        final_offset: u64,
        code: ResetCode,
    },
    ConnectionClose {
        code: ErrorCode,
        reason: &'a [u8],
    },
    GoAway {
        code: ErrorCode,
        last_good_stream: u32,
        reason: &'a [u8],
    },
    /// An absolute limit.
    WindowUpdate {
        stream: u32,
        limit: u64,
    },
    Blocked {
        stream: u32,
    },
    Ping,
    /// Not empty, unless it is the last one.
    Stream {
        stream: u32,
        offset: u64,
        data: &'a [u8],
        fin: bool,
    },
    Ack(AckFrame<'a>),
}

impl Frame<'_> {
    /// Whether a packet with this frame is to be acknowledged, and the frame to be sent again if that does not happen.
    pub const fn is_ack_eliciting(&self) -> bool {
        !matches!(self, Self::Padding(_) | Self::Ack(_) | Self::ConnectionClose { .. })
    }
}

/// Parses the frames of a packet's payload. After an error nothing more comes.
///
/// An empty payload gives no frame: it is for the caller to treat that as `MISSING_PAYLOAD`, once it knows that the packet is authentic.
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
    type Item = Result<Frame<'a>, Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame_type = self.reader.u8().ok()?;
        let result = parse(&mut self.reader, frame_type);
        if result.is_err() {
            self.reader = Reader::new(&[]);
        }
        Some(result.map_err(|invalid| invalid.into_violation(frame_type)))
    }
}

/// What is wrong with a frame; the code follows from its type.
enum Invalid {
    Truncated,
    Ack(AckError),
    EmptyStreamFrame,
    OffsetOverflow,
    UnknownType,
}

impl From<UnexpectedEnd> for Invalid {
    fn from(UnexpectedEnd: UnexpectedEnd) -> Self {
        Self::Truncated
    }
}

impl From<AckError> for Invalid {
    fn from(error: AckError) -> Self {
        if error == AckError::Truncated { Self::Truncated } else { Self::Ack(error) }
    }
}

impl Invalid {
    fn into_violation(self, frame_type: u8) -> Violation {
        use types::*;
        let code = match frame_type {
            // quic-go closes with 46 for an empty frame; Chromium's code says more.
            STREAM..=STREAM_LAST if matches!(self, Self::EmptyStreamFrame) => {
                ErrorCode::EMPTY_STREAM_FRAME_NO_FIN
            }
            STREAM..=STREAM_LAST => ErrorCode::INVALID_STREAM_DATA,
            ACK..=ACK_LAST => ErrorCode::INVALID_ACK_DATA,
            RST_STREAM => ErrorCode::INVALID_RST_STREAM_DATA,
            CONNECTION_CLOSE => ErrorCode::INVALID_CONNECTION_CLOSE_DATA,
            GOAWAY => ErrorCode::INVALID_GOAWAY_DATA,
            WINDOW_UPDATE => ErrorCode::INVALID_WINDOW_UPDATE_DATA,
            BLOCKED => ErrorCode::INVALID_BLOCKED_DATA,
            // Neither side sends it in Q044. quic-go closes with 1.
            STOP_WAITING => ErrorCode::INVALID_STOP_WAITING_DATA,
            _ => ErrorCode::INVALID_FRAME_DATA,
        };
        let reason = match self {
            Self::Truncated => "the frame is truncated",
            Self::Ack(AckError::BelowFirst) => "an ACK range goes below the first packet number",
            Self::Ack(AckError::EmptyFirstBlock) => "the first block of an ACK is empty",
            Self::Ack(AckError::NoFurtherBlock) => "an ACK announces further blocks and has none",
            Self::Ack(_) => "two blocks of an ACK touch",
            Self::EmptyStreamFrame => "a STREAM frame has neither data nor the end of the stream",
            Self::OffsetOverflow => "the data of a STREAM frame goes beyond 2^64",
            Self::UnknownType => "unknown frame type",
        };
        Violation::new(code, reason)
    }
}

fn parse<'a>(r: &mut Reader<'a>, frame_type: u8) -> Result<Frame<'a>, Invalid> {
    use types::*;
    Ok(match frame_type {
        STREAM..=STREAM_LAST => parse_stream(r, frame_type)?,
        ACK..=ACK_LAST => Frame::Ack(ack::parse(r, frame_type)?),
        PADDING => parse_padding(r)?,
        PING => Frame::Ping,
        // The offset comes before the code.
        RST_STREAM => {
            Frame::RstStream { stream: r.u32()?, final_offset: r.u64()?, code: ResetCode(r.u32()?) }
        }
        CONNECTION_CLOSE => Frame::ConnectionClose { code: ErrorCode(r.u32()?), reason: reason(r)? },
        GOAWAY => Frame::GoAway { code: ErrorCode(r.u32()?), last_good_stream: r.u32()?, reason: reason(r)? },
        WINDOW_UPDATE => Frame::WindowUpdate { stream: r.u32()?, limit: r.u64()? },
        BLOCKED => Frame::Blocked { stream: r.u32()? },
        _ => return Err(Invalid::UnknownType),
    })
}

fn parse_stream<'a>(r: &mut Reader<'a>, frame_type: u8) -> Result<Frame<'a>, Invalid> {
    let stream = number(r, usize::from(frame_type & types::STREAM_ID_MASK) + 1)? as u32;
    let offset = match usize::from(frame_type >> types::STREAM_OFFSET_SHIFT & 7) {
        0 => 0,
        code => number(r, code + 1)?,
    };
    let len = if frame_type & types::STREAM_LEN != 0 { r.u16()?.into() } else { r.remaining() };
    let data = r.bytes(len)?;
    let fin = frame_type & types::STREAM_FIN != 0;
    if data.is_empty() && !fin {
        return Err(Invalid::EmptyStreamFrame);
    }
    offset.checked_add(data.len() as u64).ok_or(Invalid::OffsetOverflow)?;
    Ok(Frame::Stream { stream, offset, data, fin })
}

/// Counts the PADDING frames after one that was read: Chromium fills whole packets with them.
fn parse_padding<'a>(r: &mut Reader<'a>) -> Result<Frame<'a>, Invalid> {
    let more = r.rest().iter().take_while(|byte| **byte == 0).count();
    r.skip(more)?;
    Ok(Frame::Padding(1 + more))
}

fn reason<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], UnexpectedEnd> {
    let len = r.u16()?;
    r.bytes(len.into())
}

/// A big-endian number of up to 8 bytes.
fn number(r: &mut Reader<'_>, len: usize) -> Result<u64, UnexpectedEnd> {
    Ok(r.bytes(len)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests;
