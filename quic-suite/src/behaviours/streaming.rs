//! What streams do.

use super::{accept_one_way, is_ietf, open_one_way, pattern};
use crate::{
    Adapter, Connection, Endpoint, ReadError, RecvStream, SendStream, Setup, WriteError, both, poll_once,
};
use quic_proto::error::{AppError, ConnectionError};
use quic_proto::invariants::Version;
use std::time::Duration;

/// Sends back what comes on the next bidirectional stream of the peer's.
async fn echo<C: Connection>(connection: &C) {
    let (mut send, mut recv) = connection.accept_bi().await.expect("it was opened");
    let mut block = vec![0; 3000];
    while let Some(len) = recv.read(&mut block).await.expect("it comes") {
        send.write_all(&block[..len]).await.expect("it is wanted");
    }
    assert!(send.finish());
}

/// Both ends open streams of both directions.
pub fn streams_of_all_kinds<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let ends = [(&client, &server), (&server, &client)];
        for (number, (from, to)) in ends.into_iter().enumerate() {
            let data = pattern(10_000, number as u8);
            let asking = async {
                let (mut send, mut recv) = from.open_bi().await.expect("it is permitted");
                send.write_all(&data).await.expect("there is room");
                assert!(send.finish());
                assert!(recv.read_to_end().await.as_ref() == Ok(&data));
            };
            both(asking, echo(to)).await;
            let (mut send, _back) = open_one_way(from).await.expect("it is permitted");
            send.write_all(&data).await.expect("there is room");
            assert!(send.finish());
            let (mut recv, _back) = accept_one_way(to).await.expect("it was opened");
            assert!(recv.read_to_end().await.as_ref() == Ok(&data));
        }
    });
}

/// A stream without bytes has an end all the same.
pub fn empty_streams_end<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        assert!(send.finish());
        let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened");
        assert_eq!(recv.read(&mut [0; 10]).await, Ok(None));
        assert_eq!(recv.read(&mut [0; 10]).await, Ok(None), "and again");
        assert_eq!(send.stopped().await, Ok(None));
    });
}

/// Opening waits while the peer's limit is reached, and goes on as streams are done.
pub fn many_streams_wait_their_turn<A: Adapter>(version: Version) {
    let few = Setup::new(version).server(|c| c.max_bidi_streams(3));
    A::run(few, async |pair| {
        let (client, server) = pair.connect().await;
        let asking = async {
            for number in 0..30 {
                let (mut send, mut recv) = client.open_bi().await.expect("it is permitted in the end");
                send.write_all(&[number; 100]).await.expect("there is room");
                assert!(send.finish());
                assert_eq!(recv.read_to_end().await, Ok(vec![number; 100]));
            }
        };
        let answering = async {
            for _ in 0..30 {
                echo(&server).await;
            }
        };
        both(asking, answering).await;

        let mut open = Vec::new();
        while let Some(stream) = poll_once(client.open_bi()) {
            open.push(stream.expect("it is open"));
        }
        assert!((1..=3).contains(&open.len()), "{} at once", open.len());
        let (mut send, mut recv) = open.pop().expect("there is one");
        let asking = async {
            send.write_all(b"done").await.expect("there is room");
            assert!(send.finish());
            assert_eq!(recv.read_to_end().await, Ok(b"done".to_vec()));
            client.open_bi().await.expect("there is room for another one")
        };
        // With the last of them the ones before it were opened (RFC 9000 §3.2).
        let answering = async {
            for _ in 0..open.len() {
                server.accept_bi().await.expect("it was opened");
            }
            echo(&server).await;
        };
        both(asking, answering).await;
    });
}

/// A hundred streams are open at once, and take turns.
pub fn a_hundred_streams_at_once<A: Adapter>(version: Version) {
    const COUNT: u8 = 100;
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let asking = async {
            let mut streams = Vec::new();
            for _ in 0..COUNT {
                streams.push(client.open_bi().await.expect("it is permitted"));
            }
            for turn in 0..10 {
                for (number, (send, _)) in (0..).zip(&mut streams) {
                    send.write_all(&pattern(300, number)).await.expect("there is room");
                    assert!(turn < 9 || send.finish());
                }
            }
            // The last one is read first.
            for (number, (_, recv)) in (0..COUNT).zip(&mut streams).rev() {
                let expected = pattern(300, number).repeat(10);
                assert!(recv.read_to_end().await == Ok(expected), "stream {number}");
            }
        };
        let answering = async {
            for _ in 0..COUNT {
                echo(&server).await;
            }
        };
        both(asking, answering).await;
    });
}

/// Much more than the windows goes both ways at once.
pub fn much_goes_both_ways<A: Adapter>(version: Version) {
    both_ways::<A>(Setup::new(version));
}

/// The same where datagrams leave at the times that they name, if the system has such a thing.
pub fn departure_times_change_nothing<A: Adapter>(version: Version) {
    both_ways::<A>(Setup::new(version).departure_times(cfg!(target_os = "linux")));
}

fn both_ways<A: Adapter>(setup: Setup) {
    A::run(setup, async |pair| {
        let (client, server) = pair.connect().await;
        let data = pattern(3_000_000, 9);
        let (mut send, mut recv) = client.open_bi().await.expect("it is permitted");
        let sending = async {
            send.write_all(&data).await.expect("there is room in the end");
            assert!(send.finish());
        };
        let receiving = async { assert!(recv.read_to_end().await.as_ref() == Ok(&data)) };
        both(both(sending, receiving), echo(&server)).await;
    });
}

/// A hundred megabytes go each way at once, and arrive as they were.
pub fn a_hundred_megabytes_each_way<A: Adapter>(version: Version) {
    const LEN: usize = 100_000_000;
    // Of a length that has nothing to do with blocks and packets, so that what is swapped shows.
    let data = pattern(65_521, 5);
    let sending = async |send: &mut <<A::Endpoint as Endpoint>::Connection as Connection>::Send| {
        let mut left = LEN;
        while left > 0 {
            let len = left.min(data.len());
            send.write_all(&data[..len]).await.expect("there is room in the end");
            left -= len;
        }
        assert!(send.finish());
    };
    let receiving = async |recv: &mut <<A::Endpoint as Endpoint>::Connection as Connection>::Recv| {
        let (mut came, mut block) = (0, vec![0; 65_521]);
        while let Some(len) = recv.read(&mut block).await.expect("it comes") {
            let at = came % data.len();
            let first = len.min(data.len() - at);
            assert!(block[..first] == data[at..at + first], "at {came}");
            assert!(block[first..len] == data[..len - first], "at {came}");
            came += len;
        }
        assert_eq!(came, LEN);
    };
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, mut recv) = client.open_bi().await.expect("it is permitted");
        let asking = both(sending(&mut send), receiving(&mut recv));
        let answering = async {
            let (mut send, mut recv) = server.accept_bi().await.expect("it was opened");
            both(sending(&mut send), receiving(&mut recv)).await;
        };
        both(asking, answering).await;
    });
}

/// Back-pressure goes all the way.
pub fn a_reader_that_does_not_read_stops_its_writer<A: Adapter>(version: Version) {
    const WINDOW: usize = 50_000;
    const BUFFER: usize = 30_000;
    let small = Setup::new(version)
        .client(|c| c.send_buffer(BUFFER as u64))
        .server(|c| c.stream_window(WINDOW as u64, WINDOW as u64));
    A::run(small, async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        let data = pattern(400_000, 3);
        let mut written = 0;
        // It has stopped when nothing was taken for many round trips.
        let mut idle = 0;
        while idle < 50 {
            match poll_once(send.write(&data[written..])) {
                Some(len) => (written, idle) = (written + len.expect("it is open"), 0),
                None => {
                    idle += 1;
                    pair.client.sleep(Duration::from_millis(5)).await;
                }
            }
        }
        assert!((WINDOW..=WINDOW + BUFFER).contains(&written), "{written} bytes");
        let sending = async {
            send.write_all(&data[written..]).await.expect("there is room in the end");
            assert!(send.finish());
        };
        let receiving = async {
            let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened");
            assert!(recv.read_to_end().await.as_ref() == Ok(&data));
        };
        both(sending, receiving).await;
    });
}

/// What is given up before it is ready has done nothing.
pub fn cancelled_calls_do_nothing<A: Adapter>(version: Version) {
    A::run(Setup::new(version).server(|c| c.max_uni_streams(1)), async |pair| {
        let (client, server) = pair.connect().await;
        for _ in 0..20 {
            assert!(poll_once(server.accept_uni()).is_none());
            assert!(poll_once(server.accept_bi()).is_none());
            assert!(poll_once(server.closed()).is_none());
        }
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        // There is one at a time; in Google QUIC there is none.
        assert!(poll_once(client.open_uni()).is_none());
        send.write_all(b"a").await.expect("there is room");
        let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened");
        let mut block = [0; 10];
        assert_eq!(recv.read(&mut block).await, Ok(Some(1)));
        for _ in 0..20 {
            assert!(poll_once(recv.read(&mut block)).is_none());
            assert!(poll_once(send.stopped()).is_none());
        }
        send.write_all(b"bc").await.expect("there is room");
        assert!(send.finish());
        assert_eq!(recv.read_to_end().await, Ok(b"bc".to_vec()));
        let (mut send, _back) = open_one_way(&client).await.expect("the place is free");
        send.write_all(b"second").await.expect("there is room");
        assert!(send.finish());
        let (mut recv, _back) = accept_one_way(&server).await.expect("only one was opened");
        assert_eq!(recv.read_to_end().await, Ok(b"second".to_vec()));
    });
}

/// A sender gives a stream up.
pub fn resets_carry_codes<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        send.write_all(b"half of").await.expect("there is room");
        let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened");
        let mut block = [0; 100];
        assert_eq!(recv.read(&mut block).await, Ok(Some(7)));
        assert!(send.reset(AppError::from(22)));
        assert!(!send.reset(AppError::from(23)), "once is enough");
        let reset = Err(ReadError::Reset(AppError::from(22)));
        assert_eq!(recv.read(&mut block).await, reset);
        assert_eq!(recv.read(&mut block).await, reset, "it stays so");
        assert_eq!(send.write(b"x").await, Err(WriteError::Closed));
        assert_eq!(send.stopped().await, Ok(None));
    });
}

/// A receiver wants no more.
pub fn stops_carry_codes<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _recv) = client.open_bi().await.expect("it is permitted");
        send.write_all(b"too much").await.expect("there is room");
        let (mut answer, mut recv) = server.accept_bi().await.expect("it was opened");
        // In Google QUIC a request to stop tells also where the answer ends, and has no code.
        assert!(answer.finish());
        let code = AppError::from(if is_ietf(version) { 11 } else { 0 });
        assert!(recv.stop(AppError::from(11)));
        assert!(!recv.stop(AppError::from(11)), "once is enough");
        assert_eq!(recv.read(&mut [0; 10]).await, Err(ReadError::Closed));
        assert_eq!(send.stopped().await, Ok(Some(code)));
        assert_eq!(send.write(b"more").await, Err(WriteError::Stopped(code)));
    });
}

/// The sender hears when the peer has all of a stream, whether that reads it or not.
pub fn delivery_is_told<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, _server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        send.write_all(&[5; 20_000]).await.expect("there is room");
        assert!(poll_once(send.stopped()).is_none());
        assert!(send.finish());
        assert_eq!(send.stopped().await, Ok(None));
    });
}

/// After the end of a part there is nothing to be done with it.
pub fn ended_parts_stay_ended<A: Adapter>(version: Version) {
    A::run(Setup::new(version), async |pair| {
        let (client, server) = pair.connect().await;
        let (mut send, _back) = open_one_way(&client).await.expect("it is permitted");
        send.write_all(b"all").await.expect("there is room");
        assert!(send.finish());
        assert!(!send.finish(), "once is enough");
        assert_eq!(send.write(b"late").await, Err(WriteError::Closed));
        let (mut recv, _back) = accept_one_way(&server).await.expect("it was opened");
        assert_eq!(recv.read_to_end().await, Ok(b"all".to_vec()));
        assert!(!recv.stop(AppError::from(1)), "all of it was read");
        client.close(AppError::from(0), b"");
        assert_eq!(client.closed().await, ConnectionError::LocallyClosed);
        assert!(!send.reset(AppError::from(1)), "it is delivered");
    });
}
