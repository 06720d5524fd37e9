//! The protocol on the two halves of a stream.
//!
//! Owns the traits [`SendHalf`] and [`RecvHalf`], which a stack's streams implement, and [`exchange`], the client's side of one stream.
//! Invariant: an exchange ends well only if as many bytes came back as were asked for. Timers: none; who bounds an exchange by time names
//! the end, and the clock is read for every piece.

use crate::wire::{HEADER, UNLIMITED};
use crate::{Error, Tally};
use bytes::Bytes;
use std::future::Future;
use std::time::Instant;

/// How much is written at a time. Arbitrary; what the buffers of all stacks hold many times.
const BLOCK: usize = 64 * 1024;

/// §4.1: both sides "may use a single preallocated and initialized buffer".
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// The sending half of a stream.
pub trait SendHalf: Send {
    /// Writes all of `data`; waits while there is no room.
    fn send(&mut self, data: Bytes) -> impl Future<Output = Result<(), Error>> + Send;
    /// Ends the stream.
    ///
    /// # Errors
    /// If the connection is gone.
    fn finish(&mut self) -> Result<(), Error>;
}

/// The receiving half of a stream.
pub trait RecvHalf: Send {
    /// Waits for the next bytes, shows them to `look`, and returns how many they were; `None` at the end.
    fn receive(
        &mut self,
        look: impl FnMut(&[u8]) + Send,
    ) -> impl Future<Output = Result<Option<usize>, Error>> + Send;
    /// Tells the peer that the rest is not wanted.
    fn stop(&mut self);
}

/// How much is moved in one direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// So many bytes.
    Bytes(u64),
    /// As many as can be until then.
    Until(Instant),
}

/// What a client wants of one stream.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What goes to the server after the header.
    pub up: Body,
    /// What comes back.
    pub down: Body,
    /// Header and as much of the body as fits into a block: small requests are one write.
    opening: Bytes,
}

impl Ask {
    /// Sends `up`, wants `down`.
    pub fn new(up: Body, down: Body) -> Self {
        let size = match down {
            Body::Bytes(size) => size,
            Body::Until(_) => UNLIMITED,
        };
        let body = match up {
            Body::Bytes(size) => size.min((BLOCK - HEADER) as u64) as usize,
            Body::Until(_) => 0,
        };
        let mut opening = vec![0; HEADER + body];
        opening[..HEADER].copy_from_slice(&size.to_be_bytes());
        Self { up, down, opening: opening.into() }
    }

    /// What is left to send after the opening: bytes, or until when.
    fn rest(&self) -> Body {
        match self.up {
            Body::Bytes(size) => Body::Bytes(size - (self.opening.len() - HEADER) as u64),
            until @ Body::Until(_) => until,
        }
    }
}

/// The client's side of one stream: asks, sends, and reads the answer.
///
/// # Errors
/// If the stream fails, or the answer has another length than was asked for.
pub async fn exchange<S: SendHalf, R: RecvHalf>(
    mut send: S,
    mut recv: R,
    ask: &Ask,
    tally: &Tally,
) -> Result<(), Error> {
    send.send(ask.opening.clone()).await?;
    tally.sent(ask.opening.len());
    pour(&mut send, ask.rest(), tally).await?;
    send.finish()?;
    let mut got = 0;
    while let Some(len) = recv.receive(|_| {}).await? {
        got += len as u64;
        tally.received(len);
        if let Body::Until(end) = ask.down
            && Instant::now() >= end
        {
            recv.stop();
            return Ok(());
        }
    }
    match ask.down {
        Body::Bytes(expected) if expected != got => {
            Err(format!("the server answered with {got} bytes instead of {expected}").into())
        }
        Body::Until(_) => Err("the server ended an answer that has no end".into()),
        Body::Bytes(_) => Ok(()),
    }
}

/// Sends so many bytes, or as many as can be sent.
pub(crate) async fn pour<S: SendHalf>(send: &mut S, body: Body, tally: &Tally) -> Result<(), Error> {
    let mut left = match body {
        Body::Bytes(size) => size,
        Body::Until(_) => UNLIMITED,
    };
    while left > 0 && !matches!(body, Body::Until(end) if Instant::now() >= end) {
        let len = left.min(BLOCK as u64) as usize;
        send.send(Bytes::from_static(&ZEROS).slice(..len)).await?;
        tally.sent(len);
        if left != UNLIMITED {
            left -= len as u64;
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tokio::sync::mpsc;

    /// A stream's direction in memory, with room for a few pieces.
    pub(crate) fn pipe() -> (Pipe, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(4);
        (Pipe(Some(sender)), receiver)
    }

    pub(crate) struct Pipe(Option<mpsc::Sender<Bytes>>);

    impl SendHalf for Pipe {
        async fn send(&mut self, data: Bytes) -> Result<(), Error> {
            Ok(self.0.as_ref().ok_or("it was finished")?.send(data).await?)
        }
        fn finish(&mut self) -> Result<(), Error> {
            self.0.take().map(drop).ok_or_else(|| "it was finished".into())
        }
    }

    impl RecvHalf for mpsc::Receiver<Bytes> {
        async fn receive(&mut self, mut look: impl FnMut(&[u8]) + Send) -> Result<Option<usize>, Error> {
            let piece = self.recv().await;
            Ok(piece.map(|piece| {
                look(&piece);
                piece.len()
            }))
        }
        fn stop(&mut self) {
            self.close();
        }
    }

    #[tokio::test]
    async fn an_answer_of_another_length_is_an_error() {
        for (length, ok) in [(4, false), (5, true), (6, false)] {
            let (up, mut from_client) = pipe();
            let (mut to_client, down) = pipe();
            let server = async {
                let request = from_client.recv().await.unwrap();
                assert_eq!(*request, [0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]);
                assert_eq!(from_client.recv().await, None);
                to_client.send(vec![0; length].into()).await.unwrap();
                to_client.finish().unwrap();
            };
            let ask = Ask::new(Body::Bytes(3), Body::Bytes(5));
            let tally = Tally::default();
            let (done, ()) = tokio::join!(exchange(up, down, &ask, &tally), server);
            assert_eq!(done.is_ok(), ok, "{length}");
            assert_eq!((tally.sent_bytes(), tally.received_bytes()), (11, length as u64));
        }
    }

    #[tokio::test]
    async fn a_long_upload_is_cut_into_blocks() {
        let (up, mut from_client) = pipe();
        let (_, down) = pipe();
        let size = 3 * BLOCK as u64 + 17;
        let server = async {
            let mut got = 0;
            while let Some(piece) = from_client.recv().await {
                assert!(piece.len() <= BLOCK);
                got += piece.len() as u64;
            }
            assert_eq!(got, size + HEADER as u64);
        };
        let ask = Ask::new(Body::Bytes(size), Body::Bytes(0));
        let tally = Tally::default();
        let (done, ()) = tokio::join!(exchange(up, down, &ask, &tally), server);
        done.unwrap();
    }
}
