//! Whom to trust as an upstream: the machine's roots, and what the configuration adds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::connect::ConnectError;
use crate::config::Protocol;
use crate::route::Upstream;

/// Why a file of certificate authorities cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It cannot be read, or is no PEM.
    #[error("{}: no certificate can be read: {why}; give a PEM file with CA certificates", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

/// What TLS settings are made of: CA files, the protocol, and whether HTTP/1 alone is offered.
type Ingredients = (Vec<PathBuf>, Protocol, bool);

/// The certificate authorities and the TLS settings made from them.
#[derive(Debug)]
pub(super) struct TlsRoots {
    extra: Vec<CertificateDer<'static>>,
    /// Read once, and only when some upstream speaks TLS.
    system: OnceLock<RootCertStore>,
    /// By what they are made of, never by a name: clients choose some of those.
    settings: Mutex<HashMap<Ingredients, Arc<ClientConfig>>>,
}

impl TlsRoots {
    /// The machine's roots and those in `files`.
    ///
    /// # Errors
    ///
    /// [`TrustError`].
    pub(super) fn load(files: &[PathBuf]) -> Result<Self, TrustError> {
        let mut extra = Vec::new();
        for path in files {
            extra.extend(certificates(path)?);
        }
        Ok(Self { extra, system: OnceLock::new(), settings: Mutex::default() })
    }

    /// Reads the machine's roots now.
    pub(super) fn prepare(&self) {
        self.system.get_or_init(system_roots);
    }

    /// The settings for `upstream`; with `http1_only` no other version is offered.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Trust`].
    pub(super) fn settings(
        &self,
        upstream: &Upstream,
        http1_only: bool,
    ) -> Result<Arc<ClientConfig>, ConnectError> {
        let key = (upstream.ca.clone(), upstream.protocol, http1_only);
        let mut settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(settings) = settings.get(&key) {
            return Ok(Arc::clone(settings));
        }
        let mut roots = self.system.get_or_init(system_roots).clone();
        roots.add_parsable_certificates(self.extra.iter().cloned());
        for path in &upstream.ca {
            roots.add_parsable_certificates(certificates(path).map_err(ConnectError::Trust)?);
        }
        let mut config =
            ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let http1 = b"http/1.1".to_vec();
        config.alpn_protocols = match upstream.protocol {
            _ if http1_only => vec![http1],
            Protocol::Auto => vec![b"h2".to_vec(), http1],
            Protocol::Http1 => vec![http1],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let config = Arc::new(config);
        settings.insert(key, Arc::clone(&config));
        Ok(config)
    }
}

impl TlsRoots {
    /// The settings for `upstream` that offer `protocols` by ALPN, as some client did.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Trust`].
    pub(super) fn offering(
        &self,
        upstream: &Upstream,
        protocols: &[Vec<u8>],
    ) -> Result<Arc<ClientConfig>, ConnectError> {
        let mut settings = ClientConfig::clone(&*self.settings(upstream, false)?);
        settings.alpn_protocols = protocols.to_vec();
        Ok(Arc::new(settings))
    }
}

/// Settings for the gateway's own requests, to witnesses and timestamp authorities: HTTP/1.1, the
/// machine's roots and those in `files`.
///
/// # Errors
///
/// [`TrustError`].
pub fn client_settings(files: &[PathBuf]) -> Result<Arc<ClientConfig>, TrustError> {
    let mut roots = system_roots();
    for path in files {
        roots.add_parsable_certificates(certificates(path)?);
    }
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a certificate store of this machine could not be read");
    }
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "root certificates that rustls does not take");
    }
    if roots.is_empty() {
        tracing::warn!(
            "this machine has no root certificates: install ca-certificates or give --upstream-ca"
        );
    }
    roots
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let unreadable = |why: String| TrustError::Unreadable { path: path.to_owned(), why };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unreadable(error.to_string()))?;
    if found.is_empty() {
        return Err(unreadable("it holds none".to_owned()));
    }
    Ok(found)
}
