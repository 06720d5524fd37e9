use super::*;
use crate::error::TransportErrorCode;
use crate::ietf::wire::TransportParameters;
use proptest::collection::vec;
use proptest::prelude::*;

const V1: [u8; 4] = [0, 0, 0, 1];
const V2: [u8; 4] = [0x6b, 0x33, 0x43, 0xcf];
const RESERVED: [u8; 4] = [0x1a, 0x2a, 0x3a, 0x4a];

/// The parameter with this value.
fn parameter(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, 0x11);
    put_varint(&mut out, value.len() as u64);
    out.extend_from_slice(value);
    out
}

/// Whether a value is refused, by those who look for it and by those who take all parameters.
fn refused(value: &[u8], sender: Side) -> bool {
    let bytes = parameter(value);
    let found = VersionInformation::find(&bytes, sender).err();
    assert_eq!(TransportParameters::decode(&bytes, sender).err(), found);
    found.is_some_and(|error| {
        assert_eq!(error.code, TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
        true
    })
}

#[test]
fn what_rfc_9368_4_calls_parsing_failures() {
    for sender in [Side::Client, Side::Server] {
        // "if it is too short or if its length is not divisible by four"
        for len in 0..9 {
            assert_eq!(
                refused(&[V1, V1, V1].concat()[..len], sender),
                len != 8 && (len != 4 || sender.is_client())
            );
        }
        // "a Chosen Version equal to zero, or any Available Version equal to zero"
        assert!(refused(&[[0; 4], V1].concat(), sender));
        assert!(refused(&[V1, V1, [0; 4]].concat(), sender));
        assert!(refused(&[V1, [0; 4], V1].concat(), sender));
        assert!(refused(&[[0; 4], [0; 4]].concat(), sender));
        assert!(!refused(&[V1, RESERVED, V1, V2].concat(), sender), "order and reserved versions are free");
    }
    // "If a server receives Version Information where the Chosen Version is not included in Available Versions, it MUST treat it as a parsing
    // failure." A server's "is not necessarily included in this list", which "MAY be empty" (§3).
    for value in [&V1[..], &[V1, V2].concat()] {
        assert!(refused(value, Side::Client));
        assert!(!refused(value, Side::Server));
    }
}

#[test]
fn it_comes_once_and_may_be_absent() {
    let one = parameter(&[V1, V1].concat());
    let bytes = [&[0x04, 1, 9], &one[..], &[0x01, 1, 7]].concat();
    let found = VersionInformation::find(&bytes, Side::Client).unwrap().unwrap();
    assert_eq!((found.chosen, found.available().len()), (Version::V1, 1));
    assert_eq!(TransportParameters::decode(&bytes, Side::Client).unwrap().initial_max_data, 9);
    assert!(TransportParameters::decode(&[&one[..], &one].concat(), Side::Client).is_err());
    assert_eq!(VersionInformation::find(&[0x04, 1, 9], Side::Client), Ok(None));
    assert!(VersionInformation::find(&[0x04, 2, 9], Side::Client).is_err(), "truncated");
}

#[test]
fn as_many_versions_as_fit() {
    // Whoever lists thousands is read to the end.
    let many = [&V2[..], &[RESERVED; 15_000].concat(), &V2].concat();
    let bytes = parameter(&many);
    let found = VersionInformation::find(&bytes, Side::Client).unwrap().unwrap();
    assert_eq!((found.chosen, found.available().len()), (Version::V2, 15_001));
    assert!(!refused(&many, Side::Client));
}

proptest! {
    #[test]
    fn reads_what_it_writes(chosen in 1u32.., others in vec(1u32.., 0..20), at: prop::sample::Index) {
        let mut available: Vec<_> = others.into_iter().map(Version).collect();
        available.insert(at.index(available.len() + 1), Version(chosen));
        let mut out = parameter(&[]);
        out[0] = 0x3f;
        encode(&mut out, Version(chosen), &available);
        for sender in [Side::Client, Side::Server] {
            let found = VersionInformation::find(&out, sender).unwrap().unwrap();
            prop_assert_eq!(found.chosen, Version(chosen));
            prop_assert_eq!(found.available().collect::<Vec<_>>(), &available[..]);
            prop_assert!(TransportParameters::decode(&out, sender).is_ok());
        }
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(bytes in vec(any::<u8>(), 0..200), value in vec(0u8..3, 0..40), server: bool) {
        let sender = if server { Side::Server } else { Side::Client };
        for bytes in [bytes, parameter(&value)] {
            let found = VersionInformation::find(&bytes, sender);
            // What all parameters are taken from is no less strict.
            if TransportParameters::decode(&bytes, sender).is_ok() {
                prop_assert!(found.is_ok());
            }
            let Ok(Some(info)) = found else { continue };
            prop_assert!(info.chosen.0 != 0 && info.available().all(|version| version.0 != 0));
            prop_assert!(server || info.available().any(|version| version == info.chosen));
        }
    }
}
