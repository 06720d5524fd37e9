//! What the parts of a packet's way cost, one by one.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quic_proto::codec::{Reader, Writer, varint};
use quic_proto::congestion::Algorithm;
use quic_proto::crypto::initial::initial_keys;
use quic_proto::crypto::{Keys, PacketKey, header_protection};
use quic_proto::id::{Cid, Dir, Side, SpaceId, StreamId};
use quic_proto::ietf::wire::{Frames, encode, header};
use quic_proto::invariants::{Version, spec};
use quic_proto::recovery::{
    AckInfo, Ctx, Outcome, Recovery, RecoveryConfig, Rtt, SentPacket, Situation, Token,
};
use quic_proto::rng::SeededRng;
use quic_proto::streams::{PeerLimits, ReadError, StreamRules, Streams, StreamsConfig};
use quic_proto::time::{Duration, Instant};
use std::hint::black_box;

/// Payload of a packet of 1200 bytes, about.
const PAYLOAD: usize = 1150;

fn varints(c: &mut Criterion) {
    let values = [7_u64, 300, 70_000, 5_000_000_000];
    let mut buffer = [0; 32];
    let mut group = c.benchmark_group("varint");
    group.throughput(Throughput::Elements(values.len() as u64));
    group.bench_function("encode one of each length", |b| {
        b.iter(|| {
            let mut writer = Writer::new(&mut buffer);
            values.iter().for_each(|value| writer.varint(black_box(*value)));
            writer.len()
        });
    });
    let mut writer = Writer::new(&mut buffer);
    values.iter().for_each(|value| writer.varint(*value));
    let len = writer.len();
    group.bench_function("decode one of each length", |b| {
        b.iter(|| {
            let mut reader = Reader::new(black_box(&buffer[..len]));
            let mut sum = 0;
            while let Ok(value) = reader.varint() {
                sum += value;
            }
            sum
        });
    });
    group.bench_function("size", |b| b.iter(|| values.map(|value| varint::size(black_box(value)))));
    group.finish();
}

fn headers(c: &mut Criterion) {
    let dcid = Cid::new(&[1; 8]).expect("it is short");
    let mut buffer = [0; 64];
    let mut group = c.benchmark_group("header");
    group.bench_function("encode short", |b| {
        b.iter(|| {
            header::encode_short(&mut Writer::new(&mut buffer), black_box(&dcid), false, true, 123_456, 2)
        });
    });
    group.bench_function("parse short", |b| b.iter(|| header::parse_short(black_box(&buffer), 8).is_ok()));
    let spec = spec(Version::V1).expect("it is known");
    let mut packet = [0; 1200];
    let mut writer = Writer::new(&mut packet);
    let kind = header::LongKind::Initial;
    let layout = header::encode_long(&mut writer, spec, kind, (&dcid, &dcid), b"token", 7, 2);
    header::finish_long(&mut writer, layout, 1200);
    group.bench_function("parse long", |b| b.iter(|| header::parse_long(black_box(&packet), spec).is_ok()));
    group.finish();
}

fn frames(c: &mut Criterion) {
    let id = StreamId::from_u64(4);
    let mut buffer = [0; 1200];
    let mut writer = Writer::new(&mut buffer);
    encode::max_data(&mut writer, 1 << 20);
    encode::max_stream_data(&mut writer, id, 1 << 20);
    encode::stream_header(&mut writer, id, 1 << 20, None, false);
    let mut group = c.benchmark_group("frame");
    group.bench_function("parse MAX_DATA, MAX_STREAM_DATA, STREAM", |b| {
        b.iter(|| Frames::new(black_box(&buffer)).filter(Result::is_ok).count());
    });
    group.bench_function("encode STREAM header", |b| {
        let mut out = [0; 32];
        b.iter(|| {
            let mut writer = Writer::new(&mut out);
            encode::stream_header(&mut writer, black_box(id), 1 << 20, Some(PAYLOAD), false);
            writer.len()
        });
    });
    group.finish();
}

/// Sent packets and what acknowledges them: ten packets by one frame, as in a transfer.
fn acks(c: &mut Criterion) {
    const BATCH: u64 = 10;
    let (mut rtt, mut cc) = (Rtt::default(), Algorithm::Cubic.build(1200, &mut SeededRng::from_u64(0)));
    let config = RecoveryConfig { skip_numbers: false, ..RecoveryConfig::default() };
    let (mut recovery, mut out) = (Recovery::new(config), Outcome::default());
    let mut rng = SeededRng::from_u64(1);
    let situation = Situation {
        handshake_confirmed: true,
        has_handshake_keys: false,
        peer_completed_address_validation: true,
        amplification_limited: false,
    };
    let mut now = Instant::EPOCH;
    let mut group = c.benchmark_group("recovery");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("send ten packets, take their ACK", |b| {
        b.iter(|| {
            let mut last = 0;
            for _ in 0..BATCH {
                last = recovery.next_packet_number(SpaceId::Data, &mut rng);
                let token = Token::Stream { id: StreamId::from_u64(0), offset: last, len: 1, fin: false };
                let packet = SentPacket {
                    time: now,
                    bytes: 1200,
                    ack_eliciting: true,
                    in_flight: true,
                    path: 0,
                    ecn: false,
                    drained: false,
                    tokens: std::iter::once(token).collect(),
                };
                recovery.on_sent(now, SpaceId::Data, last, packet, &mut *cc);
            }
            now += Duration::from_millis(10);
            out.clear();
            let ack = AckInfo { largest: last, delay: Duration::ZERO, received: now };
            let mut ctx = Ctx { rtt: &mut rtt, cc: &mut *cc, situation, drained: false };
            let ranges = std::iter::once(last + 1 - BATCH..=last);
            recovery
                .on_ack(now, SpaceId::Data, ack, ranges, &mut ctx, &mut out)
                .expect("these packets were sent");
            out.acked.len()
        });
    });
    group.finish();
}

fn streams(side: Side) -> Streams {
    let window = 1 << 40;
    let mut streams = Streams::new(StreamsConfig {
        side,
        stream_window: window,
        stream_window_max: window,
        connection_window: window,
        connection_window_max: window,
        max_bidi: 10,
        max_uni: 10,
        send_buffer: 1 << 20,
        rules: StreamRules::default(),
    });
    streams.set_peer_limits(PeerLimits {
        max_data: window,
        stream_data_bidi_local: window,
        stream_data_bidi_remote: window,
        stream_data_uni: window,
        max_bidi: 10,
        max_uni: 10,
    });
    streams
}

fn send_buffer(c: &mut Criterion) {
    let mut streams = streams(Side::Client);
    let id = streams.open(Dir::Uni).expect("it is permitted");
    let (data, mut out) = ([7; PAYLOAD], [0; PAYLOAD]);
    let mut group = c.benchmark_group("send buffer");
    group.throughput(Throughput::Bytes(PAYLOAD as u64));
    group.bench_function("write, send, acknowledge a packet's worth", |b| {
        b.iter(|| {
            streams
                .send_stream(id)
                .and_then(|mut stream| stream.write(&data).map_err(|_| panic!("no room")))
                .ok();
            let next = streams.peek_data().expect("it was written");
            let token = streams.take_data(&next, next.len, &mut out[..next.len]);
            streams.on_acked(token);
        });
    });
    group.finish();
}

/// The application's bytes on their way through, by length of its calls: copied, or handed over as `Bytes`. Each time about 64 KiB are
/// written, sent in packets and acknowledged, or received and read. The application fills its memory either way.
fn handing_over(c: &mut Criterion) {
    const TOTAL: usize = 64 << 10;
    let lengths = [64, 256, 512, 1024, 2048, 4096, 16 << 10, 64 << 10];
    let mut group = c.benchmark_group("handing over");
    group.throughput(Throughput::Bytes(TOTAL as u64));
    for len in lengths {
        let mut end = streams(Side::Client);
        let id = end.open(Dir::Uni).expect("it is permitted");
        let mut own = vec![7; len];
        group.bench_function(format!("write {len}"), |b| {
            b.iter(|| {
                for _ in 0..TOTAL / len {
                    own.fill(black_box(8));
                    let mut stream = end.send_stream(id).expect("it is open");
                    assert_eq!(stream.write(&own).ok(), Some(len));
                }
                send_all(&mut end);
            });
        });
        group.bench_function(format!("write_bytes {len}"), |b| {
            b.iter(|| {
                for _ in 0..TOTAL / len {
                    let mut stream = end.send_stream(id).expect("it is open");
                    assert_eq!(stream.write_bytes(&mut vec![black_box(8); len].into()).ok(), Some(len));
                }
                send_all(&mut end);
            });
        });
    }
    let id = StreamId::from_u64(2);
    for len in lengths {
        let (mut end, mut offset, mut own) = (streams(Side::Server), 0, vec![0; len]);
        group.bench_function(format!("read {len}"), |b| {
            b.iter(|| {
                receive(&mut end, id, &mut offset, TOTAL);
                let mut stream = end.recv_stream(id).expect("it is open");
                while let Ok(read) = stream.read(&mut own) {
                    black_box(&own[..read.len]);
                }
                take_news(&mut end);
            });
        });
        let (mut end, mut offset) = (streams(Side::Server), 0);
        group.bench_function(format!("read_bytes {len}"), |b| {
            b.iter(|| {
                receive(&mut end, id, &mut offset, TOTAL);
                let mut stream = end.recv_stream(id).expect("it is open");
                while let Ok(Some(bytes)) = stream.read_bytes(len) {
                    black_box(&bytes);
                }
                take_news(&mut end);
            });
        });
    }
    group.finish();
}

/// Sends all that was written in packets, which are acknowledged at once.
fn send_all(end: &mut Streams) {
    let mut out = [0; PAYLOAD];
    while let Some(next) = end.peek_data() {
        let len = next.len.min(PAYLOAD);
        let token = end.take_data(&next, len, &mut out[..len]);
        end.on_acked(token);
    }
    take_news(end);
}

/// Receives so many bytes in packets, in order.
fn receive(end: &mut Streams, id: StreamId, offset: &mut u64, total: usize) {
    let until = *offset + total as u64;
    while *offset < until {
        let data = &[7; PAYLOAD][..PAYLOAD.min((until - *offset) as usize)];
        end.on_stream(Instant::EPOCH, Duration::from_millis(10), id, *offset, data, false)
            .expect("it is permitted");
        *offset += data.len() as u64;
    }
}

/// Does with news what an endpoint and an application would.
fn take_news(end: &mut Streams) {
    while let Some(intent) = end.peek_intent() {
        end.take_intent(&intent);
    }
    while end.poll_event().is_some() {}
}

/// Frames in order, and pairs of them in the wrong order.
fn reassembly(c: &mut Criterion) {
    let data = [7; PAYLOAD];
    let id = StreamId::from_u64(2);
    let rtt = Duration::from_millis(10);
    let mut group = c.benchmark_group("reassembly");
    for (name, order) in [("in order", [0, 1]), ("in pairs, wrong way round", [1, 0])] {
        let (mut streams, mut offset) = (streams(Side::Server), 0);
        group.throughput(Throughput::Bytes(2 * PAYLOAD as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                for at in order {
                    let at = offset + at * PAYLOAD as u64;
                    streams.on_stream(Instant::EPOCH, rtt, id, at, &data, false).expect("it is permitted");
                }
                offset += 2 * PAYLOAD as u64;
                let mut stream = streams.recv_stream(id).expect("it is open");
                let mut read = 0;
                loop {
                    match stream.read_bytes(usize::MAX) {
                        Ok(Some(bytes)) => read += bytes.len(),
                        Err(ReadError::Blocked) => break,
                        other => panic!("{other:?}"),
                    }
                }
                take_news(&mut streams);
                assert_eq!(read, 2 * PAYLOAD);
            });
        });
    }
    group.finish();
}

/// AES-128-GCM and its header protection, in place.
fn packets(c: &mut Criterion) {
    const HEADER: usize = 11;
    const NUMBER_AT: usize = 9;
    let spec = spec(Version::V1).expect("it is known");
    let keys = |side| -> Keys { initial_keys(&spec.initial_salt, &spec.labels, &[1; 8], side) };
    let (client, server) = (keys(Side::Client), keys(Side::Server));
    let mut plain = [0; 1200];
    plain[0] = 0x41;
    let seal = |packet: &mut [u8; 1200]| {
        client.local.packet.seal(77, packet, HEADER);
        header_protection::protect(&client.local.header, packet, NUMBER_AT, 2);
    };
    let mut sealed = plain;
    seal(&mut sealed);
    let mut group = c.benchmark_group("packet");
    group.throughput(Throughput::Bytes(1200));
    group.bench_function("seal", |b| b.iter(|| seal(&mut plain)));
    group.bench_function("open", |b| {
        b.iter_batched_ref(
            || sealed,
            |packet| {
                header_protection::unprotect(&server.remote.header, packet, NUMBER_AT)
                    .expect("it is long enough");
                let (header, payload) = packet.split_at_mut(HEADER);
                server.remote.packet.open(77, header, payload).expect("it is authentic")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

criterion_group!(parts, varints, headers, frames, acks, send_buffer, handing_over, reassembly, packets);
criterion_main!(parts);
