//! A link on its own, for datagrams that come and go in real time.
//!
//! Owns [`Pipe`]: what a proxy between real sockets needs of the link model. Invariants: what the link does happens at the link's own
//! times, however late the owner looks, so that a timer of the owner's that is coarse makes bursts but changes neither rate nor queue;
//! datagrams come out in the order of their arrival. Timers: one, the next thing that happens on the link.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quic_proto::rng::SeededRng;
use quic_proto::time::Instant;

use crate::agenda::Agenda;
use crate::link::{Effect, Link, RunningLink};
use crate::packet::{Packet, Pool};
use crate::trace::Fate;

/// One direction of a wire outside of a [`Network`](crate::Network): datagrams are put in at one end and taken out at the other, by
/// a clock of the owner's.
///
/// ```
/// use quic_proto::time::Instant;
/// use quic_sim::units::{mbit, ms};
/// use quic_sim::{Link, Pipe};
///
/// let mut pipe = Pipe::new(Link::new().rate(mbit(8)).delay(ms(20)), 1);
/// pipe.send(Instant::EPOCH, &[7; 1000]);
/// // A thousand bytes take a millisecond at this rate.
/// assert_eq!(pipe.receive(Instant::EPOCH + ms(20)), None);
/// assert_eq!(pipe.receive(Instant::EPOCH + ms(21)).as_deref(), Some(&[7; 1000][..]));
/// ```
pub struct Pipe {
    link: RunningLink,
    agenda: Agenda<Event>,
    arrived: VecDeque<Vec<u8>>,
    effects: Vec<Effect>,
    pool: Pool,
    stats: PipeStats,
}

/// What a pipe did, in counts of datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct PipeStats {
    /// Came out at the far end.
    pub passed: u64,
    /// Lost by chance, or in a black-out.
    pub lost: u64,
    /// Found the queue full, or stayed in it for too long.
    pub overflowed: u64,
    /// Were longer than the link's MTU.
    pub too_big: u64,
}

enum Event {
    WireFree,
    Arrival(Packet),
}

impl Pipe {
    /// A pipe of this kind, whose dice are thrown by `seed`.
    pub fn new(link: Link, seed: u64) -> Self {
        Self {
            link: RunningLink::new(link, Box::new(SeededRng::from_u64(seed))),
            agenda: Agenda::new(),
            arrived: VecDeque::new(),
            effects: Vec::new(),
            pool: Pool::default(),
            stats: PipeStats::default(),
        }
    }

    /// A datagram enters. Time must not go back from call to call.
    pub fn send(&mut self, now: Instant, payload: &[u8]) {
        const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        self.advance(now);
        let packet = Packet {
            from: NOWHERE,
            to: NOWHERE,
            ecn: None,
            payload: self.pool.take(payload),
            route: Arc::default(),
            hop: 0,
            queued: now,
            corrupted: false,
            duplicate: false,
        };
        self.link.offer(now, packet, &mut self.effects);
        self.apply();
    }

    /// The next datagram that has come out by now. Its buffer may be given [back](Self::recycle).
    pub fn receive(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.advance(now);
        self.arrived.pop_front()
    }

    /// Takes a buffer to use again.
    pub fn recycle(&mut self, buffer: Vec<u8>) {
        self.pool.give(buffer);
    }

    /// When to look again; `None` while the pipe is empty.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.arrived.is_empty() { self.agenda.next_time() } else { Some(Instant::EPOCH) }
    }

    /// What became of the datagrams so far.
    pub fn stats(&self) -> PipeStats {
        self.stats
    }

    /// Lets everything happen that is due, each thing at its time.
    fn advance(&mut self, now: Instant) {
        while let Some(at) = self.agenda.next_time().filter(|at| *at <= now) {
            match self.agenda.pop() {
                Some(Event::WireFree) => self.link.finish(at, &mut self.effects),
                Some(Event::Arrival(packet)) => {
                    self.stats.passed += 1;
                    self.arrived.push_back(packet.payload);
                }
                None => {}
            }
            self.apply();
        }
    }

    fn apply(&mut self) {
        for effect in self.effects.drain(..) {
            match effect {
                Effect::Busy(until) => self.agenda.push(until, Event::WireFree),
                Effect::Arrives(at, packet) => self.agenda.push(at, Event::Arrival(packet)),
                Effect::Dropped(packet, fate) => {
                    match fate {
                        Fate::QueueFull | Fate::CoDel => self.stats.overflowed += 1,
                        Fate::TooBig => self.stats.too_big += 1,
                        _ => self.stats.lost += 1,
                    }
                    self.pool.give(packet.payload);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queue;
    use crate::units::{mbit, ms, percent, us};

    fn at(time: std::time::Duration) -> Instant {
        Instant::EPOCH + time
    }

    #[test]
    fn the_rate_holds_however_late_one_looks() {
        let mut pipe = Pipe::new(Link::new().rate(mbit(8)).delay(ms(5)), 1);
        for _ in 0..10 {
            pipe.send(at(ms(0)), &[0; 1000]);
        }
        // Ten milliseconds on the wire: at 12 ms the first seven have come out.
        let out = std::iter::from_fn(|| pipe.receive(at(ms(12)))).count();
        assert_eq!(out, 7);
        assert_eq!(pipe.next_timeout(), Some(at(ms(13))));
        let out = std::iter::from_fn(|| pipe.receive(at(ms(100)))).count();
        assert_eq!(out, 3);
        assert_eq!(pipe.next_timeout(), None);
    }

    #[test]
    fn the_queue_overflows_and_drains_at_its_own_times() {
        let link = Link::new().rate(mbit(8)).queue(Queue::drop_tail(2000));
        let mut pipe = Pipe::new(link, 1);
        for _ in 0..5 {
            pipe.send(at(ms(0)), &[0; 1000]);
        }
        // One on the wire, two in the queue.
        assert_eq!(pipe.stats().overflowed, 2);
        // Nobody looked meanwhile, and yet there is room again.
        pipe.send(at(us(2500)), &[0; 1000]);
        assert_eq!(pipe.stats().overflowed, 2);
        assert_eq!(std::iter::from_fn(|| pipe.receive(at(ms(4)))).count(), 4);
    }

    #[test]
    fn losses_follow_the_seed() {
        let fates = |seed| {
            let mut pipe = Pipe::new(Link::new().loss(percent(20)), seed);
            let fates: Vec<_> = (0..1000)
                .map(|i| {
                    pipe.send(at(ms(i)), &[0]);
                    pipe.receive(at(ms(i))).is_some()
                })
                .collect();
            assert_eq!(pipe.stats().lost + pipe.stats().passed, 1000);
            fates
        };
        assert_eq!(fates(7), fates(7));
        let lost = fates(7).iter().filter(|arrived| !**arrived).count();
        assert!((150..250).contains(&lost), "{lost}");
    }

    #[test]
    fn a_buffer_is_used_again() {
        let mut pipe = Pipe::new(Link::new(), 1);
        pipe.send(at(ms(0)), &[1; 100]);
        let buffer = pipe.receive(at(ms(0))).unwrap();
        let place = buffer.as_ptr();
        pipe.recycle(buffer);
        pipe.send(at(ms(1)), &[2; 50]);
        let again = pipe.receive(at(ms(1))).unwrap();
        assert_eq!((again.as_ptr(), &again[..]), (place, &[2; 50][..]));
    }
}
