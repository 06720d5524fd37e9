//! From a datagram to frames: the header, the number, trial decryption, duplicates. A datagram is one packet.
//!
//! What cannot be used is dropped; what may be opened later waits in the stash.

use super::keys::Level;
use super::wire::header::{self, LongHeader, NONCE_LEN, TruncatedNumber};
use super::wire::negotiation;
use super::wire::reset::PublicReset;
use super::{Gquic, log};
use crate::crypto::PacketKey;
use crate::engine::Engine;
use crate::engine::packet::Opened;
use crate::error::ConnectionError;
use crate::id::{PacketNumber, SpaceId};
use crate::invariants::{OfferedVersions, Peeked, Version, peek};
use crate::time::{Duration, Instant};

/// From this packet on acknowledgements may be scarce (chapter 5).
const SPARSE_FROM: PacketNumber = 100;
/// Then every tenth packet is acknowledged at once.
const SPARSE_THRESHOLD: u32 = 10;
/// Both known implementations hold an acknowledgement back for this long at most.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);

/// What a header says.
struct Place {
    number: TruncatedNumber,
    header_len: usize,
    /// What the server's initial keys are diversified with, as the header says.
    nonce: Option<[u8; NONCE_LEN]>,
}

impl Gquic {
    /// Takes a datagram that was routed to this connection.
    pub(super) fn open_datagram(&mut self, engine: &mut Engine, now: Instant, packet: &mut [u8]) -> Opened {
        let mut opened = Opened::default();
        let Some(place) = self.place(engine, packet) else {
            engine.stats.discarded_packets += 1;
            return opened;
        };
        if !engine.lifecycle.is_silent() {
            self.open_packet(engine, now, packet, &place, &mut opened);
        }
        opened
    }

    /// Reads the header of a packet that belongs here, and what is said without a number: negotiation and resets.
    fn place(&mut self, engine: &mut Engine, packet: &[u8]) -> Option<Place> {
        let first = *packet.first()?;
        let negotiates = first & 0x80 != 0 && packet.get(1..5) == Some(&[0; 4]);
        // The public header of older versions: with versions, or with the reset flag; bits that are never so in a short header.
        if negotiates || first & 0xc9 == 0x09 {
            self.on_version_negotiation(engine, packet);
            return None;
        }
        if first & 0xca == 0x0a {
            self.on_public_reset(engine, packet);
            return None;
        }
        if first & 0x80 != 0 {
            let long =
                header::parse_long(packet, !engine.side).ok().filter(|long| self.is_named(engine, long))?;
            let nonce = long.nonce.copied();
            return Some(Place { number: long.number, header_len: long.len, nonce });
        }
        let short = header::parse_short(packet, !engine.side).ok()?;
        let named = engine.side.is_client() || short.dcid == self.cid;
        named.then_some(Place { number: short.number, header_len: short.len, nonce: None })
    }

    /// Chapter 2.6: "A long header from the server whose source ID is not the client's ID must be dropped."
    fn is_named(&self, engine: &Engine, long: &LongHeader<'_>) -> bool {
        let id = if engine.side.is_client() { long.scid } else { long.dcid };
        id == self.cid
    }

    /// Chapter 2.4, the client's part.
    fn on_version_negotiation(&mut self, engine: &mut Engine, packet: &[u8]) {
        let Some(versions) = self.offered_versions(packet) else { return };
        // "Client: ignore the packet if any other packet of the server was accepted before, if one such packet was followed already, or if
        // it lists the version just offered."
        if engine.side.is_server() || engine.negotiated || self.keys.seen().is_some() {
            return;
        }
        let offered: Vec<u32> = versions.collect();
        if offered.contains(&Version::Q044.0) {
            return;
        }
        let offered = offered.into_iter().filter(|version| !Version(*version).is_reserved()).collect();
        engine.abandon(ConnectionError::VersionMismatch { offered });
    }

    /// The list in a version negotiation packet that answers ours. A server of RFC 8999 has read the packed lengths of our ids as the length of
    /// the first one, and gives back more than that.
    fn offered_versions<'a>(&self, packet: &'a [u8]) -> Option<OfferedVersions<'a>> {
        if let Some(negotiation) = negotiation::parse(packet)
            && negotiation.scid == self.cid
            && (negotiation.dcid.is_empty() || negotiation.dcid == self.cid)
        {
            return Some(negotiation.versions);
        }
        match peek(packet, 0) {
            Ok(Peeked::VersionNegotiation { scid, versions, .. }) if scid.starts_with(&self.cid) => {
                Some(versions)
            }
            _ => None,
        }
    }

    /// Chapter 2.5: "A client may well recognise it and fail at once, but only before the handshake is complete."
    fn on_public_reset(&mut self, engine: &mut Engine, packet: &[u8]) {
        let Some(reset) = PublicReset::parse(packet) else { return };
        if engine.side.is_client() && !engine.confirmed && reset.cid.is_none_or(|cid| cid == *self.cid) {
            engine.abandon(ConnectionError::Reset);
        }
    }

    /// Opens one packet and takes its frames.
    fn open_packet(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        packet: &mut [u8],
        place: &Place,
        opened: &mut Opened,
    ) {
        let largest = engine.acks.data().largest();
        let number = place.number.expand(largest.unwrap_or(0));
        let size = packet.len();
        let (head, body) = packet.split_at_mut(place.header_len);
        let found =
            self.keys.open(number, head, body).or_else(|| self.open_diversified(number, head, body, place));
        let Some((level, len)) = found else {
            self.on_unopened(engine, packet);
            return;
        };
        opened.authentic = true;
        let acks = engine.acks.data();
        // Chapter 2.3: numbers start with 1.
        if number == 0 || acks.is_duplicate(number) {
            engine.stats.discarded_packets += 1;
            return;
        }
        opened.moves = level == Level::ForwardSecure && largest.is_none_or(|largest| number > largest);
        let payload = &body[..len];
        log::packet(log::Way::Received, number, size, level, payload);
        self.on_opened(engine, level);
        match self.dispatch(engine, now, level, payload) {
            Ok(frames) => {
                if !frames.refused {
                    engine.on_packet_received(now, SpaceId::Data, number, frames.ack_eliciting, None);
                }
                Self::pace_acks(engine, number);
            }
            Err(error) => Self::fail(engine, &error),
        }
    }

    /// The first packet of the initial level brings what the server's keys are diversified with. Anybody could have written that, so that
    /// it counts only if the packet is authentic with it.
    fn open_diversified(
        &mut self,
        number: PacketNumber,
        header: &[u8],
        payload: &mut [u8],
        place: &Place,
    ) -> Option<(Level, usize)> {
        let keys = self.handshake.diversified(place.nonce.as_ref()?)?;
        keys.server_key().open(number, header, payload).ok().map(|len| {
            self.handshake.on_diversified();
            self.keys.set_seal(Level::Initial, Box::new(keys.client_key()));
            self.keys.set_open(Level::Initial, Box::new(keys.server_key()));
            self.keys.on_opened(Level::Initial);
            self.keys_changed = true;
            (Level::Initial, len)
        })
    }

    /// A packet that no key opens now: it may be opened later, or is dropped; whether it is a reset is seen to for all families.
    fn on_unopened(&mut self, engine: &mut Engine, packet: &[u8]) {
        if self.keys.seen() == Some(Level::ForwardSecure) || !self.stash.push(packet) {
            engine.stats.discarded_packets += 1;
        }
    }

    /// An authentic packet of `level` came.
    fn on_opened(&mut self, engine: &mut Engine, level: Level) {
        // Chapter 3.6: the handshake is over for a server with the first forward-secure packet from the client.
        if engine.side.is_server() && level == Level::ForwardSecure && !engine.confirmed {
            self.confirm(engine);
        }
    }

    /// Chapter 5: "ACK at once for the first packet, then for every second retransmittable packet, or 25 ms after the first unacknowledged
    /// one. From packet number 100 on: every tenth, or min(25 ms, a quarter of the smallest RTT)."
    fn pace_acks(engine: &mut Engine, number: PacketNumber) {
        let min_rtt = engine.paths.active().rtt.min();
        let acks = engine.acks.data_mut();
        if !engine.confirmed {
            acks.set_threshold(1);
        } else if number < SPARSE_FROM {
            acks.set_threshold(2);
        } else {
            acks.set_threshold(SPARSE_THRESHOLD);
            acks.set_max_delay(if min_rtt.is_zero() {
                MAX_ACK_DELAY
            } else {
                MAX_ACK_DELAY.min(min_rtt / 4)
            });
        }
    }

    /// Packets that waited for keys which may be here now. They come in the order in which they came; those that still cannot be opened wait
    /// on.
    pub(super) fn open_stashed(&mut self, engine: &mut Engine, now: Instant) {
        if self.stash.is_empty() || !std::mem::take(&mut self.keys_changed) {
            return;
        }
        for mut packet in self.stash.take() {
            self.open_datagram(engine, now, &mut packet);
        }
        if self.keys.seen() == Some(Level::ForwardSecure) {
            self.stash.take();
        }
    }
}
