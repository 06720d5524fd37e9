//! The life of a connection: open → closing or draining → drained (RFC 9000 §10.2).
//!
//! ```text
//!  Open ── local close ──▶ Closing ── peer's close ──▶ Draining ── 3 PTO ──▶ Drained
//!    │                        └────────── 3 PTO ───────────────────────────────▲
//!    ├── peer's close, stateless reset ─────────────────▶ Draining             │
//!    └── idle timeout, version mismatch ───────────────────────────────────────┘
//! ```
//!
//! Invariants: the reason is set exactly once, by whatever ends the connection first; a close frame leaves in `Closing` only, at most
//! one for each doubling of the datagrams received meanwhile (§10.2.1: "SHOULD limit the rate at which it generates packets").

use crate::error::{AppError, ConnectionError, TransportError};
use bytes::Bytes;

/// What a close frame says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseFrame {
    /// The transport failed.
    Transport(TransportError),
    /// The application ends it.
    Application {
        /// The application's code.
        code: AppError,
        /// Its reason.
        reason: Bytes,
    },
}

/// Longer reasons are cut: the frame must fit the smallest datagram, beside packets of lower levels.
const MAX_REASON: usize = 256;

/// As much of a reason as is sent. RFC 9000 §19.19: it "SHOULD be a UTF-8 encoded string", so that no character is cut in two.
pub fn sent_reason(reason: &[u8]) -> &[u8] {
    let continues = |at: usize| reason.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    // A character has four bytes at most; what is no text may be cut anywhere.
    let end = (MAX_REASON - 3..=MAX_REASON).rev().find(|at| !continues(*at)).unwrap_or(MAX_REASON);
    &reason[..reason.len().min(end)]
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Open,
    Closing,
    Draining,
    Drained,
}

/// Where in its life a connection is.
#[derive(Debug, Default)]
pub struct Lifecycle {
    state: State,
    frame: Option<CloseFrame>,
    reason: Option<ConnectionError>,
    owed: bool,
    received: u64,
    reply_at: u64,
}

impl Lifecycle {
    /// Whether data may still flow.
    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Whether we closed and answer what still comes with our close frame.
    pub fn is_closing(&self) -> bool {
        self.state == State::Closing
    }

    /// Whether nothing may be sent any more (RFC 9000 §10.2.2: "an endpoint MUST NOT send any packets").
    pub fn is_silent(&self) -> bool {
        matches!(self.state, State::Draining | State::Drained)
    }

    /// Whether all is over and the state can be dropped.
    pub fn is_drained(&self) -> bool {
        self.state == State::Drained
    }

    /// Why the connection ended, once it did.
    pub fn reason(&self) -> Option<&ConnectionError> {
        self.reason.as_ref()
    }

    /// We end the connection. Returns whether this call did it.
    pub fn close(&mut self, frame: CloseFrame) -> bool {
        let reason = match &frame {
            CloseFrame::Transport(error) => ConnectionError::Transport(error.clone()),
            CloseFrame::Application { .. } => ConnectionError::LocallyClosed,
        };
        self.close_because(reason, frame)
    }

    /// As [`close`](Self::close), for a reason that the frame only tells the peer in its own words.
    pub fn close_because(&mut self, reason: ConnectionError, frame: CloseFrame) -> bool {
        if !self.is_open() {
            return false;
        }
        self.reason = Some(reason);
        self.state = State::Closing;
        self.frame = Some(frame);
        self.owed = true;
        self.reply_at = 1;
        true
    }

    /// The peer ended the connection, or has forgotten it. Returns whether this call did it.
    pub fn peer_closed(&mut self, reason: ConnectionError) -> bool {
        match self.state {
            State::Open => {
                self.reason = Some(reason);
                self.state = State::Draining;
                true
            }
            State::Closing => {
                self.state = State::Draining;
                false
            }
            State::Draining | State::Drained => false,
        }
    }

    /// The connection ends without a word: idle timeout, version mismatch. Returns whether this call did it.
    pub fn abandon(&mut self, reason: ConnectionError) -> bool {
        let first = self.is_open();
        if first {
            self.reason = Some(reason);
        }
        self.state = State::Drained;
        first
    }

    /// The closing or draining period is over.
    pub fn drain(&mut self) {
        self.state = State::Drained;
    }

    /// The close frame to send now, if one is owed.
    pub fn owed_frame(&self) -> Option<&CloseFrame> {
        self.frame.as_ref().filter(|_| self.is_closing() && self.owed)
    }

    /// The close frame was sent.
    pub fn frame_sent(&mut self) {
        self.owed = false;
    }

    /// A datagram came while closing: it is answered if it is the first, second, fourth, … one.
    pub fn on_datagram(&mut self) {
        if !self.is_closing() {
            return;
        }
        self.received += 1;
        if self.received >= self.reply_at {
            self.reply_at *= 2;
            self.owed = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> CloseFrame {
        CloseFrame::Application { code: AppError::from(7), reason: Bytes::new() }
    }

    #[test]
    fn the_first_reason_stays() {
        let mut life = Lifecycle::default();
        assert!(life.close(frame()));
        assert!(!life.close(frame()));
        assert!(!life.peer_closed(ConnectionError::Reset));
        assert!(life.is_silent());
        assert!(!life.abandon(ConnectionError::TimedOut));
        assert_eq!(life.reason(), Some(&ConnectionError::LocallyClosed));
        assert!(life.is_drained());
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let sent = |reason: &str| std::str::from_utf8(sent_reason(reason.as_bytes())).map(str::len);
        for character in ["a", "é", "€", "𝄞"] {
            for before in 0..4 {
                let reason = "-".repeat(before) + &character.repeat(300);
                let whole = (MAX_REASON - before) / character.len() * character.len() + before;
                assert_eq!(sent(&reason), Ok(whole), "{before} before {character}");
                let short = &reason[..whole];
                assert_eq!(sent(short), Ok(whole));
            }
        }
        assert_eq!((sent_reason(b"").len(), sent_reason(&[0x80; 300]).len()), (0, MAX_REASON));
    }

    #[test]
    fn replies_thin_out() {
        let mut life = Lifecycle::default();
        life.close(frame());
        let mut replies = 0;
        for _ in 0..1000 {
            if life.owed_frame().is_some() {
                life.frame_sent();
                replies += 1;
            }
            life.on_datagram();
        }
        assert_eq!(replies, 11);
    }
}
