//! Whether a bundle needs to be made again, by what `stat` says of all that it is made of.
//!
//! In: the environment, and the places where a machine's roots are. Out: a digest of their names,
//! sizes and times, to be held against one that was kept beside the bundle. Reading some hundred
//! certificates takes ten times as long, and most commands begin with the roots of the one before.
//! Never says that nothing changed where that cannot be told.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};

use super::bundle::{NAMED_ELSEWHERE, Roots, bundle, ours};
use super::{Authority, AuthorityError};

/// Variables that take the place of what the machine has.
const NAMED: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

type Stamp = [u8; 32];

/// The machine's roots, read only if they are not those that a bundle was last made of.
pub struct RootsSince {
    path: PathBuf,
    sources: Stamp,
    read: Option<Roots>,
}

impl RootsSince {
    /// Looks for changes since the bundle at `path` was made, and reads the roots where there are some.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        // Before the roots are read: what changes meanwhile shows the next time.
        let sources = sources();
        let kept = kept(path).is_some_and(|(kept, _)| kept == sources);
        let read = (!kept).then(|| Roots::read(path));
        Self { path: path.to_owned(), sources, read }
    }

    /// Makes the bundle as [`bundle`] does, unless it is there and nothing of it has changed.
    ///
    /// # Errors
    /// [`AuthorityError`]: it cannot be written.
    pub fn bundle(self, authority: &Authority) -> Result<(), AuthorityError> {
        let Self { path, sources, read } = self;
        let ours = ours(authority)?;
        let made = made(&path, &ours);
        if read.is_none() && made.is_some() && kept(&path).map(|(_, made)| made) == made {
            return Ok(());
        }
        let roots = read.unwrap_or_else(|| Roots::read(&path));
        bundle(authority, &roots, &path)?;
        if let Some(made) = self::made(&path, &ours) {
            // It need not last, nor be whole: without it the roots are read again.
            let _ = fs::write(note(&path), [sources, made].concat());
        }
        Ok(())
    }
}

/// Where the digests are kept.
fn note(path: &Path) -> PathBuf {
    path.with_added_extension("from")
}

/// What the bundle was made of, and what it was then, as far as that was kept.
fn kept(path: &Path) -> Option<(Stamp, Stamp)> {
    let bytes = fs::read(note(path)).ok()?;
    let (sources, made) = bytes.split_first_chunk::<32>()?;
    Some((*sources, made.try_into().ok()?))
}

/// The bundle that is there, and our certificates that belong into it.
fn made(path: &Path, ours: &[CertificateDer<'_>]) -> Option<Stamp> {
    let mut hash = Sha256::new();
    let found = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
    state(&mut hash, &found);
    for certificate in ours {
        text(&mut hash, certificate);
    }
    Some(hash.finalize().into())
}

fn sources() -> Stamp {
    let mut hash = Sha256::new();
    let machine = openssl_probe::probe();
    for path in machine.cert_file.iter().chain(&machine.cert_dir) {
        place(&mut hash, path);
    }
    for name in NAMED.into_iter().chain(NAMED_ELSEWHERE) {
        let Some(value) = env::var_os(name) else { continue };
        text(&mut hash, name.as_bytes());
        env::split_paths(&value).for_each(|path| place(&mut hash, &path));
        place(&mut hash, Path::new(&value));
    }
    hash.finalize().into()
}

/// What is at a path: a file, or each file of a directory, where links lead.
fn place(hash: &mut Sha256, path: &Path) {
    named(hash, path.as_os_str(), path);
    let mut entries: Vec<_> = fs::read_dir(path).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        named(hash, &entry.file_name(), &entry.path());
    }
}

fn named(hash: &mut Sha256, name: &OsStr, path: &Path) {
    text(hash, name.as_encoded_bytes());
    match fs::metadata(path) {
        Ok(found) => state(hash, &found),
        Err(_) => hash.update([0]),
    }
}

fn state(hash: &mut Sha256, found: &Metadata) {
    hash.update([1]);
    for number in [found.dev(), found.ino(), found.size()] {
        hash.update(number.to_le_bytes());
    }
    for time in [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()] {
        hash.update(time.to_le_bytes());
    }
}

fn text(hash: &mut Sha256, text: &[u8]) {
    hash.update(u64::try_from(text.len()).unwrap_or(u64::MAX).to_le_bytes());
    hash.update(text);
}
