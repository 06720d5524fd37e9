//! Whether the connection speaks the version that it should (RFC 9368 §4).
//!
//! Each end tells the other, in its transport parameters and so authenticated by TLS, which version it takes the connection for and which
//! others it speaks. So a client finds out when somebody in between made it give up the version that it would have spoken, by a forged
//! Version Negotiation packet.
//!
//! There is no compatible version negotiation (§2.3): a client lists no version but the one that it has chosen, and a server stays with it.
//!
//! Invariant: nothing is kept but a client's own preference, until the server's transport parameters come. Timers: none.

use super::Ietf;
use super::wire::VersionInformation;
use crate::engine::Engine;
use crate::error::{TransportError, TransportErrorCode};
use crate::invariants::Version;
use smallvec::SmallVec;

/// The versions that a client speaks, the preferred one first, if it came to the one in use by a Version Negotiation packet.
pub(super) struct SecondChoice(pub(super) SmallVec<[Version; 2]>);

impl Ietf {
    /// Checks the Version Information in the peer's transport parameters.
    ///
    /// # Errors
    /// VERSION_NEGOTIATION_ERROR, or TRANSPORT_PARAMETER_ERROR if it is malformed.
    pub(super) fn check_versions(&self, engine: &Engine, params: &[u8]) -> Result<(), TransportError> {
        let info = VersionInformation::find(params, !engine.side)?;
        let wrong = match (info, &self.second_choice) {
            // RFC 9368 §4: "Servers MAY complete the handshake even if the Version Information is missing. Clients MUST NOT complete the
            // handshake if they are reacting to a Version Negotiation packet and the Version Information is missing, but MAY do so
            // otherwise."
            (None, None) => None,
            // §4: "the server MUST validate that the client's Chosen Version matches the version in use for the connection"; "clients MUST
            // validate that the server's Chosen Version is equal to the Negotiated Version". It is the only one that a client has listed.
            (Some(info), _) if info.chosen != self.version => {
                Some("the chosen version is not that of the packets")
            }
            (_, None) => None,
            (_, Some(choice)) => self.downgrade(info, &choice.0),
        };
        wrong.map_or(Ok(()), |reason| {
            Err(TransportError::new(TransportErrorCode::VERSION_NEGOTIATION_ERROR, reason))
        })
    }

    /// What is wrong with a version that a client came to by a Version Negotiation packet, in the light of what the server says in private.
    ///
    /// RFC 9368 §4: "the client would have selected the same version if it received a Version Negotiation packet that listed the versions in the
    /// server's Available Versions field, plus the Negotiated Version. If the client would have selected a different version, the client MUST
    /// close the connection with a version negotiation error."
    fn downgrade(
        &self,
        info: Option<VersionInformation<'_>>,
        preference: &[Version],
    ) -> Option<&'static str> {
        let Some(info) = info else {
            // §8: "if a client is starting a QUIC version 1 connection in response to a received Version Negotiation packet and the
            // version_information transport parameter is missing …, then the client SHALL proceed as if the server's transport parameters
            // contained a version_information transport parameter with a Chosen Version set to 0x00000001 and an Available Version list
            // containing exactly one version set to 0x00000001." That is what it would have selected.
            return (self.version != Version::V1)
                .then_some("no version_information after version negotiation");
        };
        // §4: "if the client reacted to a Version Negotiation packet and the server's Available Versions field is empty, the client MUST close
        // the connection with a version negotiation error."
        if info.available().len() == 0 {
            return Some("no available versions after version negotiation");
        }
        let known = |version: &&Version| {
            **version == self.version || info.available().any(|known| known == **version)
        };
        let best = preference.iter().find(known);
        (best != Some(&self.version)).then_some("the server speaks a version that is preferred: a downgrade")
    }
}
