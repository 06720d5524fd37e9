//! The task that drives an endpoint: datagrams in, deadlines, events to the tasks that wait, datagrams out.
//!
//! Owns [`Driver`], a future that ends when nobody can use the endpoint any more and all its connections are over.
//!
//! Each time that the driver runs it takes a batch from the socket, which costs one system call, one look at the clock and one lock. It stops
//! once the application has [enough](ENOUGH) to do, and goes on with the batch next time. Then it runs what is due, hands out events, and wakes
//! each task that has something to do, without the lock. If it woke some, it lets them run before it sends: their answers leave with the acknowledgements. So the answers to the first of many requests, or the flight of the
//! first of many handshakes, leave before the last is looked at, and the two ends work at the same time.
//!
//! A runtime that always has a task to run looks at its sockets rarely. So a driver that goes on without having been woken asks the system
//! itself, unless that said [a moment](FRESH) ago that there was nothing. And a driver that has sent [far ahead](Lead) of what it hears waits
//! for a moment, since its peer may be kept from its socket by tasks that work for long.
//!
//! While an answer is to come at once ([`dialogue`](quic_udp::dialogue)) the driver has the runtime come back to it, after all other tasks, instead
//! of sleeping.
//!
//! Invariants: what was written to the send buffer stays there until the socket has taken it; meanwhile the protocol is not asked for
//! more. What was received and not handled waits in the inbox; meanwhile the socket is not asked for more. A driver that lets tasks run first
//! sends when it runs next, however much came by then. A run is short, so that it shares its thread with the application's tasks, and what
//! they write waits for little that was written before.
//!
//! Timers: one, at the earliest deadline of all connections. It is set again only if that moved forward; a deadline that moved back is
//! found when the timer fires too early.

use crate::shards::ShardList;
use crate::socket::Room;
use crate::state::{Shared, State};
use crate::wakers::WakeList;
use quic_proto::time::Instant;
use quic_udp::dialogue::Dialogue;
use quic_udp::rhythm::{ENOUGH, Lead, SENDS};
use quic_udp::{ReceiveBatch, SendBatch};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::Sleep;

/// For so long a socket that had nothing more is taken to be empty.
const FRESH: Duration = Duration::from_micros(50);

/// How long a driver waits that is far ahead of its peers, if it hears nothing. tokio's timers make a millisecond of it.
const PAUSE: Duration = Duration::from_micros(100);

pub(crate) struct Driver {
    shared: Arc<Shared>,
    shards: Arc<ShardList>,
    /// Which of them this is.
    number: usize,
    inbox: ReceiveBatch,
    /// What the protocol wrote and the socket has not taken yet.
    outbox: SendBatch,
    /// How much was sent in a row.
    lead: Lead,
    /// The watch for room to send it.
    room: Room,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    /// The earliest deadline, as of when the protocol had nothing more to send.
    deadline: Option<Instant>,
    wakes: WakeList,
    /// Tasks were woken that may have something to send by now.
    deferred: bool,
    /// The driver goes on without having been woken.
    eager: bool,
    /// Whether an answer is to come at once.
    dialogue: Dialogue,
    /// When the socket had nothing more, as far as is known.
    drained: Option<Instant>,
}

/// How a run ended.
enum Run {
    /// There may be more to do, which can wait until other tasks had their turn.
    Yield,
    /// There is nothing to do but to wait for an answer, which is to come at once.
    Watch,
    /// There is nothing to do now.
    Idle,
    /// There will never be anything to do again.
    Over,
}

impl Driver {
    /// The driver of shard `number`. Must be called within a tokio runtime.
    pub(crate) fn new(shards: Arc<ShardList>, number: usize, busy_poll: Duration) -> Self {
        let shared = Arc::clone(&shards[number]);
        let timer = Box::pin(tokio::time::sleep_until(shared.clock.to_tokio(Instant::EPOCH)));
        Self {
            shared,
            shards,
            number,
            inbox: ReceiveBatch::new(),
            outbox: SendBatch::new(),
            room: Room::default(),
            timer,
            armed: Some(Instant::EPOCH),
            deadline: None,
            wakes: WakeList::default(),
            deferred: false,
            eager: false,
            dialogue: Dialogue::new(busy_poll),
            lead: Lead::default(),
            drained: None,
        }
    }

    fn run(&mut self, cx: &mut Context<'_>) -> io::Result<Run> {
        let shared = Arc::clone(&self.shared);
        let mut now = shared.clock.now();
        if std::mem::take(&mut self.deferred) {
            self.send(cx, now)?;
        }
        let drained = self.receive(cx, &mut now)?;
        let over = {
            let mut state = shared.lock_quietly();
            state.endpoint.handle_timeout(now);
            state.dispatch(&mut self.wakes);
            state.take_leave(&mut self.wakes);
            if state.endpoint.routes_by_address() {
                self.shards.search_from_now_on();
            }
            self.deadline = state.endpoint.next_timeout();
            state.is_over()
        };
        if !self.wakes.is_empty() {
            self.wakes.wake_all();
            self.deferred = true;
            return Ok(Run::Yield);
        }
        let sent = self.send(cx, now)?;
        Ok(match drained && sent {
            true if over && self.outbox.is_empty() => Run::Over,
            true if self.dialogue.pause(now) => Run::Watch,
            true => Run::Idle,
            false => Run::Yield,
        })
    }

    /// Gives the protocol a batch of what the socket has, until the application has enough to do. Returns whether that was all; then this
    /// task is woken when there is more. It is `now` when the last of it came.
    fn receive(&mut self, cx: &mut Context<'_>, now: &mut Instant) -> io::Result<bool> {
        let shared = Arc::clone(&self.shared);
        // After a batch that emptied the socket there is nothing, as a rule, and no reason to run again at once.
        for _ in 0..2 {
            if self.inbox.is_empty() {
                let ask = self.eager && self.drained.is_none_or(|at| *now - at >= FRESH);
                match shared.socket.poll_receive(cx, &mut self.inbox, ask) {
                    Poll::Pending if ask => {
                        self.drained = Some(*now);
                        return Ok(true);
                    }
                    Poll::Pending => return Ok(true),
                    Poll::Ready(received) => received?,
                }
            }
            // The batch's one look at the clock.
            *now = shared.clock.now();
            self.drained = self.inbox.drained_the_socket().then_some(*now);
            self.handle(*now);
            if !self.inbox.is_empty() || self.drained.is_none() {
                break;
            }
        }
        Ok(false)
    }

    /// Gives the protocol what is in the inbox, until the application has enough to do.
    fn handle(&mut self, now: Instant) {
        // The batch's one lock.
        let mut state = self.shared.lock_quietly();
        let (mut work, mut heard) = (0, 0);
        while work < ENOUGH
            && let Some(datagram) = self.inbox.next_datagram()
        {
            heard += 1;
            self.dialogue.received(now, &datagram);
            if self.shards.may_be_elsewhere(self.number, &datagram) {
                drop(state);
                self.shards.hand_over(self.number, now, datagram);
                state = self.shared.lock_quietly();
            } else {
                state.endpoint.handle_datagram(now, datagram);
            }
            work += state.dispatch(&mut self.wakes);
        }
        self.lead.heard(heard);
    }

    /// Asks the protocol for the next batch to send.
    fn fill(&mut self, state: &mut State, now: Instant) {
        let (lead, dialogue) = (&mut self.lead, &mut self.dialogue);
        let segments = self.shared.socket.max_segments();
        let filled = self.outbox.fill(|buf| {
            let transmit = state.endpoint.poll_transmit(now, buf, segments)?;
            lead.sent(transmit.len);
            dialogue.sent(now, &transmit);
            Some(transmit)
        });
        if !filled {
            self.lead.reset();
            self.deadline = state.endpoint.next_timeout();
        }
    }

    /// Sends what the protocol has. Returns whether that was all that can be sent now.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let shared = Arc::clone(&self.shared);
        for _ in 0..SENDS {
            if !self.flush(cx)? {
                return Ok(true);
            }
            if self.lead.is_far() {
                self.lead.reset();
                self.deadline = self.deadline.into_iter().chain([now + PAUSE]).min();
                return Ok(true);
            }
            self.fill(&mut shared.lock_quietly(), now);
            if self.outbox.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gives what is pending to the socket. Returns whether nothing is pending any more; if not, this task is woken when there is room.
    fn flush(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        if self.outbox.is_empty() {
            return Ok(true);
        }
        match self.shared.socket.poll_send(cx, &mut self.outbox, &mut self.room) {
            Poll::Pending => Ok(false),
            Poll::Ready(result) => result.map(|()| true),
        }
    }

    /// Sets the timer. Returns whether it fired.
    fn wait(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(deadline) = self.deadline else { return false };
        if self.armed.is_none_or(|armed| deadline < armed) {
            self.timer.as_mut().reset(self.shared.clock.to_tokio(deadline));
            self.armed = Some(deadline);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.armed = None;
        true
    }
}

impl Future for Driver {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.lock_quietly().driver_runs(cx.waker());
        this.eager = match this.run(cx) {
            Ok(Run::Yield) => true,
            Ok(Run::Watch) => this.wait(cx) || watch(cx),
            Ok(Run::Idle) => this.wait(cx),
            Ok(Run::Over) => return Poll::Ready(Ok(())),
            Err(error) => return Poll::Ready(Err(error)),
        };
        if this.eager {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Has the runtime come back to this task before it sleeps, once it has looked at its sockets. That is no reason to ask the system beside it.
fn watch(cx: &mut Context<'_>) -> bool {
    // The peer may be waiting for this very core.
    std::thread::yield_now();
    pin!(yield_now()).poll(cx).is_ready()
}

impl Drop for Driver {
    /// The driver is done, its socket failed, or the runtime is shut down: whoever still waits must hear of it.
    fn drop(&mut self) {
        self.shared.lock_quietly().fail(&mut self.wakes);
        self.wakes.wake_all();
    }
}
