//! QUIC for tokio: endpoints, connections and streams that are awaited.
//!
//! This crate owns a socket, a clock and wakers; all of the protocol is in [`quic_proto`], whose configuration and error types appear
//! here as they are. Who knows quinn will find their way: [`Endpoint`], [`Incoming`], [`Connecting`], [`Connection`], [`SendStream`],
//! [`RecvStream`].
//!
//! ```no_run
//! use quic_proto::{config::ClientConfig, crypto::rustls, error::AppError};
//! use quic_tokio::Endpoint;
//! use std::sync::Arc;
//!
//! # async fn example(roots: ::rustls::RootCertStore) -> Result<(), Box<dyn std::error::Error>> {
//! let tls = rustls::client_config(roots, &[b"hq-interop"])?;
//! let mut endpoint = Endpoint::client("[::]:0".parse()?)?;
//! endpoint.set_default_client_config(ClientConfig::new(Arc::new(tls)));
//!
//! let connection = endpoint.connect("192.0.2.1:443".parse()?, "example.org")?.await?;
//! let (mut send, mut recv) = connection.open_bi().await?;
//! send.write_all(b"GET /index.html\r\n").await?;
//! send.finish()?;
//! let page = recv.read_to_end(1 << 20).await?;
//!
//! connection.close(AppError::from(0), b"done");
//! endpoint.wait_idle().await;
//! # drop(page);
//! # Ok(())
//! # }
//! ```
//!
//! # What dropping means
//!
//! | dropped | effect |
//! | --- | --- |
//! | [`SendStream`] | the stream is finished, unless it was finished or reset |
//! | [`RecvStream`] | the stream is stopped with code 0, unless its end was read |
//! | the last handle of a connection, its streams' included | graceful close with code 0: what was finished is delivered |
//! | [`Connecting`] | the connection is closed |
//! | [`Incoming`] | the client is refused |
//! | the last [`Endpoint`] handle | no client is accepted any more; open connections go on |
//! | any future before it is ready | nothing is lost, except in `write_all`, `write_chunk`, `read_exact` and `read_to_end`, which say what is |
//!
//! # One task drives an endpoint
//!
//! A single task moves everything between an endpoint's socket and its connections. Each batch from the socket is read by one system
//! call, costs one look at the clock and one lock, and wakes the tasks that wait for what is in it afterwards; deadlines of all
//! connections share one timer. Tasks of the application take the same lock to read and write, so that bytes pass between them and the
//! protocol without a channel, and wake the driver only when a connection that had nothing to send has something now.
//!
//! With a task for each connection every datagram would cross from the task that reads the socket to the connection's: a queue, its
//! memory, a wake-up and a switch for each batch of a connection, and received datagrams could not be decrypted in the buffer that they
//! were received in, which is needed for the next. Answers would come from as many tasks as there are connections, or cross back. What
//! that buys is that connections of one socket use several cores. Here an endpoint that is to use several cores has a shard for each: a
//! socket of its own on the same port, a task that drives it, and a lock that no other shard takes ([`Endpoint::sharded`]).
//!
//! What an endpoint holds is bounded by its configuration: there is no channel at all, so no unbounded one.

mod connection;
mod driver;
mod endpoint;
mod error;
mod incoming;
mod recv_stream;
mod send_stream;
mod shards;
mod socket;
mod state;
mod wakers;

pub use connection::{Connecting, Connection};
pub use endpoint::Endpoint;
pub use error::{
    ClosedStream, ConnectError, ExportError, ReadError, ReadExactError, ReadToEndError, RetryError,
    WriteError,
};
pub use incoming::{Incoming, IncomingFuture};
pub use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
pub use quic_proto::connection::{ConnectionStats, HandshakeInfo};
pub use quic_proto::endpoint::{AcceptError, RouterStats};
pub use quic_proto::error::{AppError, ConnectionError};
pub use quic_proto::id::StreamId;
pub use quic_udp::SocketStats;
pub use recv_stream::RecvStream;
pub use send_stream::SendStream;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct ReadmeDoctests;
