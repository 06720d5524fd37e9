//! The peer appears at another address, on purpose or because a NAT bound anew (RFC 9000 §9).
//!
//! Owns nothing; it keeps the paths and the peer's connection ids in step. Invariants: a path that the peer opened under a fresh id of ours is
//! answered under a fresh id of the peer's, as long as it gave us one; an id that no path uses any more is retired. The timers are those
//! of the paths.

use super::Engine;
use super::lifecycle::CloseFrame;
use super::packet::Opened;
use crate::error::ConnectionError;
use crate::id::ResetToken;
use crate::net::FourTuple;
use crate::path::{Path, SpinBit};
use std::net::SocketAddr;

/// A token with which the peer, having lost its state, ends the connection.
#[derive(Clone, Copy, Debug)]
pub struct PeerReset {
    /// Generation of the path and sequence number of the peer's id on it: together they name the token.
    pub name: (u32, u64),
    /// Where it must come from.
    pub remote: SocketAddr,
    /// The token.
    pub token: ResetToken,
}

impl Engine {
    /// An authentic datagram came on the active path.
    pub fn on_active_path(&mut self, opened: Opened) {
        if let Some(received) = opened.spin {
            self.paths.active_mut().spin.on_newest(self.side, received);
        }
    }

    /// An authentic datagram of `len` bytes came between these addresses, which are not those of the active path.
    pub fn on_other_path(&mut self, tuple: FourTuple, len: u64, opened: Opened) {
        let config = self.path_config();
        let known = self.paths.find(&tuple).is_some();
        let path = self.paths.probe(tuple, &config);
        path.amplification.on_received(len);
        if !known {
            path.spin = SpinBit::new(config.spin_bit, &mut *self.rng);
        }
        // RFC 9000 §9.5: "An endpoint MUST NOT reuse a connection ID when sending to more than one destination address." But if the packet
        // bears an id that was in use, the peer may not know that it moved, and we "MAY continue to use the current connection ID". So
        // do we with a peer that left us none: it would hear nothing at all otherwise.
        if !known
            && opened.fresh_id
            && let Some(sequence) = self.peer_cids.next_for_new_path()
        {
            path.use_cid(sequence, &mut *self.rng);
        }
        if let Some(received) = opened.spin {
            path.spin.on_newest(self.side, received);
        }
        let pto = self.pto();
        if opened.moves && self.paths.migrate(self.now, tuple, &config, pto) {
            tracing::debug!(?tuple, "the peer moved");
            self.on_active_path_changed();
        }
        self.retire_unused_ids();
    }

    /// RFC 9000 §10.3.1: "An endpoint remembers all stateless reset tokens associated with the connection IDs and remote addresses for datagrams it
    /// has recently sent. This … excludes stateless reset tokens associated with connection IDs that are either unused or retired."
    pub fn resets(&self) -> impl Iterator<Item = PeerReset> + '_ {
        self.paths.iter().filter_map(|path| self.reset_of(path))
    }

    /// Whether the only path has this one, or none; asked with every datagram. `false` if there are several.
    pub fn is_only_reset(&self, name: Option<(u32, u64)>) -> bool {
        let own = |path| self.reset_of(path).map(|reset| reset.name);
        self.paths.is_single() && own(self.paths.active()) == name
    }

    fn reset_of(&self, path: &Path) -> Option<PeerReset> {
        let token = self.peer_cids.reset_token(path.peer_cid)?;
        Some(PeerReset { name: (path.generation, path.peer_cid), remote: path.tuple.remote, token })
    }

    /// A datagram from `remote` that ends in `token` and holds no authentic packet: if that is a stateless reset, the peer has lost its state.
    pub fn on_unopened(&mut self, remote: SocketAddr, token: ResetToken) {
        // RFC 9000 §10.3.1: "The endpoint identifies a received datagram as a Stateless Reset by comparing the last 16 bytes of the datagram with
        // all stateless reset tokens associated with the remote address on which the datagram was received." Then it "MUST enter the
        // draining period and not send any further packets on this connection".
        if self.resets().any(|reset| reset.remote == remote && reset.token == token) {
            self.on_peer_close(ConnectionError::Reset);
        }
    }

    /// A packet was sent on the path of this generation, to the id that the path has, perhaps as the first one.
    #[cold]
    pub(super) fn on_first_to_id(&mut self, generation: u32) {
        if let Some(path) = self.paths.get(generation) {
            self.peer_cids.on_sent(path.peer_cid);
        }
    }

    /// Another path has become active.
    pub(super) fn on_active_path_changed(&mut self) {
        let active = self.paths.active();
        let (generation, sequence) = (active.generation, active.peer_cid);
        self.recovery.on_path_change(generation);
        if self.peer_cids.cid(sequence).is_some() {
            self.peer_cids.make_current(sequence);
        }
    }

    /// RFC 9000 §9.5: ids of paths that are given up "SHOULD" be retired, so that the peer gives new ones.
    pub(super) fn retire_unused_ids(&mut self) {
        while let Some(sequence) = self.unused_id() {
            if let Err(error) = self.peer_cids.retire(sequence) {
                self.close(CloseFrame::Transport(error));
                return;
            }
        }
    }

    fn unused_id(&self) -> Option<u64> {
        let mut used = self.peer_cids.used();
        used.find(|sequence| self.paths.iter().all(|path| path.peer_cid != *sequence))
    }
}
