//! Networks that are described in a sentence and run with a seed.
//!
//! Owns [`Scenario`] (a description, which can be run any number of times, on several threads) and [`Report`] (what came of one
//! run). Invariant: everything that may differ between two runs comes from the seed. No timers.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use quic_proto::rng::{Rng, SeededRng};
use quic_proto::time::Instant;

use crate::checker::{Checker, Limits, View};
use crate::link::{Link, LinkId, LinkStats};
use crate::loss::Loss;
use crate::nat::Rebind;
use crate::network::{Network, Outcome};
use crate::node::{Node, NodeId};
use crate::queue::Queue;
use crate::sweep::{OnPanic, Reproduce, first_failure, seeds};
use crate::trace::Trace;
use crate::units::{Probability, Rate};

/// What a node may need to know to be built.
pub struct Setup {
    /// Its place: clients come first, from zero; the server is the last.
    pub id: NodeId,
    /// Its own address.
    pub address: SocketAddr,
    /// The server's address.
    pub server: SocketAddr,
    /// Randomness of its own.
    pub rng: Box<dyn Rng>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setup({:?} at {}, server {})", self.id, self.address, self.server)
    }
}

type Make<N> = Box<dyn Fn(Setup) -> N + Send + Sync>;
type Goal<N> = Box<dyn Fn(&View<'_, N>) -> bool + Send + Sync>;
type MakeChecker<N> = Box<dyn Fn() -> Box<dyn Checker<N>> + Send + Sync>;
type Act<N> = std::sync::Arc<dyn Fn(&mut Network<N>) + Send + Sync>;
type MakeLink = Box<dyn Fn(&mut dyn Rng) -> Link + Send + Sync>;
type Access = Box<dyn Fn(usize) -> Link + Send + Sync>;

/// A description of clients, a server, and what is between them.
///
/// All clients share one link to the server and one back, which are the bottleneck; [`access`](Self::access) gives each client a
/// link of its own before it. (Clients that send at fixed intervals stay in step as no real ones do, and a full queue then always
/// drops the same one's; some jitter on the access links helps.) Methods that shape links change both directions; [`up`](Self::up) and [`down`](Self::down) one of
/// them.
pub struct Scenario<N> {
    clients: usize,
    make_client: Make<N>,
    make_server: Make<N>,
    up: Link,
    down: Link,
    made: Option<MakeLink>,
    access: Option<Access>,
    nat: bool,
    actions: Vec<(Duration, Act<N>)>,
    checkers: Vec<MakeChecker<N>>,
    goal: Option<Goal<N>>,
    limits: Limits,
    segments: NonZeroUsize,
    spurious: Probability,
    reproduce: Option<String>,
}

/// The shared link towards the server.
pub const UP: LinkId = LinkId(0);
/// The shared link from the server.
pub const DOWN: LinkId = LinkId(1);

impl<N: Node + 'static> Scenario<N> {
    /// A client and a server. The functions build them anew for every run.
    pub fn between(
        client: impl Fn(Setup) -> N + Send + Sync + 'static,
        server: impl Fn(Setup) -> N + Send + Sync + 'static,
    ) -> Self {
        Self::clients(1, client, server)
    }

    /// Several clients and a server. Panics above 65,000 clients, for which there are no addresses.
    pub fn clients(
        count: usize,
        client: impl Fn(Setup) -> N + Send + Sync + 'static,
        server: impl Fn(Setup) -> N + Send + Sync + 'static,
    ) -> Self {
        assert!(count <= 65_000, "{count} clients are too many for the address plan");
        Self {
            clients: count,
            make_client: Box::new(client),
            make_server: Box::new(server),
            up: Link::new(),
            down: Link::new(),
            made: None,
            access: None,
            nat: false,
            actions: Vec::new(),
            checkers: Vec::new(),
            goal: None,
            limits: Limits::default(),
            segments: NonZeroUsize::MIN,
            spurious: Probability::NEVER,
            reproduce: None,
        }
    }

    /// See [`Link::rate`].
    #[must_use]
    pub fn rate(self, rate: Rate) -> Self {
        self.both(|link| link.rate(rate))
    }

    /// See [`Link::delay`]. This is the delay of one direction: half a round trip.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Self {
        self.both(|link| link.delay(delay))
    }

    /// See [`Link::jitter`].
    #[must_use]
    pub fn jitter(self, jitter: Duration) -> Self {
        self.both(|link| link.jitter(jitter))
    }

    /// See [`Link::loss`].
    #[must_use]
    pub fn loss(self, loss: impl Into<Loss>) -> Self {
        let loss = loss.into();
        self.both(|link| link.loss(loss.clone()))
    }

    /// See [`Link::reorder`].
    #[must_use]
    pub fn reorder(self, some: Probability, by: Duration) -> Self {
        self.both(|link| link.reorder(some, by))
    }

    /// See [`Link::duplicate`].
    #[must_use]
    pub fn duplicate(self, some: Probability) -> Self {
        self.both(|link| link.duplicate(some))
    }

    /// See [`Link::corrupt`].
    #[must_use]
    pub fn corrupt(self, some: Probability) -> Self {
        self.both(|link| link.corrupt(some))
    }

    /// See [`Link::mark`].
    #[must_use]
    pub fn mark(self, some: Probability) -> Self {
        self.both(|link| link.mark(some))
    }

    /// See [`Link::mtu`].
    #[must_use]
    pub fn mtu(self, bytes: usize) -> Self {
        self.both(|link| link.mtu(bytes))
    }

    /// See [`Link::queue`].
    #[must_use]
    pub fn queue(self, queue: Queue) -> Self {
        self.both(|link| link.queue(queue))
    }

    /// See [`Link::black_out`].
    #[must_use]
    pub fn black_out(self, from: Duration, until: Duration) -> Self {
        self.both(|link| link.black_out(from, until))
    }

    /// See [`Link::stall`].
    #[must_use]
    pub fn stall(self, every: Duration, up_to: Duration) -> Self {
        self.both(|link| link.stall(every, up_to))
    }

    /// Shapes the direction towards the server.
    #[must_use]
    pub fn up(mut self, change: impl FnOnce(Link) -> Link) -> Self {
        self.up = change(self.up);
        self
    }

    /// Shapes the direction from the server.
    #[must_use]
    pub fn down(mut self, change: impl FnOnce(Link) -> Link) -> Self {
        self.down = change(self.down);
        self
    }

    fn both(mut self, change: impl Fn(Link) -> Link) -> Self {
        self.up = change(self.up);
        self.down = change(self.down);
        self
    }

    /// Draws both shared links from the seed, one after the other, instead of those described: [`Link::arbitrary`] is one way.
    #[must_use]
    pub fn links_from(mut self, make: impl Fn(&mut dyn Rng) -> Link + Send + Sync + 'static) -> Self {
        self.made = Some(Box::new(make));
        self
    }

    /// Gives each client a link of its own, the same both ways, to the shared one; the argument is the client's number.
    #[must_use]
    pub fn access(mut self, link: impl Fn(usize) -> Link + Send + Sync + 'static) -> Self {
        self.access = Some(Box::new(link));
        self
    }

    /// Puts an address translator before every client, for actions that rebind it by [`Network::rebind`].
    #[must_use]
    pub fn nat(mut self) -> Self {
        self.nat = true;
        self
    }

    /// Puts each client behind a NAT and rebinds them all at that time. May be given several times.
    #[must_use]
    pub fn rebind(mut self, at: Duration, how: Rebind) -> Self {
        self.nat = true;
        let clients = self.clients;
        self.at(at, move |net| (0..clients).for_each(|client| net.rebind(net.address(NodeId(client)), how)))
    }

    /// Does something at that time: changes a link, pokes a node.
    #[must_use]
    pub fn at(mut self, at: Duration, act: impl Fn(&mut Network<N>) + Send + Sync + 'static) -> Self {
        self.actions.push((at, std::sync::Arc::new(act)));
        self
    }

    /// Asserts after every step; the error says what is wrong.
    #[must_use]
    pub fn check(
        self,
        check: impl Fn(&View<'_, N>) -> Result<(), String> + Clone + Send + Sync + 'static,
    ) -> Self {
        self.checker(move || check.clone())
    }

    /// Asserts after every step with a checker that remembers; each run gets a new one.
    #[must_use]
    pub fn checker<C: Checker<N> + 'static>(mut self, make: impl Fn() -> C + Send + Sync + 'static) -> Self {
        self.checkers.push(Box::new(move || Box::new(make())));
        self
    }

    /// What the run is for: it ends once this holds. Without a goal, a run ends when nothing more happens.
    #[must_use]
    pub fn until(mut self, goal: impl Fn(&View<'_, N>) -> bool + Send + Sync + 'static) -> Self {
        self.goal = Some(Box::new(goal));
        self
    }

    /// Ends the run after this much virtual time.
    #[must_use]
    pub fn time_limit(mut self, time: Duration) -> Self {
        self.limits.time = time;
        self
    }

    /// Bounds everything; see [`Limits`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// See [`Network::set_max_segments`].
    #[must_use]
    pub fn max_segments(mut self, segments: NonZeroUsize) -> Self {
        self.segments = segments;
        self
    }

    /// See [`Network::set_spurious_timeouts`].
    #[must_use]
    pub fn spurious_timeouts(mut self, some: Probability) -> Self {
        self.spurious = some;
        self
    }

    /// The command that failures print after `QUIC_SIM_SEED=…`, if the one of the running test will not do.
    #[must_use]
    pub fn reproduce_with(mut self, command: impl Into<String>) -> Self {
        self.reproduce = Some(command.into());
        self
    }

    /// The network of a seed, before its first step.
    pub fn build(&self, seed: u64) -> Network<N> {
        let mut rng = SeededRng::from_u64(seed);
        let mut net = Network::new(rng.next_u64());
        net.set_limits(self.limits);
        net.set_max_segments(self.segments);
        net.set_spurious_timeouts(self.spurious);
        let mut shared = |fixed: &Link| {
            let mut child = rng.child();
            self.made.as_ref().map_or_else(|| fixed.clone(), |make| make(&mut *child))
        };
        // Their ids are the constants UP and DOWN.
        let (up, down) = (net.add_link(shared(&self.up)), net.add_link(shared(&self.down)));
        let server = SocketAddr::from(([192, 0, 2, 1], 443));
        for index in 0..self.clients {
            let address = client_address(index);
            let setup = Setup { id: NodeId(index), address, server, rng: rng.child() };
            net.add_node(address, (self.make_client)(setup));
            if self.nat {
                net.add_nat(address, numbered([100, 64], index, 50_000));
            }
            if let Some(access) = &self.access {
                let (there, back) = (net.add_link(access(index)), net.add_link(access(index)));
                net.route(address, server, &[there, up]);
                net.route(server, address, &[down, back]);
            } else {
                net.route(address, server, &[up]);
                net.route(server, address, &[down]);
            }
        }
        let setup = Setup { id: NodeId(self.clients), address: server, server, rng: rng.child() };
        net.add_node(server, (self.make_server)(setup));
        for (at, act) in &self.actions {
            let act = act.clone();
            net.at(Instant::EPOCH + *at, move |net| act(net));
        }
        self.checkers.iter().for_each(|make| net.add_boxed_checker(make()));
        net
    }

    /// Runs it. If a node panics, the command that reproduces it is printed.
    pub fn run(&self, seed: u64) -> Report<N> {
        self.run_as(seed, &self.reproduction())
    }

    /// Runs it twice with the same seed. Panics with the first difference if the traces differ.
    pub fn run_twice(&self, seed: u64) -> Report<N> {
        let (first, second) = (self.run(seed), self.run(seed));
        if let Some(difference) = first.trace.difference(&second.trace) {
            panic!("not repeatable with {}\n{difference}", first.reproduce);
        }
        assert_eq!(first.outcome, second.outcome, "not repeatable with {}", first.reproduce);
        first
    }

    /// Runs it with each of the seeds (but see [`seeds`]: the environment may say otherwise) on all processors, and hands every
    /// report to `judge`. Panics with a command that reproduces it if one fails: by a violation, a goal not reached, or a judgement.
    pub fn sweep(&self, range: Range<u64>, judge: impl Fn(&Report<N>) -> Result<(), String> + Sync) {
        let reproduce = self.reproduction();
        let failure = first_failure(seeds(range), |seed| {
            let report = self.run_as(seed, &reproduce);
            let guard = OnPanic(&reproduce, seed);
            let result = report.verdict().and_then(|()| judge(&report));
            drop(guard);
            result
        });
        if let Some((seed, what)) = failure {
            panic!("seed {seed}: {what}\nreproduce with:\n  {}", reproduce.line(seed));
        }
    }

    fn reproduction(&self) -> Reproduce {
        self.reproduce.clone().map_or_else(Reproduce::here, Reproduce::with)
    }

    fn run_as(&self, seed: u64, reproduce: &Reproduce) -> Report<N> {
        let guard = OnPanic(reproduce, seed);
        let mut net = self.build(seed);
        let outcome = net.run(|view| self.goal.as_ref().is_some_and(|goal| goal(view)));
        drop(guard);
        let links = (0..net.link_count()).map(|link| net.link_stats(LinkId(link))).collect();
        let (elapsed, steps) = (net.now() - Instant::EPOCH, net.steps());
        let (nodes, trace) = net.into_parts();
        let (has_goal, reproduce) = (self.goal.is_some(), reproduce.line(seed));
        Report { seed, outcome, elapsed, steps, nodes, trace, links, has_goal, reproduce }
    }
}

impl<N> fmt::Debug for Scenario<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scenario({} clients, up {:?}, down {:?})", self.clients, self.up, self.down)
    }
}

/// The address of the client with this number.
pub(crate) fn client_address(index: usize) -> SocketAddr {
    numbered([10, 0], index, 40_000)
}

fn numbered(net: [u8; 2], index: usize, port: u16) -> SocketAddr {
    // From 1 on; `clients` bounds the index to what 16 bits hold.
    let number = (index + 1) as u16;
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([net[0], net[1], high, low], port))
}

/// What came of a run.
#[derive(Debug)]
pub struct Report<N> {
    /// The seed that it was run with.
    pub seed: u64,
    /// Why it ended.
    pub outcome: Outcome,
    /// How much virtual time it took.
    pub elapsed: Duration,
    /// How many steps it took.
    pub steps: u64,
    /// The nodes as they ended; a [`NodeId`] is an index.
    pub nodes: Vec<N>,
    /// What happened.
    pub trace: Trace,
    /// What each link did; a [`LinkId`] is an index, and [`UP`] and [`DOWN`] are the shared ones.
    pub links: Vec<LinkStats>,
    /// The command that brings it back.
    pub reproduce: String,
    has_goal: bool,
}

impl<N> Report<N> {
    /// The first client.
    pub fn client(&self) -> &N {
        &self.nodes[0]
    }

    /// The server.
    pub fn server(&self) -> &N {
        &self.nodes[self.nodes.len() - 1]
    }

    /// Whether it went well: the goal was reached or, without a goal, the network came to rest.
    pub fn verdict(&self) -> Result<(), String> {
        match (&self.outcome, self.has_goal) {
            (Outcome::Reached, true) | (Outcome::Idle, false) => Ok(()),
            (Outcome::Violation(violation), _) => Err(violation.to_string()),
            (outcome, true) => Err(format!("goal not reached after {:?}: {outcome:?}", self.elapsed)),
            (outcome, false) => Err(format!("no rest after {:?}: {outcome:?}", self.elapsed)),
        }
    }

    /// Panics, with the command that brings it back, unless it [went well](Self::verdict).
    #[track_caller]
    pub fn expect_ok(self) -> Self {
        if let Err(what) = self.verdict() {
            panic!("seed {}: {what}\nreproduce with:\n  {}", self.seed, self.reproduce);
        }
        self
    }
}
