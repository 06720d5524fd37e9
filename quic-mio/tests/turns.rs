//! A turn is bounded, and the endpoint tells that there is more.

use mio::{Events, Poll, Token};
use quic_mio::{ClientConfig, ConnectionHandle, Endpoint, Occurrence, ServerConfig, TransportConfig};
use quic_proto::crypto::null::{NullClient, NullServer};
use quic_proto::event::Event;
use quic_proto::id::Dir;
use quic_udp::rhythm::ENOUGH;
use std::sync::Arc;
use std::time::{Duration, Instant};

const STREAMS: u64 = 400;

/// Shows an endpoint its events, drives it for a turn, and accepts who comes. Returns the connections that are open now, and how many
/// events there were.
fn turn(endpoint: &mut Endpoint, poll: &mut Poll) -> (Vec<ConnectionHandle>, usize) {
    let mut readiness = Events::with_capacity(8);
    poll.poll(&mut readiness, Some(Duration::ZERO)).unwrap();
    readiness.iter().for_each(|event| assert!(endpoint.on_event(event)));
    let now = Instant::now();
    let (mut open, mut events) = (Vec::new(), 0);
    while let Some(occurrence) = endpoint.drive(now).unwrap() {
        match occurrence {
            Occurrence::Incoming(client) => drop(endpoint.accept(now, client).unwrap()),
            Occurrence::Event(handle, Event::Connected) => open.push(handle),
            Occurrence::Event(..) => events += 1,
            _ => {}
        }
    }
    (open, events)
}

#[test]
fn a_turn_is_bounded_and_what_is_left_is_due_at_once() {
    let transport = TransportConfig::default().max_uni_streams(STREAMS).build().unwrap();
    let server = ServerConfig::new(Arc::new(NullServer::default()), &[1; 32]).transport(transport.clone());
    let mut server = Endpoint::server(server.build().unwrap(), "127.0.0.1:0".parse().unwrap()).unwrap();
    let client = ClientConfig::new(Arc::new(NullClient::default())).transport(transport).build().unwrap();
    let mut end = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let mut polls = [Poll::new().unwrap(), Poll::new().unwrap()];
    end.register(polls[0].registry(), Token(0)).unwrap();
    server.register(polls[1].registry(), Token(0)).unwrap();
    end.connect(Instant::now(), server.local_addr(), "localhost", &client).unwrap();
    let started = Instant::now();
    let mut handle = None;
    // The handshake, and whatever follows it.
    for _ in 0..1000 {
        handle = handle.or(turn(&mut end, &mut polls[0]).0.pop());
        turn(&mut server, &mut polls[1]);
    }
    let connection = end.connection(handle.expect("it is open")).unwrap();
    for _ in 0..STREAMS {
        let id = connection.open(Dir::Uni).unwrap();
        connection.send_stream(id).unwrap().write(&[7; 300]).unwrap();
    }
    // Four streams fit into a datagram, and a turn ends with a datagram.
    let (mut seen, mut cut) = (0, 0);
    while seen < STREAMS as usize {
        assert!(started.elapsed() < Duration::from_secs(30), "it hangs");
        turn(&mut end, &mut polls[0]);
        let events = turn(&mut server, &mut polls[1]).1;
        assert!(events < ENOUGH + 16, "{events}");
        seen += events;
        if events >= ENOUGH && seen < STREAMS as usize {
            cut += 1;
            assert_eq!(server.next_timeout(Instant::now()), Some(Duration::ZERO));
        }
    }
    assert!(cut > 0, "the server never had more to do than fits into a turn");
}
