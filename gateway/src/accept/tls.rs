//! The gateway's own certificate, where clients speak TLS to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Why the listener cannot speak TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of the kind wanted.
    #[error("{}: {what} cannot be read: {why}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What should be in it.
        what: &'static str,
        /// What went wrong.
        why: String,
    },
    /// Certificate and key do not fit together.
    #[error("{} and {} cannot be used together: {source}", certificate.display(), key.display())]
    Unfit {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
}

/// The TLS settings of a listener: HTTP/2 and HTTP/1.1 by ALPN.
///
/// # Errors
///
/// [`TlsError`].
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|error| TlsError::Unreadable {
            path: certificate.to_owned(),
            what: "the certificate chain",
            why: error.to_string(),
        })?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::Unreadable {
        path: key.to_owned(),
        what: "the private key",
        why: error.to_string(),
    })?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|source| TlsError::Unfit {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
