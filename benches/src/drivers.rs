//! Two ways to drive a server's connections, stripped to what makes the difference, to be measured beside quic-tokio: [`one_task`] for an endpoint
//! with all its connections, and [`task_each`] for a connection.
//!
//! With a task each, one more task reads the socket, asks the [`Router`], and hands each datagram, copied, to the task of its connection
//! through a bounded channel; notices about connection ids come back through another. A connection's task sends by itself.
//!
//! In both the application, which answers requests as the clients of `bin/tasks.rs` make them, runs inside the task that runs the protocol:
//! no lock, and no wake-up of another task. An adapter with handles, as quic-tokio is, pays for those on top.

use crate::SOURCE;
use quic_proto::config::{EndpointConfig, ServerConfig};
use quic_proto::connection::{Connection, EndpointEvent};
use quic_proto::endpoint::{ConnectionHandle, Endpoint, MAX_RESPONSE, Routed, Router};
use quic_proto::event::Event;
use quic_proto::id::{Dir, StreamId};
use quic_proto::net::{Datagram, Ecn, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::time::{Instant, UnixTime};
use quic_udp::{ReceiveBatch, SendBatch};
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{self, Receiver, Sender};

/// Datagrams that may wait for a connection's task; more are dropped, as by a socket.
const INBOX: usize = 1024;

/// Datagrams that a connection's task takes before it answers.
const BATCH: usize = 64;

struct Shared {
    socket: quic_udp::Socket<UdpSocket>,
    begun: tokio::time::Instant,
}

impl Shared {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.begun.elapsed()
    }

    async fn sleep(&self, until: Option<Instant>) {
        match until {
            Some(at) => tokio::time::sleep_until(self.begun + (at - Instant::EPOCH)).await,
            None => std::future::pending().await,
        }
    }

    async fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<()> {
        self.socket.io().async_io(Interest::READABLE, || self.socket.try_receive(batch)).await
    }

    async fn send(&self, batch: &mut SendBatch) -> io::Result<()> {
        self.socket.io().async_io(Interest::WRITABLE, || self.socket.try_send(batch)).await
    }
}

/// A datagram on its way to a task.
struct Received {
    path: FourTuple,
    ecn: Option<Ecn>,
    payload: Vec<u8>,
}

/// What a connection tells the router; `None` if it is over.
type Notice = (ConnectionHandle, Option<EndpointEvent>);

fn open() -> io::Result<Arc<Shared>> {
    let bound = quic_udp::bind(([127, 0, 0, 1], 0).into())?;
    let socket = quic_udp::Socket::new(bound, None, UdpSocket::from_std)?;
    Ok(Arc::new(Shared { socket, begun: tokio::time::Instant::now() }))
}

/// Starts a server that is one task; it ends with the runtime. Returns its address.
///
/// # Errors
/// If there is no socket.
pub fn one_task(config: Arc<ServerConfig>) -> io::Result<SocketAddr> {
    let (shared, rng) = (open()?, Box::new(SeededRng::from_u64(7)));
    let address = shared.socket.local_addr();
    let endpoint = Endpoint::new(EndpointConfig::new(&[7; 32]), Some(config), rng, UnixTime::from_secs(1));
    tokio::spawn(drive(shared, endpoint));
    Ok(address)
}

/// Starts a server with a task for each connection; it ends with the runtime. Returns its address.
///
/// # Errors
/// If there is no socket.
pub fn task_each(config: Arc<ServerConfig>) -> io::Result<SocketAddr> {
    let (shared, rng) = (open()?, Box::new(SeededRng::from_u64(7)));
    let address = shared.socket.local_addr();
    let router = Router::new(EndpointConfig::new(&[7; 32]), Some(config), rng, UnixTime::from_secs(1));
    tokio::spawn(route(shared, router));
    Ok(address)
}

/// The one task.
async fn drive(shared: Arc<Shared>, mut endpoint: Endpoint) -> io::Result<()> {
    let mut applications: HashMap<ConnectionHandle, Application> = HashMap::new();
    let (mut inbox, mut outbox) = (ReceiveBatch::new(), SendBatch::new());
    let mut touched = Vec::new();
    loop {
        let now = shared.now();
        endpoint.handle_timeout(now);
        while let Some(client) = endpoint.poll_incoming() {
            // Who cannot be accepted asks again.
            let _ = endpoint.accept(now, client);
        }
        while let Some((handle, event)) = endpoint.poll_event() {
            if matches!(event, Event::Closed(_)) {
                applications.remove(&handle);
            } else {
                touched.push(handle);
            }
        }
        touched.dedup();
        for handle in touched.drain(..) {
            if let Some(connection) = endpoint.connection(handle) {
                applications.entry(handle).or_default().run(connection);
            }
        }
        let segments = shared.socket.max_segments();
        while outbox.fill(|buf| endpoint.poll_transmit(now, buf, segments)) {
            shared.send(&mut outbox).await?;
        }
        tokio::select! {
            biased;
            result = shared.receive(&mut inbox) => {
                result?;
                let now = shared.now();
                while let Some(datagram) = inbox.next_datagram() {
                    endpoint.handle_datagram(now, datagram);
                }
            }
            () = shared.sleep(endpoint.next_timeout()) => {}
        }
    }
}

/// The task that reads the socket.
async fn route(shared: Arc<Shared>, mut router: Router) -> io::Result<()> {
    let (notices, mut noticed) = mpsc::channel(INBOX);
    let mut tasks: HashMap<ConnectionHandle, Sender<Received>> = HashMap::new();
    let (mut inbox, mut outbox) = (ReceiveBatch::new(), SendBatch::new());
    loop {
        tokio::select! {
            biased;
            Some((handle, event)) = noticed.recv() => match event {
                Some(event) => router.handle_event(handle, event),
                None => {
                    router.remove(handle);
                    tasks.remove(&handle);
                }
            },
            result = shared.receive(&mut inbox) => {
                result?;
                let now = shared.now();
                while let Some(datagram) = inbox.next_datagram() {
                    let mut answer = None;
                    outbox.fill(|buf| {
                        let routed = router.route(now, &datagram, &mut buf[..MAX_RESPONSE]);
                        let respond = if let Routed::Respond(transmit) = &routed { Some(*transmit) } else { None };
                        answer = Some(routed);
                        respond
                    });
                    match answer {
                        Some(Routed::Connection(handle)) => {
                            let received = Received {
                                path: datagram.path,
                                ecn: datagram.ecn,
                                payload: datagram.payload.to_vec(),
                            };
                            if let Some(task) = tasks.get(&handle) {
                                // A full inbox loses it, as a full socket would.
                                let _ = task.try_send(received);
                            }
                        }
                        Some(Routed::Incoming(client)) => {
                            let Ok((handle, connection)) = router.accept(now, client) else { continue };
                            let (send, inbox) = mpsc::channel(INBOX);
                            tasks.insert(handle, send);
                            let (shared, notices) = (Arc::clone(&shared), notices.clone());
                            let application = Application::default();
                            tokio::spawn(Task { shared, handle, connection, inbox, notices, application }.run());
                        }
                        _ => {}
                    }
                    if !outbox.is_empty() {
                        shared.send(&mut outbox).await?;
                    }
                }
            }
        }
    }
}

/// A stream that is served.
struct Open {
    id: StreamId,
    request: Vec<u8>,
    /// Bytes that are still to be written, once the request is complete.
    rest: Option<u64>,
}

struct Task {
    shared: Arc<Shared>,
    handle: ConnectionHandle,
    connection: Connection,
    inbox: Receiver<Received>,
    notices: Sender<Notice>,
    application: Application,
}

impl Task {
    async fn run(mut self) -> io::Result<()> {
        let mut outbox = SendBatch::new();
        while !self.connection.is_drained() {
            let now = self.shared.now();
            self.connection.handle_timeout(now);
            while self.connection.poll_event().is_some() {}
            self.application.run(&mut self.connection);
            let segments = self.shared.socket.max_segments();
            while outbox.fill(|buf| self.connection.poll_transmit(now, buf, segments)) {
                self.shared.send(&mut outbox).await?;
            }
            while let Some(event) = self.connection.poll_endpoint_event() {
                self.notices.send((self.handle, Some(event))).await.map_err(|_| ErrorKind::BrokenPipe)?;
            }
            self.wait().await;
        }
        // The router may be gone with the runtime.
        let _ = self.notices.send((self.handle, None)).await;
        Ok(())
    }

    /// Sleeps until something happens, and takes the datagrams that came.
    async fn wait(&mut self) {
        let timer = self.shared.sleep(self.connection.next_timeout());
        let mut received = tokio::select! {
            biased;
            received = self.inbox.recv() => received,
            () = timer => None,
        };
        for _ in 0..BATCH {
            let Some(Received { path, ecn, mut payload }) = received else { return };
            self.connection.handle_datagram(self.shared.now(), Datagram { path, ecn, payload: &mut payload });
            received = self.inbox.try_recv().ok();
        }
    }
}

/// The application's side of a connection.
#[derive(Default)]
struct Application {
    open: Vec<Open>,
}

impl Application {
    /// Reads requests and writes answers, as far as that goes.
    fn run(&mut self, connection: &mut Connection) {
        while let Some(id) = connection.accept(Dir::Bi) {
            self.open.push(Open { id, request: Vec::new(), rest: None });
        }
        self.open.retain_mut(|open| open.serve(connection).unwrap_or(false));
    }
}

impl Open {
    /// Whether there is more to do; `None` if the stream broke.
    fn serve(&mut self, connection: &mut Connection) -> Option<bool> {
        while self.rest.is_none() {
            let mut buf = [0; 64];
            let Ok(read) = connection.recv_stream(self.id).ok()?.read(&mut buf) else { return Some(true) };
            self.request.extend_from_slice(&buf[..read.len]);
            if read.fin {
                self.rest = Some(crate::answer_len(&self.request));
            }
        }
        let mut stream = connection.send_stream(self.id).ok()?;
        let rest = self.rest.as_mut()?;
        while *rest > 0 {
            let len = SOURCE.len().min(usize::try_from(*rest).unwrap_or(usize::MAX));
            match stream.write(&SOURCE[..len]) {
                Ok(written) => *rest -= written as u64,
                Err(_) => return Some(true),
            }
        }
        stream.finish().ok()?;
        Some(false)
    }
}
