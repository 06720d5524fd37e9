//! How an endpoint names its connections and answers datagrams that belong to none.
//!
//! Owns [`EndpointConfig`]. Invariant: all connection ids of one endpoint have one length, as packets with short headers do not say
//! how long theirs is (RFC 9000 §17.3.1). Timers: none.

use super::{ConfigError, check_versions, in_range};
use crate::cid::{CidGenerator, RandomCids};
use crate::crypto::token::ResetKey;
use crate::id::MAX_CID_LEN;
use crate::invariants::{Version, spec};
use crate::time::Duration;
use smallvec::{SmallVec, smallvec};
use std::fmt;
use std::sync::Arc;

/// The length of the ids that `RandomCids` makes by default, in bytes: a guess hits one of a million connections once in 2^44 tries.
const DEFAULT_CID_LEN: usize = 8;

/// How long adapters stay awake for an answer by default. On a virtual machine a thread takes up to 100 µs to be put to sleep and woken again, at
/// each end.
const DEFAULT_BUSY_POLL: Duration = Duration::from_micros(200);

/// How an endpoint behaves towards everybody.
#[derive(Clone)]
pub struct EndpointConfig {
    pub(crate) cids: Arc<dyn CidGenerator>,
    pub(crate) cid_len: usize,
    pub(crate) reset_key: ResetKey,
    pub(crate) max_udp_payload_size: u64,
    pub(crate) versions: SmallVec<[Version; 2]>,
    pub(crate) grease_version_negotiation: bool,
    pub(crate) resets_per_second: u32,
    pub(crate) departure_times: bool,
    pub(crate) busy_poll: Duration,
}

impl EndpointConfig {
    /// An endpoint with random connection ids of 8 bytes and defaults for the rest. From `reset_secret` stateless reset tokens are
    /// derived: an endpoint that restarts with the same secret can tell old peers that it lost their connections (RFC 9000 §10.3.2).
    pub fn new(reset_secret: &[u8; 32]) -> Self {
        Self {
            cids: Arc::new(RandomCids::default()),
            cid_len: DEFAULT_CID_LEN,
            reset_key: ResetKey::new(reset_secret),
            max_udp_payload_size: 65527,
            versions: smallvec![Version::V1],
            grease_version_negotiation: true,
            resets_per_second: 100,
            departure_times: false,
            busy_poll: DEFAULT_BUSY_POLL,
        }
    }

    /// Random connection ids of `len` bytes, 0 to 20. With 0 the endpoint tells its connections apart by the peer's address: enough
    /// for a client, not for a server whose clients move.
    #[must_use]
    pub fn random_cids(self, len: usize) -> Self {
        // Too long a length is kept for `build()` to refuse, which comes before the generator is used.
        let ids = RandomCids::new(len).unwrap_or_default();
        Self { cid_len: len, ..self.cids(Arc::new(ids)) }
    }

    /// Connection ids by the application's own generator.
    #[must_use]
    pub fn cids(mut self, generator: Arc<dyn CidGenerator>) -> Self {
        self.cid_len = generator.len();
        self.cids = generator;
        self
    }

    /// The largest UDP payload that this endpoint can receive, in bytes, 1200 to 65527 (RFC 9000 §18.2). Default: 65527.
    #[must_use]
    pub fn max_udp_payload_size(mut self, bytes: u64) -> Self {
        self.max_udp_payload_size = bytes;
        self
    }

    /// The versions with TLS that a server accepts, the preferred one first; those of other
    /// [families](super::ServerConfig::family) come behind. Default: version 1 (RFC 9000).
    ///
    /// A client that begins with one of these is answered in the first of them that it speaks too: versions 1 and 2 need no round trip to change
    /// (RFC 9369 §4.1). So a list of version 2 and version 1 takes both and prefers version 2, and one of version 1 and version 2 has only those
    /// clients speak version 2 that have no other. A client that begins with a version not on the list is told all of them in this order, and
    /// begins anew with the one that it likes best.
    ///
    /// In the handshake it is told them again, so that nobody else can have named others (RFC 9368 §4). Where several servers share an address, a
    /// client may hear of a version from one and meet another that has it not: RFC 9368 §5 says in which steps versions are added and
    /// removed then. This list is all three of the sets of which it speaks.
    #[must_use]
    pub fn versions(mut self, versions: &[Version]) -> Self {
        self.versions = SmallVec::from_slice(versions);
        self
    }

    /// Whether Version Negotiation packets, and what each end tells the other in the handshake about its versions, name a reserved version too,
    /// so that peers keep ignoring what they do not know (RFC 9000 §6.3, RFC 9368 §3). Default: yes.
    #[must_use]
    pub fn grease_version_negotiation(mut self, on: bool) -> Self {
        self.grease_version_negotiation = on;
        self
    }

    /// How many stateless resets are sent in a second at most, 0 for none at all. RFC 9000 §10.3.3 asks for a limit, lest two
    /// endpoints reset each other for ever. Default: 100.
    #[must_use]
    pub fn resets_per_second(mut self, count: u32) -> Self {
        self.resets_per_second = count;
        self
    }

    /// Whether the socket can hold datagrams back until a time that each names ([`Transmit::departure`](crate::net::Transmit::departure);
    /// `SO_TXTIME` on Linux). The pacer hands out what may leave within the next milliseconds ahead of time then: it is spaced more finely
    /// than a timer of the application could, and wakes the application up less often. Default: no.
    ///
    /// The adapters ask the system for it, and fail to make an endpoint where there is no such thing. Linux has it, but *keeps to the times
    /// only if the queueing discipline of the interface does* (`fq`); others send at once, which is as good as no pacing within these
    /// milliseconds, and takes round trips for shorter by as much. See `Socket::new` of `quic-udp`.
    #[must_use]
    pub fn departure_times(mut self, on: bool) -> Self {
        self.departure_times = on;
        self
    }

    /// Whether datagrams may name [times to leave at](Self::departure_times).
    pub fn has_departure_times(&self) -> bool {
        self.departure_times
    }

    /// For how long, at most, an adapter looks for an answer before it lets its thread sleep; zero: never; up to a second.
    /// Default: 200 µs.
    ///
    /// To put a thread to sleep and to wake it takes longer than a peer nearby takes to answer a short request. So an adapter stays awake after
    /// it has sent something, but only for a peer that has answered within this time lately, several times in a row, in a few short datagrams, and
    /// only if the thread has nothing else to do. It never does so in a bulk transfer, nor between many peers that talk at once, nor while
    /// nobody talks. Meanwhile the processor is busy: a conversation that would keep it busy by half fills it, with more requests in the
    /// same time. Zero is for those who count processor time rather than latency.
    #[must_use]
    pub fn busy_poll(mut self, limit: Duration) -> Self {
        self.busy_poll = limit;
        self
    }

    /// How long an adapter may stay awake for an answer: [`busy_poll`](Self::busy_poll).
    pub fn busy_poll_limit(&self) -> Duration {
        self.busy_poll
    }

    /// Checks all values.
    ///
    /// # Errors
    /// If a value is outside the range that its setter names.
    pub fn build(self) -> Result<Self, ConfigError> {
        self.validate()?;
        Ok(self)
    }

    /// What [`build`](Self::build) checks.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        in_range("the length of connection ids", self.cid_len as u64, 0, MAX_CID_LEN as u64)?;
        in_range("max_udp_payload_size in bytes", self.max_udp_payload_size, 1200, 65527)?;
        let busy_poll = u64::try_from(self.busy_poll.as_micros()).unwrap_or(u64::MAX);
        in_range("busy_poll in microseconds", busy_poll, 0, 1_000_000)?;
        check_versions(&self.versions, |version| spec(version).is_some())
    }
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("cid_len", &self.cid_len)
            .field("max_udp_payload_size", &self.max_udp_payload_size)
            .field("versions", &self.versions)
            .field("grease_version_negotiation", &self.grease_version_negotiation)
            .field("resets_per_second", &self.resets_per_second)
            .field("departure_times", &self.departure_times)
            .field("busy_poll", &self.busy_poll)
            .finish_non_exhaustive()
    }
}
