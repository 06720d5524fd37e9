//! What goes wrong is told in one line that says what to do, with exit status 1.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests, which share their support")]

mod support;

use std::net::UdpSocket;
use std::time::Instant;
use support::{Folder, Server, certificate, fail, list, quic, succeed, text};

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
    let url = server.url("file");
    let error = fail(&["get", "--insecure", "--alpn", "nonsense", "-o", &folder.at("out"), &url]);
    assert!(error.contains("does not speak \"nonsense\"") && error.contains("--alpn"), "{error}");
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
    let cases: [(&[&str], &str); 6] = [
        (&["demo", "--size", "7 apples"], "is no unit of size"),
        (&["demo", "--loss", "1"], "must end with %"),
        (&["demo", "--rate", "10"], "is no unit of rate"),
        (&["demo", "--rtt", "4"], "is no unit of time"),
        (&["serve"], "--root"),
        (&["get", "--ca", "x", "--insecure", "https://localhost/"], "cannot be used with"),
    ];
    for (args, expected) in cases {
        let output = quic(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let error = text(&output.stderr);
        assert!(error.contains(expected), "{args:?}: {error}");
    }
    let error = fail(&["get", "http://localhost/file"]);
    assert!(error.contains("use https://"), "{error}");
    let error = fail(&["serve", "--listen", "127.0.0.1:0", "--root", "/there/is/no/such/folder"]);
    assert!(error.contains("cannot serve /there/is/no/such/folder"), "{error}");
    let error = fail(&["demo", "--file", "/there/is/no/such/file"]);
    assert!(error.contains("cannot read /there/is/no/such/file"), "{error}");
}

#[test]
fn help_and_version() {
    assert_eq!(succeed(&["--version"]).trim_end(), concat!("quic ", env!("CARGO_PKG_VERSION")));
    let help = succeed(&["--help"]);
    for command in ["demo", "serve", "get", "echo"] {
        assert!(help.contains(command), "{help}");
        assert!(succeed(&[command, "--help"]).contains("Usage: quic"), "{command}");
    }
}
