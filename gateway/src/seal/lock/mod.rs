//! The lock store: the latest checkpoint of a log, kept where restoring the log does not reach.
//!
//! In: a directory outside the data directory, the log's key, signed checkpoints. Out: the latest
//! one, moved on by compare-and-swap. On start it wins over what is published. One file per log,
//! named by origin and key id, holds exactly the signed checkpoint; the file beside it ending in
//! `.guard` is locked by the one process that may move it. Never moves back, never looks inside.

mod place;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use sealtap_common::note::PublicKey;

pub use place::{LockPlace, Surroundings};

use crate::owned::{self, OwnedError};
use crate::seal::log::disk::{Access, Disk, read_if_there, replace, settle_directories};

/// How often a lock that another process holds is asked for, and how long in between.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Why the lock could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
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
    /// Another user can write to its directory.
    #[error(transparent)]
    Owned(#[from] OwnedError),
    /// `--lock` names another place than the one this data directory began with.
    #[error(
        "{} says that the lock is in {}, but --lock says {}: drop --lock, or move the lock's files and then edit {}",
        note.display(), recorded.display(), explicit.display(), note.display()
    )]
    Elsewhere {
        /// The data directory's `lock-path`.
        note: PathBuf,
        /// What it says.
        recorded: PathBuf,
        /// What `--lock` says.
        explicit: PathBuf,
    },
    /// The environment names no place to keep state in.
    #[error("no place for the lock: no STATE_DIRECTORY, no HOME; say one with --lock DIR")]
    Nowhere,
    /// Another process signs for this log.
    #[error("another process is signing for this log (it holds {}): stop it first", guard.display())]
    Held {
        /// The file it holds.
        guard: PathBuf,
    },
    /// The lock is not what the writer left: somebody else moved it.
    #[error("{} was changed by somebody else: two writers, or a restored file; stop and compare it with log/checkpoint", path.display())]
    Changed {
        /// The lock's file.
        path: PathBuf,
    },
}

/// The lock of one log, held by this process until dropped.
pub struct LockStore {
    path: PathBuf,
    _guard: File,
}

impl std::fmt::Debug for LockStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LockStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl LockStore {
    /// Takes the lock for the log that `key` signs, in `directory`, which is made if missing.
    ///
    /// # Errors
    /// [`LockError::Held`] while another process has it; [`LockError::Owned`] where another user can
    /// write; [`LockError::Io`].
    pub fn take(disk: &dyn Disk, directory: &Path, key: &PublicKey) -> Result<Self, LockError> {
        settle_directories(disk, directory, Access::Private)
            .map_err(|source| failed("create", directory, source))?;
        owned::check(directory)?;
        let path = directory.join(file_name(key));
        let guard_path = path.with_added_extension("guard");
        let guard = owned::lock_file()
            .open(&guard_path)
            .map_err(|source| failed("open", &guard_path, source))?;
        let mut tries = 0_u32;
        loop {
            match flock(&guard, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { path, _guard: guard }),
                // A process that is just ending, or one that it is just starting, may still have it.
                Err(rustix::io::Errno::WOULDBLOCK) if tries < TRIES => {
                    tries = tries.saturating_add(1);
                    std::thread::sleep(PAUSE);
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(LockError::Held { guard: guard_path });
                }
                Err(source) => return Err(failed("lock", &guard_path, source.into())),
            }
        }
    }

    /// The file that holds the checkpoint.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The latest signed checkpoint, or nothing if none was ever signed here.
    ///
    /// # Errors
    /// [`LockError::Io`].
    pub fn read(&self, disk: &dyn Disk) -> Result<Option<Vec<u8>>, LockError> {
        read_if_there(disk, &self.path).map_err(|source| failed("read", &self.path, source))
    }

    /// Puts `new` in the place of `old` (nothing: there must be no lock yet), durably. Finding `new`
    /// there already is taken as a swap whose answer was lost, and is made durable again.
    ///
    /// # Errors
    /// [`LockError::Changed`] if neither is there; nothing was changed then. After
    /// [`LockError::Io`] the lock may be `old` or `new`: ask again with the same two.
    pub fn swap(
        &mut self,
        disk: &dyn Disk,
        old: Option<&[u8]>,
        new: &[u8],
    ) -> Result<(), LockError> {
        let found = self.read(disk)?;
        if found.as_deref() != old && found.as_deref() != Some(new) {
            return Err(LockError::Changed { path: self.path.clone() });
        }
        // A crash before the rename inside leaves `old`, after it `new`; nothing lies between.
        let temporary = self.path.with_added_extension("new");
        replace(disk, &temporary, &self.path, new, Access::Private)
            .map_err(|source| failed("move on", &self.path, source))
    }
}

/// The lock's file name: the origin, as far as file names allow, and the key id, which also tells
/// apart origins that differ only in what was replaced.
fn file_name(key: &PublicKey) -> String {
    let origin: String = key
        .name()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' })
        .collect();
    let [a, b, c, d] = key.id();
    format!("{origin}+{a:02x}{b:02x}{c:02x}{d:02x}.checkpoint")
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> LockError {
    LockError::Io { action, path: path.to_owned(), source }
}
