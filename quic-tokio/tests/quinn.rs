//! We and quinn, in both roles: files are fetched as `hq-interop` does it and compared by their hashes.

mod common;

use common::{ALPN, Certificate, pattern, soon};
use quic_proto::rng::{Rng, SeededRng};
use quic_tokio::{AppError, Endpoint, TransportConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::UdpSocket;

/// The files of the server: the name says how long they are, and is what their bytes are made from.
fn file(name: &str) -> Vec<u8> {
    let (len, seed) = name.split_once('-').unwrap();
    pattern(len.parse().unwrap(), seed.parse().unwrap())
}

/// The name in a request, `GET /name\r\n`.
fn requested(request: &[u8]) -> &str {
    std::str::from_utf8(request).unwrap().strip_prefix("GET /").unwrap().trim_end()
}

fn hash(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// The way between the two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Clear,
    /// One datagram of twenty is lost, in each direction.
    Lossy,
}

impl Way {
    /// The address by which a client reaches `server` on this way.
    async fn to(self, server: SocketAddr) -> SocketAddr {
        match self {
            Self::Clear => server,
            Self::Lossy => lossy(server).await,
        }
    }

    /// One file of each size, and then a hundred small ones.
    fn names(self) -> (Vec<String>, Vec<String>) {
        let sizes = [0, 1, 1 << 20, 20 << 20];
        // The largest takes a minute where one of twenty is lost.
        let count = if self == Self::Lossy { 3 } else { 4 };
        let single = sizes.iter().zip(1..).take(count).map(|(size, seed)| format!("{size}-{seed}")).collect();
        (single, (0..100).map(|number| format!("{}-{number}", 1000 + number * 13)).collect())
    }
}

/// A relay for one client, which loses datagrams by chance.
async fn lossy(server: SocketAddr) -> SocketAddr {
    let front = UdpSocket::bind(loopback()).await.unwrap();
    let back = UdpSocket::bind(loopback()).await.unwrap();
    back.connect(server).await.unwrap();
    let address = front.local_addr().unwrap();
    tokio::spawn(async move {
        let mut rng = SeededRng::from_u64(20);
        let (mut up, mut down, mut client) = (vec![0; 1 << 16], vec![0; 1 << 16], None);
        loop {
            tokio::select! {
                Ok((len, from)) = front.recv_from(&mut up) => {
                    client = Some(from);
                    if rng.below(20) > 0 {
                        back.send(&up[..len]).await.unwrap();
                    }
                }
                Ok(len) = back.recv(&mut down) => {
                    if let (Some(client), true) = (client, rng.below(20) > 0) {
                        front.send_to(&down[..len], client).await.unwrap();
                    }
                }
                // An end is gone.
                else => return,
            }
        }
    });
    address
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn quinn_server(certificate: &Certificate) -> quinn::Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der.clone()], certificate.key())
        .unwrap();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    quinn::Endpoint::server(config, loopback()).unwrap()
}

fn quinn_client(certificate: &Certificate) -> quinn::Endpoint {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(certificate.roots())
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut endpoint = quinn::Endpoint::client(loopback()).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    endpoint.set_default_client_config(config);
    endpoint
}

async fn serve_ours(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.unwrap();
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    let request = recv.read_to_end(1000).await.unwrap();
                    send.write_chunk(file(requested(&request)).into()).await.unwrap();
                    send.finish().unwrap();
                });
            }
        });
    }
}

async fn serve_quinn(endpoint: quinn::Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await.unwrap();
            while let Ok((mut send, mut recv)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    let request = recv.read_to_end(1000).await.unwrap();
                    send.write_all(&file(requested(&request))).await.unwrap();
                    send.finish().unwrap();
                });
            }
        });
    }
}

async fn fetch_ours(connection: quic_tokio::Connection, name: String) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(format!("GET /{name}\r\n").as_bytes()).await.unwrap();
    send.finish().unwrap();
    let got = recv.read_to_end(32 << 20).await.unwrap();
    assert_eq!(hash(&got), hash(&file(&name)), "{name}");
}

async fn fetch_quinn(connection: quinn::Connection, name: String) {
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(format!("GET /{name}\r\n").as_bytes()).await.unwrap();
    send.finish().unwrap();
    let got = recv.read_to_end(32 << 20).await.unwrap();
    assert_eq!(hash(&got), hash(&file(&name)), "{name}");
}

async fn our_client_fetches(way: Way) {
    let certificate = Certificate::new();
    let server = quinn_server(&certificate);
    let addr = way.to(server.local_addr().unwrap()).await;
    tokio::spawn(serve_quinn(server.clone()));
    let mut endpoint = Endpoint::client(loopback()).unwrap();
    endpoint.set_default_client_config(common::client(&certificate, TransportConfig::default()));
    let connection = soon(endpoint.connect(addr, "localhost").unwrap()).await.unwrap();
    let (single, many) = way.names();
    for name in single {
        soon(fetch_ours(connection.clone(), name)).await;
    }
    let tasks: Vec<_> =
        many.into_iter().map(|name| tokio::spawn(fetch_ours(connection.clone(), name))).collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    connection.close(AppError::from(0), b"done");
    soon(endpoint.wait_idle()).await;
    server.close(0u32.into(), b"");
}

async fn quinn_fetches(way: Way) {
    let certificate = Certificate::new();
    let server =
        Endpoint::server(common::server(&certificate, TransportConfig::default()), loopback()).unwrap();
    let addr = way.to(server.local_addr()).await;
    tokio::spawn(serve_ours(server.clone()));
    let endpoint = quinn_client(&certificate);
    let connection = soon(endpoint.connect(addr, "localhost").unwrap()).await.unwrap();
    let (single, many) = way.names();
    for name in single {
        soon(fetch_quinn(connection.clone(), name)).await;
    }
    let tasks: Vec<_> =
        many.into_iter().map(|name| tokio::spawn(fetch_quinn(connection.clone(), name))).collect();
    for task in tasks {
        soon(task).await.unwrap();
    }
    connection.close(0u32.into(), b"done");
    soon(endpoint.wait_idle()).await;
    server.close(AppError::from(0), b"");
    soon(server.wait_idle()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_fetches_from_quinn() {
    our_client_fetches(Way::Clear).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_fetches_from_quinn_in_spite_of_losses() {
    our_client_fetches(Way::Lossy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quinn_fetches_from_our_server() {
    quinn_fetches(Way::Clear).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quinn_fetches_from_our_server_in_spite_of_losses() {
    quinn_fetches(Way::Lossy).await;
}

/// quinn answers our Retry, and we quinn's.
#[tokio::test]
async fn retry_works_between_us() {
    let certificate = Certificate::new();
    let ours =
        Endpoint::server(common::server(&certificate, TransportConfig::default()), loopback()).unwrap();
    let theirs = quinn_client(&certificate);
    let connecting = theirs.connect(ours.local_addr(), "localhost").unwrap();
    let accepting = async {
        ours.accept().await.unwrap().retry().unwrap();
        ours.accept().await.unwrap().await.unwrap()
    };
    let (client, _server) = soon(async { tokio::join!(connecting, accepting) }).await;
    client.unwrap();

    let theirs = quinn_server(&certificate);
    let mut ours = Endpoint::client(loopback()).unwrap();
    ours.set_default_client_config(common::client(&certificate, TransportConfig::default()));
    let connecting = ours.connect(theirs.local_addr().unwrap(), "localhost").unwrap();
    let accepting = async {
        theirs.accept().await.unwrap().retry().unwrap();
        theirs.accept().await.unwrap().await.unwrap()
    };
    let (client, _server) = soon(async { tokio::join!(connecting, accepting) }).await;
    client.unwrap();
}
