//! The TLS handshake over CRYPTO frames (RFC 9001 §4): bytes between the session and one crypto stream a packet number space, keys from the
//! session into the ladder.
//!
//! Invariant: bytes that the session writes go to the level of the keys that it gave last (RFC 9001 §4.1.4).

use super::keys::Ladder;
use crate::crypto::{NewKeys, TlsSession};
use crate::engine::crypto_stream::CryptoStream;
use crate::error::TransportError;
use crate::id::SpaceId;
use crate::util::PerSpace;

/// A handshake and its three byte streams.
pub struct Handshake {
    session: Box<dyn TlsSession>,
    streams: PerSpace<CryptoStream>,
    send_space: SpaceId,
    complete: bool,
}

impl Handshake {
    /// A handshake that has not said anything yet.
    pub fn new(session: Box<dyn TlsSession>) -> Self {
        Self {
            session,
            streams: PerSpace::new(|_| CryptoStream::default()),
            send_space: SpaceId::Initial,
            complete: false,
        }
    }

    /// The session, for what it can tell.
    pub fn session(&self) -> &dyn TlsSession {
        &*self.session
    }

    /// The session, to derive keys.
    pub fn session_mut(&mut self) -> &mut dyn TlsSession {
        &mut *self.session
    }

    /// The crypto stream of `space`; `None` if that is over.
    pub fn stream(&mut self, space: SpaceId) -> Option<&mut CryptoStream> {
        self.streams.get_mut(space)
    }

    /// Whether `space` has handshake bytes to send.
    pub fn wants_to_send(&self, space: SpaceId) -> bool {
        self.streams.get(space).is_some_and(|stream| stream.peek().is_some())
    }

    /// Whether the handshake is complete (RFC 9001 §4.1.1).
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Drops the stream of a space whose keys are gone.
    pub fn discard(&mut self, space: SpaceId) {
        self.streams.discard(space);
    }

    /// Takes a CRYPTO frame.
    ///
    /// # Errors
    /// CRYPTO_BUFFER_EXCEEDED (RFC 9000 §7.5), PROTOCOL_VIOLATION for data left over at a key change (RFC 9001 §4.1.3), or the alert.
    pub fn receive(&mut self, space: SpaceId, offset: u64, data: &[u8]) -> Result<(), TransportError> {
        // A space may have come to its end by a frame before this one.
        let Some(stream) = self.streams.get_mut(space) else { return Ok(()) };
        let at_once = stream.receive(offset, data)?;
        if !at_once.is_empty() {
            self.session.read(at_once)?;
        }
        while let Some(bytes) = stream.read() {
            self.session.read(&bytes)?;
        }
        Ok(())
    }

    /// Moves what the session has to say into the crypto streams and its keys into the ladder. Returns whether the handshake became
    /// complete by this call.
    ///
    /// # Errors
    /// PROTOCOL_VIOLATION if bytes of an older level are left when keys change (RFC 9001 §4.1.3).
    pub fn drive(&mut self, keys: &mut Ladder) -> Result<bool, TransportError> {
        while let Some(stream) = self.streams.get_mut(self.send_space) {
            let before = stream.written();
            let new_keys = self.session.write(stream.unsent_end());
            let silent = stream.written() == before;
            match new_keys {
                Some(new) => {
                    // RFC 9001 §4.1.3: the level below must be read to its end.
                    if matches!(new, NewKeys::Handshake(_)) {
                        self.finish_receiving(SpaceId::Initial)?;
                        self.send_space = SpaceId::Handshake;
                    } else {
                        self.send_space = SpaceId::Data;
                    }
                    keys.install(new);
                }
                None if silent => break,
                None => {}
            }
        }
        let complete = !self.session.is_handshaking();
        let newly = complete && !self.complete;
        self.complete = complete;
        if newly {
            self.finish_receiving(SpaceId::Handshake)?;
        }
        Ok(newly)
    }

    /// Keys of a higher level are there: the stream of `space` must have been read to its end.
    fn finish_receiving(&mut self, space: SpaceId) -> Result<(), TransportError> {
        self.streams.get_mut(space).map_or(Ok(()), CryptoStream::finish_receiving)
    }
}
