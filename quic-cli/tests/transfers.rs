//! What the command moves arrives: serve and get, echo, demo.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests, which share their support")]

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};
use support::{Folder, PATIENCE, Server, certificate, command, list, quic, succeed};

#[test]
fn files_of_all_sizes() {
    let folder = Folder::new("sizes");
    let names = ["empty", "one", "big"];
    for (name, len) in names.into_iter().zip([0, 1, 3_000_001]) {
        folder.put(name, len);
    }
    let server = Server::start(&["--root", &folder.at("root"), "--once", "1"]);
    assert!(server.greeting.iter().any(|line| line.contains("SHA-256 ")), "{:?}", server.greeting);
    let urls = names.map(|name| server.url(name));
    let out = succeed(&["get", "--insecure", "-o", &folder.at("out"), &urls[0], &urls[1], &urls[2]]);
    assert_eq!(out.lines().count(), names.len(), "a line a file: {out}");
    folder.same("out", &names);
    server.finished();
}

#[test]
fn a_hundred_small_files_on_one_connection() {
    let folder = Folder::new("hundred");
    let names: Vec<String> = (0..100).map(|i| format!("small{i}")).collect();
    names.iter().for_each(|name| folder.put(name, 1000 + name.len()));
    let server = Server::start(&["--root", &folder.at("root"), "--once", "1", "--retry"]);
    let urls: Vec<String> = names.iter().map(|name| server.url(name)).collect();
    let out = folder.at("out");
    let mut args = vec!["get", "--insecure", "-o", &out, "--key-update"];
    args.extend(urls.iter().map(String::as_str));
    succeed(&args);
    folder.same("out", &names.iter().map(String::as_str).collect::<Vec<_>>());
    server.finished();
}

#[test]
fn every_option_of_get() {
    let folder = Folder::new("options");
    let [cert, key] = certificate(&folder);
    folder.put("file", 300_000);
    folder.put("other", 5);
    let root = folder.at("root");
    let args = ["--root", &root, "--cert", &cert, "--key", &key, "--retry", "--cc", "newreno"];
    let server = Server::start(&args);
    assert_eq!(server.greeting.len(), 1, "no certificate was made: {:?}", server.greeting);
    let keys = folder.at("keys");
    let connect = server.address.to_string();
    let url = server.url("file");
    let options: [&[&str]; 10] = [
        &["--cipher", "aes128"],
        &["--cipher", "aes256"],
        &["--cipher", "chacha20"],
        &["--key-update"],
        &["--window", "64KiB"],
        &["--cc", "newreno"],
        &["--alpn", "hq-interop"],
        &["--version", "v1"],
        &["--keylog", &keys],
        &["--connect", &connect],
    ];
    for (at, options) in options.into_iter().enumerate() {
        let name = format!("out{at}");
        let out = folder.at(&name);
        let mut args = vec!["get", "--ca", &cert, "-o", &out, &url];
        args.extend(options);
        succeed(&args);
        folder.same(&name, &["file"]);
    }
    let log = std::fs::read_to_string(&keys).unwrap();
    for label in ["CLIENT_HANDSHAKE_TRAFFIC_SECRET ", "SERVER_TRAFFIC_SECRET_0 "] {
        assert!(log.contains(label), "{log}");
    }
}

#[test]
fn a_connection_for_each_url() {
    let folder = Folder::new("per-url");
    let names = ["a", "b", "c"];
    names.into_iter().for_each(|name| folder.put(name, 2000));
    // It ends by itself only if there are three.
    let server = Server::start(&["--root", &folder.at("root"), "--once", "3"]);
    let urls = names.map(|name| server.url(name));
    let out = folder.at("out");
    succeed(&["get", "--insecure", "--connection-per-url", "-o", &out, &urls[0], &urls[1], &urls[2]]);
    folder.same("out", &names);
    server.finished();
}

#[test]
fn the_environment_names_a_key_log() {
    let folder = Folder::new("environment");
    folder.put("file", 10);
    let server = Server::start(&["--root", &folder.at("root"), "--keylog", &folder.at("server-keys")]);
    let mut get = command(&["get", "--insecure", "-o", &folder.at("out"), &server.url("file")]);
    assert!(get.env("SSLKEYLOGFILE", folder.at("keys")).output().unwrap().status.success());
    let secret = |name: &str| {
        let log = std::fs::read_to_string(folder.at(name)).unwrap();
        let line = log.lines().find(|line| line.starts_with("CLIENT_TRAFFIC_SECRET_0 "));
        line.unwrap_or_else(|| panic!("{name}: {log}")).to_owned()
    };
    assert_eq!(secret("keys"), secret("server-keys"));
}

#[test]
fn the_same_url_twice_is_one_file() {
    let folder = Folder::new("twice");
    folder.put("file", 500_000);
    let server = Server::start(&["--root", &folder.at("root")]);
    let url = server.url("file");
    succeed(&["get", "--insecure", "-o", &folder.at("out"), &url, &url]);
    folder.same("out", &["file"]);
}

#[test]
fn streams_come_back_from_an_echo_server() {
    let server = Server::start(&["--echo", "--once", "1"]);
    let address = server.address.to_string();
    let args = ["echo", &address, "--insecure", "--size", "200kB", "--streams", "4", "--count", "3"];
    let out = succeed(&args);
    assert_eq!(out.lines().count(), 4, "a line a round and a summary: {out}");
    assert!(out.contains("12 streams, all intact"), "{out}");
    server.finished();
}

#[test]
fn many_more_streams_than_are_permitted_at_once() {
    let server = Server::start(&["--echo", "--once", "1"]);
    let address = server.address.to_string();
    let out = succeed(&["echo", &address, "--insecure", "--size", "10B", "--streams", "1000"]);
    assert!(out.contains("1000 streams, all intact"), "{out}");
    server.finished();
}

#[test]
fn a_demo_tells_what_happened() {
    let out = succeed(&["demo", "--size", "4MiB"]);
    for what in [
        "QUICv1, TLS_",
        "handshake in",
        "upload    4.00 MiB",
        "download  4.00 MiB",
        "rtt",
        "client ",
        "server ",
    ] {
        assert!(out.contains(what), "{what}: {out}");
    }
    assert!(!out.contains("in between"), "there was no path in between: {out}");
}

#[test]
fn a_demo_moves_a_file() {
    let folder = Folder::new("demo");
    let path = folder.at("file");
    std::fs::write(&path, b"abc").unwrap();
    let out = succeed(&["demo", "--file", &path]);
    // FIPS 180-2, appendix B.1.
    assert!(out.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "{out}");
}

#[test]
fn a_demo_over_an_impaired_path() {
    let begun = Instant::now();
    let out = succeed(&["demo", "--size", "1MiB", "--rtt", "10ms", "--loss", "1%", "--rate", "50mbit"]);
    // Two times 8 Mbit at 50 Mbit/s.
    assert!(begun.elapsed() > Duration::from_millis(330), "the rate was exceeded: {:?}", begun.elapsed());
    let between = out.lines().find(|line| line.starts_with("in between ")).unwrap_or_else(|| panic!("{out}"));
    assert!(!between.contains(" 0 datagrams lost by chance"), "{out}");
    let least = out.split("(least ").nth(1).and_then(|rest| rest.split("ms").next());
    let least: f64 = least.and_then(|least| least.parse().ok()).unwrap_or_else(|| panic!("{out}"));
    assert!(least >= 10.0, "{out}");
}

/// hq-interop names no length, so a server that breaks off must not end the stream as if that were all.
#[test]
#[cfg(target_os = "linux")]
fn a_file_that_cannot_be_read_is_no_empty_file() {
    let folder = Folder::new("unreadable");
    // There is such a file for every process; its first page cannot be read.
    let server = Server::start(&["--root", "/proc/self"]);
    let output = quic(&["get", "--insecure", "-o", &folder.at("out"), &server.url("mem")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(support::text(&output.stderr).contains("reset the stream"), "{output:?}");
    assert_eq!(list(&folder.0.join("out")), [""; 0]);
}

#[test]
#[cfg(unix)]
fn who_is_interrupted_leaves_no_half_file() {
    for interrupt_server in [true, false] {
        let folder = Folder::new(if interrupt_server { "interrupted" } else { "interrupted-get" });
        let file = std::fs::File::create(folder.at("root/huge")).unwrap();
        file.set_len(64 << 30).unwrap();
        let server = Server::start(&["--root", &folder.at("root"), "--once", "1"]);
        let out = folder.0.join("out");
        let mut get = command(&["get", "--insecure", "-o", out.to_str().unwrap(), &server.url("huge")]);
        let get = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let begun = Instant::now();
        while !list(&out).iter().any(|name| out.join(name).metadata().is_ok_and(|m| m.len() > 0)) {
            assert!(begun.elapsed() < PATIENCE, "nothing arrives");
            std::thread::sleep(Duration::from_millis(5));
        }
        support::signal(if interrupt_server { server.pid() } else { get.id() }, "INT");
        // A client that is interrupted takes its leave, so that the server has done what it was to do.
        server.finished();
        let output = get.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert_eq!(list(&out), [""; 0], "neither the file nor a part of it is left");
    }
}
