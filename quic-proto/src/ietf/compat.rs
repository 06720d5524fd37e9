//! Which version the connection speaks, of several that it could (RFC 9368, RFC 9369 §4.1).
//!
//! A client lists, beside the version that it has chosen for its first flight, those that it could go on in: versions 1 and 2 are compatible both
//! ways. A server that prefers one of them answers in that ([`Undecided`]), and the client follows as soon as it has seen an authentic
//! Initial packet of it. All that anybody can forge, as Initial packets protect nothing. So each end says in its transport parameters, which
//! TLS authenticates, which version it takes the connection for, and the other checks it. In the same way a client finds out when a forged
//! Version Negotiation packet made it give up the version that it would have spoken.
//!
//! Invariants: a version is left at most once, for one that both ends have listed, and by a client before it has read any handshake bytes. What is
//! kept here goes when the version is settled. Timers: none.

mod undecided;

pub(super) use undecided::Undecided;

use super::Ietf;
use super::open::Place;
use super::wire::VersionInformation;
use crate::crypto::Keys;
use crate::crypto::initial::initial_keys;
use crate::engine::Engine;
use crate::engine::packet::Opened;
use crate::error::{TransportError, TransportErrorCode};
use crate::id::{Cid, Level, Side};
use crate::invariants::{Version, VersionSpec, spec};
use crate::net::Ecn;
use crate::time::Instant;
use smallvec::SmallVec;

/// A few versions.
pub(super) type Versions = SmallVec<[Version; 4]>;

/// What is kept about versions that are not in use.
pub(super) struct Compat {
    /// The versions that a client speaks, of all families, the preferred one first.
    preference: SmallVec<[Version; 2]>,
    /// Whether it came to its first by a Version Negotiation packet.
    negotiated: bool,
    /// Whether the server may still choose another.
    open: bool,
    /// Initial keys of another version: on a client, of one that a packet claimed to be of; on a server, of that which it has left.
    other: Option<Other>,
    /// A server's token for the client's next connection, in the version that it may change to.
    token: Option<(Version, Vec<u8>)>,
}

struct Other {
    spec: &'static VersionSpec,
    keys: Keys,
}

impl Compat {
    /// What a client keeps that has listed these `available` versions; nothing if there is no other and it was not told to take this one.
    pub(super) fn of_client(
        preference: &[Version],
        available: &[Version],
        negotiated: bool,
    ) -> Option<Box<Self>> {
        let (preference, open) = (SmallVec::from_slice(preference), available.len() > 1);
        (open || negotiated)
            .then(|| Box::new(Self { preference, negotiated, open, other: None, token: None }))
    }

    /// What a server keeps whose version is undecided.
    pub(super) fn of_server(token: Option<(Version, Vec<u8>)>) -> Box<Self> {
        Box::new(Self { preference: SmallVec::new(), negotiated: false, open: false, other: None, token })
    }
}

impl Ietf {
    /// How to read a packet of this version, if it may be of this connection.
    pub(super) fn spec_of(&self, side: Side, version: Version) -> Option<&'static VersionSpec> {
        if version == self.spec.version {
            return Some(self.spec);
        }
        let compat = self.compat.as_deref()?;
        match side {
            Side::Client => spec(version).filter(|_| compat.open && compat.preference.contains(&version)),
            Side::Server => {
                compat.other.as_ref().map(|other| other.spec).filter(|spec| spec.version == version)
            }
        }
    }

    /// A packet of another version than the one in use, that may be of this connection.
    pub(super) fn open_other(
        &mut self,
        engine: &mut Engine,
        received: Instant,
        ecn: Option<Ecn>,
        packet: &mut [u8],
        (place, spec): (Place, &'static VersionSpec),
        opened: &mut Opened,
    ) {
        match place.level {
            Level::Initial => {}
            // It has overtaken the first Initial packet of its version, perhaps.
            Level::Handshake if engine.side.is_client() => {
                return self.set_aside(engine, received, ecn, place.level, packet);
            }
            // RFC 9369 §4.1: "Both endpoints MUST send Handshake and 1-RTT packets using the negotiated version. An endpoint MUST drop packets
            // using any other version."
            _ => {
                engine.stats.discarded_packets += 1;
                return;
            }
        }
        let kept = self.compat.as_mut().and_then(|compat| compat.other.take());
        let mut other = kept
            .filter(|other| other.spec.version == spec.version)
            .unwrap_or_else(|| Other { spec, keys: self.initial_keys_of(spec, engine.side) });
        self.keys.swap_initial(&mut other.keys);
        self.open_packet(engine, received, ecn, packet, place, opened);
        if self.spec.version == spec.version {
            // The client has followed, and has no more use for what it left.
            return;
        }
        self.keys.swap_initial(&mut other.keys);
        if let Some(compat) = &mut self.compat {
            compat.other = Some(other);
        }
    }

    /// A client has seen an authentic packet of a version that it has listed.
    ///
    /// RFC 9369 §4.1: "The client learns the negotiated version by observing the first long header Version field that differs from the original
    /// version. … Once the client has learned the negotiated version, it SHOULD send subsequent Initial packets using that version."
    pub(super) fn follow(&mut self, spec: &'static VersionSpec) {
        tracing::debug!(version = %spec.version, "the server has chosen another version");
        self.spec = spec;
        self.handshake.session_mut().follow(spec.version.0);
        self.stay();
    }

    /// Handshake bytes came: the version is settled.
    ///
    /// RFC 9369 §4.1: "If the client receives a CRYPTO frame from the server in the original version, it indicates that the negotiated version
    /// is equal to the original version"; a server goes on in the version that its session has chosen: "The server MUST send all CRYPTO frames
    /// using the negotiated version."
    pub(super) fn settle_version(&mut self, side: Side) {
        if side.is_client() {
            return self.stay();
        }
        let chosen = self.handshake.session().chosen_version().map(Version);
        let Some(spec) = chosen.filter(|version| *version != self.spec.version).and_then(spec) else {
            return;
        };
        let mut keys = self.initial_keys_of(spec, side);
        self.keys.swap_initial(&mut keys);
        let left = std::mem::replace(&mut self.spec, spec);
        if let Some(compat) = &mut self.compat {
            compat.other = Some(Other { spec: left, keys });
            // RFC 9369 §5: "any issued server tokens are considered to originate from the negotiated version, not the original one."
            let token = compat.token.take().filter(|(version, _)| *version == spec.version);
            self.new_token = token.map(|(_, token)| token);
        }
    }

    fn stay(&mut self) {
        if let Some(compat) = &mut self.compat {
            (compat.open, compat.other) = (false, None);
        }
    }

    fn initial_keys_of(&self, spec: &VersionSpec, side: Side) -> Keys {
        let dcid: &Cid = self.retry_scid.as_ref().unwrap_or(&self.original_dcid);
        initial_keys(&spec.initial_salt, &spec.labels, dcid, side)
    }

    /// Checks the Version Information in the peer's transport parameters.
    ///
    /// # Errors
    /// VERSION_NEGOTIATION_ERROR, or TRANSPORT_PARAMETER_ERROR if it is malformed.
    pub(super) fn check_versions(&self, side: Side, params: &[u8]) -> Result<(), TransportError> {
        let info = VersionInformation::find(params, !side)?;
        let wrong = match side {
            // RFC 9368 §4: "the server MUST validate that the client's Chosen Version matches the version in use for the connection", which is
            // that of the first flight; "Servers MAY complete the handshake even if the Version Information is missing."
            Side::Server => info.is_some_and(|info| info.chosen != self.original),
            // "clients MUST validate that the server's Chosen Version is equal to the Negotiated Version"; that is one which they have listed.
            // A server that has chosen another than theirs has to say so.
            Side::Client => {
                let chosen = info.map_or(self.original, |info| info.chosen);
                chosen != self.spec.version
            }
        };
        let wrong =
            if wrong { Some("the chosen version is not that of the packets") } else { self.downgrade(info) };
        wrong.map_or(Ok(()), |reason| {
            Err(TransportError::new(TransportErrorCode::VERSION_NEGOTIATION_ERROR, reason))
        })
    }

    /// What is wrong with a version that a client came to by a Version Negotiation packet, in the light of what the server says in private.
    ///
    /// RFC 9368 §4: "the client would have selected the same version if it received a Version Negotiation packet that listed the versions in the
    /// server's Available Versions field, plus the Negotiated Version. If the client would have selected a different version, the client MUST
    /// close the connection with a version negotiation error."
    fn downgrade(&self, info: Option<VersionInformation<'_>>) -> Option<&'static str> {
        let compat = self.compat.as_ref().filter(|compat| compat.negotiated)?;
        let Some(info) = info else {
            // §4: "Clients MUST NOT complete the handshake if they are reacting to a Version Negotiation packet and the Version Information is
            // missing". §8: but "if a client is starting a QUIC version 1 connection in response to a received Version Negotiation packet …, then
            // the client SHALL proceed as if the server's transport parameters contained a version_information transport parameter with a
            // Chosen Version set to 0x00000001 and an Available Version list containing exactly one version set to 0x00000001." That is what it
            // would have selected.
            return (self.original != Version::V1)
                .then_some("no version_information after version negotiation");
        };
        // §4: "if the client reacted to a Version Negotiation packet and the server's Available Versions field is empty, the client MUST close
        // the connection with a version negotiation error."
        if info.available().len() == 0 {
            return Some("no available versions after version negotiation");
        }
        let known = |version: &&Version| {
            **version == self.spec.version || info.available().any(|known| known == **version)
        };
        let best = compat.preference.iter().find(known);
        (best != Some(&self.original)).then_some("the server speaks a version that is preferred: a downgrade")
    }
}
