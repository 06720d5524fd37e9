//! A peer that goes away: what goes on, what ends, and what the application hears. Our client and our server never send GOAWAY.

use crate::common::{self, endpoint};
use crate::raw::RawClient;
use crate::support::{ecdsa, server, settings};
use bytes::Bytes;
use quic_proto::connection::Connection;
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::error::{AppError, TransportErrorCode};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::gquic::wire::{ErrorCode, encode};
use quic_proto::id::{Dir, StreamId};
use quic_proto::streams::{OpenError, ReadError, WriteError};

/// What ends because the peer goes away ends with this code: `STREAM_PEER_GOING_AWAY`.
const GOING_AWAY: u32 = 5;

/// A server with a connection to a client that is made of parts.
struct Bench {
    server: Endpoint,
    handle: ConnectionHandle,
    client: RawClient,
}

impl Bench {
    fn new() -> Self {
        let mut server = endpoint(2, Some(server(settings(ecdsa()).1).build().unwrap()));
        let client = RawClient::connected(&mut server);
        let handle = client.accepted.unwrap();
        Self { server, handle, client }
    }

    fn connection(&mut self) -> &mut Connection {
        self.server.connection(self.handle).unwrap()
    }

    fn opens(&mut self) -> StreamId {
        let id = self.connection().open(Dir::Bi).unwrap();
        assert_eq!(self.connection().send_stream(id).unwrap().write(b"news"), Ok(4));
        id
    }

    fn client_says(&mut self, frames: &[u8]) {
        let packet = self.client.secure(frames);
        self.client.exchange(&mut self.server, packet);
        assert_eq!(self.client.heard.closed, None);
    }

    fn goes_away(&mut self, last_good: u32) {
        self.client_says(&frame(last_good));
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.server.poll_event()).map(|(_, event)| event).collect()
    }

    fn write(&mut self, id: StreamId) -> Result<usize, WriteError> {
        self.connection().send_stream(id).unwrap().write(b"more")
    }
}

fn frame(last_good: u32) -> Vec<u8> {
    let mut out = [0; 40];
    let mut w = quic_proto::codec::Writer::new(&mut out);
    encode::goaway(&mut w, ErrorCode::PEER_GOING_AWAY, last_good, b"good night");
    let len = w.len();
    out[..len].to_vec()
}

#[test]
fn streams_that_are_served_go_on_and_others_end() {
    let mut bench = Bench::new();
    let [first, second, third] = [(); 3].map(|()| bench.opens());
    bench.goes_away(4);
    let ended: AppError = GOING_AWAY.into();
    let going_away =
        Event::GoingAway { code: TransportErrorCode::google(16), reason: Bytes::from_static(b"good night") };
    let events = bench.events();
    for expected in [
        going_away.clone(),
        Event::Stream(StreamEvent::Stopped(third, ended)),
        Event::Stream(StreamEvent::Readable(third)),
    ] {
        assert!(events.contains(&expected), "{expected:?} of {events:?}");
    }
    assert_eq!(bench.connection().open(Dir::Bi), Err(OpenError::GoingAway));
    assert_eq!(bench.write(third), Err(WriteError::Stopped(ended)));
    let mut buf = [0; 8];
    assert_eq!(bench.connection().recv_stream(third).unwrap().read(&mut buf), Err(ReadError::Reset(ended)));
    for id in [first, second] {
        assert_eq!(bench.write(id), Ok(4));
    }
    // Both ways.
    bench.client_says(&[0x80, 4, b'y', b'e', b's']);
    assert_eq!(common::read_all(bench.connection(), second), (b"yes".to_vec(), false));
    // The client still opens streams of its own.
    bench.client_says(&[0x80, 3, b'n', b'o', b'w']);
    assert_eq!(bench.connection().accept(Dir::Bi).map(StreamId::index), Some(0));
    // It may serve fewer in the end, and says so in the same way; but not what it has answered.
    bench.events();
    bench.goes_away(0);
    let events = bench.events();
    assert!(events.contains(&Event::Stream(StreamEvent::Stopped(first, ended))), "{events:?}");
    assert!(!events.contains(&going_away), "once is enough: {events:?}");
    assert_eq!((bench.write(first), bench.write(second)), (Err(WriteError::Stopped(ended)), Ok(4)));
}

#[test]
fn who_waits_for_a_stream_waits_no_longer() {
    let mut bench = Bench::new();
    while bench.connection().open(Dir::Bi).is_ok() {}
    assert_eq!(bench.connection().open(Dir::Bi), Err(OpenError::Blocked));
    bench.events();
    bench.goes_away(u32::MAX);
    assert!(bench.events().contains(&Event::Stream(StreamEvent::Available(Dir::Bi))));
    assert_eq!(bench.connection().open(Dir::Bi), Err(OpenError::GoingAway));
}

#[test]
fn in_the_clear_it_could_come_from_anybody() {
    let mut server = endpoint(2, Some(server(settings(ecdsa()).1).build().unwrap()));
    let mut client = RawClient::new(7);
    client.begin(&mut server);
    let packet = client.null(&frame(0));
    client.exchange(&mut server, packet);
    assert_eq!(client.heard.closed, Some(ErrorCode::UNENCRYPTED_STREAM_DATA));
}
