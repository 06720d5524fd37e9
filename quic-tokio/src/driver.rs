//! The task that drives an endpoint: datagrams in, deadlines, events to the tasks that wait, datagrams out.
//!
//! Owns [`Driver`], a future that ends when nobody can use the endpoint any more and all its connections are over.
//!
//! A round takes what is in the socket, batch by batch: each costs one system call, one look at the clock and one lock. It stops once the
//! application has [enough](ENOUGH) to do. Then it runs what is due, hands out events, and wakes each task that has something to do, without the
//! lock. If it woke some, it lets them run before it sends: their answers leave with the acknowledgements, and what an application
//! does for each of many requests does not keep the peer waiting for the first answer, nor this end for the peer.
//!
//! Invariants: what was written to the send buffer stays there until the socket has taken it; meanwhile the protocol is not asked for
//! more. Between two rounds that wait for tasks all is sent that there is, however much comes. What was received and not handled waits in the
//! inbox, and the socket is not asked for more before. A run of the driver is bounded, so that it shares its thread with the application's tasks.
//!
//! Timers: one, at the earliest deadline of all connections. It is set again only if that moved forward; a deadline that moved back is
//! found when the timer fires too early.

use crate::shards::ShardList;
use crate::state::{Shared, State};
use crate::wakers::WakeList;
use quic_proto::time::Instant;
use quic_udp::{ReceiveBatch, SendBatch};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// Rounds before other tasks of the same thread get their turn.
const ROUNDS: usize = 16;

/// Receive calls before anything is sent. One takes 16 messages, so a socket that has more than this has a peer who needs an answer.
const RECEIVES_PER_ROUND: usize = 4;

/// Sends of full batches before the socket is read again, lest acknowledgements wait.
const SENDS_PER_ROUND: usize = 8;

/// How much work the application is given at once: what comes beyond that is handled after it had its turn and its answers have left.
const ENOUGH: usize = 150;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    shards: Arc<ShardList>,
    /// Which of them this is.
    number: usize,
    inbox: ReceiveBatch,
    /// What the protocol wrote and the socket has not taken yet.
    outbox: SendBatch,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    /// The earliest deadline, as of when the protocol had nothing more to send.
    deadline: Option<Instant>,
    wakes: WakeList,
    /// Tasks were woken that may have something to send by now.
    deferred: bool,
}

/// How a round ended.
enum Round {
    /// There may be more to do.
    Busy,
    /// There is more to do after the tasks that were woken.
    Yield,
    /// There is nothing to do now.
    Idle,
    /// There will never be anything to do again.
    Over,
}

impl Driver {
    /// The driver of shard `number`. Must be called within a tokio runtime.
    pub(crate) fn new(shards: Arc<ShardList>, number: usize) -> Self {
        let shared = Arc::clone(&shards[number]);
        let timer = Box::pin(tokio::time::sleep_until(shared.clock.to_tokio(Instant::EPOCH)));
        Self {
            shared,
            shards,
            number,
            inbox: ReceiveBatch::new(),
            outbox: SendBatch::new(),
            timer,
            armed: Some(Instant::EPOCH),
            deadline: None,
            wakes: WakeList::default(),
            deferred: false,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> io::Result<Round> {
        let shared = Arc::clone(&self.shared);
        if std::mem::take(&mut self.deferred) {
            self.transmit(cx, shared.clock.now())?;
        }
        let drained = self.receive(cx)?;
        let now = shared.clock.now();
        let over = {
            let mut state = shared.lock_quietly();
            state.endpoint.handle_timeout(now);
            state.dispatch(&mut self.wakes);
            state.take_leave(&mut self.wakes);
            if state.endpoint.routes_by_address() {
                self.shards.search_from_now_on();
            }
            self.deadline = state.endpoint.next_timeout();
            self.outbox.is_empty() && state.is_over()
        };
        self.deferred = !self.wakes.is_empty();
        if self.deferred {
            self.wakes.wake_all();
            return Ok(Round::Yield);
        }
        let sent = self.transmit(cx, now)?;
        Ok(match drained && sent {
            true if over && self.outbox.is_empty() => Round::Over,
            true => Round::Idle,
            false => Round::Busy,
        })
    }

    /// Gives the protocol what the socket has, until the application has enough to do. Returns whether that was all.
    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut work = 0;
        for _ in 0..RECEIVES_PER_ROUND {
            if self.inbox.is_empty() {
                match self.shared.socket.poll_receive(cx, &mut self.inbox) {
                    Poll::Pending => return Ok(true),
                    Poll::Ready(received) => received?,
                }
            }
            work += self.handle(ENOUGH - work);
            if work >= ENOUGH {
                break;
            }
        }
        Ok(false)
    }

    /// Gives the protocol what is in the inbox, until that gives the application so much to do. Returns how much it does.
    fn handle(&mut self, enough: usize) -> usize {
        // The batch's one look at the clock, and its one lock.
        let now = self.shared.clock.now();
        let mut state = self.shared.lock_quietly();
        let mut work = 0;
        while work < enough
            && let Some(datagram) = self.inbox.next_datagram()
        {
            if self.shards.may_be_elsewhere(self.number, &datagram) {
                drop(state);
                self.shards.hand_over(self.number, now, datagram);
                state = self.shared.lock_quietly();
            } else {
                state.endpoint.handle_datagram(now, datagram);
            }
            work += state.dispatch(&mut self.wakes);
        }
        work
    }

    /// Asks the protocol for the next batch to send.
    fn fill(&mut self, state: &mut State, now: Instant) {
        let segments = self.shared.socket.max_segments();
        if !self.outbox.fill(|buf| state.endpoint.poll_transmit(now, buf, segments)) {
            self.deadline = state.endpoint.next_timeout();
        }
    }

    /// Sends what the protocol has. Returns whether that was all that can be sent now.
    fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<bool> {
        let shared = Arc::clone(&self.shared);
        for _ in 0..SENDS_PER_ROUND {
            if !self.flush(cx)? {
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
        match self.shared.socket.poll_send(cx, &mut self.outbox) {
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
        for _ in 0..ROUNDS {
            match this.round(cx) {
                Ok(Round::Busy) => {}
                Ok(Round::Yield) => break,
                Ok(Round::Idle) => {
                    if !this.wait(cx) {
                        return Poll::Pending;
                    }
                }
                Ok(Round::Over) => return Poll::Ready(Ok(())),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Driver {
    /// The driver is done, its socket failed, or the runtime is shut down: whoever still waits must hear of it.
    fn drop(&mut self) {
        self.shared.lock_quietly().fail(&mut self.wakes);
        self.wakes.wake_all();
    }
}
