//! The workloads of a client.
//!
//! Owns the traits [`Client`] and [`Connection`], by which a stack is plugged in, and [`run`]. Invariants: what is measured begins after the
//! connections are open, but for handshakes; the first failure ends a run. Timers: the end of the run, which tasks compare the clock with before they begin something new.

use crate::facts::{Datagrams, Latency, Waited, histogram, record};
use crate::{Ask, Body, Error, Load, Report, Tally, Workload, cpu_time, resident_bytes};
use hdrhistogram::Histogram;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// A stack's client, ready to connect to one server.
pub trait Client: Clone + Send + Sync + 'static {
    /// Its connections.
    type Connection: Connection;
    /// Opens a connection by a full handshake.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Error>> + Send;
    /// The work of its sockets so far; `None` if it does not tell.
    fn datagrams(&self) -> Option<Datagrams>;
}

/// A connection of a stack. Clones are handles of the same one.
pub trait Connection: Clone + Send + Sync + 'static {
    /// Does what is asked on a new stream.
    fn exchange(&self, ask: &Ask, tally: &Tally) -> impl Future<Output = Result<(), Error>> + Send;
    /// Closes it.
    fn close(&self);
    /// Adds what it waited for so far; a stack that does not know adds nothing.
    fn waited(&self, _sum: &mut Waited) {}
}

/// Runs a workload.
///
/// # Errors
/// If a connection cannot be made, or one fails.
pub async fn run<C: Client>(client: &C, load: &Load) -> Result<Report, Error> {
    let run = Run::new(client.clone(), load.clone());
    let live = run.show_progress();
    let measured = run.measure().await;
    if let Some(live) = live {
        live.abort();
        clear_line();
    }
    measured
}

struct Run<C: Client> {
    client: C,
    load: Load,
    tally: Arc<Tally>,
    times: Times,
}

/// How long things took. One histogram for all tasks: each has tens of thousands of counters, which would be cleared and added up for
/// every task.
#[derive(Clone)]
struct Times(Arc<Mutex<Histogram<u64>>>);

impl Times {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(histogram())))
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        // A histogram is whole between two calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, since: Instant) {
        record(&mut self.lock(), since.elapsed());
    }
}

/// When tasks that repeat something stop.
struct Limit {
    end: Option<Instant>,
    left: AtomicU64,
}

impl Limit {
    /// By the load's count, or else by its time.
    fn new(load: &Load) -> Arc<Self> {
        let (end, left) = match load.count {
            Some(count) => (None, count),
            None => (Some(Instant::now() + load.duration), u64::MAX),
        };
        Arc::new(Self { end, left: AtomicU64::new(left) })
    }

    /// Whether to do it once more.
    fn more(&self) -> bool {
        match self.end {
            Some(end) => Instant::now() < end,
            None => self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok(),
        }
    }
}

impl<C: Client> Run<C> {
    fn new(client: C, load: Load) -> Self {
        Self { client, load, tally: Arc::default(), times: Times::new() }
    }

    async fn measure(&self) -> Result<Report, Error> {
        let connections = match self.load.workload {
            Workload::Handshake | Workload::Idle => Vec::new(),
            _ => self.connect(u64::from(self.load.connections)).await?,
        };
        let (begun, cpu, memory) = (Instant::now(), cpu_time(), resident_bytes());
        let mut held = Vec::new();
        match self.load.workload {
            Workload::Download | Workload::Upload => self.bulk(&connections).await?,
            Workload::Rr => self.requests(&connections).await?,
            Workload::Mixed => self.mixed(&connections).await?,
            Workload::Handshake => self.handshakes().await?,
            Workload::Idle => held = self.connect(self.load.idle_connections()).await?,
        }
        let mut waited = Waited::default();
        connections.iter().for_each(|connection| connection.waited(&mut waited));
        let report = Report {
            workload: self.load.workload.name().to_owned(),
            seconds: begun.elapsed().as_secs_f64(),
            cpu_seconds: (cpu_time() - cpu).as_secs_f64(),
            connections: self.tally.connections(),
            exchanges: self.tally.exchanges(),
            sent_bytes: self.tally.sent_bytes(),
            received_bytes: self.tally.received_bytes(),
            bytes_per_connection: memory_of(&held, memory),
            latency: Latency::of(&self.times.lock()),
            datagrams: self.client.datagrams(),
            waited,
        };
        if !held.is_empty() {
            tell(&format!("{} connections are open", held.len()));
            tokio::time::sleep(self.load.duration).await;
        }
        connections.iter().chain(&held).for_each(Connection::close);
        Ok(report)
    }

    /// Opens so many connections, some at once.
    async fn connect(&self, count: u64) -> Result<Vec<C::Connection>, Error> {
        let limit = Arc::new(Limit { end: None, left: AtomicU64::new(count) });
        let at_once = u64::from(self.load.at_once()).min(8).min(count);
        let mut tasks = JoinSet::new();
        for _ in 0..at_once {
            let (client, tally, limit) = (self.client.clone(), Arc::clone(&self.tally), Arc::clone(&limit));
            tasks.spawn(async move {
                let mut opened = Vec::new();
                while limit.more() {
                    opened.push(client.connect().await?);
                    tally.connected();
                }
                Ok::<_, Error>(opened)
            });
        }
        let mut all = Vec::new();
        while let Some(done) = tasks.join_next().await {
            all.extend(done??);
        }
        Ok(all)
    }

    /// One long exchange on each stream.
    async fn bulk(&self, connections: &[C::Connection]) -> Result<(), Error> {
        let much = match self.load.size {
            Some(size) => Body::Bytes(size),
            None => Body::Until(Instant::now() + self.load.duration),
        };
        let ask = match self.load.workload {
            Workload::Upload => Ask::new(much, Body::Bytes(0)),
            _ => Ask::new(Body::Bytes(0), much),
        };
        let mut tasks = JoinSet::new();
        for connection in connections {
            for _ in 0..self.load.at_once() {
                let (connection, ask, tally) = (connection.clone(), ask.clone(), Arc::clone(&self.tally));
                tasks.spawn(async move {
                    connection.exchange(&ask, &tally).await?;
                    tally.exchanged();
                    Ok(())
                });
            }
        }
        all(tasks).await
    }

    /// Requests one after the other in as many tasks as shall be under way at once.
    async fn requests(&self, connections: &[C::Connection]) -> Result<(), Error> {
        let limit = Limit::new(&self.load);
        let ask = Ask::new(Body::Bytes(self.load.request), Body::Bytes(self.load.response));
        let mut tasks = JoinSet::new();
        for connection in connections {
            for _ in 0..self.load.at_once() {
                let (connection, ask) = (connection.clone(), ask.clone());
                let (tally, limit) = (Arc::clone(&self.tally), Arc::clone(&limit));
                let times = self.times.clone();
                tasks.spawn(async move {
                    while limit.more() {
                        let begun = Instant::now();
                        connection.exchange(&ask, &tally).await?;
                        times.record(begun);
                        tally.exchanged();
                    }
                    Ok(())
                });
            }
        }
        all(tasks).await
    }

    /// Requests beside a download on each connection.
    async fn mixed(&self, connections: &[C::Connection]) -> Result<(), Error> {
        let download = Ask::new(Body::Bytes(0), Body::Until(Instant::now() + self.load.duration));
        let mut tasks = JoinSet::new();
        for connection in connections {
            let (connection, ask, tally) = (connection.clone(), download.clone(), Arc::clone(&self.tally));
            tasks.spawn(async move { connection.exchange(&ask, &tally).await });
        }
        self.requests(connections).await?;
        all(tasks).await
    }

    /// Connections that are closed as soon as they are open.
    async fn handshakes(&self) -> Result<(), Error> {
        let limit = Limit::new(&self.load);
        let mut tasks = JoinSet::new();
        for _ in 0..self.load.at_once() {
            let (client, tally, limit) = (self.client.clone(), Arc::clone(&self.tally), Arc::clone(&limit));
            let times = self.times.clone();
            tasks.spawn(async move {
                while limit.more() {
                    let begun = Instant::now();
                    let connection = client.connect().await?;
                    times.record(begun);
                    connection.close();
                    tally.connected();
                }
                Ok(())
            });
        }
        all(tasks).await
    }

    /// Tells twice a second what was moved, if a person looks on.
    fn show_progress(&self) -> Option<tokio::task::JoinHandle<()>> {
        if self.load.json || !std::io::stderr().is_terminal() {
            return None;
        }
        let (tally, name) = (Arc::clone(&self.tally), self.load.workload.name());
        Some(tokio::spawn(async move {
            let mut before = Moved::default();
            let mut tick = tokio::time::interval(Moved::EVERY);
            loop {
                tick.tick().await;
                let now = Moved::of(&tally);
                let mut err = std::io::stderr();
                // Whoever looked on may have gone.
                let _ = write!(err, "\r\x1b[K{name}  {}", now.since(before)).and_then(|()| err.flush());
                before = now;
            }
        }))
    }
}

/// Waits for all tasks, of which none may fail.
async fn all(mut tasks: JoinSet<Result<(), Error>>) -> Result<(), Error> {
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// What was moved until some time.
#[derive(Clone, Copy, Default)]
struct Moved {
    bytes: u64,
    exchanges: u64,
    connections: u64,
}

impl Moved {
    const EVERY: Duration = Duration::from_millis(500);

    fn of(tally: &Tally) -> Self {
        Self {
            bytes: tally.sent_bytes() + tally.received_bytes(),
            exchanges: tally.exchanges(),
            connections: tally.connections(),
        }
    }

    fn since(self, before: Self) -> String {
        let per_second = |now: u64, before: u64| (now - before) as f64 / Self::EVERY.as_secs_f64();
        format!(
            "{}  {:.0} requests/s  {} connections",
            crate::units::throughput(self.bytes - before.bytes, Self::EVERY),
            per_second(self.exchanges, before.exchanges),
            self.connections,
        )
    }
}

fn clear_line() {
    let _ = write!(std::io::stderr(), "\r\x1b[K");
}

/// A line for whoever waits for this.
fn tell(line: &str) {
    // Nobody may wait.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What each of the connections holds of this process's memory, if the system tells.
fn memory_of<T>(held: &[T], before: Option<u64>) -> Option<u64> {
    let grown = resident_bytes()?.saturating_sub(before?);
    grown.checked_div(held.len() as u64)
}
