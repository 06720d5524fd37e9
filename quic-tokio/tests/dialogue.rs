//! Who takes turns with a peer nearby stays awake for its answer.

mod common;

use common::{Certificate, client, server, soon};
use quic_tokio::{Endpoint, EndpointConfig, RecvStream, SendStream, TransportConfig};
use std::time::Duration;
use tokio::time::sleep;

/// More exchanges than it takes to trust a peer.
const EXCHANGES: usize = 50;

/// Says a word and hears one.
async fn exchange(send: &mut SendStream, recv: &mut RecvStream) {
    send.write_all(b"yes?").await.unwrap();
    recv.read_exact(&mut [0; 4]).await.unwrap();
}

/// Has both ends take turns, and then the client wait for `silence`. Returns how often its driver ran meanwhile.
async fn runs_while_waiting(busy_poll: Duration, silence: Duration) -> u64 {
    let (certificate, any) = (Certificate::new(), "127.0.0.1:0".parse().unwrap());
    let listener = Endpoint::server(server(&certificate, TransportConfig::default()), any).unwrap();
    let config = EndpointConfig::new(&[3; 32]).busy_poll(busy_poll);
    let mut endpoint = Endpoint::new(config, None, quic_udp::bind(any).unwrap()).unwrap();
    endpoint.set_default_client_config(client(&certificate, TransportConfig::default()));
    let connecting = endpoint.connect(listener.local_addr().unwrap(), "localhost").unwrap();

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
    let before = endpoint.io_stats().driver_runs;
    exchange(&mut send, &mut recv).await;
    let runs = endpoint.io_stats().driver_runs - before;
    connection.close(0u32.into(), b"");
    soon(answering).await.unwrap();
    runs
}

#[tokio::test]
async fn a_driver_looks_for_an_answer_instead_of_sleeping() {
    let silence = Duration::from_millis(50);
    let awake = soon(runs_while_waiting(Duration::from_secs(1), silence)).await;
    let asleep = soon(runs_while_waiting(Duration::ZERO, silence)).await;
    assert!(awake > 5 * asleep, "{awake} and {asleep} runs");
}

/// Time that goes on only while all threads sleep must not wait for a driver that is awake.
#[tokio::test(start_paused = true)]
async fn a_clock_that_stands_still_goes_on() {
    soon(runs_while_waiting(Duration::from_micros(200), Duration::from_secs(10))).await;
}
