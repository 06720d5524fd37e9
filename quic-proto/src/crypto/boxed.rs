//! Keys of any make, in one box each at most.
//!
//! rustls hands its keys out in boxes. They are taken as they come: another box around each would be an allocation more for every key, and
//! a detour for every packet. Initial keys share their memory.

use super::initial::InitialKey;
use super::{HeaderKey, NotAuthentic, PacketKey, rustls};

/// A packet key.
pub struct BoxedPacketKey(PacketMake);

enum PacketMake {
    Rustls(rustls::RustlsPacketKey),
    Initial(InitialKey),
    Other(Box<dyn PacketKey>),
}

/// A header protection key.
pub struct BoxedHeaderKey(HeaderMake);

enum HeaderMake {
    Rustls(rustls::RustlsHeaderKey),
    Initial(InitialKey),
    Other(Box<dyn HeaderKey>),
}

impl BoxedPacketKey {
    /// A key of a make that has no box yet.
    pub fn new(key: impl PacketKey + 'static) -> Self {
        Self(PacketMake::Other(Box::new(key)))
    }
}

impl From<rustls::RustlsPacketKey> for BoxedPacketKey {
    fn from(key: rustls::RustlsPacketKey) -> Self {
        Self(PacketMake::Rustls(key))
    }
}

impl From<InitialKey> for BoxedPacketKey {
    fn from(key: InitialKey) -> Self {
        Self(PacketMake::Initial(key))
    }
}

impl BoxedHeaderKey {
    /// A key of a make that has no box yet.
    pub fn new(key: impl HeaderKey + 'static) -> Self {
        Self(HeaderMake::Other(Box::new(key)))
    }
}

impl From<rustls::RustlsHeaderKey> for BoxedHeaderKey {
    fn from(key: rustls::RustlsHeaderKey) -> Self {
        Self(HeaderMake::Rustls(key))
    }
}

impl From<InitialKey> for BoxedHeaderKey {
    fn from(key: InitialKey) -> Self {
        Self(HeaderMake::Initial(key))
    }
}

/// Evaluates the same expression for whichever make it is.
macro_rules! each {
    ($make:ident, $self:expr, $key:ident => $body:expr) => {
        match &$self.0 {
            $make::Rustls($key) => $body,
            $make::Initial($key) => $body,
            $make::Other($key) => $body,
        }
    };
}

impl PacketKey for BoxedPacketKey {
    fn seal(&self, number: u64, packet: &mut [u8], header_len: usize) {
        each!(PacketMake, self, key => key.seal(number, packet, header_len));
    }

    fn open(&self, number: u64, header: &[u8], payload: &mut [u8]) -> Result<usize, NotAuthentic> {
        each!(PacketMake, self, key => key.open(number, header, payload))
    }

    fn tag_len(&self) -> usize {
        each!(PacketMake, self, key => key.tag_len())
    }

    fn confidentiality_limit(&self) -> u64 {
        each!(PacketMake, self, key => key.confidentiality_limit())
    }

    fn integrity_limit(&self) -> u64 {
        each!(PacketMake, self, key => key.integrity_limit())
    }
}

impl HeaderKey for BoxedHeaderKey {
    fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        each!(HeaderMake, self, key => key.mask(sample))
    }
}
