//! How connections and endpoints end.

use super::{accept_one_way, assert_refused, closed_by_peer, is_ietf, open_one_way, parallel, pattern};
use crate::{
    Adapter, Connection, Endpoint, ReadError, RecvStream, SendStream, Setup, WriteError, both, poll_once,
};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::invariants::Version;
use std::time::Duration;

/// What was finished before a close arrives, though nobody reads it until all is over; nothing can be begun any more.
pub fn a_close_delivers_what_was_finished<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let mut sends = Vec::new();
        for number in 0..10 {
            let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
            send.write_all(&pattern(20_000, number)).await.expect("there is room");
            assert!(send.finish());
            sends.push((send, _back));
        }
        client.close(AppError::from(305), b"bye");
        assert_eq!(client.open_uni().await.err(), Some(ConnectionError::LocallyClosed));
        assert_eq!(client.closed().await, ConnectionError::LocallyClosed);
        assert_eq!(server.closed().await, closed_by_peer(305, b"bye"));
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
        for number in 0..10 {
            let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened before the end");
            assert!(recv.read_to_end().await == Ok(pattern(20_000, number)), "stream {number}");
        }
        assert_eq!(server.accept_uni().await.err(), Some(closed_by_peer(305, b"bye")));
    });
}

/// It is the same the other way round.
pub fn a_server_closes_too<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&server).await.expect("it is permitted");
        send.write_all(b"last words").await.expect("there is room");
        assert!(send.finish());
        server.close(AppError::from(307), b"done");
        assert_eq!(client.closed().await, closed_by_peer(307, b"done"));
        let (mut recv, _back) = accept_one_way(&client).await.expect("it was opened before the end");
        assert_eq!(recv.read_to_end().await, Ok(b"last words".to_vec()));
        assert_eq!(server.closed().await, ConnectionError::LocallyClosed);
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
    });
}

/// An abort does not wait for anything.
pub fn an_abort_is_immediate<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        send.write_all(b"unfinished").await.expect("there is room");
        let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened");
        client.abort(AppError::from(309), b"enough");
        assert_eq!(client.closed().await, ConnectionError::LocallyClosed);
        assert_eq!(server.closed().await, closed_by_peer(309, b"enough"));
        assert_eq!(recv.read(&mut [0; 100]).await, Ok(Some(10)), "it came before");
        assert_eq!(recv.read(&mut [0; 100]).await, Err(ReadError::Lost(closed_by_peer(309, b"enough"))));
        assert_eq!(send.write(b"x").await, Err(WriteError::Lost(ConnectionError::LocallyClosed)));
        assert!(!send.finish(), "there is nobody to hear of it");
    });
}

/// Closes that cross on the way: each end has its own reason.
pub fn both_close_at_once<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        client.close(AppError::from(301), b"");
        server.close(AppError::from(302), b"");
        let (one, other) = both(client.closed(), server.closed()).await;
        assert!([ConnectionError::LocallyClosed, closed_by_peer(302, b"")].contains(&one), "{one}");
        assert!([ConnectionError::LocallyClosed, closed_by_peer(301, b"")].contains(&other), "{other}");
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
        client.close(AppError::from(303), b"again");
        assert_eq!(client.closed().await, one, "the first reason stays");
    });
}

/// What came is read before the end is told.
pub fn what_came_is_read_after_the_end<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, mut recv) = client.open_bi().await.expect("it is permitted");
        send.write_all(b"question").await.expect("there is room");
        let (mut answer, _question) = server.accept_bi().await.expect("it was opened");
        answer.write_all(b"answer").await.expect("there is room");
        let mut block = [0; 3];
        assert_eq!(recv.read(&mut block).await, Ok(Some(3)));
        server.abort(AppError::from(304), b"");
        assert_eq!(client.closed().await, closed_by_peer(304, b""));
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
        assert_eq!(recv.read(&mut block).await, Ok(Some(3)));
        assert_eq!(recv.read(&mut block).await, Err(ReadError::Lost(closed_by_peer(304, b""))));
    });
}

/// RFC 9000 §10.1: a connection without traffic ends by itself, at both ends, at the smaller of their timeouts.
pub fn silence_ends_a_connection<A: Adapter>(version: Version) {
    let short = Setup::new(version).client(|c| c.max_idle_timeout(Some(Duration::from_millis(300))));
    A::run(short, async |pair| {
        let (client, server) = pair.connect().await;
        let (one, other) = both(client.closed(), server.closed()).await;
        assert!(is_silence(version, &one) && is_silence(version, &other), "{one}, {other}");
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
    });
}

/// In Google QUIC the end that finds out first tells the other (`NETWORK_IDLE_TIMEOUT`).
fn is_silence(version: Version, reason: &ConnectionError) -> bool {
    match reason {
        ConnectionError::TimedOut => true,
        ConnectionError::PeerTransport(error) => !is_ietf(version) && error.code.as_google() == Some(25),
        _ => false,
    }
}

/// RFC 9000 §10.1.2: a PING now and then keeps it.
pub fn keep_alives_prevent_that<A: Adapter>(version: Version) {
    let short = Setup::new(version).client(|c| {
        c.max_idle_timeout(Some(Duration::from_millis(400))).keep_alive(Some(Duration::from_millis(80)))
    });
    A::run(short, async |pair| {
        let (client, server) = pair.connect().await;
        pair.client.sleep(Duration::from_millis(1200)).await;
        assert_eq!((poll_once(client.closed()), poll_once(server.closed())), (None, None));
    });
}

/// An endpoint that is closed closes its connections, and neither accepts nor opens any more.
pub fn an_endpoint_shuts_down<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
        let mut connections = Vec::new();
        for _ in 0..parallel(version, 2) {
            connections.push(pair.connect().await);
        }
        let closing = async {
            pair.server.sleep(Duration::from_millis(1)).await;
            pair.server.close(AppError::from(303), b"maintenance");
        };
        let (accepted, ()) = both(pair.server.accept(), closing).await;
        assert!(accepted.is_none(), "who waits for clients hears of it");
        for (client, server) in &connections {
            assert_eq!(client.closed().await, closed_by_peer(303, b"maintenance"));
            assert_eq!(server.closed().await, ConnectionError::LocallyClosed);
        }
        both(pair.client.wait_idle(), pair.server.wait_idle()).await;
        assert_eq!((pair.client.open_connections(), pair.server.open_connections()), (0, 0));
        assert!(pair.server.accept().await.is_none());
        assert!(pair.server.refuses_to_connect(true) && pair.server.refuses_to_connect(false));
        pair.client.close(AppError::from(0), b"");
        assert!(pair.client.refuses_to_connect(true));
    });
}

/// A client about whom nothing was decided when the server is closed hears that it is not wanted.
pub fn waiting_clients_are_refused_at_shutdown<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let closing = async {
            pair.server.sleep(Duration::from_millis(100)).await;
            pair.server.close(AppError::from(0), b"");
        };
        assert_refused(version, both(pair.client.connect(), closing).await.0.err());
    });
}

/// Whoever waits for anything on a connection hears of its end.
pub fn waiters_hear_of_the_end<A: Adapter>(version: Version) {
    let few = Setup::new(version).client(|c| c.send_buffer(1000)).server(|c| c.max_uni_streams(1));
    A::run(few, async |pair| {
        let (client, server) = pair.connect().await;
        let (mut full, _back) = open_one_way(&client).await.expect("it is permitted");
        while poll_once(full.write(&[0; 100])).is_some() {}
        let (_send, mut recv) = client.open_bi().await.expect("it is permitted");
        let mut block = [0; 10];
        let streams = both(full.write(&[0; 100]), recv.read(&mut block));
        let accepts = both(client.accept_bi(), client.accept_uni());
        let waiting = both(both(streams, accepts), both(client.open_uni(), client.closed()));
        let aborting = async {
            pair.server.sleep(Duration::from_millis(20)).await;
            server.abort(AppError::from(306), b"");
        };
        let ((((written, read), (bi, uni)), (opened, closed)), ()) = both(waiting, aborting).await;
        let reason = closed_by_peer(306, b"");
        // The server took what came: there was room again before the end, or not.
        assert!(written.is_ok() || written == Err(WriteError::Lost(reason.clone())), "{written:?}");
        assert_eq!(read, Err(ReadError::Lost(reason.clone())));
        assert_eq!((bi.err(), uni.err()), (Some(reason.clone()), Some(reason.clone())));
        assert_eq!((opened.err(), closed), (Some(reason.clone()), reason));
    });
}
