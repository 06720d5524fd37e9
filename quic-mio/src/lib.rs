//! QUIC for an event loop on mio.
//!
//! An [`Endpoint`] is one more source in your [`Poll`](mio::Poll), beside TCP listeners, pipes and timers of your own. It never blocks, starts
//! no thread and knows no runtime; all of the protocol is in [`quic_proto`], whose [`Connection`] you use directly.
//!
//! # The loop
//!
//! 1. `poll`, for as long as [`next_timeout`](Endpoint::next_timeout) allows;
//! 2. show the endpoint its [events](Endpoint::on_event);
//! 3. [`drive`](Endpoint::drive) it until it returns `None`, and act on what it tells.
//!
//! What you do to a connection leaves with the end of step 3, so let it come last. An echo of everything that a client sends:
//!
//! ```
//! use mio::{Events, Poll, Token};
//! use quic_mio::{Endpoint, Occurrence};
//! use quic_proto::event::{Event, StreamEvent};
//! use std::time::Instant;
//!
//! const QUIC: Token = Token(0);
//!
//! fn serve(mut poll: Poll, mut endpoint: Endpoint) -> std::io::Result<()> {
//!     endpoint.register(poll.registry(), QUIC)?;
//!     let mut events = Events::with_capacity(64);
//!     loop {
//!         poll.poll(&mut events, endpoint.next_timeout(Instant::now()))?;
//!         for event in &events {
//!             endpoint.on_event(event); // or another source's, by its token
//!         }
//!         let now = Instant::now();
//!         while let Some(occurrence) = endpoint.drive(now)? {
//!             match occurrence {
//!                 Occurrence::Incoming(client) => drop(endpoint.accept(now, client)),
//!                 Occurrence::Event(handle, Event::Stream(StreamEvent::Opened(dir))) => {
//!                     let Some(connection) = endpoint.connection(handle) else { continue };
//!                     while let Some(id) = connection.accept(dir) {
//!                         // read and write: `examples/echo_server.rs` has it all
//! #                       let _ = id;
//!                     }
//!                 }
//!                 _ => {}
//!             }
//!         }
//! #       if true { return Ok(()) }
//!     }
//! }
//! # let tls = quic_proto::crypto::null::NullServer::default();
//! # let config = quic_proto::config::ServerConfig::new(std::sync::Arc::new(tls), &[1; 32]).build().unwrap();
//! # let endpoint = Endpoint::server(config, "127.0.0.1:0".parse().unwrap())?;
//! # let poll = Poll::new()?;
//! # let waker = mio::Waker::new(poll.registry(), Token(1))?;
//! # waker.wake()?;
//! # serve(poll, endpoint)?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! `examples/` has an echo server, a client that fetches files, and a proxy that serves TCP and QUIC in one loop.
//!
//! # Threads
//!
//! An endpoint belongs to the thread of its loop. Other threads hold a [`Remote`]: it has the loop look at a connection, after they have put
//! what is to be done where the loop finds it.
//!
//! # What arrives late
//!
//! [`Event::Closed`](quic_proto::event::Event::Closed) is the last event of a connection, and [`Occurrence::Gone`] ends its handle. What came
//! and was not read can be read after either.

mod endpoint;
mod remote;

pub use endpoint::{ConnectError, Endpoint, Occurrence};
pub use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
pub use quic_proto::connection::{Connection, ConnectionStats, HandshakeInfo};
pub use quic_proto::endpoint::{AcceptError, ConnectionHandle, Incoming, RouterStats};
pub use quic_proto::error::{AppError, ConnectionError};
pub use quic_proto::id::StreamId;
pub use quic_udp::SocketStats;
pub use remote::Remote;
