//! The built command, as a person runs it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

fn quic(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_quic")).args(args).output().expect("the command runs")
}

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("quic-cli-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A running server.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quic"));
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(args).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the server starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut listening = lines.map_while(Result::ok).filter(|line| line.starts_with("listening on "));
        let line = listening.next().expect("the server says where it listens");
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        // Its output goes on being read, or a full pipe would stop it.
        std::thread::spawn(move || listening.count());
        Self { child, port }
    }

    fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}/{path}", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn contents(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

#[test]
fn files_arrive_as_they_are() {
    let (root, out) = (Folder::new("root"), Folder::new("out"));
    let mut sizes = vec![0, 1, 1 << 20];
    sizes.extend(200..300);
    for size in &sizes {
        std::fs::write(root.path(&size.to_string()), contents(*size)).unwrap();
    }
    for extra in [&[][..], &["--retry"]] {
        let server = Server::start(&[&["--root", &root.path("")], extra].concat());
        let urls: Vec<String> = sizes.iter().map(|size| server.url(&size.to_string())).collect();
        let mut args =
            vec!["get", "--insecure", "-o", &out.0.to_str().unwrap(), "--key-update", "--cipher", "chacha20"];
        args.extend(urls.iter().map(String::as_str));
        let output = quic(&args);
        assert!(output.status.success(), "{}", errors(&output));
        for size in &sizes {
            let path = out.path(&size.to_string());
            assert!(std::fs::read(&path).unwrap() == contents(*size), "{path}");
            std::fs::remove_file(Path::new(&path)).unwrap();
        }
    }
}

#[test]
fn errors_say_what_to_do() {
    let (root, out) = (Folder::new("errors"), Folder::new("errors-out"));
    std::fs::write(root.path("file"), "x").unwrap();
    let server = Server::start(&["--root", &root.path("")]);
    let get = |args: &[&str]| {
        let output = quic(&[&["get", "-o", &out.path("")], args].concat());
        assert!(!output.status.success());
        errors(&output)
    };
    assert!(get(&["--insecure", &server.url("absent")]).contains("not found on the server"));
    assert!(get(&[&server.url("file")]).contains("--ca"));
    assert!(get(&["--insecure", "--alpn", "other", &server.url("file")]).contains("--alpn"));
    assert!(
        get(&["--insecure", "--timeout", "200ms", "https://127.0.0.1:9/x"])
            .contains("listening on that UDP port")
    );
    assert!(get(&["--insecure", "http://127.0.0.1/x"]).contains("https"));
    assert!(get(&["https://name.invalid/x"]).contains("cannot be resolved"));
}

#[test]
fn echo_brings_everything_back() {
    let server = Server::start(&["--echo"]);
    let address = format!("127.0.0.1:{}", server.port);
    let output = quic(&["echo", &address, "--insecure", "--size", "200kB", "--count", "2"]);
    assert!(output.status.success(), "{}", errors(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("6 streams, all intact"));
}

#[test]
fn the_demo_tells_how_it_went() {
    let plain = quic(&["demo", "--size", "4MiB"]);
    assert!(plain.status.success(), "{}", errors(&plain));
    let text = String::from_utf8_lossy(&plain.stdout).into_owned();
    assert!(text.contains("4.00 MiB") && text.contains("the same both ways"), "{text}");
    let impaired = quic(&["demo", "--size", "200kB", "--rtt", "10ms", "--loss", "1%", "--rate", "50mbit"]);
    assert!(impaired.status.success(), "{}", errors(&impaired));
    assert!(String::from_utf8_lossy(&impaired.stdout).contains("lost by chance"));
}
