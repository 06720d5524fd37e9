//! A path between two sockets of this machine that is slow, long or lossy: what `quic demo --rtt --loss --rate` puts in the middle.

use quic_proto::rng::{Rng, SeededRng};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::Instant;

/// What the path does to datagrams, in each direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Impairment {
    /// Delay of one direction.
    pub(crate) delay: Duration,
    /// Share of datagrams that are lost.
    pub(crate) loss: f64,
    /// Bits per second; `None` is no limit.
    pub(crate) rate: Option<u64>,
}

/// A running path.
pub(crate) struct Proxy {
    /// Where the client must send to.
    pub(crate) address: SocketAddr,
    /// Datagrams that were lost by chance, and that found the queue full.
    pub(crate) lost: Arc<AtomicU64>,
    pub(crate) overflowed: Arc<AtomicU64>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// The queue of a direction holds what passes in this time, or this many bytes at least.
const QUEUE: Duration = Duration::from_millis(100);
const QUEUE_BYTES: u64 = 64 * 1500;

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, impairment: Impairment) -> io::Result<Self> {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await?);
        back.connect(server).await?;
        let address = front.local_addr()?;
        let (lost, overflowed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (learn, client) = watch::channel(None);
        let line = |seed| Line {
            impairment,
            rng: SeededRng::from_u64(seed),
            free_at: Instant::now(),
            queue: VecDeque::new(),
            lost: Arc::clone(&lost),
            overflowed: Arc::clone(&overflowed),
        };
        let up = line(1).run(Arc::clone(&front), Arc::clone(&back), Some(learn), None);
        let down = line(2).run(back, front, None, Some(client));
        Ok(Self { address, lost, overflowed, tasks: [tokio::spawn(up), tokio::spawn(down)] })
    }
}

/// One direction.
struct Line {
    impairment: Impairment,
    rng: SeededRng,
    /// When the datagrams so far have left.
    free_at: Instant,
    queue: VecDeque<(Instant, Vec<u8>)>,
    lost: Arc<AtomicU64>,
    overflowed: Arc<AtomicU64>,
}

impl Line {
    async fn run(
        mut self,
        from: Arc<UdpSocket>,
        to: Arc<UdpSocket>,
        learn: Option<watch::Sender<Option<SocketAddr>>>,
        client: Option<watch::Receiver<Option<SocketAddr>>>,
    ) {
        let mut buf = vec![0; 65_536];
        loop {
            let due = self.queue.front().map(|(due, _)| *due);
            tokio::select! {
                received = from.recv_from(&mut buf) => {
                    let Ok((len, source)) = received else { continue };
                    if let Some(learn) = &learn {
                        learn.send_replace(Some(source));
                    }
                    self.admit(&buf[..len]);
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.deliver(&to, client.as_ref()).await;
                }
            }
        }
    }

    fn admit(&mut self, datagram: &[u8]) {
        let now = Instant::now();
        if (self.rng.next_u64() as f64) < self.impairment.loss * u64::MAX as f64 {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.free_at = self.free_at.max(now);
        if let Some(rate) = self.impairment.rate {
            let bits = datagram.len() as u64 * 8;
            let capacity = QUEUE.max(Duration::from_secs_f64(QUEUE_BYTES as f64 * 8.0 / rate as f64));
            if self.free_at - now > capacity {
                self.overflowed.fetch_add(1, Ordering::Relaxed);
                return;
            }
            self.free_at += Duration::from_secs_f64(bits as f64 / rate as f64);
        }
        self.queue.push_back((self.free_at + self.impairment.delay, datagram.to_vec()));
    }

    async fn deliver(&mut self, to: &UdpSocket, client: Option<&watch::Receiver<Option<SocketAddr>>>) {
        let now = Instant::now();
        while self.queue.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, datagram)) = self.queue.pop_front() else { return };
            // What cannot be sent is lost, as on any path.
            let _ = match client {
                None => to.send(&datagram).await,
                Some(client) => {
                    let known = *client.borrow();
                    match known {
                        Some(address) => to.send_to(&datagram, address).await,
                        None => Ok(0),
                    }
                }
            };
        }
    }
}
