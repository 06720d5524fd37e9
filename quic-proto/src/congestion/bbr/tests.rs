//! The example tests of draft-ietf-ccwg-bbr, "BBR Example Test Cases", on a path of one bottleneck that acknowledges every packet.

mod path;
mod probe_bw;
mod probe_rtt;
mod startup;

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
