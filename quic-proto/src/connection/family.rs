//! The one enum over protocol families, and the one match on it.

use crate::engine::Engine;
use crate::engine::budget::Allowance;
use crate::engine::packet::Opened;
use crate::engine::probes::Probe;
use crate::engine::settle::FamilyTokens;
use crate::event::HandshakeInfo;
use crate::ietf::Ietf;
use crate::invariants::Version;
use crate::net::Ecn;
use crate::time::Instant;
use bytes::Bytes;

/// The protocol family of a connection.
pub(super) enum Family {
    /// QUIC of the IETF.
    Ietf(Box<Ietf>),
}

/// Evaluates the same expression for whichever family it is.
macro_rules! each {
    ($self:expr, $family:ident => $body:expr) => {
        match $self {
            Family::Ietf($family) => $body,
        }
    };
}

impl Family {
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
        each!(self, family => family.has_something_to_send(engine))
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
        each!(self, family => &mut **family)
    }

    pub(super) fn start(&mut self, engine: &mut Engine) {
        each!(self, family => family.start(engine));
    }

    /// Bytes of memory behind this enum, but for what the TLS library keeps.
    pub(super) fn memory(&self) -> usize {
        each!(self, family => size_of_val(&**family))
    }

    pub(super) fn version(&self) -> Version {
        each!(self, family => family.version())
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
