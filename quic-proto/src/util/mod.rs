//! Containers that the protocol needs and the standard library does not have.
//!
//! They know nothing of QUIC but that it has three packet number spaces, own no timers, and are written for the common case: sets of few
//! ranges, numbers that only grow.

mod chunk_pool;
mod id_hasher;
mod per_space;
mod range_set;
mod ring_map;
mod slab;

pub use chunk_pool::{CHUNK, Chunk, ChunkPool};
pub use id_hasher::{BuildIdHasher, IdHasher};
pub use per_space::PerSpace;
pub use range_set::RangeSet;
pub use ring_map::RingMap;
pub use slab::Slab;
