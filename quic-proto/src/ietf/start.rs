//! The first moment of a connection: parameters, Initial keys, the TLS session.

use super::Ietf;
use super::compat::{Compat, Undecided, Versions};
use super::handshake::Handshake;
use super::keys::Ladder;
use super::wire::params::TransportParameters;
use super::wire::version_info;
use crate::config::{ClientConfig, ServerConfig};
use crate::crypto::initial::initial_keys;
use crate::crypto::token::AddressToken;
use crate::crypto::{TlsConfigError, TlsSession};
use crate::engine::Engine;
use crate::engine::start::{EngineInit, EngineRules, ServerFirst};
use crate::id::{Cid, Side};
use crate::invariants::{Version, VersionSpec, spec};
use crate::net::FourTuple;
use crate::rng::Rng;
use bytes::Bytes;
use std::sync::Arc;

/// RFC 9000 §7.2: the destination that a client makes up for its first packet has at least 8 bytes.
const FIRST_DCID_LEN: usize = 8;

/// Room for encoded transport parameters, in bytes: enough for all that we send.
const ENCODED: usize = 224;

/// What starts a client.
pub(crate) struct ClientStart<'a> {
    pub(crate) version: Version,
    pub(crate) config: &'a ClientConfig,
    pub(crate) server_name: &'a str,
    /// Whether it follows a Version Negotiation packet.
    pub(crate) negotiated: bool,
    /// Whether a reserved version is to be named among ours.
    pub(crate) grease: bool,
}

/// What starts a server.
pub(crate) struct ServerStart<'a> {
    pub(crate) version: Version,
    pub(crate) config: &'a ServerConfig,
    pub(crate) first: ServerFirst,
    /// All versions that the endpoint accepts.
    pub(crate) versions: &'a [Version],
    /// Whether a reserved version is to be named among them.
    pub(crate) grease: bool,
}

impl ClientStart<'_> {
    /// The versions that the first flight is compatible with, by the client's preference. RFC 9369 §4: "version 2 meets the definition in
    /// [QUIC-VN] of a compatible version with version 1, and version 1 is compatible with version 2." Those are all that there are.
    fn available(&self) -> Versions {
        let follows = self.config.tls.as_ref().is_some_and(|tls| tls.follows());
        let compatible = |version: &Version| *version == self.version || follows && spec(*version).is_some();
        self.config.versions.iter().copied().filter(compatible).collect()
    }
}

impl ServerStart<'_> {
    /// The versions that we like better than the one in which the client has come, of those that this is compatible with.
    fn preferred(&self) -> Versions {
        let better = self.versions.iter().take_while(|version| **version != self.version);
        better.copied().filter(|version| spec(*version).is_some()).collect()
    }
}

impl Ietf {
    /// A client's family and engine, with its first flight ready; `None` if the version is not known or there is no TLS.
    pub(crate) fn client(
        mut init: EngineInit,
        start: &ClientStart<'_>,
    ) -> Result<Option<(Self, Engine)>, TlsConfigError> {
        let (Some(spec), Some(tls)) = (spec(start.version), &start.config.tls) else { return Ok(None) };
        let local_scid = init.cids.generate(&mut *init.rng);
        let mut first = [0; FIRST_DCID_LEN];
        init.rng.fill(&mut first);
        let original_dcid = Cid::new(&first).unwrap_or_default();
        let params = local_params(&init, local_scid);
        let mut encoded = Vec::with_capacity(ENCODED);
        params.encode(&mut encoded, &mut *init.rng);
        let mut available = start.available();
        let compat = Compat::of_client(&start.config.versions, &available, start.negotiated);
        grease(&mut available, start.grease, &mut *init.rng);
        version_info::encode(&mut encoded, start.version, &available);
        let session = tls.start(start.version.0, start.server_name, encoded)?;
        let engine = init.engine(Side::Client, local_scid, original_dcid, true, &EngineRules::default());
        let mut family = Self::new(
            spec,
            start.version,
            session,
            params.ack_delay_exponent,
            Side::Client,
            local_scid,
            original_dcid,
            original_dcid,
        );
        // RFC 9369 §5: "Clients MUST NOT use a session ticket or token from a QUIC version 1 connection to initiate a QUIC version 2
        // connection, and vice versa."
        if start.config.token_version() == Some(start.version) {
            family.token = start.config.token.clone().unwrap_or_default();
        }
        family.compat = compat;
        Ok(Some((family, engine)))
    }

    /// A server's family and engine, for a client whose first packet is still to be handled.
    pub(crate) fn server(
        mut init: EngineInit,
        start: &ServerStart<'_>,
    ) -> Result<Option<(Self, Engine)>, TlsConfigError> {
        let (Some(spec), Some(tls)) = (spec(start.version), &start.config.tls) else { return Ok(None) };
        let first = start.first;
        let local_scid = init.cids.generate(&mut *init.rng);
        let mut params = local_params(&init, local_scid);
        params.original_destination_connection_id = Some(first.original_dcid);
        params.retry_source_connection_id = first.retry_scid;
        if !local_scid.is_empty() {
            params.stateless_reset_token = Some(init.reset_key.token(&local_scid));
        }
        let mut encoded = Vec::with_capacity(ENCODED);
        params.encode(&mut encoded, &mut *init.rng);
        let mut available = Versions::from_slice(start.versions);
        grease(&mut available, start.grease, &mut *init.rng);
        let new_token = address_token(&mut init, start.config, start.version);
        let preferred = start.preferred();
        let compat = preferred.first().map(|best| {
            let token = address_token(&mut init, start.config, *best);
            Compat::of_server(token.map(|token| (*best, token)))
        });
        let session: Box<dyn TlsSession> = if preferred.is_empty() {
            version_info::encode(&mut encoded, start.version, &available);
            tls.start(start.version.0, encoded)?
        } else {
            Box::new(Undecided::new(Arc::clone(tls), start.version, preferred, available, encoded))
        };
        let engine =
            init.engine(Side::Server, local_scid, first.scid, first.validated, &EngineRules::default());
        let mut family = Self::new(
            spec,
            start.version,
            session,
            params.ack_delay_exponent,
            Side::Server,
            local_scid,
            first.original_dcid,
            first.dcid,
        );
        family.new_token = new_token;
        family.compat = compat;
        family.retry_scid = first.retry_scid;
        Ok(Some((family, engine)))
    }

    #[allow(clippy::too_many_arguments, reason = "a constructor: each argument is a field")]
    fn new(
        spec: &'static VersionSpec,
        version: Version,
        session: Box<dyn TlsSession>,
        ack_delay_exponent: u8,
        side: Side,
        local_scid: Cid,
        original_dcid: Cid,
        initial_dcid: Cid,
    ) -> Self {
        let mut keys = Ladder::default();
        keys.install_initial(initial_keys(&spec.initial_salt, &spec.labels, &initial_dcid, side));
        Self {
            original: version,
            spec,
            handshake: Handshake::new(session),
            keys,
            stash: None,
            ack_delay_exponent,
            peer_ack_delay_exponent: None,
            local_scid,
            original_dcid,
            compat: None,
            retry_scid: None,
            arrived_on: local_scid,
            opened_with_old_key: false,
            peer_initial_scid: None,
            token: Bytes::new(),
            handshake_done_owed: false,
            new_token: None,
            new_token_owed: false,
            received_token: None,
        }
    }
}

/// Parameters from the settings (RFC 9000 §18.2).
fn local_params(init: &EngineInit, local_scid: Cid) -> TransportParameters {
    let config = &init.transport;
    TransportParameters {
        max_idle_timeout: config.max_idle_timeout.unwrap_or_default(),
        max_udp_payload_size: init.max_udp_payload_size,
        initial_max_data: config.connection_window,
        initial_max_stream_data_bidi_local: config.stream_window,
        initial_max_stream_data_bidi_remote: config.stream_window,
        initial_max_stream_data_uni: config.stream_window,
        initial_max_streams_bidi: config.max_bidi_streams,
        initial_max_streams_uni: config.max_uni_streams,
        ack_delay_exponent: config.ack_delay_exponent,
        max_ack_delay: config.max_ack_delay,
        active_connection_id_limit: config.active_cid_limit,
        disable_active_migration: !config.migration,
        initial_source_connection_id: Some(local_scid),
        ..TransportParameters::default()
    }
}

/// RFC 9368 §3: "Clients and servers MAY both include versions following the pattern 0x?a?a?a?a in their Available Versions list", so that nobody
/// forgets to ignore what he does not know.
fn grease(available: &mut Versions, on: bool, rng: &mut dyn Rng) {
    if on {
        available.push(Version::reserved(rng.next_u64() as u32));
    }
}

/// A token for the client's next connection (RFC 9000 §8.1.3).
fn address_token(init: &mut EngineInit, config: &ServerConfig, version: Version) -> Option<Vec<u8>> {
    let FourTuple { remote, .. } = init.path;
    let issued = init.epoch.at(init.now);
    config.address_tokens.then(|| {
        let token = AddressToken { ip: remote.ip(), issued, version, memo: None };
        config.token_key.seal_address(&mut *init.rng, &token)
    })
}
