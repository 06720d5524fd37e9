//! Recorded chains, chains there and back, and what is not unpacked.

use super::*;
use crate::gquic::wire::vectors::{bytes, recorded};
use proptest::collection::vec;
use proptest::prelude::*;

const NONE: &[Vec<u8>] = &[];

fn refused(packed: &[u8]) -> String {
    let error = decompress(packed, NONE).unwrap_err();
    assert_eq!(error.code, ErrorCode::PROOF_INVALID);
    error.reason.into_owned()
}

/// A chain of one compressed certificate with this length and stream behind the entries.
fn packed(len: u32, stream: &[u8]) -> Vec<u8> {
    [&[COMPRESSED, END_OF_ENTRIES], &len.to_le_bytes()[..], stream].concat()
}

#[test]
fn recorded_chains() {
    for scenario in ["handshake-echo-rsa", "handshake-echo-ecdsa"] {
        let leaf = bytes(&recorded(scenario, "proof")[0]["leaf_cert"]);
        let messages = recorded(scenario, "handshake_message");
        let tags = messages.iter().flat_map(|message| message["tags"].as_array().unwrap());
        let chains: Vec<_> =
            tags.filter(|tag| tag["tag_hex"] == "435254ff").map(|tag| bytes(&tag["value"])).collect();
        assert_eq!(chains.len(), 2, "sent and received");
        for chain in chains {
            assert_eq!(decompress(&chain, NONE), Ok(vec![leaf.clone()]));
        }
        let ours = compress(&[&leaf], &[]);
        assert_eq!(
            ours[..12],
            [
                &[1, 0],
                &(leaf.len() as u32 + 4).to_le_bytes()[..],
                &[0x78, 0xf9 | ours[7], 0x22, 0x51, 0x7e, 0xb1]
            ]
            .concat()
        );
        assert_eq!(decompress(&ours, NONE), Ok(vec![leaf]));
    }
}

#[test]
fn bombs_are_refused_before_they_unpack() {
    let zeros = vec![0; MAX_UNCOMPRESSED_LEN + 1];
    let bomb = deflate(&zeros, DICTIONARY);
    assert!(bomb.len() < 1000);
    // What it claims is too much; it claims less than there is; it claims more.
    assert_eq!(refused(&packed(zeros.len() as u32, &bomb)), "the certificates are too long");
    assert_eq!(refused(&packed(u32::MAX, &bomb)), "the certificates are too long");
    let wrong = "the certificates do not unpack to the length that was announced";
    assert_eq!(refused(&packed(1000, &bomb)), wrong);
    assert_eq!(refused(&packed(1000, &deflate(&zeros[..999], DICTIONARY))), wrong);
    assert_eq!(refused(&packed(0, &deflate(&zeros[..1], DICTIONARY))), wrong);
    // Many certificates in few bytes.
    let empty = [0; 4 * (MAX_CERTIFICATES + 1)];
    for (count, fits) in [(MAX_CERTIFICATES, true), (MAX_CERTIFICATES + 1, false)] {
        let plain = &empty[..4 * count];
        let mut many = vec![COMPRESSED; count];
        many.push(END_OF_ENTRIES);
        many.extend((plain.len() as u32).to_le_bytes());
        many.extend(deflate(plain, DICTIONARY));
        assert_eq!(decompress(&many, NONE).is_ok(), fits);
    }
}

#[test]
fn entries_that_cannot_be_resolved() {
    assert_eq!(refused(&[END_OF_ENTRIES]), "the chain is empty");
    assert_eq!(refused(&[7, 0]), "an entry of the chain has an unknown type");
    assert_eq!(
        refused(&[COMMON, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        "the chain names a common set, and none was offered"
    );
    assert_eq!(
        refused(&[CACHED, 1, 2, 3, 4, 5, 6, 7, 8, 0]),
        "the chain names a certificate that was not offered"
    );
    assert_eq!(refused(&[CACHED, 1, 2]), "the entries of the chain are truncated");
    assert_eq!(refused(&[COMPRESSED]), "the entries of the chain are truncated");
    assert_eq!(refused(&[COMPRESSED, END_OF_ENTRIES, 1]), "the length of the certificates is missing");
}

#[test]
fn streams_that_do_not_fit() {
    let plain = [&5u32.to_le_bytes()[..], b"hello"].concat();
    let good = deflate(&plain, DICTIONARY);
    assert_eq!(decompress(&packed(9, &good), NONE), Ok(vec![b"hello".to_vec()]));
    assert_eq!(refused(&packed(9, &[&good[..], &[0]].concat())), "something follows the chain");
    for len in 0..good.len() {
        decompress(&packed(9, &good[..len]), NONE).unwrap_err();
    }
    assert_eq!(refused(&packed(9, &deflate(&plain, b"another"))), "the certificates need another dictionary");
    let longer = [&9u32.to_le_bytes()[..], b"hello"].concat();
    assert_eq!(refused(&packed(9, &deflate(&longer, DICTIONARY))), "a certificate is truncated");
    let shorter = [&1u32.to_le_bytes()[..], b"hello"].concat();
    assert_eq!(
        refused(&packed(9, &deflate(&shorter, DICTIONARY))),
        "there are more certificates than entries"
    );
    // A stream that needs no dictionary is one too.
    let mut plainly = Deflate::new(6, true, WINDOW_BITS);
    let mut out = [0; 100];
    plainly.compress(&plain, &mut out, DeflateFlush::Finish).unwrap();
    let stream = &out[..plainly.total_out() as usize];
    assert_eq!(decompress(&packed(9, stream), NONE), Ok(vec![b"hello".to_vec()]));
}

proptest! {
    #[test]
    fn chains_unpack(chain in vec(vec(any::<u8>(), 0..300), 1..6), has in vec(any::<bool>(), 6)) {
        let cached: Vec<Vec<u8>> = chain.iter().zip(&has).filter(|(_, has)| **has).map(|(c, _)| c.clone()).collect();
        let hashes: Vec<u64> = cached.iter().map(|certificate| fnv64(certificate)).collect();
        let packed = compress(&chain, &hashes);
        prop_assert_eq!(decompress(&packed, &cached), Ok(chain.clone()));
        if !cached.is_empty() {
            prop_assert!(decompress(&packed, NONE).is_err());
        }
    }

    #[test]
    fn any_bytes_are_unpacked_without_a_panic(entries in vec(0u8..4, 0..20), rest: Vec<u8>, stream: Vec<u8>) {
        let _ = decompress(&[&entries[..], &rest].concat(), NONE);
        let fdict = [0x78, 0xf9, 0x22, 0x51, 0x7e, 0xb1];
        let _ = decompress(&packed(1000, &[&fdict[..], &stream].concat()), NONE);
    }
}
