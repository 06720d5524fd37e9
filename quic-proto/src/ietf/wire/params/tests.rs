use super::*;
use crate::rng::SeededRng;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn encoded(parameters: &TransportParameters, seed: u64) -> Vec<u8> {
    let mut out = Vec::new();
    parameters.encode(&mut out, &mut SeededRng::from_u64(seed));
    out
}

fn refused(bytes: &[u8], sender: Side) -> bool {
    match TransportParameters::decode(bytes, sender) {
        Ok(_) => false,
        Err(error) => {
            assert_eq!(error.code, TransportErrorCode::TRANSPORT_PARAMETER_ERROR);
            true
        }
    }
}

/// The encoding of one parameter.
fn one(id: u8, value: &[u8]) -> Vec<u8> {
    [&[id, value.len() as u8], value].concat()
}

#[test]
fn defaults_of_the_rfc() {
    let absent = TransportParameters::decode(&[], Side::Client).unwrap();
    assert_eq!(absent, TransportParameters::default());
    assert_eq!((absent.max_udp_payload_size, absent.active_connection_id_limit), (65527, 2));
    assert_eq!((absent.ack_delay_exponent, absent.max_ack_delay), (3, Duration::from_millis(25)));
}

#[test]
fn values_are_bounded() {
    let varint = |value| {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out
    };
    for (id, good, bad) in [
        (ids::UDP_PAYLOAD, 1200, 1199),
        (ids::ACK_EXPONENT, 20, 21),
        (ids::ACK_DELAY, (1 << 14) - 1, 1 << 14),
        (ids::ACTIVE_IDS, 2, 1),
        (ids::STREAMS_BIDI, 1 << 60, (1 << 60) + 1),
        (ids::STREAMS_UNI, 1 << 60, (1 << 60) + 1),
    ] {
        assert!(!refused(&one(id, &varint(good)), Side::Client), "{id}");
        assert!(refused(&one(id, &varint(bad)), Side::Client), "{id}");
        assert!(refused(&one(id, &[0x04, 0xb0, 0]), Side::Client), "{id}: bytes after the integer");
        assert!(refused(&one(id, &[]), Side::Client), "{id}: no integer");
    }
    assert!(refused(&one(ids::NO_MIGRATION, &[0]), Side::Client));
    assert!(refused(&one(ids::INITIAL_SCID, &[0; 21]), Side::Client));
    assert!(refused(&one(ids::RESET_TOKEN, &[0; 15]), Side::Server));
    assert!(refused(&one(ids::RESET_TOKEN, &[0; 17]), Side::Server));
}

#[test]
fn a_client_sends_nothing_of_a_servers() {
    let mut preferred = vec![0; 24];
    preferred.extend([1, 7]);
    preferred.extend([3; 16]);
    for parameter in [
        one(ids::ORIGINAL_DCID, &[1]),
        one(ids::RETRY_SCID, &[1]),
        one(ids::RESET_TOKEN, &[0; 16]),
        one(ids::PREFERRED_ADDRESS, &preferred),
    ] {
        assert!(refused(&parameter, Side::Client));
        assert!(!refused(&parameter, Side::Server));
    }
}

#[test]
fn preferred_addresses_need_ids() {
    let preferred = |cid: &[u8]| {
        let mut value = vec![192, 0, 2, 1, 0x01, 0xbb];
        value.extend([0; 18]);
        value.push(cid.len() as u8);
        value.extend(cid);
        value.extend([3; 16]);
        one(ids::PREFERRED_ADDRESS, &value)
    };
    let parameters = TransportParameters::decode(&preferred(&[7]), Side::Server).unwrap();
    let address = parameters.preferred_address.unwrap();
    assert_eq!((address.ipv4, address.ipv6), (Some("192.0.2.1:443".parse().unwrap()), None));
    assert_eq!((address.cid, address.reset_token), (Cid::new(&[7]).unwrap(), ResetToken([3; 16])));
    assert!(refused(&preferred(&[]), Side::Server));
    assert!(refused(&preferred(&[7; 21]), Side::Server));
    assert!(refused(&[preferred(&[7]), one(ids::INITIAL_SCID, &[])].concat(), Side::Server));
    assert!(!refused(&[preferred(&[7]), one(ids::INITIAL_SCID, &[1])].concat(), Side::Server));
}

#[test]
fn duplicates_are_refused_and_unknown_ones_ignored() {
    let unknown = one(27, b"grease");
    let known = one(ids::MAX_DATA, &[9]);
    let parameters = TransportParameters::decode(&[&unknown[..], &known].concat(), Side::Client).unwrap();
    assert_eq!(parameters, TransportParameters { initial_max_data: 9, ..Default::default() });
    assert!(refused(&[&unknown[..], &known, &unknown].concat(), Side::Client));
    assert!(refused(&[&known[..], &unknown, &known].concat(), Side::Client));
    assert!(refused(&known[..2], Side::Client));
}

#[test]
fn a_reserved_parameter_is_sent() {
    for seed in 0..50 {
        let bytes = encoded(&TransportParameters::default(), seed);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.varint().unwrap() % 31, 27);
        assert!(reader.varint_bytes().unwrap().len() <= 16 && reader.is_empty());
    }
}

fn number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 2u32..64).prop_map(|(number, shift)| number >> shift)
}

fn cid(least: usize) -> impl Strategy<Value = Cid> {
    vec(any::<u8>(), least..=20).prop_map(|bytes| Cid::new(&bytes).unwrap())
}

fn preferred() -> impl Strategy<Value = PreferredAddress> {
    let v4 = option::of((any::<[u8; 4]>(), 1u16..)).prop_map(|v4| v4.map(|(ip, port)| (ip.into(), port)));
    let v6 = option::of((any::<[u8; 16]>(), 1u16..)).prop_map(|v6| v6.map(|(ip, port)| (ip.into(), port)));
    (v4, v6, cid(1), any::<[u8; 16]>()).prop_map(|(v4, v6, cid, token)| PreferredAddress {
        ipv4: v4.map(|(ip, port)| SocketAddrV4::new(ip, port)),
        ipv6: v6.map(|(ip, port)| SocketAddrV6::new(ip, port, 0, 0)),
        cid,
        reset_token: ResetToken(token),
    })
}

prop_compose! {
    fn parameters()(
        limits in [number(), number(), number(), number(), number(), number()],
        streams in [0..=1u64 << 60, 0..=1 << 60],
        max_udp_payload_size in 1200..=varint::MAX,
        active_connection_id_limit in 2..=varint::MAX,
        ack_delay_exponent in 0u8..=20,
        max_ack_delay in 0u64..1 << 14,
        disable_active_migration: bool,
        token in option::of(any::<[u8; 16]>()),
        ids in [option::of(cid(0)), option::of(cid(1)), option::of(cid(0))],
        preferred_address in option::of(preferred()),
    ) -> TransportParameters {
        TransportParameters {
            original_destination_connection_id: ids[0],
            max_idle_timeout: Duration::from_millis(limits[0]),
            stateless_reset_token: token.map(ResetToken),
            max_udp_payload_size,
            initial_max_data: limits[1],
            initial_max_stream_data_bidi_local: limits[2],
            initial_max_stream_data_bidi_remote: limits[3],
            initial_max_stream_data_uni: limits[4],
            initial_max_streams_bidi: streams[0],
            initial_max_streams_uni: streams[1],
            ack_delay_exponent,
            max_ack_delay: Duration::from_millis(max_ack_delay),
            disable_active_migration,
            preferred_address,
            active_connection_id_limit,
            initial_source_connection_id: ids[1],
            retry_source_connection_id: ids[2],
            max_datagram_frame_size: limits[5],
        }
    }
}

proptest! {
    #[test]
    fn reads_what_it_writes(parameters in parameters(), seed: u64) {
        let bytes = encoded(&parameters, seed);
        prop_assert_eq!(TransportParameters::decode(&bytes, Side::Server), Ok(parameters));
    }

    #[test]
    fn arbitrary_bytes_do_not_panic(
        bytes in vec(any::<u8>(), 0..200),
        known in vec((0u8..0x22, vec(any::<u8>(), 0..50)), 0..8),
        server: bool,
    ) {
        let sender = if server { Side::Server } else { Side::Client };
        let known: Vec<u8> = known.iter().flat_map(|(id, value)| one(*id, value)).collect();
        for bytes in [bytes, known] {
            if let Ok(parameters) = TransportParameters::decode(&bytes, sender) {
                prop_assert!(parameters.max_udp_payload_size >= 1200);
                prop_assert_eq!(TransportParameters::decode(&encoded(&parameters, 1), sender), Ok(parameters));
            }
        }
    }
}
