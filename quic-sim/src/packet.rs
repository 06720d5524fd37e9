//! A datagram on its way, and the pool that its bytes come from.
//!
//! Owns no behaviour. Invariant: `hop` is below `route.len()` while the packet is in a link.

use std::net::SocketAddr;
use std::sync::Arc;

use quic_proto::net::Ecn;
use quic_proto::time::Instant;

use crate::link::LinkId;
use crate::trace::{Entry, Fate};

/// A datagram on its way. Addresses are those that a tap outside of any NAT sees.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) ecn: Option<Ecn>,
    pub(crate) payload: Vec<u8>,
    pub(crate) route: Arc<[LinkId]>,
    pub(crate) hop: usize,
    /// When it entered the queue that it is in (`CoDel` measures sojourn times).
    pub(crate) queued: Instant,
    pub(crate) corrupted: bool,
    pub(crate) duplicate: bool,
}

impl Packet {
    /// The trace's line about it.
    pub(crate) fn entry(&self, time: Instant, fate: Fate) -> Entry {
        Entry { time, from: self.from, to: self.to, len: self.payload.len(), fate, ecn: self.ecn }
    }

    /// Marks congestion if the sender can understand the mark; says whether it did.
    pub(crate) fn mark(&mut self) -> bool {
        // RFC 3168 §5: routers mark ECN-capable packets only; the others have to be dropped where a signal is needed.
        let capable = matches!(self.ecn, Some(Ecn::Ect0 | Ecn::Ect1));
        if capable {
            self.ecn = Some(Ecn::Ce);
        }
        capable
    }
}

/// Buffers to use again, so that a long simulation does not allocate for each datagram.
#[derive(Debug, Default)]
pub(crate) struct Pool(Vec<Vec<u8>>);

impl Pool {
    /// How many idle buffers are kept.
    const KEPT: usize = 4096;

    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.extend_from_slice(bytes);
        buffer
    }

    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < Self::KEPT {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}
