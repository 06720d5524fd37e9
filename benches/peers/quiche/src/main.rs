//! The perf protocol on quiche, which is sans-IO: `endpoint` drives it over a tokio socket with GSO and GRO.

mod endpoint;

use bytes::Bytes;
use endpoint::{Connection, Endpoint, Stream};
use peer_common::{ClientArgs, Congestion, IDLE, ServerArgs, Settings, Stack};
use quic_perf::{Ask, Datagrams, Error, RecvHalf, SendHalf, Service, Tally};
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    peer_common::main::<Quiche>()
}

struct Quiche;

impl Stack for Quiche {
    type Client = Dialer;

    async fn client(args: &ClientArgs) -> Result<Dialer, Error> {
        let mut config = config(&args.settings)?;
        config.load_verify_locations_from_file(&args.ca.to_string_lossy())?;
        config.verify_peer(true);
        let endpoint = Endpoint::bind(([127, 0, 0, 1], 0).into(), config)?;
        Ok(Dialer { endpoint, server: args.addr })
    }

    async fn server(
        args: &ServerArgs,
        service: Arc<Service>,
    ) -> Result<(SocketAddr, impl Future<Output = ()>), Error> {
        let mut config = config(&args.settings)?;
        config.load_cert_chain_from_pem_file(&args.cert.to_string_lossy())?;
        config.load_priv_key_from_pem_file(&args.key.to_string_lossy())?;
        let endpoint = Endpoint::bind(args.listen, config)?;
        Ok((endpoint.local_addr(), accept(endpoint, service)))
    }
}

fn config(settings: &Settings) -> Result<quiche::Config, Error> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.set_application_protos(&[quic_perf::ALPN.as_bytes()])?;
    config.set_max_idle_timeout(IDLE.as_millis() as u64);
    config.set_max_recv_udp_payload_size(usize::from(settings.mtu));
    config.set_max_send_udp_payload_size(usize::from(settings.mtu));
    config.set_initial_max_data(settings.window);
    config.set_initial_max_stream_data_bidi_local(settings.window);
    config.set_initial_max_stream_data_bidi_remote(settings.window);
    config.set_max_connection_window(settings.window);
    config.set_max_stream_window(settings.window);
    config.set_initial_max_streams_bidi(quic_perf::STREAMS);
    // Its pacing is for sockets with SO_TXTIME.
    config.enable_pacing(false);
    config.set_cc_algorithm(match settings.cc {
        Congestion::Cubic => quiche::CongestionControlAlgorithm::CUBIC,
        Congestion::Newreno => quiche::CongestionControlAlgorithm::Reno,
        Congestion::Bbr => quiche::CongestionControlAlgorithm::Bbr2Gcongestion,
    });
    Ok(config)
}

async fn accept(endpoint: Endpoint, service: Arc<Service>) {
    loop {
        let connection = endpoint.accept().await;
        service.client_comes();
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            while let Some(stream) = connection.accept().await {
                let stream = Arc::new(stream);
                tokio::spawn(Arc::clone(&service).stream(Half(Arc::clone(&stream)), Half(stream)));
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
        Ok(Link(Arc::new(self.endpoint.connect(self.server, "localhost").await?)))
    }

    fn datagrams(&self) -> Option<Datagrams> {
        None
    }
}

#[derive(Clone)]
struct Link(Arc<Connection>);

impl quic_perf::Connection for Link {
    async fn exchange(&self, ask: &Ask, tally: &Tally) -> Result<(), Error> {
        let stream = Arc::new(self.0.open());
        quic_perf::exchange(Half(Arc::clone(&stream)), Half(stream), ask, tally).await
    }

    fn close(&self) {
        self.0.close();
    }
}

struct Half(Arc<Stream>);

impl SendHalf for Half {
    async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        self.0.write_all(&data).await
    }

    fn finish(&mut self) -> Result<(), Error> {
        self.0.finish()
    }
}

impl RecvHalf for Half {
    async fn receive(&mut self, look: impl FnMut(&[u8]) + Send) -> Result<Option<usize>, Error> {
        self.0.read(look).await
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}
