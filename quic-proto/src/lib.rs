//! QUIC as a pure state machine: datagrams and a time go in; datagrams, a deadline and events come out.
//!
//! There is no socket in here, no clock, no thread and no hidden randomness: the caller owns all of them. The same inputs and the same seed
//! give the same outputs. [QUIC v1](https://www.rfc-editor.org/rfc/rfc9000) and [v2](https://www.rfc-editor.org/rfc/rfc9369) with TLS 1.3
//! by rustls; and Google's Q044 with its own handshake (`gquic`).
//!
//! # The contract
//!
//! An [`Endpoint`] holds all connections of one socket. Call any `&mut` method as often as you like, in any order; then
//!
//! 1. [`poll_transmit`](Endpoint::poll_transmit) until `None`, and send what it writes;
//! 2. [`poll_incoming`](Endpoint::poll_incoming) and [`poll_event`](Endpoint::poll_event) until `None`, and act on them;
//! 3. sleep until [`next_timeout`](Endpoint::next_timeout) or until a datagram comes, then call
//!    [`handle_timeout`](Endpoint::handle_timeout) or [`handle_datagram`](Endpoint::handle_datagram), and begin again.
//!
//! Forgetting to poll delays work; it never loses or corrupts it. What the application does to a connection (open, write, read, close)
//! takes effect in the next round. A `now` that goes backwards is clamped. Nothing panics, whatever a peer sends.
//!
//! # A complete loop
//!
//! Two endpoints in one thread; an array of datagrams stands for the sockets and a counter for the clock.
//!
//! ```
//! use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
//! use quic_proto::crypto::null::{NullClient, NullServer}; // no security: see `crypto::rustls` for TLS
//! use quic_proto::endpoint::Endpoint;
//! use quic_proto::event::{Event, StreamEvent};
//! use quic_proto::id::Dir;
//! use quic_proto::net::{Datagram, FourTuple};
//! use quic_proto::rng::SeededRng;
//! use quic_proto::time::{Duration, Instant, UnixTime};
//! use std::{num::NonZeroUsize, sync::Arc};
//!
//! let alpn = vec![b"echo".to_vec()];
//! let tls = NullServer { alpn: alpn.clone(), ..NullServer::default() };
//! let server = ServerConfig::new(Arc::new(tls), &[1; 32]).build()?;
//! let (epoch, mut now) = (UnixTime::from_secs(1_700_000_000), Instant::EPOCH);
//! let endpoint = |server, seed| Endpoint::new(EndpointConfig::new(&[2; 32]), server, Box::new(SeededRng::from_u64(seed)), epoch);
//! let addresses = ["[::1]:4433", "[::1]:50000"].map(|address| address.parse().expect("an address"));
//! let mut ends = [endpoint(Some(server), 1), endpoint(None, 2)];
//! let client = ClientConfig::new(Arc::new(NullClient { alpn, ..NullClient::default() }));
//! ends[1].connect(now, FourTuple::to(addresses[0]), "localhost", &client)?;
//! let (mut buf, mut answer) = (vec![0; 64 * 1500], Vec::new());
//!
//! while answer != b"hello" {
//!     for me in [0, 1] {
//!         while let Some(transmit) = ends[me].poll_transmit(now, &mut buf, NonZeroUsize::new(64).unwrap()) {
//!             for datagram in transmit.datagrams(&buf) {
//!                 let path = FourTuple { local: Some(addresses[1 - me]), remote: addresses[me] };
//!                 let payload = &mut datagram.to_vec()[..];
//!                 ends[1 - me].handle_datagram(now, Datagram { path, ecn: transmit.ecn, payload });
//!             }
//!         }
//!         while let Some(incoming) = ends[me].poll_incoming() {
//!             ends[me].accept(now, incoming)?;
//!         }
//!         while let Some((handle, event)) = ends[me].poll_event() {
//!             let Some(connection) = ends[me].connection(handle) else { continue };
//!             match event {
//!                 Event::Connected if me == 1 => {
//!                     let id = connection.open(Dir::Bi).expect("the peer permits a stream");
//!                     connection.send_stream(id)?.write(b"hello")?;
//!                     connection.send_stream(id)?.finish()?;
//!                 }
//!                 Event::Stream(StreamEvent::Opened(dir)) => {
//!                     while let Some(id) = connection.accept(dir) {
//!                         let mut data = [0; 100];
//!                         let read = connection.recv_stream(id)?.read(&mut data)?;
//!                         connection.send_stream(id)?.write(&data[..read.len])?;
//!                     }
//!                 }
//!                 Event::Stream(StreamEvent::Readable(id)) if me == 1 => {
//!                     answer.extend(connection.recv_stream(id)?.read_bytes(100)?.unwrap_or_default());
//!                 }
//!                 _ => {}
//!             }
//!         }
//!         if ends[me].next_timeout().is_some_and(|deadline| deadline <= now) {
//!             ends[me].handle_timeout(now);
//!         }
//!     }
//!     now += Duration::from_millis(1);
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to find what
//!
//! | for | see |
//! | --- | --- |
//! | connections on one socket | [`endpoint`]: [`Endpoint`], or [`Router`](endpoint::Router) for connections on tasks of their own |
//! | one connection, its streams | [`connection`], [`streams`] |
//! | settings | [`config`] |
//! | TLS | [`crypto::rustls`]; [`crypto::null`] for tests |
//! | what happened, what went wrong | [`event`], [`error`], [`ConnectionStats`](connection::ConnectionStats) |
//! | how it works inside | `ARCHITECTURE.md`; [`engine`], [`ietf`], `gquic`, [`recovery`], [`congestion`] |
//!
//! # What may change
//!
//! The modules of all but the last row are the interface: between versions that Cargo takes for compatible they only grow, as those of
//! [`id`], [`net`], [`time`], [`rng`] and [`cid`] that they are made of. What is inside is public so that it can be read here, tested and
//! measured from outside; it changes with any version.
#![forbid(unsafe_code)]
#![warn(clippy::iter_over_hash_type)]

pub mod error;
pub mod event;
pub mod id;
pub mod net;
pub mod rng;
pub mod time;
pub mod timer;

pub mod cid;
pub mod codec;
pub mod config;
pub mod congestion;
pub mod connection;
pub mod crypto;
pub mod endpoint;
pub mod engine;
pub mod flow;
#[cfg(feature = "gquic")]
pub mod gquic;
pub mod ietf;
pub mod invariants;
pub mod path;
pub mod recovery;
pub mod streams;
pub mod util;

pub use connection::Connection;
pub use endpoint::Endpoint;
