//! The server's side.
//!
//! Owns [`Service`], what a server counts and does with a stream, and the wish of a person that it stops. Invariant: the time on processors
//! counts from the first client on, so that the start of the process costs nobody. Timers: none.

use crate::streams::pour;
use crate::wire::ResponseSize;
use crate::{
    Body, Datagrams, Error, RecvHalf, SendHalf, ServerReport, Tally, Waited, cpu_time, resident_bytes,
};
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// A server of the performance protocol, but for the stack that it stands on.
#[derive(Debug, Default)]
pub struct Service {
    tally: Tally,
    /// When the first client came, and what the process had cost by then.
    begun: OnceLock<(Instant, Duration)>,
    waited: Mutex<Waited>,
}

impl Service {
    /// A client is about to be accepted.
    pub fn client_comes(&self) {
        self.begun.get_or_init(|| (Instant::now(), cpu_time()));
        self.tally.connected();
    }

    /// Where to add what a connection waited for once it is over.
    pub fn waited(&self) -> MutexGuard<'_, Waited> {
        // The sums are whole between two calls.
        self.waited.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is counted.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Reads a stream of the client's to its end. Returns the size of the answer that it wants; `None` if the stream ended too early.
    ///
    /// The answer waits for the end of the request; the draft leaves open whether it should.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn request<R: RecvHalf>(&self, recv: &mut R) -> Result<Option<u64>, Error> {
        let mut size = ResponseSize::default();
        let mut look = |piece: &[u8]| {
            size.take(piece);
        };
        while let Some(len) = recv.receive(&mut look).await? {
            self.tally.received(len);
        }
        // §2.3.1: a stream "that is closed before all 8 bytes are received should just be ignored, and gracefully closed".
        Ok(size.get())
    }

    /// Answers with so many bytes; with [`wire::UNLIMITED`](crate::wire::UNLIMITED) until the client stops the stream.
    ///
    /// # Errors
    /// If the stream fails, or the client stops it.
    pub async fn respond<S: SendHalf>(&self, send: &mut S, size: u64) -> Result<(), Error> {
        pour(send, Body::Bytes(size), &self.tally).await?;
        send.finish()?;
        self.tally.exchanged();
        Ok(())
    }

    /// Serves a bidirectional stream (§2.3.2), in a task of its own. The future fails if the stream does, or if the client stops it.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn holds its arguments twice, and a server moves this future several times for each request"
    )]
    pub fn stream<S: SendHalf, R: RecvHalf>(
        self: Arc<Self>,
        mut send: S,
        mut recv: R,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let size = self.request(&mut recv).await?;
            self.respond(&mut send, size.unwrap_or(0)).await
        }
    }

    /// What was done until now.
    pub fn report(&self, datagrams: Option<Datagrams>) -> ServerReport {
        let (seconds, cpu_seconds) = match self.begun.get() {
            Some((since, cpu)) => (since.elapsed().as_secs_f64(), (cpu_time() - *cpu).as_secs_f64()),
            None => (0.0, 0.0),
        };
        ServerReport {
            seconds,
            cpu_seconds,
            connections: self.tally.connections(),
            exchanges: self.tally.exchanges(),
            sent_bytes: self.tally.sent_bytes(),
            received_bytes: self.tally.received_bytes(),
            resident_bytes: resident_bytes(),
            datagrams,
            waited: self.waited().clone(),
        }
    }
}

/// Waits until a person interrupts the process or the system ends it.
pub async fn told_to_stop() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                // A process that cannot hear the signal is ended by it.
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::tests::pipe;

    async fn serve(request: &'static [u8]) -> (u64, bool) {
        let (mut up, from_client) = pipe();
        let (to_client, mut down) = pipe();
        let service = Arc::new(Service::default());
        let client = async {
            up.send(bytes::Bytes::from_static(request)).await.unwrap();
            up.finish().unwrap();
            let mut got = 0;
            while let Some(len) = down.receive(|_| {}).await.unwrap() {
                got += len as u64;
            }
            got
        };
        let (got, served) = tokio::join!(client, Arc::clone(&service).stream(to_client, from_client));
        assert_eq!(service.tally().sent_bytes(), got);
        (got, served.is_ok())
    }

    #[tokio::test]
    async fn the_answer_is_as_long_as_the_client_wants() {
        assert_eq!(serve(&[0, 0, 0, 0, 0, 2, 0, 1, 7, 7]).await, (131_073, true));
        assert_eq!(serve(&[0; 8]).await, (0, true));
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_the_header_is_closed_gracefully() {
        assert_eq!(serve(&[1; 7]).await, (0, true));
    }

    #[tokio::test]
    async fn an_unlimited_answer_ends_when_the_client_wants_no_more() {
        let (mut up, from_client) = pipe();
        let (to_client, mut down) = pipe();
        let service = Arc::new(Service::default());
        let client = async {
            up.send(bytes::Bytes::from_static(&[0xff; 8])).await.unwrap();
            up.finish().unwrap();
            for _ in 0..100 {
                assert!(down.receive(|_| {}).await.unwrap().is_some());
            }
            down.stop();
            // The test's pipe tells its sender only if it is gone.
            drop(down);
        };
        let ((), served) = tokio::join!(client, Arc::clone(&service).stream(to_client, from_client));
        assert!(served.is_err());
        assert!(service.tally().sent_bytes() >= 100 * 1024);
    }
}
