//! One direction of a wire: rate, delay, and everything that goes wrong on the way.
//!
//! Owns [`Link`] (plain data, built like a sentence) and the running link. A datagram passes, in this order: MTU, queue, rate,
//! black-outs, loss, corruption, delay with jitter and reordering, duplication. Invariants: without reordering nothing overtakes;
//! a running link draws from its own generator only, so that no link's dice depend on the traffic of another. Its one timer is the
//! end of the datagram on the wire, reported as [`Effect::Busy`].

use std::time::Duration;

use quic_proto::net::Ecn;
use quic_proto::rng::Rng;
use quic_proto::time::Instant;

use crate::loss::{Loss, LossState};
use crate::packet::Packet;
use crate::queue::{Queue, Waiting};
use crate::trace::Fate;
use crate::units::{Probability, Rate, kbit, kib, mbit, ms, percent, uniform};

/// A link's place in a network: links are numbered from zero in the order in which they are added.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(pub usize);

/// What one direction of a wire is like. The default is a perfect one: infinitely fast, no delay, nothing lost.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Link {
    rate: Option<Rate>,
    delay: Duration,
    jitter: Duration,
    loss: Loss,
    reorder: Probability,
    reorder_by: Duration,
    duplicate: Probability,
    corrupt: Probability,
    mark: Probability,
    mark_above: Option<usize>,
    bleach: bool,
    mtu: Option<usize>,
    queue: Queue,
    black_outs: Vec<(Duration, Duration)>,
    stalls: Option<(Duration, Duration)>,
}

impl Link {
    /// A perfect link.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts bytes of UDP payload on the wire at this rate; without one, a link never queues.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Delays each datagram by this long after its last byte left the queue.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Delays each datagram further, uniformly between nothing and this. Jitter alone never reorders.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Loses datagrams: `percent(1)`, or any [`Loss`].
    #[must_use]
    pub fn loss(mut self, loss: impl Into<Loss>) -> Self {
        self.loss = loss.into();
        self
    }

    /// Holds some datagrams back by `by`, so that those behind overtake them.
    #[must_use]
    pub fn reorder(mut self, some: Probability, by: Duration) -> Self {
        (self.reorder, self.reorder_by) = (some, by);
        self
    }

    /// Delivers some datagrams twice; the copy suffers jitter and reordering of its own.
    #[must_use]
    pub fn duplicate(mut self, some: Probability) -> Self {
        self.duplicate = some;
        self
    }

    /// Changes one byte of some datagrams, as an attacker could (UDP's checksum stops most accidents).
    #[must_use]
    pub fn corrupt(mut self, some: Probability) -> Self {
        self.corrupt = some;
        self
    }

    /// Marks some ECN-capable datagrams with "congestion experienced", at random.
    #[must_use]
    pub fn mark(mut self, some: Probability) -> Self {
        self.mark = some;
        self
    }

    /// Marks ECN-capable datagrams that find more than this many bytes in the queue.
    #[must_use]
    pub fn mark_above(mut self, bytes: usize) -> Self {
        self.mark_above = Some(bytes);
        self
    }

    /// Clears the ECN codepoint of every datagram, as some routers do.
    #[must_use]
    pub fn bleach_ecn(mut self) -> Self {
        self.bleach = true;
        self
    }

    /// Drops datagrams with more than this many bytes of UDP payload.
    #[must_use]
    pub fn mtu(mut self, bytes: usize) -> Self {
        self.mtu = Some(bytes);
        self
    }

    /// Queues by this discipline. Fixed once the link is in a network.
    #[must_use]
    pub fn queue(mut self, queue: Queue) -> Self {
        self.queue = queue;
        self
    }

    /// Now and then, on average `every` after the last time, nothing comes out for up to `up_to`, and then all of it at once and in order:
    /// a radio that waits for its turn, or a host whose processor another guest has. The queue goes on draining.
    #[must_use]
    pub fn stall(mut self, every: Duration, up_to: Duration) -> Self {
        self.stalls = Some((every, up_to));
        self
    }

    /// Loses everything that leaves the queue from `from` (inclusive) to `until` (exclusive) after the start. The queue goes on
    /// filling and draining. May be given several times.
    #[must_use]
    pub fn black_out(mut self, from: Duration, until: Duration) -> Self {
        self.black_outs.push((from, until));
        self
    }

    /// A link that some network somewhere might have, with a mix of impairments that a correct transport survives. It passes
    /// datagrams of at least 1200 bytes.
    pub fn arbitrary(rng: &mut dyn Rng) -> Self {
        let mut link = Self::new().delay(uniform(rng, ms(120)));
        let mut sometimes = |rng: &mut dyn Rng, change: &dyn Fn(Self, &mut dyn Rng) -> Self| {
            if percent(40).roll(rng) {
                link = change(link.clone(), rng);
            }
        };
        sometimes(rng, &|l, r| l.rate(kbit(300 + r.below(5_000))).queue(Queue::drop_tail(kib(16))));
        sometimes(rng, &|l, r| l.rate(mbit(1 + r.below(200))).queue(Queue::drop_tail(kib(8 << r.below(7)))));
        sometimes(rng, &|l, _| l.queue(Queue::codel_with_ecn()));
        sometimes(rng, &|l, r| l.jitter(uniform(r, ms(30))));
        sometimes(rng, &|l, r| l.loss(percent(r.below(80) as f64 / 10.0)));
        // Bursts count datagrams, and an idle protocol sends few: one that lost all would look like a link that is down for good.
        sometimes(rng, &|l, r| {
            l.loss(Loss::GilbertElliott {
                worsen: percent(r.below(3) as f64),
                recover: percent((25 + r.below(50)) as f64),
                good: Probability::NEVER,
                bad: percent(70),
            })
        });
        sometimes(rng, &|l, r| l.reorder(percent(r.below(10) as f64), uniform(r, ms(40))));
        sometimes(rng, &|l, r| l.duplicate(percent(r.below(10) as f64)));
        sometimes(rng, &|l, r| l.corrupt(percent(r.below(4) as f64)));
        sometimes(rng, &|l, r| l.mark(percent(r.below(10) as f64)));
        sometimes(rng, &|l, r| l.mtu(1200 + r.below(301) as usize));
        sometimes(rng, &|l, r| {
            let from = uniform(r, ms(3_000));
            l.black_out(from, from + uniform(r, ms(1_500)))
        });
        if percent(10).roll(rng) { link.bleach_ecn() } else { link }
    }

    fn is_black(&self, now: Instant) -> bool {
        let since = now - Instant::EPOCH;
        self.black_outs.iter().any(|(from, until)| *from <= since && since < *until)
    }
}

/// What a link did, in counts of datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct LinkStats {
    /// Given to the link.
    pub offered: u64,
    /// Given on by the link, copies included.
    pub passed: u64,
    /// Bytes of UDP payload given on, copies included.
    pub passed_bytes: u64,
    /// Taken by loss, black-outs, the MTU or the queue.
    pub dropped: u64,
    /// Held back to be overtaken.
    pub reordered: u64,
    /// Copied.
    pub duplicated: u64,
    /// Changed.
    pub corrupted: u64,
    /// Marked by the link itself (not those that `CoDel` marked).
    pub marked: u64,
    /// The most bytes that ever waited in the queue.
    pub queue_peak: usize,
    /// How long datagrams waited in the queue, all together.
    pub waited: Duration,
}

/// What a link asks the network to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// The packet is gone.
    Dropped(Packet, Fate),
    /// The packet comes out at the far end then.
    Arrives(Instant, Packet),
    /// The wire is busy until then: call `finish` at that time.
    Busy(Instant),
}

/// A link with traffic on it.
pub(crate) struct RunningLink {
    config: Link,
    rng: Box<dyn Rng>,
    waiting: Waiting,
    on_wire: Option<Packet>,
    loss: LossState,
    last_arrival: Instant,
    /// The present stall, or the next one.
    stall: (Instant, Instant),
    dropped: Vec<Packet>,
    stats: LinkStats,
}

impl RunningLink {
    pub(crate) fn new(config: Link, rng: Box<dyn Rng>) -> Self {
        Self {
            waiting: Waiting::new(config.queue),
            config,
            rng,
            on_wire: None,
            loss: LossState::default(),
            last_arrival: Instant::EPOCH,
            stall: (Instant::EPOCH, Instant::EPOCH),
            dropped: Vec::new(),
            stats: LinkStats::default(),
        }
    }

    pub(crate) fn stats(&self) -> LinkStats {
        self.stats
    }

    /// Changes the link's properties, from the next datagram that leaves the queue on.
    pub(crate) fn reshape(&mut self, change: impl FnOnce(Link) -> Link) {
        self.config = change(std::mem::take(&mut self.config));
    }

    /// A packet reaches the link.
    pub(crate) fn offer(&mut self, now: Instant, mut packet: Packet, out: &mut Vec<Effect>) {
        self.stats.offered += 1;
        if self.config.bleach {
            packet.ecn = None;
        }
        if self.config.mtu.is_some_and(|mtu| packet.payload.len() > mtu) {
            return self.drop_packet(packet, Fate::TooBig, out);
        }
        if self.config.mark_above.is_some_and(|limit| self.waiting.bytes() > limit)
            || self.config.mark.roll(&mut *self.rng)
        {
            self.stats.marked += u64::from(packet.ecn != Some(Ecn::Ce) && packet.mark());
        }
        if self.on_wire.is_some() {
            match self.waiting.push(now, packet) {
                None => self.stats.queue_peak = self.stats.queue_peak.max(self.waiting.bytes()),
                Some(packet) => self.drop_packet(packet, Fate::QueueFull, out),
            }
        } else if self.config.rate.is_some() {
            self.waiting.push_anyway(now, packet);
            self.start(now, out);
        } else {
            self.transit(now, packet, out);
        }
    }

    /// The last byte of the packet on the wire has left.
    pub(crate) fn finish(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if let Some(packet) = self.on_wire.take() {
            self.transit(now, packet, out);
        }
        self.start(now, out);
    }

    /// Puts the next packet that waits on the wire.
    fn start(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let packet = self.waiting.pop(now, &mut self.dropped);
        self.stats.dropped += self.dropped.len() as u64;
        out.extend(self.dropped.drain(..).map(|packet| Effect::Dropped(packet, Fate::CoDel)));
        if let Some(packet) = packet {
            self.stats.waited += now - packet.queued;
            // Where the rate was lifted while packets waited, they drain at once, but still one by one.
            let time = self.config.rate.map_or(Duration::ZERO, |rate| rate.time_for(packet.payload.len()));
            out.push(Effect::Busy(now + time));
            self.on_wire = Some(packet);
        }
    }

    /// What happens between the two ends.
    fn transit(&mut self, now: Instant, mut packet: Packet, out: &mut Vec<Effect>) {
        let lost = self.loss.loses(&self.config.loss, &mut *self.rng);
        if self.config.is_black(now) {
            return self.drop_packet(packet, Fate::BlackedOut, out);
        }
        if lost {
            return self.drop_packet(packet, Fate::Lost, out);
        }
        if self.config.corrupt.roll(&mut *self.rng) && !packet.payload.is_empty() {
            let at = self.rng.below(packet.payload.len() as u64) as usize;
            packet.payload[at] ^= 1 + self.rng.below(255) as u8;
            packet.corrupted = true;
            self.stats.corrupted += 1;
        }
        let copy = self.config.duplicate.roll(&mut *self.rng).then(|| packet.clone());
        self.deliver(now, packet, out);
        if let Some(mut copy) = copy {
            copy.duplicate = true;
            self.stats.duplicated += 1;
            self.deliver(now, copy, out);
        }
    }

    fn deliver(&mut self, now: Instant, packet: Packet, out: &mut Vec<Effect>) {
        let mut arrival = now + self.config.delay + uniform(&mut *self.rng, self.config.jitter);
        if self.config.reorder.roll(&mut *self.rng) {
            // Not remembered as the last arrival: the others are to overtake it.
            arrival += self.config.reorder_by;
            self.stats.reordered += 1;
        } else {
            arrival = self.after_stall(arrival.max(self.last_arrival));
            self.last_arrival = arrival;
        }
        self.stats.passed += 1;
        self.stats.passed_bytes += packet.payload.len() as u64;
        out.push(Effect::Arrives(arrival, packet));
    }

    /// When what would arrive then does so.
    fn after_stall(&mut self, arrival: Instant) -> Instant {
        let Some((every, up_to)) = self.config.stalls else { return arrival };
        while self.stall.1 <= arrival {
            let from = self.stall.1 + uniform(&mut *self.rng, 2 * every);
            // A stall takes time, so that this comes to an end.
            self.stall = (from, from + uniform(&mut *self.rng, up_to).max(Duration::from_micros(1)));
        }
        if self.stall.0 <= arrival { self.stall.1 } else { arrival }
    }

    fn drop_packet(&mut self, packet: Packet, fate: Fate, out: &mut Vec<Effect>) {
        self.stats.dropped += 1;
        out.push(Effect::Dropped(packet, fate));
    }
}
