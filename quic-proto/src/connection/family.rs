//! The one enum over protocol families, and the one match on it.

use super::{ConnectError, ConnectionInit};
use crate::config::{ClientConfig, ConfigError, ServerConfig};
use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::family::Family as _;
use crate::engine::packet::Opened;
use crate::engine::probes::Probe;
use crate::engine::settle::FamilyTokens;
use crate::engine::start::ServerFirst;
use crate::event::HandshakeInfo;
#[cfg(feature = "gquic")]
use crate::gquic::{self, Gquic};
use crate::id::Cid;
use crate::ietf::{ClientStart, Ietf, ServerStart};
use crate::invariants::{Negotiated, Version};
use crate::net::Ecn;
use crate::time::Instant;
use bytes::Bytes;

/// The protocol family of a connection.
#[cfg_attr(
    feature = "gquic",
    expect(
        clippy::large_enum_variant,
        reason = "the usual one lies in the connection, which lies in a box already"
    )
)]
pub(super) enum Family {
    /// QUIC of the IETF.
    Ietf(Ietf),
    /// Google's QUIC.
    #[cfg(feature = "gquic")]
    Gquic(Box<Gquic>),
}

/// Evaluates the same expression for whichever family it is.
macro_rules! each {
    ($self:expr, $family:ident => $body:expr) => {
        match $self {
            Family::Ietf($family) => $body,
            #[cfg(feature = "gquic")]
            Family::Gquic($family) => $body,
        }
    };
}

fn unknown(version: Version) -> ConnectError {
    ConfigError::UnsupportedVersion(version.0).into()
}

impl Family {
    /// A client's family and engine, for the version in `init`; with how it came to that one, if not at once.
    pub(super) fn client(
        init: ConnectionInit,
        config: &ClientConfig,
        server_name: &str,
        negotiated: Option<&Negotiated>,
    ) -> Result<(Self, Engine), ConnectError> {
        let version = init.version;
        #[cfg(feature = "gquic")]
        if let Some(settings) = config.family_of(version).and_then(gquic::ClientConfig::from_family) {
            let (family, engine) = Gquic::client(init.into(), &settings, server_name, negotiated)
                .ok_or_else(|| ConnectError::InvalidServerName(server_name.to_owned()))?;
            return Ok((Self::Gquic(Box::new(family)), engine));
        }
        let (negotiated, grease) = (negotiated.is_some(), init.grease_versions);
        let start = ClientStart { version, config, server_name, negotiated, grease };
        let (family, engine) = Ietf::client(init.into(), &start)?.ok_or_else(|| unknown(version))?;
        Ok((Self::Ietf(family), engine))
    }

    /// A server's family and engine, for the version in `init`. `versions` are all that the endpoint accepts.
    pub(super) fn server(
        init: ConnectionInit,
        config: &ServerConfig,
        first: ServerFirst,
        versions: &[Version],
    ) -> Result<(Self, Engine), ConnectError> {
        let version = init.version;
        #[cfg(feature = "gquic")]
        if let Some(settings) = config.family_of(version).and_then(gquic::ServerConfig::from_family) {
            let (family, engine) = Gquic::server(init.into(), &settings, first, versions);
            return Ok((Self::Gquic(Box::new(family)), engine));
        }
        let start = ServerStart { version, config, first, versions, grease: init.grease_versions };
        let (family, engine) = Ietf::server(init.into(), &start)?.ok_or_else(|| unknown(version))?;
        Ok((Self::Ietf(family), engine))
    }

    /// The id under which packets reach the connection from the start.
    pub(super) fn local_cid(&self) -> Cid {
        each!(self, family => family.local_cid())
    }

    /// Whether the peer's packets bear no id of ours.
    pub(super) fn is_routed_by_address(&self, engine: &Engine) -> bool {
        each!(self, family => family.is_routed_by_address(engine))
    }

    /// Whether packets to the id that the client made up are over.
    pub(super) fn is_past_first_id(&self, engine: &Engine) -> bool {
        each!(self, family => family.is_past_first_id(engine))
    }

    pub(super) fn receive(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        ecn: Option<Ecn>,
        payload: &mut [u8],
    ) -> Opened {
        each!(self, family => family.receive(engine, now, ecn, payload))
    }

    pub(super) fn wants_to_send(&self, engine: &mut Engine) -> bool {
        each!(self, family => family.wants_to_send(engine))
    }

    pub(super) fn transmit(
        &mut self,
        engine: &mut Engine,
        now: Instant,
        out: &mut [u8],
        allowance: Allowance,
    ) -> usize {
        each!(self, family => family.transmit(engine, now, out, allowance))
    }

    pub(super) fn transmit_close(&mut self, engine: &mut Engine, out: &mut [u8]) -> usize {
        each!(self, family => family.transmit_close(engine, out))
    }

    pub(super) fn handle_timeout(&mut self, engine: &mut Engine, now: Instant) {
        each!(self, family => family.handle_timeout(engine, now));
    }

    pub(super) fn tokens(&mut self) -> &mut dyn FamilyTokens {
        match self {
            Self::Ietf(family) => family,
            #[cfg(feature = "gquic")]
            Self::Gquic(family) => &mut **family,
        }
    }

    pub(super) fn start(&mut self, engine: &mut Engine) {
        each!(self, family => family.start(engine));
    }

    /// Bytes of memory behind this enum, but for what the TLS library keeps.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Ietf(_) => 0,
            #[cfg(feature = "gquic")]
            Self::Gquic(family) => size_of_val(&**family),
        }
    }

    pub(super) fn version(&self) -> Version {
        match self {
            Self::Ietf(family) => family.version(),
            #[cfg(feature = "gquic")]
            Self::Gquic(_) => Version::Q044,
        }
    }

    pub(super) fn is_established(&self) -> bool {
        each!(self, family => family.is_established())
    }

    pub(super) fn handshake_info(&self) -> Option<HandshakeInfo> {
        each!(self, family => family.handshake_info())
    }

    pub(super) fn export_keying_material(&self, out: &mut [u8], label: &[u8], context: &[u8]) -> bool {
        each!(self, family => family.export_keying_material(out, label, context))
    }

    pub(super) fn take_received_token(&mut self) -> Option<Bytes> {
        each!(self, family => family.take_received_token())
    }

    pub(super) fn transmit_probe(&mut self, engine: &mut Engine, out: &mut [u8], probe: &Probe) -> usize {
        each!(self, family => family.transmit_probe(engine, out, probe))
    }

    pub(super) fn initiate_key_update(&mut self, engine: &mut Engine) -> bool {
        each!(self, family => family.initiate_key_update(engine))
    }
}
