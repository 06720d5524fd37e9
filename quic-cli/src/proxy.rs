//! A path between real sockets that is slow, long or lossy: quic-sim's link model in real time.
//!
//! Owns [`Proxy`], which `quic demo` puts in its middle and `quic perf path` runs alone. Each direction is a task with a pipe of its own.
//! What comes from a new address takes the path over, as one client after the other does.

use quic_proto::time::Instant;
use quic_sim::units::{Probability, Rate};
use quic_sim::{Link, Pipe, PipeStats, Queue};
use socket2::SockRef;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;

/// What the path does to datagrams, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    /// Delay of both directions together.
    pub(crate) rtt: Duration,
    /// Share of datagrams that are lost.
    pub(crate) loss: f64,
    /// Bits per second; `None` is no limit.
    pub(crate) rate: Option<u64>,
    /// What may wait for the wire, in bytes; `None` is what passes in a round trip, or 100 ms if that is more.
    pub(crate) queue: Option<u64>,
}

impl Impairment {
    fn link(&self) -> Link {
        const LEAST: Duration = Duration::from_millis(100);
        let link = Link::new().delay(self.rtt / 2).loss(Probability::new(self.loss));
        let Some(rate) = self.rate.map(Rate::bits_per_second) else { return link };
        let queue = self.queue.map_or_else(|| rate.bytes_in(self.rtt.max(LEAST)), |bytes| bytes as usize);
        link.rate(rate).queue(Queue::drop_tail(queue))
    }
}

/// A running path.
pub(crate) struct Proxy {
    /// Where the client must send to.
    pub(crate) address: SocketAddr,
    pipes: [Arc<Mutex<Pipe>>; 2],
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

impl Proxy {
    /// A path from `listen` to `server`, whose losses follow from `seed`.
    pub(crate) async fn start(
        listen: SocketAddr,
        server: SocketAddr,
        impairment: &Impairment,
        seed: u64,
    ) -> io::Result<Self> {
        let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let front = bind(listen).await?;
        let back = bind(any).await?;
        let address = front.local_addr()?;
        let (learn, client) = watch::channel(None);
        let pipe = |seed| Arc::new(Mutex::new(Pipe::new(impairment.link(), seed)));
        let pipes = [pipe(seed.wrapping_mul(2)), pipe(seed.wrapping_mul(2).wrapping_add(1))];
        let begun = tokio::time::Instant::now();
        let up = Line { pipe: Arc::clone(&pipes[0]), begun, from: Arc::clone(&front), to: Arc::clone(&back) };
        let down = Line { pipe: Arc::clone(&pipes[1]), begun, from: back, to: front };
        let introduce = move |source| {
            learn.send_replace(Some(source));
            true
        };
        let up = async move { up.run(introduce, || Some(server)).await };
        let down = async move { down.run(|source| source == server, || *client.borrow()).await };
        Ok(Self { address, pipes, tasks: [tokio::spawn(up), tokio::spawn(down)] })
    }

    /// What became of the datagrams to the server, and of those to the client.
    pub(crate) fn stats(&self) -> [PipeStats; 2] {
        self.pipes.each_ref().map(|pipe| lock(pipe).stats())
    }
}

/// A socket that holds what comes while the system has no time for the path: losses are the link's to decide.
async fn bind(address: SocketAddr) -> io::Result<Arc<UdpSocket>> {
    const BUFFER: usize = 4 << 20;
    let socket = UdpSocket::bind(address).await?;
    // Where the system does not give as much, a busy machine adds losses of its own.
    let _ = SockRef::from(&socket).set_recv_buffer_size(BUFFER);
    Ok(Arc::new(socket))
}

fn lock(pipe: &Mutex<Pipe>) -> std::sync::MutexGuard<'_, Pipe> {
    // A pipe is whole between two calls.
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One direction.
struct Line {
    pipe: Arc<Mutex<Pipe>>,
    /// Where the pipe's time begins.
    begun: tokio::time::Instant,
    from: Arc<UdpSocket>,
    to: Arc<UdpSocket>,
}

impl Line {
    /// Carries what `admit` lets in to the `target`, if there is one yet.
    async fn run(self, admit: impl Fn(SocketAddr) -> bool, target: impl Fn() -> Option<SocketAddr>) {
        let mut buf = vec![0; 65_536];
        loop {
            let due = lock(&self.pipe).next_timeout().map(|at| self.begun + (at - Instant::EPOCH));
            tokio::select! {
                received = self.from.recv_from(&mut buf) => {
                    // An error is the answer to something sent; the datagram was lost, as on any path.
                    let Ok((len, source)) = received else { continue };
                    if admit(source) {
                        lock(&self.pipe).send(self.now(), &buf[..len]);
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or(self.begun)), if due.is_some() => {
                    self.deliver(target()).await;
                }
            }
        }
    }

    async fn deliver(&self, target: Option<SocketAddr>) {
        let now = self.now();
        loop {
            let Some(datagram) = lock(&self.pipe).receive(now) else { return };
            if let Some(target) = target {
                // What cannot be sent is lost, as on any path.
                let _ = self.to.send_to(&datagram, target).await;
            }
            lock(&self.pipe).recycle(datagram);
        }
    }

    fn now(&self) -> Instant {
        Instant::EPOCH + self.begun.elapsed()
    }
}
