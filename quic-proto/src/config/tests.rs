use super::*;
use crate::time::Duration;

fn name_of(error: ConfigError) -> &'static str {
    match error {
        ConfigError::OutOfRange { name, .. } => name,
        other => panic!("{other}"),
    }
}

#[test]
fn defaults_are_valid() {
    assert!(TransportConfig::default().build().is_ok());
    assert!(EndpointConfig::new(&[1; 32]).build().is_ok());
}

#[test]
fn transport_parameters_stay_in_their_ranges() {
    let refused = |config: TransportConfig| name_of(config.build().unwrap_err());
    let new = TransportConfig::default;
    assert_eq!(refused(new().max_ack_delay(Duration::from_millis(1 << 14))), "max_ack_delay in milliseconds");
    assert!(new().max_ack_delay(Duration::from_millis((1 << 14) - 1)).build().is_ok());
    assert_eq!(refused(new().ack_delay_exponent(21)), "ack_delay_exponent");
    assert_eq!(refused(new().active_cid_limit(1)), "active_cid_limit");
    assert_eq!(refused(new().active_cid_limit(17)), "active_cid_limit");
    assert_eq!(refused(new().max_bidi_streams((1 << 60) + 1)), "max_bidi_streams");
    assert!(new().max_uni_streams(1 << 60).max_bidi_streams(0).build().is_ok());
    assert_eq!(refused(new().mtu_ceiling(1199)), "mtu_ceiling in bytes");
    assert_eq!(refused(new().stream_window(1, 1 << 62)), "the stream window");
    assert_eq!(refused(new().max_idle_timeout(Some(Duration::ZERO))), "max_idle_timeout in milliseconds");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    let config = TransportConfig::default().connection_window(2, 1);
    let expected = ConfigError::WindowAboveCeiling { name: "the connection window", initial: 2, ceiling: 1 };
    assert_eq!(config.build().unwrap_err(), expected);
    let config = TransportConfig::default().keep_alive(Some(Duration::from_secs(30)));
    assert_eq!(config.build().unwrap_err(), ConfigError::KeepAliveTooSlow);
    let config = TransportConfig::default().keep_alive(Some(Duration::from_secs(30))).max_idle_timeout(None);
    assert!(config.build().is_ok());
}

#[test]
fn endpoint_ids_have_one_length() {
    let new = || EndpointConfig::new(&[1; 32]);
    assert!(new().random_cids(0).build().is_ok());
    assert!(new().random_cids(20).build().is_ok());
    assert_eq!(name_of(new().random_cids(21).build().unwrap_err()), "the length of connection ids");
    let ids = crate::cid::RandomCids::new(4).unwrap();
    assert_eq!(new().cids(std::sync::Arc::new(ids)).cid_len, 4);
}

#[test]
fn unknown_versions_are_refused() {
    let build = |versions: &[Version]| EndpointConfig::new(&[1; 32]).versions(versions).build().map(drop);
    assert_eq!(build(&[]), Err(ConfigError::NoVersions));
    assert_eq!(build(&[Version::V1, Version(7)]), Err(ConfigError::UnsupportedVersion(7)));
}

#[test]
fn secrets_are_not_printed() {
    let text = format!("{:?}", EndpointConfig::new(&[0xa5; 32]));
    assert!(!text.contains("165") && !text.contains("a5"), "{text}");
}

/// A family that speaks one version of its own.
struct Other;

impl family::ClientFamily for Other {
    fn versions(&self) -> &[Version] {
        &[Version::Q044]
    }
}

#[test]
fn other_families_add_their_versions() {
    use std::sync::Arc;
    let tls = || Arc::new(crate::crypto::null::NullClient::default());
    let both = ClientConfig::new(tls()).family(Arc::new(Other)).build().unwrap();
    assert_eq!(both.versions[..], [Version::V1, Version::Q044]);
    assert!(both.family_of(Version::Q044).is_some() && both.family_of(Version::V1).is_none());
    let alone = ClientConfig::of(Arc::new(Other)).build().unwrap();
    assert_eq!(alone.versions[..], [Version::Q044]);
    let unsupported = |config: ClientConfig, version: Version| {
        assert_eq!(config.build().map(drop), Err(ConfigError::UnsupportedVersion(version.0)));
    };
    unsupported(ClientConfig::new(tls()).versions(&[Version::Q044]), Version::Q044);
    unsupported(ClientConfig::of(Arc::new(Other)).versions(&[Version::V1]), Version::V1);
}
