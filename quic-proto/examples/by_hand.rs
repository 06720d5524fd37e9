//! QUIC by hand: a loop around `std::net::UdpSocket`, for those who use neither adapter. An endpoint that is client and server greets itself.
//!
//! `cargo run -p quic-proto --example by_hand`. It sends one datagram a call and notices no ECN; `quic-udp` does better.
#![allow(clippy::disallowed_methods, reason = "the application is who owns the clock")]

use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::crypto::rustls::{Identity, client_config, server_config};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::time::{Duration, Instant, UnixTime};
use quic_proto::{Connection, Endpoint, error::AppError, id::Dir, rng::SeededRng};
use std::{error::Error, io::ErrorKind, net::UdpSocket, num::NonZeroUsize, sync::Arc, time::SystemTime};

fn main() -> Result<(), Box<dyn Error>> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone())?;
    let identity = Identity { chain: vec![made.cert.into()], key: made.signing_key.into() };
    let mut secrets = [[0; 32]; 3];
    getrandom::fill(secrets.as_flattened_mut())?;

    let server = ServerConfig::new(Arc::new(server_config(identity, &[b"hi"])?), &secrets[0]).build()?;
    let client = ClientConfig::new(Arc::new(client_config(roots, &[b"hi"])?));
    let (config, rng) = (EndpointConfig::new(&secrets[1]), Box::new(SeededRng::from_seed(secrets[2])));
    let epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let mut endpoint = Endpoint::new(config, Some(server), rng, UnixTime::from_secs(epoch));
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    endpoint.connect(Instant::EPOCH, FourTuple::to(socket.local_addr()?), "localhost", &client)?;
    run(&socket, &mut endpoint)
}

/// The loop. It ends when all connections have.
fn run(socket: &UdpSocket, endpoint: &mut Endpoint) -> Result<(), Box<dyn Error>> {
    let (local, start, mut buf) = (socket.local_addr()?, std::time::Instant::now(), vec![0; 1 << 16]);
    loop {
        let now = Instant::EPOCH + start.elapsed();
        endpoint.handle_timeout(now);
        while let Some(client) = endpoint.poll_incoming() {
            endpoint.accept(now, client)?;
        }
        while let Some((handle, event)) = endpoint.poll_event() {
            if let Some(connection) = endpoint.connection(handle) {
                act(connection, now, &event)?;
            }
        }
        while let Some(transmit) = endpoint.poll_transmit(now, &mut buf, NonZeroUsize::MIN) {
            socket.send_to(&buf[..transmit.len], transmit.path.remote)?;
        }
        if endpoint.connections() == 0 {
            return Ok(());
        }
        let wait = endpoint.next_timeout().map(|deadline| deadline - now);
        socket.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
        match socket.recv_from(&mut buf) {
            Ok((len, remote)) => {
                let path = FourTuple { local: Some(local), remote };
                let datagram = Datagram { path, ecn: None, payload: &mut buf[..len] };
                endpoint.handle_datagram(Instant::EPOCH + start.elapsed(), datagram);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The application: what is done when something happens.
fn act(connection: &mut Connection, now: Instant, event: &Event) -> Result<(), Box<dyn Error>> {
    match event {
        Event::Connected if connection.side().is_client() => {
            let id = connection.open(Dir::Bi)?;
            connection.send_stream(id)?.write(b"hello")?;
            connection.send_stream(id)?.finish()?;
        }
        Event::Stream(StreamEvent::Opened(dir)) => {
            while let Some(id) = connection.accept(*dir) {
                let greeting = connection.recv_stream(id)?.read_bytes(100)?.unwrap_or_default();
                connection.send_stream(id)?.write(&[&greeting, &b" to you too"[..]].concat())?;
                connection.send_stream(id)?.finish()?;
            }
        }
        Event::Stream(StreamEvent::Readable(id)) if connection.side().is_client() => {
            let answer = connection.recv_stream(*id)?.read_bytes(100)?.unwrap_or_default();
            assert_eq!(answer, "hello to you too");
            connection.close(now, AppError::from(0), b"bye");
        }
        Event::Closed(reason) => eprintln!("{:?}: {reason}", connection.side()),
        _ => {}
    }
    Ok(())
}

#[test]
fn an_endpoint_greets_itself() {
    main().unwrap();
}
