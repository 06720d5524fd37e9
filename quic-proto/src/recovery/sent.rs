//! What is remembered of a packet that was sent: its size and time, and tokens of what it carried; never its bytes.

use super::token::Token;
use crate::congestion::DeliveryMark;
use crate::time::Instant;
use smallvec::SmallVec;

/// What a packet carried; three frames fit without an allocation.
pub type Tokens = SmallVec<[Token; 3]>;

/// A packet that was sent (RFC 9002 A.1.1).
#[derive(Clone, Debug)]
pub struct SentPacket {
    /// When it was sent.
    pub time: Instant,
    /// Its size in bytes, with header and tag but without UDP and IP.
    pub bytes: u16,
    /// Whether it asks for an acknowledgement.
    pub ack_eliciting: bool,
    /// Whether it counts toward bytes in flight: it does if it is ack-eliciting or padded.
    pub in_flight: bool,
    /// The generation of the path that it was sent on.
    pub path: u32,
    /// Whether it was marked ECT(0).
    pub ecn: bool,
    /// Whether there was nothing more to send after it, for lack of data or of flow control credit.
    pub drained: bool,
    /// What it carried.
    pub tokens: Tokens,
}

/// What became of a packet that is still remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Neither acknowledged nor lost.
    Outstanding,
    /// Declared lost at `at`, in the congestion episode `episode`; kept for a while in case that it is acknowledged after all.
    Lost { at: Instant, episode: u32 },
}

/// A packet and what became of it.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    pub(super) packet: SentPacket,
    pub(super) state: State,
    /// What the congestion controller wants to know of it again.
    pub(super) mark: DeliveryMark,
}

impl Tracked {
    /// The bytes that it counts in flight on the path `generation`.
    pub(super) fn flight(&self, generation: u32) -> u64 {
        let counts =
            self.packet.in_flight && self.packet.path == generation && self.state == State::Outstanding;
        if counts { u64::from(self.packet.bytes) } else { 0 }
    }

    /// RFC 9000 §14.4: the loss of a probe of the path's MTU is no reliable indication of congestion.
    pub(super) fn is_mtu_probe(&self) -> bool {
        self.packet.tokens.iter().any(|token| matches!(token, Token::MtuProbe(_)))
    }

    /// Whether its loss is an indication of congestion.
    pub(super) fn tells_of_congestion(&self) -> bool {
        !self.packet.tokens.iter().any(|token| matches!(token, Token::MtuProbe(_) | Token::Early))
    }
}
