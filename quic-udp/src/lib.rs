//! The socket layer under the adapters: batches of datagrams in, batches out.
//!
//! Owns [`Socket`], a UDP socket of whatever kind the adapter's event loop wants, with the offloads that quinn-udp finds on the platform;
//! [`ReceiveBatch`] and [`SendBatch`], the buffers that every system call fills or empties again; and [`os`], what an adapter takes from the
//! operating system beside.
//!
//! - **Sending**: up to 64 datagrams of one size leave in one system call (GSO). Where the kernel, the device or the path refuses, the batch
//!   that was refused leaves as single datagrams, and later ones are not batched any more.
//! - **Receiving**: one system call takes up to 16 messages (`recvmmsg`), or 4 large ones, each of up to 64 datagrams that the kernel put
//!   together (GRO). The protocol decrypts them where they lie.
//! - ECN codepoints and the address of ours that a datagram went to (`pktinfo`) are passed both ways; nothing is fragmented on the way.
//!
//! Where the system can, datagrams leave at the times that they name ([`Socket::new`]).
//!
//! [`rhythm`] has the measures that all adapters share: how much is received, handed out and sent in a turn; [`dialogue`] tells when a thread
//! had better look at its socket again than sleep.
//!
//! [`Shards`] spread the connections of one port over several sockets, one for each core.
//!
//! Nothing here blocks, waits, or knows a runtime: [`Socket::try_receive`] and [`Socket::try_send`] say
//! [`WouldBlock`](std::io::ErrorKind::WouldBlock), and the adapter knows how to hear when that is over.
//!
//! ```
//! use quic_udp::{ReceiveBatch, SendBatch, Socket};
//! use quic_proto::net::Transmit;
//!
//! let new = || Socket::new(quic_udp::bind("127.0.0.1:0".parse().unwrap())?, None, |socket| Ok(socket));
//! let (a, b) = (new()?, new()?);
//! let mut out = SendBatch::new();
//! let path = a.path_to(b.local_addr()).expect("both are IPv4");
//! out.fill(|buf| {
//!     buf[..5].copy_from_slice(b"hello");
//!     Some(Transmit::single(path, 5))
//! });
//! a.try_send(&mut out)?;
//!
//! let mut batch = ReceiveBatch::new();
//! while b.try_receive(&mut batch).is_err() {} // an event loop would wait
//! let datagram = batch.next_datagram().expect("it came");
//! assert_eq!((&*datagram.payload, datagram.path.remote), (&b"hello"[..], a.local_addr()));
//! assert_eq!(b.stats().received_datagrams, 1);
//! # Ok::<(), std::io::Error>(())
//! ```

#![deny(unsafe_code)]

mod address;
#[cfg(target_os = "linux")]
mod departures;
#[cfg(not(target_os = "linux"))]
#[path = "departures_elsewhere.rs"]
mod departures;
pub mod dialogue;
pub mod os;
mod receive;
pub mod rhythm;
mod send;
mod shards;
mod socket;
#[cfg(target_os = "linux")]
mod sockopt;
mod stats;
#[cfg(target_os = "linux")]
mod timestamps;

pub use receive::ReceiveBatch;
pub use send::SendBatch;
pub use shards::{Shards, bind_group, steer};
pub use socket::{AsUdp, NoDepartureTimes, Socket, bind};
pub use stats::SocketStats;
