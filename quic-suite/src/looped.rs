//! Endpoints in loops that are turned by hand, behind the suite's traits.
//!
//! Owns [`run`], an executor that turns a [`World`] between the polls of a behaviour, and the handles that the behaviour holds.
//!
//! Invariants: what the protocol refused for now is not tried again before the event came that the protocol promised for it. What came before
//! the end of a connection can be read after it. Timers: those of behaviours that sleep, which the world keeps.

use crate::{Connection, Endpoint, Incoming, Pair, ReadError, RecvStream, SendStream, WriteError};
use quic_proto::connection::Connection as Protocol;
use quic_proto::endpoint::{ConnectionHandle, Incoming as Client};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, Side, StreamId};
use quic_proto::invariants::Version;
use quic_proto::streams::{OpenError, ReadError as ReadRefused, WriteError as WriteRefused};
use quic_proto::time::Instant;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A client's and a server's endpoint, and the loop around them.
pub trait World {
    /// Does what is to be done, then waits until something happens. Panics if nothing ever will.
    fn turn(&mut self) -> Vec<(Side, Happening)>;
    /// The time.
    fn now(&self) -> Instant;
    /// A turn is to end at this time, whether something happened or not.
    fn wake_at(&mut self, at: Instant);
    /// Opens a connection; `None` if that is refused at once.
    fn connect(&mut self, from: Side, to: Target) -> Option<ConnectionHandle>;
    /// Accepts a client.
    fn accept(&mut self, end: Side, client: Client) -> Option<ConnectionHandle>;
    /// Sends a Retry packet.
    fn retry(&mut self, end: Side, client: Client) -> Result<(), Client>;
    /// Refuses a client.
    fn refuse(&mut self, end: Side, client: Client);
    /// Forgets a client.
    fn ignore(&mut self, end: Side, client: Client);
    /// Does something to a connection, if it is there.
    fn act<R>(
        &mut self,
        end: Side,
        handle: ConnectionHandle,
        act: impl FnOnce(&mut Protocol, Instant) -> R,
    ) -> Option<R>;
    /// Closes an endpoint.
    fn close(&mut self, end: Side, code: AppError, reason: &[u8]);
    /// How many connections an endpoint has.
    fn connections(&self, end: Side) -> usize;
}

/// Where to connect to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Target {
    /// The server of the pair.
    Server,
    /// Where nobody answers.
    Nobody,
    /// An address without a port.
    NoAddress,
}

/// Something that happened in a turn.
pub enum Happening {
    /// A client wants to connect.
    Incoming(Client),
    /// A connection has news.
    Event(ConnectionHandle, Event),
    /// A connection is gone; this remains of it.
    Gone(ConnectionHandle, Box<Protocol>),
}

/// Runs a behaviour in a world.
pub fn run<W: World>(world: W, behaviour: impl AsyncFnOnce(&Pair<Looped<W>>)) {
    let state = Rc::new(RefCell::new(State {
        world,
        clients: Default::default(),
        connections: HashMap::new(),
        closed: [false; 2],
    }));
    let end = |side| Looped { end: side, state: Rc::clone(&state) };
    let pair = Pair { client: end(Side::Client), server: end(Side::Server) };
    let mut behaviour = pin!(behaviour(&pair));
    let mut cx = Context::from_waker(Waker::noop());
    while behaviour.as_mut().poll(&mut cx).is_pending() {
        state.borrow_mut().turn();
    }
}

struct State<W> {
    world: W,
    clients: [VecDeque<Client>; 2],
    connections: HashMap<Key, Known>,
    closed: [bool; 2],
}

type Key = (Side, ConnectionHandle);

/// What is known of a connection.
#[derive(Default)]
struct Known {
    connected: bool,
    ended: Option<ConnectionError>,
    remains: Option<Box<Protocol>>,
    /// What was refused for now.
    blocked: HashSet<Wait>,
    stopped: HashMap<StreamId, AppError>,
    delivered: HashSet<StreamId>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Wait {
    Open(Dir),
    Accept(Dir),
    Read(StreamId),
    Write(StreamId),
}

impl<W: World> State<W> {
    fn turn(&mut self) {
        for (end, happening) in self.world.turn() {
            match happening {
                Happening::Incoming(client) => self.clients[end as usize].push_back(client),
                Happening::Event(handle, event) => {
                    self.connections.entry((end, handle)).or_default().on_event(event);
                }
                Happening::Gone(handle, remains) => {
                    self.connections.entry((end, handle)).or_default().remains = Some(remains);
                }
            }
        }
    }

    /// Does something to a connection, or to what remains of it.
    fn act<R>(&mut self, key: Key, act: impl FnOnce(&mut Known, &mut Protocol, Instant) -> R) -> R {
        let known = self.connections.entry(key).or_default();
        let now = self.world.now();
        if let Some(mut remains) = known.remains.take() {
            let result = act(known, &mut remains, now);
            known.remains = Some(remains);
            return result;
        }
        let result = self.world.act(key.0, key.1, |connection, now| act(known, connection, now));
        result.expect("a connection is there until it is gone")
    }
}

impl Known {
    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Closed(reason) => {
                self.ended = Some(reason);
                self.blocked.clear();
            }
            Event::Stream(event) => match event {
                StreamEvent::Opened(dir) => drop(self.blocked.remove(&Wait::Accept(dir))),
                StreamEvent::Available(dir) => drop(self.blocked.remove(&Wait::Open(dir))),
                StreamEvent::Readable(id) => drop(self.blocked.remove(&Wait::Read(id))),
                StreamEvent::Writable(id) => drop(self.blocked.remove(&Wait::Write(id))),
                StreamEvent::Finished(id) => drop(self.delivered.insert(id)),
                StreamEvent::Stopped(id, code) => {
                    self.stopped.insert(id, code);
                    self.blocked.remove(&Wait::Write(id));
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// An endpoint in a loop.
pub struct Looped<W> {
    end: Side,
    state: Rc<RefCell<State<W>>>,
}

impl<W: World> Looped<W> {
    async fn connect_to(&self, target: Target) -> Result<LoopedConnection<W>, ConnectionError> {
        let handle = self.state.borrow_mut().world.connect(self.end, target).expect("it starts");
        LoopedConnection { key: (self.end, handle), state: Rc::clone(&self.state) }.established().await
    }
}

impl<W: World> Endpoint for Looped<W> {
    type Connection = LoopedConnection<W>;
    type Incoming = LoopedIncoming<W>;

    async fn connect(&self) -> Result<Self::Connection, ConnectionError> {
        self.connect_to(Target::Server).await
    }

    async fn connect_to_nobody(&self) -> Result<Self::Connection, ConnectionError> {
        self.connect_to(Target::Nobody).await
    }

    fn refuses_to_connect(&self, to_the_server: bool) -> bool {
        let target = if to_the_server { Target::Server } else { Target::NoAddress };
        self.state.borrow_mut().world.connect(self.end, target).is_none()
    }

    async fn accept(&self) -> Option<Self::Incoming> {
        poll_fn(|_| {
            let mut state = self.state.borrow_mut();
            match state.clients[self.end as usize].pop_front() {
                Some(client) => {
                    Poll::Ready(Some(LoopedIncoming { end: self.end, client, state: Rc::clone(&self.state) }))
                }
                None if state.closed[self.end as usize] => Poll::Ready(None),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn close(&self, code: AppError, reason: &[u8]) {
        let mut state = self.state.borrow_mut();
        state.closed[self.end as usize] = true;
        // They are in the application's hands already.
        for client in std::mem::take(&mut state.clients[self.end as usize]) {
            state.world.refuse(self.end, client);
        }
        state.world.close(self.end, code, reason);
    }

    async fn wait_idle(&self) {
        poll_fn(|_| match self.open_connections() {
            0 => Poll::Ready(()),
            _ => Poll::Pending,
        })
        .await;
    }

    fn open_connections(&self) -> usize {
        self.state.borrow().world.connections(self.end)
    }

    async fn sleep(&self, time: Duration) {
        let until = self.state.borrow().world.now() + time;
        self.state.borrow_mut().world.wake_at(until);
        poll_fn(|_| if self.state.borrow().world.now() >= until { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }
}

/// A client in a loop.
pub struct LoopedIncoming<W> {
    end: Side,
    client: Client,
    state: Rc<RefCell<State<W>>>,
}

impl<W: World> Incoming for LoopedIncoming<W> {
    type Connection = LoopedConnection<W>;

    fn is_validated(&self) -> bool {
        self.client.is_validated()
    }

    async fn accept(self) -> Result<Self::Connection, ConnectionError> {
        let handle = self.state.borrow_mut().world.accept(self.end, self.client).expect("it waits");
        LoopedConnection { key: (self.end, handle), state: self.state }.established().await
    }

    fn retry(self) -> Result<(), Self> {
        let result = self.state.borrow_mut().world.retry(self.end, self.client);
        result.map_err(|client| Self { end: self.end, client, state: self.state })
    }

    fn refuse(self) {
        self.state.borrow_mut().world.refuse(self.end, self.client);
    }

    fn ignore(self) {
        self.state.borrow_mut().world.ignore(self.end, self.client);
    }
}

/// A connection in a loop.
pub struct LoopedConnection<W> {
    key: Key,
    state: Rc<RefCell<State<W>>>,
}

impl<W: World> LoopedConnection<W> {
    fn act<R>(&self, act: impl FnOnce(&mut Known, &mut Protocol, Instant) -> R) -> R {
        self.state.borrow_mut().act(self.key, act)
    }

    /// Waits for the handshake.
    async fn established(self) -> Result<Self, ConnectionError> {
        let ready = poll_fn(|_| {
            self.act(|known, _, _| match &known.ended {
                _ if known.connected => Poll::Ready(Ok(())),
                Some(reason) => Poll::Ready(Err(reason.clone())),
                None => Poll::Pending,
            })
        });
        ready.await.map(|()| self)
    }

    /// Tries until it is not refused any more, each time after the event that `wait` stands for.
    async fn when<R>(
        &self,
        wait: Wait,
        mut attempt: impl FnMut(&mut Known, &mut Protocol) -> Option<R>,
    ) -> R {
        poll_fn(|_| {
            self.act(|known, connection, _| {
                if known.blocked.contains(&wait) {
                    return Poll::Pending;
                }
                match attempt(known, connection) {
                    Some(result) => Poll::Ready(result),
                    None => {
                        known.blocked.insert(wait);
                        Poll::Pending
                    }
                }
            })
        })
        .await
    }

    async fn open(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        self.when(Wait::Open(dir), |known, connection| {
            if let Some(reason) = &known.ended {
                return Some(Err(reason.clone()));
            }
            if connection.is_closing() {
                return Some(Err(ConnectionError::LocallyClosed));
            }
            match connection.open(dir) {
                Ok(id) => Some(Ok(id)),
                Err(OpenError::GoingAway) => Some(Err(ConnectionError::GoingAway)),
                Err(_) => None,
            }
        })
        .await
    }

    async fn accept(&self, dir: Dir) -> Result<StreamId, ConnectionError> {
        self.when(Wait::Accept(dir), |known, connection| {
            connection.accept(dir).map(Ok).or_else(|| known.ended.clone().map(Err))
        })
        .await
    }

    fn stream(&self, id: StreamId) -> LoopedStream<W> {
        let connection = Self { key: self.key, state: Rc::clone(&self.state) };
        LoopedStream { connection, id, ended: false, end: None }
    }
}

impl<W: World> Connection for LoopedConnection<W> {
    type Send = LoopedStream<W>;
    type Recv = LoopedStream<W>;

    async fn open_bi(&self) -> Result<(Self::Send, Self::Recv), ConnectionError> {
        self.open(Dir::Bi).await.map(|id| (self.stream(id), self.stream(id)))
    }

    async fn open_uni(&self) -> Result<Self::Send, ConnectionError> {
        self.open(Dir::Uni).await.map(|id| self.stream(id))
    }

    async fn accept_bi(&self) -> Result<(Self::Send, Self::Recv), ConnectionError> {
        self.accept(Dir::Bi).await.map(|id| (self.stream(id), self.stream(id)))
    }

    async fn accept_uni(&self) -> Result<Self::Recv, ConnectionError> {
        self.accept(Dir::Uni).await.map(|id| self.stream(id))
    }

    fn close(&self, code: AppError, reason: &[u8]) {
        self.act(|_, connection, now| connection.close(now, code, reason));
    }

    fn abort(&self, code: AppError, reason: &[u8]) {
        self.act(|_, connection, now| connection.abort(now, code, reason));
    }

    async fn closed(&self) -> ConnectionError {
        poll_fn(|_| self.act(|known, _, _| known.ended.clone().map_or(Poll::Pending, Poll::Ready))).await
    }

    fn version(&self) -> Version {
        self.act(|_, connection, _| connection.version())
    }

    fn protocol(&self) -> Option<Vec<u8>> {
        self.act(|_, connection, _| connection.handshake_info())?.protocol
    }
}

/// A part of a stream in a loop.
pub struct LoopedStream<W> {
    connection: LoopedConnection<W>,
    id: StreamId,
    /// This side ended the sending part.
    ended: bool,
    /// How the receiving part ended.
    end: Option<Result<(), ReadError>>,
}

impl<W: World> SendStream for LoopedStream<W> {
    async fn write(&mut self, data: &[u8]) -> Result<usize, WriteError> {
        if self.ended {
            return Err(WriteError::Closed);
        }
        let id = self.id;
        let attempt = |known: &mut Known, connection: &mut Protocol| {
            let written = connection.send_stream(id).map_err(|_| WriteRefused::Closed);
            match written.and_then(|mut stream| stream.write(data)) {
                Ok(len) => Some(Ok(len)),
                Err(WriteRefused::Blocked) => None,
                Err(WriteRefused::Stopped(code)) => Some(Err(WriteError::Stopped(code))),
                Err(WriteRefused::Closed) => Some(Err(match (&known.ended, known.stopped.get(&id)) {
                    (Some(reason), _) => WriteError::Lost(reason.clone()),
                    (None, Some(code)) => WriteError::Stopped(*code),
                    (None, None) if connection.is_closing() => {
                        WriteError::Lost(ConnectionError::LocallyClosed)
                    }
                    (None, None) => WriteError::Closed,
                })),
            }
        };
        self.connection.when(Wait::Write(id), attempt).await
    }

    fn finish(&mut self) -> bool {
        let (id, first) = (self.id, !std::mem::replace(&mut self.ended, true));
        let finish = |connection: &mut Protocol| match connection.send_stream(id).map(|mut s| s.finish()) {
            Ok(Ok(()) | Err(WriteRefused::Stopped(_))) => true,
            Ok(Err(_)) | Err(_) => false,
        };
        first && self.connection.act(|_, connection, _| finish(connection))
    }

    fn reset(&mut self, code: AppError) -> bool {
        self.ended = true;
        let id = self.id;
        self.connection.act(|known, connection, _| {
            let reset = connection.send_stream(id).is_ok_and(|mut stream| stream.reset(code).is_ok());
            if reset {
                known.delivered.insert(id);
            }
            reset
        })
    }

    async fn stopped(&self) -> Result<Option<AppError>, ConnectionError> {
        poll_fn(|_| {
            self.connection.act(|known, _, _| match (known.stopped.get(&self.id), &known.ended) {
                _ if known.delivered.contains(&self.id) => Poll::Ready(Ok(None)),
                (Some(code), _) => Poll::Ready(Ok(Some(*code))),
                (None, Some(reason)) => Poll::Ready(Err(reason.clone())),
                (None, None) => Poll::Pending,
            })
        })
        .await
    }
}

impl<W: World> RecvStream for LoopedStream<W> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, ReadError> {
        if let Some(end) = &self.end {
            return end.clone().map(|()| None);
        }
        let id = self.id;
        let attempt = |known: &mut Known, connection: &mut Protocol| {
            let read = connection.recv_stream(id).map_err(|_| ReadRefused::Closed);
            match (read.and_then(|mut stream| stream.read(buf)), &known.ended) {
                (Ok(read), _) => Some(Ok(read)),
                (Err(ReadRefused::Reset(code)), _) => Some(Err(ReadError::Reset(code))),
                (Err(_), Some(reason)) => Some(Err(ReadError::Lost(reason.clone()))),
                (Err(ReadRefused::Closed), None) => Some(Err(ReadError::Closed)),
                (Err(ReadRefused::Blocked), None) => None,
            }
        };
        let read = self.connection.when(Wait::Read(id), attempt).await;
        match read {
            Ok(read) => {
                self.end = read.fin.then_some(Ok(()));
                Ok((read.len > 0).then_some(read.len))
            }
            Err(error) => {
                self.end = Some(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn stop(&mut self, code: AppError) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.end = Some(Err(ReadError::Closed));
        let id = self.id;
        self.connection.act(|_, connection, _| {
            connection.recv_stream(id).is_ok_and(|mut stream| stream.stop(code).is_ok())
        })
    }
}
