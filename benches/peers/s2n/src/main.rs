//! The perf protocol on s2n-quic.

use bytes::Bytes;
use peer_common::{ClientArgs, Congestion, IDLE, ServerArgs, Settings, Stack};
use quic_perf::{Ask, Datagrams, Error, RecvHalf, SendHalf, Service, Tally};
use s2n_quic::client::Connect;
use s2n_quic::connection::Handle;
use s2n_quic::provider::congestion_controller::{Bbr, Cubic};
use s2n_quic::provider::limits::Limits;
use s2n_quic::provider::{io, tls};
use s2n_quic::stream::{ReceiveStream, SendStream};
use s2n_quic::{Client, Server};
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

/// s2n-quic counts the IP and UDP headers.
const HEADERS: u16 = 28;

fn main() -> ExitCode {
    peer_common::main::<S2n>()
}

struct S2n;

impl Stack for S2n {
    type Client = Dialer;

    async fn client(args: &ClientArgs) -> Result<Dialer, Error> {
        let tls = tls::default::Client::builder()
            .with_certificate(args.ca.as_path())?
            .with_application_protocols([quic_perf::ALPN].iter())?
            .build()?;
        let io = io::tokio::Builder::default()
            .with_receive_address(([127, 0, 0, 1], 0).into())?
            .with_max_mtu(args.settings.mtu + HEADERS)?
            .build()?;
        let builder = Client::builder().with_tls(tls)?.with_io(io)?.with_limits(limits(&args.settings)?)?;
        let client = match args.settings.cc {
            Congestion::Cubic => builder.with_congestion_controller(Cubic::default())?.start()?,
            Congestion::Bbr => builder.with_congestion_controller(Bbr::default())?.start()?,
            Congestion::Newreno => return Err("s2n-quic has no NewReno".into()),
        };
        Ok(Dialer { client, server: args.addr })
    }

    async fn server(
        args: &ServerArgs,
        service: Arc<Service>,
    ) -> Result<(SocketAddr, impl Future<Output = ()>), Error> {
        let tls = tls::default::Server::builder()
            .with_certificate(args.cert.as_path(), args.key.as_path())?
            .with_application_protocols([quic_perf::ALPN].iter())?
            .build()?;
        let io = io::tokio::Builder::default()
            .with_receive_address(args.listen)?
            .with_max_mtu(args.settings.mtu + HEADERS)?
            .build()?;
        let builder = Server::builder().with_tls(tls)?.with_io(io)?.with_limits(limits(&args.settings)?)?;
        let server = match args.settings.cc {
            Congestion::Cubic => builder.with_congestion_controller(Cubic::default())?.start()?,
            Congestion::Bbr => builder.with_congestion_controller(Bbr::default())?.start()?,
            Congestion::Newreno => return Err("s2n-quic has no NewReno".into()),
        };
        Ok((server.local_addr()?, accept(server, service)))
    }
}

fn limits(settings: &Settings) -> Result<Limits, Error> {
    let window = settings.window;
    let limits = Limits::new()
        .with_data_window(window)?
        .with_bidirectional_local_data_window(window)?
        .with_bidirectional_remote_data_window(window)?
        .with_max_send_buffer_size(u32::try_from(window)?)?
        .with_max_open_local_bidirectional_streams(quic_perf::STREAMS)?
        .with_max_open_remote_bidirectional_streams(quic_perf::STREAMS)?
        .with_max_idle_timeout(IDLE)?;
    Ok(limits)
}

async fn accept(mut server: Server, service: Arc<Service>) {
    while let Some(mut connection) = server.accept().await {
        service.client_comes();
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            while let Ok(Some(stream)) = connection.accept_bidirectional_stream().await {
                let (recv, send) = stream.split();
                tokio::spawn(Arc::clone(&service).stream(Half(send), Half(recv)));
            }
        });
    }
}

#[derive(Clone)]
struct Dialer {
    client: Client,
    server: SocketAddr,
}

impl quic_perf::Client for Dialer {
    type Connection = Link;

    async fn connect(&self) -> Result<Link, Error> {
        let connection = self.client.connect(Connect::new(self.server).with_server_name("localhost")).await?;
        // The accepting half would close the connection when it is dropped last; the handle keeps it open.
        Ok(Link(connection.handle()))
    }

    fn datagrams(&self) -> Option<Datagrams> {
        None
    }
}

#[derive(Clone)]
struct Link(Handle);

impl quic_perf::Connection for Link {
    async fn exchange(&self, ask: &Ask, tally: &Tally) -> Result<(), Error> {
        let (recv, send) = self.0.clone().open_bidirectional_stream().await?.split();
        quic_perf::exchange(Half(send), Half(recv), ask, tally).await
    }

    fn close(&self) {
        self.0.close(0_u8.into());
    }
}

struct Half<T>(T);

impl SendHalf for Half<SendStream> {
    async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        Ok(self.0.send(data).await?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(self.0.finish()?)
    }
}

impl RecvHalf for Half<ReceiveStream> {
    async fn receive(&mut self, mut look: impl FnMut(&[u8]) + Send) -> Result<Option<usize>, Error> {
        let chunk = self.0.receive().await?;
        Ok(chunk.map(|chunk| {
            look(&chunk);
            chunk.len()
        }))
    }

    fn stop(&mut self) {
        let _ = self.0.stop_sending(0_u8.into());
    }
}
