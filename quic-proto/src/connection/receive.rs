//! A datagram comes in: credit for its sender, packets to the family, and the path that it came on.

use super::Connection;
use crate::id::ResetToken;
use crate::net::{Datagram, FourTuple};
use crate::time::Instant;

/// Where a datagram came in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On the active path.
    Active,
    /// On another one.
    Elsewhere,
}

impl Connection {
    /// Takes a datagram that belongs to this connection; its payload is decrypted in place. Whatever it holds, this never fails: what cannot
    /// be used is counted and dropped, and a violation of the protocol closes the connection.
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
        let _entered = self.enter();
        let now = self.engine.advance(now);
        if self.engine.lifecycle.is_silent() {
            return;
        }
        let Datagram { path, ecn, payload } = datagram;
        let len = payload.len() as u64;
        self.engine.stats.received.datagrams += 1;
        self.engine.stats.received.bytes += len;
        self.engine.lifecycle.on_datagram();
        let Some(place) = self.admit(path, len) else { return };
        // It must be read before packets are opened in place.
        let token = payload.last_chunk::<16>().map(|bytes| ResetToken(*bytes));
        let opened = self.family.receive(&mut self.engine, now, ecn, payload);
        if opened.authentic {
            match place {
                Place::Active => self.engine.on_active_path(opened),
                Place::Elsewhere => self.engine.on_other_path(path, len, opened),
            }
            self.take_challenges(path);
        } else if let Some(token) = token {
            // RFC 9000 §10.3.1: "Endpoints MAY skip this check if any packet from a datagram is successfully processed. However, the comparison
            // MUST be performed when the first packet in an incoming datagram either cannot be associated with a connection or cannot be
            // decrypted." §10.3: "Endpoints MUST treat any packet ending in a valid stateless reset token as a Stateless Reset, as other QUIC
            // versions might allow the use of a long header."
            self.engine.on_unopened(path.remote, token);
        }
        if self.second_start.is_some() {
            if opened.authentic {
                self.second_start = None;
            }
            self.negotiate();
        }
        self.settle_close();
        self.engine.rearm_later();
    }

    /// Where a datagram from there came in, if it may be looked at.
    fn admit(&mut self, tuple: FourTuple, len: u64) -> Option<Place> {
        let active = self.engine.paths.active_mut();
        if active.tuple.matches(&tuple) {
            // RFC 9000 §8.1: what comes from an address that is not validated permits three times as much to it.
            active.amplification.on_received(len);
            active.tuple.local = active.tuple.local.or(tuple.local);
            return Some(Place::Active);
        }
        // RFC 9000 §9: "An endpoint MUST NOT initiate connection migration before the handshake is confirmed"; "If a client receives packets
        // from an unknown server address, the client MUST discard these packets."
        // A server may not know yet that its client has confirmed the handshake: what is authentic tells it.
        (self.engine.side.is_server() && self.family.is_established() && self.engine.config.migration)
            .then_some(Place::Elsewhere)
    }

    /// Challenges that came on this path are answered on it.
    fn take_challenges(&mut self, tuple: FourTuple) {
        while let Some(data) = self.engine.take_challenge() {
            if let Some(path) = self.engine.paths.find(&tuple) {
                path.responses.owe(data);
            }
        }
    }
}
