//! Handshake messages of Q044: what is accepted reads back the same after it was built anew.
#![no_main]

use libfuzzer_sys::fuzz_target;
use quic_proto::gquic::crypto::server_config::Scfg;
use quic_proto::gquic::wire::message::{MAX_ENTRIES, MAX_LEN, MAX_VALUE_LEN};
use quic_proto::gquic::wire::{Builder, Message};

fuzz_target!(|data: &[u8]| {
    let _ = Scfg::parse(data);
    let Ok(Some(message)) = Message::parse(data) else { return };
    assert!(message.len() <= data.len().min(MAX_LEN) && message.iter().count() <= MAX_ENTRIES);
    let mut builder = Builder::new(message.tag());
    for (tag, value) in message.iter() {
        assert!(value.len() <= MAX_VALUE_LEN);
        assert_eq!(message.get(tag), Some(value));
        builder.put(tag, value);
    }
    let built = builder.finish();
    let again = Message::parse_whole(&built).expect("what was built is a message");
    assert_eq!(again.tag(), message.tag());
    assert!(again.iter().eq(message.iter()));
});
