//! quiche as a [`Library`].

use benches::library::{Dir, Library, News, Read};
use benches::link::Batch;
use benches::{ALPN, BATCH, CONNECTION_WINDOW, Certificate, SERVER_NAME, STREAM_WINDOW, STREAMS};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;

/// As the other libraries in these workloads.
const PAYLOAD: usize = 1200;
const CID: usize = 16;

/// Connections of one end.
pub(crate) struct Quiche {
    config: quiche::Config,
    local: SocketAddr,
    peer: SocketAddr,
    connections: Vec<Slot>,
    by_cid: HashMap<Vec<u8>, usize>,
    /// Connections that may have something to send.
    dirty: VecDeque<usize>,
    scratch: Vec<u8>,
}

struct Slot {
    quic: quiche::Connection,
    dirty: bool,
    connected: bool,
    /// The next streams that this side opens, by direction.
    local: [u64; 2],
    /// Those that the peer opened and nobody accepted, by direction, and the next of each.
    arrived: [VecDeque<u64>; 2],
    remote: [u64; 2],
    /// Those whose end was written and has not arrived.
    finishing: Vec<u64>,
    news: VecDeque<News<u64>>,
}

fn index(dir: Dir) -> usize {
    match dir {
        Dir::Bi => 0,
        Dir::Uni => 1,
    }
}

impl Quiche {
    /// A client and a server.
    pub(crate) fn ends(client: SocketAddr, server: SocketAddr, certificate: &Certificate) -> [Self; 2] {
        let folder = std::env::temp_dir().join(format!("sansio-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the certificate");
        let file = |name: &str, label: &str, der: &[u8]| {
            let path = folder.join(name).display().to_string();
            std::fs::write(&path, pem(label, der)).expect("a file for the certificate");
            path
        };
        let mut serving = config();
        let chain = file("cert.pem", "CERTIFICATE", &certificate.chain);
        serving.load_cert_chain_from_pem_file(&chain).expect("a certificate");
        let key = file("key.pem", "PRIVATE KEY", &certificate.key);
        serving.load_priv_key_from_pem_file(&key).expect("a key");
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
        let mut asking = config();
        asking.verify_peer(false);
        [Self::new(asking, client, server), Self::new(serving, server, client)]
    }

    fn new(config: quiche::Config, local: SocketAddr, peer: SocketAddr) -> Self {
        Self {
            config,
            local,
            peer,
            connections: Vec::new(),
            by_cid: HashMap::new(),
            dirty: VecDeque::new(),
            scratch: vec![0; 1 << 16],
        }
    }

    fn add(&mut self, quic: quiche::Connection, cids: &[&[u8]]) -> usize {
        let key = self.connections.len();
        self.by_cid.extend(cids.iter().map(|cid| (cid.to_vec(), key)));
        // RFC 9000 §2.1: the two low bits of an id tell who opened it, and its direction.
        let (ours, theirs) = if quic.is_server() { (1, 0) } else { (0, 1) };
        self.connections.push(Slot {
            quic,
            dirty: false,
            connected: false,
            local: [ours, ours + 2],
            arrived: Default::default(),
            remote: [theirs, theirs + 2],
            finishing: Vec::new(),
            news: VecDeque::new(),
        });
        self.touch(key);
        key
    }

    fn touch(&mut self, key: usize) {
        if !std::mem::replace(&mut self.connections[key].dirty, true) {
            self.dirty.push_back(key);
        }
    }

    fn cid(&self) -> [u8; CID] {
        let mut cid = [self.local.port() as u8; CID];
        cid[..8].copy_from_slice(&(self.connections.len() as u64).to_be_bytes());
        cid
    }
}

impl Slot {
    /// Learns what has happened.
    fn learn(&mut self) {
        if !self.connected && self.quic.is_established() {
            self.connected = true;
            self.news.push_back(News::Connected);
        }
        while let Some(id) = self.quic.stream_readable_next() {
            let at = usize::from(id & 2 != 0);
            if id & 1 == self.remote[at] & 1 && self.remote[at] <= id {
                while self.remote[at] <= id {
                    self.arrived[at].push_back(self.remote[at]);
                    self.remote[at] += 4;
                }
                self.news.push_back(News::Opened(if at == 0 { Dir::Bi } else { Dir::Uni }));
            } else {
                self.news.push_back(News::Readable(id));
            }
        }
        while let Some(id) = self.quic.stream_writable_next() {
            self.news.push_back(News::Writable(id));
        }
        let (quic, news) = (&self.quic, &mut self.news);
        self.finishing.retain(|id| {
            let over = quic.stream_closed(*id);
            if over {
                news.push_back(News::Finished(*id));
            }
            !over
        });
    }
}

fn config() -> quiche::Config {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION).expect("a version of its own");
    config.set_application_protos(&[ALPN]).expect("a short name");
    config.set_max_recv_udp_payload_size(1500);
    config.set_max_send_udp_payload_size(PAYLOAD);
    let window = u64::from(STREAM_WINDOW);
    config.set_initial_max_data(CONNECTION_WINDOW.into());
    config.set_initial_max_stream_data_bidi_local(window);
    config.set_initial_max_stream_data_bidi_remote(window);
    config.set_initial_max_stream_data_uni(window);
    config.set_max_connection_window(CONNECTION_WINDOW.into());
    config.set_max_stream_window(window);
    config.set_initial_max_streams_bidi(STREAMS.into());
    config.set_initial_max_streams_uni(STREAMS.into());
    config.enable_pacing(false);
    config
}

fn pem(label: &str, der: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in der.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let known = digit <= chunk.len();
            text.push(if known { DIGITS[(bits >> (18 - 6 * digit) & 63) as usize] as char } else { '=' });
        }
    }
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

impl Library for Quiche {
    type Connection = usize;
    type Stream = u64;

    fn receive(&mut self, _: u64, batch: &mut Batch) {
        let info = quiche::RecvInfo { from: self.peer, to: self.local };
        let len = batch.len;
        for datagram in batch.data[..len].chunks_mut(batch.segment) {
            let header = quiche::Header::from_slice(datagram, CID).expect("they come from quiche");
            let key = match self.by_cid.get(&header.dcid[..]) {
                Some(key) => *key,
                None => {
                    let cid = self.cid();
                    let scid = quiche::ConnectionId::from_ref(&cid);
                    let quic = quiche::accept(&scid, None, self.local, self.peer, &mut self.config);
                    self.add(quic.expect("a connection"), &[&cid, &header.dcid])
                }
            };
            self.connections[key].quic.recv(datagram, info).expect("a sound packet");
            self.touch(key);
        }
    }

    fn transmit(&mut self, _: u64, batch: &mut Batch) -> bool {
        batch.data.resize(BATCH * PAYLOAD, 0);
        while let Some(key) = self.dirty.front().copied() {
            let slot = &mut self.connections[key];
            let (mut len, mut segment) = (0, PAYLOAD);
            for count in 0..BATCH {
                let Ok((written, _)) = slot.quic.send(&mut batch.data[len..len + segment]) else { break };
                len += written;
                if count == 0 {
                    segment = written;
                } else if written < segment {
                    break;
                }
            }
            if len > 0 {
                (batch.len, batch.segment) = (len, segment);
                return true;
            }
            slot.dirty = false;
            self.dirty.pop_front();
        }
        false
    }

    fn timeout(&mut self, _: u64) {}

    fn next_timeout(&mut self) -> Option<u64> {
        None
    }

    fn connect(&mut self, _: u64) {
        let cid = self.cid();
        let scid = quiche::ConnectionId::from_ref(&cid);
        let quic = quiche::connect(Some(SERVER_NAME), &scid, self.local, self.peer, &mut self.config);
        self.add(quic.expect("a connection"), &[&cid]);
    }

    fn poll(&mut self, _: u64) -> Option<(usize, News<u64>)> {
        // Whatever came made its connection dirty.
        for &key in &self.dirty {
            let slot = &mut self.connections[key];
            if slot.news.is_empty() {
                slot.learn();
            }
            if let Some(news) = slot.news.pop_front() {
                return Some((key, news));
            }
        }
        None
    }

    fn open(&mut self, connection: usize, dir: Dir) -> Option<u64> {
        let slot = &mut self.connections[connection];
        let left = match dir {
            Dir::Bi => slot.quic.peer_streams_left_bidi(),
            Dir::Uni => slot.quic.peer_streams_left_uni(),
        };
        let next = &mut slot.local[index(dir)];
        (left > 0).then(|| std::mem::replace(next, *next + 4))
    }

    fn accept(&mut self, connection: usize, dir: Dir) -> Option<u64> {
        self.connections[connection].arrived[index(dir)].pop_front()
    }

    fn write(&mut self, connection: usize, stream: u64, data: &[u8]) -> usize {
        self.touch(connection);
        match self.connections[connection].quic.stream_send(stream, data, false) {
            Ok(len) => len,
            Err(quiche::Error::Done) => 0,
            Err(error) => panic!("stream {stream}: {error}"),
        }
    }

    fn finish(&mut self, connection: usize, stream: u64) {
        self.touch(connection);
        let slot = &mut self.connections[connection];
        slot.quic.stream_send(stream, b"", true).expect("the stream is open");
        if stream & 2 != 0 {
            slot.finishing.push(stream);
        }
    }

    fn read(&mut self, connection: usize, stream: u64) -> Read {
        self.touch(connection);
        let quic = &mut self.connections[connection].quic;
        let mut read = Read { len: 0, end: false };
        while let Ok((len, end)) = quic.stream_recv(stream, &mut self.scratch) {
            read.len += len as u64;
            read.end |= end;
        }
        read
    }

    fn reported_memory(&self) -> Option<u64> {
        None
    }
}
