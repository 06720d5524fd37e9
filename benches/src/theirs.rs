//! quinn-proto as a [`Library`], driven as the quinn crate drives it.

use crate::library::{self, Library, News};
use crate::link::Batch;
use crate::{ALPN, BATCH, CONNECTION_WINDOW, Certificate, SEND_BUFFER, SERVER_NAME, STREAM_WINDOW, STREAMS};
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
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An endpoint of quinn-proto.
pub struct Theirs {
    endpoint: Endpoint,
    /// The instant that is zero.
    epoch: Instant,
    peer: SocketAddr,
    client: Option<ClientConfig>,
    /// By handle.
    connections: Vec<Slot>,
    /// Connections to be asked for datagrams and events.
    dirty: VecDeque<ConnectionHandle>,
    eventful: VecDeque<ConnectionHandle>,
    deadlines: BTreeSet<(Instant, ConnectionHandle)>,
    /// What the endpoint itself answers goes here; it has nothing to answer in these runs.
    scratch: Vec<u8>,
}

struct Slot {
    connection: Connection,
    dirty: bool,
    eventful: bool,
    deadline: Option<Instant>,
}

fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .mtu_discovery_config(None)
        .max_idle_timeout(None)
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .max_concurrent_bidi_streams(STREAMS.into())
        .send_window(SEND_BUFFER.into());
    Arc::new(config)
}

/// The provider with AES-128-GCM only.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

impl Theirs {
    fn new(endpoint: Endpoint, epoch: Instant, peer: SocketAddr) -> Self {
        Self {
            endpoint,
            epoch,
            peer,
            client: None,
            connections: Vec::new(),
            dirty: VecDeque::new(),
            eventful: VecDeque::new(),
            deadlines: BTreeSet::new(),
            scratch: Vec::new(),
        }
    }

    /// A client of the server at this address.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn client(epoch: Instant, server: SocketAddr) -> Self {
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
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, Some([1; 32]));
        Self { client: Some(config), ..Self::new(endpoint, epoch, server) }
    }

    /// A server for the client at this address.
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
        Self::new(endpoint, epoch, client)
    }

    fn at(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }

    fn connection(&mut self, handle: ConnectionHandle) -> &mut Connection {
        self.touch(handle);
        &mut self.connections[handle.0].connection
    }

    fn add(&mut self, handle: ConnectionHandle, connection: Connection) {
        assert_eq!(handle.0, self.connections.len(), "no connection ends in a run");
        self.connections.push(Slot { connection, dirty: false, eventful: false, deadline: None });
        self.touch(handle);
    }

    /// Something was done to this connection.
    fn touch(&mut self, handle: ConnectionHandle) {
        let slot = &mut self.connections[handle.0];
        if !std::mem::replace(&mut slot.dirty, true) {
            self.dirty.push_back(handle);
        }
        if !std::mem::replace(&mut slot.eventful, true) {
            self.eventful.push_back(handle);
        }
    }
}

fn dir(dir: library::Dir) -> Dir {
    match dir {
        library::Dir::Bi => Dir::Bi,
        library::Dir::Uni => Dir::Uni,
    }
}

fn dir_of(dir: Dir) -> library::Dir {
    match dir {
        Dir::Bi => library::Dir::Bi,
        Dir::Uni => library::Dir::Uni,
    }
}

impl Library for Theirs {
    type Connection = ConnectionHandle;
    type Stream = StreamId;

    fn receive(&mut self, now: u64, batch: &mut Batch) {
        let now = self.at(now);
        // The interface wants to own what came: one buffer a batch, parted without a copy.
        let mut data = BytesMut::from(&batch.data[..batch.len]);
        while !data.is_empty() {
            let datagram = data.split_to(batch.segment.min(data.len()));
            match self.endpoint.handle(now, self.peer, None, None, datagram, &mut self.scratch) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    self.connection(handle).handle_event(event);
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    let accepted = self.endpoint.accept(incoming, now, &mut self.scratch, None);
                    let (handle, connection) = accepted.expect("there is room for all");
                    self.add(handle, connection);
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
        }
    }

    fn transmit(&mut self, now: u64, batch: &mut Batch) -> bool {
        let now = self.at(now);
        while let Some(handle) = self.dirty.pop_front() {
            let slot = &mut self.connections[handle.0];
            batch.data.clear();
            if let Some(transmit) = slot.connection.poll_transmit(now, BATCH, &mut batch.data) {
                batch.len = transmit.size;
                batch.segment = transmit.segment_size.unwrap_or(transmit.size);
                self.dirty.push_back(handle);
                return true;
            }
            slot.dirty = false;
            let deadline = slot.connection.poll_timeout();
            let old = std::mem::replace(&mut slot.deadline, deadline);
            if old != deadline {
                self.deadlines.extend(deadline.map(|deadline| (deadline, handle)));
                old.map(|old| self.deadlines.remove(&(old, handle)));
            }
        }
        false
    }

    fn timeout(&mut self, now: u64) {
        let now = self.at(now);
        while let Some((_, handle)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now)
        {
            self.deadlines.pop_first();
            self.connections[handle.0].deadline = None;
            self.connection(handle).handle_timeout(now);
        }
    }

    fn next_timeout(&mut self) -> Option<u64> {
        let (deadline, _) = self.deadlines.first()?;
        Some(deadline.saturating_duration_since(self.epoch).as_nanos() as u64)
    }

    fn connect(&mut self, now: u64) {
        let now = self.at(now);
        let config = self.client.clone().expect("it is a client");
        let made = self.endpoint.connect(now, config, self.peer, SERVER_NAME);
        let (handle, connection) = made.expect("a sound configuration");
        self.add(handle, connection);
    }

    fn poll(&mut self, _now: u64) -> Option<(ConnectionHandle, News<StreamId>)> {
        while let Some(&handle) = self.eventful.front() {
            let connection = &mut self.connections[handle.0].connection;
            while let Some(event) = connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(handle, event) {
                    connection.handle_event(event);
                }
            }
            while let Some(event) = connection.poll() {
                let news = match event {
                    Event::Connected => News::Connected,
                    Event::Stream(StreamEvent::Opened { dir }) => News::Opened(dir_of(dir)),
                    Event::Stream(StreamEvent::Available { dir }) => News::Available(dir_of(dir)),
                    Event::Stream(StreamEvent::Readable { id }) => News::Readable(id),
                    Event::Stream(StreamEvent::Writable { id }) => News::Writable(id),
                    Event::Stream(StreamEvent::Finished { id }) => News::Finished(id),
                    Event::ConnectionLost { reason } => panic!("a connection ended: {reason}"),
                    _ => continue,
                };
                return Some((handle, news));
            }
            self.connections[handle.0].eventful = false;
            self.eventful.pop_front();
        }
        None
    }

    fn open(&mut self, connection: ConnectionHandle, direction: library::Dir) -> Option<StreamId> {
        self.connection(connection).streams().open(dir(direction))
    }

    fn accept(&mut self, connection: ConnectionHandle, direction: library::Dir) -> Option<StreamId> {
        self.connection(connection).streams().accept(dir(direction))
    }

    fn write(&mut self, connection: ConnectionHandle, stream: StreamId, data: &[u8]) -> usize {
        self.connection(connection).send_stream(stream).write(data).unwrap_or(0)
    }

    fn finish(&mut self, connection: ConnectionHandle, stream: StreamId) {
        self.connection(connection).send_stream(stream).finish().expect("it is open");
    }

    fn read(&mut self, connection: ConnectionHandle, stream: StreamId) -> library::Read {
        let mut read = library::Read { len: 0, end: false };
        let mut stream = self.connection(connection).recv_stream(stream);
        let Ok(mut chunks) = stream.read(true) else { return read };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => read.len += chunk.bytes.len() as u64,
                Ok(None) => {
                    read.end = true;
                    break;
                }
                Err(quinn_proto::ReadError::Blocked) => break,
                Err(error) => panic!("the stream broke: {error}"),
            }
        }
        let _ = chunks.finalize();
        read
    }

    fn reported_memory(&self) -> Option<u64> {
        None
    }
}

/// Believes every certificate.
#[derive(Debug)]
pub(crate) struct AcceptAny(pub(crate) Arc<CryptoProvider>);

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
