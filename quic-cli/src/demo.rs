//! `quic demo`: server and client in one process, over real sockets of the loopback interface.

use crate::args::Demo;
use crate::dial::Dialer;
use crate::failure::Failure;
use crate::proxy::{Impairment, Proxy};
use crate::serve::say;
use crate::tls::{self, Trust};
use indicatif::{ProgressBar, ProgressStyle};
use quic_perf::units;
use quic_proto::crypto::rustls::ClientOptions;
use quic_tokio::{AppError, Connection, ConnectionStats, Endpoint, RecvStream, SendStream};
use ring::digest::{Context, SHA256};
use std::io::{IsTerminal, Read};
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

const ALPN: &str = "demo";
const BLOCK: usize = 256 * 1024;
const TIMEOUT: Duration = Duration::from_secs(10);
/// What is moved if nobody says how much: a second or so over loopback, a minute or two over a bad path.
const USUAL_SIZE: u64 = 256 << 20;
const USUAL_SIZE_IMPAIRED: u64 = 16 << 20;

/// What is moved: a file, or as many bytes that look random.
#[derive(Clone)]
enum Source {
    File(PathBuf),
    Made(u64),
}

type Hash = Vec<u8>;

pub(crate) async fn run(args: Demo) -> Result<(), Failure> {
    let impairment = impairment(&args);
    let usual = if impairment.is_some() { USUAL_SIZE_IMPAIRED } else { USUAL_SIZE };
    let source = match &args.file {
        Some(path) => Source::File(path.clone()),
        None => Source::Made(args.size.unwrap_or(usual)),
    };
    let (size, hash) = source.measure()?;
    let identity = tls::self_signed()?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(identity.chain[0].clone()).map_err(|error| Failure::Usage(error.to_string()))?;
    let server_config = args.version.server(identity, ALPN, None)?.build()?;
    let cannot = || Failure::io("cannot open a UDP socket on the loopback interface");
    let (config, any) = (args.version.endpoint()?, ([127, 0, 0, 1], 0).into());
    let server = Endpoint::sharded(config, Some(server_config), any, NonZeroU8::MIN).map_err(cannot())?;
    let mut address = server.local_addr();
    let proxy = match impairment {
        Some(impairment) => {
            let listen = ([127, 0, 0, 1], 0).into();
            Some(Proxy::start(listen, address, &impairment, 1).await.map_err(cannot())?)
        }
        None => None,
    };
    if let Some(proxy) = &proxy {
        address = proxy.address;
    }
    let (introduce, server_side) = oneshot::channel();
    let serving = tokio::spawn(serve(server.clone(), source.clone(), introduce));

    let options = ClientOptions { alpn: vec![ALPN.as_bytes().to_vec()], ..ClientOptions::default() };
    let dialer = Dialer {
        config: args.version.client(Trust::Roots(roots), options)?,
        endpoint: args.version.endpoint()?,
        alpn: ALPN.to_owned(),
        timeout: TIMEOUT,
        address: None,
    };
    let begun = Instant::now();
    let dialled = dialer.dial(address, "localhost").await;
    let (client, connection) = dialled.map_err(|failure| match failure {
        // Somebody does listen there.
        Failure::NoAnswer { after, .. } => Failure::BadPath(after),
        other => other,
    })?;
    let handshake = begun.elapsed();
    let bar = bar(size);
    let up = upload(&connection, source, &hash, &bar).await?;
    let down = download(&connection, &hash, &bar).await?;
    bar.finish_and_clear();
    summary(&Facts {
        size,
        handshake,
        up,
        down,
        hash,
        connection: &connection,
        server_side: server_side.await.ok(),
        client: &client,
        proxy: proxy.as_ref(),
    });
    connection.close(AppError::from(0), b"done");
    client.wait_idle().await;
    serving.abort();
    Ok(())
}

fn impairment(args: &Demo) -> Option<Impairment> {
    (args.rtt.is_some() || args.loss.is_some() || args.rate.is_some()).then(|| Impairment {
        rtt: args.rtt.unwrap_or_default(),
        loss: args.loss.unwrap_or_default(),
        rate: args.rate,
        queue: None,
    })
}

fn bar(size: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{msg:9} [{bar:40}] {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = ProgressBar::new(size);
    if let Ok(style) = style { bar.with_style(style.progress_chars("=> ")) } else { bar }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Made(_) => f.write_str("what was made up"),
        }
    }
}

impl Source {
    fn open(&self) -> Result<Box<dyn Read + Send>, Failure> {
        match self {
            Self::File(path) => {
                let file = std::fs::File::open(path);
                Ok(Box::new(file.map_err(Failure::io(format!("cannot read {self}")))?))
            }
            Self::Made(size) => Ok(Box::new(Made { at: 0, size: *size })),
        }
    }

    /// Size and hash.
    fn measure(&self) -> Result<(u64, Hash), Failure> {
        let (mut reader, mut context, mut size) = (self.open()?, Context::new(&SHA256), 0);
        let mut block = vec![0; BLOCK];
        loop {
            let read = reader.read(&mut block).map_err(Failure::io(format!("cannot read {self}")))?;
            if read == 0 {
                return Ok((size, context.finish().as_ref().to_vec()));
            }
            context.update(&block[..read]);
            size += read as u64;
        }
    }
}

/// Bytes that follow from their offset, so that none is taken for another.
struct Made {
    at: u64,
    size: u64,
}

impl Read for Made {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = (self.size - self.at).min(out.len() as u64) as usize;
        let len = if len > 8 { len & !7 } else { len };
        for word in out[..len].chunks_mut(8) {
            let mixed = (self.at ^ (self.at >> 7)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&mixed.to_le_bytes()[..word.len()]);
            self.at += word.len() as u64;
        }
        Ok(len)
    }
}

/// Serves the one client that there is. `introduce` is told the server's side of its connection.
async fn serve(endpoint: Endpoint, source: Source, introduce: oneshot::Sender<Connection>) {
    let mut introduce = Some(introduce);
    while let Some(incoming) = endpoint.accept().await {
        let Ok(connection) = incoming.await else { continue };
        if let Some(introduce) = introduce.take() {
            // The summary may be over, if the demo failed.
            let _ = introduce.send(connection.clone());
        }
        while let Ok((mut send, mut recv)) = connection.accept_bi().await {
            let mut what = [0];
            let result = match recv.read_exact(&mut what).await {
                Ok(()) if what == *b"U" => store(&mut send, &mut recv).await,
                Ok(()) => copy(&source, &mut send, None).await,
                Err(_) => continue,
            };
            if let Err(error) = result {
                crate::complain(&error.to_string());
            }
        }
    }
}

/// Takes an upload and answers with its hash.
async fn store(send: &mut SendStream, recv: &mut RecvStream) -> Result<(), Failure> {
    let (_, hash) = drain(recv, None).await?;
    send.write_all(&hash).await.map_err(Failure::stream)?;
    send.finish().map_err(Failure::stream)
}

async fn copy(source: &Source, send: &mut SendStream, bar: Option<&ProgressBar>) -> Result<(), Failure> {
    let mut reader = source.open()?;
    let mut block = vec![0; BLOCK];
    loop {
        let read = reader.read(&mut block).map_err(Failure::io(format!("cannot read {source}")))?;
        if read == 0 {
            return send.finish().map_err(Failure::stream);
        }
        send.write_all(&block[..read]).await.map_err(Failure::stream)?;
        if let Some(bar) = bar {
            bar.inc(read as u64);
        }
    }
}

/// Reads to the end. Returns the size and the hash.
async fn drain(recv: &mut RecvStream, bar: Option<&ProgressBar>) -> Result<(u64, Hash), Failure> {
    let (mut context, mut size) = (Context::new(&SHA256), 0);
    let mut block = vec![0; BLOCK];
    while let Some(read) = recv.read(&mut block).await.map_err(Failure::stream)? {
        context.update(&block[..read]);
        size += read as u64;
        if let Some(bar) = bar {
            bar.inc(read as u64);
        }
    }
    Ok((size, context.finish().as_ref().to_vec()))
}

async fn upload(
    connection: &Connection,
    source: Source,
    hash: &[u8],
    bar: &ProgressBar,
) -> Result<Duration, Failure> {
    bar.set_message("upload");
    let begun = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.map_err(Failure::Connection)?;
    send.write_all(b"U").await.map_err(Failure::stream)?;
    copy(&source, &mut send, Some(bar)).await?;
    let theirs = recv.read_to_end(64).await.map_err(Failure::stream)?;
    check(&theirs, hash, "upload")?;
    Ok(begun.elapsed())
}

async fn download(connection: &Connection, hash: &[u8], bar: &ProgressBar) -> Result<Duration, Failure> {
    bar.set_message("download");
    bar.reset();
    let begun = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.map_err(Failure::Connection)?;
    send.write_all(b"D").await.map_err(Failure::stream)?;
    send.finish().map_err(Failure::stream)?;
    let (_, ours) = drain(&mut recv, Some(bar)).await?;
    check(&ours, hash, "download")?;
    Ok(begun.elapsed())
}

fn check(got: &[u8], expected: &[u8], what: &str) -> Result<(), Failure> {
    if got == expected { Ok(()) } else { Err(Failure::Mismatch(format!("the {what} has another SHA-256"))) }
}

struct Facts<'a> {
    size: u64,
    handshake: Duration,
    up: Duration,
    down: Duration,
    hash: Hash,
    connection: &'a Connection,
    /// The server's side of the same connection.
    server_side: Option<Connection>,
    client: &'a Endpoint,
    proxy: Option<&'a Proxy>,
}

/// What one side sent. Losses of the upload are known to the client, those of the download to the server.
fn losses(stats: &ConnectionStats) -> String {
    let counted = &stats.counters;
    format!(
        "{} packets sent, {} taken for lost, {} congestion events, {} probe timeouts",
        counted.sent.packets, counted.lost_packets, counted.congestion_events, counted.probe_timeouts,
    )
}

fn summary(facts: &Facts<'_>) {
    let stats = facts.connection.stats();
    let io = facts.client.socket_stats();
    let info = facts.connection.handshake_info();
    let cipher = info.and_then(|info| info.cipher_suite).unwrap_or("unknown");
    let hash: String = facts.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let version = facts.connection.version();
    let version = version.map_or_else(|_| "of an unknown version".to_owned(), |version| version.to_string());
    let per_call = |datagrams: u64, calls: u64| datagrams as f64 / calls.max(1) as f64;
    say(&format!("{version}, {cipher}, handshake in {:.1?}", facts.handshake));
    say(&format!(
        "upload    {} in {:.2?}, {}",
        units::bytes(facts.size),
        facts.up,
        units::throughput(facts.size, facts.up)
    ));
    say(&format!(
        "download  {} in {:.2?}, {}",
        units::bytes(facts.size),
        facts.down,
        units::throughput(facts.size, facts.down)
    ));
    say(&format!("sha-256   {hash}, the same both ways"));
    say(&format!(
        "path      rtt {:.2?} (least {:.2?}), window {}, datagrams of {} bytes, {}",
        stats.path.rtt,
        stats.path.min_rtt,
        units::bytes(stats.path.window),
        stats.path.mtu,
        stats.path.controller,
    ));
    say(&format!("client    {}", losses(&stats)));
    if let Some(server) = &facts.server_side {
        say(&format!("server    {}", losses(&server.stats())));
    }
    say(&format!(
        "sockets   {:.1} datagrams a system call sent, {:.1} received",
        per_call(io.sent_datagrams, io.send_calls),
        per_call(io.received_datagrams, io.receive_calls),
    ));
    if let Some(proxy) = facts.proxy {
        let [up, down] = proxy.stats();
        let (lost, overflowed) = (up.lost + down.lost, up.overflowed + down.overflowed);
        say(&format!("in between {lost} datagrams lost by chance, {overflowed} at a full queue"));
    }
}
