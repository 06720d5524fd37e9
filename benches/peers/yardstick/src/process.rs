//! Starts and stops servers, clients and paths.
//!
//! Owns [`Bench`], where they run, and [`Running`], a process in the background, which ends with the value.

use crate::stacks::Stack;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use quic_perf::{Error, Report, ServerReport};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// What a run came to.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) client: Report,
    pub(crate) server: ServerReport,
    /// What the server's memory grew by until the client held all its connections.
    pub(crate) grown: Option<u64>,
}

/// A core of its own for either end, and certificates.
pub(crate) struct Bench {
    cores: [String; 2],
    folder: PathBuf,
}

/// Which core a process is pinned to.
#[derive(Clone, Copy)]
pub(crate) enum Core<'a> {
    Server,
    Client,
    Any,
    /// Any, in this network namespace, which has this address.
    Inside(&'a str, &'a str),
}

/// A certificate authority's certificate, and one that it gave to localhost, with its key.
///
/// Not one that is signed with its own key: those who use OpenSSL's descendants do not check such a signature, rustls does.
fn write_certificates(folder: &Path) -> Result<(), Error> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "yardstick");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &authority)?;
    std::fs::write(folder.join("ca.pem"), authority.pem())?;
    std::fs::write(folder.join("cert.pem"), leaf.pem())?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}

impl Bench {
    pub(crate) fn new() -> Result<Self, Error> {
        let folder = std::env::temp_dir().join(format!("yardstick-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        write_certificates(&folder)?;
        let count = std::thread::available_parallelism()?.get();
        let cores = if count > 1 { ["0", "1"] } else { ["0", "0"] };
        Ok(Self { cores: cores.map(str::to_owned), folder })
    }

    fn at(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    pub(crate) fn start(&self, core: Core<'_>, command: &[String]) -> Result<Running, Error> {
        let mut words: Vec<String> = Vec::new();
        match core {
            Core::Server => words.extend(["taskset", "-c", &self.cores[0]].map(str::to_owned)),
            Core::Client => words.extend(["taskset", "-c", &self.cores[1]].map(str::to_owned)),
            Core::Inside(namespace, _) => words.extend(["ip", "netns", "exec", namespace].map(str::to_owned)),
            Core::Any => {}
        }
        words.extend(command.iter().cloned());
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", words[0]))?;
        let out = BufReader::new(child.stdout.take().ok_or("no output")?);
        Ok(Running { child, out })
    }

    /// A stack's server.
    pub(crate) fn server(
        &self,
        stack: &Stack,
        core: Core<'_>,
        cc: &str,
        mtu: &str,
    ) -> Result<(Running, SocketAddr), Error> {
        let mut command = stack.command();
        let (cert, key) = (self.at("cert.pem"), self.at("key.pem"));
        let listen = if let Core::Inside(_, address) = core {
            format!("{address}:0")
        } else {
            "127.0.0.1:0".to_owned()
        };
        let args = ["server", "--listen", &listen, "--json", "--cert", &cert, "--key", &key];
        command.extend(args.map(str::to_owned));
        command.extend(settings(cc, mtu));
        self.start(core, &command)?.listening()
    }

    /// A path to a server.
    pub(crate) fn path(
        &self,
        quic: &Stack,
        to: SocketAddr,
        args: &[String],
    ) -> Result<(Running, SocketAddr), Error> {
        let mut command = quic.command();
        command.extend(["path".to_owned(), to.to_string()]);
        command.extend(args.iter().cloned());
        self.start(Core::Any, &command)?.listening()
    }

    /// A stack's client.
    pub(crate) fn client(
        &self,
        stack: &Stack,
        core: Core<'_>,
        to: SocketAddr,
        cc: &str,
        mtu: &str,
        load: &[String],
    ) -> Result<Running, Error> {
        let mut command = stack.command();
        command.extend(["client", &to.to_string(), "--json", "--ca", &self.at("ca.pem")].map(str::to_owned));
        if stack.kind.is_ours() {
            // The certificate is for the name.
            command[stack.command().len() + 1] = format!("localhost:{}", to.port());
            command.extend(["--connect".to_owned(), to.to_string()]);
        }
        command.extend(settings(cc, mtu));
        command.extend(load.iter().cloned());
        self.start(core, &command)
    }

    /// A server and a client, each on its core.
    pub(crate) fn run(
        &self,
        stack: &Stack,
        load: &[String],
        mtu: &str,
        limit: Duration,
    ) -> Result<Outcome, Error> {
        let (mut server, address) = self.server(stack, Core::Server, "cubic", mtu)?;
        let before = server.resident();
        let mut client = self.client(stack, Core::Client, address, "cubic", mtu, load)?;
        let mut grown = None;
        if load[0] == "idle" {
            client.wait_for("connections are open")?;
            // What belongs to handshakes is given back when they are confirmed.
            std::thread::sleep(Duration::from_millis(300));
            grown = before.zip(server.resident()).map(|(before, after)| after.saturating_sub(before));
        }
        let client = serde_json::from_str(&client.end(limit)?)?;
        let server = serde_json::from_str(&server.stop()?)?;
        Ok(Outcome { client, server, grown })
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left behind is small and in the folder for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The same for all: windows of 8 MiB for streams and connections.
fn settings(cc: &str, mtu: &str) -> [String; 6] {
    ["--cc", cc, "--window", "8MiB", "--mtu", mtu].map(str::to_owned)
}

/// A process in the background.
pub(crate) struct Running {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    /// Waits until it tells where it listens.
    fn listening(mut self) -> Result<(Self, SocketAddr), Error> {
        let address = self.line("listening on ")?.parse()?;
        Ok((self, address))
    }

    /// Waits until it says so.
    pub(crate) fn ready(mut self, says: &str) -> Result<Self, Error> {
        self.line(says)?;
        Ok(self)
    }

    /// Waits for a line that begins so, and gives the rest of it.
    fn line(&mut self, begin: &str) -> Result<String, Error> {
        let mut line = String::new();
        while self.out.read_line(&mut line)? > 0 {
            if let Some(rest) = line.trim().strip_prefix(begin) {
                return Ok(rest.to_owned());
            }
            line.clear();
        }
        Err(self.complaint().into())
    }

    /// Waits for a line on its standard error that ends so.
    fn wait_for(&mut self, end: &str) -> Result<(), Error> {
        let mut err = BufReader::new(self.child.stderr.take().ok_or("nobody listens any more")?);
        let mut line = String::new();
        while err.read_line(&mut line)? > 0 {
            if line.trim().ends_with(end) {
                return Ok(());
            }
        }
        Err(line.trim().into())
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(err) = &mut self.child.stderr {
            // Without it there is less to tell.
            let _ = err.read_to_string(&mut text);
        }
        text.lines().last().unwrap_or("it ended without a word").to_owned()
    }

    /// What it holds in memory.
    fn resident(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
    }

    /// Waits for its end, which must be a success, and gives the last line that it printed.
    pub(crate) fn end(&mut self, limit: Duration) -> Result<String, Error> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                let mut text = String::new();
                self.out.read_to_string(&mut text)?;
                return match text.lines().last() {
                    Some(line) if status.success() => Ok(line.to_owned()),
                    _ => Err(self.complaint().into()),
                };
            }
            if begun.elapsed() > limit {
                return Err("it did not end in time".into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it as an operator does, and gives the last line that it printed.
    pub(crate) fn stop(&mut self) -> Result<String, Error> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        self.end(Duration::from_secs(10))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
