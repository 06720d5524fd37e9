//! `quic perf server`.

use super::{ServerArgs, add_waits, datagrams};
use crate::failure::Failure;
use crate::serve::{listen, say};
use crate::tls;
use bytes::Bytes;
use quic_perf::{Error, RecvHalf, SendHalf, Service};
use quic_proto::config::TransportConfig;
use quic_tokio::{AppError, Connection, Endpoint, Incoming, RecvStream, SendStream};
use std::sync::Arc;

pub(super) async fn run(args: ServerArgs) -> Result<(), Failure> {
    let identity = tls::identity(&args.server)?.map_or_else(tls::self_signed, Ok)?;
    let limits =
        |transport: TransportConfig| transport.max_bidi_streams(args.streams).max_uni_streams(args.streams);
    let config = tls::server(&args.server.end, identity, quic_perf::ALPN, limits)?;
    let departing = args.server.end.endpoint()?.departure_times(args.departure_times);
    let endpoint = listen(departing, config, args.server.listen, args.shards)?;
    let service = Arc::new(Service::default());
    tokio::select! {
        () = accept(&endpoint, &service) => {}
        () = quic_perf::told_to_stop() => {}
    }
    let report = service.report(Some(datagrams(&endpoint.socket_stats())));
    say(if args.json { report.to_json() } else { report.to_string() }.trim_end());
    endpoint.close(AppError::from(0), b"the server stops");
    endpoint.wait_idle().await;
    Ok(())
}

async fn accept(endpoint: &Endpoint, service: &Arc<Service>) {
    while let Some(incoming) = endpoint.accept().await {
        service.client_comes();
        tokio::spawn(client(incoming, Arc::clone(service)));
    }
}

async fn client(incoming: Incoming, service: Arc<Service>) {
    // A client that does not get through its handshake tells so itself.
    let Ok(connection) = incoming.await else { return };
    let one_way = one_way_streams(connection.clone(), Arc::clone(&service));
    let both_ways = async {
        while let Ok((send, recv)) = connection.accept_bi().await {
            // A stream that fails is the client's to tell.
            tokio::spawn(Arc::clone(&service).stream(Half(send), Half(recv)));
        }
    };
    tokio::join!(both_ways, one_way);
    add_waits(&connection, &mut service.waited());
}

/// §2.3.2: "When a client uses a unidirectional stream to request a response payload from the server, the server opens a new
/// unidirectional stream to send the requested data. If no data is requested by the client, the server need take no action."
async fn one_way_streams(connection: Connection, service: Arc<Service>) {
    while let Ok(recv) = connection.accept_uni().await {
        let (connection, service) = (connection.clone(), Arc::clone(&service));
        tokio::spawn(async move {
            if let Some(size) = service.request(&mut Half(recv)).await?.filter(|size| *size > 0) {
                service.respond(&mut Half(connection.open_uni().await?), size).await?;
            }
            Ok::<_, Error>(())
        });
    }
}

/// A half of a stream, as quic-perf wants it.
pub(super) struct Half<T>(pub(super) T);

impl SendHalf for Half<SendStream> {
    async fn send(&mut self, data: Bytes) -> Result<(), Error> {
        Ok(self.0.write_chunk(data).await?)
    }

    fn finish(&mut self) -> Result<(), Error> {
        Ok(self.0.finish()?)
    }
}

impl RecvHalf for Half<RecvStream> {
    async fn receive(&mut self, mut look: impl FnMut(&[u8]) + Send) -> Result<Option<usize>, Error> {
        let chunk = self.0.read_chunk(usize::MAX).await?;
        Ok(chunk.map(|chunk| {
            look(&chunk);
            chunk.len()
        }))
    }

    fn stop(&mut self) {
        // If its end was read meanwhile there is nothing to stop.
        let _ = self.0.stop(AppError::from(0));
    }
}
