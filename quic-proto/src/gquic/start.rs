//! The first moment of a connection.

use super::config::{ClientConfig, ServerConfig, ServerId};
use super::handshake::Handshake;
use super::hello::Scene;
use super::hello::client::ClientHello;
use super::hello::server::ServerHello;
use super::keys::Keys;
use super::levels::SentLevels;
use super::params::{Params, rules};
use super::stash::Stash;
use super::wire::header::CID_LEN;
use super::{Gquic, greet};
use crate::engine::Engine;
use crate::engine::start::{EngineInit, ServerFirst};
use crate::id::{Cid, PacketNumber, Side};
use crate::invariants::{Negotiated, Version};
use crate::time::UnixTime;
use std::sync::Arc;

/// Chapter 2.3: numbers start with 1.
pub(super) const FIRST_NUMBER: PacketNumber = 1;
/// The first number may have been that of a rejection which nobody remembers. A number that is left out does no harm.
const FIRST_AFTER_REJECTION: PacketNumber = greet::NUMBER + 1;

impl Gquic {
    /// A client's family and engine, with its first flight ready; `None` if the server has no name.
    pub(crate) fn client(
        mut init: EngineInit,
        settings: &Arc<ClientConfig>,
        server_name: &str,
        negotiated: Option<&Negotiated>,
    ) -> Option<(Self, Engine)> {
        // 7.2: quic-go's server insists on a name.
        if server_name.is_empty() || server_name.len() > 255 || !server_name.is_ascii() {
            return None;
        }
        let mut id = [0; CID_LEN];
        init.rng.fill(&mut id);
        let cid = Cid::new(&id).unwrap_or_default();
        let params = Params::of(&init.transport);
        let server = ServerId { name: server_name.to_owned(), port: init.path.remote.port() };
        let (epoch, now) = (init.epoch, init.epoch.at(init.now));
        let mut scene = Scene { now, cid, rng: &mut *init.rng };
        let hello = ClientHello::new(settings, server, negotiated.cloned(), params, &mut scene);
        let rules = rules(&init.transport, FIRST_NUMBER);
        let engine = init.engine(Side::Client, cid, cid, true, &rules);
        Some((Self::new(Side::Client, cid, epoch, Handshake::client(hello)), engine))
    }

    /// A server's family and engine, for a client whose hello is still to be handled, and which speaks one of `versions`.
    pub(crate) fn server(
        init: EngineInit,
        settings: &Arc<ServerConfig>,
        first: ServerFirst,
        versions: &[Version],
    ) -> (Self, Engine) {
        let params = Params::of(&init.transport);
        let hello = ServerHello::new(settings, init.path.remote, versions, params);
        let rules = rules(&init.transport, FIRST_AFTER_REJECTION);
        let epoch = init.epoch;
        // No connection is made before a token has shown that the client receives what is sent to its address.
        let engine = init.engine(Side::Server, first.dcid, Cid::EMPTY, true, &rules);
        (Self::new(Side::Server, first.dcid, epoch, Handshake::server(hello)), engine)
    }

    fn new(side: Side, cid: Cid, epoch: UnixTime, handshake: Handshake) -> Self {
        Self {
            cid,
            keys: Keys::new(side),
            keys_changed: false,
            stash: Stash::default(),
            handshake,
            epoch,
            sent_levels: SentLevels::default(),
            nonce: None,
            ack_only: 0,
        }
    }
}
