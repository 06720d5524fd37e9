//! (being built)

/// The labels that keys of a version are derived with (RFC 9001 §5.1, RFC 9369 §3.3.2), without the prefix "tls13 ".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Labels {
    /// For the packet key.
    pub key: &'static str,
    /// For the IV.
    pub iv: &'static str,
    /// For the header protection key.
    pub hp: &'static str,
    /// For the secret after a key update.
    pub ku: &'static str,
}
