//! The version-blind engine of a connection.
//!
//! It owns everything that does not depend on how a packet looks: streams and flow control, loss recovery and congestion control,
//! paths, connection ids, the idle timer and the life of the connection. A protocol family sits on top. On the way in it turns
//! each frame into one of the engine's [`verbs`]; on the way out it asks for [`intents`] and stream data and writes them as its own
//! frames, then reports what the packet carried. The engine never sees a header, a key or a frame type.
//!
//! Invariants: `recovery` knows every packet that is in flight; each token that a packet carried goes back to its owner exactly once as
//! acknowledged or lost (a late acknowledgement may follow a loss); after `close` no stream frame leaves.
//!
//! Timers: all in one [`TimerTable`]; `Engine::rearm` sets the ones that follow from state, once a batch.

pub mod budget;
pub mod crypto_stream;
pub mod family;
pub mod intents;
pub mod lifecycle;
pub mod moves;
pub mod packet;
pub mod probes;
pub mod settle;
pub mod start;
pub mod stats;
mod timeouts;
pub mod verbs;
pub mod waits;

use crate::cid::{CidGenerator, LocalCids, PeerCids};
use crate::config::TransportConfig;
use crate::congestion;
use crate::crypto::token::ResetKey;
use crate::event::Event;
use crate::id::{Side, SpaceId};
use crate::path::{PathConfig, PathSet};
use crate::recovery::{AckTracker, Outcome, Recovery};
use crate::rng::Rng;
use crate::streams::Streams;
use crate::time::{Duration, Instant};
use crate::timer::TimerTable;
use crate::util::PerSpace;
use lifecycle::Lifecycle;
use smallvec::SmallVec;
use stats::{ConnectionStats, Counters, PathStats};
use std::collections::VecDeque;
use std::sync::Arc;
use waits::Waits;

/// What the peer told us about itself that the engine needs, in the terms of the engine.
#[derive(Clone, Copy, Debug)]
pub struct PeerTiming {
    /// The longest that the peer holds back an acknowledgement.
    pub max_ack_delay: Duration,
    /// The idle timeout that both sides agreed on; `None` is no timeout.
    pub idle_timeout: Option<Duration>,
    /// Keep-alives that are to be sent at all come at least this often; `None` leaves it to the settings.
    pub keep_alive: Option<Duration>,
}

/// The engine; see the module's documentation.
pub struct Engine {
    /// Which end this is.
    pub side: Side,
    /// The transport's settings.
    pub config: Arc<TransportConfig>,
    /// Streams with their flow control.
    pub streams: Streams,
    /// Sent packets, loss detection.
    pub recovery: Recovery,
    /// Received packet numbers, one tracker a space.
    pub acks: PerSpace<AckTracker>,
    /// The paths: the active one and those being validated.
    pub paths: PathSet,
    /// Ids that we issued.
    pub local_cids: LocalCids,
    /// Ids that the peer issued.
    pub peer_cids: PeerCids,
    /// What makes our ids.
    pub cid_generator: Arc<dyn CidGenerator>,
    /// What makes their reset tokens.
    pub reset_key: ResetKey,
    /// All deadlines.
    pub timers: TimerTable,
    /// Open, closing, draining or drained.
    pub lifecycle: Lifecycle,
    /// Counters for the application.
    pub stats: Counters,
    /// What the sender waits for.
    pub waits: Waits,
    /// This connection's randomness.
    pub rng: Box<dyn Rng>,
    /// Timing that the peer announced.
    pub timing: PeerTiming,
    /// Whether the handshake is confirmed (RFC 9001 §4.1.2).
    pub confirmed: bool,
    /// The peer's list of versions was followed once: no other one is believed.
    pub negotiated: bool,
    /// Whether there are handshake keys, which packets of the Handshake space need (RFC 9002 §6.2.2.1).
    pub has_handshake_keys: bool,
    /// Whether the peer is known to have validated our address (always true on a server), RFC 9002 §6.2.2.1.
    pub peer_validated_us: bool,
    /// All packets share the Data space.
    single_space: bool,
    path_config: PathConfig,
    path_challenges: bool,
    untold: Untold,
    events: VecDeque<Event>,
    outcome: Outcome,
    probe_tokens: Vec<crate::recovery::token::Token>,
    ping_owed: [bool; 3],
    challenges: SmallVec<[[u8; 8]; 2]>,
    last_activity: Instant,
    /// Whether the datagram that is being written leaves with an ECN mark. A whole batch does or does not, though the test of the path may
    /// end within it; ECN validation has to count what really was marked (RFC 9000 §13.4.2.1).
    pub marking: bool,
    /// When what is being written leaves: later than now where the socket holds it back. Packets are remembered with this time.
    pub departure: Instant,
    /// Packets came or went since the connection was last at rest.
    restless: bool,
    /// When the keep-alive timer was last due.
    kept_alive: Instant,
    /// The timers that follow from state are to be set anew.
    stale: bool,
    sent_since_receive: bool,
    now: Instant,
}

/// The steps of the handshake that the application has not heard of. Every connection takes each once, so that they need no memory in the queue of
/// events; they are told before what is in it.
#[derive(Default)]
struct Untold {
    connected: bool,
    confirmed: bool,
}

/// The parts that a family hands over when it makes an engine.
pub struct EngineParts {
    /// Which end this is.
    pub side: Side,
    /// See [`EngineRules`](start::EngineRules).
    pub single_space: bool,
    /// The transport's settings.
    pub config: Arc<TransportConfig>,
    /// The streams, configured.
    pub streams: Streams,
    /// Loss recovery, configured.
    pub recovery: Recovery,
    /// Ack trackers.
    pub acks: PerSpace<AckTracker>,
    /// The first path.
    pub paths: PathSet,
    /// What all paths begin with.
    pub path_config: PathConfig,
    /// See [`EngineRules`](start::EngineRules).
    pub path_challenges: bool,
    /// Ids that we issued.
    pub local_cids: LocalCids,
    /// Ids that the peer issued.
    pub peer_cids: PeerCids,
    /// What makes our ids.
    pub cid_generator: Arc<dyn CidGenerator>,
    /// What makes their reset tokens.
    pub reset_key: ResetKey,
    /// Randomness.
    pub rng: Box<dyn Rng>,
}

impl Engine {
    /// An engine at the start of a handshake.
    pub fn new(now: Instant, parts: EngineParts) -> Self {
        let idle_timeout = Some(parts.config.handshake_timeout);
        let mut engine = Self {
            side: parts.side,
            timing: PeerTiming { max_ack_delay: Duration::from_millis(25), idle_timeout, keep_alive: None },
            config: parts.config,
            streams: parts.streams,
            recovery: parts.recovery,
            acks: parts.acks,
            paths: parts.paths,
            path_config: parts.path_config,
            path_challenges: parts.path_challenges,
            local_cids: parts.local_cids,
            peer_cids: parts.peer_cids,
            cid_generator: parts.cid_generator,
            reset_key: parts.reset_key,
            timers: TimerTable::default(),
            lifecycle: Lifecycle::default(),
            stats: Counters::default(),
            waits: Waits::new(now),
            rng: parts.rng,
            confirmed: false,
            negotiated: false,
            has_handshake_keys: false,
            peer_validated_us: parts.side.is_server() || parts.single_space,
            single_space: parts.single_space,
            untold: Untold::default(),
            events: VecDeque::new(),
            outcome: Outcome::default(),
            probe_tokens: Vec::new(),
            ping_owed: [false; 3],
            challenges: SmallVec::new(),
            last_activity: now,
            marking: false,
            departure: now,
            restless: true,
            kept_alive: now,
            sent_since_receive: false,
            stale: false,
            now,
        };
        engine.rearm(now);
        engine
    }

    /// Takes note of the time; a `now` that goes backwards is clamped to the latest one seen.
    pub fn advance(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    /// When what was just written leaves, if that is after `now`.
    pub fn departure_after(&self, now: Instant) -> Option<Instant> {
        Some(self.departure).filter(|departure| *departure > now)
    }

    /// The latest time that any call brought.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Queues an event for the application. The engine's own events are few and happen once each; events of streams are kept by the
    /// streams, where each stream is queued at most once per kind, so that this queue is bounded.
    pub fn push_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.untold.connected = true,
            Event::HandshakeConfirmed => self.untold.confirmed = true,
            other => self.events.push_back(other),
        }
    }

    /// The next event. What happened on streams comes before the end of the connection, so that nothing that arrived is overlooked.
    pub fn poll_event(&mut self) -> Option<Event> {
        if std::mem::take(&mut self.untold.connected) {
            return Some(Event::Connected);
        }
        if std::mem::take(&mut self.untold.confirmed) {
            return Some(Event::HandshakeConfirmed);
        }
        if !matches!(self.events.front(), None | Some(Event::Closed(_))) {
            return self.pop_event();
        }
        self.streams.poll_event().map(Event::Stream).or_else(|| self.pop_event())
    }

    fn pop_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if self.events.is_empty() {
            // They are few in the life of a connection, which keeps no memory for them.
            self.events = VecDeque::new();
        }
        Some(event)
    }

    /// Whether nothing has happened for so long that all memory went that was only kept to be fast.
    pub fn is_at_rest(&self) -> bool {
        !self.restless
    }

    /// Asks for a PING in `space` with the next packet.
    pub fn ping(&mut self, space: SpaceId) {
        self.ping_owed[space as usize] = true;
    }

    /// Whether a PING is owed in `space`.
    pub fn ping_owed(&self, space: SpaceId) -> bool {
        self.ping_owed[space as usize]
    }

    /// An ack-eliciting packet left in `space`; no PING is needed on top of it.
    pub fn ping_sent(&mut self, space: SpaceId) {
        self.ping_owed[space as usize] = false;
    }

    /// Issues ids to the peer, as many as it wants to keep.
    pub fn issue_cids(&mut self) {
        let key = &self.reset_key;
        self.local_cids.top_up(&*self.cid_generator, &mut *self.rng, &mut |cid| key.token(cid));
    }

    /// The probe timeout of the active path with the peer's ack delay, without back-off (RFC 9002 §6.2.1).
    pub fn pto(&self) -> Duration {
        self.paths.active().rtt.pto_base() + self.timing.max_ack_delay
    }

    /// The counters, with the state of the active path.
    pub fn stats(&self) -> ConnectionStats {
        let path = self.paths.active();
        let rtt = &path.rtt;
        let path = PathStats {
            rtt: rtt.smoothed(),
            min_rtt: rtt.min(),
            rtt_var: rtt.var(),
            window: path.cc.window(),
            in_flight: self.recovery.bytes_in_flight(),
            pacing_rate: if self.config.pacing {
                congestion::pacing_rate(&*path.cc, rtt.smoothed())
            } else {
                0
            },
            mtu: path.mtu.current(),
            controller: path.cc.name(),
        };
        let memory =
            self.acks.memory() + self.recovery.memory() + self.streams.memory() + self.paths.memory();
        ConnectionStats {
            counters: self.stats,
            waited: self.waits.until(self.now),
            buffers: self.streams.memory_used() as u64,
            memory: memory as u64,
            path,
        }
    }
}
