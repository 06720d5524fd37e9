//! Datagrams that leave outside the usual batch, because they go to another path or have another size: path validation (RFC 9000 §8.2) and
//! probes of the MTU (§14.3).

use super::Engine;
use crate::cid::PeerCids;
use crate::id::Cid;
use crate::net::FourTuple;
use crate::path::{Path, PathConfig};
use crate::recovery::token::Token;
use crate::time::Instant;

/// RFC 9000 §8.2.1: datagrams with path frames are expanded to this size, "unless the anti-amplification limit for the path does not
/// permit sending a datagram of this size".
const EXPANDED: usize = 1200;

/// Less credit than this is not worth a datagram: a header, a tag and both frames need most of it.
const SMALLEST: usize = 64;

/// One such datagram.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// Where it goes.
    pub tuple: FourTuple,
    /// The path's generation.
    pub generation: u32,
    /// The peer's id to use.
    pub dcid: Cid,
    /// The path's spin bit.
    pub spin: bool,
    /// Its size in bytes.
    pub size: usize,
    /// A challenge to send.
    pub challenge: Option<[u8; 8]>,
    /// A challenge to answer.
    pub response: Option<[u8; 8]>,
    /// What to remember of it, beside.
    pub token: Option<Token>,
}

impl Engine {
    /// The next datagram of this kind that is due, if `room` bytes are enough for it. It must be sent.
    pub fn poll_probe(&mut self, now: Instant, room: usize) -> Option<Probe> {
        if !self.lifecycle.is_open() || room < EXPANDED {
            return None;
        }
        self.path_probe(now).or_else(|| self.mtu_probe(room))
    }

    fn path_probe(&mut self, now: Instant) -> Option<Probe> {
        let peer_cids = &self.peer_cids;
        for path in self.paths.iter_mut() {
            let wants_challenge =
                path.validation.as_ref().is_some_and(|validation| validation.wants_challenge(now));
            if path.responses.is_empty() && !wants_challenge {
                continue;
            }
            let Some((dcid, size)) = sendable(peer_cids, path) else { continue };
            let challenge = path
                .validation
                .as_mut()
                .filter(|_| wants_challenge)
                .map(|validation| validation.challenge(now, &mut *self.rng, size >= EXPANDED));
            let response = path.responses.take();
            return Some(Probe {
                tuple: path.tuple,
                generation: path.generation,
                dcid,
                spin: path.spin.value(),
                size,
                challenge,
                response,
                token: None,
            });
        }
        None
    }

    fn mtu_probe(&mut self, room: usize) -> Option<Probe> {
        if !self.confirmed {
            return None;
        }
        let dcid = self.peer_cids.current();
        let in_flight = self.recovery.bytes_in_flight();
        let path = self.paths.active_mut();
        let size = path.mtu.wants_probe().map(usize::from)?;
        // RFC 9000 §8.1: also after a migration an address that is not validated gets no more than three times what came from it.
        let allowed = path.amplification.budget() >= size as u64;
        if size > room || !allowed || in_flight + size as u64 > path.cc.window() {
            return None;
        }
        let token = Some(path.mtu.on_probe_sent(size as u16));
        let (tuple, generation, spin) = (path.tuple, path.generation, path.spin.value());
        Some(Probe { tuple, generation, dcid, spin, size, challenge: None, response: None, token })
    }

    /// When the next challenge can leave, or a validation fails.
    pub(super) fn path_deadline(&self) -> Option<Instant> {
        self.paths.validation_deadline(|path| sendable(&self.peer_cids, path).is_some())
    }

    /// How new paths of this connection start.
    pub fn path_config(&self) -> PathConfig {
        self.path_config
    }
}

/// The peer's id and the size for a probing datagram on `path`; `None` if the path's ids or its credit do not permit one now.
fn sendable(peer_cids: &PeerCids, path: &Path) -> Option<(Cid, usize)> {
    let size = path.amplification.budget().min(EXPANDED as u64) as usize;
    let dcid = peer_cids.cid(path.peer_cid)?;
    (size >= SMALLEST).then_some((dcid, size))
}
