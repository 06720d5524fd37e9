//! `quic perf client`.

use super::server::Half;
use super::{ClientArgs, add_waits, datagrams};
use crate::args;
use crate::dial::Dialer;
use crate::failure::Failure;
use crate::serve::say;
use quic_perf::{ALPN, Ask, Datagrams, Error, Tally, Waited};
use quic_proto::config::ClientConfig;
use quic_tokio::{AppError, Connection, Endpoint};
use std::net::SocketAddr;
use std::sync::Arc;

pub(super) async fn run(args: ClientArgs) -> Result<(), Failure> {
    if !args.client.end.version.has_tls() && args.load.connections_at_once() > 1 {
        let what = "connections of Q044 between two ports cannot be told apart: one at a time (--at-once 1 for handshake)";
        return Err(Failure::Usage(what.to_owned()));
    }
    let dialer = Dialer::new(&args.client, ALPN, true)?;
    let (host, port) = args::host_and_port(&args.addr)?;
    // The first connection finds the address that answers, and tells in plain words if none does.
    let (endpoint, first) = dialer.reach(&host, port).await?;
    let address = first.remote_address().map_err(Failure::Connection)?;
    first.close(AppError::from(0), b"found");
    let ours =
        Ours { endpoint: endpoint.clone(), config: Arc::new(dialer.config), address, host: host.into() };
    let report = quic_perf::run(&ours, &args.load).await.map_err(Failure::Measurement)?;
    say(if args.load.json { report.to_json() } else { report.to_string() }.trim_end());
    endpoint.wait_idle().await;
    Ok(())
}

/// quic-tokio, as quic-perf wants it.
#[derive(Clone)]
struct Ours {
    endpoint: Endpoint,
    config: Arc<ClientConfig>,
    address: SocketAddr,
    host: Arc<str>,
}

impl quic_perf::Client for Ours {
    type Connection = Link;

    async fn connect(&self) -> Result<Link, Error> {
        Ok(Link(self.endpoint.connect_with(self.address, &self.host, &self.config)?.await?))
    }

    fn datagrams(&self) -> Option<Datagrams> {
        Some(datagrams(&self.endpoint.socket_stats()))
    }
}

#[derive(Clone)]
struct Link(Connection);

impl quic_perf::Connection for Link {
    async fn exchange(&self, ask: &Ask, tally: &Tally) -> Result<(), Error> {
        let (send, recv) = self.0.open_bi().await?;
        quic_perf::exchange(Half(send), Half(recv), ask, tally).await
    }

    fn close(&self) {
        self.0.close(AppError::from(0), b"done");
    }

    fn waited(&self, sum: &mut Waited) {
        add_waits(&self.0, sum);
    }
}
