//! Answers to datagrams that belong to no connection.
//!
//! Each function writes one datagram to a caller's buffer and returns its length; `None` if the buffer is too small or there must be
//! no answer. None of them keeps anything about the peer.
//!
//! Invariants: an answer is shorter than what caused it, or is caused by at least 1200 bytes and shorter than that, so that none can
//! serve to flood somebody else; stateless resets are limited in number by a [`RateLimit`] and shrink from one to the next, so that two
//! endpoints cannot keep each other busy (RFC 9000 §10.3.3).
//!
//! Timers: none.

use crate::codec::Writer;
use crate::crypto::initial::initial_keys;
use crate::crypto::token::ResetKey;
use crate::crypto::{PacketKey, header_protection};
use crate::error::TransportErrorCode;
use crate::id::{Cid, Side};
use crate::ietf::wire::header::{LongKind, encode_long, finish_long};
use crate::invariants::{
    Version, VersionSpec, encode_packed_version_negotiation, encode_version_negotiation,
};
use crate::rng::Rng;
use crate::time::{Duration, Instant};
use smallvec::SmallVec;

/// No stateless answer is longer, in bytes.
pub const MAX_RESPONSE: usize = 1200;

/// RFC 9000 §10.3: five bytes that look like a short header, and the token: the "resulting minimum size of 21 bytes".
const MIN_RESET: usize = 21;

/// RFC 9000 §10.3.3: "A Stateless Reset that is smaller than 41 bytes might be identifiable as a Stateless Reset by an observer".
const INCONSPICUOUS_RESET: usize = 41;

/// A Version Negotiation packet with our `versions`, and with a reserved one if `grease`, to a client that asked for `asked`. The
/// ids are the client's, as they came: of up to 255 bytes (RFC 8999 §6).
pub(super) fn version_negotiation(
    out: &mut [u8],
    rng: &mut dyn Rng,
    (client_dcid, client_scid): (&[u8], &[u8]),
    asked: u32,
    versions: &[Version],
    grease: bool,
) -> Option<usize> {
    let [random, fill @ ..] = rng.next_u64().to_le_bytes();
    let mut offered: SmallVec<[u32; 4]> = versions.iter().map(|version| version.0).collect();
    if grease {
        // RFC 9000 §6.3: "Endpoints MAY add reserved versions to any field where unknown or unsupported versions are ignored". RFC
        // 9000 §15 reserves those of the form 0x?a?a?a?a. Not the one that was asked for: the client would take the packet for
        // nonsense (§6.2).
        let reserved = Version::reserved(u32::from_le_bytes([fill[0], fill[1], fill[2], fill[3]])).0;
        offered.push(if reserved == asked { reserved ^ 0x1000_0000 } else { reserved });
    }
    if Version(asked).packs_id_lengths() {
        return encode_packed_version_negotiation(out, random, client_scid, client_dcid, &offered);
    }
    encode_version_negotiation(out, random, client_scid, client_dcid, &offered)
}

/// A stateless reset in answer to a datagram of `trigger` bytes to our id `dcid` (RFC 9000 §10.3).
pub(super) fn reset(
    out: &mut [u8],
    rng: &mut dyn Rng,
    key: &ResetKey,
    dcid: &Cid,
    trigger: usize,
) -> Option<usize> {
    // RFC 9000 §10.3.3: "An endpoint MUST ensure that every Stateless Reset that it sends is smaller than the packet that triggered
    // it". Its length varies a little, so that it tells nobody what it is.
    let len = (trigger.checked_sub(1)?).min(INCONSPICUOUS_RESET + rng.below(24) as usize);
    if len < MIN_RESET {
        return None;
    }
    let out = out.get_mut(..len)?;
    let (unpredictable, token) = out.split_at_mut(len - 16);
    rng.fill(unpredictable);
    // RFC 9000 §10.3: "Endpoints MUST send Stateless Resets formatted as a packet with a short header."
    unpredictable[0] = unpredictable[0] & 0x3f | 0x40;
    token.copy_from_slice(&key.token(dcid).0);
    Some(len)
}

/// An Initial packet that closes the connection before there was one: with `CONNECTION_REFUSED` (RFC 9000 §5.2.2) or `INVALID_TOKEN`
/// (§8.1.2). `client_dcid` is what the client sent to, and gives the keys; `scid` is any id.
pub(super) fn initial_close(
    out: &mut [u8],
    spec: &VersionSpec,
    client_dcid: &Cid,
    client_scid: &Cid,
    scid: &Cid,
    code: TransportErrorCode,
) -> Option<usize> {
    const NUMBER_LEN: usize = 1;
    let keys = initial_keys(&spec.initial_salt, &spec.labels, client_dcid, Side::Server);
    let tag_len = keys.local.packet.tag_len();
    let mut writer = Writer::new(out);
    let layout = encode_long(&mut writer, spec, LongKind::Initial, (client_scid, scid), &[], 0, NUMBER_LEN);
    let header_len = writer.len();
    // RFC 9000 §19.19: CONNECTION_CLOSE, its code, no frame type that caused it, no reason.
    for field in [0x1c, code.0, 0, 0] {
        writer.varint(field);
    }
    writer.zeros(tag_len);
    if writer.overflowed() {
        return None;
    }
    let len = writer.len();
    finish_long(&mut writer, layout, len);
    let packet = out.get_mut(..len)?;
    keys.local.packet.seal(0, packet, header_len);
    header_protection::protect(&keys.local.header, packet, layout.number_at, NUMBER_LEN);
    Some(len)
}

/// At most so many in a second, with at most one second's worth at once.
pub(super) struct RateLimit {
    per_second: u32,
    credit: Duration,
    last: Instant,
}

impl RateLimit {
    pub(super) fn new(per_second: u32) -> Self {
        Self { per_second, credit: Duration::from_secs(1), last: Instant::EPOCH }
    }

    /// Whether one more may be sent now; if so, it counts.
    pub(super) fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.last);
        self.last = self.last.max(now);
        self.credit = (self.credit + passed.min(Duration::from_secs(1))).min(Duration::from_secs(1));
        let Some(cost) = Duration::from_secs(1).checked_div(self.per_second) else { return false };
        match self.credit.checked_sub(cost) {
            Some(rest) => {
                self.credit = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ietf::wire::header::parse_long;
    use crate::invariants::spec;
    use crate::rng::SeededRng;

    #[test]
    fn resets_look_like_short_packets_and_shrink() {
        let (key, mut rng) = (ResetKey::new(&[1; 32]), SeededRng::from_u64(1));
        let cid = Cid::new(&[7; 8]).unwrap();
        let mut out = [0; MAX_RESPONSE];
        for trigger in 0..1300 {
            let len = reset(&mut out, &mut rng, &key, &cid, trigger);
            // 21 bytes at least, and smaller than the trigger.
            assert_eq!(len.is_some(), trigger >= 22, "{trigger}");
            let Some(len) = len else { continue };
            assert!(len < trigger && (MIN_RESET..65).contains(&len));
            // RFC 9000 §10.3: in answer to 43 bytes or fewer, one byte shorter "SHOULD" it be.
            assert!(trigger > 42 || len == trigger - 1);
            assert_eq!(out[0] >> 6, 0b01);
            assert_eq!(out[len - 16..len], key.token(&cid).0);
        }
    }

    #[test]
    fn two_endpoints_do_not_reset_each_other_for_ever() {
        let (key, mut rng) = (ResetKey::new(&[1; 32]), SeededRng::from_u64(1));
        let mut out = [0; MAX_RESPONSE];
        let (mut trigger, mut rounds) = (1200, 0);
        while let Some(len) = reset(&mut out, &mut rng, &key, &Cid::EMPTY, trigger) {
            (trigger, rounds) = (len, rounds + 1);
        }
        assert!(rounds <= 45, "{rounds}");
    }

    #[test]
    fn closes_open_with_the_clients_keys() {
        let spec = spec(Version::V1).unwrap();
        let dcid = Cid::new(&[0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08]).unwrap();
        let (client, server) = (Cid::new(&[1, 2, 3]).unwrap(), Cid::new(&[9; 8]).unwrap());
        let mut out = [0; MAX_RESPONSE];
        let code = TransportErrorCode::CONNECTION_REFUSED;
        let len = initial_close(&mut out, spec, &dcid, &client, &server, code).unwrap();
        let packet = &mut out[..len];
        let header = parse_long(packet, spec).unwrap();
        assert_eq!((header.kind, header.dcid, header.scid), (LongKind::Initial, client, server));
        let (number_at, end) = (header.number_offset, header.packet_len);
        assert_eq!(end, len);
        let keys = initial_keys(&spec.initial_salt, &spec.labels, &dcid, Side::Client);
        let unprotected = header_protection::unprotect(&keys.remote.header, packet, number_at).unwrap();
        let (header, payload) = packet.split_at_mut(number_at + unprotected.number_len);
        let len = keys.remote.packet.open(0, header, payload).unwrap();
        // RFC 9000 §19.19: the type, the code, the type of a frame (none), the length of a reason (none).
        assert_eq!(payload[..len], [0x1c, 2, 0, 0]);
        assert_eq!(initial_close(&mut [0; 30], spec, &dcid, &client, &server, code), None);
    }

    #[test]
    fn negotiation_swaps_the_ids_and_names_our_versions() {
        let mut rng = SeededRng::from_u64(1);
        let mut out = [0; MAX_RESPONSE];
        let ids = (&[1, 2, 3, 4, 5, 6, 7, 8][..], &[9; 255][..]);
        let len = version_negotiation(&mut out, &mut rng, ids, 0x1a2a_3a4a, &[Version::V1], true).unwrap();
        assert_eq!(out[0] & 0x80, 0x80);
        assert_eq!(out[1..5], [0; 4]);
        assert_eq!((out[5], &out[6..261]), (255, &[9; 255][..]));
        assert_eq!((out[261], &out[262..270]), (8, ids.0));
        assert_eq!(out[270..274], [0, 0, 0, 1]);
        assert_eq!((len, out[274] & 15, out[277] & 15), (278, 10, 10));
    }

    #[test]
    fn the_rate_is_kept() {
        let mut limit = RateLimit::new(10);
        let at = Instant::from_millis;
        let allowed = |limit: &mut RateLimit, millis| (0..100).filter(|_| limit.allow(at(millis))).count();
        assert_eq!(allowed(&mut limit, 0), 10);
        assert_eq!(allowed(&mut limit, 99), 0);
        assert_eq!(allowed(&mut limit, 350), 3);
        assert_eq!(allowed(&mut limit, 100), 0, "time does not go backwards");
        assert_eq!(allowed(&mut limit, 90_000), 10);
        assert!(!RateLimit::new(0).allow(at(5)));
    }
}
