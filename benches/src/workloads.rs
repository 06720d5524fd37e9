//! What is measured: a transfer, requests, handshakes, and connections that do nothing. The same applications drive every library.

use crate::SOURCE;
use crate::counting::{Account, live_bytes};
use crate::library::{Dir, Library, News};
use crate::link::{Application, Cost, End, Link};

/// Requests that are under way at a time.
pub const CONCURRENT: u64 = 100;
/// The size of a request, in bytes.
pub const REQUEST: usize = 64;
/// The size of a response, in bytes.
pub const RESPONSE: usize = 1024;

/// In nanoseconds: a handshake with all that follows it is over by then, delayed acknowledgements included.
const SETTLING: u64 = 100_000_000;

/// In nanoseconds: a connection that has done nothing for so long is idle.
const IDLE: u64 = 5_000_000_000;

/// The applications.
pub enum Role<L: Library> {
    /// Sends one stream.
    Sender {
        /// Bytes that are still to be written.
        left: u64,
        /// The stream.
        stream: Option<L::Stream>,
        /// Whether all was acknowledged.
        done: bool,
    },
    /// Reads a stream. Progress is in bytes.
    Receiver {
        /// Bytes read.
        received: u64,
    },
    /// Asks, many streams at a time. Progress is in responses.
    Asker {
        /// Requests that are still to be sent.
        left: u64,
        /// Requests that were sent and not answered.
        open: u64,
        /// Responses that came.
        answered: u64,
    },
    /// Answers.
    Answerer,
    /// Does nothing.
    Idle,
}

impl<L: Library> Application<L> for Role<L> {
    fn on_news(&mut self, library: &mut L, connection: L::Connection, news: News<L::Stream>) {
        match self {
            Self::Sender { left, stream, done } => match news {
                News::Connected => {
                    *stream = library.open(connection, Dir::Uni);
                    write(library, connection, *stream, left);
                }
                News::Writable(_) => write(library, connection, *stream, left),
                News::Finished(_) => *done = true,
                _ => {}
            },
            Self::Receiver { received } => match news {
                News::Opened(dir) => {
                    while let Some(stream) = library.accept(connection, dir) {
                        *received += library.read(connection, stream).len;
                    }
                }
                News::Readable(stream) => *received += library.read(connection, stream).len,
                _ => {}
            },
            Self::Asker { left, open, answered } => {
                if let News::Readable(stream) = news
                    && library.read(connection, stream).end
                {
                    *answered += 1;
                    *open -= 1;
                }
                while *left > 0 && *open < CONCURRENT && ask(library, connection) {
                    *left -= 1;
                    *open += 1;
                }
            }
            Self::Answerer => match news {
                News::Opened(dir) => {
                    while let Some(stream) = library.accept(connection, dir) {
                        answer(library, connection, stream);
                    }
                }
                News::Readable(stream) => answer(library, connection, stream),
                _ => {}
            },
            Self::Idle => {}
        }
    }

    fn progress(&self) -> u64 {
        match self {
            Self::Sender { done, .. } => u64::from(*done),
            Self::Receiver { received } => *received,
            Self::Asker { answered, .. } => *answered,
            Self::Answerer | Self::Idle => 0,
        }
    }
}

fn write<L: Library>(library: &mut L, connection: L::Connection, stream: Option<L::Stream>, left: &mut u64) {
    let Some(stream) = stream else { return };
    while *left > 0 {
        let written = library.write(connection, stream, &SOURCE[..SOURCE.len().min(*left as usize)]);
        if written == 0 {
            return;
        }
        *left -= written as u64;
        if *left == 0 {
            library.finish(connection, stream);
        }
    }
}

/// Sends a request, if the peer permits one more.
fn ask<L: Library>(library: &mut L, connection: L::Connection) -> bool {
    let Some(stream) = library.open(connection, Dir::Bi) else { return false };
    assert_eq!(library.write(connection, stream, &SOURCE[..REQUEST]), REQUEST, "windows are large");
    library.finish(connection, stream);
    true
}

fn answer<L: Library>(library: &mut L, connection: L::Connection, stream: L::Stream) {
    if library.read(connection, stream).end {
        assert_eq!(library.write(connection, stream, &SOURCE[..RESPONSE]), RESPONSE, "windows are large");
        library.finish(connection, stream);
    }
}

fn link<L: Library>(libraries: [L; 2], roles: [Role<L>; 2]) -> Link<L, Role<L>> {
    let ([client, server], [asks, answers]) = (libraries, roles);
    Link::new([End { library: client, application: asks }, End { library: server, application: answers }])
}

/// Goes on until the client, then the server has made this progress. Gives the cost of all but the first quarter, which leaves out the
/// handshake, slow start, and pools that fill.
fn measured<L: Library>(link: &mut Link<L, Role<L>>, whole: [u64; 2]) -> Cost {
    let (at, all) = if whole[1] > 1 { (1, whole[1]) } else { (0, whole[0]) };
    link.connect();
    link.run_until(|ends| ends[at].application.progress() >= all / 4);
    let start = link.marks();
    link.run_until(|ends| (0..2).all(|at| ends[at].application.progress() >= whole[at]));
    start.until(&link.marks())
}

/// The client sends `bytes` on one stream. The cost is for the last three quarters.
pub fn bulk<L: Library>(libraries: [L; 2], bytes: u64) -> Cost {
    let sender = Role::Sender { left: bytes, stream: None, done: false };
    measured(&mut link(libraries, [sender, Role::Receiver { received: 0 }]), [1, bytes])
}

/// The client sends `count` requests of [`REQUEST`] bytes, [`CONCURRENT`] at a time, each on a stream of its own, and the server answers
/// with [`RESPONSE`] bytes. The cost is for the last three quarters.
pub fn requests<L: Library>(libraries: [L; 2], count: u64) -> Cost {
    let asker = Role::Asker { left: count, open: 0, answered: 0 };
    measured(&mut link(libraries, [asker, Role::Answerer]), [count, 0])
}

/// Makes `count` connections, one after the other, each with a full handshake and what follows it (tickets, tokens, ids). The first is not
/// counted.
pub fn handshakes<L: Library>(libraries: [L; 2], count: u64) -> Cost {
    let mut link = link(libraries, [Role::Idle, Role::Idle]);
    let mut start = link.marks();
    for at in 0..=count {
        if at == 1 {
            start = link.marks();
        }
        link.connect();
        link.run_for(SETTLING);
    }
    start.until(&link.marks())
}

/// Heap bytes by connection.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// At the client's end.
    pub client: f64,
    /// At the server's end.
    pub server: f64,
    /// What the library says of both ends, if it says something.
    pub reported: Option<[f64; 2]>,
}

/// Makes `count` connections that do nothing. Gives the heap bytes that each costs at each end, endpoint included.
pub fn idle<L: Library>(libraries: [L; 2], count: u64) -> Memory {
    let before = [Account::Client, Account::Server].map(live_bytes);
    let mut link = link(libraries, [Role::Idle, Role::Idle]);
    for _ in 0..count {
        link.connect();
        link.run_for(SETTLING / 50);
    }
    link.run_for(IDLE);
    let after = [Account::Client, Account::Server].map(live_bytes);
    let each = |bytes: i64| bytes as f64 / count as f64;
    let reported = link.ends.each_ref().map(|end| end.library.reported_memory());
    Memory {
        client: each(after[0] - before[0]),
        server: each(after[1] - before[1]),
        reported: match reported {
            [Some(client), Some(server)] => Some([each(client as i64), each(server as i64)]),
            _ => None,
        },
    }
}
