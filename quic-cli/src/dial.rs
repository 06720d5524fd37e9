//! How clients get at their server: names, addresses, and connections to whichever of them answers.
//!
//! Owns [`Dialer`], in which is all that a client's connections have in common.

use crate::args::Client;
use crate::failure::Failure;
use crate::tls;
use quic_tokio::{ClientConfig, Connection, Endpoint, EndpointConfig};
use std::net::SocketAddr;
use std::num::NonZeroU8;
use std::time::Duration;
use tokio::task::JoinSet;

/// How many addresses of a name are tried, and how long one is waited for before the next is tried too.
const MAX_ADDRESSES: usize = 4;
const STAGGER: Duration = Duration::from_millis(250);

/// What a client's connections have in common.
#[derive(Clone)]
pub(crate) struct Dialer {
    pub(crate) config: ClientConfig,
    pub(crate) endpoint: EndpointConfig,
    /// The protocol to speak, for complaints.
    pub(crate) alpn: String,
    /// How long to wait for an answer.
    pub(crate) timeout: Duration,
    /// The address to send to, whatever names resolve to.
    pub(crate) address: Option<SocketAddr>,
}

impl Dialer {
    /// A dialer from the arguments of a command; with full handshakes it never resumes a session.
    pub(crate) fn new(args: &Client, alpn: &str, full_handshakes: bool) -> Result<Self, Failure> {
        Ok(Self {
            config: tls::client(args, alpn, full_handshakes)?,
            endpoint: args.end.endpoint()?,
            alpn: alpn.to_owned(),
            timeout: args.timeout,
            address: args.connect,
        })
    }

    /// Connects to the first address of a host that answers: `localhost` often has one of each family, and the server only one of them.
    pub(crate) async fn reach(&self, host: &str, port: u16) -> Result<(Endpoint, Connection), Failure> {
        let addresses = match self.address {
            Some(address) => vec![address],
            None => resolve(host, port).await?,
        };
        self.first_of(addresses, host).await
    }

    /// An answer that is an error (a certificate that is not trusted, say) is final; only silence leads to the next address.
    async fn first_of(
        &self,
        addresses: Vec<SocketAddr>,
        name: &str,
    ) -> Result<(Endpoint, Connection), Failure> {
        let mut attempts = JoinSet::new();
        for (index, address) in (0..).zip(addresses) {
            let (dialer, name) = (self.clone(), name.to_owned());
            attempts.spawn(async move {
                tokio::time::sleep(STAGGER * index).await;
                dialer.dial(address, &name).await
            });
        }
        let mut silent = Failure::NotResolved(name.to_owned());
        while let Some(done) = attempts.join_next().await {
            match done.map_err(|error| Failure::Usage(error.to_string()))? {
                Err(failure @ (Failure::NoAnswer { .. } | Failure::Io { .. })) => silent = failure,
                reached => return reached,
            }
        }
        Err(silent)
    }

    /// Connects, with errors for people.
    pub(crate) async fn dial(
        &self,
        address: SocketAddr,
        name: &str,
    ) -> Result<(Endpoint, Connection), Failure> {
        let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
        let endpoint = Endpoint::sharded(self.endpoint.clone(), None, any, NonZeroU8::MIN);
        let endpoint = endpoint.map_err(Failure::io("cannot open a UDP socket"))?;
        let to = format!("{name} ({address})");
        let connecting = endpoint.connect_with(address, name, &self.config);
        let connecting = connecting.map_err(|error| Failure::Connect { to: to.clone(), error })?;
        match tokio::time::timeout(self.timeout, connecting).await {
            Ok(Ok(connection)) => Ok((endpoint, connection)),
            Ok(Err(error)) => Err(Failure::of(error, &to, &self.alpn, self.timeout)),
            Err(_) => Err(Failure::NoAnswer { to, after: self.timeout }),
        }
    }
}

/// The addresses of a name, one at least.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let not_resolved = || Failure::NotResolved(host.to_owned());
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| not_resolved())?;
    let found: Vec<_> = found.take(MAX_ADDRESSES).collect();
    if found.is_empty() { Err(not_resolved()) } else { Ok(found) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hq;
    use quic_proto::crypto::rustls::{ClientOptions, RustlsClient};
    use std::sync::Arc;

    #[tokio::test]
    async fn silence_leads_to_the_next_address() {
        let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tls = tls::server_tls(tls::self_signed().unwrap(), hq::ALPN, None).unwrap();
        let config = quic_proto::config::ServerConfig::new(Arc::new(tls), &[7; 32]).build().unwrap();
        let server = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
        let addresses = vec![silent.local_addr().unwrap(), server.local_addr()];
        let accepting = tokio::spawn(async move { server.accept().await.unwrap().await });
        let options = ClientOptions { alpn: vec![hq::ALPN.as_bytes().to_vec()], ..Default::default() };
        let tls = RustlsClient::danger_accept_any_certificate(options).unwrap();
        let mut dialer = Dialer {
            config: ClientConfig::new(Arc::new(tls)),
            endpoint: EndpointConfig::new(&[8; 32]),
            alpn: hq::ALPN.to_owned(),
            timeout: Duration::from_secs(20),
            address: None,
        };
        let reached = dialer.first_of(addresses.clone(), "localhost").await;
        assert_eq!(reached.unwrap().1.remote_address().unwrap(), addresses[1]);
        accepting.await.unwrap().unwrap();
        dialer.timeout = STAGGER;
        let nobody = dialer.first_of(addresses[..1].to_vec(), "localhost").await;
        assert!(matches!(nobody, Err(Failure::NoAnswer { .. })));
    }
}
