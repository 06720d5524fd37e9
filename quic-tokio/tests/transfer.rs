//! Bytes get across: echo, many streams, much data, back-pressure.

mod common;

use bytes::Bytes;
use common::{Pair, pattern, soon};
use quic_tokio::{Connection, Endpoint, TransportConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Sends every bidirectional stream back.
async fn echo(connection: Connection) {
    while let Ok((mut send, mut recv)) = connection.accept_bi().await {
        tokio::spawn(async move {
            while let Ok(Some(chunk)) = recv.read_chunk(usize::MAX).await {
                if send.write_chunk(chunk).await.is_err() {
                    return;
                }
            }
            let _ = send.finish();
        });
    }
}

#[tokio::test]
async fn a_stream_is_echoed() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    tokio::spawn(echo(server));
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"hello").await.unwrap();
    send.finish().unwrap();
    assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"hello");
    assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"", "the end stays the end");
    let info = client.handshake_info().unwrap();
    assert_eq!(info.protocol.as_deref(), Some(common::ALPN));
}

#[tokio::test]
async fn streams_are_tokio_streams() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    tokio::spawn(echo(server));
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    let data = pattern(300_000, 1);
    let write = async {
        AsyncWriteExt::write_all(&mut send, &data).await.unwrap();
        send.shutdown().await.unwrap();
    };
    let read = async {
        let mut back = Vec::new();
        AsyncReadExt::read_to_end(&mut recv, &mut back).await.unwrap();
        back
    };
    let ((), back) = soon(async { tokio::join!(write, read) }).await;
    assert!(back == data);
}

/// More streams than the peer permits at once: opening waits for others to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_streams_at_once() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    tokio::spawn(echo(server));
    let mut tasks = Vec::new();
    for number in 0..500 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            let data = pattern(1 + number * 37, number as u64);
            let (mut send, mut recv) = client.open_bi().await.unwrap();
            send.write_all(&data).await.unwrap();
            send.finish().unwrap();
            assert!(recv.read_to_end(1 << 20).await.unwrap() == data);
        }));
    }
    for task in tasks {
        soon(task).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_transfer_both_ways() {
    const SIZE: usize = 32 << 20;
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    tokio::spawn(echo(server));
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    let data = Bytes::from(pattern(SIZE, 2));
    let sent = data.clone();
    let writer = tokio::spawn(async move {
        send.write_chunk(sent).await.unwrap();
        send.finish().unwrap();
        send.stopped().await.unwrap()
    });
    let mut at = 0;
    while let Some(chunk) = soon(recv.read_chunk(usize::MAX)).await.unwrap() {
        assert!(data[at..].starts_with(&chunk), "at {at}");
        at += chunk.len();
    }
    assert_eq!(at, SIZE);
    assert_eq!(soon(writer).await.unwrap(), None, "the peer has it all");
    let io = pair.client.socket_stats();
    assert!(io.sent_datagrams > SIZE as u64 / 1500 && io.received_datagrams > SIZE as u64 / 1500, "{io:?}");
    assert!(io.send_calls < io.sent_datagrams, "datagrams go out in batches: {io:?}");
}

/// A reader that does not read stops its sender, at the window; once it reads everything comes.
#[tokio::test]
async fn a_slow_reader_stops_the_writer() {
    const WINDOW: u64 = 20_000;
    let receiver = TransportConfig::default().stream_window(WINDOW, WINDOW).connection_window(WINDOW, WINDOW);
    let pair = Pair::with(TransportConfig::default().send_buffer(10_000), receiver);
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    let data = pattern(200_000, 3);
    let mut written = 0;
    while let Ok(more) = tokio::time::timeout(Duration::from_millis(300), send.write(&data[written..])).await
    {
        written += more.unwrap();
    }
    assert!((20_000..=30_000).contains(&written), "{written} bytes fit the window and the buffer");
    let rest = data[written..].to_vec();
    let writer = tokio::spawn(async move {
        send.write_all(&rest).await.unwrap();
        send.finish().unwrap();
        send
    });
    let mut recv = soon(server.accept_uni()).await.unwrap();
    assert!(soon(recv.read_to_end(1 << 20)).await.unwrap() == data);
    soon(writer).await.unwrap();
}

#[tokio::test]
async fn both_ends_on_one_dual_stack_socket() {
    let certificate = common::Certificate::new();
    let server = common::server(&certificate, TransportConfig::default());
    let mut endpoint = match Endpoint::server(server, "[::]:0".parse().unwrap()) {
        Ok(endpoint) => endpoint,
        // Containers without IPv6 exist; what is tested here needs it.
        Err(error) if error.kind() == std::io::ErrorKind::Unsupported => return,
        Err(error) => panic!("{error}"),
    };
    endpoint.set_default_client_config(common::client(&certificate, TransportConfig::default()));
    let port = endpoint.local_addr().port();
    for host in ["127.0.0.1", "::1"] {
        let addr = std::net::SocketAddr::new(host.parse().unwrap(), port);
        let connecting = endpoint.connect(addr, "localhost").unwrap();
        let accepted = async { endpoint.accept().await.unwrap().await.unwrap() };
        let (client, server) = soon(async { tokio::join!(connecting, accepted) }).await;
        let client = client.unwrap();
        assert_eq!(client.remote_address().unwrap(), addr);
        assert_eq!(server.remote_address().unwrap(), addr, "IPv4 addresses appear as such");
        let mut send = client.open_uni().await.unwrap();
        send.write_all(b"over here").await.unwrap();
        drop(send);
        let mut recv = soon(server.accept_uni()).await.unwrap();
        assert_eq!(soon(recv.read_to_end(100)).await.unwrap(), b"over here");
    }
}
