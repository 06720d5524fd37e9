//! A client that speaks several versions starts again in another one, if the server knows none but that (RFC 9000 §6.2).
//!
//! Nothing of the first start is left but what the application asked for: a new engine, a new family, another id.
//!
//! Invariant: there is one second start at most, and none once anything authentic came. Timers: none.

use super::family::Family;
use super::{Connection, ConnectionInit, EndpointEvent, EndpointEventKind};
use crate::config::ClientConfig;
use crate::error::ConnectionError;
use crate::invariants::Negotiated;

/// What a second start needs.
pub(super) struct SecondStart {
    init: ConnectionInit,
    config: ClientConfig,
    server_name: String,
}

impl SecondStart {
    pub(super) fn new(init: ConnectionInit, config: &ClientConfig, server_name: &str) -> Self {
        Self { init, config: config.clone(), server_name: server_name.to_owned() }
    }
}

impl Connection {
    /// If the connection has just ended because the server does not know its version, and both know another one, it starts again.
    pub(super) fn negotiate(&mut self) {
        let Some(ConnectionError::VersionMismatch { offered }) = self.engine.lifecycle.reason() else {
            return;
        };
        let Some(SecondStart { mut init, config, server_name }) =
            self.second_start.take().map(|start| *start)
        else {
            return;
        };
        // RFC 9000 §6.2 leaves the choice to the client: its own preference decides.
        let Some(version) = config.versions.iter().copied().find(|version| offered.contains(&version.0))
        else {
            return;
        };
        let negotiated = Negotiated { first: init.version, offered: offered.clone() };
        (init.now, init.version) = (self.engine.now(), version);
        init.path = self.engine.paths.active().tuple;
        let Ok((family, mut engine)) = Family::client(init, &config, &server_name, Some(&negotiated)) else {
            return;
        };
        tracing::debug!(%version, "starts again: the server knows another version");
        engine.negotiated = true;
        engine.streams.wait_as(&self.engine.streams);
        let was_routed_by_address = self.is_routed_by_address();
        self.moved.push(EndpointEvent(EndpointEventKind::RemoveCid(self.local_cid)));
        (self.family, self.engine) = (family, engine);
        self.local_cid = self.family.local_cid();
        self.moved.push(EndpointEvent(EndpointEventKind::AddCid(self.local_cid)));
        if self.is_routed_by_address() {
            let tuple = self.engine.paths.active().tuple;
            self.moved.push(EndpointEvent(EndpointEventKind::RouteByAddress(tuple)));
        } else if was_routed_by_address {
            self.moved.push(EndpointEvent(EndpointEventKind::ReleaseAddress));
        }
        self.family.start(&mut self.engine);
    }
}
