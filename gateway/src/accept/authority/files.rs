//! The authority's files: `ca.key` and `ca.pem` in `keys/`, and what a rotation leaves beside them.
//!
//! | file | holds |
//! |---|---|
//! | `ca.key` | the private key (PEM, PKCS #8), 0600 |
//! | `ca.pem` | its certificate; where that is not a root, those that lead to one behind it |
//! | `ca.pem.next` | the certificate of a key that is about to be put in place |
//! | `ca-previous.pem` | the certificate before the last rotation |
//!
//! A certificate is written before its key is put in place, and takes its name after that, so at
//! every moment the key in place has its certificate in one of two files, and the next to open the
//! authority finishes what a crash cut short.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rcgen::KeyPair;
use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::certificate::{self, Certificate};
use super::error::{AuthorityError, minting};
use crate::config::Ca;
use crate::owned;
use crate::seal::keys::own_file;
use crate::seal::log::disk::{
    Access, Disk, read_if_there, remove_if_there, replace, settle_directories,
};

const KEY: &str = "ca.key";
const CERTIFICATE: &str = "ca.pem";
const NEXT: &str = "ca.pem.next";
const PREVIOUS: &str = "ca-previous.pem";
const LOCK: &str = "ca.lock";

/// The authority in `directory`, which is made there if there is none.
pub(super) fn load_or_make(
    disk: &dyn Disk,
    directory: &Path,
    settings: &Ca,
    now: SystemTime,
) -> Result<(Certificate, KeyPair), AuthorityError> {
    let _lock = enter(disk, directory)?;
    if !own_file::exists(&path(directory))? {
        put(disk, directory, settings, now)?;
    }
    load(disk, directory)
}

/// Puts a new authority in the place of the present one, whose certificate is kept.
pub(super) fn rotate(
    disk: &dyn Disk,
    directory: &Path,
    settings: &Ca,
    now: SystemTime,
) -> Result<(), AuthorityError> {
    let _lock = enter(disk, directory)?;
    // Its key may be lost or spoilt, which is a reason to rotate; its certificate is still trusted.
    if let Some(present) = read(disk, &path(directory))? {
        let previous = directory.join(PREVIOUS);
        replace(disk, &temporary(directory, PREVIOUS), &previous, present.as_bytes(), PUBLIC)
            .map_err(own_file::failed("write", &previous))?;
    }
    put(disk, directory, settings, now)
}

/// The certificate in place, if there is one; its key is not looked at.
pub(super) fn peek(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<Option<Certificate>, AuthorityError> {
    let path = path(directory);
    read(disk, &path)?.map(|pem| Certificate::read(pem, &path)).transpose()
}

/// The certificate before the last rotation, if there is one.
pub(super) fn previous(
    disk: &dyn Disk,
    directory: &Path,
) -> Result<Option<Certificate>, AuthorityError> {
    let path = directory.join(PREVIOUS);
    read(disk, &path)?.map(|pem| Certificate::read(pem, &path)).transpose()
}

/// Where the certificate is.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(CERTIFICATE)
}

/// Nothing in a certificate is secret; its directory is.
const PUBLIC: Access = Access::Public;

/// Makes the directory ready, takes the lock, and ends what was begun.
fn enter(disk: &dyn Disk, directory: &Path) -> Result<File, AuthorityError> {
    settle_directories(disk, directory, Access::Private)
        .map_err(own_file::failed("create", directory))?;
    own_file::check_access(directory, "700")?;
    owned::check(directory)?;
    let path = directory.join(LOCK);
    let lock = owned::lock_file().open(&path).map_err(own_file::failed("open", &path))?;
    // Whoever holds it is done within milliseconds.
    flock(&lock, FlockOperation::LockExclusive)
        .map_err(|error| own_file::failed("lock", &path)(error.into()))?;
    for name in [KEY, NEXT, PREVIOUS] {
        // What a crash left half written.
        let path = temporary(directory, name);
        remove_if_there(disk, &path).map_err(own_file::failed("remove", &path))?;
    }
    finish(disk, directory)?;
    Ok(lock)
}

/// Gives the certificate of the key in place its name, if a crash came before that.
fn finish(disk: &dyn Disk, directory: &Path) -> Result<(), AuthorityError> {
    let next = directory.join(NEXT);
    let Some(pem) = read(disk, &next)? else { return Ok(()) };
    // One that cannot be read was being written, and then its key is not in place.
    let certificate = Certificate::read(pem, &next).ok();
    let key = match own_file::exists(&directory.join(KEY))? {
        true => read_key(directory).ok(),
        false => None,
    };
    match (certificate, key) {
        (Some(certificate), Some(key)) if certificate.is_of(&key) => {
            let path = path(directory);
            disk.rename(&next, &path)
                .and_then(|()| disk.sync_directory(directory))
                .map_err(own_file::failed("rename", &next))?;
        }
        _ => remove_if_there(disk, &next).map_err(own_file::failed("remove", &next))?,
    }
    Ok(())
}

/// Makes a key and its certificate and puts them in place.
fn put(
    disk: &dyn Disk,
    directory: &Path,
    settings: &Ca,
    now: SystemTime,
) -> Result<(), AuthorityError> {
    let key = KeyPair::generate().map_err(minting("the authority itself"))?;
    let pem = certificate::new(&key, settings, now)?;
    let next = directory.join(NEXT);
    replace(disk, &temporary(directory, NEXT), &next, pem.as_bytes(), PUBLIC)
        .map_err(own_file::failed("write", &next))?;
    let text = Zeroizing::new(key.serialize_pem());
    own_file::create(disk, directory, KEY, text.trim_end())?;
    finish(disk, directory)
}

fn load(disk: &dyn Disk, directory: &Path) -> Result<(Certificate, KeyPair), AuthorityError> {
    let path = path(directory);
    let unfit = |why: &str| AuthorityError::Unfit { path: path.clone(), why: why.to_owned() };
    let pem = read(disk, &path)?.ok_or_else(|| unfit("it is missing"))?;
    let certificate = Certificate::read(pem, &path)?;
    let key = read_key(directory)?;
    if !certificate.is_of(&key) {
        return Err(unfit("ca.key beside it is the key of another certificate"));
    }
    Ok((certificate, key))
}

fn read_key(directory: &Path) -> Result<KeyPair, AuthorityError> {
    let path = directory.join(KEY);
    if !own_file::exists(&path)? {
        return Err(AuthorityError::KeyMissing { path });
    }
    let text = own_file::read(&path)?;
    let owner = std::fs::metadata(&path).map_err(own_file::failed("look at", &path))?.uid();
    let own = rustix::process::geteuid().as_raw();
    if owner != own {
        return Err(AuthorityError::Foreign { path, owner, own });
    }
    KeyPair::from_pem(&text).map_err(|error| {
        let want = "a private key in PEM (PKCS #8)";
        own_file::garbage(&path, want, error.to_string()).into()
    })
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<String>, AuthorityError> {
    let bytes = read_if_there(disk, path).map_err(own_file::failed("read", path))?;
    // What is no text is no PEM, and is said to be none by whoever reads it.
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

fn temporary(directory: &Path, name: &str) -> PathBuf {
    own_file::temporary(directory, name)
}
