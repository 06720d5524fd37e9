//! The programs: where they are and how they are built.

use quic_perf::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The names of the peers.
pub(crate) const PEERS: [&str; 5] = ["quinn", "noq", "s2n-quic", "quiche", "tcp"];

/// A program that speaks the workloads.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Its name in tables.
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
    /// What its command line begins with.
    pub(crate) prefix: &'static [&'static str],
    pub(crate) kind: Kind,
}

/// What a stack is to the comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The one that the others are compared with.
    Quic,
    /// The same on another cryptography library. On slow paths it is no other.
    QuicOn,
    /// Another implementation of QUIC.
    Peer,
    Tcp,
}

impl Kind {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Quic | Self::QuicOn)
    }
}

/// A feature of `quic-cli`, the folder that it is built in beneath the target folder, and the name of that build in tables.
const AWS_LC: (&str, &str) = ("aws-lc-rs", "quic on AWS-LC");

impl Stack {
    pub(crate) fn all(root: &Path) -> Vec<Self> {
        let peers = target(&root.join("benches/peers")).join("release");
        let ours = |name, folder: PathBuf, kind| Self {
            name,
            program: folder.join("release/quic"),
            prefix: &["perf"],
            kind,
        };
        let other = |name, binary: &str, kind| Self { name, program: peers.join(binary), prefix: &[], kind };
        vec![
            ours("quic", target(root), Kind::Quic),
            ours(AWS_LC.1, target(root).join(AWS_LC.0), Kind::QuicOn),
            other("quinn", "perf-quinn", Kind::Peer),
            other("noq", "perf-noq", Kind::Peer),
            other("s2n-quic", "perf-s2n", Kind::Peer),
            other("quiche", "perf-quiche", Kind::Peer),
            other("tcp", "perf-tcp", Kind::Tcp),
        ]
    }

    pub(crate) fn is_wanted(&self, named: &[String]) -> bool {
        self.kind.is_ours() || named.is_empty() || named.iter().any(|name| name == self.name)
    }

    pub(crate) fn command(&self) -> Vec<String> {
        let words = self.prefix.iter().map(|word| (*word).to_owned());
        std::iter::once(self.program.display().to_string()).chain(words).collect()
    }
}

/// What joins TUN devices.
pub(crate) fn link(root: &Path) -> String {
    target(&root.join("benches/peers")).join("release/perf-link").display().to_string()
}

/// The project that this program was built from.
pub(crate) fn project() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(3).expect("this crate lies three folders deep").to_owned()
}

/// Where cargo puts what it builds in `workspace`.
pub(crate) fn target(workspace: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from)
}

/// Builds the command and the peers.
pub(crate) fn build(root: &Path) -> Result<(), Error> {
    cargo(root, &["-p", "quic-cli"])?;
    let folder = target(root).join(AWS_LC.0);
    let folder = folder.to_str().ok_or("the target folder has a name that is no text")?;
    cargo(root, &["-p", "quic-cli", "--features", AWS_LC.0, "--target-dir", folder])?;
    cargo(&root.join("benches/peers"), &["--workspace", "--exclude", "yardstick"])
}

fn cargo(workspace: &Path, what: &[&str]) -> Result<(), Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--release", "--locked"]).args(what);
    if command.status()?.success() {
        Ok(())
    } else {
        Err(format!("{} could not be built; benches/peers/README.md says what it needs", workspace.display())
            .into())
    }
}
