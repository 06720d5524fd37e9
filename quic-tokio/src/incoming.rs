//! Clients about whom the application decides.
//!
//! Owns [`Incoming`] and the future that it turns into. Timers: none; the protocol forgets clients that wait for too long.

use crate::connection::{Connecting, Connection, ConnectionRef};
use crate::error::RetryError;
use crate::state::Shared;
use quic_proto::endpoint::{AcceptError, Incoming as Client};
use quic_proto::error::{ConnectionError, TransportError, TransportErrorCode};
use quic_proto::id::Cid;
use quic_proto::invariants::Version;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A client that wants to connect. Await it to accept it and have the connection, or decide otherwise.
///
/// **Dropping** it refuses the client.
#[must_use = "the client is refused when this is dropped"]
pub struct Incoming {
    shared: Arc<Shared>,
    /// There until the decision.
    client: Option<Client>,
}

impl Incoming {
    pub(crate) fn new(shared: Arc<Shared>, client: Client) -> Self {
        Self { shared, client: Some(client) }
    }

    /// Accepts the client: the handshake goes on.
    ///
    /// # Errors
    /// If the client does not wait any more, or there are too many connections.
    pub fn accept(mut self) -> Result<Connecting, AcceptError> {
        let client = self.client.take().ok_or(AcceptError::Gone)?;
        let now = self.shared.clock.now();
        let mut guard = self.shared.lock();
        let (state, _) = guard.parts();
        if state.closing {
            state.endpoint.refuse(client);
            state.needs_driver();
            return Err(AcceptError::Gone);
        }
        let handle = state.endpoint.accept(now, client)?;
        let connection = ConnectionRef::adopt(&self.shared, state, handle);
        drop(guard);
        Ok(Connecting::new(connection))
    }

    /// Asks the client to prove that it receives what is sent to its address (RFC 9000 §8.1.2). Its answer is an `Incoming` of its own, for
    /// which [`is_validated`](Self::is_validated) holds.
    ///
    /// # Errors
    /// Gives the client back if it has answered a Retry packet already.
    pub fn retry(mut self) -> Result<(), RetryError> {
        let Some(client) = self.client.take() else { return Ok(()) };
        let now = self.shared.clock.now();
        let result = {
            let mut guard = self.shared.lock();
            let (state, _) = guard.parts();
            state.needs_driver();
            state.endpoint.retry(now, client)
        };
        result.map_err(|client| {
            self.client = Some(client);
            RetryError(self)
        })
    }

    /// Tells the client that it is not wanted (`CONNECTION_REFUSED`).
    pub fn refuse(mut self) {
        self.refuse_in_place();
    }

    /// Forgets the client without an answer. If it sends its packets again, it is a new client.
    pub fn ignore(mut self) {
        if let Some(client) = self.client.take() {
            self.shared.lock().endpoint.ignore(client);
        }
    }

    /// The client's address. Anybody could have written it on the datagram unless it is [validated](Self::is_validated).
    pub fn remote_address(&self) -> SocketAddr {
        self.client().remote()
    }

    /// The address of ours that the client sent to, if it is known.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.client().local()
    }

    /// Whether the client proved, by a token, that it receives what is sent to its address (RFC 9000 §8.1).
    pub fn is_validated(&self) -> bool {
        self.client().is_validated()
    }

    /// Whether the client may be asked for such a proof by [`retry`](Self::retry), which happens once at most.
    pub fn may_retry(&self) -> bool {
        self.client().may_retry()
    }

    /// The QUIC version that the client speaks.
    pub fn version(&self) -> Version {
        self.client().version()
    }

    /// The id that the client chose for the server in its very first packet.
    pub fn original_dcid(&self) -> Cid {
        self.client().original_dcid()
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("invariant: the client is taken by methods that consume the value")
    }

    fn refuse_in_place(&mut self) {
        if let Some(client) = self.client.take() {
            let mut guard = self.shared.lock();
            guard.endpoint.refuse(client);
            guard.needs_driver();
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.refuse_in_place();
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("client", &self.client).finish_non_exhaustive()
    }
}

impl IntoFuture for Incoming {
    type Output = Result<Connection, ConnectionError>;
    type IntoFuture = IncomingFuture;

    /// Accepts the client. If it cannot be accepted, the future is ready with a transport error of this side.
    fn into_future(self) -> IncomingFuture {
        IncomingFuture(self.accept())
    }
}

/// Waits for the handshake with a client that was accepted.
#[derive(Debug)]
#[must_use = "the connection is closed when this is dropped"]
pub struct IncomingFuture(Result<Connecting, AcceptError>);

impl Future for IncomingFuture {
    type Output = Result<Connection, ConnectionError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(connecting) => Pin::new(connecting).poll(cx),
            Err(error) => {
                let code = TransportErrorCode::CONNECTION_REFUSED;
                Poll::Ready(Err(TransportError::new(code, error.to_string()).into()))
            }
        }
    }
}
