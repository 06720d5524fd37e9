//! Stream ids: the numbers on the wire and ours.
//!
//! On the wire 1 is the handshake, a client's streams are 3, 5, 7, …, a server's 2, 4, 6, …, and all are bidirectional; 0 stands for the
//! connection. Applications see the ids that they know from elsewhere: the first stream of a client is its stream 0 here.
//!
//! Invariant: both mappings are inverse to each other. No state, no timers.

use crate::id::{Dir, Side, StreamId};

/// The connection, in frames about flow control.
pub(super) const CONNECTION: u32 = 0;
/// The handshake.
pub(super) const CRYPTO: u32 = 1;
/// A client's first stream, which carries the headers if HTTP is spoken. It does not count for the connection's flow control.
pub(super) const HEADERS: StreamId = StreamId::new(Side::Client, Dir::Bi, 0);

/// How many streams of one side the wire's ids can name.
pub(super) const TOTAL: u64 = ((u32::MAX - 3) / 2) as u64;

/// The stream with this number on the wire; `None` for the connection and the handshake.
pub(super) const fn from_wire(stream: u32) -> Option<StreamId> {
    match stream {
        CONNECTION | CRYPTO => None,
        _ if stream % 2 == 1 => Some(StreamId::new(Side::Client, Dir::Bi, (stream as u64 - 3) / 2)),
        _ => Some(StreamId::new(Side::Server, Dir::Bi, (stream as u64 - 2) / 2)),
    }
}

/// The number on the wire of a bidirectional stream below [`TOTAL`].
pub(super) const fn to_wire(id: StreamId) -> u32 {
    let first = if id.initiator().is_client() { 3 } else { 2 };
    (id.index() * 2 + first) as u32
}

/// How many of the streams that `side` opens have a number of at most `last` on the wire.
pub(super) const fn count_to(side: Side, last: u32) -> u64 {
    let count = if side.is_client() { last.saturating_sub(1) } else { last } / 2;
    count as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_up_to_a_number() {
        for last in 0..100 {
            for (side, first) in [(Side::Client, 3), (Side::Server, 2)] {
                let count = (first..=last).step_by(2).count() as u64;
                assert_eq!(count_to(side, last), count, "{side:?} {last}");
            }
        }
    }

    #[test]
    fn numbers_on_the_wire() {
        assert_eq!((from_wire(0), from_wire(1)), (None, None));
        assert_eq!((from_wire(3), to_wire(HEADERS)), (Some(HEADERS), 3));
        assert_eq!(from_wire(2), Some(StreamId::new(Side::Server, Dir::Bi, 0)));
        for stream in (2..100).chain([u32::MAX - 2, u32::MAX - 1, u32::MAX]) {
            let id = from_wire(stream).unwrap();
            assert_eq!(to_wire(id), stream);
            assert_eq!(id.initiator().is_client(), stream % 2 == 1);
        }
        assert_eq!(to_wire(StreamId::new(Side::Client, Dir::Bi, TOTAL - 1)), u32::MAX - 2);
    }
}
