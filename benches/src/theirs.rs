//! An end that quinn-proto drives, as the quinn crate does it.

use crate::link::{Batch, End};
use crate::{ALPN, BATCH, CONNECTION_WINDOW, Certificate, SEND_BUFFER, SERVER_NAME, SOURCE, STREAM_WINDOW};
use bytes::BytesMut;
use quinn_proto::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig, Event,
    ServerConfig, StreamEvent, StreamId, TransportConfig,
};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{CipherSuite, DigitallySignedStruct, Error, SignatureScheme};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An end of quinn-proto.
pub struct Theirs {
    endpoint: Endpoint,
    /// The instant that is zero.
    epoch: Instant,
    peer: SocketAddr,
    connection: Option<(ConnectionHandle, Connection)>,
    stream: Option<StreamId>,
    to_write: u64,
    received: u64,
    done: bool,
    /// What the endpoint itself answers goes here; it has nothing to answer in these transfers.
    scratch: Vec<u8>,
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .mtu_discovery_config(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_BUFFER.into());
    Arc::new(config)
}

/// The provider with AES-128-GCM only.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

impl Theirs {
    fn new(endpoint: Endpoint, epoch: Instant, peer: SocketAddr, to_write: u64) -> Self {
        Self {
            endpoint,
            epoch,
            peer,
            connection: None,
            stream: None,
            to_write,
            received: 0,
            done: false,
            scratch: Vec::new(),
        }
    }

    /// A client that sends `bytes`.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn client(epoch: Instant, server: SocketAddr, bytes: u64) -> Self {
        let mut tls = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("a sound configuration")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AcceptAny(provider())))
            .with_no_client_auth();
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = QuicClientConfig::try_from(tls).expect("a sound configuration");
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(transport());
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, Some([1; 32]));
        let connection = endpoint.connect(epoch, config, server, SERVER_NAME).expect("a sound configuration");
        Self { connection: Some(connection), ..Self::new(endpoint, epoch, server, bytes) }
    }

    /// A server that reads.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn server(epoch: Instant, client: SocketAddr, certificate: &Certificate) -> Self {
        let chain = vec![CertificateDer::from(certificate.chain.clone())];
        let key = PrivateKeyDer::Pkcs8(certificate.key.clone().into());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .expect("a sound configuration")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a sound configuration");
        tls.alpn_protocols = vec![ALPN.to_vec()];
        let tls = QuicServerConfig::try_from(tls).expect("a sound configuration");
        let mut config = ServerConfig::with_crypto(Arc::new(tls));
        config.transport_config(transport());
        let endpoint_config = Arc::new(EndpointConfig::default());
        let endpoint = Endpoint::new(endpoint_config, Some(Arc::new(config)), false, Some([2; 32]));
        Self::new(endpoint, epoch, client, 0)
    }

    fn at(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }

    fn connection(&mut self) -> &mut Connection {
        &mut self.connection.as_mut().expect("there is one").1
    }

    /// Lets the endpoint and the application act.
    fn drive(&mut self) {
        let Some((handle, connection)) = &mut self.connection else { return };
        while let Some(event) = connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(*handle, event) {
                connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection().poll() {
            match event {
                Event::Connected if self.to_write > 0 => {
                    self.stream = self.connection().streams().open(Dir::Uni);
                    self.write();
                }
                Event::Stream(StreamEvent::Writable { .. }) => self.write(),
                Event::Stream(StreamEvent::Opened { .. }) => {
                    self.stream = self.connection().streams().accept(Dir::Uni);
                    self.read();
                }
                Event::Stream(StreamEvent::Readable { .. }) => self.read(),
                Event::Stream(StreamEvent::Finished { .. }) => self.done = true,
                _ => {}
            }
        }
    }

    fn write(&mut self) {
        let (Some(id), mut left) = (self.stream, self.to_write) else { return };
        let mut stream = self.connection().send_stream(id);
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
        let mut stream = self.connection().recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        let done = loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => received += chunk.bytes.len() as u64,
                Ok(None) => break true,
                Err(quinn_proto::ReadError::Blocked) => break false,
                Err(error) => panic!("the stream broke: {error}"),
            }
        };
        let _ = chunks.finalize();
        self.received += received;
        self.done |= done;
    }
}

impl End for Theirs {
    fn receive(&mut self, now: u64, batch: &mut Batch) {
        let now = self.at(now);
        // The interface wants to own what came: one buffer a batch, parted without a copy.
        let mut data = BytesMut::from(&batch.data[..batch.len]);
        while !data.is_empty() {
            let datagram = data.split_to(batch.segment.min(data.len()));
            match self.endpoint.handle(now, self.peer, None, None, datagram, &mut self.scratch) {
                Some(DatagramEvent::ConnectionEvent(_, event)) => self.connection().handle_event(event),
                Some(DatagramEvent::NewConnection(incoming)) => {
                    let accepted = self.endpoint.accept(incoming, now, &mut self.scratch, None);
                    self.connection = Some(accepted.expect("the only client"));
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
        }
        self.drive();
    }

    fn transmit(&mut self, now: u64, batch: &mut Batch) -> bool {
        let now = self.at(now);
        let Some((_, connection)) = &mut self.connection else { return false };
        batch.data.clear();
        let Some(transmit) = connection.poll_transmit(now, BATCH, &mut batch.data) else { return false };
        batch.len = transmit.size;
        batch.segment = transmit.segment_size.unwrap_or(transmit.size);
        true
    }

    fn timeout(&mut self, now: u64) {
        let now = self.at(now);
        self.connection().handle_timeout(now);
        self.drive();
    }

    fn next_timeout(&mut self) -> Option<u64> {
        let timeout = self.connection.as_mut()?.1.poll_timeout()?;
        Some(timeout.saturating_duration_since(self.epoch).as_nanos() as u64)
    }

    fn received(&self) -> u64 {
        self.received
    }

    fn is_done(&self) -> bool {
        self.done
    }
}

/// Believes every certificate.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("QUIC has no TLS 1.2".into()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
