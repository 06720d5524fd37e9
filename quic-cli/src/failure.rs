//! What goes wrong, in one line that says what to do.

use crate::serve::ECHO;
use quic_proto::error::{ConnectionError, TransportErrorCode};
use quic_proto::gquic::wire::error::ErrorCode;
use quic_proto::invariants::Version;
use std::path::PathBuf;
use std::time::Duration;

/// Why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{what}: {error}")]
    Io { what: String, error: std::io::Error },
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Tls(#[from] quic_proto::crypto::TlsConfigError),
    #[error("{0}")]
    Config(#[from] quic_proto::config::ConfigError),
    #[error("the certificate is of no use for Q044: {0}")]
    Proof(#[from] quic_proto::gquic::ProofSourceError),
    #[error("cannot connect to {to}: {error}")]
    Connect { to: String, error: quic_tokio::ConnectError },
    #[error("{0:?} cannot be resolved: check the name, or give the address with --connect")]
    NotResolved(String),
    #[error("{to} does not answer (waited {} s): is a QUIC server listening on that UDP port?", .after.as_secs_f64())]
    NoAnswer { to: String, after: Duration },
    #[error(
        "the certificate of {to} is not trusted ({why}): name its issuer with --ca PEM, or use --insecure for a test"
    )]
    NotTrusted { to: String, why: String },
    #[error("{to} does not speak {alpn:?}: {}", server_of(.alpn))]
    Alpn { to: String, alpn: String },
    #[error("{to} speaks none of the QUIC versions that were offered, but {offered}: choose with --version")]
    Version { to: String, offered: String },
    #[error("no connection came about over this path within {} s", .0.as_secs_f64())]
    BadPath(Duration),
    #[error("{0}")]
    Connection(ConnectionError),
    #[error("{0} of {1} files failed")]
    Files(usize, usize),
    #[error("interrupted")]
    Interrupted,
    #[error("{} cannot be read: {error}", .path.display())]
    Unreadable { path: PathBuf, error: String },
    #[error("what came back is not what was sent: {0}")]
    Mismatch(String),
    #[error("{0}")]
    Stream(String),
    #[error("the measurement failed: {0}")]
    Measurement(quic_perf::Error),
}

/// How to get at a server of this protocol.
fn server_of(alpn: &str) -> &'static str {
    match alpn {
        ECHO => "quic serve --echo does",
        quic_perf::ALPN => "quic perf server does",
        _ => "choose another protocol with --alpn",
    }
}

impl Failure {
    /// What ended a stream before its time.
    pub(crate) fn stream(error: impl std::fmt::Display) -> Self {
        Self::Stream(error.to_string())
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |error| Self::Io { what, error }
    }

    /// What the end of a connection to `to` means for the person who asked for it.
    pub(crate) fn of(error: ConnectionError, to: &str, alpn: &str, timeout: Duration) -> Self {
        let (code, why) = match &error {
            ConnectionError::Transport(error) | ConnectionError::PeerTransport(error) => {
                (error.code, error.reason.to_string())
            }
            ConnectionError::TimedOut => return Self::NoAnswer { to: to.to_owned(), after: timeout },
            ConnectionError::VersionMismatch { offered } => {
                let offered: Vec<_> = offered.iter().map(|version| Version(*version).to_string()).collect();
                let offered = if offered.is_empty() { "others".to_owned() } else { offered.join(", ") };
                return Self::Version { to: to.to_owned(), offered };
            }
            _ => return Self::Connection(error),
        };
        if code.as_google() == Some(ErrorCode::PROOF_INVALID.0) {
            return Self::NotTrusted { to: to.to_owned(), why };
        }
        // RFC 8446 §6: the alerts for certificates (42 to 46, 48), and no_application_protocol (RFC 7301 §3.2).
        match TransportErrorCode::alert(code) {
            Some(42..=46 | 48 | 51) => Self::NotTrusted { to: to.to_owned(), why },
            Some(120) => Self::Alpn { to: to.to_owned(), alpn: alpn.to_owned() },
            _ => Self::Connection(error),
        }
    }
}
