//! We and quinn, in both roles: files are fetched as `hq-interop` does it and compared by their hashes.

mod common;

use common::{ALPN, Certificate, pattern, soon};
use quic_tokio::{AppError, Endpoint, TransportConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;

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

/// One file of each size, and then a hundred small ones.
fn names() -> (Vec<String>, Vec<String>) {
    let sizes = [0, 1, 1 << 20, 20 << 20];
    let single = sizes.iter().zip(1..).map(|(size, seed)| format!("{size}-{seed}")).collect();
    (single, (0..100).map(|number| format!("{}-{number}", 1000 + number * 13)).collect())
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_fetches_from_quinn() {
    let certificate = Certificate::new();
    let server = quinn_server(&certificate);
    let addr = server.local_addr().unwrap();
    tokio::spawn(serve_quinn(server.clone()));
    let mut endpoint = Endpoint::client(loopback()).unwrap();
    endpoint.set_default_client_config(common::client(&certificate, TransportConfig::default()));
    let connection = soon(endpoint.connect(addr, "localhost").unwrap()).await.unwrap();
    let (single, many) = names();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quinn_fetches_from_our_server() {
    let certificate = Certificate::new();
    let server =
        Endpoint::server(common::server(&certificate, TransportConfig::default()), loopback()).unwrap();
    let addr = server.local_addr().unwrap();
    tokio::spawn(serve_ours(server.clone()));
    let endpoint = quinn_client(&certificate);
    let connection = soon(endpoint.connect(addr, "localhost").unwrap()).await.unwrap();
    let (single, many) = names();
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

/// quinn answers our Retry, and we quinn's.
#[tokio::test]
async fn retry_works_between_us() {
    let certificate = Certificate::new();
    let ours =
        Endpoint::server(common::server(&certificate, TransportConfig::default()), loopback()).unwrap();
    let theirs = quinn_client(&certificate);
    let connecting = theirs.connect(ours.local_addr().unwrap(), "localhost").unwrap();
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
