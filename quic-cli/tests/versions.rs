//! Google QUIC and versions 1 and 2 of QUIC, from the command line: what the one can the others can, and a port can have several.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests, which share their support")]

mod support;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use support::{Folder, Server, certificate, command, fail, succeed, text};

const NAMES: [&str; 3] = ["empty", "one", "big"];

/// A folder with files to serve.
fn files(name: &str) -> Folder {
    let folder = Folder::new(name);
    for (name, len) in NAMES.into_iter().zip([0, 1, 1_000_001]) {
        folder.put(name, len);
    }
    folder
}

/// Fetches all files into the folder `out` of its own.
fn get(folder: &Folder, server: &Server, out: &str, options: &[&str]) {
    let (urls, path) = (NAMES.map(|name| server.url(name)), folder.at(out));
    succeed(&[&["get", "-o", &path, &urls[0], &urls[1], &urls[2]], options].concat());
    folder.same(out, &NAMES);
}

/// Writes a certificate for localhost with an RSA key of 2048 bits; ring signs with such keys but makes none.
fn rsa_certificate(folder: &Folder) -> [String; 2] {
    let der = std::fs::read("../quic-proto/testdata/gquic/rsa-key.der").unwrap();
    let der = PrivatePkcs8KeyDer::from(der);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256).unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let paths = [folder.at("rsa-cert.pem"), folder.at("rsa-key.pem")];
    std::fs::write(&paths[0], params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&paths[1], key.serialize_pem()).unwrap();
    paths
}

#[test]
fn files_by_q044_with_certificates_of_both_kinds() {
    let folder = files("q044");
    for (kind, [cert, key]) in [("ecdsa", certificate(&folder)), ("rsa", rsa_certificate(&folder))] {
        let root = folder.at("root");
        let args = ["--version", "q044", "--root", &root, "--cert", &cert, "--key", &key, "--once", "2"];
        let server = Server::start(&args);
        get(&folder, &server, kind, &["--version", "q044", "--ca", &cert]);
        let (again, connect) = (format!("{kind}-again"), server.address.to_string());
        let options = ["--version", "q044", "--ca", &cert, "--window", "64KiB", "--cc", "newreno"];
        get(&folder, &server, &again, &[&options[..], &["--connect", &connect]].concat());
        server.finished();
    }
}

#[test]
fn everything_by_version_2() {
    let folder = files("v2");
    let v2 = ["--version", "v2", "--insecure"];
    let server = Server::start(&["--version", "v2", "--retry", "--root", &folder.at("root"), "--once", "1"]);
    get(&folder, &server, "v2", &[&v2[..], &["--cipher", "chacha20", "--key-update"]].concat());
    server.finished();
    let server = Server::start(&["--version", "v2", "--echo", "--once", "1"]);
    let address = server.address.to_string();
    let out = succeed(&[&["echo", &address, "--size", "200kB"], &v2[..]].concat());
    assert!(out.contains("3 streams, all intact"), "{out}");
    server.finished();
    let out = succeed(&["demo", "--version", "v2", "--size", "2MiB"]);
    assert!(out.contains("QUICv2, ") && out.contains("the same both ways"), "{out}");
}

#[test]
fn one_port_for_all() {
    let folder = files("any");
    let server = Server::start(&["--version", "any", "--root", &folder.at("root"), "--once", "6"]);
    for version in ["v1", "v2", "q044", "any", "v2,v1", "q044,v2"] {
        get(&folder, &server, version, &["--version", version, "--insecure"]);
    }
    server.finished();
}

#[test]
fn a_client_of_all_finds_what_the_server_speaks() {
    let folder = files("either");
    for version in ["v1", "v2", "q044"] {
        let server = Server::start(&["--version", version, "--root", &folder.at("root"), "--once", "1"]);
        get(&folder, &server, version, &["--version", "any", "--insecure"]);
        server.finished();
    }
}

#[test]
fn a_server_of_another_version_is_told_apart() {
    let cases = [
        ("v1", "q044", "Q044"),
        ("q044", "v1", "QUICv1"),
        ("v1", "v2", "QUICv2"),
        ("v2", "v1", "QUICv1"),
        ("v1,q044", "v2", "QUICv2"),
        ("q044", "v2,v1", "QUICv2, QUICv1"),
    ];
    for (ours, theirs, offered) in cases {
        let server = Server::start(&["--version", theirs, "--echo"]);
        let error = fail(&["echo", &server.address.to_string(), "--insecure", "--version", ours]);
        let offer = format!("speaks none of the QUIC versions that were offered, but {offered}: ");
        assert!(error.contains(&offer) && error.contains("--version"), "{error}");
    }
}

/// RFC 9369 §4.1: versions 1 and 2 are compatible, and the server's preference counts. No second start is needed for that.
#[test]
fn the_preferred_version_of_the_server() {
    let server = Server::start(&["--version", "v2,v1", "--echo", "--once", "1"]);
    let address = server.address.to_string();
    let mut echo = command(&["echo", &address, "--insecure", "--version", "v1,v2", "--text", "foobar"]);
    let output = echo.env("RUST_LOG", "quic_proto=debug").output().unwrap();
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    assert!(out.contains("came back"), "{out}{log}");
    assert!(log.contains("the server has chosen another version"), "{log}");
    assert!(!log.contains("starts again"), "{log}");
    server.finished();
}

#[test]
fn a_text_comes_back_on_stream_3() {
    let server = Server::start(&["--version", "q044", "--echo", "--once", "1"]);
    let address = server.address.to_string();
    let mut echo = command(&["echo", &address, "--insecure", "--version", "q044", "--text", "foobar"]);
    let output = echo.env("RUST_LOG", "quic_proto::packets=debug").output().unwrap();
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    assert!(out.contains("\"foobar\" came back as \"foobar\""), "{out}");
    assert!(log.contains("-> STREAM 3: 6 bytes at 0") && log.contains("<- STREAM 3: 6 bytes at 0"), "{log}");
    server.finished();
}

#[test]
fn streams_come_back() {
    let server = Server::start(&["--version", "q044", "--echo", "--once", "1"]);
    let address = server.address.to_string();
    let args = ["echo", &address, "--insecure", "--version", "q044", "--size", "200kB", "--count", "2"];
    let out = succeed(&args);
    assert!(out.contains("6 streams, all intact"), "{out}");
    server.finished();
}

#[test]
fn a_demo() {
    let out = succeed(&["demo", "--version", "q044", "--size", "2MiB"]);
    for what in ["Q044, ", "upload    2.00 MiB", "download  2.00 MiB", "the same both ways"] {
        assert!(out.contains(what), "{what}: {out}");
    }
    let impaired = ["demo", "--version", "q044", "--size", "500kB", "--rtt", "10ms", "--loss", "1%"];
    assert!(succeed(&impaired).contains("lost by chance"));
}

#[test]
fn measurements_are_of_one_connection_at_a_time() {
    let client = ["perf", "client", "localhost:1", "--version", "q044"];
    for more in [&["rr", "--connections", "2"][..], &["handshake"], &["idle", "--count", "5"]] {
        let error = fail(&[&client, more].concat());
        assert!(error.contains("one at a time"), "{error}");
    }
}

#[test]
fn a_certificate_that_is_not_trusted() {
    let folder = files("q044-untrusted");
    let [other, _] = certificate(&folder);
    let server = Server::start(&["--version", "q044", "--root", &folder.at("root")]);
    let url = server.url("one");
    let error = fail(&["get", "--version", "q044", "--ca", &other, "-o", &folder.at("out"), &url]);
    assert!(error.contains("is not trusted") && error.contains("--insecure"), "{error}");
}

#[test]
fn options_of_versions_with_tls() {
    let get = ["get", "--version", "q044", "https://localhost/"];
    let serve = ["serve", "--version", "q044", "--listen", "127.0.0.1:0", "--echo"];
    let echo = ["echo", "--version", "q044", "localhost:1"];
    let cases: [(&[&str], &[&str]); 7] = [
        (&get, &["--cipher", "aes128"]),
        (&get, &["--key-update"]),
        (&get, &["--alpn", "hq-interop"]),
        (&get, &["--keylog", "keys"]),
        (&echo, &["--cipher", "chacha20"]),
        (&serve, &["--retry"]),
        (&serve, &["--keylog", "keys"]),
    ];
    for (args, option) in cases {
        let error = fail(&[args, option].concat());
        assert!(
            error.contains(&format!("{} is for QUIC versions 1 and 2", option[0])),
            "{option:?}: {error}"
        );
    }
}
