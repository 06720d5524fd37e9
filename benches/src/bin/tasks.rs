//! One task for an endpoint with all its connections against a task for each connection (`benches::drivers`), and quic-tokio's server, which is
//! the former with handles for the application: the same clients, the same loopback, the same answers; only the server differs.
//!
//! ```sh
//! cargo run --release -p benches --bin tasks            # or with the number of rounds
//! ```

use benches::{ALPN, Certificate, SERVER_NAME, SOURCE, answer_len, drivers};
use quic_proto::config::{ClientConfig, ServerConfig};
use quic_proto::crypto::rustls::{self, ClientOptions, Identity, RustlsClient};
use quic_tokio::{AppError, Connection, Endpoint};
use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// What the clients do together.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    connections: u64,
    /// Requests of each connection, one after the other.
    requests: u64,
    /// Bytes of each answer.
    len: u64,
}

const LOADS: [Load; 4] = [
    Load { name: "bulk, 1 connection", connections: 1, requests: 1, len: 512 << 20 },
    Load { name: "bulk, 50 connections", connections: 50, requests: 1, len: (512 << 20) / 50 },
    Load { name: "100-byte answers, 1 connection", connections: 1, requests: 20_000, len: 100 },
    Load { name: "100-byte answers, 50 connections", connections: 50, requests: 1_000, len: 100 },
];

/// How long it took, and how much of the processors' time.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Server {
    OneTask,
    TaskEach,
    Tokio,
}

const SERVERS: [(Server, &str); 3] =
    [(Server::OneTask, "one task"), (Server::TaskEach, "a task each"), (Server::Tokio, "quic-tokio")];

fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(5), |rounds| rounds.parse::<usize>())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let certificate = Certificate::new();
    let mut out = std::io::stdout().lock();
    writeln!(out, "| load | server | s | CPU s |")?;
    writeln!(out, "|---|---|---:|---:|")?;
    for load in LOADS {
        let mut costs = SERVERS.map(|_| Vec::new());
        for _ in 0..rounds {
            for ((server, _), costs) in SERVERS.into_iter().zip(&mut costs) {
                costs.push(runtime.block_on(measure(server, load, &certificate))?);
            }
        }
        for ((_, name), costs) in SERVERS.into_iter().zip(&costs) {
            let (wall, cpu) = (median(costs, |cost| cost.wall), median(costs, |cost| cost.cpu));
            writeln!(out, "| {} | {name} | {wall:.2} | {cpu:.2} |", load.name)?;
        }
    }
    Ok(())
}

fn median(costs: &[Cost], of: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn measure(server: Server, load: Load, certificate: &Certificate) -> Result<Cost> {
    let identity = Identity {
        chain: vec![certificate.chain.clone().into()],
        key: ::rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.key.clone()).into(),
    };
    let config = ServerConfig::new(Arc::new(rustls::server_config(identity, &[ALPN])?), &[2; 32]).build()?;
    let (address, endpoint) = match server {
        Server::OneTask => (drivers::one_task(config)?, None),
        Server::TaskEach => (drivers::task_each(config)?, None),
        Server::Tokio => {
            let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into())?;
            tokio::spawn(accept(endpoint.clone()));
            (endpoint.local_addr(), Some(endpoint))
        }
    };
    let clients = connect(address, load).await?;
    let (begun, cpu) = (Instant::now(), cpu_time()?);
    let tasks: Vec<_> = clients.1.iter().map(|client| tokio::spawn(ask(client.clone(), load))).collect();
    for task in tasks {
        task.await??;
    }
    let cost = Cost { wall: begun.elapsed().as_secs_f64(), cpu: (cpu_time()? - cpu).as_secs_f64() };
    clients.1.iter().for_each(|client| client.close(AppError::from(0), b"done"));
    clients.0.wait_idle().await;
    if let Some(endpoint) = endpoint {
        endpoint.close(AppError::from(0), b"done");
    }
    Ok(cost)
}

async fn connect(address: SocketAddr, load: Load) -> Result<(Endpoint, Vec<Connection>)> {
    let options = ClientOptions { alpn: vec![ALPN.to_vec()], ..ClientOptions::default() };
    let tls = RustlsClient::danger_accept_any_certificate(options)?;
    let mut endpoint = Endpoint::client(([127, 0, 0, 1], 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(tls)));
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(endpoint.connect(address, SERVER_NAME)?.await?);
    }
    Ok((endpoint, connections))
}

/// A client's requests: eight bytes that say how long the answer shall be.
async fn ask(connection: Connection, load: Load) -> Result<()> {
    let mut buf = vec![0; 64 << 10];
    for _ in 0..load.requests {
        let (mut send, mut recv) = connection.open_bi().await?;
        send.write_all(&load.len.to_be_bytes()).await?;
        send.finish()?;
        let mut got = 0;
        while let Some(len) = recv.read(&mut buf).await? {
            got += len as u64;
        }
        if got != load.len {
            return Err(format!("{got} bytes instead of {}", load.len).into());
        }
    }
    Ok(())
}

/// quic-tokio's server, used as its users would: a task for each connection of the application's, one stream after the other.
async fn accept(endpoint: Endpoint) {
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(async move {
            let connection = incoming.await?;
            loop {
                let (mut send, mut recv) = connection.accept_bi().await?;
                let mut rest = answer_len(&recv.read_to_end(64).await?);
                while rest > 0 {
                    let len = SOURCE.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
                    send.write_all(&SOURCE[..len]).await?;
                    rest -= len as u64;
                }
                send.finish()?;
            }
            #[allow(unreachable_code, reason = "gives the block its type")]
            Result::Ok(())
        });
    }
}

/// The processors' time that this process has used, clients included (Linux: `/proc/self/stat`, in ticks of 10 ms).
fn cpu_time() -> Result<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no process name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).ok_or("too short").map(|ticks| ticks.parse::<u64>());
    Ok(Duration::from_millis((ticks(11)?? + ticks(12)??) * 10))
}
