//! One key in one file: its text form, its permissions, and how it is put in place.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use sealtap_common::note::Signer;
use zeroize::Zeroizing;

use super::KeysError;
use crate::seal::log::disk::{Access, Disk, replace};

/// Longer than any key file can be; bounds what is read from a wrong one.
const LONGEST: u64 = 4096;

/// Turns a system error at `path` into a [`KeysError`].
pub(crate) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> KeysError + use<> {
    let path = path.to_owned();
    move |source| KeysError::Io { action, path, source }
}

/// Where the bytes of `name` are before they are whole.
pub(crate) fn temporary(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.new"))
}

/// Whether there is such a file; that it cannot be told is an error, not a "no".
pub(crate) fn exists(path: &Path) -> Result<bool, KeysError> {
    path.try_exists().map_err(failed("look for", path))
}

/// Refuses a file or directory that others than its owner may use.
pub(crate) fn check_access(path: &Path, want: &'static str) -> Result<(), KeysError> {
    let metadata = std::fs::metadata(path).map_err(failed("look at", path))?;
    check_mode(path, metadata.permissions().mode(), want)
}

fn check_mode(path: &Path, mode: u32, want: &'static str) -> Result<(), KeysError> {
    let mode = mode & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeysError::OpenToOthers { path: path.to_owned(), mode, want })
}

/// Writes a key's text and a newline, whole or not at all.
pub(crate) fn create(
    disk: &dyn Disk,
    directory: &Path,
    name: &str,
    text: &str,
) -> Result<(), KeysError> {
    let path = directory.join(name);
    let line = Zeroizing::new([text.as_bytes(), b"\n"].concat());
    replace(disk, &temporary(directory, name), &path, &line, Access::Private)
        .map_err(failed("create", &path))
}

/// Reads a signing key.
pub(crate) fn read_signer(path: &Path) -> Result<Signer, KeysError> {
    Signer::parse(read(path)?.trim_end())
        .map_err(|error| garbage(path, "a PRIVATE+KEY+... line", error.to_string()))
}

/// Reads 32 secret bytes.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeysError> {
    let text = read(path)?;
    let mut secret = Zeroizing::new([0; 32]);
    let (pairs, rest) = text.trim_end().as_bytes().as_chunks::<2>();
    if pairs.len() != secret.len() || !rest.is_empty() {
        return Err(garbage(path, "64 hex digits", "the length is wrong".to_owned()));
    }
    for (byte, [high, low]) in secret.iter_mut().zip(pairs) {
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else {
            return Err(garbage(path, "64 hex digits", "a character is not one".to_owned()));
        };
        *byte = high << 4 | low;
    }
    Ok(secret)
}

/// Lowercase hex, in memory that is wiped.
pub(super) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for nibble in bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]) {
        text.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
    }
    text
}

fn digit(character: u8) -> Option<u8> {
    char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// The text of a key's file, if it is the owner's alone.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, KeysError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeysError::Missing { path: path.to_owned() });
        }
        result => result.map_err(failed("open", path))?,
    };
    // Asked of the open file, so that what was checked is what is read.
    let metadata = file.metadata().map_err(failed("look at", path))?;
    check_mode(path, metadata.permissions().mode(), "600")?;
    // Room for all of it at once: a buffer that grows leaves copies of the secret behind.
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(LONGEST).read_to_string(&mut text).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => garbage(path, "a key", "it is not text".to_owned()),
        _ => failed("read", path)(error),
    })?;
    Ok(text)
}

pub(crate) fn garbage(path: &Path, want: &'static str, reason: String) -> KeysError {
    KeysError::Garbage { path: path.to_owned(), want, reason }
}
