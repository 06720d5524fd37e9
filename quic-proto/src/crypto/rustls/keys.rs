//! The keys of rustls behind our traits.

use crate::crypto::{DirectionalKeys, HeaderKey, Keys, NotAuthentic, PacketKey, PacketKeys};
use ::rustls::quic;

/// A packet key of rustls.
pub(in crate::crypto) struct RustlsPacketKey(Box<dyn quic::PacketKey>);

impl PacketKey for RustlsPacketKey {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        let (header, payload) = packet.split_at_mut(header_len);
        let (payload, tag) = payload.split_at_mut(payload.len() - self.0.tag_len());
        let sealed = self
            .0
            .encrypt_in_place(number, header, payload)
            .expect("invariant: a packet is shorter than the AEAD's limit");
        tag.copy_from_slice(sealed.as_ref());
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        self.0.decrypt_in_place(number, header, payload).map(<[u8]>::len).map_err(|_| NotAuthentic)
    }

    fn tag_len(&self) -> usize {
        self.0.tag_len()
    }

    fn confidentiality_limit(&self) -> u64 {
        self.0.confidentiality_limit()
    }

    fn integrity_limit(&self) -> u64 {
        self.0.integrity_limit()
    }
}

/// A header protection key of rustls.
pub(in crate::crypto) struct RustlsHeaderKey(Box<dyn quic::HeaderProtectionKey>);

impl HeaderKey for RustlsHeaderKey {
    fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        // rustls applies masks and does not show them. Applied to the header of a short packet with a number of 4 zero bytes, what
        // comes out is the mask, but for the 3 high bits of its first byte, which nothing uses.
        const SHORT_WITH_4_BYTES: u8 = 0b11;
        let (mut first, mut number) = (SHORT_WITH_4_BYTES, [0; 4]);
        self.0
            .encrypt_in_place(sample, &mut first, &mut number)
            .expect("invariant: every QUIC cipher samples 16 bytes");
        let [a, b, c, d] = number;
        [first ^ SHORT_WITH_4_BYTES, a, b, c, d]
    }
}

fn direction(keys: quic::DirectionalKeys) -> DirectionalKeys {
    DirectionalKeys {
        header: RustlsHeaderKey(keys.header).into(),
        packet: RustlsPacketKey(keys.packet).into(),
    }
}

pub(super) fn wrap(keys: quic::Keys) -> Keys {
    Keys { local: direction(keys.local), remote: direction(keys.remote) }
}

pub(super) fn wrap_packet_keys(keys: quic::PacketKeySet) -> PacketKeys {
    PacketKeys { local: RustlsPacketKey(keys.local).into(), remote: RustlsPacketKey(keys.remote).into() }
}
