//! Endpoints with several shards on one port.
#![cfg(target_os = "linux")]

mod common;

use common::{Certificate, client, pattern, server, soon};
use quic_tokio::{AppError, Connection, Endpoint, EndpointConfig, TransportConfig};
use quic_udp::{Shards, bind_group};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::sync::Arc;
use tokio::net::UdpSocket;
use tokio::sync::watch;

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn two() -> NonZeroU8 {
    NonZeroU8::new(2).unwrap()
}

/// Serves every stream of every client by sending it back.
fn serve(endpoint: &Endpoint) {
    let endpoint = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(async move {
                let connection = incoming.await.unwrap();
                while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                    let data = recv.read_to_end(1 << 20).await.unwrap();
                    send.write_all(&data).await.unwrap();
                }
            });
        }
    });
}

async fn echo(connection: &Connection, seed: u64) {
    let data = pattern(30_000, seed);
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&data).await.unwrap();
    send.finish().unwrap();
    assert!(soon(recv.read_to_end(1 << 20)).await.unwrap() == data);
}

fn client_of(certificate: &Certificate) -> Endpoint {
    let mut endpoint = Endpoint::client(any()).unwrap();
    endpoint.set_default_client_config(client(certificate, TransportConfig::default()));
    endpoint
}

fn sharded(certificate: &Certificate) -> Endpoint {
    let config = server(certificate, TransportConfig::default());
    let endpoint = Endpoint::sharded(EndpointConfig::new(&[9; 32]), Some(config), any(), two()).unwrap();
    serve(&endpoint);
    endpoint
}

/// A client's ids spread its connections over the shards; the kernel finds each one's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_land_on_both_shards() {
    let certificate = Certificate::new();
    let (server, client) = (sharded(&certificate), client_of(&certificate));
    let mut connections = Vec::new();
    for number in 0..40 {
        let connecting = client.connect(server.local_addr(), "localhost").unwrap();
        let connection = soon(connecting).await.unwrap();
        echo(&connection, number).await;
        connections.push(connection);
    }
    let accepted: Vec<_> = server.shard_stats().iter().map(|shard| shard.accepted).collect();
    assert!(accepted.len() == 2 && accepted.iter().all(|count| *count > 0), "{accepted:?}");
    assert_eq!((server.stats().accepted, server.open_connections()), (40, 40));
    assert_eq!(server.forwarded_datagrams(), 0);
    server.close(AppError::from(1), b"enough");
    soon(server.wait_idle()).await;
    for connection in connections {
        soon(connection.closed()).await;
    }
    assert!(server.accept().await.is_none());
}

/// A NAT that can be told to use another port from now on.
struct Nat {
    address: SocketAddr,
    change: watch::Sender<u32>,
}

impl Nat {
    async fn before(server: SocketAddr) -> Self {
        let front = UdpSocket::bind(any()).await.unwrap();
        let address = front.local_addr().unwrap();
        let (change, mut changed) = watch::channel(0);
        tokio::spawn(async move {
            let (mut there, mut back) = (vec![0; 2000], vec![0; 2000]);
            let mut outside = UdpSocket::bind(any()).await.unwrap();
            let mut client = None;
            loop {
                tokio::select! {
                    received = front.recv_from(&mut there) => {
                        let (len, from) = received.unwrap();
                        client = Some(from);
                        outside.send_to(&there[..len], server).await.unwrap();
                    }
                    received = outside.recv_from(&mut back) => {
                        let len = received.unwrap().0;
                        front.send_to(&back[..len], client.unwrap()).await.unwrap();
                    }
                    change = changed.changed() => match change {
                        Ok(()) => outside = UdpSocket::bind(any()).await.unwrap(),
                        Err(_) => return,
                    },
                }
            }
        });
        Self { address, change }
    }

    fn rebind(&self) {
        self.change.send_modify(|count| *count += 1);
    }
}

/// The connection lives in one shard, whatever address its client has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_moves_still_reaches_its_shard() {
    let certificate = Certificate::new();
    let (server, client) = (sharded(&certificate), client_of(&certificate));
    let nat = Nat::before(server.local_addr()).await;
    let connection = soon(client.connect(nat.address, "localhost").unwrap()).await.unwrap();
    for round in 0..12 {
        echo(&connection, round).await;
        nat.rebind();
    }
    assert_eq!(server.stats().accepted, 1);
    let routed: Vec<_> = server.shard_stats().iter().map(|shard| shard.routed).collect();
    assert_eq!(routed.iter().filter(|count| **count > 0).count(), 1, "{routed:?}");
    assert_eq!(server.forwarded_datagrams(), 0, "the kernel knew");
}

/// Where the kernel does not know the rule, it spreads by addresses, and shards forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_forward_what_the_kernel_does_not_steer() {
    let certificate = Certificate::new();
    let config = server(&certificate, TransportConfig::default());
    let sockets = bind_group(any(), Shards::new(two())).unwrap();
    let server = Endpoint::on_sockets(EndpointConfig::new(&[9; 32]), Some(config), sockets).unwrap();
    serve(&server);
    let client = client_of(&certificate);
    let nat = Nat::before(server.local_addr()).await;
    for round in 0..30 {
        // Whether the address leads to the shard is a toss of a coin, each time.
        let connection = soon(client.connect(nat.address, "localhost").unwrap()).await.unwrap();
        echo(&connection, round).await;
        nat.rebind();
        echo(&connection, round).await;
    }
    assert_eq!(server.stats().accepted, 30);
    assert!(server.shard_stats().iter().all(|shard| shard.routed > 0));
    assert!(server.forwarded_datagrams() > 0);
}

/// An endpoint that opens connections has them in all its shards too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_opened_in_turn() {
    let certificate = Certificate::new();
    let plain = Endpoint::server(server(&certificate, TransportConfig::default()), any()).unwrap();
    serve(&plain);
    let mut opener = Endpoint::sharded(EndpointConfig::new(&[9; 32]), None, any(), two()).unwrap();
    opener.set_default_client_config(client(&certificate, TransportConfig::default()));
    let opener = Arc::new(opener);
    for round in 0..4 {
        let connecting = opener.connect(plain.local_addr(), "localhost").unwrap();
        echo(&soon(connecting).await.unwrap(), round).await;
    }
    assert!(opener.shard_stats().iter().all(|shard| shard.routed > 0));
    soon(opener.wait_idle()).await;
}

#[tokio::test]
async fn a_group_has_a_socket() {
    assert!(Endpoint::on_sockets(EndpointConfig::new(&[9; 32]), None, Vec::new()).is_err());
    let one = Endpoint::sharded(EndpointConfig::new(&[9; 32]), None, any(), NonZeroU8::MIN).unwrap();
    assert_eq!(one.shard_stats().len(), 1);
}
