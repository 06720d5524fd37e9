//! Connections and endpoints begin and end.

mod common;

use common::{Certificate, Pair, pattern, soon};
use quic_tokio::{AppError, ConnectError, ConnectionError, Endpoint, ReadError, TransportConfig};
use std::time::{Duration, Instant};

fn closed(code: u32, reason: &'static [u8]) -> ConnectionError {
    ConnectionError::PeerApplication { code: AppError::from(code), reason: reason.into() }
}

/// All that was finished arrives, though the connection is closed right after; the reader looks at it only when all is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_close_loses_nothing() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let mut sent = Vec::new();
    for number in 0..20 {
        let data = pattern(10_000 + number, number as u64);
        let mut send = client.open_uni().await.unwrap();
        send.write_all(&data).await.unwrap();
        send.finish().unwrap();
        sent.push(data);
    }
    client.close(AppError::from(5), b"bye");
    assert!(client.open_uni().await.is_err(), "nothing can be opened any more");
    assert_eq!(soon(client.closed()).await, ConnectionError::LocallyClosed);
    assert_eq!(soon(server.closed()).await, closed(5, b"bye"));
    // By now the protocol is done with the connection, draining included.
    soon(pair.server.wait_idle()).await;
    for data in sent {
        let mut recv = soon(server.accept_uni()).await.unwrap();
        assert!(soon(recv.read_to_end(1 << 20)).await.unwrap() == data);
    }
    assert_eq!(soon(server.accept_uni()).await.unwrap_err(), closed(5, b"bye"));
    assert_eq!(server.close_reason(), Some(closed(5, b"bye")));
}

#[tokio::test]
async fn an_abort_is_immediate() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"unfinished").await.unwrap();
    let mut recv = soon(server.accept_uni()).await.unwrap();
    client.abort(AppError::from(9), b"enough");
    assert_eq!(soon(server.closed()).await, closed(9, b"enough"));
    let mut buf = [0; 10];
    soon(recv.read_exact(&mut buf)).await.unwrap();
    assert_eq!(&buf, b"unfinished");
    assert_eq!(soon(recv.read(&mut buf)).await, Err(ReadError::ConnectionLost(closed(9, b"enough"))));
    assert!(send.write(b"x").await.is_err());
}

#[tokio::test]
async fn an_endpoint_closes_and_becomes_idle() {
    let pair = Pair::new();
    soon(pair.client.wait_idle()).await;
    let (client, server) = soon(pair.connect()).await;
    let endpoint = pair.server.clone();
    let acceptor = tokio::spawn(async move { endpoint.accept().await.is_none() });
    tokio::task::yield_now().await;
    pair.server.close(AppError::from(3), b"maintenance");
    assert!(soon(acceptor).await.unwrap(), "accept ends with the endpoint");
    assert_eq!(soon(client.closed()).await, closed(3, b"maintenance"));
    assert_eq!(soon(server.closed()).await, ConnectionError::LocallyClosed);
    soon(pair.server.wait_idle()).await;
    soon(pair.client.wait_idle()).await;
    assert_eq!(pair.client.open_connections(), 0);
    let error = pair.server.connect_with(
        pair.addr(),
        "localhost",
        &common::client(&Certificate::new(), TransportConfig::default()),
    );
    assert_eq!(error.unwrap_err(), ConnectError::EndpointStopping);
}

#[tokio::test]
async fn retry_validates_the_address() {
    let pair = Pair::new();
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let accepting = async {
        let first = pair.server.accept().await.unwrap();
        assert!(!first.is_validated() && first.may_retry());
        first.retry().unwrap();
        let second = pair.server.accept().await.unwrap();
        assert!(second.is_validated() && !second.may_retry());
        assert_eq!(second.remote_address(), pair.client.local_addr());
        let second = second.retry().expect_err("once is enough").0;
        second.await.unwrap()
    };
    let (client, _server) = soon(async { tokio::join!(connecting, accepting) }).await;
    client.unwrap();
    assert_eq!(pair.server.stats().retries, 1);
}

#[tokio::test]
async fn refused_and_dropped_clients_are_told() {
    let pair = Pair::new();
    for drop_it in [false, true] {
        let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
        let deciding = async {
            let incoming = pair.server.accept().await.unwrap();
            if drop_it { drop(incoming) } else { incoming.refuse() }
        };
        let (result, ()) = soon(async { tokio::join!(connecting, deciding) }).await;
        match result {
            Err(ConnectionError::PeerTransport(error)) => {
                assert_eq!(error.code, quic_proto::error::TransportErrorCode::CONNECTION_REFUSED);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_ignored_client_is_a_new_one_when_it_asks_again() {
    let pair = Pair::new();
    let connecting = pair.client.connect(pair.addr(), "localhost").unwrap();
    let deciding = async {
        pair.server.accept().await.unwrap().ignore();
        pair.server.accept().await.unwrap().await.unwrap()
    };
    let (client, _server) = soon(async { tokio::join!(connecting, deciding) }).await;
    client.unwrap();
}

#[tokio::test]
async fn silence_ends_a_connection() {
    let idle = TransportConfig::default().max_idle_timeout(Some(Duration::from_millis(300)));
    let pair = Pair::with(idle, TransportConfig::default());
    let (client, server) = soon(pair.connect()).await;
    let start = Instant::now();
    assert_eq!(soon(client.closed()).await, ConnectionError::TimedOut);
    assert_eq!(soon(server.closed()).await, ConnectionError::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
    soon(pair.client.wait_idle()).await;
}

#[tokio::test]
async fn keep_alives_prevent_that() {
    let idle = TransportConfig::default()
        .max_idle_timeout(Some(Duration::from_millis(300)))
        .keep_alive(Some(Duration::from_millis(100)));
    let pair = Pair::with(idle, TransportConfig::default());
    let (client, _server) = soon(pair.connect()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(client.close_reason(), None);
}

#[tokio::test]
async fn nobody_answers() {
    let transport = TransportConfig::default().handshake_timeout(Duration::from_millis(300));
    let pair = Pair::with(transport, TransportConfig::default());
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let connecting = pair.client.connect(silent.local_addr().unwrap(), "localhost").unwrap();
    assert_eq!(soon(connecting).await.unwrap_err(), ConnectionError::TimedOut);
}

#[tokio::test]
async fn addresses_that_cannot_be_reached_are_refused() {
    let pair = Pair::new();
    for addr in ["127.0.0.1:0", "0.0.0.0:443", "[::1]:443"] {
        let addr = addr.parse().unwrap();
        let error = pair.client.connect(addr, "localhost").unwrap_err();
        assert_eq!(error, ConnectError::InvalidRemoteAddress(addr));
    }
    let bare = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    assert_eq!(bare.connect(pair.addr(), "localhost").unwrap_err(), ConnectError::NoDefaultClientConfig);
}

/// The second connection resumes the TLS session of the first.
#[tokio::test]
async fn one_configuration_serves_many_connections() {
    let pair = Pair::new();
    for round in 0..5 {
        let (client, server) = soon(pair.connect()).await;
        let mut send = client.open_uni().await.unwrap();
        send.write_all(&[round; 100]).await.unwrap();
        drop(send);
        let mut recv = soon(server.accept_uni()).await.unwrap();
        assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), [round; 100]);
    }
}

#[tokio::test]
async fn both_ends_export_the_same_secret() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let (mut a, mut b) = ([0; 32], [0; 32]);
    client.export_keying_material(&mut a, b"label", b"context").unwrap();
    server.export_keying_material(&mut b, b"label", b"context").unwrap();
    assert!(a == b && a != [0; 32]);
}

/// Who waits on another runtime hears that the endpoint's is gone.
#[test]
fn nobody_waits_for_a_runtime_that_is_gone() {
    let runtime =
        || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let pair = first.block_on(async { Pair::new() });
    let (client, server) = first.block_on(async { soon(pair.connect()).await });
    let waiting = second.spawn(async move { (client.closed().await, client) });
    let endpoint = pair.server.clone();
    let accepting = second.spawn(async move { endpoint.accept().await.is_none() });
    drop(first);
    second.block_on(async {
        let (reason, client) = soon(waiting).await.unwrap();
        assert!(matches!(reason, ConnectionError::Transport(_)), "{reason}");
        assert!(client.open_bi().await.is_err());
        assert!(server.accept_uni().await.is_err());
        assert!(soon(accepting).await.unwrap());
        soon(pair.client.wait_idle()).await;
        assert_eq!(
            pair.client.connect(pair.addr(), "localhost").unwrap_err(),
            ConnectError::EndpointStopping
        );
    });
}
