//! One packet under construction: a header that the family wrote, frames, padding; and what it will be remembered by. And what came of a
//! datagram that a family took.

use crate::codec::Writer;
use crate::id::PacketNumber;
use crate::recovery::{Token, Tokens};

/// Collects what one packet carries while a family writes its frames.
#[derive(Debug)]
pub struct PacketWriter<'a> {
    /// The cursor, behind the header, with room kept for the tag.
    pub frames: Writer<'a>,
    /// The packet's number.
    pub number: PacketNumber,
    /// What it carries, for when it is acknowledged or lost.
    pub tokens: Tokens,
    /// Whether the peer must acknowledge it (RFC 9002 §2).
    pub ack_eliciting: bool,
    /// Whether it carries padding, and so counts as in flight even if nothing in it elicits an acknowledgement.
    pub padded: bool,
}

impl<'a> PacketWriter<'a> {
    /// A packet whose frames go to `frames`.
    pub fn new(frames: Writer<'a>, number: PacketNumber) -> Self {
        Self { frames, number, tokens: Tokens::new(), ack_eliciting: false, padded: false }
    }

    /// Writes a frame that elicits an acknowledgement, if it fits.
    pub fn frame(&mut self, token: Option<Token>, write: impl FnOnce(&mut Writer<'a>)) -> bool {
        let fits = self.frames.attempt(write);
        if fits {
            self.ack_eliciting = true;
            self.tokens.extend(token);
        }
        fits
    }

    /// Pads with PADDING frames, which are zero bytes in both families, until `len` bytes of frames are there or the room is used up.
    pub fn pad_to(&mut self, len: usize) {
        let missing = len.saturating_sub(self.frames.len()).min(self.frames.remaining());
        if missing > 0 {
            self.frames.zeros(missing);
            self.padded = true;
        }
    }

    /// The packet is written: what must be remembered of it, and its length up to here.
    pub fn finish(self) -> (Sent, usize) {
        let Self { frames, number, tokens, ack_eliciting, padded } = self;
        (Sent { number, tokens, ack_eliciting, in_flight: ack_eliciting || padded }, frames.len())
    }
}

/// What must be remembered of a packet that is sent.
#[derive(Debug)]
pub struct Sent {
    /// The packet's number.
    pub number: PacketNumber,
    /// What it carries.
    pub tokens: Tokens,
    /// Whether the peer must acknowledge it.
    pub ack_eliciting: bool,
    /// Whether it counts as in flight.
    pub in_flight: bool,
}

/// What a datagram amounted to.
#[derive(Clone, Copy, Default, Debug)]
pub struct Opened {
    /// At least one packet was authentic.
    pub authentic: bool,
    /// At least one packet was authentic and had not come before.
    pub new: bool,
    /// The highest-numbered packet so far in the Data space was in it, with other frames than path probes: the peer moved here, if
    /// the datagram came on another path (RFC 9000 §9.3).
    pub moves: bool,
    /// It came to another id of ours than the packet before: the peer uses a fresh one on a path of its choice (RFC 9000 §9.5).
    pub fresh_id: bool,
    /// The spin bit of the 1-RTT packet in it, if that has the highest number so far.
    pub spin: Option<bool>,
}
