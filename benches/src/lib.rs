//! What two connections cost in one thread and in virtual time, by quic-proto and by quinn-proto.
//!
//! [`link`] owns the clock and the wires, [`workloads`] the applications, [`ours`] and [`theirs`] put the two libraries below them, [`tls`] is
//! rustls alone, [`counting`] counts the heap. [`drivers`] is apart: servers on
//! real sockets, for `bin/tasks.rs`. Both libraries are set up alike: the same cipher suite, windows, datagram size, batch size
//! and congestion control; the only differences are those of their interfaces, which the README lists.

pub mod counting;
pub mod drivers;
pub mod library;
pub mod link;
pub mod ours;
pub mod theirs;
pub mod tls;
pub mod workloads;

/// Bytes that a stream may have under way: both libraries get the same.
pub const STREAM_WINDOW: u32 = 1_250_000;
/// Bytes that a connection may have under way.
pub const CONNECTION_WINDOW: u32 = 15_000_000;
/// Bytes that a sender may have written and not yet acknowledged.
pub const SEND_BUFFER: u32 = 10_000_000;
/// Streams that the peer may have open at once.
pub const STREAMS: u32 = 256;
/// Datagrams that are handed over at once, as with UDP segmentation offload.
pub const BATCH: usize = 64;
/// The name of the server.
pub const SERVER_NAME: &str = "localhost";
/// The application's protocol.
pub const ALPN: &[u8] = b"bench";

/// The data that is sent, again and again. Long enough that no write is cut short by it often.
pub static SOURCE: [u8; 64 << 10] = [0x5a; 64 << 10];

/// How long the answer to a request of `bin/tasks.rs` is.
pub fn answer_len(request: &[u8]) -> u64 {
    request.try_into().map_or(0, u64::from_be_bytes)
}

/// A self-signed certificate and its key in DER.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: Vec<u8>,
    /// The private key (PKCS #8).
    pub key: Vec<u8>,
}

impl Certificate {
    /// A new one for [`SERVER_NAME`].
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(vec![SERVER_NAME.into()]).expect("a certificate");
        Self { chain: made.cert.der().to_vec(), key: made.signing_key.serialize_der() }
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
