//! From a datagram to frames: coalesced packets are parted, header protection is removed, numbers are restored, packets are opened in place.
//!
//! Packets that cannot be used are dropped one by one, never the rest of the datagram with them (RFC 9000 §12.2). Packets that came
//! before their keys wait in the bounded stash.

use super::Ietf;
use super::fill::MIN_INITIAL_DATAGRAM;
use super::keys::OpenError;
use super::wire::header::{self, LongHeader, LongKind};
use crate::codec::packet_number;
use crate::crypto::header_protection::{self, Unprotected};
use crate::engine::Engine;
use crate::engine::packet::Opened;
use crate::error::{TransportError, TransportErrorCode};
use crate::id::{Cid, Level};
use crate::invariants::{Version, VersionSpec};
use crate::net::Ecn;
use crate::recovery::AckTracker;
use crate::time::Instant;

/// What the packets of a datagram have in common.
#[derive(Clone, Copy, Debug)]
struct Envelope {
    /// The datagram's length.
    len: usize,
    /// The destination of the first packet.
    dcid: Option<Cid>,
}

/// Where a packet stands in its datagram.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) level: Level,
    number_at: usize,
    /// The source id of a long header.
    scid: Option<Cid>,
    /// The version of a long header, if that is not the one in use.
    pub(super) other: Option<&'static VersionSpec>,
}

/// RFC 9000 §17.2, §17.3: reserved bits, protected by header protection.
const fn reserved_bits(level: Level) -> u8 {
    if matches!(level, Level::OneRtt) { header::SHORT_RESERVED } else { header::LONG_RESERVED }
}

impl Ietf {
    /// Takes a datagram that was routed to this connection; it was `received` before now if it had to wait for keys.
    pub(super) fn open_datagram(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        payload: &mut [u8],
    ) -> Opened {
        let mut opened = Opened::default();
        let mut envelope = Envelope { len: payload.len(), dcid: None };
        let mut rest = payload;
        while !rest.is_empty() && !engine.lifecycle.is_silent() {
            if rest[0] & header::LONG_FORM == 0 {
                self.open_short(engine, received, ecn, rest, envelope.dcid, &mut opened);
                break;
            }
            let Some(len) = self.open_long(engine, received, ecn, rest, &mut envelope, &mut opened) else {
                break;
            };
            rest = &mut rest[len..];
        }
        opened
    }

    fn open_short(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        packet: &mut [u8],
        first_dcid: Option<Cid>,
        opened: &mut Opened,
    ) {
        let cid_len = self.local_scid.len();
        let Ok(short) = header::parse_short(packet, cid_len) else {
            engine.stats.discarded_packets += 1;
            return;
        };
        // RFC 9000 §12.2: "Receivers SHOULD ignore any subsequent packets with a different Destination Connection ID than the first".
        if first_dcid.is_some_and(|first| first != short.dcid) {
            engine.stats.discarded_packets += 1;
            return;
        }
        let before = std::mem::replace(&mut self.arrived_on, short.dcid);
        let place = Place { level: Level::OneRtt, number_at: short.number_offset, scid: None, other: None };
        self.open_packet(engine, received, ecn, packet, place, opened);
        opened.fresh_id = opened.new && before != short.dcid;
        if !opened.new {
            // Whoever sent it need not be the peer, or not from there.
            self.arrived_on = before;
        }
    }

    /// One packet with a long header. Returns its length, if what follows it can be found.
    fn open_long(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        rest: &mut [u8],
        envelope: &mut Envelope,
        opened: &mut Opened,
    ) -> Option<usize> {
        let version = rest.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)?;
        if version == 0 {
            self.on_version_negotiation(engine, rest);
            return None;
        }
        // Another version: not of this connection, and what follows cannot be parted from it.
        let Some(spec) = self.spec_of(engine.side, Version(version)) else {
            engine.stats.discarded_packets += 1;
            return None;
        };
        let other = Some(spec).filter(|spec| spec.version != self.spec.version);
        let Ok(long) = header::parse_long(rest, spec) else {
            engine.stats.discarded_packets += 1;
            return None;
        };
        if *envelope.dcid.get_or_insert(long.dcid) != long.dcid {
            engine.stats.discarded_packets += 1;
            return Some(long.packet_len);
        }
        let level = match long.kind {
            LongKind::Initial => Level::Initial,
            LongKind::ZeroRtt => Level::ZeroRtt,
            LongKind::Handshake => Level::Handshake,
            LongKind::Retry => {
                self.on_retry(engine, rest);
                return None;
            }
        };
        if !self.ids_match(&long) {
            engine.stats.discarded_packets += 1;
            return Some(long.packet_len);
        }
        let place = Place { level, number_at: long.number_offset, scid: Some(long.scid), other };
        let len = long.packet_len;
        // RFC 9000 §14.1: "A server MUST discard an Initial packet that is carried in a UDP datagram with a payload that is smaller than
        // the smallest allowed maximum datagram size of 1200 bytes."
        let small = engine.side.is_server() && envelope.len < MIN_INITIAL_DATAGRAM;
        // RFC 9000 §17.2.2: a server's Initial with a token: "clients that receive an Initial packet with a non-zero Token Length field
        // MUST either discard the packet or generate a connection error".
        let with_token = engine.side.is_client() && !long.token.is_empty();
        if level == Level::Initial && (small || with_token) {
            engine.stats.discarded_packets += 1;
            return Some(len);
        }
        self.arrived_on = long.dcid;
        match other {
            None => self.open_packet(engine, received, ecn, &mut rest[..len], place, opened),
            Some(spec) => self.open_other(engine, received, ecn, &mut rest[..len], (place, spec), opened),
        }
        Some(len)
    }

    /// RFC 9000 §7.2: once the peer chose its id, packets that bear another one are discarded.
    fn ids_match(&self, long: &LongHeader<'_>) -> bool {
        self.peer_initial_scid.is_none_or(|scid| scid == long.scid)
    }

    /// A packet without a key to it is kept for later, if it may be of use then.
    pub(super) fn set_aside(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        level: Level,
        packet: &[u8],
    ) {
        // RFC 9001 §5.7: 1-RTT packets may come before the handshake is complete, and Handshake packets before the Initial.
        let kept = !engine.confirmed
            && !self.keys.is_discarded(level)
            && self.stash.get_or_insert_default().push(level, ecn, received, packet);
        engine.stats.discarded_packets += u64::from(!kept);
    }

    /// Opens one packet and takes its frames.
    pub(super) fn open_packet(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        packet: &mut [u8],
        place: Place,
        opened: &mut Opened,
    ) {
        let Place { level, number_at, .. } = place;
        // RFC 9001 §5.7: "a server MUST NOT process incoming 1-RTT protected packets before the TLS handshake is complete."
        let early = level == Level::OneRtt && !self.handshake.is_complete();
        let Some(key) = self.keys.header_key_remote(level).filter(|_| !early) else {
            return self.set_aside(engine, received, ecn, level, packet);
        };
        let Some(Unprotected { first, number_len, truncated }) =
            header_protection::unprotect(key, packet, number_at)
        else {
            engine.stats.discarded_packets += 1;
            return;
        };
        let space = level.space();
        let expected = engine.acks.get(space).and_then(AckTracker::largest).map_or(0, |largest| largest + 1);
        let number = packet_number::decode(truncated, number_len, expected);
        let (head, body) = packet.split_at_mut(number_at + number_len);
        let key_phase = level == Level::OneRtt && first & header::KEY_PHASE != 0;
        if level == Level::OneRtt && self.keys.lacks_next(key_phase) {
            self.make_next_keys();
        }
        let discard_at = || engine.now() + engine.pto() * 3;
        let len = match self.keys.open(level, key_phase, number, head, body, discard_at) {
            Ok(opened) => {
                self.opened_with_old_key = opened.old_key;
                opened.len
            }
            Err(OpenError::Fatal(error)) => {
                Self::fail(engine, error);
                return;
            }
            Err(OpenError::NoKeys | OpenError::NotAuthentic) => {
                engine.stats.discarded_packets += 1;
                return;
            }
        };
        opened.authentic = true;
        self.on_authentic(engine, place);
        // RFC 9000 §12.3: "A receiver MUST discard a newly unprotected packet unless it is certain that it has not processed another
        // packet with the same packet number from the same packet number space."
        if engine.acks.get(space).is_none_or(|acks| acks.is_duplicate(number)) {
            engine.stats.discarded_packets += 1;
            return;
        }
        // RFC 9000 §17.2: reserved bits: "An endpoint MUST treat receipt of a packet that has a non-zero value for these bits, after
        // removing both packet and header protection, as a connection error of type PROTOCOL_VIOLATION."
        if first & reserved_bits(level) != 0 {
            let reason = "reserved bits of the header are not zero";
            Self::fail(engine, TransportError::new(TransportErrorCode::PROTOCOL_VIOLATION, reason));
            return;
        }
        opened.new = true;
        let newest = number >= expected;
        let peer_cid = engine.peer_cids.current_sequence();
        self.take_frames(engine, received, ecn, level, number, &body[..len], newest, opened);
        // Where the packet has us change the id, the path begins anew (RFC 9000 §17.4).
        if level == Level::OneRtt && newest && peer_cid == engine.peer_cids.current_sequence() {
            opened.spin = Some(first & header::SPIN != 0);
        }
    }

    /// What the header of an authentic packet tells before its frames do.
    fn on_authentic(&mut self, engine: &mut Engine, Place { scid, other, .. }: Place) {
        if let Some(spec) = other.filter(|_| engine.side.is_client()) {
            self.follow(spec);
        }
        if let Some(scid) = scid {
            self.on_first_packet(engine, scid);
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "the one place where a packet's facts meet; none of them outlives the call"
    )]
    fn take_frames(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        level: Level,
        number: u64,
        payload: &[u8],
        newest: bool,
        opened: &mut Opened,
    ) {
        match self.dispatch(engine, received, level, payload) {
            Ok(frames) => {
                if !frames.refused {
                    engine.on_packet_received(received, level.space(), number, frames.ack_eliciting, ecn);
                }
                opened.moves |= level == Level::OneRtt && newest && frames.non_probing;
                self.on_packet_opened(engine, level);
            }
            Err(error) => Self::fail(engine, error),
        }
    }

    /// Packets that waited for keys which are here now. The spin bit of the newest one.
    pub(super) fn open_stashed(&mut self, engine: &mut Engine) -> Option<bool> {
        let mut spin = None;
        for level in [Level::Handshake, Level::OneRtt] {
            while self.keys.can_open(level) && (level != Level::OneRtt || self.handshake.is_complete()) {
                let Some(mut stashed) = self.stash.as_mut().and_then(|stash| stash.pop(level)) else { break };
                let opened = self.open_datagram(engine, stashed.received, stashed.ecn, &mut stashed.packet);
                spin = opened.spin.or(spin);
            }
        }
        spin
    }
}
