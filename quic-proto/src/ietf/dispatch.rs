//! Each received frame becomes one verb of the engine, or of the family itself.

use super::Ietf;
use super::wire::frame::{Frame, Frames, is_ack_eliciting, is_close, is_probing, legal_at};
use crate::engine::Engine;
use crate::error::{ConnectionError, TransportError, TransportErrorCode};
use crate::id::{Level, SpaceId};
use crate::recovery::AckInfo;
use crate::streams::Received;
use crate::time::{Duration, Instant};

/// What the frames of a packet amounted to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dispatched {
    /// The packet must be acknowledged.
    pub(super) ack_eliciting: bool,
    /// It held other frames than those that probe a path (RFC 9000 §9.1).
    pub(super) non_probing: bool,
    /// Some data could not be kept: do not acknowledge the packet.
    pub(super) refused: bool,
}

impl Ietf {
    /// Takes all frames of a packet, which was `received` before now if it had to wait for its keys.
    ///
    /// # Errors
    /// The violation with its code and frame type; the connection must be closed with it.
    pub(super) fn dispatch(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        level: Level,
        payload: &[u8],
    ) -> Result<Dispatched, TransportError> {
        // RFC 9000 §12.4: "An endpoint MUST treat receipt of a packet containing no frames as a connection error of type
        // PROTOCOL_VIOLATION."
        if payload.is_empty() {
            return Err(TransportError::new(
                TransportErrorCode::PROTOCOL_VIOLATION,
                "a packet without frames",
            ));
        }
        let mut result = Dispatched { ack_eliciting: false, non_probing: false, refused: false };
        for frame in Frames::new(payload) {
            let (kind, frame) = frame?;
            // RFC 9000 §12.4: "An endpoint MUST treat receipt of a frame in a packet type that is not permitted as a connection error of
            // type PROTOCOL_VIOLATION."
            if !legal_at(kind, level) {
                let error = TransportError::new(
                    TransportErrorCode::PROTOCOL_VIOLATION,
                    format!("this frame is not permitted at the {level:?} level"),
                );
                return Err(error.in_frame(kind));
            }
            // RFC 9000 §10.2.1: "An endpoint that is closing is not required to process any received frame." Nothing may follow what the
            // application was told last; only that the peer has closed too is of interest.
            if !engine.lifecycle.is_open() && !is_close(&frame) {
                continue;
            }
            result.ack_eliciting |= is_ack_eliciting(&frame);
            result.non_probing |= !is_probing(&frame);
            tracing::trace!(?level, ?frame, "received");
            result.refused |=
                self.frame(engine, received, level, &frame).map_err(|error| error.in_frame(kind))?;
        }
        Ok(result)
    }

    /// One frame. Returns whether its data had to be refused.
    fn frame(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        level: Level,
        frame: &Frame<'_>,
    ) -> Result<bool, TransportError> {
        let counts = &mut engine.stats.received.frames;
        match *frame {
            Frame::Padding(_) => {}
            Frame::Ping => counts.ping += 1,
            Frame::Ack(ref ack) => {
                counts.ack += 1;
                let delay = self.ack_delay(level, ack.delay);
                let info = AckInfo { largest: ack.largest, delay, received };
                engine.on_ack(level.space(), info, ack.ecn, ack.ranges.clone(), self)?;
                self.on_acked_at(engine, level, ack.largest)?;
            }
            Frame::Crypto { offset, data } => {
                counts.crypto += 1;
                self.on_crypto(engine, level.space(), offset, data)?;
            }
            Frame::Stream { id, offset, data, fin } => {
                counts.stream += 1;
                return Ok(engine.on_stream(id, offset, data, fin)? == Received::Refused);
            }
            Frame::NewToken(token) => {
                counts.new_token += 1;
                self.on_new_token(engine, token)?;
            }
            Frame::HandshakeDone => {
                counts.handshake_done += 1;
                self.on_handshake_done(engine)?;
            }
            Frame::ConnectionClose { code, frame_type, reason } => {
                counts.connection_close += 1;
                engine.on_peer_close(ConnectionError::PeerTransport(TransportError {
                    code,
                    frame: Some(frame_type).filter(|frame_type| *frame_type != 0),
                    reason: String::from_utf8_lossy(reason).into_owned().into(),
                }));
            }
            Frame::ApplicationClose { code, reason } => {
                counts.connection_close += 1;
                let reason = bytes::Bytes::copy_from_slice(reason);
                engine.on_peer_close(ConnectionError::PeerApplication { code, reason });
            }
            _ => return self.connection_frame(engine, frame).map(|()| false),
        }
        Ok(false)
    }

    /// Frames about streams' control, connection ids and paths.
    // Rare, and kept out of the loop over frames for it.
    #[inline(never)]
    fn connection_frame(&mut self, engine: &mut Engine, frame: &Frame<'_>) -> Result<(), TransportError> {
        let counts = &mut engine.stats.received.frames;
        match *frame {
            Frame::ResetStream { id, code, final_size } => {
                counts.reset_stream += 1;
                engine.streams.on_reset_stream(id, code, final_size)
            }
            Frame::StopSending { id, code } => {
                counts.stop_sending += 1;
                engine.streams.on_stop_sending(id, code)
            }
            Frame::MaxData(limit) => {
                counts.max_data += 1;
                engine.streams.on_max_data(limit)
            }
            Frame::MaxStreamData { id, limit } => {
                counts.max_stream_data += 1;
                engine.streams.on_max_stream_data(id, limit)
            }
            Frame::MaxStreams { dir, limit } => {
                counts.max_streams += 1;
                engine.streams.on_max_streams(dir, limit)
            }
            Frame::DataBlocked(limit) => {
                counts.data_blocked += 1;
                engine.streams.on_data_blocked(limit)
            }
            Frame::StreamDataBlocked { id, limit } => {
                counts.stream_data_blocked += 1;
                engine.streams.on_stream_data_blocked(id, limit)
            }
            Frame::StreamsBlocked { dir, limit } => {
                counts.streams_blocked += 1;
                engine.streams.on_streams_blocked(dir, limit)
            }
            Frame::NewConnectionId { sequence, retire_prior_to, cid, reset_token } => {
                counts.new_connection_id += 1;
                engine.on_new_connection_id(sequence, retire_prior_to, cid, reset_token)
            }
            Frame::RetireConnectionId(sequence) => {
                counts.retire_connection_id += 1;
                engine.local_cids.on_retire(sequence, &self.arrived_on)?;
                engine.issue_cids();
                Ok(())
            }
            Frame::PathChallenge(data) => {
                counts.path_challenge += 1;
                engine.on_path_challenge(data);
                Ok(())
            }
            Frame::PathResponse(data) => {
                counts.path_response += 1;
                engine.on_path_response(data);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The delay in an ACK frame; it is only meaningful in the Data space (RFC 9000 §13.2.5).
    fn ack_delay(&self, level: Level, raw: u64) -> Duration {
        if level.space() != SpaceId::Data {
            return Duration::ZERO;
        }
        let exponent = self.peer_ack_delay_exponent.map_or(3, u32::from);
        Duration::from_micros(raw.saturating_mul(1 << exponent.min(20)))
    }
}
