//! What wants sending, apart from handshake bytes, acknowledgements and stream data: one list in priority order.
//!
//! Families pull: [`Engine::peek_intent`] shows what is most urgent, the family writes it as a frame of its own if it fits, and
//! [`Engine::take_intent`] says so and gives the token for the packet. Nothing is removed by looking, so that a frame that does not fit waits.

use super::Engine;
use crate::cid::Announcement;
use crate::recovery::token::Token;
use crate::streams;

/// Something that wants sending once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Offer the peer an id of ours.
    NewConnectionId(Announcement),
    /// Give an id of the peer's back.
    RetireConnectionId(u64),
    /// A stream's or flow control's wish.
    Stream(streams::Intent),
}

impl Engine {
    /// The most urgent intent.
    pub fn peek_intent(&mut self) -> Option<Intent> {
        if let Some(sequence) = self.peer_cids.peek_retire() {
            return Some(Intent::RetireConnectionId(sequence));
        }
        if let Some(cid) = self.local_cids.peek_announcement() {
            return Some(Intent::NewConnectionId(cid));
        }
        self.streams.peek_intent().map(Intent::Stream)
    }

    /// `intent` was written into a packet. Gives what the packet must remember of it.
    pub fn take_intent(&mut self, intent: &Intent) -> Token {
        match intent {
            Intent::NewConnectionId(cid) => self.local_cids.take_announcement(cid.sequence),
            Intent::RetireConnectionId(sequence) => self.peer_cids.take_retire(*sequence),
            Intent::Stream(intent) => self.streams.take_intent(intent),
        }
    }
}
