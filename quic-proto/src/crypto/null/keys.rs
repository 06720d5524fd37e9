//! Keys without security: the payload stays as it is, the tag is a checksum, the header mask is zero.

use crate::crypto::{
    BoxedHeaderKey, BoxedPacketKey, DirectionalKeys, HeaderKey, Keys, NotAuthentic, PacketKey,
};
use crate::id::Side;

/// Limits of each key, so that tests can reach them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NullLimits {
    /// How many packets each key may seal.
    pub confidentiality: u64,
    /// How many packets may fail to open on a connection.
    pub integrity: u64,
}

impl Default for NullLimits {
    fn default() -> Self {
        Self { confidentiality: u64::MAX, integrity: u64::MAX }
    }
}

/// Which keys of a session.
#[derive(Clone, Copy)]
pub(super) enum Generation {
    Handshake,
    /// After this many key updates.
    OneRtt(u64),
}

const TAG_LEN: usize = 16;

/// FNV-1a with 64 bits, continued from `state`.
pub(super) fn fnv(state: u64, data: &[u8]) -> u64 {
    data.iter().fold(state ^ 0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The keys of the end `side`.
pub(super) fn keys(secret: u64, generation: Generation, side: Side, limits: NullLimits) -> Keys {
    let direction = |sender: Side| {
        let generation = match generation {
            Generation::Handshake => 0,
            Generation::OneRtt(updates) => 1 + updates,
        };
        let id = fnv(fnv(secret, &[sender as u8]), &generation.to_be_bytes());
        DirectionalKeys {
            header: BoxedHeaderKey::new(NullHeaderKey),
            packet: BoxedPacketKey::new(NullPacketKey { id, limits }),
        }
    };
    Keys { local: direction(side), remote: direction(!side) }
}

struct NullPacketKey {
    id: u64,
    limits: NullLimits,
}

impl NullPacketKey {
    fn tag(&self, number: u64, header: &[u8], payload: &[u8]) -> [u8; TAG_LEN] {
        let number = fnv(self.id, &number.to_be_bytes());
        let header = fnv(number, header);
        let mut tag = [0; TAG_LEN];
        tag[..8].copy_from_slice(&header.to_be_bytes());
        tag[8..].copy_from_slice(&fnv(header, payload).to_be_bytes());
        tag
    }
}

impl PacketKey for NullPacketKey {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let (header, payload) = packet.split_at_mut(header_len);
        let (payload, tag) = payload.split_at_mut(payload.len() - TAG_LEN);
        tag.copy_from_slice(&self.tag(number, header, payload));
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        let (payload, tag) = payload.split_last_chunk::<TAG_LEN>().ok_or(NotAuthentic)?;
        if *tag == self.tag(number, header, payload) { Ok(payload.len()) } else { Err(NotAuthentic) }
    }

    fn tag_len(&self) -> usize {
        TAG_LEN
    }

    fn confidentiality_limit(&self) -> u64 {
        self.limits.confidentiality
    }

    fn integrity_limit(&self) -> u64 {
        self.limits.integrity
    }
}

struct NullHeaderKey;

impl HeaderKey for NullHeaderKey {
    fn mask(&self, _sample: &[u8; 16]) -> [u8; 5] {
        [0; 5]
    }
}
