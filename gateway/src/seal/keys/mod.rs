//! The keys of a gateway: made on first start, kept in `keys/`, never shown.
//!
//! In: the directory, and the origin the operator wants, if any. Out: [`Keys`], or a [`KeysError`]
//! that names the file and what to do. Each file is 0600 and appears whole or not at all; `log.key`
//! is made last, so that its presence says all the others were made: a crash in between is finished
//! at the next start, and a file lost later is missed instead of being made anew. Never overwrites
//! a key, never prints a secret, never follows a key that others can read.

mod file;
pub(crate) mod own_file;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use sealtap_common::note::{KeyError, PublicKey, Signer};
use zeroize::Zeroizing;

use crate::seal::log::disk::{Access, Disk, RealDisk, remove_if_there, settle_directories};

/// Signs checkpoints; its name is the log's origin.
const LOG: &str = "log.key";
/// Signs run records; its name is the origin and [`RUN_RECORD_NAME`].
const RUN_RECORD: &str = "run-record.key";
/// Tags secret header values.
const HEADER: &str = "header.key";
/// Finds and encrypts what the store holds.
const STORE: &str = "store.key";
/// Every key file in the order of making; [`LOG`] must stay last (see the module's head).
const FILES: [&str; 4] = [HEADER, STORE, RUN_RECORD, LOG];

/// Follows the origin in the name of the key that signs run records.
const RUN_RECORD_NAME: &str = "/run-record";

/// All keys of a gateway. Secrets are wiped from memory when this is dropped.
pub struct Keys {
    log: Signer,
    run_record: Signer,
    header: Zeroizing<[u8; 32]>,
    store: Zeroizing<[u8; 32]>,
}

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The system refused a step.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Others than the owner may use the file or directory.
    #[error("{} is open to others (mode {mode:03o}): run `chmod {want} {}`", path.display(), path.display())]
    OpenToOthers {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// The permission bits it should have, in octal.
        want: &'static str,
    },
    /// The file does not hold a key of its kind.
    #[error("{} does not hold {want}: {reason}; restore the file from a backup", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        want: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// A key that was made once is gone.
    #[error("{} is missing although log.key, which is made last, is there; restore it from a backup", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// There are no keys yet, and the caller may not make any.
    #[error("no keys in {}: `sealtap serve` makes them on its first start", path.display())]
    NotMade {
        /// The directory.
        path: PathBuf,
    },
    /// The origin asked for cannot name a log.
    #[error("{origin:?} cannot be an origin: {reason}; use something like example.com/gateway")]
    Origin {
        /// The text given.
        origin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The key in the file has another name than the one wanted.
    #[error("{} is the key of {found}, not of {want}; an origin cannot change once keys are made", path.display())]
    OriginMismatch {
        /// The file.
        path: PathBuf,
        /// The name in the file.
        found: String,
        /// The name asked for, or required by the other key.
        want: String,
    },
}

impl Keys {
    /// The keys in `directory`, made there if this is the first start.
    ///
    /// `origin` names the log; without it, the one in the keys, or a random one on first start.
    ///
    /// # Errors
    /// [`KeysError`]; nothing that was there is changed.
    pub fn load_or_create(directory: &Path, origin: Option<&str>) -> Result<Self, KeysError> {
        Self::load_or_create_on(&RealDisk, directory, origin)
    }

    /// The keys in `directory`, which is only read.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(directory: &Path) -> Result<Self, KeysError> {
        if !file::exists(&directory.join(LOG))? {
            return Err(KeysError::NotMade { path: directory.to_owned() });
        }
        file::check_access(directory, "700")?;
        let log = file::read_signer(&directory.join(LOG))?;
        let path = directory.join(RUN_RECORD);
        let run_record = file::read_signer(&path)?;
        expect_name(&path, run_record.name(), format!("{}{RUN_RECORD_NAME}", log.name()))?;
        Ok(Self {
            log,
            run_record,
            header: file::read_secret(&directory.join(HEADER))?,
            store: file::read_secret(&directory.join(STORE))?,
        })
    }

    pub(crate) fn load_or_create_on(
        disk: &dyn Disk,
        directory: &Path,
        origin: Option<&str>,
    ) -> Result<Self, KeysError> {
        if let Some(origin) = origin {
            check_origin(origin)?;
        }
        settle_directories(disk, directory, Access::Private)
            .map_err(file::failed("create", directory))?;
        file::check_access(directory, "700")?;
        for name in FILES {
            // A crash between write and rename leaves half of a key that nothing uses.
            let path = file::temporary(directory, name);
            remove_if_there(disk, &path).map_err(file::failed("remove", &path))?;
        }
        if !file::exists(&directory.join(LOG))? {
            create(disk, directory, origin)?;
        }
        let keys = Self::load(directory)?;
        if let Some(origin) = origin {
            expect_name(&directory.join(LOG), keys.log.name(), origin.to_owned())?;
        }
        Ok(keys)
    }

    /// The log's name: the first line of every checkpoint.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.log.name()
    }

    /// Signs checkpoints.
    #[must_use]
    pub const fn log(&self) -> &Signer {
        &self.log
    }

    /// Signs run records.
    #[must_use]
    pub const fn run_record(&self) -> &Signer {
        &self.run_record
    }

    /// `K_header`: tags secret header values; never leaves the gateway.
    #[must_use]
    pub fn header(&self) -> &[u8; 32] {
        &self.header
    }

    /// The store's own key, from which it derives the keys for finding and encrypting segments.
    #[must_use]
    pub fn store(&self) -> &[u8; 32] {
        &self.store
    }

    /// What `sealtap keys` prints and `--key FILE` takes: for the log and then for run records, the
    /// vkey on a line and the PEM block.
    #[must_use]
    pub fn public_text(&self) -> String {
        let print = |key: &PublicKey| format!("{}\n{}", key.vkey(), key.pem());
        print(self.log.public()) + &print(self.run_record.public())
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("log", self.log.public()).finish_non_exhaustive()
    }
}

/// Makes the keys that are missing; [`LOG`] is known to be.
fn create(disk: &dyn Disk, directory: &Path, origin: Option<&str>) -> Result<(), KeysError> {
    let origin = match (origin, half_made_origin(directory)?) {
        (Some(origin), Some(made)) => {
            expect_name(&directory.join(RUN_RECORD), &made, origin.to_owned())?;
            made
        }
        (Some(origin), None) => origin.to_owned(),
        (None, Some(made)) => made,
        (None, None) => random_origin()?,
    };
    for name in FILES {
        if file::exists(&directory.join(name))? {
            continue;
        }
        // A crash between two of these leaves some keys whole and the others absent; the next
        // start comes here again and makes those.
        let text = match name {
            LOG => new_signer(&origin)?.skey(),
            RUN_RECORD => new_signer(&format!("{origin}{RUN_RECORD_NAME}"))?.skey(),
            _ => file::hex(&*random::<32>()?),
        };
        file::create(disk, directory, name, &text)?;
    }
    Ok(())
}

/// The origin that a start before this one chose, if it came as far as the run-record key.
fn half_made_origin(directory: &Path) -> Result<Option<String>, KeysError> {
    let path = directory.join(RUN_RECORD);
    if !file::exists(&path)? {
        return Ok(None);
    }
    let signer = file::read_signer(&path)?;
    let origin = signer.name().strip_suffix(RUN_RECORD_NAME).ok_or_else(|| KeysError::Garbage {
        path,
        want: "a run-record key",
        reason: format!("it is the key of {}", signer.name()),
    })?;
    Ok(Some(origin.to_owned()))
}

pub(crate) fn new_signer(name: &str) -> Result<Signer, KeysError> {
    let key = SigningKey::from_bytes(&*random::<32>()?);
    Signer::new(name, key).map_err(|error| bad_origin(name, error))
}

fn check_origin(origin: &str) -> Result<(), KeysError> {
    // Any key will do to ask whether a name may be a key's name.
    let key = SigningKey::from_bytes(&[1; 32]);
    Signer::new(origin, key).map_err(|error| bad_origin(origin, error))?;
    // Both the checkpoint's first line and the lock's file name carry it.
    if origin.len() > 200 {
        return Err(KeysError::Origin {
            origin: origin.to_owned(),
            reason: format!("{} bytes are over the limit of 200", origin.len()),
        });
    }
    Ok(())
}

fn bad_origin(origin: &str, error: KeyError) -> KeysError {
    KeysError::Origin { origin: origin.to_owned(), reason: error.to_string() }
}

fn expect_name(path: &Path, found: &str, want: String) -> Result<(), KeysError> {
    if found == want {
        return Ok(());
    }
    Err(KeysError::OriginMismatch { path: path.to_owned(), found: found.to_owned(), want })
}

fn random_origin() -> Result<String, KeysError> {
    Ok(format!("sealtap.local/{}", *file::hex(&*random::<8>()?)))
}

pub(crate) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeysError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| KeysError::Io {
        action: "read",
        path: PathBuf::from("the system's random source"),
        source: io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}
