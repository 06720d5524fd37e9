//! Topologies, repeatability, and what ends a run.

mod common;

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroUsize};
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Flood, flood};
use quic_proto::net::{Datagram, FourTuple, Transmit};
use quic_proto::time::{Duration, Instant};
use quic_sim::units::{kib, mbit, ms, percent, secs};
use quic_sim::{
    Checker, Entry, Fate, Limits, Link, Loss, Network, Node, NodeId, Outcome, Queue, Rebind, Scenario, UP,
    View,
};

/// Several clients that send on at an echoing server, over links with everything wrong that there is.
fn storm() -> Scenario<Flood> {
    Scenario::clients(3, |s| Flood::new(s.server, 300, ms(1), 900), |s| Flood::echo(s.server))
        .rate(mbit(5))
        .delay(ms(15))
        .jitter(ms(4))
        .loss(Loss::bursts(percent(3), 3.0))
        .reorder(percent(3), ms(6))
        .duplicate(percent(3))
        .corrupt(percent(1))
        .mark(percent(5))
        .queue(Queue::codel())
        .access(|client| Link::new().delay(ms(1 + client as u64)).queue(Queue::drop_tail(kib(32))))
        .rebind(ms(100), Rebind::Port)
        .rebind(ms(200), Rebind::Address)
        .black_out(ms(120), ms(140))
}

#[test]
fn same_seed_same_trace_and_another_seed_another() {
    let mut digests: Vec<_> = (0..20).map(|seed| storm().run_twice(seed).trace.digest()).collect();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 20);
}

#[test]
fn arbitrary_links_repeat_too() {
    let scenario = flood(200, ms(2), 1000).links_from(Link::arbitrary);
    let ups: Vec<_> = (0..50).map(|seed| scenario.run_twice(seed).links[UP.0]).collect();
    assert!(ups.iter().any(|up| up.dropped > 0) && ups.iter().any(|up| up.dropped == 0));
    assert!(ups.iter().any(|up| up.duplicated > 0) && ups.iter().any(|up| up.corrupted > 0));
}

#[test]
fn what_goes_in_is_accounted_for() {
    let report = storm().run(5).expect_ok();
    let trace = &report.trace;
    let copies: u64 = report.links.iter().map(|link| link.duplicated).sum();
    let ends = trace.entries().iter().filter(|entry| entry.fate != Fate::Sent).count();
    assert_eq!(ends as u64, trace.count(Fate::Sent) as u64 + copies);
    assert!(trace.entries().is_sorted_by_key(|entry| entry.time));
}

#[test]
fn clients_share_the_bottleneck() {
    // Four clients offer 8 Mbit/s each to 8 Mbit/s: together they get that, and each its part.
    let report = Scenario::clients(
        4,
        |s| Flood::new(s.server, 1_000, ms(1), 1000),
        |s| Flood::new(s.server, 0, ms(0), 8),
    )
    .rate(mbit(8))
    .delay(ms(10))
    .queue(Queue::drop_tail(kib(64)))
    // Without jitter the four are in step, and the same one always finds the last place in the queue.
    .access(|client| Link::new().delay(ms(client as u64)).jitter(ms(2)))
    .run(11);
    let arrived = report.server().received.iter().filter(|a| a.1 <= Instant::from_millis(1_010)).count();
    assert!((990..=1_000).contains(&arrived), "{arrived}");
    let from = |client: u8| {
        report.server().paths.iter().filter(|p| p.remote.ip() == IpAddr::from([10, 0, 0, client + 1])).count()
    };
    assert_eq!((0..4).map(from).sum::<usize>(), report.server().received.len());
    let shares: Vec<_> = (0..4).map(from).collect();
    assert!(shares.iter().all(|share| *share > 150), "{shares:?}");
}

#[test]
fn rebinding_changes_the_source_and_forgets_the_old_one() {
    let report = Scenario::between(|s| Flood::new(s.server, 40, ms(10), 100), |s| Flood::echo(s.server))
        .delay(ms(20))
        .rebind(ms(195), Rebind::Port)
        .run(1)
        .expect_ok();
    let sources: Vec<SocketAddr> = report.server().paths.iter().map(|path| path.remote).collect();
    let (before, after): (SocketAddr, SocketAddr) =
        (([100, 64, 0, 1], 50_000).into(), ([100, 64, 0, 1], 50_001).into());
    assert!(sources[..20].iter().all(|source| *source == before), "{sources:?}");
    assert!(sources[20..].iter().all(|source| *source == after), "{sources:?}");
    // Sent at 160, 170, 180 and 190 ms: their answers come 40 ms later, to an address that is no more.
    assert_eq!(report.trace.count(Fate::NoMapping), 4);
    assert_eq!(report.client().received.len(), 36);
    let inside = SocketAddr::from(([10, 0, 0, 1], 40_000));
    assert!(report.client().paths.iter().all(|path| path.local == Some(inside)));
}

#[test]
fn several_hops_add_up_and_several_addresses_work() {
    let [a, a2, b]: [SocketAddr; 3] = [1, 2, 3].map(|n| ([10, 9, 9, n], 1).into());
    let mut net = Network::new(1);
    let id = net.add_node(a, Flood::new(b, 1, ms(0), 1000));
    net.add_address(id, a2);
    net.add_node(b, Flood::echo(a));
    let hops = [ms(1), ms(2), ms(4)].map(|delay| net.add_link(Link::new().delay(delay).rate(mbit(8))));
    net.route(a, b, &hops);
    net.route(a2, b, &hops[..1]);
    net.route(b, a2, &[]);
    assert_eq!(net.run(|_| false), Outcome::Idle);
    // Three times 1 ms on the wire; there is no way back to the first address.
    assert_eq!(net.nodes()[1].received[0].1, Instant::from_millis(10));
    assert_eq!(net.trace().count(Fate::NoRoute), 1);
    assert_eq!(net.run_until(Instant::from_millis(100)), Outcome::Reached);
    let node = net.node_mut(id);
    (node.local, node.left) = (Some(a2), 1);
    // Its next deadline was set for the time of its first datagram: that would be in the past.
    assert!(matches!(net.run(|_| false), Outcome::Violation(v) if v.what.contains("in the past")));
}

#[test]
fn foreign_source_addresses_go_nowhere() {
    let scenario = flood(3, ms(1), 100).at(ms(0), |net| {
        net.node_mut(NodeId(0)).local = Some(([192, 0, 2, 1], 443).into());
    });
    assert!(scenario.run(1).trace.count(Fate::NoRoute) >= 2);
}

/// A node that misbehaves as told.
struct Bad {
    deadline: Option<Instant>,
    endless: bool,
    segments: u16,
    to: SocketAddr,
}

impl Bad {
    fn good(to: SocketAddr) -> Self {
        Self { deadline: None, endless: false, segments: 0, to }
    }
}

impl Node for Bad {
    fn handle_datagram(&mut self, now: Instant, _datagram: Datagram<'_>) {
        self.deadline = Some(now - ms(1));
    }

    fn handle_timeout(&mut self, _now: Instant) {}

    fn poll_transmit(&mut self, _now: Instant, _buf: &mut [u8], _max: NonZeroUsize) -> Option<Transmit> {
        let segments = if self.endless { 1 } else { std::mem::take(&mut self.segments) };
        let len = usize::from(segments) * 10;
        let path = FourTuple::to(self.to);
        (segments > 0).then_some(Transmit {
            path,
            ecn: None,
            len,
            segment_size: NonZeroU16::new(10),
            departure: None,
        })
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.deadline
    }
}

fn violation(bad: impl Fn(SocketAddr) -> Bad + Send + Sync + 'static) -> String {
    let report = Scenario::between(move |s| bad(s.server), |s| Bad::good(s.address)).delay(ms(3)).run(1);
    match report.outcome {
        Outcome::Violation(violation) => violation.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bad_manners_are_violations() {
    let due_forever = |to| Bad { deadline: Some(Instant::from_millis(5)), ..Bad::good(to) };
    assert_eq!(
        violation(due_forever),
        "at 0.005000000s: node 0: busy loop: its deadline was due 101 times at this instant"
    );
    let endless = violation(|to| Bad { endless: true, ..Bad::good(to) });
    assert!(endless.contains("node 0: busy loop: it transmitted 100001 times"), "{endless}");
    let past = violation(|to| Bad { segments: 1, ..Bad::good(to) });
    assert!(past.contains("node 1: its deadline 0.002000000s is in the past"), "{past}");
    let segments = violation(|to| Bad { segments: 2, ..Bad::good(to) });
    assert!(segments.contains("2 segments where 1 were allowed"), "{segments}");
}

#[test]
fn batches_become_datagrams() {
    let report = Scenario::between(|s| Bad { segments: 5, ..Bad::good(s.server) }, |s| Bad::good(s.address))
        .max_segments(NonZeroUsize::new(8).expect("not zero"))
        .loss(percent(100))
        .run(1)
        .expect_ok();
    assert_eq!((report.trace.count(Fate::Sent), report.trace.count(Fate::Lost)), (5, 5));
}

#[test]
fn limits_end_runs() {
    let endless = || flood(u64::MAX, ms(1), 100);
    let report = endless().time_limit(secs(1)).run(1);
    assert_eq!(report.outcome, Outcome::OutOfTime);
    assert!(report.elapsed <= secs(1) && report.server().received.len() == 1_001);
    let report = endless().limits(Limits { steps: 10, ..Limits::default() }).run(1);
    assert_eq!((report.outcome, report.steps), (Outcome::OutOfSteps, 10));
    let report = endless().until(|view| view.nodes[1].received.len() == 7).run(1);
    assert_eq!((report.outcome.clone(), report.server().received.len()), (Outcome::Reached, 7));
    assert_eq!(flood(3, ms(1), 100).run(1).outcome, Outcome::Idle);
}

/// Remembers across steps: numbers only grow, and all that was sent is seen.
#[derive(Default)]
struct InOrder {
    seen: usize,
    delivered: usize,
}

impl Checker<Flood> for InOrder {
    fn check(&mut self, view: &View<'_, Flood>) -> Result<(), String> {
        let received = &view.nodes[1].received;
        let grown = received.windows(2).skip(self.seen.saturating_sub(1)).all(|w| w[0].0 < w[1].0);
        self.seen = received.len();
        if grown { Ok(()) } else { Err(format!("out of order at {}", self.seen)) }
    }

    fn observe(&mut self, entry: &Entry, payload: &[u8]) {
        assert_eq!(entry.len, payload.len());
        self.delivered += usize::from(entry.fate.arrived());
    }

    fn finish(&mut self, view: &View<'_, Flood>) -> Result<(), String> {
        let count = view.nodes[1].received.len();
        if self.delivered == count && count == 100 { Ok(()) } else { Err(format!("only {count} arrived")) }
    }
}

#[test]
fn checkers_see_every_step_and_the_end() {
    let scenario = || flood(100, ms(1), 100).delay(ms(5)).checker(InOrder::default);
    scenario().run(1).expect_ok();
    let wrong = scenario().reorder(percent(5), ms(4)).run(1).verdict().expect_err("reordered");
    assert!(wrong.contains("out of order at"), "{wrong}");
    let wrong = scenario().loss(percent(5)).run(1).verdict().expect_err("lost");
    assert!(wrong.contains("only 9"), "{wrong}");
}

#[test]
fn a_failing_seed_prints_its_command() {
    let scenario = flood(100, ms(1), 100).loss(percent(1));
    let judge = |report: &quic_sim::Report<Flood>| match report.server().received.len() {
        96.. => Ok(()),
        few => Err(format!("only {few} arrived")),
    };
    let failure =
        catch_unwind(AssertUnwindSafe(|| scenario.sweep(0..10_000, judge))).expect_err("some seed loses 5");
    let text = failure.downcast_ref::<String>().expect("a message");
    let seed: u64 = text
        .split("QUIC_SIM_SEED=")
        .nth(1)
        .and_then(|rest| rest.split(' ').next())
        .and_then(|seed| seed.parse().ok())
        .expect("a seed");
    assert!(text.contains("only 9"), "{text}");
    assert!(judge(&scenario.run(seed)).is_err(), "the seed brings it back");
    let named = flood(1, ms(1), 10).until(|_| false).reproduce_with("./run me").run(3);
    assert_eq!(named.reproduce, "QUIC_SIM_SEED=3 ./run me");
}

#[test]
fn spurious_timeouts_are_called() {
    struct Counts(Flood, u32);
    impl Node for Counts {
        fn handle_datagram(&mut self, now: Instant, datagram: Datagram<'_>) {
            self.0.handle_datagram(now, datagram);
        }
        fn handle_timeout(&mut self, now: Instant) {
            self.1 += 1;
            self.0.handle_timeout(now);
        }
        fn poll_transmit(&mut self, now: Instant, buf: &mut [u8], max: NonZeroUsize) -> Option<Transmit> {
            self.0.poll_transmit(now, buf, max)
        }
        fn next_timeout(&self) -> Option<Instant> {
            self.0.next_timeout()
        }
    }
    let run = |p| {
        let node = |s: quic_sim::Setup, n| Counts(Flood::new(s.server, n, ms(1), 100), 0);
        Scenario::between(move |s| node(s, 1_000), move |s| node(s, 0))
            .spurious_timeouts(percent(p))
            .run(1)
            .server()
            .1
    };
    assert_eq!(run(0), 0);
    assert!((150..250).contains(&run(20)));
}

#[test]
fn time_moves_to_where_it_is_told() {
    let mut net = flood(3, ms(10), 100).build(1);
    assert_eq!(net.run_until(Instant::from_millis(15)), Outcome::Reached);
    assert_eq!((net.now(), net.nodes()[1].received.len()), (Instant::from_millis(15), 2));
    assert_eq!(net.run_until(Instant::EPOCH + Duration::from_secs(1)), Outcome::Reached);
    assert_eq!((net.now(), net.nodes()[1].received.len()), (Instant::from_millis(1_000), 3));
}
