use super::*;
use crate::{ReceiveBatch, SendBatch, Socket};
use quic_proto::net::{FourTuple, Transmit};
use quic_proto::rng::SeededRng;

fn shards(count: u8) -> Shards {
    Shards::new(NonZeroU8::new(count).unwrap())
}

/// A packet with a long header and one with a short header, to this id.
fn packets(id: &[u8]) -> [Vec<u8>; 2] {
    let long = [&[0xc3, 0, 0, 0, 1, id.len() as u8], id, &[0; 1200]].concat();
    [long, [&[0x43], id, &[0; 30]].concat()]
}

#[test]
fn ids_lead_to_their_shard() {
    let mut rng = SeededRng::from_u64(5);
    for count in [1, 2, 3, 7, 200, 255] {
        for shard in (0..count).step_by(1 + usize::from(count / 16)) {
            let ids = ShardCids { shards: shards(count), shard };
            let mut firsts = Vec::new();
            for _ in 0..2000 {
                let id = ids.generate(&mut rng);
                assert_eq!(id.len(), ids.len());
                for packet in packets(&id) {
                    assert_eq!(shards(count).of(&packet), Some(usize::from(shard)));
                }
                firsts.push(id[0]);
            }
            firsts.sort_unstable();
            firsts.dedup();
            assert_eq!(
                firsts.len(),
                (255 - usize::from(shard)) / usize::from(count) + 1,
                "all bytes are used"
            );
        }
    }
}

#[test]
fn what_has_no_id_belongs_where_it_came() {
    let shards = shards(4);
    assert_eq!(shards.of(&packets(&[])[0]), None);
    let [long, short] = packets(&[7]);
    for len in 0..7 {
        assert_eq!(shards.of(&long[..len]), None);
    }
    assert_eq!(
        (shards.of(&long[..7]), shards.of(&short[..2]), shards.of(&short[..1])),
        (Some(3), Some(3), None)
    );
}

/// The kernel's rule is ours, from whatever address a datagram comes.
#[cfg(target_os = "linux")]
#[test]
fn the_kernel_agrees() {
    const COUNT: u8 = 3;
    let group = bind_group("127.0.0.1:0".parse().unwrap(), shards(COUNT)).unwrap();
    steer(&group).unwrap();
    let to = FourTuple::to(group[0].local_addr().unwrap());
    let group: Vec<_> = group.into_iter().map(|socket| Socket::new(socket, None, Ok).unwrap()).collect();
    let (mut out, mut batch) = (SendBatch::new(), ReceiveBatch::new());
    for first in 0..=255 {
        for packet in packets(&[first, 2, 3, 4, 5, 6, 7, 8]) {
            let from = Socket::new(crate::bind("127.0.0.1:0".parse().unwrap()).unwrap(), None, Ok).unwrap();
            out.fill(|buf| {
                buf[..packet.len()].copy_from_slice(&packet);
                Some(Transmit::single(to, packet.len()))
            });
            from.try_send(&mut out).unwrap();
            let owner = shards(COUNT).of(&packet).unwrap();
            assert!(soon(|| group[owner].try_receive(&mut batch).is_ok()), "{first} is for {owner}");
            assert_eq!(batch.next_datagram().map(|datagram| &*datagram.payload), Some(&packet[..]));
            assert!(batch.is_empty());
        }
    }
    // Without an id it comes somewhere.
    let [packet, _] = packets(&[]);
    out.fill(|buf| {
        buf[..packet.len()].copy_from_slice(&packet);
        Some(Transmit::single(to, packet.len()))
    });
    let from = Socket::new(crate::bind("127.0.0.1:0".parse().unwrap()).unwrap(), None, Ok).unwrap();
    from.try_send(&mut out).unwrap();
    assert!(soon(|| group.iter().any(|socket| socket.try_receive(&mut batch).is_ok())));
}

/// Tries until it works; gives up when it clearly will not.
fn soon(mut attempt: impl FnMut() -> bool) -> bool {
    (0..1_000_000).any(|_| attempt())
}

#[test]
fn a_group_shares_a_port() {
    let group = bind_group("127.0.0.1:0".parse().unwrap(), shards(2)).unwrap();
    assert_eq!(group[0].local_addr().unwrap(), group[1].local_addr().unwrap());
    assert!(crate::bind(group[0].local_addr().unwrap()).is_err(), "with nobody else");
}
