//! What the examples share: a certificate for `localhost`, made on the spot.
#![allow(dead_code, unreachable_pub, reason = "each example uses a part of it")]

use quic_mio::{ClientConfig, ServerConfig};
use quic_proto::crypto::rustls::{ClientOptions, Identity, RustlsClient, server_config};
use rustls::pki_types::PrivatePkcs8KeyDer;
use std::error::Error;
use std::sync::Arc;

/// A server with a self-signed certificate for `localhost`.
pub fn server(alpn: &[u8]) -> Result<Arc<ServerConfig>, Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    let tls = server_config(Identity { chain: vec![made.cert.der().clone()], key }, &[alpn])?;
    Ok(ServerConfig::new(Arc::new(tls), &[7; 32]).build()?)
}

/// A client that takes any certificate: nobody vouches for those of examples.
pub fn client(alpn: &[u8]) -> Result<ClientConfig, Box<dyn Error>> {
    let options = ClientOptions { alpn: vec![alpn.to_vec()], ..ClientOptions::default() };
    Ok(ClientConfig::new(Arc::new(RustlsClient::danger_accept_any_certificate(options)?)))
}
