//! A slow, long or lossy link for IP packets, as `quic perf path` is one for datagrams: quic-sim's link model in real time between two TUN
//! devices. What TCP is measured over, which no proxy for datagrams can carry.
//!
//! It makes the devices, says so, and moves packets until it is killed; addresses, and network namespaces to put the devices in, are the
//! caller's. Linux only, and only for root.
//!
//! Each direction is a pipe with two threads: one puts in what its device gives, one takes out what is due.

use quic_perf::{Error, units};
use quic_proto::time::Instant;
use quic_sim::units::{Probability, Rate};
use quic_sim::{Link, Pipe, Queue};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// `quic perf path` counts UDP payloads, this link IP packets: the same packets pass both in a second.
const PACKET: u64 = 1480;
const PAYLOAD: u64 = 1452;

/// Makes a link between two TUN devices.
#[derive(clap::Parser, Debug)]
struct Args {
    /// The names of the devices
    #[arg(num_args = 2, required = true, value_name = "DEVICE")]
    devices: Vec<String>,
    /// The round-trip time, e.g. 40ms
    #[arg(long, value_parser = units::time)]
    rtt: Duration,
    /// Lose this share of packets in each direction, e.g. 1%
    #[arg(long, value_parser = units::share)]
    loss: f64,
    /// Carry so much, e.g. 100mbit
    #[arg(long, value_parser = units::rate)]
    rate: u64,
    /// Let so much wait for the wire
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    queue: u64,
    /// What the losses follow from
    #[arg(long, value_name = "N")]
    seed: u64,
}

fn main() -> ExitCode {
    match run(&<Args as clap::Parser>::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Error> {
    let [a, b] = [device(&args.devices[0])?, device(&args.devices[1])?];
    let link = Link::new()
        .delay(args.rtt / 2)
        .loss(Probability::new(args.loss))
        .rate(Rate::bits_per_second(args.rate * PACKET / PAYLOAD))
        .queue(Queue::drop_tail(usize::try_from(args.queue * PACKET / PAYLOAD)?));
    println!("the link is there");
    let begun = std::time::Instant::now();
    let line = |from, to, seed| Line {
        pipe: Mutex::new(Pipe::new(link.clone(), seed)),
        news: Condvar::new(),
        begun,
        from,
        to,
    };
    // The seeds are those of `quic perf path`.
    let lines =
        [line(&a, &b, args.seed.wrapping_mul(2)), line(&b, &a, args.seed.wrapping_mul(2).wrapping_add(1))];
    thread::scope(|scope| {
        for line in &lines {
            scope.spawn(|| line.put_in());
            scope.spawn(|| line.take_out());
        }
    });
    Ok(())
}

/// Makes a TUN device, which is there for as long as the file is open: what is read from it are the packets that the system sends, and what is
/// written to it are those that it receives.
#[allow(unsafe_code, reason = "no safe interface has this system call")]
fn device(name: &str) -> Result<File, Error> {
    /// What `TUNSETIFF` takes of a `struct ifreq`.
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        flags: libc::c_short,
        rest: [u8; 22],
    }
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    let mut request = Request { name: [0; libc::IFNAMSIZ], flags, rest: [0; 22] };
    // The last byte stays zero.
    let most = name.len().min(libc::IFNAMSIZ - 1);
    request.name[..most].copy_from_slice(&name.as_bytes()[..most]);
    // SAFETY: the descriptor is open; the request has the size and the layout of a `struct ifreq`, and the kernel keeps no pointer to it.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if result == 0 { Ok(file) } else { Err(io::Error::last_os_error().into()) }
}

/// One direction.
struct Line<'a> {
    pipe: Mutex<Pipe>,
    /// Something was put in.
    news: Condvar,
    /// Where the pipe's time begins.
    begun: std::time::Instant,
    from: &'a File,
    to: &'a File,
}

impl Line<'_> {
    fn now(&self) -> Instant {
        Instant::EPOCH + self.begun.elapsed()
    }

    fn put_in(&self) {
        let mut buf = vec![0; 65_536];
        // A device that is down gives errors until it is up.
        loop {
            match (&mut &*self.from).read(&mut buf) {
                Ok(len) => {
                    self.pipe.lock().unwrap_or_else(PoisonError::into_inner).send(self.now(), &buf[..len]);
                    self.news.notify_one();
                }
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn take_out(&self) {
        let mut pipe = self.pipe.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some(packet) = pipe.receive(self.now()) {
                // What cannot be sent is lost, as on any path.
                let _ = (&mut &*self.to).write(&packet);
                pipe.recycle(packet);
            }
            let wait = pipe.next_timeout().map_or(Duration::from_secs(1), |due| due - self.now());
            let waited = self.news.wait_timeout(pipe, wait.max(Duration::from_micros(50)));
            pipe = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
