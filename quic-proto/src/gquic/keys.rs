//! The three levels of protection, and which of them may be used.
//!
//! Every level has a key for each direction, of its own. The null level has no secrets: its "key" is a checksum that names the sender. The
//! type of a packet does not tell its level, so that a receiver tries: from the highest level down.
//!
//! Invariants: a level that was seen from the peer shuts those below it that the specification says (3.5); keys are replaced, never
//! brought back. No timers.

use super::crypto::null_aead::NullAead;
use crate::crypto::PacketKey;
use crate::id::{PacketNumber, Side};
use std::fmt;

/// How a packet is protected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Level {
    /// Not at all: a checksum.
    Null = 0,
    /// With keys made of the server's long-lived key.
    Initial = 1,
    /// With keys made of ephemeral keys.
    ForwardSecure = 2,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Initial => "initial",
            Self::ForwardSecure => "forward secure",
        })
    }
}

/// All overheads are the same: 12 bytes of checksum or tag.
pub(super) const TAG_LEN: usize = 12;

/// The keys of a connection.
pub(super) struct Keys {
    side: Side,
    seal: [Option<Box<dyn PacketKey>>; 3],
    open: [Option<Box<dyn PacketKey>>; 3],
    /// The highest level of an authentic packet so far.
    seen: Option<Level>,
}

impl Keys {
    /// The null level only.
    pub(super) fn new(side: Side) -> Self {
        let null = |sender| -> Option<Box<dyn PacketKey>> { Some(Box::new(NullAead::new(sender))) };
        Self { side, seal: [null(side), None, None], open: [null(!side), None, None], seen: None }
    }

    /// What we send at `level` is sealed with this key from now on.
    pub(super) fn set_seal(&mut self, level: Level, key: Box<dyn PacketKey>) {
        self.seal[level as usize] = Some(key);
    }

    /// What the peer sends at `level` is opened with this key from now on.
    pub(super) fn set_open(&mut self, level: Level, key: Box<dyn PacketKey>) {
        self.open[level as usize] = Some(key);
        // A client that can open forward-secure packets has processed the SHLO, and its server sends nothing else any more.
        if self.side.is_client() && level == Level::ForwardSecure {
            self.shut_below(level);
        }
    }

    /// The initial level is void: the hello that it was made for was refused.
    pub(super) fn drop_initial(&mut self) {
        self.seal[Level::Initial as usize] = None;
        self.open[Level::Initial as usize] = None;
    }

    /// The highest level at which we can send.
    pub(super) fn highest(&self) -> Level {
        let has = |level: &Level| self.seal[*level as usize].is_some();
        [Level::ForwardSecure, Level::Initial].into_iter().find(has).unwrap_or(Level::Null)
    }

    /// The highest level of an authentic packet so far.
    pub(super) fn seen(&self) -> Option<Level> {
        self.seen
    }

    /// Seals a packet in place; its last 12 bytes are room for the tag.
    pub(super) fn seal(&self, level: Level, number: PacketNumber, packet: &mut [u8], header_len: usize) {
        if let Some(key) = &self.seal[level as usize] {
            key.seal(number, packet, header_len);
        }
    }

    /// Opens a payload in place, at whatever level it can be; what cannot be opened is left as it was.
    pub(super) fn open(
        &mut self,
        number: PacketNumber,
        header: &[u8],
        payload: &mut [u8],
    ) -> Option<(Level, usize)> {
        for level in [Level::ForwardSecure, Level::Initial, Level::Null] {
            let Some(key) = &self.open[level as usize] else { continue };
            if let Ok(len) = key.open(number, header, payload) {
                self.on_opened(level);
                return Some((level, len));
            }
        }
        None
    }

    /// A packet of `level` was authentic.
    pub(super) fn on_opened(&mut self, level: Level) {
        if self.seen < Some(level) {
            self.seen = Some(level);
            self.shut_below(level);
        }
    }

    /// After a packet of `level` there are none below it.
    fn shut_below(&mut self, level: Level) {
        for key in &mut self.open[..level as usize] {
            *key = None;
        }
    }
}
