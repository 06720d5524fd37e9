//! What the router has to say about datagrams and clients.
//!
//! Owns plain values only: [`Routed`] and [`DropReason`] for a datagram, [`AcceptError`] for a client, [`RouterStats`] for all of them.
//! Timers: none.

use super::demux::ConnectionHandle;
use super::incoming::Incoming;
use crate::connection::ConnectError;
use crate::net::Transmit;

/// Where a datagram goes.
#[must_use]
#[derive(Debug)]
pub enum Routed {
    /// To this connection.
    Connection(ConnectionHandle),
    /// It is from a new client, about whom a decision is wanted. The router keeps the datagram.
    Incoming(Incoming),
    /// It is from a client who waits for the decision. The router keeps the datagram.
    Buffered,
    /// It is answered with what was written to the buffer.
    Respond(Transmit),
    /// Nowhere.
    Dropped(DropReason),
}

/// Why a datagram goes nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DropReason {
    /// It is no QUIC packet.
    Malformed,
    /// Its connection is not (or no longer) known, and it asks for no answer or deserves none.
    UnknownConnection,
    /// It would open a connection, but this endpoint is no server.
    NotServer,
    /// It would open a connection, but is shorter than 1200 bytes (RFC 9000 §14.1).
    TooShort,
    /// It would open a connection with an id of fewer than 8 bytes (RFC 9000 §7.2).
    ShortConnectionId,
    /// There are too many clients, or too many datagrams of this one, that wait for a decision.
    TooManyIncoming,
    /// Too many stateless resets were sent lately.
    RateLimited,
    /// There is an answer, but it does not fit the buffer.
    NoRoom,
}

/// Why a client could not be accepted. The client was ignored then; it may try again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The decision took too long, or the endpoint is no server any more.
    #[error("the client is not waiting any more")]
    Gone,
    /// There are as many connections as the configuration allows.
    #[error("too many connections")]
    TooManyConnections,
    /// Connection ids have no bytes, and there is a connection from this address already.
    #[error("without connection ids there is one connection to an address at most")]
    AddressInUse,
    /// The connection could not be started.
    #[error(transparent)]
    Start(#[from] ConnectError),
}

/// What the router did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct RouterStats {
    /// Datagrams that went to a connection.
    pub routed: u64,
    /// Datagrams that were dropped.
    pub dropped: u64,
    /// Clients about whom a decision was wanted.
    pub incoming: u64,
    /// Clients that were accepted.
    pub accepted: u64,
    /// Clients that were refused, by decision, for a bad token, or for lack of room.
    pub refused: u64,
    /// Retry packets sent.
    pub retries: u64,
    /// Version Negotiation packets sent.
    pub negotiations: u64,
    /// Stateless resets sent.
    pub resets: u64,
}

/// Several endpoints may share a port; what they did together is the sum.
impl std::ops::AddAssign for RouterStats {
    fn add_assign(&mut self, other: Self) {
        self.routed += other.routed;
        self.dropped += other.dropped;
        self.incoming += other.incoming;
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.retries += other.retries;
        self.negotiations += other.negotiations;
        self.resets += other.resets;
    }
}
