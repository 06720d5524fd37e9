//! quic-mio behind the traits of the suite: both endpoints in one loop on one thread.
//!
//! Owns [`Mio`]. Timers: the earliest of both endpoints and of behaviours that sleep.

use crate::looped::{self, Happening, Looped, Target, World};
use crate::{Adapter, Configs, Pair, Setup};
use mio::{Events, Poll, Token};
use quic_mio::{Endpoint, Occurrence};
use quic_proto::config::ClientConfig;
use quic_proto::connection::Connection;
use quic_proto::endpoint::{ConnectionHandle, Incoming};
use quic_proto::error::AppError;
use quic_proto::id::Side;
use quic_proto::time::Instant as ProtocolTime;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

/// Both endpoints in one mio loop on one thread.
pub struct Mio;

impl Adapter for Mio {
    type Endpoint = Looped<Polled>;

    fn run(setup: Setup, behaviour: impl AsyncFnOnce(&Pair<Looped<Polled>>)) {
        looped::run(Polled::new(setup), behaviour);
    }
}

/// A port that is closed: what is sent there comes back as an ICMP error, which is no reason to give up.
const NOBODY: &str = "127.0.0.1:9";

/// A loop with both endpoints in it.
pub struct Polled {
    poll: Poll,
    events: Events,
    /// The client's and the server's.
    ends: [Endpoint; 2],
    config: ClientConfig,
    started: Instant,
    wake_at: Option<Instant>,
}

impl Polled {
    fn new(setup: Setup) -> Self {
        let Configs { endpoint, client, server } = setup.build();
        let bind = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut ends =
            [None, Some(server)].map(|server| Endpoint::new(endpoint.clone(), server, bind()).unwrap());
        let poll = Poll::new().unwrap();
        for (number, end) in ends.iter_mut().enumerate() {
            end.register(poll.registry(), Token(number)).unwrap();
        }
        let events = Events::with_capacity(8);
        Self { poll, events, ends, config: client, started: Instant::now(), wake_at: None }
    }

    fn drive(&mut self) -> Vec<(Side, Happening)> {
        let now = Instant::now();
        let mut all = Vec::new();
        for (side, end) in [Side::Client, Side::Server].into_iter().zip(&mut self.ends) {
            while let Some(occurrence) = end.drive(now).unwrap() {
                all.push((
                    side,
                    match occurrence {
                        Occurrence::Incoming(client) => Happening::Incoming(client),
                        Occurrence::Event(handle, event) => Happening::Event(handle, event),
                        Occurrence::Gone(handle, remains) => Happening::Gone(handle, remains),
                        _ => panic!("nobody calls from elsewhere"),
                    },
                ));
            }
        }
        all
    }
}

impl World for Polled {
    fn turn(&mut self) -> Vec<(Side, Happening)> {
        assert!(self.started.elapsed() < Duration::from_secs(30), "it hangs");
        let all = self.drive();
        if !all.is_empty() {
            return all;
        }
        let now = Instant::now();
        let alarm = self.wake_at.map(|at| at.saturating_duration_since(now));
        let timeouts = self.ends.iter().filter_map(|end| end.next_timeout(now));
        // The last one turns a loop that waits for ever into a test that fails.
        let timeout = timeouts.chain(alarm).chain([Duration::from_secs(31)]).min();
        self.poll.poll(&mut self.events, timeout).unwrap();
        for event in &self.events {
            let taken = self.ends.iter_mut().filter_map(|end| end.on_event(event).then_some(())).count();
            assert_eq!(taken, 1, "each event is one endpoint's");
        }
        self.drive()
    }

    fn now(&self) -> ProtocolTime {
        ProtocolTime::EPOCH + self.started.elapsed()
    }

    fn wake_at(&mut self, at: ProtocolTime) {
        self.wake_at = Some(self.started + (at - ProtocolTime::EPOCH));
    }

    fn connect(&mut self, from: Side, to: Target) -> Option<ConnectionHandle> {
        let addr = match to {
            Target::Server => self.ends[1].local_addr(),
            Target::Nobody => NOBODY.parse().unwrap(),
            Target::NoAddress => "127.0.0.1:0".parse().unwrap(),
        };
        self.ends[from as usize].connect(Instant::now(), addr, "localhost", &self.config).ok()
    }

    fn accept(&mut self, end: Side, client: Incoming) -> Option<ConnectionHandle> {
        self.ends[end as usize].accept(Instant::now(), client).ok()
    }

    fn retry(&mut self, end: Side, client: Incoming) -> Result<(), Incoming> {
        self.ends[end as usize].retry(Instant::now(), client)
    }

    fn refuse(&mut self, end: Side, client: Incoming) {
        self.ends[end as usize].refuse(client);
    }

    fn ignore(&mut self, end: Side, client: Incoming) {
        self.ends[end as usize].ignore(client);
    }

    fn act<R>(
        &mut self,
        end: Side,
        handle: ConnectionHandle,
        act: impl FnOnce(&mut Connection, ProtocolTime) -> R,
    ) -> Option<R> {
        let end = &mut self.ends[end as usize];
        let now = end.time(Instant::now());
        end.connection(handle).map(|connection| act(connection, now))
    }

    fn close(&mut self, end: Side, code: AppError, reason: &[u8]) {
        self.ends[end as usize].close(Instant::now(), code, reason);
    }

    fn connections(&self, end: Side) -> usize {
        self.ends[end as usize].open_connections()
    }
}
