//! quiche over a tokio socket, in the way of an async stack: one task drives all connections, and the application's tasks call quiche
//! under a lock.
//!
//! Owns [`Endpoint`], [`Connection`] and [`Stream`], as little of them as the workloads need. Invariant: a connection that may have
//! something to send is in `dirty` once, and the driver has been woken. Timers: the earliest of all connections.

use quic_perf::Error;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Instant;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::Sleep;

/// What one system call may take or give.
const BUFFER: usize = 65_507;

#[derive(Clone)]
pub(crate) struct Endpoint {
    shared: Arc<Shared>,
}

struct Shared {
    socket: UdpSocket,
    local: SocketAddr,
    state: Mutex<State>,
}

struct State {
    config: quiche::Config,
    /// By number; numbers are not used again.
    connections: Vec<Option<Box<Peer>>>,
    by_cid: HashMap<Vec<u8>, usize>,
    timeouts: BTreeSet<(Instant, usize)>,
    dirty: VecDeque<usize>,
    accepted: VecDeque<usize>,
    acceptor: Option<Waker>,
    driver: Option<Waker>,
    next_cid: u64,
    scratch: Box<[u8]>,
}

/// A connection with those who wait for it.
struct Peer {
    quic: quiche::Connection,
    cids: Vec<Vec<u8>>,
    dirty: bool,
    armed: Option<Instant>,
    /// The next stream that this side opens.
    next_local: u64,
    arrivals: Arrivals,
    waiting: Option<Waker>,
    readers: HashMap<u64, Waker>,
    writers: HashMap<u64, Waker>,
    /// Those whose stream is beyond the peer's limit.
    limited: Vec<Waker>,
}

/// The bidirectional streams of a client, in the order in which their first bytes come. That may be another one than that of their numbers, and a
/// stream of which nothing came is none for quiche: who reads from it too early is told that it is over.
#[derive(Default)]
struct Arrivals {
    queue: VecDeque<u64>,
    /// Above all that came.
    next: u64,
    /// Below `next`, and nothing came of them.
    skipped: BTreeSet<u64>,
}

impl Arrivals {
    /// Something came.
    fn note(&mut self, id: u64) {
        if id >= self.next {
            self.skipped.extend((self.next..id).step_by(4));
            self.next = id + 4;
            self.queue.push_back(id);
        } else if self.skipped.remove(&id) {
            self.queue.push_back(id);
        }
    }
}

impl Peer {
    fn wake_all(&mut self) {
        let readers = self.readers.drain().map(|(_, waker)| waker);
        readers.chain(self.writers.drain().map(|(_, waker)| waker)).for_each(Waker::wake);
        self.limited.drain(..).chain(self.waiting.take()).for_each(Waker::wake);
    }

    /// Wakes those for whom something has changed.
    fn notify(&mut self) {
        if self.quic.is_closed() || self.quic.is_draining() {
            return self.wake_all();
        }
        while let Some(id) = self.quic.stream_readable_next() {
            if self.quic.is_server() {
                self.arrivals.note(id);
            }
            self.readers.remove(&id).into_iter().for_each(Waker::wake);
        }
        // In reverse: the stream that took all of the window the last time stands in front.
        let writable: Vec<u64> = std::iter::from_fn(|| self.quic.stream_writable_next()).collect();
        writable.iter().rev().filter_map(|id| self.writers.remove(id)).for_each(Waker::wake);
        if self.quic.peer_streams_left_bidi() > 0 {
            self.limited.drain(..).for_each(Waker::wake);
        }
        if !self.arrivals.queue.is_empty() || self.quic.is_established() {
            self.waiting.take().into_iter().for_each(Waker::wake);
        }
    }
}

impl State {
    fn touch(&mut self, key: usize) {
        if let Some(peer) = &mut self.connections[key]
            && !std::mem::replace(&mut peer.dirty, true)
        {
            self.dirty.push_back(key);
            self.driver.take().into_iter().for_each(Waker::wake);
        }
    }

    fn insert(&mut self, quic: quiche::Connection, cids: Vec<Vec<u8>>) -> usize {
        let key = self.connections.len();
        self.by_cid.extend(cids.iter().map(|cid| (cid.clone(), key)));
        let peer = Peer {
            quic,
            cids,
            dirty: false,
            armed: None,
            next_local: 0,
            arrivals: Arrivals::default(),
            waiting: None,
            readers: HashMap::new(),
            writers: HashMap::new(),
            limited: Vec::new(),
        };
        self.connections.push(Some(Box::new(peer)));
        self.touch(key);
        key
    }

    /// An id that no other connection of this endpoint has. Measurements need no more.
    fn new_cid(&mut self) -> Vec<u8> {
        self.next_cid += 1;
        [self.next_cid.to_be_bytes(), self.next_cid.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()]
            .concat()
    }

    fn receive(&mut self, datagram: &mut [u8], from: SocketAddr, to: SocketAddr) {
        const CID: usize = 16;
        let Ok(header) = quiche::Header::from_slice(datagram, CID) else { return };
        let known = self.by_cid.get(&header.dcid[..]).copied();
        let key = match known {
            Some(key) => key,
            None if header.ty == quiche::Type::Initial => {
                let cid = self.new_cid();
                let scid = quiche::ConnectionId::from_ref(&cid);
                let Ok(quic) = quiche::accept(&scid, None, to, from, &mut self.config) else { return };
                let key = self.insert(quic, vec![cid.clone(), header.dcid.to_vec()]);
                self.accepted.push_back(key);
                self.acceptor.take().into_iter().for_each(Waker::wake);
                key
            }
            None => return,
        };
        if let Some(peer) = &mut self.connections[key] {
            // What is wrong with it closes the connection, or is ignored.
            let _ = peer.quic.recv(datagram, quiche::RecvInfo { from, to });
            self.touch(key);
        }
    }

    /// Keeps the order of timeouts, and lets go of what is over.
    fn settle(&mut self, key: usize) {
        let Some(peer) = &mut self.connections[key] else { return };
        let timeout = peer.quic.timeout_instant();
        if peer.armed != timeout {
            if let Some(armed) = std::mem::replace(&mut peer.armed, timeout) {
                self.timeouts.remove(&(armed, key));
            }
            self.timeouts.extend(timeout.map(|at| (at, key)));
        }
        if peer.quic.is_closed()
            && let Some(mut peer) = self.connections[key].take()
        {
            peer.wake_all();
            for cid in &peer.cids {
                self.by_cid.remove(cid);
            }
            if let Some(armed) = peer.armed {
                self.timeouts.remove(&(armed, key));
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, key)) = self.timeouts.first().copied().filter(|(at, _)| *at <= now) {
            self.timeouts.remove(&(at, key));
            if let Some(peer) = &mut self.connections[key] {
                peer.armed = None;
                peer.quic.on_timeout();
                peer.notify();
                self.touch(key);
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Endpoint {
    pub(crate) fn bind(address: SocketAddr, config: quiche::Config) -> Result<Self, Error> {
        let socket = std::net::UdpSocket::bind(address)?;
        let offload = UdpSocketState::new(UdpSockRef::from(&socket))?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?;
        let state = State {
            config,
            connections: Vec::new(),
            by_cid: HashMap::new(),
            timeouts: BTreeSet::new(),
            dirty: VecDeque::new(),
            accepted: VecDeque::new(),
            acceptor: None,
            driver: None,
            next_cid: u64::from(std::process::id()) << 32,
            scratch: vec![0; BUFFER].into(),
        };
        let shared =
            Arc::new(Shared { socket: UdpSocket::from_std(socket)?, local, state: Mutex::new(state) });
        tokio::spawn(Driver::new(Arc::clone(&shared), offload));
        Ok(Self { shared })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.shared.local
    }

    pub(crate) async fn accept(&self) -> Connection {
        let key = poll_fn(|cx| {
            let mut state = self.shared.lock();
            match state.accepted.pop_front() {
                Some(key) => Poll::Ready(key),
                None => {
                    state.acceptor = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        });
        Connection { shared: Arc::clone(&self.shared), key: key.await }
    }

    pub(crate) async fn connect(&self, server: SocketAddr, name: &str) -> Result<Connection, Error> {
        let key = {
            let mut state = self.shared.lock();
            let cid = state.new_cid();
            let scid = quiche::ConnectionId::from_ref(&cid);
            let quic = quiche::connect(Some(name), &scid, self.shared.local, server, &mut state.config)?;
            state.insert(quic, vec![cid.clone()])
        };
        let connection = Connection { shared: Arc::clone(&self.shared), key };
        connection.wait(|peer| peer.quic.is_established().then_some(())).await.ok_or("no connection")?;
        Ok(connection)
    }
}

pub(crate) struct Connection {
    shared: Arc<Shared>,
    key: usize,
}

impl Connection {
    /// Waits until `ready` gives something; `None` if the connection ends before.
    async fn wait<R>(&self, mut ready: impl FnMut(&mut Peer) -> Option<R>) -> Option<R> {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            let Some(peer) = &mut state.connections[self.key] else { return Poll::Ready(None) };
            if let Some(result) = ready(peer) {
                return Poll::Ready(Some(result));
            }
            if peer.quic.is_closed() || peer.quic.is_draining() {
                return Poll::Ready(None);
            }
            peer.waiting = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(crate) async fn accept(&self) -> Option<Stream> {
        let id = self.wait(|peer| peer.arrivals.queue.pop_front()).await?;
        Some(Stream { shared: Arc::clone(&self.shared), key: self.key, id })
    }

    /// The workloads open fewer streams than the server allows.
    pub(crate) fn open(&self) -> Stream {
        let mut state = self.shared.lock();
        let id = state.connections[self.key].as_mut().map_or(0, |peer| {
            peer.next_local += 4;
            peer.next_local - 4
        });
        Stream { shared: Arc::clone(&self.shared), key: self.key, id }
    }

    pub(crate) fn close(&self) {
        let mut state = self.shared.lock();
        if let Some(peer) = &mut state.connections[self.key] {
            // It may be closed already.
            let _ = peer.quic.close(true, 0, b"done");
        }
        state.touch(self.key);
    }
}

pub(crate) struct Stream {
    shared: Arc<Shared>,
    key: usize,
    id: u64,
}

impl Stream {
    fn poll_write(&self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Error>> {
        let mut state = self.shared.lock();
        let peer = state.connections[self.key].as_mut().ok_or("the connection is over")?;
        let written = match peer.quic.stream_send(self.id, data, false) {
            Ok(len) => len,
            Err(quiche::Error::Done) => 0,
            Err(quiche::Error::StreamLimit) => {
                peer.limited.push(cx.waker().clone());
                return Poll::Pending;
            }
            Err(error) => return Poll::Ready(Err(error.into())),
        };
        if written == 0 {
            peer.writers.insert(self.id, cx.waker().clone());
        }
        state.touch(self.key);
        if written == 0 { Poll::Pending } else { Poll::Ready(Ok(written)) }
    }

    pub(crate) async fn write_all(&self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let written = poll_fn(|cx| self.poll_write(cx, data)).await?;
            data = &data[written..];
        }
        Ok(())
    }

    pub(crate) fn finish(&self) -> Result<(), Error> {
        let mut state = self.shared.lock();
        let peer = state.connections[self.key].as_mut().ok_or("the connection is over")?;
        peer.quic.stream_send(self.id, b"", true)?;
        state.touch(self.key);
        Ok(())
    }

    pub(crate) async fn read(&self, mut look: impl FnMut(&[u8])) -> Result<Option<usize>, Error> {
        poll_fn(|cx| {
            let mut state = self.shared.lock();
            let State { connections, scratch, .. } = &mut *state;
            let peer = connections[self.key].as_mut().ok_or("the connection is over")?;
            match peer.quic.stream_recv(self.id, scratch) {
                Ok((0, true)) => Poll::Ready(Ok(None)),
                Ok((len, _)) => {
                    look(&scratch[..len]);
                    // The peer may have to hear of a larger window.
                    state.touch(self.key);
                    Poll::Ready(Ok(Some(len)))
                }
                // Collected: its end was read with its last bytes.
                Err(quiche::Error::InvalidStreamState(_)) => Poll::Ready(Ok(None)),
                Err(quiche::Error::Done) if peer.quic.stream_finished(self.id) => Poll::Ready(Ok(None)),
                Err(quiche::Error::Done) => {
                    peer.readers.insert(self.id, cx.waker().clone());
                    Poll::Pending
                }
                Err(error) => Poll::Ready(Err(error.into())),
            }
        })
        .await
    }

    pub(crate) fn stop(&self) {
        let mut state = self.shared.lock();
        if let Some(peer) = &mut state.connections[self.key] {
            // Its end may have come.
            let _ = peer.quic.stream_shutdown(self.id, quiche::Shutdown::Read, 0);
        }
        state.touch(self.key);
    }
}

/// The task that moves datagrams between the socket and the connections.
struct Driver {
    shared: Arc<Shared>,
    offload: UdpSocketState,
    buffers: Vec<Vec<u8>>,
    out: Box<[u8]>,
    /// What is in `out` and has to be sent first: its length, the length of each datagram, and to whom.
    pending: Option<(usize, usize, SocketAddr)>,
    /// A datagram of the same connection that lies behind that: where, its length, and to whom.
    carried: Option<(usize, usize, SocketAddr)>,
    timer: Pin<Box<Sleep>>,
}

impl Driver {
    fn new(shared: Arc<Shared>, offload: UdpSocketState) -> Self {
        Self {
            buffers: vec![vec![0; 65_536]; BATCH_SIZE],
            out: vec![0; BUFFER].into(),
            pending: None,
            carried: None,
            timer: Box::pin(tokio::time::sleep(std::time::Duration::ZERO)),
            shared,
            offload,
        }
    }

    /// Takes what the socket has, at most a few batches. Returns whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        let shared = Arc::clone(&self.shared);
        for _ in 0..8 {
            if shared.socket.poll_recv_ready(cx).is_pending() {
                return false;
            }
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut slices = self.buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer));
            let mut slices: [_; BATCH_SIZE] = std::array::from_fn(|_| slices.next().expect("one for each"));
            let offload = &self.offload;
            let received = shared.socket.try_io(Interest::READABLE, || {
                offload.recv(UdpSockRef::from(&shared.socket), &mut slices, &mut metas)
            });
            let count = match received {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // An answer to something sent.
                Err(_) => continue,
            };
            let mut state = shared.lock();
            for (meta, buffer) in metas.iter().take(count).zip(&mut self.buffers) {
                for datagram in buffer[..meta.len].chunks_mut(meta.stride.max(1)) {
                    state.receive(datagram, meta.addr, shared.local);
                }
            }
        }
        true
    }

    /// Gives what is pending to the socket.
    fn flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some((len, segment, destination)) = self.pending else { return Poll::Ready(()) };
        let transmit = Transmit {
            destination,
            ecn: None,
            contents: &self.out[..len],
            segment_size: (segment < len).then_some(segment),
            src_ip: None,
        };
        loop {
            if ready!(self.shared.socket.poll_send_ready(cx)).is_err() {
                break;
            }
            let (socket, offload) = (&self.shared.socket, &self.offload);
            let sent =
                socket.try_io(Interest::WRITABLE, || offload.try_send(UdpSockRef::from(socket), &transmit));
            match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => break,
            }
        }
        self.pending = None;
        Poll::Ready(())
    }

    /// Fills `out` from one connection, with datagrams of one size but for the last, which may be shorter: quiche puts one STREAM frame in
    /// each, so that many are short. One that is longer has to wait for the next batch. Returns whether there was anything.
    fn fill(&mut self, peer: &mut Peer) -> bool {
        let (room, most) = (peer.quic.max_send_udp_payload_size(), self.offload.max_gso_segments());
        let (mut len, mut segment, mut count, mut to) = (0, 0, 0, None);
        if let Some((at, size, destination)) = self.carried.take() {
            self.out.copy_within(at..at + size, 0);
            (len, segment, count, to) = (size, size, 1, Some(destination));
        }
        while count < most && len + room <= self.out.len() {
            let Ok((written, info)) = peer.quic.send(&mut self.out[len..len + room]) else { break };
            if count == 0 {
                segment = written;
            } else if written > segment {
                self.carried = Some((len, written, info.to));
                break;
            }
            (len, count, to) = (len + written, count + 1, Some(info.to));
            if written < segment || len >= peer.quic.send_quantum() {
                break;
            }
        }
        self.pending = to.map(|to| (len, segment, to));
        to.is_some()
    }

    /// Sends what the connections have. Pending if the socket takes no more.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let shared = Arc::clone(&self.shared);
        loop {
            ready!(self.flush(cx));
            let mut state = shared.lock();
            let Some(key) = state.dirty.front().copied() else { return Poll::Ready(()) };
            let more = match &mut state.connections[key] {
                Some(peer) => self.fill(peer),
                None => false,
            };
            if !more {
                state.dirty.pop_front();
                if let Some(peer) = &mut state.connections[key] {
                    peer.dirty = false;
                    peer.notify();
                }
                state.settle(key);
            }
        }
    }
}

impl Future for Driver {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        for _ in 0..4 {
            this.shared.lock().driver = None;
            let more = this.receive(cx);
            let now = Instant::now();
            let next = {
                let mut state = this.shared.lock();
                state.expire(now);
                // What was received is told before anything is sent, so that answers leave with acknowledgements.
                let dirty: Vec<usize> = state.dirty.iter().copied().collect();
                for key in dirty {
                    if let Some(peer) = &mut state.connections[key] {
                        peer.notify();
                    }
                }
                drop(state);
                if this.send(cx).is_pending() {
                    return Poll::Pending;
                }
                let mut state = this.shared.lock();
                state.driver = Some(cx.waker().clone());
                state.timeouts.first().map(|(at, _)| *at)
            };
            if more {
                continue;
            }
            let Some(next) = next else { return Poll::Pending };
            this.timer.as_mut().reset(next.into());
            if this.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_arrive_once_with_their_first_byte_in_any_order() {
        let mut arrivals = Arrivals::default();
        for id in [8, 0, 8, 0, 16, 4, 12, 4, 16, 20] {
            arrivals.note(id);
        }
        assert_eq!(arrivals.queue, [8, 0, 16, 4, 12, 20]);
        assert!(arrivals.skipped.is_empty());
    }
}
