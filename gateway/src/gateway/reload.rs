//! A new configuration for a gateway that runs.
//!
//! In: a configuration, read and checked. Out: what of it changed, once all of it counts; or
//! [`ReloadError`], and then nothing does. What was begun under the old one ends under it. Never
//! touches the data directory, the log or the journal, and never closes a connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::behind::retention_policy;
use crate::accept::authority::{Authority, AuthorityError};
use crate::capture::secrets::Secrets;
use crate::config::Config;
use crate::journey::{Journey, SettingsError};
use crate::seal::keys::Keys;
use crate::store::retention;

/// Puts configurations in place while the gateway runs.
pub struct Reloader {
    pub(super) journey: Arc<Journey>,
    pub(super) keys: Arc<Keys>,
    pub(super) authority: Arc<Authority>,
    pub(super) retention: Arc<ArcSwap<retention::Policy>>,
    pub(super) address: SocketAddr,
    /// The one that counts.
    pub(super) present: Mutex<Config>,
}

/// What a reload changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys and sections of the configuration that differ from before.
    pub changed: Vec<&'static str>,
    /// Whether another authority vouches for opened hosts now.
    pub authority: bool,
}

/// Why the configuration before goes on.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It says otherwise of something that only a start can settle.
    #[error("{} cannot change while the gateway runs", keys.join(", "))]
    Fixed {
        /// The keys or sections.
        keys: Vec<&'static str>,
    },
    /// A file that it names cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The authority that a rotation left cannot be used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl ReloadError {
    /// What to do about it.
    #[must_use]
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Fixed { .. } => "put the old value back, or restart the gateway with the new one",
            Self::Settings(_) | Self::Authority(_) => {
                "mend that file; the gateway looks again at SIGHUP and when the configuration changes"
            }
        }
    }
}

impl Reloader {
    /// Puts `config` in place, and reads every file that it names anew. Reads files: not for a
    /// thread of traffic.
    ///
    /// # Errors
    /// [`ReloadError`]; the configuration before goes on, whole.
    pub fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        // Held to the end: two reloads at once would each keep half of the other.
        let mut present = self.present.lock().unwrap_or_else(PoisonError::into_inner);
        let fixed = differences(&present, &config, FIXED);
        if !fixed.is_empty() {
            return Err(ReloadError::Fixed { keys: fixed });
        }
        let settings = self.journey.settings().followed_by(&config, self.address)?;
        settings.forwarder.prepare();
        let (headers, query) = (&config.secrets.headers, &config.secrets.query);
        let secrets = Secrets::new(self.keys.header(), headers, query);
        // The last step that can fail, and the first that counts.
        let authority = self.authority.reload(&config.ca)?;
        let changed = differences(&present, &config, CHANGEABLE);
        self.journey.observe.traffic().add(&settings.table.names());
        self.journey.tap.set_secrets(secrets);
        self.authority.prepare(settings.opened_hosts());
        self.journey.settings.store(Arc::new(settings));
        self.retention.store(Arc::new(retention_policy(&config)));
        *present = config;
        Ok(Reloaded { changed, authority })
    }

    /// Takes a rotation of the authority that nobody reloaded for a day; `true` if there was one.
    ///
    /// # Errors
    /// [`AuthorityError`]; the present one goes on.
    pub fn catch_up(&self) -> Result<bool, AuthorityError> {
        self.authority.catch_up(&self.present().ca)
    }

    /// The configuration that counts.
    #[must_use]
    pub fn present(&self) -> Config {
        self.present.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A key or section, and whether two configurations agree on it.
type Part = (&'static str, fn(&Config, &Config) -> bool);

/// What only a start can settle.
const FIXED: &[Part] = &[
    ("listen", |a, b| a.listen == b.listen),
    ("data", |a, b| a.data == b.data),
    ("lock", |a, b| a.lock == b.lock),
    ("origin", |a, b| a.origin == b.origin),
    ("durability", |a, b| a.durability == b.durability),
    ("[log]", |a, b| a.log == b.log),
    ("[journal]", |a, b| a.journal == b.journal),
    ("[observe]", |a, b| a.observe == b.observe),
    ("[witness]", |a, b| a.witness == b.witness),
    ("[timestamp]", |a, b| a.timestamp == b.timestamp),
    ("[runs]", |a, b| a.runs == b.runs),
    ("[kernel]", |a, b| a.kernel == b.kernel),
    ("[serve]", |a, b| a.user == b.user),
];

/// What counts from the next exchange on, or the next connection.
const CHANGEABLE: &[Part] = &[
    ("capture", |a, b| a.capture == b.capture),
    ("upstream_ca", |a, b| a.upstream_ca == b.upstream_ca),
    ("[tls]", |a, b| a.tls == b.tls),
    ("[ca]", |a, b| a.ca == b.ca),
    ("[upstreams]", |a, b| a.upstreams == b.upstreams),
    ("[timeouts]", |a, b| a.timeouts == b.timeouts),
    ("[limits]", |a, b| a.limits == b.limits),
    ("[secrets]", |a, b| a.secrets == b.secrets),
    ("[proxy]", |a, b| a.proxy == b.proxy),
    ("[forwarded]", |a, b| a.forwarded == b.forwarded),
    ("[retention]", |a, b| a.retention == b.retention),
];

fn differences(before: &Config, after: &Config, parts: &[Part]) -> Vec<&'static str> {
    let changed = parts.iter().filter(|(_, same)| !same(before, after));
    changed.map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::{Keys, TOP};

    /// A key that neither list has would be dropped without a word.
    #[test]
    fn every_key_either_changes_or_is_said_not_to() {
        let Keys { keys, .. } = TOP;
        for key in keys {
            let listed = FIXED.iter().chain(CHANGEABLE);
            let found = listed.filter(|(name, _)| name.trim_matches(['[', ']']) == *key).count();
            assert_eq!(found, 1, "{key}");
        }
        assert_eq!(FIXED.len() + CHANGEABLE.len(), keys.len());
    }
}
