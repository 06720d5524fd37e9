//! What a client does with Retry and Version Negotiation packets (RFC 9000 §6.2, §17.2.5.2).

use super::Ietf;
use super::wire::retry;
use crate::crypto::initial::initial_keys;
use crate::engine::Engine;
use crate::error::ConnectionError;
use crate::invariants::{self, Peeked, Version};
use bytes::Bytes;

impl Ietf {
    /// A Version Negotiation packet: the connection cannot go on in this version.
    pub(super) fn on_version_negotiation(&mut self, engine: &mut Engine, packet: &[u8]) {
        let Ok(Peeked::VersionNegotiation { dcid, scid, versions }) = invariants::peek(packet, 0) else {
            return;
        };
        // RFC 9000 §6.2: "A client MUST discard any Version Negotiation packet if it has received and successfully processed any other
        // packet, including an earlier Version Negotiation packet." §17.2.1: the ids must echo ours.
        if engine.side.is_server()
            || engine.negotiated
            || self.heard_from_peer(engine)
            || *dcid != *self.local_scid
            || *scid != *engine.peer_cids.current()
        {
            return;
        }
        let offered: Vec<u32> = versions.collect();
        // RFC 9000 §6.2: "A client MUST discard a Version Negotiation packet that lists the QUIC version selected by the client."
        if offered.contains(&self.original.0) {
            return;
        }
        let offered = offered.into_iter().filter(|version| !Version(*version).is_reserved()).collect();
        engine.abandon(ConnectionError::VersionMismatch { offered });
    }

    /// A Retry packet: start again with its token, to show that we receive at our address.
    pub(super) fn on_retry(&mut self, engine: &mut Engine, packet: &[u8]) {
        // RFC 9000 §17.2.5.2: "A client MUST accept and process at most one Retry packet for each connection attempt. After the client has
        // received and processed an Initial or Retry packet from the server, it MUST discard any subsequent Retry packets". A server
        // never takes one.
        if engine.side.is_server() || self.heard_from_peer(engine) {
            return;
        }
        // RFC 9369 §4.1: "The client ignores Retry packets using other versions."
        let Some(retry) = retry::parse(packet, self.spec, &self.original_dcid) else {
            engine.stats.discarded_packets += 1;
            return;
        };
        if retry.dcid != self.local_scid {
            engine.stats.discarded_packets += 1;
            return;
        }
        tracing::debug!("retry");
        self.token = Bytes::copy_from_slice(retry.token);
        self.retry_scid = Some(retry.scid);
        engine.peer_cids.replace_initial(retry.scid);
        // RFC 9001 §5.2: Initial keys follow the id that the server chose in its Retry.
        self.keys.install_initial(initial_keys(
            &self.spec.initial_salt,
            &self.spec.labels,
            &retry.scid,
            engine.side,
        ));
        engine.on_retry(self);
    }

    /// Whether anything authentic came from the peer.
    fn heard_from_peer(&self, engine: &Engine) -> bool {
        self.peer_initial_scid.is_some() || self.retry_scid.is_some() || engine.stats.received.packets > 0
    }
}
