//! Secrets of a session that rustls keeps to itself.
//!
//! rustls tells its secrets to nobody but the configuration's key log, which sees them while the session derives them. So a configuration gets a
//! [`Tap`] for a key log, and [`listen`] catches what comes by: the exporter's secret, and the traffic secrets of a handshake.
//!
//! Invariant: a secret that was heard leaves with the call of [`listen`] during which it came; no other session on any thread sees it.
//! Timers: none.

use ::rustls::KeyLog;
use ::rustls::crypto::tls13::OkmBlock;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// What was heard.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) exporter: Option<OkmBlock>,
    pub(super) handshake: Traffic,
    pub(super) application: Traffic,
}

/// The traffic secrets of one level.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) client: Option<OkmBlock>,
    pub(super) server: Option<OkmBlock>,
}

impl Heard {
    /// The place of a secret, by its name in key logs.
    fn place(&mut self, label: &str) -> Option<&mut Option<OkmBlock>> {
        match label {
            "EXPORTER_SECRET" => Some(&mut self.exporter),
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => Some(&mut self.handshake.client),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => Some(&mut self.handshake.server),
            "CLIENT_TRAFFIC_SECRET_0" => Some(&mut self.application.client),
            "SERVER_TRAFFIC_SECRET_0" => Some(&mut self.application.server),
            _ => None,
        }
    }
}

thread_local! {
    /// A result that rustls' calls have no room for: there is one within [`listen`] only.
    static HEARD: RefCell<Option<Heard>> = const { RefCell::new(None) };
}

/// Runs a session of a configuration with a [`Tap`]. Returns the secrets too that were derived meanwhile.
pub(super) fn listen<T>(run: impl FnOnce() -> T) -> (T, Heard) {
    HEARD.replace(Some(Heard::default()));
    let result = run();
    (result, HEARD.take().unwrap_or_default())
}

/// A key log that lets [`listen`] hear secrets, and another one all that it asks for.
pub(super) struct Tap(pub(super) Arc<dyn KeyLog>);

impl KeyLog for Tap {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        HEARD.with_borrow_mut(|heard| {
            if let Some(place) = heard.as_mut().and_then(|heard| heard.place(label))
                && secret.len() <= OkmBlock::MAX_LEN
            {
                *place = Some(OkmBlock::new(secret));
            }
        });
        if self.0.will_log(label) {
            self.0.log(label, client_random, secret);
        }
    }

    fn will_log(&self, label: &str) -> bool {
        let listened =
            HEARD.with_borrow_mut(|heard| heard.as_mut().is_some_and(|heard| heard.place(label).is_some()));
        listened || self.0.will_log(label)
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
