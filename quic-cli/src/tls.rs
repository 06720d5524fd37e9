//! Certificates, trust and key logs.

use crate::args::{Cipher, Client, End, Server};
use crate::failure::Failure;
use quic_proto::config::{ClientConfig, ServerConfig, TransportConfig};
use quic_proto::crypto::rustls::{CipherChoice, ClientOptions, Identity, RustlsServer, ServerOptions};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{KeyLog, RootCertStore};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A self-signed certificate for `localhost` and the loopback addresses.
pub(crate) fn self_signed() -> Result<Identity, Failure> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let made =
        rcgen::generate_simple_self_signed(names).map_err(|error| Failure::Usage(error.to_string()))?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
    Ok(Identity { chain: vec![made.cert.der().clone()], key })
}

/// The certificate chain and its key that a server was given, if it was.
pub(crate) fn identity(args: &Server) -> Result<Option<Identity>, Failure> {
    let (Some(cert), Some(key)) = (&args.cert, &args.key) else { return Ok(None) };
    let unreadable = |path: &Path, error: String| Failure::Unreadable { path: path.to_owned(), error };
    let chain = certificates(cert)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
        pem::Error::NoItemsFound => unreadable(key, "it holds no private key".to_owned()),
        other => unreadable(key, other.to_string()),
    })?;
    Ok(Some(Identity { chain, key }))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unreadable = |error: String| Failure::Unreadable { path: path.to_owned(), error };
    let found = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
    let found: Result<Vec<_>, _> = found.collect();
    let found = found.map_err(|error| unreadable(error.to_string()))?;
    if found.is_empty() { Err(unreadable("it holds no certificate".to_owned())) } else { Ok(found) }
}

/// The SHA-256 of a certificate, as browsers show it.
pub(crate) fn fingerprint(certificate: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
    digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// A server's configuration from its arguments, with `limits` of its own.
pub(crate) fn server(
    args: &End,
    identity: Identity,
    alpn: &str,
    limits: impl FnOnce(TransportConfig) -> TransportConfig,
) -> Result<Arc<ServerConfig>, Failure> {
    args.version.permits(&[("--keylog", args.keylog.is_some())])?;
    let config = args.version.server(identity, alpn, args.keylog.as_deref())?;
    Ok(config.transport(limits(args.transport()).build()?).build()?)
}

/// A server's TLS.
pub(crate) fn server_tls(
    identity: Identity,
    alpn: &str,
    keylog: Option<&Path>,
) -> Result<RustlsServer, Failure> {
    let options = ServerOptions {
        alpn: vec![alpn.as_bytes().to_vec()],
        key_log: key_log(keylog)?,
        ..ServerOptions::default()
    };
    Ok(RustlsServer::with_identity(identity, options)?)
}

/// A client's configuration from its arguments; with full handshakes it never resumes a session.
pub(crate) fn client(args: &Client, alpn: &str, full_handshakes: bool) -> Result<ClientConfig, Failure> {
    let end = &args.end;
    end.version.permits(&[("--cipher", args.cipher.is_some()), ("--keylog", end.keylog.is_some())])?;
    let ciphers = args.cipher.map(|cipher| match cipher {
        Cipher::Aes128 => CipherChoice::Aes128Gcm,
        Cipher::Aes256 => CipherChoice::Aes256Gcm,
        Cipher::Chacha20 => CipherChoice::ChaCha20Poly1305,
    });
    let options = ClientOptions {
        alpn: vec![alpn.as_bytes().to_vec()],
        ciphers: ciphers.into_iter().collect(),
        key_log: key_log(end.keylog.as_deref())?,
        full_handshakes,
        ..ClientOptions::default()
    };
    let trust = if args.insecure { Trust::Anybody } else { Trust::Roots(roots(args.ca.as_deref())?) };
    let transport = end.transport().handshake_timeout(args.timeout).build()?;
    Ok(end.version.client(trust, options)?.transport(transport))
}

/// Whom a client believes.
#[derive(Clone)]
pub(crate) enum Trust {
    Anybody,
    Roots(RootCertStore),
}

/// The certificates in `ca`; without it those of the operating system's bundle, where one is found.
fn roots(ca: Option<&Path>) -> Result<RootCertStore, Failure> {
    const BUNDLES: [&str; 3] =
        ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];
    let mut roots = RootCertStore::empty();
    let named = ca.map(Path::to_owned);
    let bundle = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let usual = || BUNDLES.iter().map(PathBuf::from).find(|path| path.exists());
    if let Some(path) = named.or(bundle).or_else(usual) {
        roots.add_parsable_certificates(certificates(&path)?);
    }
    Ok(roots)
}

/// A key log in `path`, or where SSLKEYLOGFILE says.
fn key_log(path: Option<&Path>) -> Result<Option<Arc<dyn KeyLog>>, Failure> {
    let path = path.map(Path::to_owned).or_else(|| std::env::var_os("SSLKEYLOGFILE").map(PathBuf::from));
    let Some(path) = path else { return Ok(None) };
    let file = File::options().create(true).append(true).open(&path);
    let file = file.map_err(Failure::io(format!("cannot write the key log {}", path.display())))?;
    Ok(Some(Arc::new(FileKeyLog(Mutex::new(file)))))
}

/// The NSS key log format, which Wireshark reads.
#[derive(Debug)]
struct FileKeyLog(Mutex<File>);

impl KeyLog for FileKeyLog {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        if let Ok(mut file) = self.0.lock() {
            // A log that cannot be written must not end the connection.
            let _ = writeln!(file, "{label} {} {}", hex(client_random), hex(secret));
        }
    }
}
