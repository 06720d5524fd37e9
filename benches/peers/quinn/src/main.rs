//! The perf protocol on quinn.

use bytes::Bytes;
use peer_common::{ClientArgs, Congestion, IDLE, ServerArgs, Settings, Stack};
use quic_perf::{Ask, Datagrams, Error, RecvHalf, SendHalf, Service, Tally};
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    Connection, Endpoint, EndpointConfig, MtuDiscoveryConfig, RecvStream, SendStream, TransportConfig, VarInt,
};
use std::future::Future;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    peer_common::main::<Quinn>()
}

struct Quinn;

impl Stack for Quinn {
    type Client = Dialer;

    async fn client(args: &ClientArgs) -> Result<Dialer, Error> {
        let tls = QuicClientConfig::try_from(peer_common::rustls_client(args)?)?;
        let mut config = quinn::ClientConfig::new(Arc::new(tls));
        config.transport_config(transport(&args.settings)?);
        let mut endpoint = endpoint(&args.settings, None, ([127, 0, 0, 1], 0).into())?;
        endpoint.set_default_client_config(config);
        Ok(Dialer { endpoint, server: args.addr })
    }

    async fn server(
        args: &ServerArgs,
        service: Arc<Service>,
    ) -> Result<(SocketAddr, impl Future<Output = ()>), Error> {
        let tls = QuicServerConfig::try_from(peer_common::rustls_server(args)?)?;
        let mut config = quinn::ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(transport(&args.settings)?);
        let endpoint = endpoint(&args.settings, Some(config), args.listen)?;
        Ok((endpoint.local_addr()?, accept(endpoint, service)))
    }
}

fn endpoint(
    settings: &Settings,
    server: Option<quinn::ServerConfig>,
    addr: SocketAddr,
) -> Result<Endpoint, Error> {
    let mut config = EndpointConfig::default();
    // By default peers are told that 1472 bytes are the most.
    config.max_udp_payload_size(settings.mtu.max(1472))?;
    let runtime = quinn::default_runtime().ok_or("tokio does not run")?;
    Ok(Endpoint::new(config, server, UdpSocket::bind(addr)?, runtime)?)
}

fn transport(settings: &Settings) -> Result<Arc<TransportConfig>, Error> {
    let window = VarInt::from_u64(settings.window)?;
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(settings.mtu);
    let controller: Arc<dyn ControllerFactory + Send + Sync> = match settings.cc {
        Congestion::Cubic => Arc::new(CubicConfig::default()),
        Congestion::Newreno => Arc::new(NewRenoConfig::default()),
        Congestion::Bbr => Arc::new(BbrConfig::default()),
    };
    let mut transport = TransportConfig::default();
    transport
        .stream_receive_window(window)
        .receive_window(window)
        .send_window(settings.window)
        .max_concurrent_bidi_streams(VarInt::from_u64(quic_perf::STREAMS)?)
        .max_idle_timeout(Some(IDLE.try_into()?))
        .mtu_discovery_config(Some(mtu))
        .congestion_controller_factory(controller);
    Ok(Arc::new(transport))
}

async fn accept(endpoint: Endpoint, service: Arc<Service>) {
    while let Some(incoming) = endpoint.accept().await {
        service.client_comes();
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let Ok(connection) = incoming.await else { return };
            while let Ok((send, recv)) = connection.accept_bi().await {
                tokio::spawn(Arc::clone(&service).stream(Half(send), Half(recv)));
            }
        });
    }
}

#[derive(Clone)]
struct Dialer {
    endpoint: Endpoint,
    server: SocketAddr,
}

impl quic_perf::Client for Dialer {
    type Connection = Link;

    async fn connect(&self) -> Result<Link, Error> {
        Ok(Link(self.endpoint.connect(self.server, "localhost")?.await?))
    }

    fn datagrams(&self) -> Option<Datagrams> {
        None
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
        self.0.close(VarInt::from_u32(0), b"done");
    }
}

struct Half<T>(T);

impl SendHalf for Half<SendStream> {
    async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        Ok(self.0.write_chunk(data).await?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(self.0.finish()?)
    }
}

impl RecvHalf for Half<RecvStream> {
    async fn receive(&mut self, mut look: impl FnMut(&[u8]) + Send) -> Result<Option<usize>, Error> {
        let chunk = self.0.read_chunk(usize::MAX, true).await?.map(|chunk| chunk.bytes);
        Ok(chunk.map(|chunk| {
            look(&chunk);
            chunk.len()
        }))
    }

    fn stop(&mut self) {
        let _ = self.0.stop(VarInt::from_u32(0));
    }
}
