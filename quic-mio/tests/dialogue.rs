//! Who takes turns with a peer nearby is not put to sleep by its loop.

use mio::{Events, Poll, Token};
use quic_mio::{ClientConfig, ConnectionHandle, Endpoint, EndpointConfig, Occurrence, ServerConfig};
use quic_proto::crypto::null::{NullClient, NullServer};
use quic_proto::event::Event;
use quic_proto::id::{Dir, StreamId};
use std::sync::Arc;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_micros(200);

/// An endpoint in a loop of its own. All loops have the same clock, which the test moves on.
struct Side {
    endpoint: Endpoint,
    poll: Poll,
    connection: Option<ConnectionHandle>,
}

impl Side {
    fn new(busy_poll: Duration, server: Option<Arc<ServerConfig>>) -> Self {
        let config = EndpointConfig::new(&[2; 32]).busy_poll(busy_poll);
        let socket = quic_udp::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (mut endpoint, poll) = (Endpoint::new(config, server, socket).unwrap(), Poll::new().unwrap());
        endpoint.register(poll.registry(), Token(0)).unwrap();
        Self { endpoint, poll, connection: None }
    }

    /// Takes a turn.
    fn turn(&mut self, now: Instant) {
        self.turn_within(now, Duration::ZERO);
    }

    /// Takes a turn as soon as something comes, or after so long.
    fn turn_within(&mut self, now: Instant, time: Duration) {
        let mut readiness = Events::with_capacity(8);
        self.poll.poll(&mut readiness, Some(time)).unwrap();
        readiness.iter().for_each(|event| assert!(self.endpoint.on_event(event)));
        while let Some(occurrence) = self.endpoint.drive(now).unwrap() {
            match occurrence {
                Occurrence::Incoming(client) => drop(self.endpoint.accept(now, client).unwrap()),
                Occurrence::Event(handle, Event::Connected) => self.connection = Some(handle),
                _ => {}
            }
        }
    }

    /// Reads what there is. Returns whether there was something.
    fn reads(&mut self, stream: StreamId) -> bool {
        let connection = self.endpoint.connection(self.connection.unwrap()).unwrap();
        let Ok(mut stream) = connection.recv_stream(stream) else { return false };
        let mut found = false;
        while stream.read(&mut [0; 64]).is_ok() {
            found = true;
        }
        found
    }

    /// Takes turns until the other side's word is there: a busy system does not always deliver it at once.
    fn hears(&mut self, now: Instant, stream: StreamId) {
        for _ in 0..1000 {
            self.turn_within(now, Duration::from_millis(10));
            if self.reads(stream) {
                return;
            }
        }
        panic!("nothing was said");
    }

    fn says(&mut self, now: Instant, stream: StreamId) {
        let connection = self.endpoint.connection(self.connection.unwrap()).unwrap();
        connection.send_stream(stream).unwrap().write(b"so I say").unwrap();
        self.turn(now);
        // Until the system has said that there is nothing.
        self.turn(now);
    }
}

/// Has both sides take turns. Returns the client, who spoke last, its server, and the time.
fn dialogue(busy_poll: Duration) -> (Side, Side, StreamId, Instant) {
    let server = ServerConfig::new(Arc::new(NullServer::default()), &[1; 32]).build().unwrap();
    let (mut server, mut client) = (Side::new(busy_poll, Some(server)), Side::new(busy_poll, None));
    let config = ClientConfig::new(Arc::new(NullClient::default())).build().unwrap();
    let mut now = Instant::now();
    client.endpoint.connect(now, server.endpoint.local_addr(), "localhost", &config).unwrap();
    for _ in 0..100 {
        now += Duration::from_millis(1);
        client.turn(now);
        server.turn(now);
    }
    let connection = client.endpoint.connection(client.connection.expect("it is open")).unwrap();
    let stream = connection.open(Dir::Bi).unwrap();
    client.says(now, stream);
    for _ in 0..20 {
        now += LIMIT / 10;
        server.hears(now, stream);
        server.says(now, stream);
        now += LIMIT / 10;
        client.hears(now, stream);
        client.says(now, stream);
    }
    (client, server, stream, now)
}

#[test]
fn the_loop_does_not_sleep_while_an_answer_is_to_come_at_once() {
    let (mut client, mut server, stream, now) = dialogue(LIMIT);
    server.hears(now, stream);
    assert_eq!(client.endpoint.next_timeout(now), Some(Duration::ZERO));
    client.turn(now + LIMIT / 2);
    assert_eq!(client.endpoint.next_timeout(now + LIMIT / 2), Some(Duration::ZERO));
    client.turn(now + LIMIT);
    assert_ne!(client.endpoint.next_timeout(now + LIMIT), Some(Duration::ZERO), "it is not to come any more");
    // Now it comes, and the next is not waited for.
    let now = now + LIMIT * 2;
    server.says(now, stream);
    assert_eq!(server.endpoint.next_timeout(now), Some(Duration::ZERO), "the server knows a quick client");
    client.hears(now, stream);
    client.says(now, stream);
    assert_ne!(client.endpoint.next_timeout(now), Some(Duration::ZERO));
}

#[test]
fn with_a_limit_of_zero_it_sleeps() {
    let (client, _server, _, now) = dialogue(Duration::ZERO);
    assert_ne!(client.endpoint.next_timeout(now), Some(Duration::ZERO));
}
