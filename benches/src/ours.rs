//! quic-proto as a [`Library`].

use crate::library::{self, Library, News};
use crate::link::{Batch, MAX_DATAGRAM};
use crate::{ALPN, BATCH, CONNECTION_WINDOW, Certificate, SEND_BUFFER, SERVER_NAME, STREAM_WINDOW, STREAMS};
use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig, TransportConfig};
use quic_proto::connection::Connection;
use quic_proto::crypto::rustls::{
    CipherChoice, ClientOptions, Identity, RustlsClient, RustlsServer, ServerOptions,
};
use quic_proto::endpoint::{ConnectionHandle, Endpoint};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::gquic::{self, ProofSource, ServerTrust};
use quic_proto::id::{Dir, StreamId};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::rng::SeededRng;
use quic_proto::streams::ReadError;
use quic_proto::time::{Instant, UnixTime};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// An endpoint of ours.
pub struct Ours {
    endpoint: Endpoint,
    peer: SocketAddr,
    client: Option<ClientConfig>,
    connections: Vec<ConnectionHandle>,
    /// The direction of streams that go one way: Google QUIC has no unidirectional ones.
    one_way: Dir,
}

fn transport() -> Arc<TransportConfig> {
    let config = TransportConfig::default()
        .mtu_discovery(false)
        .max_idle_timeout(None)
        .stream_window(STREAM_WINDOW.into(), STREAM_WINDOW.into())
        .connection_window(CONNECTION_WINDOW.into(), CONNECTION_WINDOW.into())
        .max_bidi_streams(STREAMS.into())
        .send_buffer(SEND_BUFFER.into());
    config.build().expect("a sound configuration")
}

fn identity(certificate: &Certificate) -> Identity {
    Identity {
        chain: vec![CertificateDer::from(certificate.chain.clone())],
        key: PrivateKeyDer::Pkcs8(certificate.key.clone().into()),
    }
}

impl Ours {
    /// A client of the server at this address.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn client(server: SocketAddr) -> Self {
        let options = ClientOptions {
            alpn: vec![ALPN.to_vec()],
            ciphers: vec![CipherChoice::Aes128Gcm],
            ..ClientOptions::default()
        };
        let tls = RustlsClient::danger_accept_any_certificate(options).expect("a sound configuration");
        Self::with_client(server, ClientConfig::new(Arc::new(tls)))
    }

    /// A server for the client at this address.
    ///
    /// # Panics
    /// If the configuration is refused.
    pub fn server(client: SocketAddr, certificate: &Certificate) -> Self {
        let options = ServerOptions {
            alpn: vec![ALPN.to_vec()],
            ciphers: vec![CipherChoice::Aes128Gcm],
            ..ServerOptions::default()
        };
        let tls = RustlsServer::with_identity(identity(certificate), options).expect("a sound configuration");
        Self::with_server(client, ServerConfig::new(Arc::new(tls), &[2; 32]))
    }

    /// A client that speaks Google QUIC.
    pub fn q044_client(server: SocketAddr) -> Self {
        let settings = gquic::ClientConfig::new(ServerTrust::danger_accept_any_certificate());
        Self { one_way: Dir::Bi, ..Self::with_client(server, ClientConfig::of(Arc::new(settings))) }
    }

    /// A server that speaks Google QUIC.
    ///
    /// # Panics
    /// If the certificate is of no use for it.
    pub fn q044_server(client: SocketAddr, certificate: &Certificate) -> Self {
        let proof = ProofSource::from_identity(identity(certificate)).expect("a key that signs");
        let settings = gquic::ServerConfig::new(proof, &[2; 32]);
        let config = ServerConfig::of(Arc::new(settings), &[2; 32]);
        Self { one_way: Dir::Bi, ..Self::with_server(client, config) }
    }

    fn with_client(server: SocketAddr, config: ClientConfig) -> Self {
        let client = Some(config.transport(transport()));
        let rng = Box::new(SeededRng::from_u64(1));
        let endpoint = Endpoint::new(EndpointConfig::new(&[1; 32]), None, rng, UnixTime::from_secs(1));
        Self { endpoint, peer: server, client, connections: Vec::new(), one_way: Dir::Uni }
    }

    fn with_server(client: SocketAddr, config: ServerConfig) -> Self {
        let config = Arc::new(config.transport(transport()));
        let rng = Box::new(SeededRng::from_u64(2));
        let config_of_endpoint = EndpointConfig::new(&[2; 32]);
        let endpoint = Endpoint::new(config_of_endpoint, Some(config), rng, UnixTime::from_secs(1));
        Self { endpoint, peer: client, client: None, connections: Vec::new(), one_way: Dir::Uni }
    }

    fn dir(&self, dir: library::Dir) -> Dir {
        match dir {
            library::Dir::Bi => Dir::Bi,
            library::Dir::Uni => self.one_way,
        }
    }

    fn dir_of(&self, dir: Dir) -> library::Dir {
        if dir == self.one_way { library::Dir::Uni } else { library::Dir::Bi }
    }

    fn connection(&mut self, handle: ConnectionHandle) -> &mut Connection {
        self.endpoint.connection(handle).expect("no connection ends in a run")
    }
}

impl Library for Ours {
    type Connection = ConnectionHandle;
    type Stream = StreamId;

    fn receive(&mut self, now: u64, batch: &mut Batch) {
        let now = Instant::from_nanos(now);
        for payload in batch.data[..batch.len].chunks_mut(batch.segment) {
            let datagram = Datagram { path: FourTuple::to(self.peer), ecn: None, payload };
            self.endpoint.handle_datagram(now, datagram);
        }
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
        self.endpoint.handle_timeout(Instant::from_nanos(now));
    }

    fn next_timeout(&mut self) -> Option<u64> {
        self.endpoint.next_timeout().map(Instant::as_nanos)
    }

    fn connect(&mut self, now: u64) {
        if self.one_way == Dir::Bi {
            // What servers of Google QUIC send bears no id. It is for the connection that came last, to a port of its own; of which the client
            // remembers nothing either.
            self.peer.set_port(self.peer.port() + 1);
        }
        let (now, to) = (Instant::from_nanos(now), FourTuple::to(self.peer));
        let config = self.client.as_ref().expect("it is a client");
        let handle = self.endpoint.connect(now, to, SERVER_NAME, config).expect("a sound configuration");
        self.connections.push(handle);
    }

    fn poll(&mut self, now: u64) -> Option<(ConnectionHandle, News<StreamId>)> {
        while let Some(incoming) = self.endpoint.poll_incoming() {
            let accepted = self.endpoint.accept(Instant::from_nanos(now), incoming);
            self.connections.push(accepted.expect("there is room for all"));
        }
        while let Some((handle, event)) = self.endpoint.poll_event() {
            let news = match event {
                Event::Connected => News::Connected,
                Event::Stream(StreamEvent::Opened(dir)) => News::Opened(self.dir_of(dir)),
                Event::Stream(StreamEvent::Available(dir)) => News::Available(self.dir_of(dir)),
                Event::Stream(StreamEvent::Readable(id)) => News::Readable(id),
                Event::Stream(StreamEvent::Writable(id)) => News::Writable(id),
                Event::Stream(StreamEvent::Finished(id)) => News::Finished(id),
                Event::Closed(reason) => panic!("a connection ended: {reason}"),
                _ => continue,
            };
            return Some((handle, news));
        }
        None
    }

    fn open(&mut self, connection: ConnectionHandle, direction: library::Dir) -> Option<StreamId> {
        let dir = self.dir(direction);
        self.connection(connection).open(dir).ok()
    }

    fn accept(&mut self, connection: ConnectionHandle, direction: library::Dir) -> Option<StreamId> {
        let dir = self.dir(direction);
        self.connection(connection).accept(dir)
    }

    fn write(&mut self, connection: ConnectionHandle, stream: StreamId, data: &[u8]) -> usize {
        let mut stream = self.connection(connection).send_stream(stream).expect("it is open");
        stream.write(data).unwrap_or(0)
    }

    fn finish(&mut self, connection: ConnectionHandle, stream: StreamId) {
        let mut stream = self.connection(connection).send_stream(stream).expect("it is open");
        stream.finish().expect("it is open");
    }

    fn read(&mut self, connection: ConnectionHandle, stream: StreamId) -> library::Read {
        let mut read = library::Read { len: 0, end: false };
        let Ok(mut stream) = self.connection(connection).recv_stream(stream) else { return read };
        loop {
            match stream.read_bytes(usize::MAX) {
                Ok(Some(bytes)) => read.len += bytes.len() as u64,
                Ok(None) => return library::Read { end: true, ..read },
                // News of a stream may follow the reading of its end.
                Err(ReadError::Blocked | ReadError::Closed) => return read,
                Err(error) => panic!("the stream broke: {error}"),
            }
        }
    }

    fn reported_memory(&self) -> Option<u64> {
        let connections = self.connections.iter().filter_map(|handle| self.endpoint.get(*handle));
        Some(connections.map(|connection| connection.stats().memory).sum())
    }
}
