//! What waits in front of a link: a drop-tail queue, or `CoDel` (RFC 8289).
//!
//! Owns the discipline ([`Queue`], plain data) and the running queue. Invariants: `bytes` is the sum of the queued payloads and does
//! not exceed the capacity; packets leave in the order in which they came. No timers: `CoDel` acts when a packet is taken out.

use std::collections::VecDeque;
use std::time::Duration;

use quic_proto::time::Instant;

use crate::packet::Packet;
use crate::units::{kib, ms};

/// A queueing discipline. Capacities count bytes of UDP payload and not the datagram that is being put on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Queue {
    /// First in, first out; what does not fit is dropped.
    DropTail {
        /// How many bytes may wait.
        capacity: usize,
    },
    /// Controlled delay (RFC 8289): drops at the head once packets have waited too long for too long.
    CoDel {
        /// The waiting time that is acceptable in the long run; RFC 8289 §4 recommends 5 ms.
        target: Duration,
        /// For how long the waiting time may exceed the target; RFC 8289 §4 recommends 100 ms.
        interval: Duration,
        /// How many bytes may wait; what does not fit is dropped at the tail.
        capacity: usize,
        /// Whether ECN-capable packets are marked instead of dropped.
        ecn: bool,
    },
}

impl Queue {
    /// A drop-tail queue of `capacity` bytes.
    pub const fn drop_tail(capacity: usize) -> Self {
        Self::DropTail { capacity }
    }

    /// `CoDel` with the parameters that RFC 8289 recommends, room for a MiB, and no ECN.
    pub const fn codel() -> Self {
        Self::CoDel { target: ms(5), interval: ms(100), capacity: kib(1024), ecn: false }
    }

    /// `CoDel` with the parameters that RFC 8289 recommends, marking ECN-capable packets.
    pub const fn codel_with_ecn() -> Self {
        Self::CoDel { target: ms(5), interval: ms(100), capacity: kib(1024), ecn: true }
    }

    const fn capacity(&self) -> usize {
        match self {
            Self::DropTail { capacity } | Self::CoDel { capacity, .. } => *capacity,
        }
    }
}

impl Default for Queue {
    /// 256 KiB of drop-tail.
    fn default() -> Self {
        Self::drop_tail(kib(256))
    }
}

/// A running queue.
#[derive(Debug)]
pub(crate) struct Waiting {
    discipline: Queue,
    packets: VecDeque<Packet>,
    bytes: usize,
    codel: CoDel,
}

impl Waiting {
    pub(crate) fn new(discipline: Queue) -> Self {
        Self { discipline, packets: VecDeque::new(), bytes: 0, codel: CoDel::default() }
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends a packet, or gives it back if there is no room.
    #[must_use = "a packet that comes back was dropped"]
    pub(crate) fn push(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        if self.bytes + packet.payload.len() > self.discipline.capacity() {
            return Some(packet);
        }
        self.push_anyway(now, packet);
        None
    }

    /// Appends a packet for which the wire is free: it does not really wait, so that the capacity does not matter.
    pub(crate) fn push_anyway(&mut self, now: Instant, mut packet: Packet) {
        packet.queued = now;
        self.bytes += packet.payload.len();
        self.packets.push_back(packet);
    }

    /// Takes the next packet out; those that `CoDel` drops on the way go to `dropped`.
    pub(crate) fn pop(&mut self, now: Instant, dropped: &mut Vec<Packet>) -> Option<Packet> {
        match self.discipline {
            Queue::DropTail { .. } => self.take(),
            Queue::CoDel { target, interval, ecn, .. } => {
                self.pop_codel(now, Control { target, interval, ecn }, dropped)
            }
        }
    }

    fn take(&mut self) -> Option<Packet> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.payload.len();
        Some(packet)
    }

    /// RFC 8289 §5.5, "dequeue".
    fn pop_codel(&mut self, now: Instant, control: Control, dropped: &mut Vec<Packet>) -> Option<Packet> {
        let (mut packet, mut may_drop) = self.take_timed(now, control);
        if self.codel.dropping {
            self.codel.dropping &= may_drop;
            while self.codel.dropping && now >= self.codel.next {
                self.codel.count += 1;
                let marked = packet.as_mut().is_some_and(|packet| control.ecn && packet.mark());
                if !marked {
                    dropped.extend(packet.take());
                    (packet, may_drop) = self.take_timed(now, control);
                }
                if may_drop {
                    self.codel.next = control.law(self.codel.next, self.codel.count);
                }
                self.codel.dropping = may_drop;
                if marked {
                    break;
                }
            }
        } else if may_drop {
            if !packet.as_mut().is_some_and(|packet| control.ecn && packet.mark()) {
                dropped.extend(packet.take());
                (packet, _) = self.take_timed(now, control);
            }
            self.codel.enter(now, control);
        }
        packet
    }

    /// RFC 8289 §5.6, "dodequeue": the next packet, and whether it may be dropped.
    fn take_timed(&mut self, now: Instant, control: Control) -> (Option<Packet>, bool) {
        let Some(packet) = self.take() else {
            self.codel.first_above = None;
            return (None, false);
        };
        self.codel.max_packet = self.codel.max_packet.max(packet.payload.len());
        // RFC 8289 §5.6: a queue of less than one full packet is not a standing queue.
        if now - packet.queued < control.target || self.bytes <= self.codel.max_packet {
            self.codel.first_above = None;
            return (Some(packet), false);
        }
        let since = *self.codel.first_above.get_or_insert(now + control.interval);
        (Some(packet), now >= since)
    }
}

#[derive(Clone, Copy)]
struct Control {
    target: Duration,
    interval: Duration,
    ecn: bool,
}

impl Control {
    /// RFC 8289 §5.6, `control_law`: the time of the next drop.
    fn law(self, from: Instant, count: u32) -> Instant {
        // A double's square root and division are exactly specified, so that this too is the same on every machine.
        from + self.interval.div_f64(f64::from(count.max(1)).sqrt())
    }
}

/// RFC 8289 §5.2, the state of the control loop.
#[derive(Debug, Default)]
struct CoDel {
    first_above: Option<Instant>,
    next: Instant,
    count: u32,
    last_count: u32,
    dropping: bool,
    max_packet: usize,
}

impl CoDel {
    /// Enters the dropping state.
    fn enter(&mut self, now: Instant, control: Control) {
        self.dropping = true;
        let delta = self.count.saturating_sub(self.last_count);
        // RFC 8289 §5.5: having dropped not long ago, go on at the rate that controlled the queue then.
        let recent = now - self.next < control.interval * 16;
        self.count = if delta > 1 && recent { delta } else { 1 };
        self.next = control.law(now, self.count);
        self.last_count = self.count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::secs;
    use quic_proto::net::Ecn;

    fn packet(len: usize) -> Packet {
        let address = ([10, 0, 0, 1], 1).into();
        Packet {
            from: address,
            to: address,
            ecn: Some(Ecn::Ect0),
            payload: vec![0; len],
            route: [].into(),
            hop: 0,
            queued: Instant::EPOCH,
            corrupted: false,
            duplicate: false,
        }
    }

    #[test]
    fn tail_is_dropped_beyond_the_capacity() {
        let mut queue = Waiting::new(Queue::drop_tail(2500));
        let now = Instant::EPOCH;
        assert!(queue.push(now, packet(1000)).is_none());
        assert!(queue.push(now, packet(1400)).is_none());
        assert!(queue.push(now, packet(101)).is_some());
        assert!(queue.push(now, packet(100)).is_none());
        assert_eq!(queue.bytes(), 2500);
        let mut dropped = Vec::new();
        let lens: Vec<_> =
            std::iter::from_fn(|| queue.pop(now, &mut dropped)).map(|p| p.payload.len()).collect();
        assert_eq!((lens, queue.bytes(), dropped.len()), (vec![1000, 1400, 100], 0, 0));
    }

    /// Feeds a queue twice as fast as it drains for `time`; the drop (or mark) times and the last sojourn time.
    fn overload(discipline: Queue, time: Duration) -> (Vec<Instant>, usize, Duration) {
        let (mut queue, mut dropped) = (Waiting::new(discipline), Vec::new());
        let (mut drops, mut marks, mut sojourn) = (Vec::new(), 0, Duration::ZERO);
        let mut now = Instant::EPOCH;
        while now < Instant::EPOCH + time {
            let _ = queue.push(now, packet(1000));
            let _ = queue.push(now, packet(1000));
            now += ms(1);
            let taken = queue.pop(now, &mut dropped).expect("never empty");
            marks += usize::from(taken.ecn == Some(Ecn::Ce));
            sojourn = now - taken.queued;
            drops.extend(dropped.drain(..).map(|_| now));
        }
        (drops, marks, sojourn)
    }

    #[test]
    fn codel_waits_an_interval_then_drops_by_the_inverse_square_root() {
        let (drops, marks, _) = overload(Queue::codel(), ms(400));
        assert_eq!(marks, 0);
        // The wait exceeds 5 ms after about 10 ms; a first drop an interval later, then after 100/√1, 100/√2, 100/√3 ms.
        let first = drops[0] - Instant::EPOCH;
        assert!(first > ms(105) && first < ms(125), "{first:?}");
        let gaps: Vec<_> = drops.windows(2).map(|w| (w[1] - w[0]).as_millis()).collect();
        assert!((100..=101).contains(&gaps[0]), "{gaps:?}");
        assert!((70..=72).contains(&gaps[1]), "{gaps:?}");
        assert!((57..=59).contains(&gaps[2]), "{gaps:?}");
    }

    #[test]
    fn codel_marks_instead_where_it_may() {
        let (drops, marks, _) = overload(Queue::codel_with_ecn(), ms(400));
        assert!(drops.is_empty());
        assert!((3..=6).contains(&marks), "{marks}");
    }

    #[test]
    fn codel_leaves_a_good_queue_alone() {
        let (mut queue, mut dropped) = (Waiting::new(Queue::codel()), Vec::new());
        // A burst of 20 packets every 50 ms drains in 20 ms: above the target, but not for an interval.
        let mut now = Instant::EPOCH;
        while now < Instant::EPOCH + secs(5) {
            (0..20).for_each(|_| assert!(queue.push(now, packet(1000)).is_none()));
            for _ in 0..50 {
                now += ms(1);
                let _ = queue.pop(now, &mut dropped);
            }
        }
        assert!(dropped.is_empty());
    }

    #[test]
    fn codel_drops_ever_faster_until_the_queue_is_controlled() {
        let controlled = overload(Queue::codel(), secs(30)).0;
        let half = controlled.partition_point(|at| *at < Instant::from_millis(15_000));
        assert!(controlled.len() - half > 2 * half, "{half} of {}", controlled.len());
    }
}
