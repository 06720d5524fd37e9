//! Nodes, the links between them, and virtual time.
//!
//! Owns [`Network`]. Invariants: time never goes back; each step handles one event or one deadline, and then every node has been
//! polled until it had nothing more to send; all randomness comes from the seed. Timers: the agenda (datagrams on their way, wires
//! that become free, actions) and the nodes' own deadlines. Of things due at one instant, the agenda goes first and then the nodes
//! in the order of their numbers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

use quic_proto::net::{Datagram, FourTuple, Transmit};
use quic_proto::rng::{Rng, SeededRng};
use quic_proto::time::Instant;

use crate::agenda::Agenda;
use crate::checker::{Checker, Limits, Pulse, View, Violation, deadline_is_not_past};
use crate::link::{Effect, Link, LinkId, LinkStats, RunningLink};
use crate::nat::{Nat, Rebind};
use crate::node::{Node, NodeId};
use crate::packet::{Packet, Pool};
use crate::trace::{Fate, Trace};
use crate::units::Probability;

/// Why a run ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The goal was reached.
    Reached,
    /// Nothing is on its way and no node has a deadline.
    Idle,
    /// The limit of virtual time was reached.
    OutOfTime,
    /// The limit of steps was reached.
    OutOfSteps,
    /// Something that must not be.
    Violation(Violation),
}

type Action<N> = Box<dyn FnOnce(&mut Network<N>)>;

enum Event<N> {
    /// The wire of this link is free again.
    WireFree(LinkId),
    /// The node's datagram leaves, which named this time.
    Departure(Packet),
    /// The packet is at the end of its current link.
    Arrival(Packet),
    /// Something that the user scheduled.
    Action(Action<N>),
}

/// What the network knows about a node besides the node itself.
struct Seat {
    primary: SocketAddr,
    deadline: Option<Instant>,
    pulse: Pulse,
    dirty: bool,
}

/// A deterministic network: the same nodes, links and seed give the same trace.
///
/// [`Scenario`](crate::Scenario) builds the usual ones; this is for topologies of your own. Add nodes and links, join addresses by
/// routes, then [`run`](Self::run).
pub struct Network<N> {
    now: Instant,
    agenda: Agenda<Event<N>>,
    nodes: Vec<N>,
    seats: Vec<Seat>,
    owners: BTreeMap<SocketAddr, NodeId>,
    nats: BTreeMap<SocketAddr, Nat>,
    /// Every address that ever led to a NAT, with the address inside.
    outsides: BTreeMap<SocketAddr, SocketAddr>,
    links: Vec<RunningLink>,
    routes: BTreeMap<(SocketAddr, SocketAddr), Arc<[LinkId]>>,
    rng: SeededRng,
    limits: Limits,
    segments: NonZeroUsize,
    spurious: Probability,
    checkers: Vec<Box<dyn Checker<N>>>,
    trace: Trace,
    steps: u64,
    touched: Option<NodeId>,
    violation: Option<Violation>,
    buffer: Vec<u8>,
    effects: Vec<Effect>,
    pool: Pool,
}

impl<N: Node> Network<N> {
    /// An empty network at time zero.
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::EPOCH,
            agenda: Agenda::new(),
            nodes: Vec::new(),
            seats: Vec::new(),
            owners: BTreeMap::new(),
            nats: BTreeMap::new(),
            outsides: BTreeMap::new(),
            links: Vec::new(),
            routes: BTreeMap::new(),
            rng: SeededRng::from_u64(seed),
            limits: Limits::default(),
            segments: NonZeroUsize::MIN,
            spurious: Probability::NEVER,
            checkers: Vec::new(),
            trace: Trace::default(),
            steps: 0,
            touched: None,
            violation: None,
            buffer: vec![0; 1 << 16],
            effects: Vec::new(),
            pool: Pool::default(),
        }
    }

    // Building.

    /// Adds a node that owns `address`. The first step polls it.
    pub fn add_node(&mut self, address: SocketAddr, node: N) -> NodeId {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        self.seats.push(Seat { primary: address, deadline: None, pulse: Pulse::default(), dirty: true });
        self.owners.insert(address, id);
        id
    }

    /// Gives a node another address, for multi-homing and migration. It sends from it by naming it as
    /// [`Transmit::path`]'s local address; without a local address, datagrams leave from its first one.
    pub fn add_address(&mut self, node: NodeId, address: SocketAddr) {
        self.owners.insert(address, node);
    }

    /// Puts a NAT in front of a node's address: others see `outside` instead.
    pub fn add_nat(&mut self, inside: SocketAddr, outside: SocketAddr) {
        self.nats.insert(inside, Nat::new(outside));
        self.outsides.insert(outside, inside);
    }

    /// Adds one direction of a wire.
    pub fn add_link(&mut self, link: Link) -> LinkId {
        let id = LinkId(self.links.len());
        // A generator of its own: what happens on one link does not change the dice of another.
        self.links.push(RunningLink::new(link, self.rng.child()));
        id
    }

    /// Sends what goes from `from` to `to` over these links, in this order. Both are inside addresses, where there are NATs. An
    /// empty list delivers at once.
    pub fn route(&mut self, from: SocketAddr, to: SocketAddr, links: &[LinkId]) {
        self.routes.insert((from, to), links.into());
    }

    /// Joins two addresses by a link each way; the links' ids are in the same order.
    pub fn join(&mut self, a: SocketAddr, b: SocketAddr, there: Link, back: Link) -> (LinkId, LinkId) {
        let (there, back) = (self.add_link(there), self.add_link(back));
        self.route(a, b, &[there]);
        self.route(b, a, &[back]);
        (there, back)
    }

    /// Asserts this after every step.
    pub fn add_checker(&mut self, checker: impl Checker<N> + 'static) {
        self.add_boxed_checker(Box::new(checker));
    }

    pub(crate) fn add_boxed_checker(&mut self, checker: Box<dyn Checker<N>>) {
        self.checkers.push(checker);
    }

    /// Bounds the run. Call it before the first step.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.trace = Trace::keeping(limits.trace);
    }

    /// How many datagrams of equal size nodes may write at once; one by default.
    pub fn set_max_segments(&mut self, segments: NonZeroUsize) {
        self.segments = segments;
    }

    /// Calls [`Node::handle_timeout`] without need after some of the datagrams, which must be harmless.
    pub fn set_spurious_timeouts(&mut self, some: Probability) {
        self.spurious = some;
    }

    /// Calls `action` at `at`, or at once where that has passed.
    pub fn at(&mut self, at: Instant, action: impl FnOnce(&mut Self) + 'static) {
        self.agenda.push(at.max(self.now), Event::Action(Box::new(action)));
    }

    // Looking and touching.

    /// The virtual time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// All nodes; a [`NodeId`] is an index.
    pub fn nodes(&self) -> &[N] {
        &self.nodes
    }

    /// A node to change; the next step polls it. Panics if there is no such node.
    pub fn node_mut(&mut self, id: NodeId) -> &mut N {
        self.seats[id.0].dirty = true;
        &mut self.nodes[id.0]
    }

    /// The first address of a node. Panics if there is no such node.
    pub fn address(&self, id: NodeId) -> SocketAddr {
        self.seats[id.0].primary
    }

    /// Changes a link's properties (all but its queue), as in `net.reshape(UP, |link| link.rate(kbit(500)))`. Panics if there is no
    /// such link.
    pub fn reshape(&mut self, link: LinkId, change: impl FnOnce(Link) -> Link) {
        self.links[link.0].reshape(change);
    }

    /// Rebinds the NAT in front of an inside address; does nothing where there is none.
    pub fn rebind(&mut self, inside: SocketAddr, how: Rebind) {
        let Some(nat) = self.nats.get_mut(&inside) else { return };
        let (owners, outsides) = (&self.owners, &self.outsides);
        nat.rebind(how, |address| owners.contains_key(&address) || outsides.contains_key(&address));
        self.outsides.insert(nat.outside(), inside);
    }

    /// What happened so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// How many steps were made.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What a link did so far. Panics if there is no such link.
    pub fn link_stats(&self, link: LinkId) -> LinkStats {
        self.links[link.0].stats()
    }

    /// How many links there are.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// The nodes and the trace, when all is done.
    pub fn into_parts(self) -> (Vec<N>, Trace) {
        (self.nodes, self.trace)
    }

    // Running.

    /// Runs until `goal` holds after a step, nothing more happens, a limit is reached or something is wrong.
    pub fn run(&mut self, mut goal: impl FnMut(&View<'_, N>) -> bool) -> Outcome {
        let outcome = loop {
            if let Some(outcome) = self.step() {
                break outcome;
            }
            if goal(&self.view()) {
                break Outcome::Reached;
            }
        };
        if matches!(outcome, Outcome::Violation(_)) {
            return outcome;
        }
        self.check(|checker, view| checker.finish(view));
        self.violation.clone().map_or(outcome, Outcome::Violation)
    }

    /// Runs until `deadline`; the time is then exactly that, unless something is wrong.
    pub fn run_until(&mut self, deadline: Instant) -> Outcome {
        loop {
            self.poll_dirty();
            if self.violation.is_none() && self.next_time().is_none_or(|at| at > deadline) {
                self.now = self.now.max(deadline);
                return Outcome::Reached;
            }
            if let Some(outcome) = self.step() {
                return outcome;
            }
        }
    }

    /// Handles the next event or deadline; says so if the run is over.
    pub fn step(&mut self) -> Option<Outcome> {
        self.touched = None;
        self.poll_dirty();
        if let Some(violation) = &self.violation {
            return Some(Outcome::Violation(violation.clone()));
        }
        let Some(at) = self.next_time() else { return Some(Outcome::Idle) };
        if at > Instant::EPOCH + self.limits.time {
            return Some(Outcome::OutOfTime);
        }
        if self.steps >= self.limits.steps {
            return Some(Outcome::OutOfSteps);
        }
        self.steps += 1;
        self.now = self.now.max(at);
        if self.agenda.next_time().is_some_and(|next| next <= at) {
            self.handle_event();
        } else if let Some((_, id)) = self.next_deadline() {
            self.drive(id);
        }
        self.poll_dirty();
        self.check(|checker, view| checker.check(view));
        self.violation.clone().map(Outcome::Violation)
    }

    fn view(&self) -> View<'_, N> {
        let Self { now, ref nodes, touched, ref trace, steps, .. } = *self;
        View { now, nodes, touched, trace, steps }
    }

    fn next_deadline(&self) -> Option<(Instant, NodeId)> {
        let deadlines = self.seats.iter().enumerate();
        deadlines.filter_map(|(id, seat)| Some((seat.deadline?, NodeId(id)))).min()
    }

    fn next_time(&self) -> Option<Instant> {
        let deadline = self.next_deadline().map(|(at, _)| at);
        [self.agenda.next_time(), deadline].into_iter().flatten().min()
    }

    fn check(&mut self, mut ask: impl FnMut(&mut dyn Checker<N>, &View<'_, N>) -> Result<(), String>) {
        let mut checkers = std::mem::take(&mut self.checkers);
        let view = self.view();
        let wrong = checkers.iter_mut().find_map(|checker| ask(&mut **checker, &view).err());
        self.checkers = checkers;
        if let Some(what) = wrong {
            self.violate(self.touched, what);
        }
    }

    /// Notes the first violation; those that follow from it do not matter.
    fn violate(&mut self, node: Option<NodeId>, what: String) {
        self.violation.get_or_insert(Violation { time: self.now, node, what });
    }

    // Nodes.

    fn poll_dirty(&mut self) {
        for id in 0..self.seats.len() {
            if std::mem::take(&mut self.seats[id].dirty) {
                self.drive(NodeId(id));
            }
        }
    }

    /// Calls a node until it wants nothing more at this instant.
    fn drive(&mut self, id: NodeId) {
        self.touched = Some(id);
        if let Err(what) = self.try_drive(id) {
            self.violate(Some(id), what);
        }
    }

    fn try_drive(&mut self, id: NodeId) -> Result<(), String> {
        loop {
            let deadline = self.nodes[id.0].next_timeout();
            deadline_is_not_past(self.now, deadline)?;
            if deadline == Some(self.now) {
                self.seats[id.0].pulse.timeout(self.now, &self.limits)?;
                self.nodes[id.0].handle_timeout(self.now);
            }
            self.transmit(id)?;
            let deadline = self.nodes[id.0].next_timeout();
            deadline_is_not_past(self.now, deadline)?;
            if deadline != Some(self.now) {
                self.seats[id.0].deadline = deadline;
                return Ok(());
            }
        }
    }

    fn transmit(&mut self, id: NodeId) -> Result<(), String> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut result = Ok(());
        while let Some(transmit) = self.nodes[id.0].poll_transmit(self.now, &mut buffer, self.segments) {
            result = self.seats[id.0].pulse.transmit(self.now, &self.limits).and_then(|()| {
                if transmit.len > buffer.len() {
                    return Err(format!("it wrote {} bytes into a buffer of {}", transmit.len, buffer.len()));
                }
                let count = transmit.datagrams(&buffer).count();
                if count > self.segments.get() {
                    return Err(format!("it wrote {count} segments where {} were allowed", self.segments));
                }
                Ok(())
            });
            if result.is_err() {
                break;
            }
            if transmit.len == 0 {
                // An empty UDP datagram is a datagram.
                self.send(id, &transmit, &[]);
            }
            for payload in transmit.datagrams(&buffer) {
                self.send(id, &transmit, payload);
            }
        }
        self.buffer = buffer;
        result
    }

    // Datagrams.

    fn send(&mut self, id: NodeId, transmit: &Transmit, payload: &[u8]) {
        let inside = transmit.path.local.unwrap_or(self.seats[id.0].primary);
        let to = transmit.path.remote;
        let destination = self.outsides.get(&to).copied().unwrap_or(to);
        let route = self.routes.get(&(inside, destination)).cloned();
        let packet = Packet {
            from: self.nats.get(&inside).map_or(inside, Nat::outside),
            to,
            ecn: transmit.ecn,
            payload: self.pool.take(payload),
            route: route.clone().unwrap_or_else(|| [].into()),
            hop: 0,
            queued: self.now,
            corrupted: false,
            duplicate: false,
        };
        if route.is_none() || self.owners.get(&inside) != Some(&id) {
            self.record(&packet, Fate::Sent);
            return self.discard(packet, Fate::NoRoute);
        }
        match transmit.departure.filter(|departure| *departure > self.now) {
            Some(later) => self.agenda.push(later, Event::Departure(packet)),
            None => self.depart(packet),
        }
    }

    /// A packet leaves its node.
    fn depart(&mut self, packet: Packet) {
        self.record(&packet, Fate::Sent);
        self.forward(packet);
    }

    /// Gives a packet to the link that its hop names, or to its destination behind the last one.
    fn forward(&mut self, packet: Packet) {
        let Some(link) = packet.route.get(packet.hop).copied() else {
            // Not delivered here and now: a node must not be called from within another one's call.
            return self.agenda.push(self.now, Event::Arrival(packet));
        };
        let mut effects = std::mem::take(&mut self.effects);
        self.links[link.0].offer(self.now, packet, &mut effects);
        self.apply(link, effects);
    }

    fn apply(&mut self, link: LinkId, mut effects: Vec<Effect>) {
        for effect in effects.drain(..) {
            match effect {
                Effect::Dropped(packet, fate) => self.discard(packet, fate),
                Effect::Arrives(at, packet) => self.agenda.push(at, Event::Arrival(packet)),
                Effect::Busy(until) => self.agenda.push(until, Event::WireFree(link)),
            }
        }
        self.effects = effects;
    }

    fn handle_event(&mut self) {
        match self.agenda.pop() {
            Some(Event::WireFree(link)) => {
                let mut effects = std::mem::take(&mut self.effects);
                self.links[link.0].finish(self.now, &mut effects);
                self.apply(link, effects);
            }
            Some(Event::Departure(packet)) => self.depart(packet),
            Some(Event::Arrival(mut packet)) => {
                packet.hop += 1;
                if packet.hop < packet.route.len() { self.forward(packet) } else { self.deliver(packet) }
            }
            Some(Event::Action(action)) => action(self),
            None => {}
        }
    }

    fn deliver(&mut self, mut packet: Packet) {
        let inside = match self.outsides.get(&packet.to) {
            Some(inside) if self.nats.get(inside).map(Nat::outside) != Some(packet.to) => {
                return self.discard(packet, Fate::NoMapping);
            }
            Some(inside) => *inside,
            None => packet.to,
        };
        let Some(id) = self.owners.get(&inside).copied() else {
            return self.discard(packet, Fate::NoRoute);
        };
        let fate = match (packet.corrupted, packet.duplicate) {
            (true, _) => Fate::Corrupted,
            (false, true) => Fate::Duplicated,
            (false, false) => Fate::Delivered,
        };
        self.record(&packet, fate);
        let path = FourTuple { local: Some(inside), remote: packet.from };
        let node = &mut self.nodes[id.0];
        node.handle_datagram(self.now, Datagram { path, ecn: packet.ecn, payload: &mut packet.payload });
        if self.spurious.roll(&mut self.rng) {
            node.handle_timeout(self.now);
        }
        self.pool.give(packet.payload);
        self.drive(id);
    }

    fn discard(&mut self, packet: Packet, fate: Fate) {
        self.record(&packet, fate);
        self.pool.give(packet.payload);
    }

    fn record(&mut self, packet: &Packet, fate: Fate) {
        let entry = packet.entry(self.now, fate);
        self.trace.push(entry);
        self.checkers.iter_mut().for_each(|checker| checker.observe(&entry, &packet.payload));
    }
}
