//! `quic serve`: files by hq-interop, or an echo.

use crate::args::Serve;
use crate::failure::Failure;
use crate::hq::{self, Reply};
use crate::tls;
use quic_tokio::{
    AppError, Connection, Endpoint, EndpointConfig, Incoming, RecvStream, SendStream, ServerConfig,
};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The application protocol of an echo server.
pub(crate) const ECHO: &str = "echo";

/// A server at `addr`, which says so.
pub(crate) fn listen(
    config: EndpointConfig,
    server: Arc<ServerConfig>,
    addr: SocketAddr,
    shards: NonZeroU8,
) -> Result<Endpoint, Failure> {
    let endpoint = Endpoint::sharded(config, Some(server), addr, shards);
    let endpoint = endpoint.map_err(Failure::io(format!("cannot listen on {addr}")))?;
    say(&format!("listening on {}", endpoint.local_addr()));
    Ok(endpoint)
}

/// What is done with a client's streams.
#[derive(Clone)]
pub(crate) enum Service {
    Files(Arc<PathBuf>),
    Echo,
}

impl Service {
    pub(crate) fn alpn(&self) -> &'static str {
        match self {
            Self::Files(_) => hq::ALPN,
            Self::Echo => ECHO,
        }
    }
}

pub(crate) async fn run(args: Serve) -> Result<(), Failure> {
    let end = &args.server.end;
    end.version.permits(&[("--retry", args.retry)])?;
    let service = match &args.root {
        Some(root) => {
            // Listing it tells now what every client would be told later.
            let canonical = root.canonicalize().and_then(|root| std::fs::read_dir(&root).map(|_| root));
            let what = format!("cannot serve {}", root.display());
            Service::Files(Arc::new(canonical.map_err(Failure::io(what))?))
        }
        None => Service::Echo,
    };
    let identity = match tls::identity(&args.server)? {
        Some(identity) => identity,
        None => {
            let identity = tls::self_signed()?;
            say(&format!("self-signed certificate, SHA-256 {}", tls::fingerprint(&identity.chain[0])));
            identity
        }
    };
    let config = tls::server(end, identity, service.alpn(), |transport| transport)?;
    let endpoint = listen(end.endpoint()?, config, args.server.listen, NonZeroU8::MIN)?;
    accept(&endpoint, &service, args.retry, args.once).await;
    endpoint.close(AppError::from(0), b"the server stops");
    endpoint.wait_idle().await;
    Ok(())
}

/// Serves clients until the process is interrupted, or `once` of them are done.
async fn accept(endpoint: &Endpoint, service: &Service, retry: bool, once: Option<u64>) {
    let mut clients = JoinSet::new();
    let mut accepted = 0;
    while once.is_none_or(|once| accepted < once) {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = tokio::signal::ctrl_c() => return clients.abort_all(),
            Some(_) = clients.join_next() => continue,
        };
        let Some(incoming) = incoming else { break };
        if retry && !incoming.is_validated() {
            // A client that cannot be asked again is ignored; it is not there.
            let _ = incoming.retry();
            continue;
        }
        accepted += 1;
        clients.spawn(client(incoming, service.clone()));
    }
    // The default action of the signal is gone once it was waited for: it must be heeded here, too.
    tokio::select! {
        () = async { while clients.join_next().await.is_some() {} } => {}
        _ = tokio::signal::ctrl_c() => clients.abort_all(),
    }
}

async fn client(incoming: Incoming, service: Service) {
    let remote = incoming.remote_address();
    match incoming.await {
        Ok(connection) => {
            streams(&connection, &service).await;
            let reason = connection.closed().await;
            say(&format!("{remote} {reason}"));
        }
        Err(error) => say(&format!("{remote} no connection: {error}")),
    }
}

/// Serves all streams of a connection, each in a task of its own; the peer's stream limit bounds them.
pub(crate) async fn streams(connection: &Connection, service: &Service) {
    let mut tasks = JoinSet::new();
    while let Ok((send, recv)) = connection.accept_bi().await {
        let service = service.clone();
        tasks.spawn(async move { stream(send, recv, &service).await });
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

async fn stream(send: SendStream, mut recv: RecvStream, service: &Service) {
    let mut reply = Reply::new(send);
    match service {
        Service::Files(root) => file(root, &mut reply, &mut recv).await,
        Service::Echo => echo(&mut reply, &mut recv).await,
    }
}

async fn file(root: &std::path::Path, reply: &mut Reply, recv: &mut RecvStream) {
    let Some(path) = hq::read_request(recv).await else {
        return reply.reset(hq::BAD_REQUEST);
    };
    match hq::answer(root, reply, &path).await {
        Ok(bytes) => say(&format!("{path} {bytes}")),
        Err(error) => {
            reply.reset(if error.kind() == ErrorKind::NotFound { hq::NOT_FOUND } else { hq::BROKEN_OFF });
            say(&format!("{path} {error}"));
        }
    }
}

/// Sends back what comes; a stream that does not come to its end is not given one.
async fn echo(reply: &mut Reply, recv: &mut RecvStream) {
    loop {
        match recv.read_chunk(64 * 1024).await {
            Ok(Some(chunk)) => {
                if reply.write(&chunk).await.is_err() {
                    return;
                }
            }
            // The stream may have been stopped by the client; then nobody waits for its end.
            Ok(None) => return drop(reply.finish()),
            Err(_) => return,
        }
    }
}

/// 32 random bytes from the operating system.
pub(crate) fn secret() -> Result<[u8; 32], Failure> {
    use ring::rand::SecureRandom;
    let mut secret = [0; 32];
    let filled = ring::rand::SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| Failure::Usage("the operating system gives no randomness".to_owned()))?;
    Ok(secret)
}

/// Prints a line, at once even into a pipe; a reader that went away is no reason to stop.
pub(crate) fn say(line: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
