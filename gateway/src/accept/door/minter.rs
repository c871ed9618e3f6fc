//! TLS towards clients of captured hosts: settings with a leaf of the gateway's own authority.
//!
//! Settings are made once for each name and each choice of protocol, and kept while their leaf is
//! young, so that a handshake costs no more than with a certificate of one's own. Each has its own
//! tickets: a session is resumed under the name it was begun with, and no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::accept::authority::{Authority, AuthorityError, LeafName};

/// Settings that are kept; beyond it all are made anew.
const KEPT: usize = 2_048;

/// Whom settings are for, and what they offer.
type Choice = (LeafName, Vec<Vec<u8>>);

/// The leaf that settings show, and the settings.
type Made = (Arc<CertifiedKey>, Arc<ServerConfig>);

/// Makes the settings under which the gateway speaks TLS in a host's name.
pub struct Minter {
    authority: Arc<Authority>,
    made: Mutex<HashMap<Choice, Made>>,
}

impl Minter {
    /// Settings under `authority`.
    #[must_use]
    pub fn new(authority: Arc<Authority>) -> Self {
        Self { authority, made: Mutex::default() }
    }

    /// The settings for `name` that agree to the first of `protocols` that a client offers; to none
    /// where there are none.
    ///
    /// # Errors
    ///
    /// [`AuthorityError`]: there is no leaf for that name.
    pub fn settings(
        &self,
        name: LeafName,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Arc<ServerConfig>, AuthorityError> {
        let leaf = self.authority.leaf(&name)?;
        let choice = (name, protocols);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((shown, settings)) = made.get(&choice)
            && Arc::ptr_eq(shown, &leaf)
        {
            return Ok(Arc::clone(settings));
        }
        let resolver = Arc::new(SingleCertAndKey::from(Arc::clone(&leaf)));
        let mut settings =
            ServerConfig::builder().with_no_client_auth().with_cert_resolver(resolver);
        settings.alpn_protocols.clone_from(&choice.1);
        if let Ok(ticketer) = Ticketer::new() {
            settings.ticketer = ticketer;
        }
        let settings = Arc::new(settings);
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(choice, (leaf, Arc::clone(&settings)));
        Ok(settings)
    }
}
