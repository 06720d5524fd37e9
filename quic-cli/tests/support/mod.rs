//! Runs the built command: to its end, or as a server in the background.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long anything in these tests may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The command, deaf to the environment of whoever runs the tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quic"));
    command.args(args).env_remove("SSLKEYLOGFILE").env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub fn quic(args: &[&str]) -> Output {
    command(args).output().expect("the command starts")
}

/// Runs the command to its end, which must be a success without complaints. Returns what it printed.
pub fn succeed(args: &[&str]) -> String {
    let output = quic(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "quic {args:?}: {}\n{out}{err}", output.status);
    assert_eq!(err, "", "quic {args:?} complains");
    out
}

/// Runs the command to its end, which must be a failure told in one line. Returns that line.
pub fn fail(args: &[&str]) -> String {
    let output = quic(args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "quic {args:?}\n{out}{err}");
    assert_eq!(err.lines().count(), 1, "quic {args:?}\n{out}{err}");
    err.trim_end().to_owned()
}

/// Sends a signal: INT as Ctrl-C does, TERM as operators do.
pub fn signal(pid: u32, name: &str) {
    let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.is_ok_and(|status| status.success()));
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A `quic serve`, or another server of the command's, that is ready. It ends with the value.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    /// What it printed before it was ready.
    pub greeting: Vec<String>,
    pub address: SocketAddr,
}

impl Server {
    pub fn start(args: &[&str]) -> Self {
        Self::with(&[&["serve", "--listen", "127.0.0.1:0"], args].concat())
    }

    /// Starts a server by its whole command line.
    pub fn with(args: &[&str]) -> Self {
        let mut child = command(args).stdout(Stdio::piped()).spawn().expect("the server starts");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test may not care any more; the pipe must be emptied all the same.
                let _ = sender.send(line);
            }
        });
        let mut server = Self { child, lines, greeting: Vec::new(), address: ([0; 4], 0).into() };
        while server.address.port() == 0 {
            let line = server.lines.recv_timeout(PATIENCE).expect("the server gets ready");
            if let Some(address) = line.strip_prefix("listening on ") {
                server.address = address.parse().unwrap();
            }
            server.greeting.push(line);
        }
        server
    }

    /// A URL with the host `localhost`, which the server's certificate has.
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}/{path}", self.address.port())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end, which must be a success. Returns what it printed since it was ready.
    pub fn finished(mut self) -> Vec<String> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                assert!(status.success(), "{status}");
                return self.lines.iter().collect();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server does not end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder that is removed with the value.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quic-cli-{}-{name}", std::process::id()));
        // One of an earlier run that was killed.
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("root")).unwrap();
        Self(path)
    }

    /// The path of something in it, as an argument.
    pub fn at(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Puts a file below `root`: `len` bytes that differ with the name.
    pub fn put(&self, name: &str, len: usize) {
        let seed = name.bytes().fold(7_u32, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
        let bytes: Vec<u8> = (0..len as u32).map(|i| (i.wrapping_mul(seed | 1) >> 11) as u8).collect();
        std::fs::write(self.0.join("root").join(name), bytes).unwrap();
    }

    /// What was fetched into `out` is what lies below `root`, and there is nothing else.
    pub fn same(&self, out: &str, names: &[&str]) {
        for name in names {
            let original = std::fs::read(self.0.join("root").join(name)).unwrap();
            let copy = std::fs::read(self.0.join(out).join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(original == copy, "{name} differs: {} bytes of {}", copy.len(), original.len());
        }
        assert_eq!(list(&self.0.join(out)).len(), names.len(), "{:?}", list(&self.0.join(out)));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The names in a folder; none if there is no such folder.
pub fn list(path: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Writes a certificate for localhost and its key, both PEM, into `folder`: cert.pem and key.pem.
pub fn certificate(folder: &Folder) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let paths = [folder.at("cert.pem"), folder.at("key.pem")];
    std::fs::write(&paths[0], made.cert.pem()).unwrap();
    std::fs::write(&paths[1], made.signing_key.serialize_pem()).unwrap();
    paths
}
