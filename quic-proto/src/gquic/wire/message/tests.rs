//! Messages as they were recorded, their limits, and what is not one.

use super::*;
use crate::gquic::wire::vectors::bytes;
use proptest::prelude::*;

/// The client hello of `gquic_q044_chlo.json`: the plaintext without the two bytes of the stream frame.
fn recorded() -> (Vec<u8>, serde_json::Value) {
    let text = include_str!("../../../../testdata/gquic/gquic_q044_chlo.json");
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    (bytes(&json["plaintext"])[2..].to_vec(), json["handshake_message"].clone())
}

fn tag_of(json: &serde_json::Value) -> Tag {
    let mut bytes = [0; 4];
    let name = json.as_str().unwrap().as_bytes();
    bytes[..name.len()].copy_from_slice(name);
    Tag::new(bytes)
}

#[test]
fn a_recorded_client_hello() {
    let (bytes_of_message, json) = recorded();
    let message = Message::parse_whole(&bytes_of_message).unwrap();
    assert_eq!((message.tag(), message.len()), (tags::CHLO, 1040));
    let pairs = json["pairs"].as_array().unwrap();
    let values: Vec<_> = message.iter().collect();
    assert_eq!(values.len(), pairs.len());
    for ((tag, value), pair) in values.into_iter().zip(pairs) {
        assert_eq!((tag, value), (tag_of(&pair["tag"]), &bytes(&pair["value"])[..]));
        assert_eq!(message.get(tag), Some(value));
    }
    assert_eq!((message.u32(tags::ICSL), message.get(tags::SCID)), (Some(30), None));
    assert_eq!((message.u64(tags::ICSL), message.array::<4>(tags::SNI)), (None, None));
    assert_eq!(message.tag_list(tags::PDMD).unwrap().collect::<Vec<_>>(), [tags::X509]);
    assert!(format!("{message:?}").starts_with("CHLO {PAD: \"909 bytes\", SNI: \"11 bytes\""));
}

#[test]
fn the_builder_writes_the_same_bytes() {
    let (recorded, _) = recorded();
    let message = Message::parse_whole(&recorded).unwrap();
    let mut builder = Builder::new(tags::CHLO);
    let mut values: Vec<_> = message.iter().filter(|(tag, _)| *tag != tags::PAD).collect();
    values.reverse();
    for (tag, value) in values {
        builder.put(tag, value);
    }
    assert_eq!(builder.pad().finish(), recorded);
    assert_eq!(
        builder.put(tags::PAD, &[0; 909][..]).finish(),
        recorded,
        "a value replaces the one before it"
    );
    // What is long enough gets no padding.
    let mut long = Builder::new(tags::CHLO);
    long.put(tags::STK, vec![1; CHLO_PADDED_LEN - ENTRY_LEN]);
    assert_eq!(long.pad().finish().len(), HEAD_LEN + CHLO_PADDED_LEN);
}

#[test]
fn tags_are_ordered_as_numbers() {
    assert!(tags::PAD < tags::SNI && tags::SNI < tags::STK && tags::STK < tags::SNO);
    assert!(tags::CCS < tags::CHLO && tags::EXPY < tags::CRT);
    assert_eq!(["PAD", "CRT", "AESG"], [tags::PAD, tags::CRT, tags::AESG].map(|tag| tag.to_string()));
    assert_eq!(Tag::new(*b"\x01a\n\xfe").to_string(), "\\x01a\\n\\xfe");
}

/// A message of these entries (tag, end of the value) with as many zeros behind it as they ask for, at most.
fn raw(entries: &[(Tag, u32)], zeros: usize) -> Vec<u8> {
    let mut message = b"CHLO".to_vec();
    message.extend((entries.len() as u16).to_le_bytes());
    message.extend([0; 2]);
    for (tag, end) in entries {
        message.extend(tag.to_bytes());
        message.extend(end.to_le_bytes());
    }
    message.resize(message.len() + zeros, 0);
    message
}

fn refused(message: &[u8]) -> ErrorCode {
    Message::parse(message).unwrap_err().code
}

#[test]
fn limits() {
    let numbered = |count: u32| (0..count).map(|n| (Tag(n), 0)).collect::<Vec<_>>();
    assert!(Message::parse(&raw(&numbered(128), 0)).unwrap().is_some());
    assert_eq!(refused(&raw(&numbered(129), 0)), ErrorCode::CRYPTO_TOO_MANY_ENTRIES);
    // The count alone is enough.
    assert_eq!(refused(b"CHLO\xff\xff\0\0"), ErrorCode::CRYPTO_TOO_MANY_ENTRIES);

    assert!(Message::parse(&raw(&[(tags::STK, 4000)], 4000)).unwrap().is_some());
    assert_eq!(refused(&raw(&[(tags::STK, 4001)], 4001)), ErrorCode::CRYPTO_INVALID_VALUE_LENGTH);
    assert_eq!(refused(&raw(&[(tags::STK, u32::MAX)], 0)), ErrorCode::CRYPTO_INVALID_VALUE_LENGTH);
    assert_eq!(
        refused(&raw(&[(tags::PAD, 10), (tags::STK, 9)], 100)),
        ErrorCode::CRYPTO_INVALID_VALUE_LENGTH,
        "ends go up"
    );
    let big = |count: u32| (0..count).map(|n| (Tag(n), (n + 1) * 4000)).collect::<Vec<_>>();
    assert!(Message::parse(&raw(&big(8), 32000)).unwrap().is_some());
    assert_eq!(refused(&raw(&big(9), 0)), ErrorCode::CRYPTO_INVALID_VALUE_LENGTH, "the whole is limited");
    let mut nearly = big(8);
    nearly.push((Tag(100), MAX_LEN as u32 - 8));
    assert_eq!(refused(&raw(&nearly, 0)), ErrorCode::CRYPTO_INVALID_VALUE_LENGTH, "with its index");
}

#[test]
fn tags_ascend() {
    assert_eq!(refused(&raw(&[(tags::STK, 0), (tags::STK, 0)], 0)), ErrorCode::CRYPTO_DUPLICATE_TAG);
    assert_eq!(refused(&raw(&[(tags::STK, 0), (tags::PAD, 0)], 0)), ErrorCode::CRYPTO_TAGS_OUT_OF_ORDER);
    // Known before the index is there as a whole.
    let message = raw(&[(tags::STK, 0), (tags::PAD, 0), (tags::CRT, 0)], 0);
    assert_eq!(refused(&message[..HEAD_LEN + 2 * ENTRY_LEN + 3]), ErrorCode::CRYPTO_TAGS_OUT_OF_ORDER);
}

#[test]
fn a_message_ends_where_it_says() {
    let (message, _) = recorded();
    for len in [0, 1, 7, 8, 20, 79, 80, 500, 1039] {
        assert_eq!(Message::parse(&message[..len]), Ok(None), "{len}");
        assert!(Message::parse_whole(&message[..len]).is_err());
    }
    let two = [&message[..], &message[..]].concat();
    assert_eq!(Message::parse(&two).unwrap().unwrap().bytes(), message);
    assert!(Message::parse_whole(&two).is_err());
}

proptest! {
    #[test]
    fn built_messages_read_back(
        tag: [u8; 4],
        values in proptest::collection::btree_map(any::<[u8; 4]>(), proptest::collection::vec(any::<u8>(), 0..200), 0..60),
    ) {
        let mut builder = Builder::new(Tag::new(tag));
        for (tag, value) in &values {
            builder.put(Tag::new(*tag), &value[..]);
        }
        let bytes = builder.finish();
        let message = Message::parse_whole(&bytes).unwrap();
        prop_assert_eq!(message.tag(), Tag::new(tag));
        prop_assert_eq!(message.iter().count(), values.len());
        for (tag, value) in &values {
            prop_assert_eq!(message.get(Tag::new(*tag)), Some(&value[..]));
        }
        for len in 0..bytes.len() {
            prop_assert_eq!(Message::parse(&bytes[..len]), Ok(None));
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(count in 0u8..5, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
        for bytes in [&rest[..], &[&[b'C', b'H', b'L', b'O', count, 0, 0, 0], &rest[..]].concat()] {
            if let Ok(Some(message)) = Message::parse(bytes) {
                prop_assert!(message.len() <= bytes.len());
                prop_assert_eq!(message.iter().map(|(_, value)| value.len()).sum::<usize>(), message.values.len());
            }
        }
    }
}
