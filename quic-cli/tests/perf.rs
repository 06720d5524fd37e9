//! `quic perf`: both ends, every workload, and the impaired path.
#![allow(missing_docs, unreachable_pub, dead_code, reason = "tests, which share their support")]

mod support;

use quic_perf::{Report, ServerReport};
use support::{Server, fail, succeed};

fn server(extra: &[&str]) -> Server {
    Server::with(&[&["perf", "server", "--listen", "127.0.0.1:0"], extra].concat())
}

fn client(address: &str, args: &[&str]) -> Report {
    let out = succeed_quietly(&[&["perf", "client", address, "--insecure", "--json"], args].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

/// As [`succeed`], but what a workload tells on standard error is no complaint.
fn succeed_quietly(args: &[&str]) -> String {
    let output = support::quic(args);
    assert!(output.status.success(), "quic {args:?}\n{}", support::text(&output.stderr));
    support::text(&output.stdout)
}

/// Ends it as an operator does, and gives what it says then.
fn stop(server: Server) -> Vec<String> {
    support::signal(server.pid(), "TERM");
    server.finished()
}

#[test]
fn google_quic_is_measured_by_one_connection_at_a_time() {
    let server = server(&["--json", "--version", "any"]);
    let address = server.address.to_string();
    let google = |args: &[&str]| client(&address, &[&["--version", "q044"], args].concat());
    let down = google(&["download", "--size", "3MiB", "--at-once", "2"]);
    assert_eq!((down.received_bytes, down.exchanges, down.connections), (6 << 20, 2, 1));
    let up = google(&["upload", "--size", "3MiB"]);
    assert_eq!(up.sent_bytes, (3 << 20) + 8);
    let requests = google(&["rr", "--count", "500"]);
    assert_eq!((requests.exchanges, requests.received_bytes), (500, 500 << 10));
    let handshakes = google(&["handshake", "--at-once", "1", "--count", "5"]);
    assert_eq!(handshakes.connections, 5);
    // Beside one of version 1.
    assert_eq!(client(&address, &["rr", "--count", "5"]).exchanges, 5);
}

#[test]
fn so_many_bytes_go_each_way() {
    let server = server(&["--json"]);
    let address = server.address.to_string();
    let down = client(&address, &["download", "--size", "3MiB", "--at-once", "2"]);
    assert_eq!((down.received_bytes, down.sent_bytes, down.exchanges), (6 << 20, 16, 2));
    let up = client(&address, &["upload", "--size", "3MiB", "--connections", "2"]);
    assert_eq!((up.sent_bytes, up.received_bytes, up.connections), ((6 << 20) + 16, 0, 2));
    assert!(up.cpu_seconds > 0.0 && up.seconds > 0.0);
    assert!(down.waited.seconds("application") > 0.0, "{down:?}");
    let sockets = up.datagrams.unwrap();
    assert!(sockets.sent > (6 << 20) / 1500 && sockets.per_send() >= 1.0, "{sockets:?}");

    let told = stop(server);
    let told: ServerReport = serde_json::from_str(told.last().unwrap()).unwrap();
    assert_eq!((told.sent_bytes, told.received_bytes), (6 << 20, (6 << 20) + 32));
    // With the connection by which each client finds the address that answers.
    assert_eq!((told.connections, told.exchanges), (5, 4));
    assert!(told.waited.shares().is_some(), "{told:?}");
}

#[test]
fn time_bounds_what_has_no_size() {
    let server = server(&[]);
    let address = server.address.to_string();
    for workload in ["download", "upload"] {
        let report = client(&address, &[workload, "--duration", "300ms"]);
        assert!(report.seconds >= 0.3, "{report:?}");
        assert!(report.received_bytes + report.sent_bytes > 1 << 20, "{report:?}");
    }
    let mixed = client(&address, &["mixed", "--duration", "300ms"]);
    assert!(mixed.received_bytes > 1 << 20 && mixed.latency.is_some(), "{mixed:?}");
}

#[test]
fn requests_and_handshakes_are_counted_and_timed() {
    let server = server(&[]);
    let address = server.address.to_string();
    let rr = client(&address, &["rr", "--count", "1000", "--request", "100B", "--response", "2kB"]);
    assert_eq!((rr.exchanges, rr.sent_bytes, rr.received_bytes), (1000, 108_000, 2_000_000));
    let latency = rr.latency.unwrap();
    assert_eq!(latency.buckets.iter().map(|(_, count)| count).sum::<u64>(), 1000);
    assert!(latency.min_us <= latency.p50_us && latency.p50_us <= latency.p99_us);
    let asleep = client(&address, &["rr", "--count", "100", "--at-once", "1", "--busy-poll", "0us"]);
    assert_eq!(asleep.exchanges, 100);
    let handshakes = client(&address, &["handshake", "--count", "20", "--at-once", "4"]);
    assert_eq!((handshakes.connections, handshakes.exchanges), (20, 0));
    assert!(handshakes.latency.is_some());
}

#[test]
fn idle_connections_are_weighed() {
    let server = server(&[]);
    let address = server.address.to_string();
    let args = ["perf", "client", &address, "--insecure", "idle", "--count", "30", "--duration", "100ms"];
    let output = support::quic(&args);
    assert!(output.status.success());
    assert_eq!(support::text(&output.stderr), "30 connections are open\n");
    assert!(support::text(&output.stdout).contains("30 connections"), "{}", support::text(&output.stdout));
}

#[test]
fn people_get_a_text() {
    let server = server(&[]);
    let address = server.address.to_string();
    let out = succeed(&["perf", "client", &address, "--insecure", "rr", "--count", "50"]);
    for word in ["rr", "requests   50", "latency", "p99", "cpu", "waited for", "datagrams a system call"] {
        assert!(out.contains(word), "{word}: {out}");
    }
    let told = stop(server).join("\n");
    assert!(told.contains("served     2 connections, 50 streams"), "{told}");
}

#[test]
fn a_path_may_lie_between() {
    let server = server(&[]);
    let to = server.address.to_string();
    let path = ["perf", "path", &to, "--rtt", "20ms", "--rate", "20mbit", "--loss", "1%", "--seed", "3"];
    let path = Server::with(&path);
    let report = client(&path.address.to_string(), &["download", "--size", "500kB"]);
    assert_eq!(report.received_bytes, 500_000);
    // A round trip for the request, and what the rate allows.
    assert!(report.seconds > 0.02 + 500_000.0 * 8.0 / 20e6, "{report:?}");
    let told = stop(path);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[1].starts_with("to the client: ") && told[1].contains("lost by chance"), "{told:?}");
}

#[test]
fn errors_say_what_is_wrong() {
    let server = server(&[]);
    let address = server.address.to_string();
    assert!(fail(&["perf", "client", &address, "rr"]).contains("--insecure"));
    let silent = fail(&["perf", "client", "127.0.0.1:9", "--insecure", "--timeout", "200ms", "rr"]);
    assert!(silent.contains("does not answer"), "{silent}");
    let echo = Server::start(&["--echo"]);
    let other = fail(&["perf", "client", &echo.address.to_string(), "--insecure", "rr"]);
    assert!(other.contains("does not speak \"perf\""), "{other}");
    assert!(fail(&["perf", "client", "nowhere", "--insecure", "rr"]).contains("HOST:PORT"));
}

/// §2.3.2 of the draft: one-way streams are answered on one-way streams, and those that ask for nothing are not.
#[tokio::test]
async fn one_way_streams_are_answered_by_one_way_streams() {
    use quic_proto::config::ClientConfig;
    use quic_proto::crypto::rustls::{ClientOptions, RustlsClient};

    let server = server(&[]);
    let options = ClientOptions { alpn: vec![b"perf".to_vec()], ..ClientOptions::default() };
    let tls = RustlsClient::danger_accept_any_certificate(options).unwrap();
    let endpoint = quic_tokio::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = ClientConfig::new(std::sync::Arc::new(tls));
    let connection = endpoint.connect_with(server.address, "localhost", &config).unwrap().await.unwrap();
    for size in [0_u64, 5000, 7] {
        let mut send = connection.open_uni().await.unwrap();
        send.write_all(&size.to_be_bytes()).await.unwrap();
        send.finish().unwrap();
        if size > 0 {
            // The next that comes is for this one: the one before asked for nothing, and got nothing.
            let mut recv = connection.accept_uni().await.unwrap();
            assert_eq!(recv.read_to_end(10_000).await.unwrap(), vec![0; size as usize]);
        }
    }
    // A stream that ends within the eight bytes is closed gracefully.
    let (mut send, mut recv) = connection.open_bi().await.unwrap();
    send.write_all(&[0; 7]).await.unwrap();
    send.finish().unwrap();
    assert!(recv.read_to_end(10).await.unwrap().is_empty());
    connection.close(0.into(), b"");
    endpoint.wait_idle().await;
}
