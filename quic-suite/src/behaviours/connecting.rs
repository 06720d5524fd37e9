//! How connections begin.

use super::{accept_one_way, assert_refused, is_ietf, open_one_way, parallel, pattern};
use crate::{
    ALPN, Adapter, Connection, Endpoint, Incoming, Pair, RecvStream, SendStream, Setup, both, poll_once,
};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::invariants::Version;
use std::time::Duration;

/// Both ends have the version and the application protocol that both want.
pub fn both_ends_agree<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        assert_eq!((client.version(), server.version()), (version, version));
        let protocol = is_ietf(version).then(|| ALPN.to_vec());
        assert_eq!((client.protocol(), server.protocol()), (protocol.clone(), protocol));
        assert_eq!((pair.client.open_connections(), pair.server.open_connections()), (1, 1));
    });
}

/// A client that is not wanted hears of it.
pub fn refused_clients_are_told<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let refusing = async { pair.server.accept().await.expect("it is open").refuse() };
        assert_refused(version, both(pair.client.connect(), refusing).await.0.err());
        pair.client.wait_idle().await;
    });
}

/// A client that was forgotten is a new one when it sends its packets again.
pub fn ignored_clients_ask_again<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let serving = async {
            pair.server.accept().await.expect("it is open").ignore();
            pair.server.accept().await.expect("it is open").accept().await
        };
        let (connected, accepted) = both(pair.client.connect(), serving).await;
        assert!(connected.is_ok() && accepted.is_ok());
    });
}

/// A Retry packet makes the client prove its address, once.
pub fn retry_proves_the_address<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let serving = async {
            let first = pair.server.accept().await.expect("it is open");
            if !is_ietf(version) {
                // The first rejection has made it do so.
                assert!(first.is_validated());
                return first.accept().await;
            }
            assert!(!first.is_validated());
            assert!(first.retry().is_ok());
            let second = pair.server.accept().await.expect("it is open");
            assert!(second.is_validated());
            match second.retry() {
                Err(second) => second.accept().await,
                Ok(()) => panic!("once is enough"),
            }
        };
        let (connected, accepted) = both(pair.client.connect(), serving).await;
        assert!(connected.is_ok() && accepted.is_ok());
    });
}

/// A client gives up on an address from which nothing comes.
pub fn nobody_answers<A: Adapter>(version: Version) {
    let impatient = Setup::new(version).client(|c| c.handshake_timeout(Duration::from_millis(200)));
    A::run(impatient, async |pair| {
        let result = pair.client.connect_to_nobody().await;
        assert_eq!(result.map(drop), Err(ConnectionError::TimedOut));
        pair.client.wait_idle().await;
    });
}

/// An address without a port is refused before anything is sent.
pub fn some_addresses_are_no_addresses<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        assert!(pair.client.refuses_to_connect(false));
        assert_eq!(pair.client.open_connections(), 0);
    });
}

/// Waiting for a client can be given up at any time.
pub fn cancelled_accepts_lose_nothing<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        assert!(poll_once(pair.server.accept()).is_none());
        let serving = async {
            let client = loop {
                if let Some(client) = poll_once(pair.server.accept()) {
                    break client;
                }
                pair.server.sleep(Duration::from_millis(1)).await;
            };
            client.expect("it is open").accept().await
        };
        let (connected, accepted) = both(pair.client.connect(), serving).await;
        assert!(connected.is_ok() && accepted.is_ok());
    });
}

/// Connections of one pair of endpoints do not get in each other's way.
pub fn many_connections_at_once<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let count = parallel(version, 40);
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(pair.connect().await);
        }
        assert_eq!((pair.client.open_connections(), pair.server.open_connections()), (count, count));
        let mut sends = Vec::new();
        for (number, (client, _)) in connections.iter().enumerate() {
            let (mut send, _back) = open_one_way(client).await.expect("it is open");
            send.write_all(&pattern(20_000, number as u8)).await.expect("there is room");
            assert!(send.finish());
            sends.push((send, _back));
        }
        for (number, (_, server)) in connections.iter().enumerate().rev() {
            let (mut recv, _back) = accept_one_way(server).await.expect("it was opened");
            assert!(recv.read_to_end().await == Ok(pattern(20_000, number as u8)), "connection {number}");
        }
        close_all(pair, &connections).await;
    });
}

async fn close_all<E: Endpoint>(pair: &Pair<E>, connections: &[(E::Connection, E::Connection)]) {
    for (client, server) in connections {
        client.close(AppError::from(0), b"");
        server.closed().await;
    }
    both(pair.client.wait_idle(), pair.server.wait_idle()).await;
}
