//! Connection ids of one connection: those that we issued ([`LocalCids`]) and those that the peer issued ([`PeerCids`]).
//!
//! Both ends issue ids to the other, numbered from 0 (the id of the handshake), and retire what the other issued (RFC 9000 §5.1).
//! Each side of that is a bounded table of at most a handful of entries with a queue of frames that are still owed; what is lost is
//! announced anew if it still applies. Ids come from a [`CidGenerator`], so that a load balancer can put a route into them.
//!
//! Invariants: an id is never issued twice under two numbers; nothing that a peer sends makes a table grow beyond its limit.
//! Timers: none.

mod generator;
mod local;
mod peer;

pub use generator::{CidGenerator, CidLength, RandomCids};
pub use local::{Announcement, LocalCids, Notice};
pub(crate) use peer::MAX_RETIRING;
pub use peer::PeerCids;
