//! What a client must not do, each with the code that it is closed with.

use crate::common::endpoint;
use crate::raw::{RawClient, hello};
use crate::support::{ecdsa, server, settings};
use quic_proto::config::TransportConfig;
use quic_proto::crypto::rustls::Identity;
use quic_proto::endpoint::Endpoint;
use quic_proto::gquic::crypto::strike::ClientNonce;
use quic_proto::gquic::crypto::x25519::PrivateKey;
use quic_proto::gquic::wire::ErrorCode;
use quic_proto::gquic::wire::message::{Builder, Tag, tags};
use std::sync::LazyLock;

static IDENTITY: LazyLock<Identity> = LazyLock::new(ecdsa);

fn a_server() -> Endpoint {
    let identity = Identity { chain: IDENTITY.chain.clone(), key: IDENTITY.key.clone_key() };
    let small = TransportConfig::default()
        .stream_window(1000, 1000)
        .connection_window(1500, 1500)
        .max_bidi_streams(5);
    let config = server(settings(identity).1).transport(small.build().unwrap());
    endpoint(2, Some(config.build().unwrap()))
}

/// With what the server closes when these frames come forward secure.
fn answer_to(frames: &[u8]) -> Option<u32> {
    let mut server = a_server();
    let mut client = RawClient::connected(&mut server);
    let packet = client.secure(frames);
    client.exchange(&mut server, packet);
    client.heard.closed.map(|code| code.0)
}

/// With what it closes when they come in the clear, after two hellos.
fn answer_in_the_clear(frames: impl FnOnce(&mut RawClient) -> Vec<u8>) -> Option<u32> {
    let mut server = a_server();
    let mut client = RawClient::new(7);
    client.begin(&mut server);
    let frames = frames(&mut client);
    let packet = client.null(&frames);
    client.exchange(&mut server, packet);
    client.heard.closed.map(|code| code.0)
}

/// With what it closes when the complete hello is changed so.
fn answer_to_hello(change: impl FnOnce(&mut Builder<'static>, &RawClient)) -> Option<u32> {
    answer_in_the_clear(|client| {
        let (key, nonce) = (PrivateKey::from_bytes([5; 32]), client.nonce(1));
        let mut complete = client.complete(&key, &nonce);
        change(&mut complete, client);
        let message = complete.pad().finish();
        client.crypto(&message)
    })
}

fn put(hello: &mut Builder<'static>, tag: Tag, value: &'static [u8]) {
    hello.put(tag, value);
}

#[test]
fn frames() {
    for (frames, code, why) in [
        (&[7][..], None, "a PING is in order"),
        (&[], Some(48), "no frames"),
        (&[8], Some(4), "an unknown type"),
        (&[0x20], Some(4), "congestion feedback is not in use"),
        (&[6, 0, 0, 0, 0, 0, 0], Some(60), "STOP_WAITING is not in Q044"),
        (&[0x40, 100, 0, 0, 1, 0], Some(9), "an ACK of what was never sent"),
        (&[0x40, 1, 0, 0, 2, 0], Some(9), "an ACK of packet 0"),
        (&[0x80, 3], Some(50), "an empty STREAM frame"),
        (&[0x80, 2, 1], Some(17), "data on a stream that only the server opens"),
        (&[0x80, 0, 1], Some(17), "data on stream 0"),
        (&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Some(17), "a reset of stream 0"),
        (&[0xc0, 1, 1], Some(1), "the end of the handshake's stream"),
        (&[1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], Some(1), "a reset of the handshake"),
        (&[0x80, 3, 1, 2, 3], None, "data"),
        (&[0xa4, 3, 0x03, 0xe7, 0, 2, 1, 2], Some(59), "beyond the window of a stream"),
        (&[0xe0, 3, 0, 1, 9, 0xa0, 3, 0, 2, 8, 8], Some(2), "data behind the end"),
        (&[0xe0, 3, 0, 2, 9, 9, 0xe0, 3, 0, 1, 9], Some(2), "another end"),
        (&[3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], None, "GOAWAY is heard"),
    ] {
        assert_eq!(answer_to(frames), code, "{why}");
    }
}

#[test]
fn limits() {
    // Five streams at once are permitted, ten more are tolerated.
    let open = |count: u8| answer_to(&[0x80, 1 + 2 * count, 1]);
    assert_eq!((open(15), open(16)), (None, Some(18)));
    // The connection's window is 1500, and the first stream does not count.
    let data = |stream: u8, len: u16| {
        let mut frame = vec![0xa0, stream];
        frame.extend(len.to_be_bytes());
        frame.extend(vec![0; len.into()]);
        frame
    };
    let two = |first, second| answer_to(&[data(first, 200), data(second, 200)].concat());
    assert_eq!(two(3, 5), None);
    let mut server = a_server();
    let mut client = RawClient::connected(&mut server);
    for (stream, len) in [(3, 1000), (5, 1000), (7, 500)] {
        let packet = client.secure(&data(stream, len));
        client.exchange(&mut server, packet);
        assert_eq!(client.heard.closed, None);
    }
    let packet = client.secure(&data(9, 1));
    client.exchange(&mut server, packet);
    assert_eq!(client.heard.closed, Some(ErrorCode(59)));
    // A final offset counts as data does.
    let reset = |offset: u64| {
        let mut frame = vec![1, 0, 0, 0, 3];
        frame.extend(offset.to_be_bytes());
        frame.extend([0, 0, 0, 6]);
        answer_to(&frame)
    };
    assert_eq!((reset(1000), reset(1001), reset(u64::MAX)), (None, Some(59), Some(59)));
    // Limits without limit do no harm.
    assert_eq!(answer_to(&[4, 0, 0, 0, 3, 255, 255, 255, 255, 255, 255, 255, 255]), None);
    assert_eq!(answer_to(&[4, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]), None);
}

#[test]
fn nothing_but_the_handshake_in_the_clear() {
    for frame in [
        &[0x80, 3, 1][..],
        &[1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
        &[4, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 9],
        &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
    ] {
        assert_eq!(answer_in_the_clear(|_| frame.to_vec()), Some(61), "{frame:?}");
    }
    assert_eq!(answer_in_the_clear(|_| vec![7]), None);
    assert_eq!(answer_in_the_clear(|_| vec![0x80, 1, 1]), None, "old bytes of the handshake");
}

#[test]
fn acknowledgements_are_not_believed_in_the_clear() {
    let mut server = a_server();
    let mut client = RawClient::new(7);
    client.begin(&mut server);
    let (key, nonce) = (PrivateKey::from_bytes([5; 32]), client.nonce(1));
    let complete = client.complete(&key, &nonce).pad().finish();
    let frame = client.crypto(&complete);
    let packet = client.null(&frame);
    client.exchange(&mut server, packet);
    // The server's SHLO is its third packet at most; the ACK is of a lower level.
    let packet = client.null(&[0x40, 3, 0, 0, 1, 0]);
    client.exchange(&mut server, packet);
    let (_, event) = std::iter::from_fn(|| server.poll_event()).last().unwrap();
    let quic_proto::event::Event::Closed(reason) = event else { panic!("{event:?}") };
    assert_eq!(crate::support::our_code(Some(&reason)), Some(1));
}

#[test]
fn hellos() {
    let with = |tag: Tag, value: &'static [u8]| answer_to_hello(|hello, _| put(hello, tag, value));
    assert_eq!(answer_to_hello(|_, _| {}), None);
    assert_eq!(with(tags::SNI, b""), Some(35));
    assert_eq!(with(tags::VER, b"Q04"), Some(34));
    assert_eq!(with(tags::NONC, &[1; 31]), Some(34), "a nonce of another length");
    assert_eq!(with(tags::NONC, &[1; 32]), Some(34), "a nonce of another orbit");
    assert_eq!(with(tags::AEAD, b"CC20"), Some(40));
    assert_eq!(with(tags::AEAD, b"AESGCC20"), Some(40), "more than one");
    assert_eq!(with(tags::KEXS, b"P256"), Some(40));
    assert_eq!(with(tags::PUBS, &[9; 31]), Some(1));
    assert_eq!(with(tags::PUBS, &[0; 32]), Some(34), "a key of low order");
    // Not complete, for one reason or another: a rejection follows.
    for (tag, value) in [(tags::XLCT, &[0; 8][..]), (tags::SCID, &[0; 16])] {
        assert_eq!(with(tag, value), None);
    }
    // Messages that are none.
    assert_eq!(answer_in_the_clear(|client| client.crypto(&Builder::new(tags::SHLO).finish())), Some(33));
    let unsorted = [&b"CHLO"[..], &[2, 0, 0, 0], b"VER\0", &[0; 4], b"PAD\0", &[0; 4]].concat();
    assert_eq!(answer_in_the_clear(|client| client.crypto(&unsorted)), Some(29));
    let twice = [&b"CHLO"[..], &[2, 0, 0, 0], b"VER\0", &[0; 4], b"VER\0", &[0; 4]].concat();
    assert_eq!(answer_in_the_clear(|client| client.crypto(&twice)), Some(43));
    let many = [&b"CHLO"[..], &[129, 0, 0, 0]].concat();
    assert_eq!(answer_in_the_clear(|client| client.crypto(&many)), Some(30));
    let long = [&b"CHLO"[..], &[1, 0, 0, 0], b"VER\0", &4001u32.to_le_bytes()].concat();
    assert_eq!(answer_in_the_clear(|client| client.crypto(&long)), Some(31));
    // More handshake than its window: at offset 32768.
    assert_eq!(answer_in_the_clear(|_| vec![0x84, 1, 0x80, 0, 1]), Some(59));
}

#[test]
fn the_same_hello_is_not_accepted_twice() {
    let mut server = a_server();
    let nonce_of = |client: &RawClient| -> ClientNonce { client.nonce(1) };
    let mut accepted = Vec::new();
    for id in [1, 2] {
        let mut client = RawClient::new(id);
        client.begin(&mut server);
        let (key, nonce) = (PrivateKey::from_bytes([5; 32]), nonce_of(&client));
        let complete = client.complete(&key, &nonce).pad().finish();
        let frame = client.crypto(&complete);
        let packet = client.null(&frame);
        client.exchange(&mut server, packet);
        // A third rejection, or the SHLO, which this client cannot read.
        accepted.push(client.messages().len() == 2);
    }
    assert_eq!(accepted, [true, false]);
}

#[test]
fn hellos_without_end_are_not_signed_for() {
    let mut server = a_server();
    let mut client = RawClient::new(7);
    client.begin(&mut server);
    for _ in 0..10 {
        let again = client.second().pad().finish();
        let frame = client.crypto(&again);
        let packet = client.null(&frame);
        client.exchange(&mut server, packet);
    }
    assert_eq!(client.messages().len(), 5, "one for the stranger, four for the connection");
    assert_eq!(client.heard.closed, Some(ErrorCode(41)));
}

#[test]
fn strangers_are_told_what_is_wrong_without_a_connection() {
    let ask = |change: &dyn Fn(&mut Builder<'static>)| {
        let mut server = a_server();
        let mut client = RawClient::new(7);
        let mut first = hello();
        change(&mut first);
        let frame = client.crypto(&first.pad().finish());
        let packet = client.null(&frame);
        client.exchange(&mut server, packet);
        assert_eq!(server.connections(), 0);
        (client.messages().len(), client.heard.closed.map(|code| code.0))
    };
    assert_eq!(ask(&|_| {}), (1, None));
    assert_eq!(ask(&|hello| put(hello, tags::SNI, b"")), (0, Some(35)));
    assert_eq!(ask(&|hello| put(hello, tags::VER, b"")), (0, Some(34)));
    assert_eq!(ask(&|hello| put(hello, tags::STK, &[1; 60])), (1, None), "a token that is none of ours");
    assert_eq!(ask(&|hello| put(hello, tags::NSTP, b"")), (0, None), "that is a public reset");
}
