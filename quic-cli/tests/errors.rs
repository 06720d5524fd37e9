//! What goes wrong is told in one line that says what to do, with exit status 1.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests, which share their support")]

mod support;

use std::net::UdpSocket;
use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Folder, Server, certificate, command, fail, list, quic, succeed, text};

#[test]
fn a_file_that_is_not_there() {
    let folder = Folder::new("missing");
    folder.put("there", 10);
    let server = Server::start(&["--root", &folder.at("root")]);
    let (there, missing) = (server.url("there"), server.url("missing"));
    let output = quic(&["get", "--insecure", "-o", &folder.at("out"), &there, &missing]);
    assert_eq!(output.status.code(), Some(1));
    let error = text(&output.stderr);
    assert!(error.contains("missing: not found on the server"), "{error}");
    assert!(error.contains("1 of 2 files failed"), "{error}");
    folder.same("out", &["there"]);
}

#[test]
fn nothing_outside_of_the_root() {
    let folder = Folder::new("outside");
    std::fs::write(folder.at("secret"), "secret").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.at("secret"), folder.at("root/link")).unwrap();
    let server = Server::start(&["--root", &folder.at("root")]);
    // A URL's own dots are resolved before they are sent; these are not seen as such.
    for path in ["..%2fsecret", "x%2f..%2f..%2fsecret", "link", "%2e%2e%2fsecret"] {
        let output = quic(&["get", "--insecure", "-o", &folder.at("out"), &server.url(path)]);
        assert_eq!(output.status.code(), Some(1), "{path}");
        assert!(text(&output.stderr).contains("not found"), "{path}: {output:?}");
    }
    assert_eq!(list(&folder.0.join("out")), [""; 0]);
}

#[test]
fn a_certificate_that_is_not_trusted() {
    let folder = Folder::new("untrusted");
    folder.put("file", 10);
    let [other, _] = certificate(&folder);
    let server = Server::start(&["--root", &folder.at("root")]);
    let error = fail(&["get", "--ca", &other, "-o", &folder.at("out"), &server.url("file")]);
    assert!(error.contains("is not trusted") && error.contains("--ca"), "{error}");
    assert!(error.contains("--insecure"), "{error}");
}

#[test]
fn a_certificate_for_another_name() {
    let folder = Folder::new("name");
    folder.put("file", 10);
    let [cert, key] = certificate(&folder);
    let server = Server::start(&["--root", &folder.at("root"), "--cert", &cert, "--key", &key]);
    let by_address = format!("https://{}/file", server.address);
    let error = fail(&["get", "--ca", &cert, "-o", &folder.at("out"), &by_address]);
    assert!(error.contains("is not trusted") && error.contains("not valid for name"), "{error}");
    succeed(&["get", "--ca", &cert, "-o", &folder.at("out"), &server.url("file")]);
}

#[test]
fn a_server_that_does_not_answer() {
    let folder = Folder::new("silent");
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/file", silent.local_addr().unwrap());
    let begun = Instant::now();
    let error = fail(&["get", "--insecure", "--timeout", "1s", "-o", &folder.at("out"), &url]);
    assert!(error.contains("does not answer (waited 1 s)"), "{error}");
    assert!(begun.elapsed().as_secs() < 10, "{:?}", begun.elapsed());
}

#[test]
fn an_application_protocol_that_is_refused() {
    let folder = Folder::new("alpn");
    folder.put("file", 10);
    let server = Server::start(&["--root", &folder.at("root")]);
    let (url, address) = (server.url("file"), server.address.to_string());
    let get = ["get", "--insecure", "-o", &folder.at("out"), &url];
    let cases: [(&[&str], &str); 4] = [
        (
            &[&get[..], &["--alpn", "nonsense"]].concat(),
            "does not speak \"nonsense\": choose another protocol with --alpn",
        ),
        (&["echo", "--insecure", &address], "does not speak \"echo\": quic serve --echo does"),
        (&["perf", "client", "--insecure", &address, "rr"], "does not speak \"perf\": quic perf server does"),
        // RFC 7301 §3.1.
        (&[&get[..], &["--alpn", ""]].concat(), "has 1 to 255 bytes, not 0"),
    ];
    for (args, expected) in cases {
        let error = fail(args);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
}

#[test]
#[cfg(unix)]
fn a_server_that_stops_is_told_apart_from_one_that_lies() {
    let server = Server::start(&["--echo"]);
    let mut echo = command(&["echo", "--insecure", &server.address.to_string(), "--size", "1000GB"]);
    let echo = echo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Whether the connection is there already or not: it breaks off, or does not come about.
    std::thread::sleep(Duration::from_millis(300));
    support::signal(server.pid(), "INT");
    server.finished();
    let output = echo.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(!text(&output.stderr).contains("is not what was sent"), "{output:?}");
}

#[test]
fn a_name_that_is_not_resolved() {
    let folder = Folder::new("name-unknown");
    // RFC 2606 §2: there is no such name and there will be none.
    let error = fail(&["get", "--insecure", "-o", &folder.at("out"), "https://nowhere.invalid/file"]);
    assert!(
        error.contains("\"nowhere.invalid\" cannot be resolved") && error.contains("--connect"),
        "{error}"
    );
}

#[test]
fn arguments_that_make_no_sense() {
    let address = "it must be an IP address and a port";
    let cases: [(&[&str], &str); 23] = [
        (&["demo", "--size", "7 apples"], "is no unit of size"),
        (&["demo", "--loss", "1"], "must end with %"),
        (&["demo", "--rate", "10"], "is no unit of rate"),
        (&["demo", "--rtt", "4"], "is no unit of time"),
        (&["demo", "--size", "1B", "--file", "x"], "cannot be used with"),
        (&["serve"], "<--root <DIR>|--echo>"),
        (&["serve", "--root", ".", "--echo"], "cannot be used with"),
        (&["serve", "--echo", "--listen", "localhost:4433"], address),
        (&["get", "--ca", "x", "--insecure", "https://localhost/"], "cannot be used with"),
        (&["get", "--connect", "localhost", "https://localhost/"], address),
        (&["get", "http://localhost/file"], "https://HOST:PORT/PATH"),
        (&["get", "localhost:4433/file"], "https://HOST:PORT/PATH"),
        (&["get", "127.0.0.1/file"], "https://HOST:PORT/PATH"),
        (&["get", "--mtu", "1199", "https://localhost/"], "1200..=65527"),
        (&["serve", "--echo", "--mtu", "1199"], "1200..=65527"),
        (&["perf", "server", "--mtu", "1199"], "1200..=65527"),
        (&["perf", "server", "--listen", "localhost:4433"], address),
        (&["perf", "path", "--listen", "localhost:4433", "localhost:1"], address),
        (&["echo", "--version", "v3", "localhost:1"], "must be v1, v2 or q044"),
        (&["echo", "--version", "v1,any", "localhost:1"], "must be v1, v2 or q044"),
        (&["serve", "--echo", "--version", "v1,v1"], "named twice"),
        (&["echo", "--streams", "0", "localhost:1"], "--streams"),
        (&["echo", "--count", "0", "localhost:1"], "--count"),
    ];
    for (args, expected) in cases {
        let output = quic(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = text(&output.stderr);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    let error = fail(&["demo", "--file", "/there/is/no/such/file"]);
    assert!(error.contains("cannot read /there/is/no/such/file"), "{error}");
    let error = fail(&["serve", "--echo", "--listen", "127.0.0.1:0", "--busy-poll", "2s"]);
    assert!(error.contains("busy_poll in microseconds"), "{error}");
    let error = fail(&["echo", "--insecure", "--busy-poll", "2s", "localhost:1"]);
    assert!(error.contains("busy_poll in microseconds"), "{error}");
    let error = fail(&["echo", "--insecure", "127.0.0.1"]);
    assert!(error.contains("must be HOST:PORT"), "{error}");
}

#[test]
fn what_cannot_be_served() {
    let folder = Folder::new("unservable");
    folder.put("file", 10);
    let [cert, key] = certificate(&folder);
    let other = Folder::new("unservable-other");
    let [_, other] = certificate(&other);
    let (root, file) = (folder.at("root"), folder.at("root/file"));
    let cases: [(&[&str], &str); 6] = [
        (&["--root", "/there/is/no/such/folder"], "cannot serve /there/is/no/such/folder"),
        (&["--root", &file], "cannot serve "),
        (&["--root", &root, "--cert", &file, "--key", &key], "it holds no certificate"),
        (&["--root", &root, "--cert", &cert, "--key", &cert], "it holds no private key"),
        (&["--root", &root, "--cert", &cert, "--key", "nowhere"], "nowhere cannot be read"),
        (&["--root", &root, "--cert", &cert, "--key", &other], "keys may not be consistent"),
    ];
    for (args, expected) in cases {
        let error = fail(&[&["serve", "--listen", "127.0.0.1:0"], args].concat());
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let error = fail(&["serve", "--echo", "--listen", &listen]);
    assert!(error.contains(&format!("cannot listen on {listen}: ")), "{error}");
}

#[test]
fn help_and_version() {
    assert_eq!(succeed(&["--version"]).trim_end(), concat!("quic ", env!("CARGO_PKG_VERSION")));
    let help = succeed(&["--help"]);
    for command in ["demo", "serve", "get", "echo", "perf"] {
        assert!(help.contains(command), "{help}");
        assert!(succeed(&[command, "--help"]).contains("Usage: quic"), "{command}");
    }
}
