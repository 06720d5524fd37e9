//! The command line.

use crate::failure::Failure;
use crate::version::Versions;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use quic_perf::units;
use quic_proto::config::{EndpointConfig, TransportConfig};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Fetch, serve, echo and measure over QUIC.
#[derive(Parser, Debug)]
#[command(
    name = "quic",
    version,
    about,
    after_help = "RUST_LOG=quic_proto=debug shows what the protocol does."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Move a file both ways over loopback in one process and tell how it went
    Demo(Demo),
    /// Serve the files of a folder (ALPN hq-interop), or send every stream back
    Serve(Serve),
    /// Fetch files from hq-interop servers
    Get(Get),
    /// Send random bytes to an echo server, check what comes back, and report round-trip times
    Echo(Echo),
    /// Measure speed by the performance protocol (ALPN perf)
    #[command(subcommand)]
    Perf(crate::perf::Command),
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// How much to move, if no file is named [default: 256MiB; 16MiB over a path that --rtt, --loss or --rate make]
    #[arg(long, value_parser = units::size, conflicts_with = "file")]
    pub(crate) size: Option<u64>,
    /// The file to move
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Put a path between the two with this round-trip time, e.g. 40ms
    #[arg(long, value_parser = units::time)]
    pub(crate) rtt: Option<Duration>,
    /// Lose this share of datagrams in each direction, e.g. 1%
    #[arg(long, value_parser = units::share)]
    pub(crate) loss: Option<f64>,
    /// Limit the path to this rate, e.g. 100mbit
    #[arg(long, value_parser = units::rate)]
    pub(crate) rate: Option<u64>,
    /// The versions of QUIC, as elsewhere
    #[arg(long, value_name = "V", default_value = "v1", value_parser = Versions::parse)]
    pub(crate) version: Versions,
}

#[derive(Args, Debug)]
#[command(group = ArgGroup::new("service").required(true))]
pub(crate) struct Serve {
    /// The folder whose files are served
    #[arg(long, value_name = "DIR", group = "service")]
    pub(crate) root: Option<PathBuf>,
    /// Send every stream back instead (ALPN echo)
    #[arg(long, group = "service")]
    pub(crate) echo: bool,
    #[command(flatten)]
    pub(crate) server: Server,
    /// Let each client prove its address first (RFC 9000 §8.1.2); those of Q044 always do
    #[arg(long)]
    pub(crate) retry: bool,
    /// Stop after N connections
    #[arg(long, value_name = "N")]
    pub(crate) once: Option<u64>,
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// What to fetch, e.g. `https://localhost:4433/file`
    #[arg(required = true, value_name = "URL", value_parser = https)]
    pub(crate) urls: Vec<url::Url>,
    /// Where to put the files
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) client: Client,
    /// Use this application protocol [default: hq-interop]
    #[arg(long, value_name = "NAME")]
    pub(crate) alpn: Option<String>,
    /// Update keys once the handshake is confirmed (RFC 9001 §6)
    #[arg(long)]
    pub(crate) key_update: bool,
    /// Make a connection for each URL
    #[arg(long)]
    pub(crate) connection_per_url: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Echo {
    /// The echo server
    #[arg(value_name = "ADDR")]
    pub(crate) addr: String,
    /// How much to send on each stream
    #[arg(long, default_value = "1MB", value_parser = units::size)]
    pub(crate) size: u64,
    /// How many streams at a time
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) streams: u64,
    /// Send this on one stream instead, and show what comes back
    #[arg(long, conflicts_with_all = ["size", "streams"])]
    pub(crate) text: Option<String>,
    /// How many times
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: u64,
    #[command(flatten)]
    pub(crate) client: Client,
}

/// What all servers can be told.
#[derive(Args, Debug)]
pub(crate) struct Server {
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value = "[::]:4433", value_parser = socket_address)]
    pub(crate) listen: SocketAddr,
    /// The certificate chain; without it a self-signed one is made
    #[arg(long, value_name = "PEM", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) end: End,
}

/// What all clients can be told.
#[derive(Args, Debug)]
pub(crate) struct Client {
    /// Trust the certificates in this file
    #[arg(long, value_name = "PEM", conflicts_with = "insecure")]
    pub(crate) ca: Option<PathBuf>,
    /// Trust any certificate: no protection against an attacker on the path
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Offer only this cipher
    #[arg(long)]
    pub(crate) cipher: Option<Cipher>,
    #[command(flatten)]
    pub(crate) end: End,
    /// Send to this address, whatever the name resolves to
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    pub(crate) connect: Option<SocketAddr>,
    /// Give up if the server does not answer for so long
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = units::time)]
    pub(crate) timeout: Duration,
}

/// What both ends of a connection can be told.
#[derive(Args, Debug)]
pub(crate) struct End {
    /// The versions of QUIC to speak: v1, v2, q044 (Google QUIC), several with commas between and the preferred one first, or any of these.
    /// A client begins with its first, and a server answers in the first of its own that the client speaks too; q044 is the last of any server's. quic-go
    /// 0.10 does not answer to versions that it does not know: name q044 alone for that
    #[arg(long, value_name = "V", default_value = "v1", value_parser = Versions::parse)]
    pub(crate) version: Versions,
    /// Write TLS secrets there, for Wireshark (SSLKEYLOGFILE is honoured too)
    #[arg(long, value_name = "FILE")]
    pub(crate) keylog: Option<PathBuf>,
    /// The congestion controller: cubic, cubic-tolerant (stands random loss), newreno or bbr
    #[arg(long, value_name = "ALGORITHM", default_value = "cubic")]
    pub(crate) cc: quic_proto::congestion::Algorithm,
    /// Receive windows of streams and of the connection
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub(crate) window: Option<u64>,
    /// The largest UDP payload to send, in bytes
    #[arg(long, value_name = "N", default_value = "1452", value_parser = clap::value_parser!(u16).range(1200..=65527))]
    pub(crate) mtu: u16,
    /// Stay awake so long for an answer to a short message from a peer that answers quickly; 0us is never [default: 200us]
    #[arg(long, value_name = "TIME", value_parser = units::time)]
    pub(crate) busy_poll: Option<Duration>,
}

impl End {
    /// What its endpoint is made of.
    pub(crate) fn endpoint(&self) -> Result<EndpointConfig, Failure> {
        let config = self.version.endpoint()?;
        let config = match self.busy_poll {
            Some(limit) => config.busy_poll(limit),
            None => config,
        };
        Ok(config.build()?)
    }

    /// The limits and timing of its connections.
    pub(crate) fn transport(&self) -> TransportConfig {
        let transport = TransportConfig::default().congestion(self.cc).mtu_ceiling(self.mtu);
        match self.window {
            Some(window) => transport.stream_window(window, window).connection_window(window, window),
            None => transport,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Cipher {
    Aes128,
    Aes256,
    Chacha20,
}

/// An address with a port, both in numbers.
pub(crate) fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "it must be an IP address and a port, as 127.0.0.1:4433 or [::]:4433".to_owned())
}

/// What can be fetched over QUIC, which is always encrypted.
fn https(text: &str) -> Result<url::Url, String> {
    let shape = || "it must be as https://HOST:PORT/PATH".to_owned();
    let url = url::Url::parse(text).map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => shape(),
        other => other.to_string(),
    })?;
    if url.scheme() == "https" { Ok(url) } else { Err(shape()) }
}

/// Splits `HOST:PORT`.
pub(crate) fn host_and_port(addr: &str) -> Result<(String, u16), Failure> {
    let wrong = || Failure::Usage(format!("{addr:?} must be HOST:PORT"));
    let (host, port) = addr.rsplit_once(':').ok_or_else(wrong)?;
    Ok((host.trim_matches(['[', ']']).to_owned(), port.parse().map_err(|_| wrong())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
