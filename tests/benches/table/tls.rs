//! TLS of the bench: one authority for the upstream, and both sides' settings.
//!
//! The processes share it as files, made anew for each run: `ca.pem`, `upstream.pem`, `upstream.key`.
//! Everyone agrees on HTTP/1.1, and no session is ever resumed: each handshake is a full one.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sealtap_tests::tls::Authority;
use tempfile::TempDir;

use crate::upstream::distant;

/// Addresses of the distant upstream: so many new hosts there are for one system.
pub(crate) const HOSTS: u64 = 250;

/// The files that the processes share; they are gone with this.
pub(crate) struct Files(TempDir);

impl Files {
    /// Draws an authority and certifies the upstream under all its names.
    pub(crate) fn make(scratch: &Path) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("tls-").tempdir_in(scratch)?;
        let authority = Authority::new();
        let names = (0..HOSTS).map(|number| distant(number).to_string());
        let names: Vec<String> = ["localhost".to_owned()].into_iter().chain(names).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let identity = authority.identity_for(&names, 4096);
        authority.write(&home.path().join("ca.pem"));
        std::fs::write(home.path().join("upstream.pem"), identity.certificate)?;
        std::fs::write(home.path().join("upstream.key"), identity.key)?;
        Ok(Self(home))
    }

    /// Where they are.
    pub(crate) fn directory(&self) -> &Path {
        self.0.path()
    }

    /// The certificate that whoever connects to the upstream must trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.0.path().join("ca.pem")
    }
}

/// The upstream's settings.
pub(crate) fn server(directory: &Path) -> Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(directory.join("upstream.pem"))
        .and_then(Iterator::collect)
        .map_err(Error::other)?;
    let key = PrivateKeyDer::from_pem_file(directory.join("upstream.key")).map_err(Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The settings of a client that trusts nobody but the authority in this file.
pub(crate) fn client(authority: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority)
        .map_err(|error| Error::other(format!("{}: {error}", authority.display())))?;
    roots.add(certificate).map_err(Error::other)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
