//! QUIC by hand: a loop around `std::net::UdpSocket`, for those who use neither adapter. An endpoint that is client and server greets itself.
//!
//! `cargo run -p quic-proto --example by_hand`. It sends one datagram a call and notices no ECN; `quic-udp` does better.
#![allow(clippy::disallowed_methods, reason = "the application is who owns the clock")]

use quic_proto::config::{ClientConfig, EndpointConfig, ServerConfig};
use quic_proto::crypto::rustls::{Identity, client_config, server_config};
use quic_proto::event::{Event, StreamEvent};
use quic_proto::net::{Datagram, FourTuple};
use quic_proto::time::{Duration, Instant, UnixTime};
use quic_proto::{
    Connection, Endpoint, error::AppError, id::Dir, id::StreamId, rng::SeededRng, streams::ReadError,
};
use std::io::ErrorKind::{ConnectionReset, Interrupted, TimedOut, WouldBlock};
use std::{error::Error, net::UdpSocket, num::NonZeroUsize, sync::Arc, time::SystemTime};

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

/// The loop. It ends when all connections have. What fails for one client, or on one stream, is no reason to end it.
fn run(socket: &UdpSocket, endpoint: &mut Endpoint) -> Result<(), Box<dyn Error>> {
    let (local, start, mut buf) = (socket.local_addr()?, std::time::Instant::now(), vec![0; 1 << 16]);
    loop {
        let now = Instant::EPOCH + start.elapsed();
        endpoint.handle_timeout(now);
        while let Some(client) = endpoint.poll_incoming() {
            if let Err(error) = endpoint.accept(now, client) {
                eprintln!("a client was not accepted: {error}");
            }
        }
        while let Some((handle, event)) = endpoint.poll_event() {
            let Some(connection) = endpoint.connection(handle) else { continue };
            if let Err(error) = act(connection, now, event) {
                eprintln!("{:?}: {error}", connection.side());
                connection.close(now, AppError::from(1), b"");
            }
        }
        while let Some(transmit) = endpoint.poll_transmit(now, &mut buf, NonZeroUsize::MIN) {
            // What the system does not send is lost, as on any path.
            let _ = socket.send_to(&buf[..transmit.len], transmit.path.remote);
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
            // Time is up; or, on some systems, what was sent earlier has not arrived.
            Err(error) if matches!(error.kind(), WouldBlock | TimedOut | Interrupted | ConnectionReset) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The application: what is done when something happens.
fn act(connection: &mut Connection, now: Instant, event: Event) -> Result<(), Box<dyn Error>> {
    match event {
        Event::Connected if connection.side().is_client() => {
            let id = connection.open(Dir::Bi)?;
            connection.send_stream(id)?.write(b"hello")?;
            connection.send_stream(id)?.finish()?;
        }
        Event::Stream(StreamEvent::Opened(Dir::Bi)) => {
            while let Some(id) = connection.accept(Dir::Bi) {
                greet(connection, id, now)?;
            }
        }
        Event::Stream(StreamEvent::Readable(id)) => greet(connection, id, now)?,
        Event::Closed(reason) => eprintln!("{:?}: {reason}", connection.side()),
        _ => {}
    }
    Ok(())
}

/// Reads what there is of a stream, which may come in pieces. A server sends every piece back, a client looks at it.
fn greet(connection: &mut Connection, id: StreamId, now: Instant) -> Result<(), Box<dyn Error>> {
    loop {
        // Once it was read to its end there is no such stream.
        let Ok(mut stream) = connection.recv_stream(id) else { return Ok(()) };
        match stream.read_bytes(1000) {
            Ok(Some(piece)) if connection.side().is_client() => eprintln!("{}", piece.escape_ascii()),
            // It may take less than all where a peer does not read: to do more, keep the rest until `StreamEvent::Writable`.
            Ok(Some(piece)) => _ = connection.send_stream(id)?.write(&piece)?,
            Ok(None) if connection.side().is_client() => connection.close(now, AppError::from(0), b"bye"),
            Ok(None) => connection.send_stream(id)?.finish()?,
            // More comes with another `Readable`, or all was read.
            Err(ReadError::Blocked | ReadError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

#[test]
fn an_endpoint_greets_itself() {
    main().unwrap();
}
