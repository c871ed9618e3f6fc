//! Files for clients: the authority's certificate, and a bundle of the system's roots with it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{Authority, AuthorityError, certificate};
use crate::seal::keys::own_file;
use crate::seal::log::disk::{Access, RealDisk, create_directories, replace};

/// Variables by which a user may have named roots that the bundle must not take away.
pub(super) const NAMED_ELSEWHERE: [&str; 5] = [
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "AWS_CA_BUNDLE",
    "GIT_SSL_CAINFO",
];

/// The certificates that a user of this machine trusts already: the system's roots (those of
/// `SSL_CERT_FILE` and `SSL_CERT_DIR` where these are set), and what else the environment names.
pub struct Roots(BTreeSet<Vec<u8>>);

impl Roots {
    /// Reads them for the bundle at `path`, which is none of them. Some hundred files may have to be
    /// read; those that cannot be are left out and said.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate store of this machine could not be read");
        }
        let mut roots = found.certs;
        if env::var_os("SSL_CERT_FILE").is_some_and(|file| is_same(Path::new(&file), path)) {
            // What this file held before: an authority that was rotated away must leave it.
            roots.retain(|der| !certificate::is_of_sealtap(der));
        }
        for name in NAMED_ELSEWHERE {
            let Some(file) = env::var_os(name).filter(|value| !value.is_empty()) else { continue };
            // Ours, from `sealtap ca`: its certificates are here anyway.
            if !is_same(Path::new(&file), path) {
                roots.extend(certificates(name, Path::new(&file)));
            }
        }
        Self(roots.iter().map(|der| der.to_vec()).collect())
    }
}

/// Writes to `path`, in one step, what clients trust in place of the roots that they came with: the
/// authority's certificate, the one before a rotation while that is needed, and `roots`, which were
/// read for this path. Gives the number of certificates that are not ours.
///
/// # Errors
/// [`AuthorityError`]: the file cannot be written.
pub fn bundle(authority: &Authority, roots: &Roots, path: &Path) -> Result<usize, AuthorityError> {
    let ours = ours(authority)?;
    let known: BTreeSet<Vec<u8>> = ours.iter().map(|der| der.to_vec()).collect();
    let others: Vec<&Vec<u8>> = roots.0.difference(&known).collect();
    let text: String =
        ours.iter().map(|der| pem(der)).chain(others.iter().map(|der| pem(der))).collect();
    write(path, &text)?;
    Ok(others.len())
}

/// Writes the authority's certificate to `path`, in one step, and behind it the one before a rotation
/// while that is needed: for variables that add to the roots of a runtime.
///
/// # Errors
/// [`AuthorityError`]: the file cannot be written.
pub fn write_certificate(authority: &Authority, path: &Path) -> Result<(), AuthorityError> {
    write(path, &ours(authority)?.iter().map(|der| pem(der)).collect::<String>())
}

/// The certificates that a client must trust, the present one first; with those above it where it is
/// not a root, since not every verifier stops below one.
pub(super) fn ours(authority: &Authority) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let mut ours = authority.certificate().chain;
    if let Some(previous) = authority.previous()? {
        ours.extend(previous.chain);
    }
    Ok(ours)
}

fn is_same(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

fn certificates(variable: &str, path: &Path) -> Vec<CertificateDer<'static>> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    read.unwrap_or_else(|error| {
        let path = path.display();
        tracing::warn!(%path, variable, %error, "certificates named by the environment cannot be read");
        Vec::new()
    })
}

/// One certificate in PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in body.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

/// Writes `text` to `path` in one step, unless it stands there already.
fn write(path: &Path, text: &str) -> Result<(), AuthorityError> {
    if is_there(path, text) {
        return Ok(());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        create_directories(&RealDisk, directory, Access::Public)
            .map_err(own_file::failed("create", directory))?;
    }
    let mut temporary = path.as_os_str().to_owned();
    // Two that write at once do not write one file.
    temporary.push(format!(".{}.new", std::process::id()));
    replace(&RealDisk, &PathBuf::from(temporary), path, text.as_bytes(), Access::Public)
        .map_err(|error| own_file::failed("write", path)(error).into())
}

/// Whether the file at `path` holds `text` and nothing else; it is not read further than that needs.
fn is_there(path: &Path, text: &str) -> bool {
    let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
    let plain = fs::symlink_metadata(path).is_ok_and(|is| is.is_file() && is.len() == length);
    plain && fs::read(path).is_ok_and(|held| held == text.as_bytes())
}
