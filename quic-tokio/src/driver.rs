//! The task that drives an endpoint: datagrams in, deadlines, events to the tasks that wait, datagrams out.
//!
//! Owns [`Driver`], a future that ends when nobody can use the endpoint any more and all its connections are over.
//!
//! A round takes one batch from the socket, reads the clock once, and under one lock gives the batch to the protocol, runs what is due,
//! hands out events and fills the first send buffer; then, without the lock, wakes tasks and sends.
//!
//! Invariants: what was written to the send buffer stays there until the socket has taken it; meanwhile the protocol is not asked for
//! more. A run of the driver is bounded, so that it shares its thread with the application's tasks.
//!
//! Timers: one, at the earliest deadline of all connections. It is set again only if that moved forward; a deadline that moved back is
//! found when the timer fires too early.

use crate::socket::{ReceiveBatch, SEND_SIZE};
use crate::state::{Shared, State};
use crate::wakers::WakeList;
use quic_proto::net::Transmit;
use quic_proto::time::Instant;
use std::future::Future;
use std::io;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::Sleep;

/// Rounds before other tasks of the same thread get their turn.
const ROUNDS: usize = 16;

/// Sends of full batches before the socket is read again, lest acknowledgements wait.
const SENDS_PER_ROUND: usize = 8;

/// Failures of the socket in a row before it is given up. Single ones happen: a datagram of ours was answered by an ICMP error.
const MAX_FAILURES: u32 = 100;

pub(crate) struct Driver {
    shared: Arc<Shared>,
    batch: ReceiveBatch,
    out: Box<[u8]>,
    /// What is in `out` and was not sent yet.
    pending: Option<Transmit>,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to.
    armed: Option<Instant>,
    /// The earliest deadline, as of when the protocol had nothing more to send.
    deadline: Option<Instant>,
    wakes: WakeList,
    failures: u32,
}

/// How a round ended.
enum Round {
    /// There may be more to do.
    Busy,
    /// There is nothing to do now.
    Idle,
    /// There will never be anything to do again.
    Over,
}

impl Driver {
    /// Must be called within a tokio runtime.
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        let timer = Box::pin(tokio::time::sleep_until(shared.clock.to_tokio(Instant::EPOCH)));
        Self {
            shared,
            batch: ReceiveBatch::new(),
            out: vec![0; SEND_SIZE].into(),
            pending: None,
            timer,
            armed: Some(Instant::EPOCH),
            deadline: None,
            wakes: WakeList::default(),
            failures: 0,
        }
    }

    fn round(&mut self, cx: &mut Context<'_>) -> io::Result<Round> {
        let messages = self.receive(cx)?;
        // The batch's one look at the clock.
        let now = self.shared.clock.now();
        let mut over = false;
        if !self.flush(cx) {
            let mut state = self.shared.lock_quietly();
            self.deadline = feed(&mut state, &mut self.batch, messages, now, &self.shared, &mut self.wakes);
            over = state.is_over();
        } else {
            let shared = Arc::clone(&self.shared);
            let mut state = shared.lock_quietly();
            feed(&mut state, &mut self.batch, messages, now, &shared, &mut self.wakes);
            self.fill(&mut state, now);
            over |= self.pending.is_none() && state.is_over();
        }
        self.wakes.wake_all();
        if over {
            return Ok(Round::Over);
        }
        let more = self.send(cx, now);
        Ok(if more || messages > 0 { Round::Busy } else { Round::Idle })
    }

    /// Takes a batch from the socket; returns the number of messages in it.
    fn receive(&mut self, cx: &mut Context<'_>) -> io::Result<usize> {
        match self.shared.socket.poll_receive(cx, &mut self.batch) {
            Poll::Pending => Ok(0),
            Poll::Ready(Ok(messages)) => {
                self.failures = 0;
                Ok(messages)
            }
            Poll::Ready(Err(error)) => {
                self.failures += 1;
                tracing::debug!(%error, "receive");
                if self.failures > MAX_FAILURES {
                    return Err(error);
                }
                // There may be more behind the error; nobody would wake us for it.
                cx.waker().wake_by_ref();
                Ok(0)
            }
        }
    }

    /// Asks the protocol for the next batch to send.
    fn fill(&mut self, state: &mut State, now: Instant) {
        let segments = NonZeroUsize::new(self.shared.socket.max_segments()).unwrap_or(NonZeroUsize::MIN);
        self.pending = state.endpoint.poll_transmit(now, &mut self.out, segments);
        match &self.pending {
            Some(transmit) => {
                state.io.send_calls += 1;
                state.io.sent_datagrams += transmit.datagrams(&self.out).len() as u64;
            }
            None => self.deadline = state.endpoint.next_timeout(),
        }
    }

    /// Sends what is pending, and more. Returns whether there may be still more.
    fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..SENDS_PER_ROUND {
            if self.pending.is_none() {
                return false;
            }
            if !self.flush(cx) {
                return false;
            }
            let shared = Arc::clone(&self.shared);
            self.fill(&mut shared.lock_quietly(), now);
        }
        self.pending.is_some()
    }

    /// Gives what is pending to the socket. Returns whether nothing is pending any more.
    fn flush(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(transmit) = &self.pending else { return true };
        if self.shared.socket.poll_send(cx, transmit, &self.out).is_pending() {
            return false;
        }
        self.pending = None;
        true
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

/// Gives a batch to the protocol, runs what is due, and hands out events. Returns the next deadline.
fn feed(
    state: &mut State,
    batch: &mut ReceiveBatch,
    messages: usize,
    now: Instant,
    shared: &Shared,
    wakes: &mut WakeList,
) -> Option<Instant> {
    if messages > 0 {
        state.io.receive_calls += 1;
        for datagram in batch.datagrams(messages, shared.socket.local_addr()) {
            state.io.received_datagrams += 1;
            state.endpoint.handle_datagram(now, datagram);
        }
    }
    state.endpoint.handle_timeout(now);
    state.dispatch(wakes);
    state.endpoint.next_timeout()
}

impl Future for Driver {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.shared.lock_quietly().driver_runs(cx.waker());
        for _ in 0..ROUNDS {
            match this.round(cx) {
                Ok(Round::Busy) => {}
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
