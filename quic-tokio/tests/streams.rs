//! The rules of handles: what cancelling and dropping do.

mod common;

use common::{Pair, pattern, soon};
use quic_tokio::{AppError, ConnectionError, ReadError, ReadExactError, ReadToEndError, WriteError};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

/// Polls a future a single time and drops it, which must lose nothing.
fn poll_once<T>(future: impl Future<Output = T>) {
    let mut cx = Context::from_waker(Waker::noop());
    assert!(pin!(future).poll(&mut cx).is_pending(), "this was to be cancelled before it is ready");
}

#[tokio::test]
async fn cancelled_reads_lose_nothing() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"x").await.unwrap();
    let mut recv = soon(server.accept_uni()).await.unwrap();
    let mut first = [0];
    soon(recv.read_exact(&mut first)).await.unwrap();
    let data = pattern(100_000, 4);
    let sent = data.clone();
    let writer = tokio::spawn(async move {
        for (number, chunk) in sent.chunks(777).enumerate() {
            send.write_all(chunk).await.unwrap();
            if number % 10 == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
        send.finish().unwrap();
    });
    let mut got = Vec::new();
    let mut cancelled = 0;
    let reading = async {
        loop {
            let mut buf = [0; 500];
            // A read is given no time at all: there is something, or it is cancelled.
            match tokio::time::timeout(Duration::ZERO, recv.read(&mut buf)).await {
                Ok(Ok(Some(len))) => got.extend_from_slice(&buf[..len]),
                Ok(Ok(None)) => return,
                Ok(Err(error)) => panic!("{error}"),
                Err(_) => {
                    cancelled += 1;
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    soon(reading).await;
    assert!(got == data);
    assert!(cancelled > 0, "no read was cancelled");
    soon(writer).await.unwrap();
}

#[tokio::test]
async fn cancelled_writes_write_nothing() {
    let pair = Pair::with(
        quic_tokio::TransportConfig::default().send_buffer(1000),
        quic_tokio::TransportConfig::default().stream_window(2000, 2000),
    );
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    let data = pattern(20_000, 5);
    let mut recv = None;
    let mut got = Vec::new();
    let mut at = 0;
    while at < data.len() {
        match tokio::time::timeout(Duration::from_millis(20), send.write(&data[at..])).await {
            Ok(written) => at += written.unwrap(),
            Err(_) => {
                // It was cancelled for lack of room: read a little.
                if recv.is_none() {
                    recv = Some(soon(server.accept_uni()).await.unwrap());
                }
                let mut buf = [0; 1500];
                let len = soon(recv.as_mut().unwrap().read(&mut buf)).await.unwrap().unwrap();
                got.extend_from_slice(&buf[..len]);
            }
        }
    }
    send.finish().unwrap();
    got.extend(soon(recv.unwrap().read_to_end(1 << 20)).await.unwrap());
    assert!(got == data);
}

#[tokio::test]
async fn cancelled_accepts_lose_no_stream() {
    let pair = Pair::new();
    poll_once(pair.server.accept());
    let (client, server) = soon(pair.connect()).await;
    for _ in 0..50 {
        poll_once(server.accept_uni());
        poll_once(server.accept_bi());
        poll_once(server.closed());
    }
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"1").await.unwrap();
    let mut accepted = None;
    while accepted.is_none() {
        accepted = tokio::time::timeout(Duration::from_micros(50), server.accept_uni()).await.ok();
    }
    drop(send);
    assert_eq!(soon(accepted.unwrap().unwrap().read_to_end(10)).await.unwrap(), b"1");
    poll_once(server.accept_uni());
}

#[tokio::test]
async fn opening_waits_and_can_be_cancelled() {
    let pair = Pair::with(
        quic_tokio::TransportConfig::default(),
        quic_tokio::TransportConfig::default().max_uni_streams(1),
    );
    let (client, server) = soon(pair.connect()).await;
    let mut first = client.open_uni().await.unwrap();
    poll_once(client.open_uni());
    poll_once(client.open_uni());
    first.write_all(b"first").await.unwrap();
    first.finish().unwrap();
    let second = tokio::spawn(async move { client.open_uni().await.unwrap().write_all(b"second").await });
    let mut recv = soon(server.accept_uni()).await.unwrap();
    assert_eq!(soon(recv.read_to_end(10)).await.unwrap(), b"first");
    soon(second).await.unwrap().unwrap();
    let mut recv = soon(server.accept_uni()).await.unwrap();
    assert_eq!(soon(recv.read_to_end(10)).await.unwrap(), b"second", "the stream was dropped: finished");
}

#[tokio::test]
async fn dropping_a_receiver_stops_the_sender() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(b"unwanted").await.unwrap();
    drop(soon(server.accept_uni()).await.unwrap());
    let code = AppError::from(0);
    assert_eq!(soon(send.stopped()).await.unwrap(), Some(code));
    assert_eq!(soon(send.write(b"more")).await, Err(WriteError::Stopped(code)));
}

#[tokio::test]
async fn stop_and_reset_carry_codes() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let (mut send, mut recv) = client.open_bi().await.unwrap();
    send.write_all(b"request").await.unwrap();
    let (mut answer, mut request) = soon(server.accept_bi()).await.unwrap();
    request.stop(AppError::from(11)).unwrap();
    assert!(request.stop(AppError::from(11)).is_err(), "it is stopped already");
    answer.reset(AppError::from(22)).unwrap();
    assert_eq!(soon(send.stopped()).await.unwrap(), Some(AppError::from(11)));
    let reset = Err(ReadError::Reset(AppError::from(22)));
    assert_eq!(soon(recv.read_chunk(10)).await, reset);
    assert_eq!(soon(recv.read_chunk(10)).await, reset, "and it stays so");
    assert_eq!(answer.write(b"late").await, Err(WriteError::ClosedStream));
    assert_eq!(soon(answer.stopped()).await.unwrap(), None);
}

#[tokio::test]
async fn limits_and_early_ends_are_told() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&[1; 100]).await.unwrap();
    send.finish().unwrap();
    assert!(send.finish().is_err(), "once is enough");
    assert_eq!(send.write(b"late").await, Err(WriteError::ClosedStream));
    let mut recv = soon(server.accept_uni()).await.unwrap();
    let mut buf = [0; 101];
    assert_eq!(soon(recv.read_exact(&mut buf)).await, Err(ReadExactError::FinishedEarly(100)));
    let mut send = client.open_uni().await.unwrap();
    send.write_all(&[1; 100]).await.unwrap();
    drop(send);
    let mut recv = soon(server.accept_uni()).await.unwrap();
    assert_eq!(soon(recv.read_to_end(99)).await, Err(ReadToEndError::TooLong));
}

/// Streams keep their connection open; the last handle of all closes it, after what was finished is delivered.
#[tokio::test]
async fn the_last_handle_closes_the_connection() {
    let pair = Pair::new();
    let (client, server) = soon(pair.connect()).await;
    let mut send = client.open_uni().await.unwrap();
    let clone = client.clone();
    drop(client);
    drop(clone);
    let data = pattern(500_000, 6);
    let sent = data.clone();
    let writer = tokio::spawn(async move { send.write_all(&sent).await });
    let mut recv = soon(server.accept_uni()).await.unwrap();
    assert!(soon(recv.read_to_end(1 << 20)).await.unwrap() == data);
    soon(writer).await.unwrap().unwrap();
    let reason = soon(server.closed()).await;
    assert_eq!(
        reason,
        ConnectionError::PeerApplication { code: AppError::from(0), reason: Default::default() }
    );
}
