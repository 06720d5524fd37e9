//! Who takes turns with a peer nearby stays awake for its answer.

mod common;

use common::{Certificate, client, server, soon};
use quic_tokio::{Endpoint, EndpointConfig, RecvStream, SendStream, TransportConfig};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::sleep;

/// More exchanges than it takes to trust a peer.
const EXCHANGES: usize = 50;

/// Says a word and hears one.
async fn exchange(send: &mut SendStream, recv: &mut RecvStream) {
    send.write_all(b"yes?").await.unwrap();
    recv.read_exact(&mut [0; 4]).await.unwrap();
}

/// Has both ends take turns, and then the client wait for `silence`. Returns how often the thread was put to sleep meanwhile.
async fn sleeps_while_waiting(busy_poll: Duration, silence: Duration) -> u64 {
    let (certificate, any) = (Certificate::new(), "127.0.0.1:0".parse().unwrap());
    // Acknowledgements wait for the answer.
    let transport = TransportConfig::default().max_ack_delay(Duration::from_secs(2));
    let listener = Endpoint::server(server(&certificate, transport), any).unwrap();
    let config = EndpointConfig::new(&[3; 32]).busy_poll(busy_poll);
    let mut endpoint = Endpoint::new(config, None, quic_udp::bind(any).unwrap()).unwrap();
    endpoint.set_default_client_config(client(&certificate, TransportConfig::default()));
    let connecting = endpoint.connect(listener.local_addr(), "localhost").unwrap();

    let answering = tokio::spawn(async move {
        let connection = listener.accept().await.unwrap().await.unwrap();
        let (mut send, mut recv) = connection.accept_bi().await.unwrap();
        for n in 0..=EXCHANGES {
            recv.read_exact(&mut [0; 4]).await.unwrap();
            if n == EXCHANGES {
                sleep(silence).await;
            }
            send.write_all(b"yes!").await.unwrap();
        }
        connection.closed().await;
    });
    let connection = connecting.await.unwrap();
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    for _ in 0..EXCHANGES {
        exchange(&mut send, &mut recv).await;
    }
    let sleeps = || Handle::current().metrics().worker_park_count(0);
    let before = sleeps();
    exchange(&mut send, &mut recv).await;
    let slept = sleeps() - before;
    connection.close(0u32.into(), b"");
    soon(answering).await.unwrap();
    slept
}

#[tokio::test]
async fn a_driver_looks_for_an_answer_instead_of_sleeping() {
    let silence = Duration::from_millis(20);
    let asleep = soon(sleeps_while_waiting(Duration::ZERO, silence)).await;
    let awake = soon(sleeps_while_waiting(Duration::from_secs(1), silence)).await;
    assert!(asleep > 0 && awake == 0, "put to sleep {asleep} times without, {awake} times with it");
}

/// Time that goes on only while all threads sleep must not wait for a driver that is awake.
#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_goes_on() {
    soon(sleeps_while_waiting(Duration::from_micros(200), Duration::from_secs(10))).await;
}
