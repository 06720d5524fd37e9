//! Routing without owning connections, for those who put each connection on a task of its own.
//!
//! The [`Router`] knows which datagram belongs to which connection, answers those that belong to none, and makes new connections. It
//! never looks into a connection afterwards: connections tell it, one way, by
//! [`EndpointEvent`](crate::connection::EndpointEvent)s what leads to them.
//!
//! Invariants: see [`demux`](super::demux), [`incoming`](super::incoming) and [`stateless`](super::stateless), which it is made of.
//! Everything that strangers can make it keep is limited by the configuration.
//!
//! Timers: none.

use super::demux::{ConnectionHandle, Demux, Target};
use super::incoming::{AddressProof, Details, Incoming, PendingLimits, PendingTable};
use super::outcome::{AcceptError, DropReason, Routed, RouterStats};
use super::stateless::RateLimit;
use super::used_tokens::UsedTokens;
use crate::codec::Writer;
use crate::config::{ClientConfig, ConfigError, EndpointConfig, ServerConfig, TransportConfig};
use crate::connection::{ConnectError, Connection, ConnectionInit, EndpointEvent, EndpointEventKind};
use crate::crypto::token::RetryToken;
use crate::engine::start::ServerFirst;
use crate::error::TransportErrorCode;
use crate::id::Cid;
use crate::ietf::wire::retry;
use crate::invariants::{Peeked, Version, peek, spec};
use crate::net::{Datagram, FourTuple, Transmit};
use crate::rng::Rng;
use crate::time::{Instant, UnixTime};
use std::sync::Arc;

/// Finds the connection of a datagram.
///
/// ```no_run
/// # use quic_proto::{endpoint::{Routed, Router, MAX_RESPONSE}, net::Datagram, time::Instant};
/// # fn example(mut router: Router, now: Instant, datagram: Datagram<'_>) {
/// let mut answer = [0; MAX_RESPONSE];
/// match router.route(now, &datagram, &mut answer) {
///     Routed::Connection(handle) => { /* give the datagram to that connection */ }
///     Routed::Incoming(client) => { /* accept it, say: */ let _ = router.accept(now, client); }
///     Routed::Respond(transmit) => { /* send answer[..transmit.len] */ }
///     Routed::Buffered | Routed::Dropped(_) => {}
/// }
/// # }
/// ```
pub struct Router {
    config: EndpointConfig,
    server: Option<Arc<ServerConfig>>,
    /// What is wrong with these two, if nobody has checked them: then no connection is made.
    wrong: Option<ConfigError>,
    rng: Box<dyn Rng>,
    epoch: UnixTime,
    demux: Demux,
    pending: PendingTable,
    resets: RateLimit,
    used_tokens: UsedTokens,
    stats: RouterStats,
}

impl Router {
    /// A router; for a server if `server` is given. `rng` gives connection ids and the like and must be seeded by the operating
    /// system outside of tests; `epoch` is the wall-clock time at [`Instant::EPOCH`].
    pub fn new(
        config: EndpointConfig,
        server: Option<Arc<ServerConfig>>,
        mut rng: Box<dyn Rng>,
        epoch: UnixTime,
    ) -> Self {
        let demux = Demux::new(&mut *rng);
        let resets = RateLimit::new(config.resets_per_second);
        let (pending, used_tokens, stats) = Default::default();
        let wrong = find_wrong(&config, server.as_deref());
        Self { config, server, wrong, rng, epoch, demux, pending, resets, used_tokens, stats }
    }

    /// Changes what is done with clients from now on; `None` accepts no more of them.
    pub fn set_server(&mut self, server: Option<Arc<ServerConfig>>) {
        self.wrong = find_wrong(&self.config, server.as_deref());
        self.server = server;
    }

    /// Says where a datagram goes. An answer is written to `out`, which needs at most [`MAX_RESPONSE`](super::MAX_RESPONSE) bytes.
    pub fn route(&mut self, now: Instant, datagram: &Datagram<'_>, out: &mut [u8]) -> Routed {
        if let Some(handle) = self.demux.by_last(datagram.payload, self.config.cid_len) {
            self.stats.routed += 1;
            return Routed::Connection(handle);
        }
        let routed = self.find(now, datagram, out);
        match &routed {
            Routed::Connection(_) => self.stats.routed += 1,
            Routed::Incoming(_) => self.stats.incoming += 1,
            Routed::Dropped(reason) => {
                self.stats.dropped += 1;
                tracing::trace!(path = ?datagram.path, len = datagram.payload.len(), ?reason, "datagram dropped");
            }
            Routed::Buffered | Routed::Respond(_) => {}
        }
        routed
    }

    /// Opens a connection to the server at `to`, which must prove that it is `server_name`.
    ///
    /// # Errors
    /// If the address, the name or a configuration is refused, there are too many connections, or there is one to this address already
    /// and the peer's packets would not be told apart.
    pub fn connect(
        &mut self,
        now: Instant,
        to: FourTuple,
        server_name: &str,
        config: &ClientConfig,
    ) -> Result<(ConnectionHandle, Connection), ConnectError> {
        if to.remote.port() == 0 || to.remote.ip().is_unspecified() {
            return Err(ConnectError::InvalidAddress(to.remote));
        }
        self.check_config()?;
        config.validate()?;
        let version = *config.versions.first().ok_or(ConfigError::NoVersions)?;
        if self.is_full() {
            return Err(ConnectError::TooManyConnections);
        }
        let handle = self.demux.insert().ok_or(ConnectError::TooManyConnections)?;
        if self.config.cid_len == 0 && !self.demux.set_tuple(handle, to) {
            self.demux.remove(handle);
            return Err(ConnectError::AddressInUse(to.remote));
        }
        let init = self.init(now, to, version, Arc::clone(&config.transport));
        // Made now, as a connection does not know how to make one.
        let again =
            (config.versions.len() > 1).then(|| self.init(now, to, version, Arc::clone(&config.transport)));
        let connection = Connection::client(init, again, config, server_name).and_then(|connection| {
            let routed = !connection.is_routed_by_address() || self.demux.set_tuple(handle, to);
            if routed { Ok(connection) } else { Err(ConnectError::AddressInUse(to.remote)) }
        });
        match connection {
            Ok(mut connection) => {
                self.demux.add_cid(handle, connection.local_cid());
                self.drain(handle, &mut connection);
                Ok((handle, connection))
            }
            Err(error) => {
                self.demux.remove(handle);
                Err(error)
            }
        }
    }

    /// Makes a connection of a client, and gives it the datagrams that came so far.
    ///
    /// # Errors
    /// If it cannot be accepted; the client is ignored then.
    pub fn accept(
        &mut self,
        now: Instant,
        incoming: Incoming,
    ) -> Result<(ConnectionHandle, Connection), AcceptError> {
        let Incoming(client) = incoming;
        let pending = self.forget(&client).ok_or(AcceptError::Gone)?;
        let server = self.server.clone().ok_or(AcceptError::Gone)?;
        self.check_config()?;
        if self.is_full() {
            return Err(AcceptError::TooManyConnections);
        }
        let handle = self.demux.insert().ok_or(AcceptError::TooManyConnections)?;
        if self.config.cid_len == 0 && !self.demux.set_tuple(handle, client.path) {
            self.demux.remove(handle);
            return Err(AcceptError::AddressInUse);
        }
        self.demux.set_initial(handle, client.path.remote, client.dcid);
        let (original_dcid, retry_scid) = match client.address {
            AddressProof::Retry { original_dcid, retry_scid } => (original_dcid, Some(retry_scid)),
            AddressProof::None | AddressProof::EarlierConnection => (client.dcid, None),
        };
        let validated = client.address != AddressProof::None;
        let first =
            ServerFirst { dcid: client.dcid, scid: client.scid, original_dcid, retry_scid, validated };
        let init = self.init(now, client.path, client.version, Arc::clone(&server.transport));
        let mut connection = match Connection::server(init, &server, first, &self.versions()) {
            Ok(connection) => connection,
            Err(error) => {
                self.demux.remove(handle);
                return Err(error.into());
            }
        };
        self.demux.add_cid(handle, connection.local_cid());
        self.drain(handle, &mut connection);
        for mut datagram in pending.datagrams {
            let (path, ecn, payload) = (datagram.path, datagram.ecn, &mut datagram.payload[..]);
            connection.handle_datagram(now, Datagram { path, ecn, payload });
            self.drain(handle, &mut connection);
        }
        self.stats.accepted += 1;
        Ok((handle, connection))
    }

    /// Asks a client to prove that it receives what is sent to its address (RFC 9000 §8.1.2), by a Retry packet written to `out`. The
    /// client's answer is an [`Incoming`] of its own. `Ok(None)` if the client is not waiting any more or `out` is too small.
    ///
    /// # Errors
    /// Gives the client back if it has answered a Retry packet already.
    pub fn retry(
        &mut self,
        now: Instant,
        incoming: Incoming,
        out: &mut [u8],
    ) -> Result<Option<Transmit>, Incoming> {
        if !incoming.may_retry() {
            return Err(incoming);
        }
        let Incoming(client) = incoming;
        let (Some(_), Some(server)) = (self.forget(&client), self.server.clone()) else { return Ok(None) };
        let Some(spec) = spec(client.version) else { return Ok(None) };
        let retry_scid = self.response_cid();
        let token = RetryToken {
            original_dcid: client.dcid,
            retry_scid,
            address: client.path.remote,
            issued: self.epoch.at(now),
            version: client.version,
        };
        let token = server.token_key.seal_retry(&mut *self.rng, &token);
        let unused = self.rng.next_u64() as u8;
        let mut writer = Writer::new(out);
        let ids = (&client.scid, &retry_scid);
        if !retry::encode(&mut writer, spec, unused, &client.dcid, ids, &token) {
            return Ok(None);
        }
        self.stats.retries += 1;
        Ok(Some(Transmit::single(client.path, writer.len())))
    }

    /// Tells a client that it is not wanted, by a packet that closes the connection (`CONNECTION_REFUSED`) written to `out`. `None` if the client is not
    /// waiting any more or `out` is too small.
    pub fn refuse(&mut self, incoming: Incoming, out: &mut [u8]) -> Option<Transmit> {
        let Incoming(client) = incoming;
        self.forget(&client)?;
        if let Some(family) = self.server.as_ref().and_then(|server| server.family_of(client.version)) {
            let len = family.refuse(&client.dcid, out)?;
            self.stats.refused += 1;
            return Some(Transmit::single(client.path, len));
        }
        let spec = spec(client.version)?;
        let code = TransportErrorCode::CONNECTION_REFUSED;
        self.close_unborn(client.path, spec, (&client.dcid, &client.scid), code, out)
    }

    /// Forgets a client without an answer. If it sends its packets again, it is a new client.
    pub fn ignore(&mut self, incoming: Incoming) {
        let Incoming(client) = incoming;
        self.forget(&client);
    }

    /// Whether a client still waits for the decision.
    pub fn is_waiting(&self, incoming: &Incoming) -> bool {
        self.pending.contains(incoming.0.id)
    }

    /// Takes note of what a connection says about the packets that lead to it. All that
    /// [`poll_endpoint_event`](Connection::poll_endpoint_event) returns is to be given here, in its order.
    pub fn handle_event(&mut self, handle: ConnectionHandle, event: EndpointEvent) {
        match event.0 {
            EndpointEventKind::AddCid(cid) => {
                if !self.demux.add_cid(handle, cid) && !cid.is_empty() {
                    tracing::warn!(?handle, %cid, "connection id is taken: packets to it go elsewhere");
                }
            }
            EndpointEventKind::RemoveCid(cid) => self.demux.remove_cid(handle, cid),
            // Where our ids have no bytes, connections go on to be told apart by their addresses.
            EndpointEventKind::ReleaseAddress if self.config.cid_len == 0 => {}
            EndpointEventKind::ReleaseAddress => self.demux.clear_tuple(handle),
            EndpointEventKind::ReleaseFirstId => self.demux.clear_initial(handle),
            EndpointEventKind::RouteByAddress(tuple) => {
                if !self.demux.set_tuple(handle, tuple) {
                    tracing::warn!(
                        ?handle,
                        ?tuple,
                        "another connection has these addresses: packets go there"
                    );
                }
            }
            EndpointEventKind::AddResetToken { remote, token } => {
                self.demux.add_reset(handle, remote, token);
            }
            EndpointEventKind::ClearResetTokens => self.demux.clear_resets(handle),
            EndpointEventKind::Drained => self.demux.clear(handle),
        }
    }

    /// Forgets a connection. Its handle may then be given, with another generation, to a new one.
    pub fn remove(&mut self, handle: ConnectionHandle) {
        self.demux.remove(handle);
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.demux.len()
    }

    /// Whether a datagram belongs to a connection here, or to a client that waits.
    pub fn owns(&mut self, datagram: &Datagram<'_>) -> bool {
        let peeked = peek(datagram.payload, self.config.cid_len);
        self.owner(datagram, peeked.as_ref().ok()).is_some()
    }

    /// Whether there are connections to which packets come without an id of ours: they are found by their addresses.
    pub fn routes_by_address(&self) -> bool {
        self.demux.has_tuples()
    }

    /// How many clients wait for a decision.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// What the router did so far.
    pub fn stats(&self) -> RouterStats {
        self.stats
    }

    fn find(&mut self, now: Instant, datagram: &Datagram<'_>, out: &mut [u8]) -> Routed {
        let (path, payload) = (datagram.path, &*datagram.payload);
        let peeked = peek(payload, self.config.cid_len);
        match self.owner(datagram, peeked.as_ref().ok()) {
            Some(Target::Connection(handle)) => return Routed::Connection(handle),
            Some(Target::Pending(id)) => return self.buffer(id, datagram),
            None => {}
        }
        match peeked {
            // What we gave to peers of other versions knows no resets.
            _ if is_old(payload) => {
                self.greet_old(now, datagram, out).unwrap_or(Routed::Dropped(DropReason::UnknownConnection))
            }
            Ok(Peeked::Short { dcid }) => self.reset(now, path, Cid::new(dcid).ok(), payload.len(), out),
            Ok(Peeked::Long { version, dcid, scid, .. }) => {
                self.greet(now, datagram, Version(version), (dcid, scid), out)
            }
            Ok(Peeked::VersionNegotiation { .. }) => Routed::Dropped(DropReason::UnknownConnection),
            Err(_) => Routed::Dropped(DropReason::Malformed),
        }
    }

    /// Who has a claim to a datagram.
    fn owner(&mut self, datagram: &Datagram<'_>, peeked: Option<&Peeked<'_>>) -> Option<Target> {
        let (path, payload) = (datagram.path, &*datagram.payload);
        let target = if is_old(payload) {
            self.lookup_old(path, payload)
        } else {
            let named = peeked.and_then(|peeked| self.lookup_named(path, peeked));
            named.or_else(|| self.lookup_negotiation(path, payload))
        };
        // RFC 9000 §10.3: "endpoints MUST treat any packet ending in a valid stateless reset token as a Stateless Reset, as other QUIC
        // versions might allow the use of a long header."
        target.or_else(|| self.demux.by_reset(path.remote, payload).map(Target::Connection))
    }

    /// The owner of a packet by the id in its header. A short header without an id is found by the addresses alone.
    fn lookup_named(&mut self, path: FourTuple, peeked: &Peeked<'_>) -> Option<Target> {
        let (Peeked::Short { dcid } | Peeked::Long { dcid, .. } | Peeked::VersionNegotiation { dcid, .. }) =
            peeked;
        // The id in a long header is that which the client chose as long as it knows none of ours; in some versions it never does.
        let (chosen, own) = match peeked {
            Peeked::Long { version, .. } => (true, !Version(*version).packs_id_lengths()),
            _ => (false, true),
        };
        Cid::new(dcid).ok().and_then(|dcid| self.lookup(path, &dcid, chosen, own))
    }

    /// RFC 9000 §5.2: packets are matched by their Destination Connection ID or, if that has no bytes, by their addresses.
    /// The id may be one that the client has `chosen`, which counts together with its address, so that it can be in nobody's way; and one that
    /// leads to a connection (`own`) from wherever it comes.
    fn lookup(&mut self, path: FourTuple, dcid: &Cid, chosen: bool, own: bool) -> Option<Target> {
        if dcid.is_empty() {
            return self.demux.by_tuple(path).map(Target::Connection);
        }
        let chosen = if chosen { self.demux.by_initial(path.remote, dcid) } else { None };
        chosen.or_else(|| if own { self.demux.by_cid(dcid).map(Target::Connection) } else { None })
    }

    /// Short packets of versions before RFC 9000: their headers name the connection by the 8 bytes that the client chose or, from a server,
    /// not at all.
    fn lookup_old(&mut self, path: FourTuple, payload: &[u8]) -> Option<Target> {
        let chosen = payload.get(1..9).and_then(|id| Cid::new(id).ok());
        chosen
            .and_then(|id| self.lookup(path, &id, true, true))
            .or_else(|| self.demux.by_tuple(path).map(Target::Connection))
    }

    /// A server's Version Negotiation packet may name the connection in another way than ours.
    fn lookup_negotiation(&mut self, path: FourTuple, payload: &[u8]) -> Option<Target> {
        let negotiates = payload.get(1..5) == Some(&[0; 4]);
        negotiates.then(|| self.demux.by_tuple(path).map(Target::Connection))?
    }

    fn buffer(&mut self, id: u64, datagram: &Datagram<'_>) -> Routed {
        match self.server.as_deref().map(limits) {
            Some(limits) if self.pending.append(id, datagram, limits) => Routed::Buffered,
            _ => Routed::Dropped(DropReason::TooManyIncoming),
        }
    }

    fn init(
        &mut self,
        now: Instant,
        path: FourTuple,
        version: Version,
        transport: Arc<TransportConfig>,
    ) -> ConnectionInit {
        ConnectionInit {
            now,
            path,
            version,
            rng: self.rng.child(),
            transport,
            cids: Arc::clone(&self.config.cids),
            reset_key: self.config.reset_key.clone(),
            epoch: self.epoch,
            max_udp_payload_size: self.config.max_udp_payload_size,
            departure_times: self.config.departure_times,
            grease_versions: self.config.grease_version_negotiation,
        }
    }

    pub(super) fn drain(&mut self, handle: ConnectionHandle, connection: &mut Connection) {
        while let Some(event) = connection.poll_endpoint_event() {
            self.handle_event(handle, event);
        }
    }

    fn forget(&mut self, client: &Details) -> Option<super::incoming::Pending> {
        self.demux.remove_pending(client.path.remote, client.dcid, client.id);
        self.pending.remove(client.id)
    }

    fn check_config(&self) -> Result<(), ConnectError> {
        self.wrong.map_or(Ok(()), |error| Err(ConnectError::Config(error)))
    }

    fn is_full(&self) -> bool {
        self.server.as_ref().is_some_and(|server| self.demux.len() >= server.max_connections)
    }
}

/// Whether a packet is of a version before RFC 9000, whose §17.3.1 says of the fixed bit: "Packets containing a zero value for this bit are
/// not valid packets in this version".
fn is_old(payload: &[u8]) -> bool {
    payload.first().is_some_and(|first| first & 0xc0 == 0)
}

fn find_wrong(config: &EndpointConfig, server: Option<&ServerConfig>) -> Option<ConfigError> {
    let server = server.map_or(Ok(()), ServerConfig::validate);
    config.validate().and(server).err()
}

fn limits(server: &ServerConfig) -> PendingLimits {
    PendingLimits { clients: server.max_incoming, bytes: server.max_incoming_bytes }
}

mod strangers;
#[cfg(test)]
mod tests;
