//! Each received frame becomes one verb of the engine, or goes to the handshake.

use super::keys::Level;
use super::wire::error::{ErrorCode, ResetCode};
use super::wire::frame::{Frame, Frames};
use super::{Gquic, close, stream_id};
use crate::engine::Engine;
use crate::error::{AppError, MAX_VARINT, TransportError, TransportErrorCode};
use crate::event::Event;
use crate::id::{SpaceId, StreamId};
use crate::recovery::AckInfo;
use crate::streams::Received;
use crate::time::{Duration, Instant};
use bytes::Bytes;

/// What the frames of a packet amounted to.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Dispatched {
    /// The packet must be acknowledged.
    pub(super) ack_eliciting: bool,
    /// Some data could not be kept: do not acknowledge the packet.
    pub(super) refused: bool,
}

impl Gquic {
    /// Takes all frames of a packet.
    ///
    /// # Errors
    /// The violation; the connection must be closed with it.
    pub(super) fn dispatch(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        level: Level,
        payload: &[u8],
    ) -> Result<Dispatched, TransportError> {
        // Chapter 4: "A payload must not be empty."
        if payload.is_empty() {
            return Err(close::violation(ErrorCode::MISSING_PAYLOAD, "a packet without frames"));
        }
        let mut result = Dispatched::default();
        for frame in Frames::new(payload) {
            let frame = frame.map_err(|violation| close::error(&violation))?;
            // Nothing may follow what the application was told last; only that the peer has closed too is of interest.
            if !engine.lifecycle.is_open() && !matches!(frame, Frame::ConnectionClose { .. }) {
                continue;
            }
            result.ack_eliciting |= frame.is_ack_eliciting();
            result.refused |=
                self.frame(engine, now, level, &frame).map_err(|error| close::translate(&error))?;
        }
        Ok(result)
    }

    /// One frame. Returns whether its data had to be refused.
    fn frame(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        level: Level,
        frame: &Frame<'_>,
    ) -> Result<bool, TransportError> {
        let counts = &mut engine.stats.received.frames;
        match *frame {
            Frame::Stream { stream: stream_id::CRYPTO, offset, data, fin } => {
                counts.crypto += 1;
                // Chapter 9: "A FIN on stream 1 closes the connection (quic-go: error 1); RST_STREAM on it too."
                if fin {
                    return Err(close::violation(ErrorCode::INTERNAL_ERROR, "the handshake has no end"));
                }
                self.on_crypto(engine, level, offset, data)?;
            }
            Frame::Stream { stream, offset, data, fin } => {
                counts.stream += 1;
                let id = named(level, stream)?;
                return Ok(engine.on_stream(id, offset, data, fin)? == Received::Refused);
            }
            Frame::Ack(ref ack) => {
                counts.ack += 1;
                // Chapter 5: "an ACK must not be of a lower level than the packet it acknowledges (quic-go closes with error 1 otherwise)".
                if !self.sent_levels.may_acknowledge(level, ack.largest, ack.ranges.clone()) {
                    let reason = "an ACK of a lower level than a packet that it acknowledges";
                    return Err(close::violation(ErrorCode::INTERNAL_ERROR, reason));
                }
                let delay = Duration::from_micros(ack.delay);
                let info = AckInfo { largest: ack.largest, delay, received: now };
                engine.on_ack(SpaceId::Data, info, None, ack.ranges.clone(), self)?;
            }
            Frame::RstStream { stream: stream_id::CRYPTO, .. } => {
                return Err(close::violation(ErrorCode::INTERNAL_ERROR, "the handshake was reset"));
            }
            Frame::RstStream { stream, final_offset, code } => {
                counts.reset_stream += 1;
                reset(engine, named(level, stream)?, final_offset, code)?;
            }
            Frame::WindowUpdate { stream, limit } => on_window_update(engine, level, stream, limit)?,
            // Chapter 10: "BLOCKED is only a hint …; the receiver does nothing."
            Frame::Blocked { stream: stream_id::CONNECTION } => counts.data_blocked += 1,
            Frame::Blocked { .. } => counts.stream_data_blocked += 1,
            Frame::ConnectionClose { code, reason } => {
                counts.connection_close += 1;
                engine.on_peer_close(close::reason(code, reason));
            }
            Frame::GoAway { code, last_good_stream, reason } => {
                encrypted(level)?;
                let served = stream_id::count_to(engine.side, last_good_stream);
                let refused = AppError::from(ResetCode::STREAM_PEER_GOING_AWAY.0);
                if engine.streams.on_go_away(served, refused)? {
                    let (code, reason) = (TransportErrorCode::google(code.0), Bytes::copy_from_slice(reason));
                    engine.push_event(Event::GoingAway { code, reason });
                }
            }
            Frame::Ping => counts.ping += 1,
            Frame::Padding(_) => {}
        }
        Ok(false)
    }
}

/// Chapter 3.1: "Stream data on any stream but 1 below the initial level is an error (61)." What resets streams or raises limits is no
/// better.
fn encrypted(level: Level) -> Result<(), TransportError> {
    if level == Level::Null {
        return Err(close::violation(ErrorCode::UNENCRYPTED_STREAM_DATA, "a stream in the clear"));
    }
    Ok(())
}

/// The stream of a frame that must not come in the clear.
fn named(level: Level, stream: u32) -> Result<StreamId, TransportError> {
    encrypted(level)?;
    stream_id::from_wire(stream)
        .ok_or_else(|| close::violation(ErrorCode::INVALID_STREAM_ID, "there is no stream 0"))
}

/// `RST_STREAM` (chapter 9): the end of what the peer sends, and a request to stop sending; with code 0 only the latter.
fn reset(
    engine: &mut Engine,
    id: StreamId,
    final_offset: u64,
    code: ResetCode,
) -> Result<(), TransportError> {
    let app = AppError::from(code.0);
    if code != ResetCode::NO_ERROR {
        engine.streams.on_reset_stream(id, app, final_offset)?;
    }
    // Chapter 9: "the peer answers with its own RST_STREAM, error 7 (RST_ACKNOWLEDGEMENT), unless it has sent a FIN already."
    let ended = engine.streams.is_end_sent(id) == Some(true);
    if ended { Ok(()) } else { engine.streams.on_stop_sending(id, app) }
}

/// `WINDOW_UPDATE` (chapter 10). The handshake has no limit to raise.
fn on_window_update(
    engine: &mut Engine,
    level: Level,
    stream: u32,
    limit: u64,
) -> Result<(), TransportError> {
    let limit = limit.min(MAX_VARINT);
    let counts = &mut engine.stats.received.frames;
    match stream {
        stream_id::CONNECTION => {
            encrypted(level)?;
            counts.max_data += 1;
            engine.streams.on_max_data(limit)
        }
        stream_id::CRYPTO => Ok(()),
        _ => {
            counts.max_stream_data += 1;
            engine.streams.on_max_stream_data(named(level, stream)?, limit)
        }
    }
}
