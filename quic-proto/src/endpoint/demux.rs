//! Which connection a datagram belongs to.
//!
//! Owns four maps and, for each connection, the list of its entries in them:
//!
//! - connection ids that our connections issued (RFC 9000 §5.2);
//! - the id that a client chose for its first Initial packets, together with its address: until the client learns our id its packets
//!   carry that one, which another client may have chosen too;
//! - pairs of addresses, where our connection ids have no bytes;
//! - stateless reset tokens of peers together with their address (RFC 9000 §10.3.1).
//!
//! Invariants: an entry leads to a connection that is present, and is in that connection's list; an entry is never taken over by
//! another connection (the first one keeps it); each connection has at most [`MAX_CIDS`] ids and [`MAX_RESETS`] tokens. The maps are
//! looked up by key only, never iterated. Their hash is keyed by random bytes of the endpoint, since clients choose some of the keys.
//!
//! Timers: none.

use crate::id::{Cid, ResetToken};
use crate::net::FourTuple;
use crate::rng::Rng;
use smallvec::SmallVec;
use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hash};
use std::net::SocketAddr;

/// Ids of one connection that lead to it at once. A peer is issued fewer; beyond it, ids are not entered.
pub(super) const MAX_CIDS: usize = 64;

/// Reset tokens remembered for one connection. A peer may issue fewer; beyond it, they are not recognised.
pub(super) const MAX_RESETS: usize = 128;

/// Names a connection of one endpoint. The handle of a connection that is gone is never given to another one (until 2^32 others had
/// its place).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ConnectionHandle {
    index: u32,
    generation: u32,
}

impl ConnectionHandle {
    /// A small number that no other present connection has; for use as an index.
    pub const fn index(self) -> usize {
        self.index as usize
    }
}

/// Where a client's first Initial packets lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Target {
    /// To a connection.
    Connection(ConnectionHandle),
    /// To a client that waits to be accepted.
    Pending(u64),
}

/// The maps.
pub(super) struct Demux {
    cids: HashMap<Cid, ConnectionHandle, Keyed>,
    /// The entry of `cids` that was found last: datagrams come in trains.
    last: Option<(Cid, ConnectionHandle)>,
    initials: HashMap<(SocketAddr, Cid), Target, Keyed>,
    tuples: HashMap<FourTuple, ConnectionHandle, Keyed>,
    resets: HashMap<(SocketAddr, ResetToken), ConnectionHandle, Keyed>,
    entries: Vec<Entry>,
    free: Vec<u32>,
}

struct Entry {
    generation: u32,
    routes: Option<Routes>,
}

/// What leads to one connection.
#[derive(Default)]
struct Routes {
    cids: SmallVec<[Cid; 3]>,
    initial: Option<(SocketAddr, Cid)>,
    /// In a box, as most have none.
    tuple: Option<Box<FourTuple>>,
    /// A server's connection has none before its client moves.
    resets: Vec<(SocketAddr, ResetToken)>,
}

impl Demux {
    pub(super) fn new(rng: &mut dyn Rng) -> Self {
        let keyed = Keyed::new([rng.next_u64(), rng.next_u64()]);
        Self {
            cids: HashMap::with_hasher(keyed.clone()),
            last: None,
            initials: HashMap::with_hasher(keyed.clone()),
            tuples: HashMap::with_hasher(keyed.clone()),
            resets: HashMap::with_hasher(keyed),
            entries: Vec::new(),
            free: Vec::new(),
        }
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// A handle for a new connection; `None` if there are 2^32 already.
    pub(super) fn insert(&mut self) -> Option<ConnectionHandle> {
        let routes = Some(Routes::default());
        if let Some(index) = self.free.pop() {
            let entry = &mut self.entries[index as usize];
            entry.routes = routes;
            return Some(ConnectionHandle { index, generation: entry.generation });
        }
        let index = u32::try_from(self.entries.len()).ok()?;
        self.entries.push(Entry { generation: 0, routes });
        Some(ConnectionHandle { index, generation: 0 })
    }

    /// Nothing leads to this connection any more, but its handle is not given to another one yet.
    pub(super) fn clear(&mut self, handle: ConnectionHandle) {
        let Some(routes) = self.routes(handle).map(std::mem::take) else { return };
        self.last = None;
        for cid in &routes.cids {
            self.cids.remove(cid);
        }
        for reset in &routes.resets {
            self.resets.remove(reset);
        }
        if let Some(key) = routes.initial {
            self.initials.remove(&key);
        }
        if let Some(tuple) = routes.tuple {
            self.tuples.remove(&*tuple);
        }
    }

    /// The connection is gone.
    pub(super) fn remove(&mut self, handle: ConnectionHandle) {
        self.clear(handle);
        if self.routes(handle).is_some() {
            let entry = &mut self.entries[handle.index()];
            entry.routes = None;
            entry.generation = entry.generation.wrapping_add(1);
            self.free.push(handle.index);
        }
    }

    /// Packets to `cid` belong to this connection. Ids without bytes are no route; `false` if another connection has the id.
    pub(super) fn add_cid(&mut self, handle: ConnectionHandle, cid: Cid) -> bool {
        let Some(routes) = routes(&mut self.entries, handle) else { return false };
        if cid.is_empty() || routes.cids.len() >= MAX_CIDS {
            return false;
        }
        let owner = *self.cids.entry(cid).or_insert(handle);
        if owner == handle && !routes.cids.contains(&cid) {
            routes.cids.push(cid);
        }
        owner == handle
    }

    /// Packets to `cid` no longer belong to this connection.
    pub(super) fn remove_cid(&mut self, handle: ConnectionHandle, cid: Cid) {
        let Some(routes) = routes(&mut self.entries, handle) else { return };
        if let Some(at) = routes.cids.iter().position(|own| *own == cid) {
            routes.cids.swap_remove(at);
            self.cids.remove(&cid);
            self.last = None;
        }
    }

    /// Datagrams from `remote` that end in `token` tell this connection that its peer lost its state.
    pub(super) fn add_reset(&mut self, handle: ConnectionHandle, remote: SocketAddr, token: ResetToken) {
        let Some(routes) = routes(&mut self.entries, handle) else { return };
        let key = (remote, token);
        if routes.resets.len() < MAX_RESETS
            && *self.resets.entry(key).or_insert(handle) == handle
            && !routes.resets.contains(&key)
        {
            // One is the rule.
            routes.resets.reserve_exact(1);
            routes.resets.push(key);
        }
    }

    /// RFC 9000 §10.3.1: "An endpoint MUST NOT check for any stateless reset tokens associated with connection IDs it has not used or
    /// for connection IDs that have been retired."
    pub(super) fn clear_resets(&mut self, handle: ConnectionHandle) {
        let Some(routes) = routes(&mut self.entries, handle) else { return };
        for reset in std::mem::take(&mut routes.resets) {
            self.resets.remove(&reset);
        }
    }

    /// Packets between these addresses belong to this connection, as our ids have no bytes; `false` if another one has them.
    pub(super) fn set_tuple(&mut self, handle: ConnectionHandle, tuple: FourTuple) -> bool {
        let Some(routes) = routes(&mut self.entries, handle) else { return false };
        let owner = *self.tuples.entry(tuple).or_insert(handle);
        if owner == handle
            && let Some(old) = routes.tuple.replace(Box::new(tuple)).filter(|old| **old != tuple)
        {
            self.tuples.remove(&*old);
        }
        owner == handle
    }

    /// No addresses lead to this connection any more.
    pub(super) fn clear_tuple(&mut self, handle: ConnectionHandle) {
        if let Some(tuple) = self.routes(handle).and_then(|routes| routes.tuple.take()) {
            self.tuples.remove(&*tuple);
        }
    }

    /// Packets from `remote` to the id that the client chose belong to this connection. Takes over from the pending client that it
    /// was.
    pub(super) fn set_initial(&mut self, handle: ConnectionHandle, remote: SocketAddr, dcid: Cid) {
        let Some(routes) = routes(&mut self.entries, handle) else { return };
        if let Some(old) = routes.initial.replace((remote, dcid)) {
            self.initials.remove(&old);
        }
        self.initials.insert((remote, dcid), Target::Connection(handle));
    }

    /// No packets to the id that the client chose are expected any more.
    pub(super) fn clear_initial(&mut self, handle: ConnectionHandle) {
        if let Some(key) = self.routes(handle).and_then(|routes| routes.initial.take()) {
            self.initials.remove(&key);
        }
    }

    /// Packets from `remote` to the id that the client chose wait with this pending client.
    pub(super) fn set_pending(&mut self, remote: SocketAddr, dcid: Cid, id: u64) {
        self.initials.insert((remote, dcid), Target::Pending(id));
    }

    /// The pending client is gone.
    pub(super) fn remove_pending(&mut self, remote: SocketAddr, dcid: Cid, id: u64) {
        if self.initials.get(&(remote, dcid)) == Some(&Target::Pending(id)) {
            self.initials.remove(&(remote, dcid));
        }
    }

    /// The connection of a short packet (RFC 9000 §17.3: form bit 0, fixed bit 1) whose id, of `cid_len` bytes, is that of the packet before: most
    /// are. No such id is empty, so that endpoints without ids find nothing here.
    pub(super) fn by_last(&self, packet: &[u8], cid_len: usize) -> Option<ConnectionHandle> {
        const FORM: u8 = 0xc0;
        const SHORT: u8 = 0x40;
        let (last, handle) = self.last.as_ref()?;
        let (first, rest) = packet.split_first()?;
        let same = first & FORM == SHORT && last.len() == cid_len && rest.starts_with(last);
        same.then_some(*handle)
    }

    /// The connection that issued this id.
    pub(super) fn by_cid(&mut self, cid: &Cid) -> Option<ConnectionHandle> {
        if let Some((last, handle)) = &self.last
            && last == cid
        {
            return Some(*handle);
        }
        let handle = *self.cids.get(cid)?;
        self.last = Some((*cid, handle));
        Some(handle)
    }

    /// Where packets to an id that a client chose lead.
    pub(super) fn by_initial(&self, remote: SocketAddr, dcid: &Cid) -> Option<Target> {
        self.initials.get(&(remote, *dcid)).copied()
    }

    /// Whether any connection is found by its addresses.
    pub(super) fn has_tuples(&self) -> bool {
        !self.tuples.is_empty()
    }

    /// The connection between these addresses. One that was opened without knowing our address is found by the peer's alone.
    pub(super) fn by_tuple(&self, tuple: FourTuple) -> Option<ConnectionHandle> {
        self.tuples.get(&tuple).or_else(|| self.tuples.get(&FourTuple::to(tuple.remote))).copied()
    }

    /// The connection that a datagram resets. The token is found by a keyed hash and compared in constant time, so that timing tells
    /// nothing about it (RFC 9000 §10.3.1).
    pub(super) fn by_reset(&self, remote: SocketAddr, datagram: &[u8]) -> Option<ConnectionHandle> {
        let token = ResetToken(*datagram.last_chunk()?);
        self.resets.get(&(remote, token)).copied()
    }

    fn routes(&mut self, handle: ConnectionHandle) -> Option<&mut Routes> {
        routes(&mut self.entries, handle)
    }
}

/// The routes of a connection that is present. Apart from [`Demux`] so that its maps can be borrowed beside.
fn routes(entries: &mut [Entry], handle: ConnectionHandle) -> Option<&mut Routes> {
    let entry = entries.get_mut(handle.index())?;
    entry.routes.as_mut().filter(|_| entry.generation == handle.generation)
}

/// A hash that nobody outside can find collisions of: it starts from random bytes. They are taken in once, not with every key.
#[derive(Clone)]
struct Keyed(DefaultHasher);

impl Keyed {
    fn new(key: [u64; 2]) -> Self {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        Self(hasher)
    }
}

impl BuildHasher for Keyed {
    type Hasher = DefaultHasher;
    fn build_hasher(&self) -> DefaultHasher {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::SeededRng;
    use proptest::prelude::*;

    fn cid(byte: u8) -> Cid {
        Cid::new(&[byte; 8]).unwrap()
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn demux() -> Demux {
        Demux::new(&mut SeededRng::from_u64(1))
    }

    #[test]
    fn handles_of_gone_connections_stay_dead() {
        let mut demux = demux();
        let old = demux.insert().unwrap();
        demux.add_cid(old, cid(1));
        demux.remove(old);
        demux.remove(old);
        assert_eq!((demux.len(), demux.by_cid(&cid(1))), (0, None));
        let new = demux.insert().unwrap();
        assert!(new.index() == old.index() && new != old);
        assert!(!demux.add_cid(old, cid(2)));
        assert_eq!(demux.by_cid(&cid(2)), None);
    }

    #[test]
    fn a_cleared_connection_keeps_its_handle() {
        let mut demux = demux();
        let handle = demux.insert().unwrap();
        demux.add_cid(handle, cid(1));
        demux.set_initial(handle, address(1), cid(2));
        demux.set_tuple(handle, FourTuple::to(address(1)));
        demux.add_reset(handle, address(1), ResetToken([3; 16]));
        assert_eq!(demux.by_reset(address(1), &[3; 30]), Some(handle));
        assert_eq!(demux.by_reset(address(2), &[3; 30]), None);
        assert_eq!(demux.by_reset(address(1), &[3; 15]), None);
        demux.clear(handle);
        assert_eq!(demux.by_cid(&cid(1)), None);
        assert_eq!(demux.by_initial(address(1), &cid(2)), None);
        assert_eq!(demux.by_tuple(FourTuple::to(address(1))), None);
        assert_eq!(demux.by_reset(address(1), &[3; 30]), None);
        assert_eq!(demux.len(), 1);
        assert_ne!(demux.insert(), Some(handle));
    }

    #[test]
    fn nobody_takes_over_anothers_route() {
        let mut demux = demux();
        let (a, b) = (demux.insert().unwrap(), demux.insert().unwrap());
        assert!(demux.add_cid(a, cid(1)) && !demux.add_cid(b, cid(1)));
        demux.remove_cid(b, cid(1));
        demux.remove(b);
        assert_eq!(demux.by_cid(&cid(1)), Some(a));
        let c = demux.insert().unwrap();
        assert!(
            demux.set_tuple(a, FourTuple::to(address(1))) && !demux.set_tuple(c, FourTuple::to(address(1)))
        );
        demux.remove(c);
        assert_eq!(demux.by_tuple(FourTuple::to(address(1))), Some(a));
    }

    #[test]
    fn the_last_id_is_known_by_short_packets_of_its_length() {
        let mut demux = demux();
        let handle = demux.insert().unwrap();
        demux.add_cid(handle, cid(1));
        let len = cid(1).len();
        let packet = |first: u8, id: Cid| [&[first], &id[..], &[1; 20]].concat();
        assert_eq!(demux.by_last(&packet(0x41, cid(1)), len), None, "no packet was there before");
        demux.by_cid(&cid(1));
        assert_eq!(demux.by_last(&packet(0x41, cid(1)), len), Some(handle));
        assert_eq!(demux.by_last(&packet(0x41, cid(2)), len), None);
        assert_eq!(demux.by_last(&packet(0x41, cid(1)), len + 1), None, "the packet's id is a longer one");
        for old_or_long in [0x01, 0x81, 0xc1] {
            assert_eq!(demux.by_last(&packet(old_or_long, cid(1)), len), None);
        }
        assert_eq!((demux.by_last(&[], len), demux.by_last(&packet(0x41, cid(1))[..len], len)), (None, None));
        demux.remove_cid(handle, cid(1));
        assert_eq!(demux.by_last(&packet(0x41, cid(1)), len), None);
    }

    #[test]
    fn tuples_match_with_and_without_the_local_address() {
        let mut demux = demux();
        let handle = demux.insert().unwrap();
        demux.set_tuple(handle, FourTuple::to(address(1)));
        let seen = FourTuple { local: Some(address(9)), remote: address(1) };
        assert_eq!(demux.by_tuple(seen), Some(handle));
        demux.set_tuple(handle, seen);
        assert_eq!(demux.by_tuple(seen), Some(handle));
        assert_eq!(demux.by_tuple(FourTuple::to(address(1))), None);
        demux.clear_tuple(handle);
        assert_eq!(demux.by_tuple(seen), None);
    }

    #[test]
    fn entries_of_a_connection_are_limited() {
        let mut demux = demux();
        let handle = demux.insert().unwrap();
        for i in 0..200 {
            demux.add_cid(handle, cid(i));
            demux.add_reset(handle, address(1), ResetToken([i; 16]));
        }
        assert_eq!((demux.cids.len(), demux.resets.len()), (MAX_CIDS, MAX_RESETS));
        assert!(!demux.add_cid(handle, Cid::EMPTY));
        demux.remove(handle);
        assert_eq!((demux.cids.len(), demux.resets.len()), (0, 0));
    }

    #[test]
    fn pending_clients_are_replaced_by_their_connection() {
        let mut demux = demux();
        demux.set_pending(address(1), cid(1), 7);
        assert_eq!(demux.by_initial(address(1), &cid(1)), Some(Target::Pending(7)));
        let handle = demux.insert().unwrap();
        demux.set_initial(handle, address(1), cid(1));
        demux.remove_pending(address(1), cid(1), 7);
        assert_eq!(demux.by_initial(address(1), &cid(1)), Some(Target::Connection(handle)));
        demux.clear_initial(handle);
        assert_eq!(demux.by_initial(address(1), &cid(1)), None);
    }

    proptest! {
        /// Whatever is added and removed, an id leads to the connection that added it first and has it still.
        #[test]
        fn ids_follow_a_model(steps in prop::collection::vec((0u8..3, 0usize..4, 0u8..6), 0..200)) {
            let mut demux = demux();
            let handles: Vec<_> = (0..4).map(|_| demux.insert().unwrap()).collect();
            let mut model = std::collections::BTreeMap::new();
            for (step, who, id) in steps {
                match step {
                    0 => {
                        demux.add_cid(handles[who], cid(id));
                        model.entry(id).or_insert(who);
                    }
                    1 => {
                        demux.remove_cid(handles[who], cid(id));
                        if model.get(&id) == Some(&who) {
                            model.remove(&id);
                        }
                    }
                    _ => {
                        demux.clear(handles[who]);
                        model.retain(|_, owner| *owner != who);
                    }
                }
                for id in 0..6 {
                    prop_assert_eq!(demux.by_cid(&cid(id)), model.get(&id).map(|who| handles[*who]));
                }
                prop_assert_eq!(demux.cids.len(), model.len());
            }
        }
    }
}
