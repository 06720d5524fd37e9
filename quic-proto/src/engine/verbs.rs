//! What a received packet may do to the engine. A family calls one verb a frame; frames that only touch streams go to
//! [`Engine::streams`] by the verbs there.

use super::Engine;
use super::lifecycle::CloseFrame;
use super::packet::Sent;
use super::settle::FamilyTokens;
use crate::error::{ConnectionError, TransportError};
use crate::event::Event;
use crate::id::{Cid, PacketNumber, ResetToken, SpaceId, StreamId};
use crate::net::Ecn;
use crate::recovery::SentPacket;
use crate::streams::Received;
use crate::time::Instant;

impl Engine {
    /// Verb: stream data. `Refused` says that the packet must not be acknowledged, because its data could not be kept.
    ///
    /// # Errors
    /// The violation, with the code of RFC 9000 §4.1, §4.5, §4.6 or §19.8.
    pub fn on_stream(
        &mut self,
        id: StreamId,
        offset: u64,
        data: &[u8],
        fin: bool,
    ) -> Result<Received, TransportError> {
        let rtt = self.paths.active().rtt.smoothed();
        self.streams.on_stream(self.now, rtt, id, offset, data, fin)
    }

    /// Verb: a packet of `space` was opened and all its frames were taken. It was `received` before now if it had to wait for its keys: RFC
    /// 9000 §13.2.5, "endpoints SHOULD include buffering delays caused by unavailability of decryption keys" in what they say of delays.
    pub fn on_packet_received(
        &mut self,
        received: Instant,
        space: SpaceId,
        number: PacketNumber,
        ack_eliciting: bool,
        ecn: Option<Ecn>,
    ) {
        tracing::trace!(?space, number, ack_eliciting, "packet received");
        self.stats.received.packets += 1;
        // A space may have come to its end by what a packet in it said.
        if let Some(acks) = self.acks.get_mut(space) {
            acks.on_received(received, number, ack_eliciting, ecn);
        }
        // RFC 9000 §10.1: "An endpoint restarts its idle timer when a packet from its peer is received and processed successfully."
        self.last_activity = self.now;
        self.sent_since_receive = false;
        self.restless = true;
    }

    /// A packet is complete: it is remembered with what it carried.
    pub fn on_packet_sent(&mut self, space: SpaceId, packet: Sent, bytes: usize, generation: u32) {
        tracing::trace!(?space, number = packet.number, bytes, carries = ?packet.tokens, "packet sent");
        self.stats.sent.packets += 1;
        self.restless = true;
        if packet.ack_eliciting {
            self.ping_sent(space);
            // RFC 9000 §10.1: the idle timer restarts "when sending an ack-eliciting packet if no other ack-eliciting packets have been
            // sent since last receiving and processing a packet."
            if !self.sent_since_receive {
                self.sent_since_receive = true;
                self.last_activity = self.now;
            }
        }
        if self.peer_cids.has_unsent() {
            self.on_first_to_id(generation);
        }
        let in_flight = packet.in_flight;
        let path = self.paths.active_mut();
        let drained = in_flight && !self.streams.can_send();
        let sent = SentPacket {
            time: self.departure,
            bytes: bytes as u16,
            ack_eliciting: packet.ack_eliciting,
            in_flight,
            path: generation,
            ecn: self.marking,
            drained,
            tokens: packet.tokens,
        };
        if sent.ecn {
            path.ecn.on_marked_sent(space);
        }
        if in_flight {
            path.pacer.on_sent(bytes as u64);
        }
        self.recovery.on_sent(self.departure, space, packet.number, sent, &mut *path.cc);
    }

    /// Verb: the peer closed the connection, or told by a stateless reset that it knows nothing of it. RFC 9000 §10.3.1: then "the endpoint
    /// MUST enter the draining period and not send any further packets on this connection".
    pub fn on_peer_close(&mut self, reason: ConnectionError) {
        if self.lifecycle.peer_closed(reason) {
            self.closed();
        }
        self.start_close_timer();
    }

    /// Ends the connection with a close frame.
    pub fn close(&mut self, frame: CloseFrame) {
        if self.lifecycle.close(frame) {
            self.closed();
            self.start_close_timer();
        }
    }

    /// Nothing was heard of the peer for too long: ends the connection, and says so with a close frame.
    pub fn time_out(&mut self, frame: CloseFrame) {
        if self.lifecycle.close_because(ConnectionError::TimedOut, frame) {
            self.closed();
            self.start_close_timer();
        }
    }

    /// Ends the connection without a word.
    pub fn abandon(&mut self, reason: ConnectionError) {
        if self.lifecycle.abandon(reason) {
            self.closed();
        }
        self.timers.clear();
    }

    /// Reports the end, once.
    fn closed(&mut self) {
        self.timers.clear();
        self.waits.end(self.now);
        if let Some(reason) = self.lifecycle.reason() {
            tracing::debug!(%reason, "closed");
            let event = Event::Closed(reason.clone());
            self.push_event(event);
        }
    }

    /// Verb: the peer issues a connection id, and may ask to retire earlier ones.
    ///
    /// # Errors
    /// The cases of RFC 9000 §19.15 and §5.1.1, each with its code.
    pub fn on_new_connection_id(
        &mut self,
        sequence: u64,
        retire_prior_to: u64,
        cid: Cid,
        token: ResetToken,
    ) -> Result<(), TransportError> {
        if self.peer_cids.on_new_connection_id(sequence, retire_prior_to, cid, token)? {
            // What is sent on any path, answers to challenges too, goes to an id that is still good (RFC 9000 §5.1.2).
            let current = self.peer_cids.current_sequence();
            for path in self.paths.iter_mut() {
                if self.peer_cids.cid(path.peer_cid).is_none() {
                    path.use_cid(current, &mut *self.rng);
                }
            }
        }
        Ok(())
    }

    /// Verb: the peer asks whether the path works. The answer goes out on the path that the datagram came on, which is known to the
    /// connection: see [`Engine::take_challenge`]. Of very many in one datagram the later ones are ignored.
    pub fn on_path_challenge(&mut self, data: [u8; 8]) {
        if self.challenges.len() < 4 {
            self.challenges.push(data);
        }
    }

    /// A challenge from the datagram that was taken last.
    pub fn take_challenge(&mut self) -> Option<[u8; 8]> {
        self.challenges.pop()
    }

    /// Verb: the peer answers one of our challenges.
    pub fn on_path_response(&mut self, data: [u8; 8]) {
        let pto = self.pto();
        if let Some(generation) = self.paths.on_response(self.now, &data, pto) {
            let path = self.paths.active();
            if path.generation == generation && path.generation > 0 {
                let tuple = path.tuple;
                self.push_event(Event::PathChanged(tuple));
            }
        }
    }

    /// A datagram left on the active path.
    pub fn on_datagram_sent(&mut self, bytes: usize) {
        self.stats.sent.datagrams += 1;
        self.stats.sent.bytes += bytes as u64;
        self.paths.active_mut().amplification.on_sent(bytes as u64);
    }

    /// A space is over: nothing that was sent in it will be acknowledged, nothing received in it needs to be (RFC 9002 §6.4).
    pub fn discard_space(&mut self, space: SpaceId) {
        self.recovery.discard_space(self.now, space);
        self.acks.discard(space);
        self.ping_sent(space);
    }

    /// A Retry made everything void that was sent so far (RFC 9002 §6.2.3: "a client that receives a Retry packet resets congestion control
    /// and loss recovery state").
    pub fn on_retry(&mut self, family: &mut dyn FamilyTokens) {
        let path = self.paths.active_mut();
        path.cc = path.cc.fresh(path.mtu.current());
        self.outcome.clear();
        self.recovery.on_not_processed(self.now, SpaceId::Initial, &mut self.outcome);
        self.settle(self.now, family);
    }

    /// Whether a probe is owed in some space (RFC 9002 §6.2.4).
    pub fn has_probe_owed(&self) -> bool {
        SpaceId::ALL.into_iter().any(|space| self.recovery.probes_owed(space) > 0)
    }

    /// Probes are owed, but no family can write any: none are owed any more.
    pub fn waive_probes(&mut self) {
        for space in SpaceId::ALL {
            self.recovery.waive_probes(space);
        }
    }

    /// The size of datagrams on the active path changed.
    pub(super) fn on_mtu_changed(&mut self) {
        let path = self.paths.active_mut();
        let mtu = path.mtu.current();
        path.cc.on_mtu(mtu);
        path.pacer.on_mtu(mtu);
    }

    /// The latest time at which something happened that keeps the connection from being idle.
    pub(super) fn last_activity(&self) -> Instant {
        self.last_activity
    }
}
