//! The authority that vouches for hosts whose TLS the gateway opens.
//!
//! In: `keys/`, where the authority's key and certificate are, or are made at the first use; names
//! that clients ask for. Out: leaves with their key, short-lived, minted at most once while one is
//! young. Fails with [`AuthorityError`]: files that others can read, a certificate that fits no key
//! or is out of date, a name that is none, or one that the certificate does not permit. Never: shows
//! or logs a key, follows a key that others can read, mints a leaf that the certificate's name
//! constraints forbid, waits for a disk to mint.

mod bundle;
mod certificate;
mod constraints;
mod environment;
mod error;
mod files;
mod issuer;
mod name;
mod sources;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;

pub use self::bundle::{Roots, bundle, write_certificate};
pub use self::certificate::Certificate;
pub use self::environment::{Variable, environment, export, java};
pub use self::error::AuthorityError;
use self::issuer::{Issuing, LEAF_LIFETIME};
pub use self::name::{LeafName, NameError};
pub use self::sources::RootsSince;
use crate::config::Ca;
use crate::seal::log::disk::RealDisk;

/// sealtap's own certificate authority, ready to vouch.
pub struct Authority {
    directory: PathBuf,
    present: ArcSwap<Issuing>,
}

impl Authority {
    /// The authority in `directory` (`keys/`), made there if there is none. `settings` say what a
    /// new one may vouch for; one that is there stays as it is, see [`Certificate::fits`].
    ///
    /// # Errors
    /// [`AuthorityError`]; nothing that was there is changed.
    pub fn open(directory: &Path, settings: &Ca) -> Result<Self, AuthorityError> {
        let present = ArcSwap::from_pointee(read(directory, settings)?);
        Ok(Self { directory: directory.to_owned(), present })
    }

    /// The leaf for `name` and its key; [`LeafName::parse`] makes a name of an SNI or a host.
    ///
    /// One that is kept is found in about a microsecond. A new one costs a signature, about as much
    /// as the handshake it is for; calls for one name at a time mint it once.
    ///
    /// # Errors
    /// [`AuthorityError::NotPermitted`], [`AuthorityError::OutOfDate`], or [`AuthorityError::Mint`]
    /// where the library refuses.
    pub fn leaf(&self, name: &LeafName) -> Result<Arc<CertifiedKey>, AuthorityError> {
        self.present.load().leaf(name, SystemTime::now())
    }

    /// Mints what will be asked for, in the background; names that are not permitted are left out.
    pub fn prepare(self: &Arc<Self>, names: Vec<LeafName>) {
        let authority = Arc::clone(self);
        let minting = move || {
            for name in names {
                // Whoever asks for that name is told what is wrong with it.
                let _ = authority.leaf(&name);
            }
        };
        // Without a thread the first to ask waits for the signature.
        let _ = std::thread::Builder::new().name("leaves".to_owned()).spawn(minting);
    }

    /// Takes the authority that a rotation put in place, if one did; `true` if so. Leaves of the
    /// one before are not shown any more.
    ///
    /// # Errors
    /// [`AuthorityError`]; the present one goes on.
    pub fn reload(&self, settings: &Ca) -> Result<bool, AuthorityError> {
        let read = read(&self.directory, settings)?;
        if !read.certificate().is_valid_at(SystemTime::now()) {
            return Err(AuthorityError::OutOfDate { path: files::path(&self.directory) });
        }
        if read.certificate().fingerprint == self.present.load().certificate().fingerprint {
            return Ok(false);
        }
        self.present.store(Arc::new(read));
        Ok(true)
    }

    /// Takes an authority that was put in place a day ago or longer and that nobody had reloaded;
    /// `true` if there was one. From then on no client needs the certificate before it.
    ///
    /// # Errors
    /// [`AuthorityError`]; the present one goes on.
    pub fn catch_up(&self, settings: &Ca) -> Result<bool, AuthorityError> {
        let waiting = files::peek(&RealDisk, &self.directory)?.filter(|waiting| {
            let age = certificate::seconds(SystemTime::now()).saturating_sub(waiting.from);
            waiting.fingerprint != self.present.load().certificate().fingerprint
                && Duration::from_secs(age.unsigned_abs()) > WAITED_FOR_RELOAD
        });
        if waiting.is_some() { self.reload(settings) } else { Ok(false) }
    }

    /// The certificate that clients must trust.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.present.load().certificate().clone()
    }

    /// The certificate before the last rotation, for as long as a gateway that was not reloaded may
    /// still show leaves under it.
    ///
    /// # Errors
    /// [`AuthorityError`]: it cannot be read.
    pub fn previous(&self) -> Result<Option<Certificate>, AuthorityError> {
        let present = self.certificate();
        let age = certificate::seconds(SystemTime::now()).saturating_sub(present.from);
        if Duration::from_secs(age.unsigned_abs()) > KEPT_AFTER_ROTATION {
            return Ok(None);
        }
        let previous = files::previous(&RealDisk, &self.directory)?;
        Ok(previous.filter(|previous| previous.fingerprint != present.fingerprint))
    }
}

/// How long a rotation waits for the gateway to be reloaded, so that the new certificate can be handed
/// on first.
const WAITED_FOR_RELOAD: Duration = Duration::from_secs(24 * 3_600);

/// How long the certificate before a rotation is handed out: a running gateway takes the new
/// authority within a day, and shows no leaf of the one before from then on.
const KEPT_AFTER_ROTATION: Duration = LEAF_LIFETIME;

/// Puts a new authority in the place of the one in `directory`. A running gateway takes it when it
/// is reloaded.
///
/// # Errors
/// [`AuthorityError`]; the present one is as it was, or the new one is in place.
pub fn rotate(directory: &Path, settings: &Ca) -> Result<(), AuthorityError> {
    files::rotate(&RealDisk, directory, settings, SystemTime::now())
}

fn read(directory: &Path, settings: &Ca) -> Result<Issuing, AuthorityError> {
    let now = SystemTime::now();
    let (certificate, key) = files::load_or_make(&RealDisk, directory, settings, now)?;
    let path = files::path(directory);
    if !certificate.is_valid_at(now) {
        // Nothing is minted until that is mended, but whatever needs no leaf goes on.
        tracing::warn!("{}", AuthorityError::OutOfDate { path: path.clone() });
    }
    Issuing::new(certificate, key, path)
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = formatter.debug_struct("Authority");
        shown.field("certificate", &self.certificate().fingerprint_text()).finish_non_exhaustive()
    }
}
