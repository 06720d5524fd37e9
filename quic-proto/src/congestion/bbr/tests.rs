//! The example tests of draft-ietf-ccwg-bbr, "BBR Example Test Cases", on a path of one bottleneck that acknowledges every packet.

use super::probe_bw::AckPhase;
use super::*;
use crate::congestion::RttSample;
use crate::rng::SeededRng;
use std::collections::VecDeque;

const MTU: u64 = 1000;

/// 10 Mbit/s, in bytes per second. With 40 ms that is a bandwidth-delay product of 50 packets.
const RATE: f64 = 1.25e6;
const RTT: Duration = Duration::from_millis(40);
const BDP: u64 = 50 * MTU;

struct Packet {
    number: u64,
    sent: Instant,
    /// When it is acknowledged, if it is.
    acked: Option<Instant>,
    mark: DeliveryMark,
}

/// Which packets are lost, by number, besides those that the queue drops.
type Lottery = fn(u64) -> bool;

struct Sim {
    bbr: Bbr,
    now: Instant,
    rate: f64,
    rtt: Duration,
    /// How many bytes may wait.
    queue: u64,
    lottery: Lottery,
    /// The application's rate, if it is the limit.
    app: Option<f64>,
    /// Acknowledgements come at multiples of this.
    aggregate: Option<Duration>,
    wire_free: Instant,
    next_paced: Instant,
    next_app: Instant,
    numbers: u64,
    in_flight: u64,
    packets: VecDeque<Packet>,
    last_lost: Option<u64>,
    lost: u64,
    min_rtt: Duration,
}

impl Sim {
    fn new() -> Self {
        Self {
            bbr: Bbr::new(MTU as u16, Box::new(SeededRng::from_u64(1))),
            now: Instant::from_millis(1),
            rate: RATE,
            rtt: RTT,
            queue: 2 * BDP,
            lottery: |_| false,
            app: None,
            aggregate: None,
            wire_free: Instant::EPOCH,
            next_paced: Instant::EPOCH,
            next_app: Instant::EPOCH,
            numbers: 0,
            in_flight: 0,
            packets: VecDeque::new(),
            last_lost: None,
            lost: 0,
            min_rtt: Duration::MAX,
        }
    }

    /// A flow that has reached the state, by itself.
    fn in_state(state: State) -> Self {
        let mut sim = Self::new();
        sim.run_until(state);
        sim
    }

    fn run_until(&mut self, state: State) {
        self.run_while(|bbr| bbr.state != state);
    }

    #[track_caller]
    fn run_while(&mut self, goes_on: impl Fn(&Bbr) -> bool) {
        let limit = self.now + Duration::from_secs(60);
        while goes_on(&self.bbr) {
            self.step();
            assert!(self.now < limit, "still in {:?} after a minute", self.bbr.state);
        }
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Bytes per second that are delivered over `time`.
    fn throughput(&mut self, time: Duration) -> f64 {
        let (before, start) = (self.bbr.delivery.delivered(), self.now);
        self.run(time);
        (self.bbr.delivery.delivered() - before) as f64 / (self.now - start).as_secs_f64()
    }

    /// Handles the next acknowledgement, or sends the next packet, whichever comes first.
    fn step(&mut self) {
        let ack = self.packets.iter().find_map(|packet| packet.acked);
        let may_send = self.in_flight + MTU <= self.bbr.window();
        let send = may_send.then(|| self.now.max(self.next_paced).max(self.next_app));
        match (ack, send) {
            (Some(ack), send) if send.is_none_or(|send| ack <= send) => self.acknowledge(ack),
            (_, Some(send)) => self.send(send),
            // All that is in flight is lost; a probe finds that out.
            _ => {
                self.now += Duration::from_millis(500);
                self.lose_below(u64::MAX);
            }
        }
    }

    fn send(&mut self, now: Instant) {
        self.now = now;
        if let Some(rate) = self.bbr.pacing_rate(RTT) {
            self.next_paced = self.next_paced.max(now) + seconds(MTU as f64 / rate as f64);
        }
        if let Some(rate) = self.app {
            self.next_app = self.next_app.max(now) + seconds(MTU as f64 / rate);
        }
        let number = self.numbers;
        self.numbers += 1;
        self.in_flight += MTU;
        let mark = self.bbr.on_sent(now, MTU, self.in_flight, self.next_app > now);
        let waiting = (self.wire_free - now).as_secs_f64() * self.rate;
        let dropped = (self.lottery)(number) || waiting > self.queue as f64;
        let acked = (!dropped).then(|| {
            self.wire_free = self.wire_free.max(now) + seconds(MTU as f64 / self.rate);
            let at = self.wire_free + self.rtt;
            self.aggregate.map_or(at, |slot| {
                let slot = slot.as_nanos() as u64;
                Instant::from_nanos(at.as_nanos().div_ceil(slot) * slot)
            })
        });
        self.packets.push_back(Packet { number, sent: now, acked, mark });
    }

    /// One acknowledgement for all that is due.
    fn acknowledge(&mut self, now: Instant) {
        self.now = now;
        let (mut bytes, mut newest) = (0, None);
        self.packets.retain(|packet| {
            let acked = packet.acked.is_some_and(|at| at <= now);
            if acked {
                bytes += MTU;
                newest = Some((packet.number, packet.sent, packet.mark));
            }
            !acked
        });
        let (number, sent, mark) = newest.expect("something was due");
        self.min_rtt = self.min_rtt.min(now - sent);
        self.in_flight -= bytes;
        let rtt = RttSample { latest: now - sent, min: self.min_rtt, smoothed: now - sent };
        let sample = AckSample {
            now,
            bytes,
            sent,
            in_flight: self.in_flight,
            mark,
            drained: self.next_app > now,
            rtt,
        };
        self.bbr.on_delivered(&sample);
        self.lose_below(number.saturating_sub(2));
        self.bbr.on_ack(&AckSample { in_flight: self.in_flight, ..sample });
        assert!(self.bbr.window() >= 2 * MTU);
    }

    /// A round trip after which this much is in flight still, whatever the window says.
    fn round_with_in_flight(&mut self, in_flight: u64) {
        let (sent, mark) = (self.now, self.bbr.on_sent(self.now, MTU, in_flight, false));
        self.now += self.rtt;
        let rtt = RttSample { latest: self.rtt, min: self.rtt, smoothed: self.rtt };
        let (now, bytes) = (self.now, MTU);
        let sample = AckSample { now, bytes, sent, in_flight, mark, drained: false, rtt };
        self.bbr.on_delivered(&sample);
        self.bbr.on_ack(&sample);
    }

    /// Declares lost what will not be acknowledged and has a number below this.
    fn lose_below(&mut self, number: u64) {
        let mut newest = None;
        while let Some(at) = self.packets.iter().position(|packet| packet.acked.is_none()) {
            if self.packets[at].number >= number {
                break;
            }
            let Some(packet) = self.packets.remove(at) else { break };
            let begins_range = self.last_lost.is_none_or(|last| last + 1 != packet.number);
            self.last_lost = Some(packet.number);
            self.in_flight -= MTU;
            self.lost += 1;
            let Packet { sent, mark, .. } = packet;
            self.bbr.on_lost(&LostPacket { now: self.now, sent, bytes: MTU, mark, begins_range });
            newest = Some(sent);
        }
        if let Some(sent) = newest {
            self.bbr.on_congestion(&self.event(sent, false));
        }
    }

    fn event(&self, sent: Instant, ecn: bool) -> CongestionEvent {
        let (now, in_flight) = (self.now, self.in_flight);
        CongestionEvent {
            now,
            sent,
            lost_bytes: MTU,
            persistent: false,
            ecn,
            in_flight,
            prior_in_flight: in_flight,
        }
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Three of each hundred packets, apart from each other.
fn three_per_cent(number: u64) -> bool {
    matches!(number % 100, 10 | 43 | 76)
}

fn assert_close(value: f64, to: f64, within: f64) {
    assert!((value - to).abs() <= within * to, "{value} is not within {within} of {to}");
}

#[test]
fn startup_ends_on_a_bandwidth_plateau() {
    let mut sim = Sim::new();
    assert_eq!(sim.bbr.window(), 10 * MTU);
    sim.run_while(|bbr| bbr.full_pipe.count < 1);
    assert_eq!(sim.bbr.state, State::Startup);
    sim.run_until(State::Drain);
    assert_close(sim.bbr.model.max_bw, RATE, 0.02);
    let FullPipe { count, now, reached, .. } = sim.bbr.full_pipe;
    assert_eq!((count, now, reached), (3, true, true));
    // An exponential search: seven doublings at most, three rounds of plateau, with a queue of up to one product.
    assert!(sim.now < Instant::from_millis(800), "{:?}", sim.now);
}

#[test]
fn startup_doubles_the_rate_each_round() {
    let mut sim = Sim::new();
    sim.rate = 100.0 * RATE;
    sim.run(Duration::from_millis(90));
    let before = sim.bbr.pacing_rate(RTT).unwrap() as f64;
    sim.run(Duration::from_millis(120));
    let growth = sim.bbr.pacing_rate(RTT).unwrap() as f64 / before;
    assert!((4.0..=8.5).contains(&growth), "{growth} in three rounds");
}

#[test]
fn startup_ends_on_loss_even_if_the_application_is_the_limit() {
    let mut sim = Sim::new();
    (sim.rate, sim.queue) = (100.0 * RATE, u64::MAX);
    // 400 packets a round: three per cent are twelve ranges.
    sim.app = Some(8.0 * RATE);
    sim.run(Duration::from_millis(500));
    assert!(sim.bbr.rs.app_limited && sim.bbr.state == State::Startup);
    sim.lottery = three_per_cent;
    sim.run_while(|bbr| bbr.state == State::Startup);
    assert!(sim.bbr.full_pipe.now && sim.bbr.full_pipe.reached);
    assert!(sim.bbr.model.bounds.inflight_longterm < INFINITE);
    assert_eq!(sim.bbr.undo.state, Some(State::Startup));
    assert!(matches!(sim.bbr.state, State::Drain | State::ProbeBwDown));
}

#[test]
fn startup_goes_on_with_little_loss_or_with_few_ranges() {
    for lottery in [(|number| number % 100 == 10) as Lottery, |number| number % 100 < 5] {
        let mut sim = Sim::new();
        (sim.rate, sim.queue, sim.lottery) = (100.0 * RATE, u64::MAX, lottery);
        sim.app = Some(2.0 * RATE);
        sim.run(Duration::from_secs(4));
        assert_eq!(sim.bbr.state, State::Startup);
    }
}

/// "Never Exiting `PROBE_UP` (or STARTUP) When Application-Limited With No Loss".
#[test]
fn startup_goes_on_while_the_application_is_the_limit() {
    let mut sim = Sim::new();
    sim.app = Some(RATE / 4.0);
    sim.run(Duration::from_secs(4));
    assert_eq!((sim.bbr.state, sim.bbr.full_pipe.reached), (State::Startup, false));
    // The application's rate is known by then, and used.
    assert_close(sim.bbr.model.max_bw, RATE / 4.0, 0.05);
}

#[test]
fn drain_ends_when_the_queue_is_gone() {
    let mut sim = Sim::in_state(State::Drain);
    assert_eq!(sim.bbr.state.pacing_gain(), 0.5);
    let start = sim.bbr.rounds.count;
    sim.run_while(|bbr| bbr.state == State::Drain);
    assert!(sim.bbr.in_flight <= sim.bbr.inflight(sim.bbr.model.bw, 1.0));
    assert!(sim.bbr.rounds.count <= start + 2, "less than a round trip, by its gain");
}

#[test]
fn drain_ends_after_three_rounds() {
    let mut sim = Sim::in_state(State::Drain);
    for _ in 0..3 {
        sim.round_with_in_flight(2 * BDP);
        assert_eq!(sim.bbr.state, State::Drain);
    }
    sim.round_with_in_flight(2 * BDP);
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
}

#[test]
fn down_leads_to_cruise_once_there_is_headroom() {
    let mut sim = Sim::in_state(State::ProbeBwDown);
    assert_eq!(sim.bbr.state.pacing_gain(), 0.9);
    sim.run_until(State::ProbeBwCruise);
    assert!(sim.bbr.in_flight <= sim.bbr.inflight(sim.bbr.model.max_bw, 1.0));
    // With a bound by loss, a part of it must be free.
    sim.run_until(State::ProbeBwUp);
    sim.bbr.model.bounds.inflight_longterm = BDP;
    sim.run_until(State::ProbeBwDown);
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    sim.run_until(State::ProbeBwCruise);
    assert!(sim.bbr.in_flight <= longterm - (0.15 * longterm as f64) as u64);
}

#[test]
fn down_leads_to_refill_when_it_is_time_to_probe() {
    let mut sim = Sim::in_state(State::ProbeBwDown);
    let (start, wait) = (sim.now, sim.bbr.cycle.wait);
    assert!((Duration::from_secs(2)..Duration::from_secs(3)).contains(&wait));
    while sim.now <= start + wait {
        assert_eq!(sim.bbr.state, State::ProbeBwDown);
        // Only the clock counts here.
        sim.bbr.cycle.rounds_since_probe_up = 0;
        sim.round_with_in_flight(2 * BDP);
    }
    assert_eq!(sim.bbr.state, State::ProbeBwRefill, "without Cruise");
}

/// `T_reno`: a flow with a small window probes as often as Reno fills its own.
#[test]
fn a_small_flow_probes_after_as_many_rounds_as_it_has_packets() {
    let mut sim = Sim::new();
    sim.rate = RATE / 4.0;
    sim.run_until(State::ProbeBwCruise);
    sim.run_until(State::ProbeBwRefill);
    let packets = sim.bbr.bdp(1.0) / MTU;
    assert!((11..=13).contains(&packets), "{packets}");
    assert!((packets..=packets + 1).contains(&sim.bbr.cycle.rounds_since_probe_up));
}

#[test]
fn refill_lasts_a_round_and_forgets_the_short_term() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.bbr.model.bounds.bw_shortterm = RATE / 2.0;
    sim.bbr.model.bounds.inflight_shortterm = BDP / 2;
    sim.run_until(State::ProbeBwRefill);
    let bounds = sim.bbr.model.bounds;
    assert_eq!((bounds.bw_shortterm, bounds.inflight_shortterm), (f64::INFINITY, INFINITE));
    let (start, round) = (sim.now, sim.bbr.rounds.count);
    sim.run_until(State::ProbeBwUp);
    assert_eq!(sim.bbr.rounds.count, round + 1);
    assert!(sim.now - start >= RTT && sim.now - start < 2 * RTT);
    assert_eq!(sim.bbr.state.pacing_gain(), 1.25);
}

#[test]
fn up_ends_on_a_bandwidth_plateau() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    let round = sim.bbr.rounds.count;
    sim.run_until(State::ProbeBwDown);
    assert!(sim.bbr.full_pipe.now && !sim.bbr.cycle.prev_probe_too_high);
    assert_eq!(sim.bbr.rounds.count, round + 3);
    assert_eq!(sim.lost, 0, "it ends before the queue is full");
}

/// "Never Exiting `PROBE_UP` … When Application-Limited With No Loss".
#[test]
fn up_goes_on_while_the_application_is_the_limit() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.app = Some(RATE / 2.0);
    sim.run(Duration::from_secs(2));
    assert_eq!(sim.bbr.state, State::ProbeBwUp);
}

#[test]
fn up_ends_on_loss_even_if_the_application_is_the_limit() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.app = Some(RATE / 2.0);
    sim.run(4 * RTT);
    sim.lottery = |number| number % 20 == 7;
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    // With little in flight, Down is over as soon as it began.
    assert!(matches!(sim.bbr.state, State::ProbeBwDown | State::ProbeBwCruise));
    assert!(sim.bbr.cycle.prev_probe_too_high);
    assert_eq!(
        sim.bbr.model.bounds.inflight_longterm, longterm,
        "an application's limit is no limit of the path"
    );
}

#[test]
fn up_that_loses_too_much_sets_the_bound_and_ends() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.lottery = |number| number % 20 == 7;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
    assert!(longterm >= (0.7 * BDP as f64) as u64 && longterm < 2 * BDP, "{longterm}");
    assert_eq!(sim.bbr.undo.state, Some(State::ProbeBwUp));
    // "only react once per bw probe"
    assert!(!sim.bbr.cycle.is_bw_probe_sample);
}

/// "Precautionary Bandwidth Probing": after a probe that lost too much comes one that stops at its bound; when nothing is lost there, a
/// full one follows at once, without Cruise.
#[test]
fn the_next_probe_is_a_precautionary_one() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.lottery = |number| number % 20 == 7;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    sim.lottery = |_| false;
    let longterm = sim.bbr.model.bounds.inflight_longterm;
    sim.run_until(State::ProbeBwUp);
    sim.run_until(State::ProbeBwDown);
    assert!(sim.bbr.cycle.prev_probe_precautionary && !sim.bbr.cycle.prev_probe_too_high);
    assert!(sim.bbr.prior_in_flight + MTU > longterm, "it went up to what was risky");
    let mut cruised = false;
    while sim.bbr.state != State::ProbeBwRefill {
        sim.step();
        cruised |= sim.bbr.state == State::ProbeBwCruise && sim.bbr.cycle.ack_phase == AckPhase::Init;
    }
    assert!(!cruised && !sim.bbr.cycle.prev_probe_precautionary);
    sim.run_until(State::ProbeBwUp);
    sim.run(3 * RTT);
    assert!(sim.bbr.model.bounds.inflight_longterm > longterm, "the bound is raised in the full probe");
}

/// How long a `ProbeRTT` lasts once the flight is small.
fn length_of_probe_rtt(sim: &mut Sim) -> Duration {
    sim.run_until(State::ProbeRtt);
    assert_eq!(sim.bbr.state.cwnd_gain(), 0.5);
    sim.run_while(|bbr| bbr.min_rtt.done.is_none());
    assert!(sim.in_flight <= sim.bbr.probe_rtt_cwnd() + MTU, "half of what fills the pipe");
    let small = sim.now;
    sim.run_while(|bbr| bbr.state == State::ProbeRtt);
    sim.now - small
}

#[test]
fn probe_rtt_is_entered_every_five_seconds_and_left_after_a_round_that_confirms() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.run_until(State::ProbeRtt);
    let entered = sim.now;
    let length = length_of_probe_rtt(&mut sim);
    assert!(length >= RTT && length < 2 * RTT, "{length:?}");
    assert_eq!(sim.bbr.state, State::ProbeBwCruise, "below the product already");
    assert!(sim.bbr.window() > BDP, "the window is back");
    sim.run_until(State::ProbeRtt);
    assert!(sim.now - entered > Duration::from_secs(5));
}

/// "After maintaining C.inflight at BBR.ProbeRTTCwndGain\*BBR.bdp for at least BBR.ProbeRTTDuration (200 ms) and at least one packet-timed
/// round trip": where the smallest round-trip time is another one than it was.
#[test]
fn probe_rtt_that_finds_something_new_lasts_200_ms() {
    let (least, most) = (Duration::from_millis(200), Duration::from_millis(300));
    // Longer, and shorter: a queue that others had left, say.
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.rtt = 2 * RTT;
    let length = length_of_probe_rtt(&mut sim);
    assert!(length >= least && length < most, "{length:?}");
    let mut sim = Sim::new();
    sim.rtt = 2 * RTT;
    sim.run_until(State::ProbeRtt);
    sim.rtt = RTT;
    let length = length_of_probe_rtt(&mut sim);
    assert!(length >= least && length < most, "{length:?}");
}

/// The round after `ProbeRTT` delivers the small flight: what is lost in it does not make the path one of half the rate until the next probe.
#[test]
fn what_probe_rtt_has_sent_tells_nothing_of_the_path() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.run_until(State::ProbeRtt);
    sim.lottery = three_per_cent;
    sim.run_while(|bbr| bbr.state == State::ProbeRtt);
    sim.run(RTT);
    sim.lottery = |_| false;
    sim.run(2 * RTT);
    assert!(sim.bbr.model.bounds.bw_shortterm > 0.95 * RATE, "{}", sim.bbr.model.bounds.bw_shortterm);
}

#[test]
fn the_smallest_round_trip_time_rises_only_by_probing() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.rtt = 2 * RTT;
    sim.run(Duration::from_secs(4));
    assert!(sim.bbr.min_rtt.min.unwrap() < RTT + Duration::from_millis(2));
    sim.run_until(State::ProbeRtt);
    sim.run(Duration::from_secs(8));
    let min = sim.bbr.min_rtt.min.unwrap();
    assert!(min >= 2 * RTT && min < 2 * RTT + Duration::from_millis(5), "{min:?}");
}

#[test]
fn idleness_takes_the_place_of_probe_rtt() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.run_while(|bbr| bbr.state != State::ProbeBwCruise);
    // The application pauses; what is in flight comes back.
    sim.next_app = sim.now + Duration::from_secs(7);
    sim.run(Duration::from_secs(1));
    assert!(sim.in_flight <= MTU);
    while sim.in_flight != MTU || sim.now < sim.next_app {
        sim.step();
    }
    assert!(sim.bbr.min_rtt.idle_restart, "HandleRestartFromIdle()");
    let bw = sim.bbr.model.bw * 0.99;
    assert_eq!(sim.bbr.pacing_rate(RTT), Some(bw as u64), "it goes on at the rate that it had");
    sim.run(4 * RTT);
    assert!(!sim.bbr.min_rtt.idle_restart);
    assert_ne!(sim.bbr.state, State::ProbeRtt);
}

#[test]
fn probe_rtt_leads_back_to_startup_if_the_pipe_was_never_full() {
    let mut sim = Sim::new();
    sim.app = Some(RATE / 4.0);
    sim.run_until(State::ProbeRtt);
    assert!(!sim.bbr.full_pipe.reached);
    sim.run_while(|bbr| bbr.state == State::ProbeRtt);
    assert_eq!(sim.bbr.state, State::Startup);
}

#[test]
fn aggregation_is_measured_and_allowed_for() {
    let mut sim = Sim::new();
    // All acknowledgements of 25 ms come at once.
    sim.aggregate = Some(Duration::from_millis(25));
    sim.run_until(State::ProbeBwCruise);
    assert_close(sim.bbr.model.max_bw, RATE, 0.4);
    assert!(sim.bbr.model.extra_acked >= 20 * MTU, "{}", sim.bbr.model.extra_acked);
    assert!(sim.bbr.window() > 2 * BDP);
    let throughput = sim.throughput(Duration::from_secs(4));
    assert!(throughput > 0.9 * RATE, "{throughput}");
}

#[test]
fn less_than_a_packet_of_product_works() {
    let mut sim = Sim::new();
    (sim.rate, sim.rtt, sim.queue) = (10_000.0, Duration::from_millis(1), 20 * MTU);
    sim.run(Duration::from_secs(20));
    assert!(sim.bbr.window() >= 4 * MTU, "BBR.MinPipeCwnd");
    let throughput = sim.throughput(Duration::from_secs(20));
    assert_close(throughput, 10_000.0, 0.05);
}

#[test]
fn ten_times_the_bandwidth_is_found() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.rate = 10.0 * RATE;
    sim.queue = 20 * BDP;
    sim.run_until(State::ProbeBwUp);
    let start = sim.now;
    sim.run_while(|bbr| bbr.model.max_bw < 9.0 * RATE);
    assert!(sim.now - start < Duration::from_secs(15), "{:?}", sim.now - start);
}

#[test]
fn the_bound_of_the_flight_grows_by_doubling_steps() {
    let mut sim = Sim::in_state(State::ProbeBwRefill);
    (sim.rate, sim.queue) = (10.0 * RATE, 20 * BDP);
    sim.bbr.model.bounds.inflight_longterm = BDP;
    sim.run_until(State::ProbeBwUp);
    let mut steps = Vec::new();
    for _ in 0..6 {
        let (round, before) = (sim.bbr.rounds.count, sim.bbr.model.bounds.inflight_longterm);
        sim.run_while(|bbr| bbr.rounds.count == round);
        steps.push((sim.bbr.model.bounds.inflight_longterm - before) / MTU);
    }
    assert!(steps[5] >= 8 * steps[1].max(1) && steps.is_sorted(), "{steps:?}");
}

#[test]
fn a_tenth_of_the_bandwidth_is_adapted_to() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    (sim.rate, sim.queue) = (RATE / 10.0, BDP / 2);
    sim.run(Duration::from_secs(1));
    let bw = sim.bbr.model.bw;
    assert!(
        sim.lost > 0 && bw < 0.75 * RATE,
        "{} lost, {bw}: loss reduces the short-term estimate",
        sim.lost
    );
    sim.run(Duration::from_secs(20));
    assert_close(sim.bbr.model.max_bw, RATE / 10.0, 0.1);
    sim.lost = 0;
    let throughput = sim.throughput(Duration::from_secs(10));
    assert_close(throughput, RATE / 10.0, 0.1);
    assert!(sim.lost < 150, "{} of 1250 packets", sim.lost);
}

/// A policer, or a queue of next to nothing: what comes beyond the rate is dropped.
#[test]
fn a_shallow_queue_is_lived_with() {
    let mut sim = Sim::new();
    sim.queue = 4 * MTU;
    sim.run(Duration::from_secs(10));
    sim.lost = 0;
    let throughput = sim.throughput(Duration::from_secs(20));
    assert!(throughput > 0.8 * RATE, "{throughput}");
    assert!(sim.lost < 25_000 / 50, "{} of 25,000 packets", sim.lost);
}

#[test]
fn loss_outside_of_a_probe_reduces_to_what_is_delivered() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.run(2 * RTT);
    sim.lottery = |number| number % 10 == 3;
    sim.run(4 * RTT);
    let bounds = sim.bbr.model.bounds;
    assert!(bounds.bw_shortterm < RATE && bounds.bw_shortterm > 0.6 * RATE, "{}", bounds.bw_shortterm);
    assert!(bounds.inflight_shortterm < 2 * BDP);
    assert_close(sim.bbr.model.max_bw, RATE, 0.02);
    assert_eq!(bounds.inflight_longterm, INFINITE, "it was no probe");
}

/// Up to `BBR.LossThresh`, what is lost lowers nothing. A probe tolerates it beyond that.
#[test]
fn a_path_that_loses_one_per_cent_is_not_congested() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.run(2 * RTT);
    let rs = RateSample { in_flight: 100 * MTU, lost: 2500, ..RateSample::default() };
    assert!(sim.bbr.model.losses.is_inflight_too_high(&rs));
    sim.lottery = |number| number % 100 == 3;
    while sim.bbr.state == State::ProbeBwCruise {
        sim.step();
        let bounds = sim.bbr.model.bounds;
        assert_eq!((bounds.bw_shortterm, bounds.inflight_shortterm), (f64::INFINITY, INFINITE));
    }
    assert_eq!(sim.bbr.state, State::ProbeBwRefill);
    assert!(!sim.bbr.model.losses.is_inflight_too_high(&rs), "one per cent is the path's");
    assert!(sim.bbr.model.losses.is_inflight_too_high(&RateSample { lost: 3500, ..rs }));
}

#[test]
fn a_loss_that_was_none_gives_back_what_it_took() {
    let mut sim = Sim::in_state(State::ProbeBwUp);
    let before = sim.bbr.model.bounds;
    sim.lottery = |number| number % 20 == 7;
    sim.run_while(|bbr| bbr.state == State::ProbeBwUp);
    assert_ne!(sim.bbr.model.bounds, before);
    sim.lottery = |_| false;
    sim.bbr.on_spurious_congestion();
    assert_eq!(sim.bbr.model.bounds, before);
    assert_eq!(sim.bbr.state, State::ProbeBwRefill, "the probe begins anew");
    assert_eq!(sim.bbr.undo.state, None);
}

#[test]
fn a_startup_that_ended_by_mistake_is_resumed() {
    let mut sim = Sim::new();
    (sim.rate, sim.queue) = (100.0 * RATE, u64::MAX);
    sim.app = Some(8.0 * RATE);
    sim.run(Duration::from_millis(500));
    sim.lottery = three_per_cent;
    sim.run_while(|bbr| bbr.state == State::Startup);
    sim.bbr.on_spurious_congestion();
    assert_eq!((sim.bbr.state, sim.bbr.full_pipe.reached), (State::Startup, false));
}

/// "the congestion controller response MUST treat any CE marks as congestion".
#[test]
fn marks_are_congestion() {
    let mut sim = Sim::new();
    sim.run(3 * RTT);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    sim.run(2 * RTT);
    assert_ne!(sim.bbr.state, State::Startup);

    let mut sim = Sim::in_state(State::ProbeBwUp);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    assert_eq!(sim.bbr.state, State::ProbeBwDown);
    assert!(sim.bbr.model.bounds.inflight_longterm < INFINITE);

    let mut sim = Sim::in_state(State::ProbeBwCruise);
    sim.bbr.on_congestion(&sim.event(sim.now, true));
    sim.run(2 * RTT);
    assert!(sim.bbr.model.bounds.bw_shortterm.is_finite());
}

/// "BBR.PacingMarginPercent constant of 1 aims to cause BBR to pace at 1% below the bw, on average": below the largest that was seen, and
/// not below what was delivered by a sender that already did so.
#[test]
fn the_pacing_margin_is_kept_once() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let max_bw = sim.bbr.model.max_bw;
    let paced = |sim: &mut Sim, shortterm: f64| {
        sim.bbr.model.bounds.bw_shortterm = shortterm;
        sim.bbr.model.bound_bw();
        sim.bbr.set_pacing_rate();
        sim.bbr.pacing_rate(RTT).unwrap() as f64 / max_bw
    };
    for (shortterm, expected) in
        [(f64::INFINITY, 0.99), (0.995, 0.99), (0.99, 0.99), (0.98, 0.98), (0.7, 0.7)]
    {
        let share = paced(&mut sim, shortterm * max_bw);
        assert!((share - expected).abs() < 1e-5, "{share}");
    }
}

/// A mark on the very first packets must not leave the flow without a rate.
#[test]
fn there_is_a_rate_even_if_nothing_was_measured() {
    let mut sim = Sim::new();
    sim.step();
    let event = sim.event(sim.now, true);
    sim.bbr.on_congestion(&event);
    let rtt = RttSample { latest: RTT, min: 10 * RTT, smoothed: RTT };
    let mark = DeliveryMark::default();
    let now = sim.now + RTT;
    let sample = AckSample { now, bytes: MTU, sent: sim.now, in_flight: 0, mark, drained: false, rtt };
    sim.bbr.on_delivered(&sample);
    sim.bbr.on_ack(&sample);
    assert_eq!(sim.bbr.model.max_bw, 0.0);
    assert!(sim.bbr.full_pipe.reached && sim.bbr.pacing_rate(RTT).unwrap() > 100_000);
}

/// RFC 9002 §7.6.2: "the sender's congestion window MUST be reduced to the minimum congestion window".
#[test]
fn persistent_congestion_closes_the_window() {
    let mut sim = Sim::in_state(State::ProbeBwCruise);
    let before = sim.bbr.window();
    sim.bbr.on_congestion(&CongestionEvent { persistent: true, ..sim.event(sim.now, false) });
    assert_eq!(sim.bbr.window(), 2 * MTU);
    sim.run(Duration::from_secs(2));
    assert!(sim.bbr.window() >= before / 2);
}

/// "Handling Application-Limited Sending During `PROBE_REFILL`".
#[test]
fn an_application_that_pauses_in_refill_does_not_spoil_the_estimate() {
    let mut sim = Sim::in_state(State::ProbeBwRefill);
    let max_bw = sim.bbr.model.max_bw;
    sim.app = Some(RATE / 10.0);
    sim.run_while(|bbr| bbr.state == State::ProbeBwRefill);
    assert_eq!(sim.bbr.state, State::ProbeBwUp);
    sim.run(4 * RTT);
    assert!(sim.bbr.rs.app_limited && sim.bbr.rs.rate < max_bw / 2.0);
    assert_eq!(sim.bbr.model.max_bw, max_bw);
}

#[test]
fn the_initial_window_follows_the_mtu() {
    let mut bbr = Bbr::new(1200, Box::new(SeededRng::from_u64(1)));
    assert_eq!(bbr.window(), 12_000);
    bbr.on_mtu(1452);
    assert_eq!(bbr.window(), 14_520);
    assert_eq!(bbr.pacing_rate(RTT), None, "before the first sample, the default rate");
}

#[test]
fn chance_is_injected() {
    let wait = |seed| {
        let mut sim = Sim::new();
        sim.bbr = Bbr::new(MTU as u16, Box::new(SeededRng::from_u64(seed)));
        sim.run_until(State::ProbeBwDown);
        sim.bbr.cycle.wait
    };
    assert_eq!(wait(1), wait(1));
    assert_ne!(wait(1), wait(2));
}
