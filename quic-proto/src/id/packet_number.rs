//! Packet numbers, and the two things that are easily taken for one: the space that a number counts in, and the level that protects it.

/// A packet number, 0 to 2^62-1 (RFC 9000 §12.3).
pub type PacketNumber = u64;

/// A packet number space (RFC 9000 §12.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum SpaceId {
    /// Packets with keys that anybody can derive.
    Initial = 0,
    /// Packets with handshake keys.
    Handshake = 1,
    /// Packets with application data: 0-RTT and 1-RTT share this space.
    Data = 2,
}

impl SpaceId {
    /// All spaces, in the order of the handshake.
    pub const ALL: [Self; 3] = [Self::Initial, Self::Handshake, Self::Data];
}

/// An encryption level (RFC 9001 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Level {
    /// Initial keys.
    Initial = 0,
    /// Early data keys.
    ZeroRtt = 1,
    /// Handshake keys.
    Handshake = 2,
    /// Application keys.
    OneRtt = 3,
}

impl Level {
    /// The space in which packets of this level are numbered.
    pub const fn space(self) -> SpaceId {
        match self {
            Self::Initial => SpaceId::Initial,
            Self::Handshake => SpaceId::Handshake,
            Self::ZeroRtt | Self::OneRtt => SpaceId::Data,
        }
    }
}
