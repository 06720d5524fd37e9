//! An end that quic-proto drives.

use crate::link::{Batch, End, MAX_DATAGRAM};
use crate::{ALPN, BATCH, CONNECTION_WINDOW, Certificate, SEND_BUFFER, SERVER_NAME, SOURCE, STREAM_WINDOW};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::crypto::rustls::{
    CipherChoice, ClientOptions, Identity, RustlsClient, RustlsServer, ServerOptions,
};
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::id::{Dir, StreamId};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::streams::ReadError;
use quic_proto::time::{Instant, UnixTime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// An end of ours.
pub struct Ours {
    endpoint: Endpoint,
    peer: SocketAddr,
    connection: Option<ConnectionHandle>,
    stream: Option<StreamId>,
    to_write: u64,
    received: u64,
    done: bool,
}

fn transport() -> Arc<TransportConfig> {
    let config = TransportConfig::default()
        .mtu_discovery(false)
        .stream_window(STREAM_WINDOW.into(), STREAM_WINDOW.into())
        .connection_window(CONNECTION_WINDOW.into(), CONNECTION_WINDOW.into())
        .send_buffer(SEND_BUFFER.into());
    config.build().expect("a sound configuration")
}

impl Ours {
    fn new(endpoint: Endpoint, peer: SocketAddr, to_write: u64) -> Self {
        Self { endpoint, peer, connection: None, stream: None, to_write, received: 0, done: false }
    }

    /// A client that sends `bytes`.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn client(server: SocketAddr, bytes: u64) -> Self {
        let options = ClientOptions {
            alpn: vec![ALPN.to_vec()],
            ciphers: vec![CipherChoice::Aes128Gcm],
            ..ClientOptions::default()
        };
        let tls = RustlsClient::danger_accept_any_certificate(options).expect("a sound configuration");
        let config = ClientConfig::new(Arc::new(tls)).transport(transport());
        let rng = Box::new(SeededRng::from_u64(1));
        let mut endpoint = Endpoint::new(EndpointConfig::new(&[1; 32]), None, rng, UnixTime::from_secs(1));
        let connection = endpoint
            .connect(Instant::EPOCH, FourTuple::to(server), SERVER_NAME, &config)
            .expect("a sound configuration");
        Self { connection: Some(connection), ..Self::new(endpoint, server, bytes) }
    }

    /// A server that reads.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn server(client: SocketAddr, certificate: &Certificate) -> Self {
        let identity = Identity {
            chain: vec![CertificateDer::from(certificate.chain.clone())],
            key: PrivateKeyDer::Pkcs8(certificate.key.clone().into()),
        };
        let options = ServerOptions {
            alpn: vec![ALPN.to_vec()],
            ciphers: vec![CipherChoice::Aes128Gcm],
            ..ServerOptions::default()
        };
        let tls = RustlsServer::with_identity(identity, options).expect("a sound configuration");
        let config = Arc::new(ServerConfig::new(Arc::new(tls), &[2; 32]).transport(transport()));
        let rng = Box::new(SeededRng::from_u64(2));
        let config_of_endpoint = EndpointConfig::new(&[2; 32]);
        let endpoint = Endpoint::new(config_of_endpoint, Some(config), rng, UnixTime::from_secs(1));
        Self::new(endpoint, client, 0)
    }

    /// Lets the application act.
    fn drive(&mut self, now: Instant) {
        while let Some(incoming) = self.endpoint.poll_incoming() {
            self.connection = Some(self.endpoint.accept(now, incoming).expect("the only client"));
        }
        while let Some((_, event)) = self.endpoint.poll_event() {
            match event {
                Event::Connected if self.to_write > 0 => {
                    self.stream = self.endpoint_connection().open(Dir::Uni);
                    self.write();
                }
                Event::Stream(StreamEvent::Writable(_)) => self.write(),
                Event::Stream(StreamEvent::Opened(_)) => {
                    self.stream = self.endpoint_connection().accept(Dir::Uni);
                    self.read();
                }
                Event::Stream(StreamEvent::Readable(_)) => self.read(),
                Event::Stream(StreamEvent::Finished(_)) => self.done = true,
                _ => {}
            }
        }
    }

    fn endpoint_connection(&mut self) -> &mut quic_proto::connection::Connection {
        let handle = self.connection.expect("there is one");
        self.endpoint.connection(handle).expect("it lasts as long as the transfer")
    }

    fn write(&mut self) {
        let (Some(id), mut left) = (self.stream, self.to_write) else { return };
        let connection = self.endpoint_connection();
        let mut stream = connection.send_stream(id).expect("it is open");
        while left > 0 {
            let some = &SOURCE[..SOURCE.len().min(left as usize)];
            let Ok(written) = stream.write(some) else { break };
            left -= written as u64;
            if left == 0 {
                stream.finish().expect("it is open");
            }
        }
        self.to_write = left;
    }

    fn read(&mut self) {
        let Some(id) = self.stream else { return };
        let mut received = 0;
        let Ok(mut stream) = self.endpoint_connection().recv_stream(id) else { return };
        let done = loop {
            match stream.read_bytes(usize::MAX) {
                Ok(Some(bytes)) => received += bytes.len() as u64,
                Ok(None) => break true,
                Err(ReadError::Blocked) => break false,
                Err(error) => panic!("the stream broke: {error}"),
            }
        };
        self.received += received;
        self.done |= done;
    }
}

impl End for Ours {
    fn receive(&mut self, now: u64, batch: &mut Batch) {
        let now = Instant::from_nanos(now);
        for payload in batch.data[..batch.len].chunks_mut(batch.segment) {
            let datagram = Datagram { path: FourTuple::to(self.peer), ecn: None, payload };
            self.endpoint.handle_datagram(now, datagram);
        }
        self.drive(now);
    }

    fn transmit(&mut self, now: u64, batch: &mut Batch) -> bool {
        const MAX_SEGMENTS: NonZeroUsize = NonZeroUsize::new(BATCH).expect("it is not zero");
        batch.data.resize(BATCH * MAX_DATAGRAM, 0);
        let transmit = self.endpoint.poll_transmit(Instant::from_nanos(now), &mut batch.data, MAX_SEGMENTS);
        let Some(transmit) = transmit else { return false };
        batch.len = transmit.len;
        batch.segment = transmit.segment_size.map_or(transmit.len, |size| usize::from(size.get()));
        true
    }

    fn timeout(&mut self, now: u64) {
        let now = Instant::from_nanos(now);
        self.endpoint.handle_timeout(now);
        self.drive(now);
    }

    fn next_timeout(&mut self) -> Option<u64> {
        self.endpoint.next_timeout().map(Instant::as_nanos)
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn is_done(&self) -> bool {
        self.done
    }
}
