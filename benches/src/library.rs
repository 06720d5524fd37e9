//! What the workloads need of a library: an endpoint with its connections and their streams. Written once for each library, so that the
//! applications are written once for all.

use crate::link::Batch;

/// The direction of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dir {
    /// Both ways.
    Bi,
    /// From the one who opened it.
    Uni,
}

/// What a library tells the application.
#[derive(Clone, Copy, Debug)]
pub enum News<Stream> {
    /// The handshake is complete.
    Connected,
    /// The peer opened streams.
    Opened(Dir),
    /// More streams may be opened.
    Available(Dir),
    /// There is something to read.
    Readable(Stream),
    /// There is room to write.
    Writable(Stream),
    /// All that was written has arrived.
    Finished(Stream),
}

/// What was read from a stream.
#[derive(Clone, Copy, Debug)]
pub struct Read {
    /// Bytes.
    pub len: u64,
    /// Whether nothing follows.
    pub end: bool,
}

/// A client or a server of one library. Times are in nanoseconds since the run began.
pub trait Library {
    /// Names a connection.
    type Connection: Copy;
    /// Names a stream of a connection.
    type Stream: Copy;

    /// Datagrams came. They may be decrypted in place.
    fn receive(&mut self, now: u64, batch: &mut Batch);
    /// Writes what is to be sent, over whatever `batch` held before. `false` if there is nothing.
    fn transmit(&mut self, now: u64, batch: &mut Batch) -> bool;
    /// Does what is due.
    fn timeout(&mut self, now: u64);
    /// When something will be due.
    fn next_timeout(&mut self) -> Option<u64>;
    /// Starts a connection to the server.
    fn connect(&mut self, now: u64);
    /// What the application is told next; a client that asks is accepted.
    fn poll(&mut self, now: u64) -> Option<(Self::Connection, News<Self::Stream>)>;
    /// Opens a stream; `None` if the peer does not permit one.
    fn open(&mut self, connection: Self::Connection, dir: Dir) -> Option<Self::Stream>;
    /// The next stream that the peer opened.
    fn accept(&mut self, connection: Self::Connection, dir: Dir) -> Option<Self::Stream>;
    /// Writes as much as there is room for. Returns how much.
    fn write(&mut self, connection: Self::Connection, stream: Self::Stream, data: &[u8]) -> usize;
    /// Ends what is written.
    fn finish(&mut self, connection: Self::Connection, stream: Self::Stream);
    /// Reads all that there is, in the library's own buffers.
    fn read(&mut self, connection: Self::Connection, stream: Self::Stream) -> Read;
    /// Bytes of memory that the library itself reports for all its connections, if it does.
    fn reported_memory(&self) -> Option<u64>;
}
