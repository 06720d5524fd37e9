//! Clients that wait for the application to decide about them.
//!
//! Owns [`Incoming`], what the application sees of such a client, and [`PendingTable`], which keeps the client's datagrams meanwhile.
//!
//! Invariants: at most as many clients and bytes wait as the server's configuration allows, and at most [`MAX_DATAGRAMS`] datagrams
//! of each. Nothing is kept for more than [`LIFETIME`] once another client comes: by then the client has given up or starts anew.
//!
//! Timers: none; the age is looked at when the next client comes.

use crate::id::Cid;
use crate::invariants::Version;
use crate::net::{Datagram, Ecn, FourTuple};
use crate::time::{Duration, Instant};
use smallvec::{SmallVec, smallvec};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Datagrams kept for one client. Its first flight with a large `ClientHello` and early data has a few; more are not owed a place.
pub(super) const MAX_DATAGRAMS: usize = 10;

/// How long a decision may take. As long as a handshake may by default: clients do not wait longer.
pub(super) const LIFETIME: Duration = Duration::from_secs(10);

/// A client that wants to connect. Give it to `accept`, `retry`, `refuse` or `ignore`.
///
/// Dropping it ignores the client too; its datagrams then keep their memory, within the limits of the server's configuration, until
/// they are 10 seconds old and another client comes.
#[must_use = "a client waits for the decision"]
#[derive(Debug)]
pub struct Incoming(pub(super) Box<Details>);

#[derive(Debug)]
pub(super) struct Details {
    pub(super) id: u64,
    pub(super) path: FourTuple,
    pub(super) version: Version,
    /// The id that the client sent this Initial packet to.
    pub(super) dcid: Cid,
    /// The client's own id.
    pub(super) scid: Cid,
    pub(super) address: AddressProof,
}

/// What is known about the client's address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum AddressProof {
    /// Nothing.
    None,
    /// The client has a token from an earlier connection.
    EarlierConnection,
    /// The client answers a Retry packet.
    Retry {
        /// The id that the client sent its very first packet to.
        original_dcid: Cid,
        /// The id that the Retry packet told it to use.
        retry_scid: Cid,
    },
}

impl Incoming {
    /// The client's address. Anybody could have written it on the datagram unless it is [validated](Self::is_validated).
    pub fn remote(&self) -> SocketAddr {
        self.0.path.remote
    }

    /// The address of ours that the client sent to, if it is known.
    pub fn local(&self) -> Option<SocketAddr> {
        self.0.path.local
    }

    /// Whether the client proved, by a token, that it receives what is sent to its address (RFC 9000 §8.1).
    pub fn is_validated(&self) -> bool {
        self.0.address != AddressProof::None
    }

    /// Whether the client may be asked for such a proof by `retry`. A client accepts one Retry packet only (RFC 9000 §17.2.5.2).
    pub fn may_retry(&self) -> bool {
        !matches!(self.0.address, AddressProof::Retry { .. })
    }

    /// The QUIC version that the client begins with.
    pub fn version(&self) -> Version {
        self.0.version
    }

    /// The id that the client chose for the server in its very first packet.
    pub fn original_dcid(&self) -> Cid {
        match self.0.address {
            AddressProof::Retry { original_dcid, .. } => original_dcid,
            _ => self.0.dcid,
        }
    }
}

/// A datagram that waits.
pub(super) struct Buffered {
    pub(super) path: FourTuple,
    pub(super) ecn: Option<Ecn>,
    pub(super) payload: Vec<u8>,
}

/// A client's datagrams, and what its packets are found by.
pub(super) struct Pending {
    pub(super) remote: SocketAddr,
    pub(super) dcid: Cid,
    /// One is the rule.
    pub(super) datagrams: SmallVec<[Buffered; 1]>,
    arrived: Instant,
    bytes: usize,
}

/// How much may wait.
#[derive(Clone, Copy)]
pub(super) struct PendingLimits {
    pub(super) clients: usize,
    pub(super) bytes: usize,
}

/// The clients that wait, in the order in which they came.
#[derive(Default)]
pub(super) struct PendingTable {
    clients: BTreeMap<u64, Pending>,
    next: u64,
    bytes: usize,
}

impl PendingTable {
    /// Whether this client still waits.
    pub(super) fn contains(&self, id: u64) -> bool {
        self.clients.contains_key(&id)
    }

    /// How many clients wait.
    pub(super) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Takes out the oldest client, if it has waited for too long.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<(u64, Pending)> {
        let (id, oldest) = self.clients.first_key_value()?;
        if oldest.arrived + LIFETIME > now {
            return None;
        }
        let id = *id;
        self.remove(id).map(|pending| (id, pending))
    }

    /// Adds a client with its first datagram; `None` if there is no room.
    pub(super) fn insert(
        &mut self,
        now: Instant,
        dcid: Cid,
        datagram: &Datagram<'_>,
        limits: PendingLimits,
    ) -> Option<u64> {
        let len = datagram.payload.len();
        if self.clients.len() >= limits.clients || self.bytes.saturating_add(len) > limits.bytes {
            return None;
        }
        let id = self.next;
        self.next += 1;
        self.bytes += len;
        let remote = datagram.path.remote;
        let pending =
            Pending { remote, dcid, datagrams: smallvec![keep(datagram)], arrived: now, bytes: len };
        self.clients.insert(id, pending);
        Some(id)
    }

    /// Adds a datagram to those of a client; `false` if there is no room for it.
    pub(super) fn append(&mut self, id: u64, datagram: &Datagram<'_>, limits: PendingLimits) -> bool {
        let len = datagram.payload.len();
        let Some(pending) = self.clients.get_mut(&id) else { return false };
        if pending.datagrams.len() >= MAX_DATAGRAMS || self.bytes.saturating_add(len) > limits.bytes {
            return false;
        }
        pending.datagrams.push(keep(datagram));
        pending.bytes += len;
        self.bytes += len;
        true
    }

    /// Takes a client out.
    pub(super) fn remove(&mut self, id: u64) -> Option<Pending> {
        let pending = self.clients.remove(&id)?;
        self.bytes -= pending.bytes;
        Some(pending)
    }
}

fn keep(datagram: &Datagram<'_>) -> Buffered {
    Buffered { path: datagram.path, ecn: datagram.ecn, payload: datagram.payload.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: PendingLimits = PendingLimits { clients: 2, bytes: 12 * 1200 };

    fn datagram(payload: &mut [u8]) -> Datagram<'_> {
        let path = FourTuple::to(SocketAddr::from(([192, 0, 2, 1], 7)));
        Datagram { path, ecn: None, payload }
    }

    #[test]
    fn clients_and_datagrams_are_limited() {
        let mut table = PendingTable::default();
        let mut payload = [0; 1200];
        let datagram = datagram(&mut payload);
        let a = table.insert(Instant::EPOCH, Cid::EMPTY, &datagram, LIMITS).unwrap();
        for _ in 1..MAX_DATAGRAMS {
            assert!(table.append(a, &datagram, LIMITS));
        }
        assert!(!table.append(a, &datagram, LIMITS));
        let b = table.insert(Instant::EPOCH, Cid::EMPTY, &datagram, LIMITS).unwrap();
        assert_eq!(table.insert(Instant::EPOCH, Cid::EMPTY, &datagram, LIMITS), None);
        assert!(table.append(b, &datagram, LIMITS));
        assert!(!table.append(b, &datagram, LIMITS), "12 datagrams is all that the bytes allow");
        assert_eq!(table.remove(a).unwrap().datagrams.len(), MAX_DATAGRAMS);
        assert!(table.append(b, &datagram, LIMITS));
        assert!(table.remove(a).is_none() && !table.append(a, &datagram, LIMITS));
        table.remove(b);
        assert_eq!((table.bytes, table.len()), (0, 0));
    }

    #[test]
    fn the_oldest_expires_first() {
        let mut table = PendingTable::default();
        let mut payload = [0; 1200];
        let datagram = datagram(&mut payload);
        let at = |secs| Instant::EPOCH + Duration::from_secs(secs);
        let a = table.insert(at(1), Cid::EMPTY, &datagram, LIMITS).unwrap();
        let b = table.insert(at(2), Cid::EMPTY, &datagram, LIMITS).unwrap();
        assert!(table.pop_expired(at(10)).is_none());
        assert_eq!(table.pop_expired(at(11)).map(|(id, _)| id), Some(a));
        assert!(table.pop_expired(at(11)).is_none());
        assert!(table.contains(b) && !table.contains(a));
    }
}
