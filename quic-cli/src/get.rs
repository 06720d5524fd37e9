//! `quic get`: fetches files in parallel, and is content only with every byte written.

use crate::args::Get;
use crate::dial::Dialer;
use crate::failure::Failure;
use crate::hq;
use crate::serve::say;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use quic_perf::units;
use quic_proto::error::ConnectionError;
use quic_tokio::{AppError, Connection, ReadError};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use url::{Position, Url};

/// A file that could not be fetched, and why.
#[derive(Debug, thiserror::Error)]
enum FileFailure {
    #[error("not found on the server")]
    NotFound,
    #[error("the server reset the stream with code {0}")]
    Reset(AppError),
    #[error("{0}")]
    Connection(ConnectionError),
    #[error("{0}")]
    Other(String),
}

pub(crate) async fn run(args: Get) -> Result<(), Failure> {
    let with_tls = [("--alpn", args.alpn.is_some()), ("--key-update", args.key_update)];
    args.client.end.version.permits(&with_tls)?;
    let dialer = Dialer::new(&args.client, args.alpn(), false)?;
    let mut used = Names::default();
    let names = args.urls.iter().map(|url| used.of(url)).collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir_all(&args.out).map_err(Failure::io(format!("cannot make {}", args.out.display())))?;
    let bars = MultiProgress::new();
    let mut tasks = JoinSet::new();
    let mut connections: HashMap<(String, u16), Connection> = HashMap::new();
    let mut endpoints = Vec::new();
    for (url, name) in args.urls.iter().zip(names) {
        let (host, port) = host_of(url);
        let key = (host.clone(), port);
        let known = connections.get(&key).filter(|_| !args.connection_per_url).cloned();
        let connection = match known {
            Some(connection) => connection,
            None => {
                let (endpoint, connection) = dialer.reach(&host, port).await?;
                if args.key_update {
                    update_keys(&connection).await;
                }
                endpoints.push(endpoint);
                connections.insert(key, connection.clone());
                connection
            }
        };
        let bar = std::io::stderr().is_terminal().then(|| bars.add(bar(&name)));
        let path = args.out.join(&name);
        let request = hq::request(&url[Position::BeforePath..Position::AfterQuery]);
        tasks.spawn(async move {
            let begun = Instant::now();
            let result = fetch(&connection, &request, &path, bar.as_ref()).await;
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            (name, result, begun.elapsed())
        });
    }
    let failed = tokio::select! {
        failed = report(&mut tasks, &bars) => Some(failed),
        _ = tokio::signal::ctrl_c() => None,
    };
    // What an interrupted download leaves is removed with its task, and the server is told.
    tasks.shutdown().await;
    for connection in connections.into_values() {
        connection.close(AppError::from(0), b"done");
    }
    for endpoint in endpoints {
        endpoint.close(AppError::from(0), b"done");
        endpoint.wait_idle().await;
    }
    match failed {
        Some(0) => Ok(()),
        Some(failed) => Err(Failure::Files(failed, args.urls.len())),
        None => Err(Failure::Interrupted),
    }
}

/// Prints a line a file as they come in. Returns how many failed.
async fn report(
    tasks: &mut JoinSet<(String, Result<u64, FileFailure>, Duration)>,
    bars: &MultiProgress,
) -> usize {
    let mut failed = 0;
    while let Some(done) = tasks.join_next().await {
        match done {
            Ok((name, Ok(bytes), time)) => {
                let line = format!("{name}  {}  {}", units::bytes(bytes), units::throughput(bytes, time));
                bars.suspend(|| say(&line));
            }
            Ok((name, Err(error), _)) => {
                failed += 1;
                bars.suspend(|| crate::complain(&format!("{name}: {error}")));
            }
            Err(error) => {
                failed += 1;
                crate::complain(&error.to_string());
            }
        }
    }
    failed
}

fn bar(name: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:20} {spinner} {bytes} {bytes_per_sec}");
    let bar = ProgressBar::no_length().with_prefix(name.to_owned());
    if let Ok(style) = style { bar.with_style(style) } else { bar }
}

fn host_of(url: &Url) -> (String, u16) {
    let host = url.host_str().unwrap_or_default();
    (host.trim_matches(['[', ']']).to_owned(), url.port_or_known_default().unwrap_or(443))
}

/// The names under which files are written: the last part of the path, each used once.
#[derive(Default)]
struct Names(HashMap<String, String>);

impl Names {
    fn of(&mut self, url: &Url) -> Result<String, Failure> {
        let last = url.path_segments().and_then(Iterator::last).unwrap_or_default();
        let name = if last.is_empty() { "index.html" } else { last };
        if name.contains(['/', '\\', '\0']) || name == ".." {
            return Err(Failure::Usage(format!("{url} has no usable file name")));
        }
        match self.0.insert(name.to_owned(), url.to_string()) {
            Some(other) if other != url.as_str() => {
                Err(Failure::Usage(format!("{url} and {other} would both be written to {name}")))
            }
            _ => Ok(name.to_owned()),
        }
    }
}

impl Get {
    fn alpn(&self) -> &str {
        self.alpn.as_deref().unwrap_or(hq::ALPN)
    }
}

/// Updates keys as soon as that is possible, which is once the handshake is confirmed.
async fn update_keys(connection: &Connection) {
    for _ in 0..200 {
        if connection.initiate_key_update() || connection.close_reason().is_some() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    crate::complain("the keys could not be updated");
}

/// Fetches one file into `path`, by way of a temporary one, so that there is never half a file under its name.
async fn fetch(
    connection: &Connection,
    request: &str,
    path: &Path,
    bar: Option<&ProgressBar>,
) -> Result<u64, FileFailure> {
    let partial = Partial::of(path);
    let bytes = download(connection, request, &partial.0, bar).await?;
    let renamed = tokio::fs::rename(&partial.0, path).await;
    renamed.map_err(|error| FileFailure::Other(format!("cannot write {}: {error}", path.display())))?;
    Ok(bytes)
}

/// A file's temporary name, which no other download uses. What is left under it is removed, however the download ends.
struct Partial(PathBuf);

impl Partial {
    fn of(path: &Path) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(PathBuf::from(format!("{}.{}-{count}.part", path.display(), std::process::id())))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After a success it has its final name, and before the first byte there is none.
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn download(
    connection: &Connection,
    request: &str,
    path: &Path,
    bar: Option<&ProgressBar>,
) -> Result<u64, FileFailure> {
    let cannot =
        |error: std::io::Error| FileFailure::Other(format!("cannot write {}: {error}", path.display()));
    let (mut send, mut recv) = connection.open_bi().await.map_err(FileFailure::Connection)?;
    let sent = send.write_all(request.as_bytes()).await;
    sent.map_err(|error| FileFailure::Other(error.to_string()))?;
    // The server may have answered and stopped the stream already.
    let _ = send.finish();
    let mut file =
        tokio::io::BufWriter::with_capacity(1 << 20, tokio::fs::File::create(path).await.map_err(cannot)?);
    let mut total = 0;
    let mut block = vec![0; 256 * 1024];
    loop {
        match recv.read(&mut block).await {
            Ok(None) => break,
            Ok(Some(read)) => {
                file.write_all(&block[..read]).await.map_err(cannot)?;
                total += read as u64;
                if let Some(bar) = bar {
                    bar.set_position(total);
                }
            }
            Err(ReadError::Reset(code)) if code == AppError::from(hq::NOT_FOUND) => {
                return Err(FileFailure::NotFound);
            }
            Err(ReadError::Reset(code)) => return Err(FileFailure::Reset(code)),
            Err(error) => return Err(FileFailure::Other(error.to_string())),
        }
    }
    file.flush().await.map_err(cannot)?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_used_once() {
        let mut names = Names::default();
        let url = |text: &str| Url::parse(text).unwrap();
        assert_eq!(names.of(&url("https://a/x/y")).unwrap(), "y");
        assert_eq!(names.of(&url("https://a/")).unwrap(), "index.html");
        assert!(names.of(&url("https://a/z/y")).is_err());
        assert_eq!(host_of(&url("https://[::1]:4433/a")), ("::1".to_owned(), 4433));
        assert_eq!(host_of(&url("https://a/?b")), ("a".to_owned(), 443));
    }
}
