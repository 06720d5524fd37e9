//! The workloads on TCP with TLS 1.3: what one gives up or gains by QUIC.
//!
//! TCP has no streams, so each of them is a connection, which is kept and used again: a connection of the workload's is a pool. There being
//! no end of a stream either, the client says first how long the answer shall be and how long its own message is.

use peer_common::{ClientArgs, Congestion, ServerArgs, Stack};
use quic_perf::{Ask, Body, Datagrams, Error, Service, Tally};
use rustls::pki_types::ServerName;
use socket2::SockRef;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// As the QUIC stacks write.
const BLOCK: usize = 64 * 1024;
static ZEROS: [u8; BLOCK] = [0; BLOCK];
/// Size of the answer, size of the message.
const HEADER: usize = 16;

fn main() -> ExitCode {
    peer_common::main::<Tcp>()
}

struct Tcp;

impl Stack for Tcp {
    type Client = Dialer;

    async fn client(args: &ClientArgs) -> Result<Dialer, Error> {
        let tls = TlsConnector::from(Arc::new(peer_common::rustls_client(args)?));
        Ok(Dialer { tls, server: args.addr, cc: args.settings.cc })
    }

    async fn server(
        args: &ServerArgs,
        service: Arc<Service>,
    ) -> Result<(SocketAddr, impl Future<Output = ()>), Error> {
        let tls = TlsAcceptor::from(Arc::new(peer_common::rustls_server(args)?));
        let listener = TcpListener::bind(args.listen).await?;
        // Connections have it from here.
        control(SockRef::from(&listener), args.settings.cc)?;
        Ok((listener.local_addr()?, accept(listener, tls, service)))
    }
}

/// Has the kernel control congestion in this way. It may be one that only root may choose.
fn control(socket: SockRef<'_>, cc: Congestion) -> Result<(), Error> {
    let name = match cc {
        Congestion::Cubic => "cubic",
        Congestion::Newreno => "reno",
        Congestion::Bbr => "bbr",
    };
    // The kernel fills up with zeros.
    if socket.tcp_congestion()?.split(|byte| *byte == 0).next() == Some(name.as_bytes()) {
        return Ok(());
    }
    Ok(socket.set_tcp_congestion(name.as_bytes()).map_err(|error| format!("{name}: {error}"))?)
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, service: Arc<Service>) {
    while let Ok((stream, _)) = listener.accept().await {
        service.client_comes();
        let (tls, service) = (tls.clone(), Arc::clone(&service));
        tokio::spawn(async move {
            stream.set_nodelay(true)?;
            serve(tls.accept(stream).await?, &service).await
        });
    }
}

/// Serves one exchange after the other, until the client goes.
async fn serve(mut stream: server::TlsStream<TcpStream>, service: &Service) -> Result<(), Error> {
    // Not before there is something to read: idle connections are to be weighed without it.
    let mut block = Vec::new();
    loop {
        let mut header = [0; HEADER];
        stream.read_exact(&mut header).await?;
        block.resize(BLOCK, 0);
        let size =
            |at: usize| u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes are eight"));
        let (down, up) = (size(0), size(8));
        let mut got = 0;
        while got < up {
            let most = (up - got).min(BLOCK as u64) as usize;
            let read = stream.read(&mut block[..most]).await?;
            if read == 0 {
                // The end of a message without a size.
                break;
            }
            service.tally().received(read);
            got += read as u64;
        }
        let mut left = down;
        while left > 0 {
            let len = left.min(BLOCK as u64) as usize;
            stream.write_all(&ZEROS[..len]).await?;
            service.tally().sent(len);
            left -= len as u64;
        }
        stream.flush().await?;
        if got < up {
            return Ok(stream.shutdown().await?);
        }
    }
}

#[derive(Clone)]
struct Dialer {
    tls: TlsConnector,
    server: SocketAddr,
    cc: Congestion,
}

impl Dialer {
    async fn dial(&self) -> Result<client::TlsStream<TcpStream>, Error> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        control(SockRef::from(&stream), self.cc)?;
        Ok(self.tls.connect(ServerName::try_from("localhost")?, stream).await?)
    }
}

impl quic_perf::Client for Dialer {
    type Connection = Pool;

    async fn connect(&self) -> Result<Pool, Error> {
        let first = self.dial().await?;
        Ok(Pool { dialer: self.clone(), idle: Arc::new(Mutex::new(vec![first])) })
    }

    fn datagrams(&self) -> Option<Datagrams> {
        None
    }
}

/// Connections that stand for the streams of one.
#[derive(Clone)]
struct Pool {
    dialer: Dialer,
    idle: Arc<Mutex<Vec<client::TlsStream<TcpStream>>>>,
}

impl Pool {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<client::TlsStream<TcpStream>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl quic_perf::Connection for Pool {
    async fn exchange(&self, ask: &Ask, tally: &Tally) -> Result<(), Error> {
        let idle = self.idle().pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => self.dialer.dial().await?,
        };
        if exchange(&mut stream, ask, tally).await? {
            self.idle().push(stream);
        }
        Ok(())
    }

    fn close(&self) {
        self.idle().clear();
    }
}

/// Returns whether the connection can be used again.
async fn exchange(
    stream: &mut client::TlsStream<TcpStream>,
    ask: &Ask,
    tally: &Tally,
) -> Result<bool, Error> {
    let size = |body| match body {
        Body::Bytes(size) => size,
        Body::Until(_) => u64::MAX,
    };
    let opening = match ask.up {
        Body::Bytes(size) if size <= BLOCK as u64 => size as usize,
        _ => 0,
    };
    let mut message = vec![0; HEADER + opening];
    message[..8].copy_from_slice(&size(ask.down).to_be_bytes());
    message[8..HEADER].copy_from_slice(&size(ask.up).to_be_bytes());
    stream.write_all(&message).await?;
    tally.sent(opening);
    let mut left = size(ask.up) - opening as u64;
    while left > 0 && !matches!(ask.up, Body::Until(end) if Instant::now() >= end) {
        let len = left.min(BLOCK as u64) as usize;
        stream.write_all(&ZEROS[..len]).await?;
        tally.sent(len);
        left -= len as u64;
    }
    stream.flush().await?;
    if let Body::Until(_) = ask.up {
        stream.shutdown().await?;
    }
    // The first answer to a message without a size is the end of the connection: then all of it has come.
    let mut got = 0;
    let mut block = vec![0; BLOCK.min(size(ask.down).max(1) as usize)];
    while got < size(ask.down).max(u64::from(matches!(ask.up, Body::Until(_)))) {
        let read = stream.read(&mut block).await?;
        if read == 0 {
            break;
        }
        tally.received(read);
        got += read as u64;
        if matches!(ask.down, Body::Until(end) if Instant::now() >= end) {
            return Ok(false);
        }
    }
    match ask.down {
        Body::Bytes(expected) if expected != got => {
            Err(format!("{got} bytes came instead of {expected}").into())
        }
        _ => Ok(matches!(ask.up, Body::Bytes(_))),
    }
}
