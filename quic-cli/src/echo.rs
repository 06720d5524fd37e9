//! `quic echo`: random bytes there and back, with round-trip times as `ping` gives them.

use crate::args::{Echo, host_and_port};
use crate::dial::Dialer;
use crate::failure::Failure;
use crate::serve::{ECHO, say, secret};
use quic_perf::units;
use quic_proto::rng::{Rng, SeededRng};
use quic_tokio::{AppError, Connection};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

pub(crate) async fn run(args: Echo) -> Result<(), Failure> {
    let dialer = Dialer::new(&args.client, ECHO, false)?;
    let (host, port) = host_and_port(&args.addr)?;
    let (endpoint, connection) = dialer.reach(&host, port).await?;
    let mut times = Vec::new();
    let mut rng = SeededRng::from_seed(secret()?);
    for round in 1..=args.count {
        if let Some(text) = &args.text {
            let (back, time) = one_text(&connection, text).await?;
            say(&format!(
                "{round}: {text:?} came back as {back:?} in {time:.1?}, rtt {:.2?}",
                connection.rtt()
            ));
            times.push(time);
            continue;
        }
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..args.streams {
            let seed = rng.next_u64();
            let connection = connection.clone();
            tasks.spawn(async move { one_stream(&connection, seed, args.size).await });
        }
        while let Some(done) = tasks.join_next().await {
            times.push(done.map_err(|error| Failure::Usage(error.to_string()))??);
        }
        let moved = args.size.saturating_mul(args.streams);
        let time = begun.elapsed();
        say(&format!(
            "{round}: {} on {} streams came back in {time:.1?}, {}, rtt {:.2?}",
            units::bytes(moved),
            args.streams,
            units::throughput(moved.saturating_mul(2), time),
            connection.rtt(),
        ));
    }
    summary(&times);
    connection.close(AppError::from(0), b"done");
    endpoint.wait_idle().await;
    Ok(())
}

fn summary(times: &[Duration]) {
    let (Some(min), Some(max)) = (times.iter().min(), times.iter().max()) else { return };
    let mean = times.iter().sum::<Duration>() / times.len() as u32;
    let streams = if times.len() == 1 { "stream" } else { "streams, all" };
    say(&format!("{} {streams} intact: min {min:.1?}, mean {mean:.1?}, max {max:.1?}", times.len()));
}

/// Sends a text, and returns what comes back and how long that took. The stream is finished only then: the echo program of quic-go ends
/// itself with the stream, whatever is still under way.
async fn one_text(connection: &Connection, text: &str) -> Result<(String, Duration), Failure> {
    let begun = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.map_err(Failure::Connection)?;
    send.write_all(text.as_bytes()).await.map_err(Failure::stream)?;
    let mut back = vec![0; text.len()];
    recv.read_exact(&mut back).await.map_err(Failure::stream)?;
    let (back, time) = (String::from_utf8_lossy(&back).into_owned(), begun.elapsed());
    if back != *text {
        return Err(Failure::Mismatch(format!("{text:?} came back as {back:?}")));
    }
    send.finish().map_err(Failure::stream)?;
    Ok((back, time))
}

/// Sends `size` random bytes and checks what comes back. Returns how long that took.
async fn one_stream(connection: &Connection, seed: u64, size: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let (mut send, mut recv) = connection.open_bi().await.map_err(Failure::Connection)?;
    let writer = tokio::spawn(async move {
        let mut rng = SeededRng::from_u64(seed);
        let (mut block, mut left) = (vec![0; 64 * 1024], size);
        while left > 0 {
            let len = left.min(block.len() as u64) as usize;
            rng.fill(&mut block[..len]);
            send.write_all(&block[..len]).await?;
            left -= len as u64;
        }
        send.finish().map_err(|_| quic_tokio::WriteError::ClosedStream)
    });
    let mut rng = SeededRng::from_u64(seed);
    let (mut expected, mut at, mut total) = (vec![0; 64 * 1024], 64 * 1024, 0_u64);
    let mut block = vec![0; 64 * 1024];
    loop {
        let read = recv.read(&mut block).await.map_err(Failure::stream)?;
        let Some(read) = read else { break };
        for byte in &block[..read] {
            if at == expected.len() {
                // No more than was sent: a block costs more than a short stream.
                let len = size.saturating_sub(total).min(expected.len() as u64) as usize;
                rng.fill(&mut expected[..len]);
                at = 0;
            }
            if *byte != expected[at] {
                return Err(Failure::Mismatch(format!("byte {total} differs")));
            }
            (at, total) = (at + 1, total + 1);
        }
    }
    if total != size {
        return Err(Failure::Mismatch(format!("{total} of {size} bytes came")));
    }
    let written = writer.await.map_err(|error| Failure::Usage(error.to_string()))?;
    written.map_err(Failure::stream)?;
    Ok(begun.elapsed())
}
