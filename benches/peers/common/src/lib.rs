//! What the programs on other stacks share: the command line of `quic perf`, certificates, and the way they start and stop.
//!
//! A program names its stack by implementing [`Stack`] and calls [`main`]. Settings that all stacks have mean the same in all: see
//! [`Settings`].

use quic_perf::{Client, Error, Load, Report, Service, units};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection lives without a sign of life.
pub const IDLE: Duration = Duration::from_secs(30);

/// A congestion controller. Not every stack has each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Congestion {
    /// RFC 9438.
    Cubic,
    /// RFC 9002.
    Newreno,
    /// Whichever version of BBR the stack has.
    Bbr,
}

/// What both ends are told, and set alike in every stack that lets them.
#[derive(clap::Args, Clone, Debug)]
pub struct Settings {
    /// The congestion controller
    #[arg(long, value_enum, default_value = "cubic")]
    pub cc: Congestion,
    /// Receive windows of streams and of the connection, and the send buffer
    #[arg(long, value_name = "SIZE", default_value = "8MiB", value_parser = units::size)]
    pub window: u64,
    /// The largest UDP payload to send; otherwise an Ethernet frame less an IPv6 and a UDP header
    #[arg(long, value_name = "N", default_value = "1452")]
    pub mtu: u16,
}

/// `server …`
#[derive(clap::Args, Debug)]
pub struct ServerArgs {
    /// The address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4433")]
    pub listen: SocketAddr,
    /// The certificate chain
    #[arg(long, value_name = "PEM")]
    pub cert: PathBuf,
    /// Its private key
    #[arg(long, value_name = "PEM")]
    pub key: PathBuf,
    /// What both ends are told.
    #[command(flatten)]
    pub settings: Settings,
    /// Print the report as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// `client …`
#[derive(clap::Args, Debug)]
pub struct ClientArgs {
    /// The server; its certificate must be for localhost
    #[arg(value_name = "ADDR")]
    pub addr: SocketAddr,
    /// Trust the certificates in this file
    #[arg(long, value_name = "PEM")]
    pub ca: PathBuf,
    /// What both ends are told.
    #[command(flatten)]
    pub settings: Settings,
    /// What to do.
    #[command(flatten)]
    pub load: Load,
}

/// Either end.
#[derive(clap::Subcommand, Debug)]
pub enum Command {
    /// Do what clients ask for, and tell at the end what it cost
    Server(ServerArgs),
    /// Run a workload against a server and tell how it went
    Client(ClientArgs),
}

#[derive(clap::Parser, Debug)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// The command line.
pub fn parse() -> Command {
    <Cli as clap::Parser>::parse().command
}

/// A stack over tokio.
pub trait Stack {
    /// Its client.
    type Client: Client;
    /// A client for the server that `args` name.
    fn client(args: &ClientArgs) -> impl Future<Output = Result<Self::Client, Error>>;
    /// Binds a server. Returns its address, and the server, which runs until it is dropped.
    fn server(
        args: &ServerArgs,
        service: Arc<Service>,
    ) -> impl Future<Output = Result<(SocketAddr, impl Future<Output = ()>), Error>>;
}

/// Runs a program on the stack `S`.
pub fn main<S: Stack>() -> ExitCode {
    let command = parse();
    let done =
        quic_perf::runtime().map_err(Error::from).and_then(|runtime| runtime.block_on(run::<S>(command)));
    exit(done)
}

async fn run<S: Stack>(command: Command) -> Result<(), Error> {
    match command {
        Command::Server(args) => {
            let service = Arc::new(Service::default());
            let (address, server) = S::server(&args, Arc::clone(&service)).await?;
            listening(address);
            tokio::select! {
                () = server => {}
                () = quic_perf::told_to_stop() => {}
            }
            served(&service, args.json);
        }
        Command::Client(args) => {
            let client = S::client(&args).await?;
            tell(&quic_perf::run(&client, &args.load).await?, args.load.json);
            // What was just closed is told to the server.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// Turns an outcome into an exit status, with a line if it is a failure.
pub fn exit(done: Result<(), Error>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", whole(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes, for some stacks say of a connection only that it was lost.
fn whole(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(&format!(": {cause}"));
        }
    }
    text
}

/// Tells where a server listens.
pub fn listening(address: SocketAddr) {
    println!("listening on {address}");
}

/// Tells what a server did. None of these stacks says how many datagrams a system call carries.
pub fn served(service: &Service, json: bool) {
    let report = service.report(None);
    print!("{}", if json { report.to_json() + "\n" } else { report.to_string() });
}

/// Tells what a client did.
pub fn tell(report: &Report, json: bool) {
    print!("{}", if json { report.to_json() + "\n" } else { report.to_string() });
}

/// A server's TLS by rustls with ring.
///
/// # Errors
/// If the files do not hold a certificate and its key.
pub fn rustls_server(args: &ServerArgs) -> Result<ServerConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(certificates(&args.cert)?, PrivateKeyDer::from_pem_file(&args.key)?)?;
    config.alpn_protocols = vec![quic_perf::ALPN.into()];
    Ok(config)
}

/// A client's TLS by rustls with ring, which never resumes a session.
///
/// # Errors
/// If the file does not hold a certificate.
pub fn rustls_client(args: &ClientArgs) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&args.ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![quic_perf::ALPN.into()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    Ok(CertificateDer::pem_file_iter(path)?.collect::<Result<_, _>>()?)
}
