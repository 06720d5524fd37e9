//! Stream ids, RFC 9000 §2.1.

use std::fmt;
use std::ops::Not;

/// Who opened a stream, or which end of a connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Side {
    /// The end that started the connection.
    Client = 0,
    /// The end that accepted it.
    Server = 1,
}

impl Side {
    /// Whether this is the client.
    pub const fn is_client(self) -> bool {
        matches!(self, Self::Client)
    }

    /// Whether this is the server.
    pub const fn is_server(self) -> bool {
        matches!(self, Self::Server)
    }
}

impl Not for Side {
    type Output = Self;
    fn not(self) -> Self {
        if self.is_client() { Self::Server } else { Self::Client }
    }
}

/// Whether data flows both ways on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Dir {
    /// Both ends send.
    Bi = 0,
    /// Only the initiator sends.
    Uni = 1,
}

impl Dir {
    /// Both directions.
    pub const ALL: [Self; 2] = [Self::Bi, Self::Uni];
}

/// A stream id: initiator in bit 0, direction in bit 1, a count of such streams above (RFC 9000 §2.1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    /// The `index`-th stream (from 0, below 2^60) that `initiator` opens in direction `dir`.
    pub const fn new(initiator: Side, dir: Dir, index: u64) -> Self {
        Self(index << 2 | (dir as u64) << 1 | initiator as u64)
    }

    /// The id with this number on the wire.
    pub const fn from_u64(id: u64) -> Self {
        Self(id)
    }

    /// The number on the wire.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// Who opened it.
    pub const fn initiator(self) -> Side {
        if self.0 & 0b01 == 0 { Side::Client } else { Side::Server }
    }

    /// In which directions data flows.
    pub const fn dir(self) -> Dir {
        if self.0 & 0b10 == 0 { Dir::Bi } else { Dir::Uni }
    }

    /// The count of earlier streams of the same initiator and direction.
    pub const fn index(self) -> u64 {
        self.0 >> 2
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = if self.dir() == Dir::Bi { "bi" } else { "uni" };
        let side = if self.initiator().is_client() { "client" } else { "server" };
        write!(f, "{}({side} {dir} {})", self.0, self.index())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_1_of_rfc_9000() {
        for (id, side, dir) in [
            (0, Side::Client, Dir::Bi),
            (1, Side::Server, Dir::Bi),
            (2, Side::Client, Dir::Uni),
            (3, Side::Server, Dir::Uni),
        ] {
            assert_eq!(StreamId::new(side, dir, 0).as_u64(), id);
            let later = StreamId::from_u64(id + 4 * 17);
            assert_eq!((later.initiator(), later.dir(), later.index()), (side, dir, 17));
        }
    }
}
