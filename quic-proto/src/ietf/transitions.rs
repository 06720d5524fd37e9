//! What progress of the handshake changes: keys installed and discarded, parameters checked, the handshake confirmed.

use super::Ietf;
use super::wire::params::TransportParameters;
use crate::engine::{Engine, PeerTiming};
use crate::error::{TransportError, TransportErrorCode};
use crate::event::Event;
use crate::id::{Cid, Level, SpaceId};
use crate::streams::PeerLimits;
use bytes::Bytes;

impl Ietf {
    /// A CRYPTO frame.
    pub(super) fn on_crypto(
        &mut self,
        engine: &mut Engine,
        space: SpaceId,
        offset: u64,
        data: &[u8],
    ) -> Result<(), TransportError> {
        self.handshake.receive(space, offset, data)?;
        self.settle_version(engine.side);
        self.drive(engine)
    }

    /// Lets the handshake go on as far as it can.
    pub(super) fn drive(&mut self, engine: &mut Engine) -> Result<(), TransportError> {
        let complete = self.handshake.drive(&mut self.keys)?;
        engine.has_handshake_keys = self.keys.can_seal(Level::Handshake);
        self.take_peer_params(engine)?;
        if !complete {
            return Ok(());
        }
        // RFC 9000 §7.3, RFC 9001 §8.2: a handshake without transport parameters fails with missing_extension (109).
        if self.peer_ack_delay_exponent.is_none() {
            return Err(TransportError::new(TransportErrorCode::crypto(109), "no transport parameters"));
        }
        engine.push_event(Event::Connected);
        if engine.side.is_server() {
            // RFC 9001 §4.1.2: "the TLS handshake is considered confirmed at the server when the handshake completes. The server MUST send
            // a HANDSHAKE_DONE frame as soon as the handshake is complete."
            self.handshake_done_owed = true;
            self.new_token_owed = self.new_token.is_some();
            self.confirm(engine);
        }
        Ok(())
    }

    /// HANDSHAKE_DONE came.
    pub(super) fn on_handshake_done(&mut self, engine: &mut Engine) -> Result<(), TransportError> {
        // RFC 9000 §19.20: "A server MUST treat receipt of a HANDSHAKE_DONE frame as a connection error of type PROTOCOL_VIOLATION."
        if engine.side.is_server() {
            return Err(TransportError::new(
                TransportErrorCode::PROTOCOL_VIOLATION,
                "a client sent HANDSHAKE_DONE",
            ));
        }
        if !engine.confirmed {
            self.confirm(engine);
        }
        Ok(())
    }

    fn confirm(&mut self, engine: &mut Engine) {
        engine.confirmed = true;
        engine.peer_validated_us = true;
        self.keys.on_handshake_confirmed();
        engine.push_event(Event::HandshakeConfirmed);
        // RFC 9001 §4.9.2: "An endpoint MUST discard its Handshake keys when the TLS handshake is confirmed."
        self.discard_space(engine, SpaceId::Initial);
        self.discard_space(engine, SpaceId::Handshake);
        if engine.config.mtu_discovery {
            engine.paths.active_mut().mtu.search();
        }
    }

    /// NEW_TOKEN came.
    pub(super) fn on_new_token(&mut self, engine: &Engine, token: &[u8]) -> Result<(), TransportError> {
        // RFC 9000 §19.7: "A server MUST treat receipt of a NEW_TOKEN frame as a connection error of type PROTOCOL_VIOLATION."
        if engine.side.is_server() {
            return Err(TransportError::new(
                TransportErrorCode::PROTOCOL_VIOLATION,
                "a client sent NEW_TOKEN",
            ));
        }
        self.received_token = Some(Bytes::copy_from_slice(token));
        Ok(())
    }

    /// An authentic packet of `level` was taken.
    pub(super) fn on_packet_opened(&mut self, engine: &mut Engine, level: Level) {
        if level == Level::Handshake && engine.side.is_server() {
            // RFC 9000 §8.1: "receipt of a packet protected with Handshake keys confirms that the peer successfully processed an Initial
            // packet"; RFC 9001 §4.9.1: "a server MUST discard Initial keys when it first successfully processes a Handshake packet."
            engine.paths.active_mut().amplification.validate();
            self.discard_space(engine, SpaceId::Initial);
        }
    }

    /// An acknowledgement of `level` was taken.
    ///
    /// # Errors
    /// KEY_UPDATE_ERROR (RFC 9001 §6.2).
    pub(super) fn on_acked_at(
        &mut self,
        engine: &mut Engine,
        level: Level,
        largest: u64,
    ) -> Result<(), TransportError> {
        if engine.side.is_client() && level != Level::Initial {
            // RFC 9002 §6.2.2.1: an acknowledgement of a Handshake packet shows that the server has validated the client's address.
            engine.peer_validated_us = true;
        }
        if level == Level::OneRtt { self.keys.on_ack(largest, self.opened_with_old_key) } else { Ok(()) }
    }

    /// The peer's first authentic packet with a long header: it bears the id that the peer chose. Until then what a server knows of it
    /// is hearsay, from a datagram that may have been spoilt on its way.
    pub(super) fn on_first_packet(&mut self, engine: &mut Engine, scid: Cid) {
        if self.peer_initial_scid.is_none() {
            self.peer_initial_scid = Some(scid);
            engine.peer_cids.replace_initial(scid);
        }
    }

    /// Keys, packets, acknowledgements and handshake bytes of a space go together.
    pub(super) fn discard_space(&mut self, engine: &mut Engine, space: SpaceId) {
        let level = if space == SpaceId::Initial { Level::Initial } else { Level::Handshake };
        if self.keys.is_discarded(level) {
            return;
        }
        self.keys.discard(level);
        if engine.side.is_server() {
            // RFC 9369 §4.1: "The server MUST NOT discard its original version Initial receive keys until it successfully processes a Handshake
            // packet with the negotiated version."
            self.compat = None;
        }
        if let Some(stash) = &mut self.stash {
            stash.discard(level);
        }
        engine.has_handshake_keys = self.keys.can_seal(Level::Handshake);
        self.handshake.discard(space);
        engine.discard_space(space);
    }

    /// Takes the peer's transport parameters once the handshake brought them.
    fn take_peer_params(&mut self, engine: &mut Engine) -> Result<(), TransportError> {
        if self.peer_ack_delay_exponent.is_some() {
            return Ok(());
        }
        let Some(raw) = self.handshake.session().peer_params() else { return Ok(()) };
        let params = TransportParameters::decode(raw, !engine.side)?;
        self.authenticate_ids(engine, &params)?;
        self.check_versions(engine.side, raw)?;
        engine.recovery.set_peer_max_ack_delay(params.max_ack_delay);
        engine.streams.set_peer_limits(PeerLimits {
            max_data: params.initial_max_data,
            stream_data_bidi_local: params.initial_max_stream_data_bidi_local,
            stream_data_bidi_remote: params.initial_max_stream_data_bidi_remote,
            stream_data_uni: params.initial_max_stream_data_uni,
            max_bidi: params.initial_max_streams_bidi,
            max_uni: params.initial_max_streams_uni,
        });
        let local_idle = engine.config.max_idle_timeout;
        let peer_idle = Some(params.max_idle_timeout).filter(|timeout| !timeout.is_zero());
        engine.timing = PeerTiming {
            max_ack_delay: params.max_ack_delay,
            // RFC 9000 §10.1: the effective value "is computed as the minimum of the two advertised values (or the sole advertised value".
            idle_timeout: match (local_idle, peer_idle) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            },
            keep_alive: None,
        };
        engine.paths.active_mut().mtu.limit(params.max_udp_payload_size);
        engine.local_cids.set_peer_limit(params.active_connection_id_limit);
        engine.issue_cids();
        if let Some(token) = params.stateless_reset_token {
            engine.peer_cids.set_initial_token(token);
        }
        // RFC 9000 §5.1.1: "If the preferred_address transport parameter is sent, the sequence number of the supplied connection ID is 1."
        // We stay with the address that we have; the id is as good as any other.
        if let Some(preferred) = &params.preferred_address {
            engine.on_new_connection_id(1, 0, preferred.cid, preferred.reset_token)?;
        }
        self.peer_ack_delay_exponent = Some(params.ack_delay_exponent);
        if engine.side.is_client() {
            self.compat = None;
        }
        Ok(())
    }

    /// RFC 9000 §7.3: the ids in the parameters must be those that the packets bore. "An endpoint MUST treat … as a connection error of type
    /// TRANSPORT_PARAMETER_ERROR or `PROTOCOL_VIOLATION"`: absence, or a mismatch.
    fn authenticate_ids(&self, engine: &Engine, params: &TransportParameters) -> Result<(), TransportError> {
        let fail = |reason| Err(TransportError::new(TransportErrorCode::TRANSPORT_PARAMETER_ERROR, reason));
        if params.initial_source_connection_id.is_none()
            || params.initial_source_connection_id != self.peer_initial_scid
        {
            return fail("initial_source_connection_id is absent or not that of the packets");
        }
        if engine.side.is_server() {
            return Ok(());
        }
        if params.original_destination_connection_id != Some(self.original_dcid) {
            return fail("original_destination_connection_id is absent or not that of our first packet");
        }
        if params.retry_source_connection_id != self.retry_scid {
            return fail("retry_source_connection_id does not match the Retry packet, or its absence");
        }
        Ok(())
    }
}
