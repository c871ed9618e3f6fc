//! Opening: what the lock and the published log say of each other, before anything is changed.
//!
//! | published | lock | means |
//! |---|---|---|
//! | none | none | the first start, if there are no tiles |
//! | none or smaller | some | a crash between swap and publication, if all files are there; else an old copy |
//! | same | same | a clean stop, or a crash after publication |
//! | some | none | an old copy, or a lost lock: refused until adopted |
//! | larger | some | an old lock, or two writers: refused |

use std::path::Path;
use std::sync::Arc;

use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::{Note, PublicKey};

use super::check::{FULL_CHECK, Found};
use super::disk::{Disk, read_if_there};
use super::staging::Directories;
use super::tip::Tip;
use super::{Log, LogError};
use crate::data::DataDir;
use crate::seal::keys::Keys;
use crate::seal::lock::{LockPlace, LockStore};

/// What opening a log needs.
#[derive(Debug)]
pub struct Options<'a> {
    /// The data directory; only its writer may open the log.
    pub data: &'a DataDir,
    /// The keys, of which the log's own signs.
    pub keys: Arc<Keys>,
    /// Where the lock is wanted.
    pub lock: LockPlace,
    /// Whether a log whose lock is gone may go on with a new one.
    pub adopt: bool,
}

/// How much of the log opening has checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Every byte.
    Everything,
    /// That no file is missing or strange, and the bytes of the newest ones.
    RightEdge,
}

/// What opening found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenReport {
    /// Leaves in the log.
    pub size: u64,
    /// How much was checked.
    pub checked: Checked,
    /// Leaves that were signed and are published only now, after a crash.
    pub completed: u64,
    /// The size at which a lost lock was replaced: the caller seals an `adopted` leaf first.
    pub adopted: Option<u64>,
}

/// A checkpoint whose signature holds, with its bytes.
struct Signed {
    bytes: Vec<u8>,
    checkpoint: Checkpoint,
}

pub(super) fn open(
    disk: Arc<dyn Disk>,
    options: &Options<'_>,
    successor: Option<&PublicKey>,
) -> Result<(Log, OpenReport), LogError> {
    let Options { data, keys, .. } = options;
    let directories = Directories { log: data.log(), staging: data.staging() };
    let place = options.lock.settle(&*disk, data, options.adopt)?;
    let mut lock = LockStore::take(&*disk, &place, keys.log().public())?;
    directories.create(&*disk)?;

    let published = read_signed(&*disk, &directories.checkpoint(), keys, successor)?;
    let locked = read_signed(&*disk, lock.path(), keys, successor)?;
    let adopting = locked.is_none() && published.is_some();
    let (target, report) = match decide(&lock, published.as_ref(), locked.as_ref(), options.adopt)?
    {
        None => {
            refuse_tiles(&*disk, &directories)?;
            (
                None,
                OpenReport { size: 0, checked: Checked::Everything, completed: 0, adopted: None },
            )
        }
        Some(target) => {
            let size = target.checkpoint.size;
            let everything = size <= FULL_CHECK || adopting;
            let checked = if everything { Checked::Everything } else { Checked::RightEdge };
            let before = published.as_ref().map_or(0, |published| published.checkpoint.size);
            let adopted = adopting.then_some(size);
            let report = OpenReport { size, checked, completed: size - before, adopted };
            (Some(target), report)
        }
    };
    let tip = match target {
        None => Tip::default(),
        Some(target) => {
            let everything = report.checked == Checked::Everything;
            let found = Found::look(&*disk, &directories, target.checkpoint.size)?;
            let tip = examine(
                &*disk,
                &directories,
                &lock,
                &found,
                published.as_ref(),
                target,
                everything,
            )?;
            // Everything is as a crash may have left it: from here on, the steps after the swap. What
            // a killed process did but did not sync is synced now, or a power loss could undo it
            // under what is built on it: first the lock, then the tiles, then the checkpoint.
            let before = published.as_ref().map_or(0, |published| published.checkpoint.size);
            if published.as_ref().is_none_or(|published| published.bytes != target.bytes)
                || adopting
            {
                let old = locked.as_ref().map(|locked| &*locked.bytes);
                lock.swap(&*disk, old, &target.bytes)?;
                directories.publish(&*disk, found.waiting.iter())?;
                directories.sync(&*disk, found.since(before), true)?;
                directories.publish_checkpoint(&*disk, &target.bytes)?;
            } else {
                directories.sync_checkpoint(&*disk)?;
            }
            directories.remove(&*disk, found.superseded);
            for directory in found.empty {
                // A tile may have just moved into it.
                let _ = disk.remove_directory(&directory);
            }
            tip
        }
    };
    directories.clear_staging(&*disk)?;
    let signed = target.map(|target| target.bytes.clone());
    let keys = Arc::clone(keys);
    let log =
        Log { disk, directories, keys, lock, tip, signed, pending: None, lingering: Vec::new() };
    Ok((log, report))
}

/// The checkpoint to go on from, if there is any.
fn decide<'a>(
    lock: &LockStore,
    published: Option<&'a Signed>,
    locked: Option<&'a Signed>,
    adopt: bool,
) -> Result<Option<&'a Signed>, LogError> {
    let path = || lock.path().to_owned();
    match (published, locked) {
        (None, None) => Ok(None),
        (None, Some(locked)) => Ok(Some(locked)),
        (Some(published), None) if adopt => Ok(Some(published)),
        (Some(published), None) => {
            Err(LogError::LockMissing { lock: path(), size: published.checkpoint.size })
        }
        (Some(published), Some(locked)) => {
            let (ours, theirs) = (published.checkpoint.size, locked.checkpoint.size);
            if ours > theirs {
                return Err(LogError::LockBehind { lock: path(), locked: theirs, published: ours });
            }
            if ours == theirs && published.checkpoint.root != locked.checkpoint.root {
                return Err(LogError::Forked { lock: path(), locked: theirs, published: ours });
            }
            Ok(Some(locked))
        }
    }
}

/// The tip of the tree that `target` signs, if all its files are there and right, and if what is
/// published is the beginning of it.
fn examine(
    disk: &dyn Disk,
    directories: &Directories,
    lock: &LockStore,
    found: &Found,
    published: Option<&Signed>,
    target: &Signed,
    everything: bool,
) -> Result<Tip, LogError> {
    let locked = target.checkpoint.size;
    let before = published.map_or(0, |published| published.checkpoint.size);
    if let Some(missing) = found.missing() {
        let path = directories.tile(&missing);
        // A crash leaves every file of the tree either here or in staging.
        return Err(if before < locked {
            let lock = lock.path().to_owned();
            LogError::RolledBack { lock, locked, published: before, missing: path }
        } else {
            LogError::MissingTile { path }
        });
    }
    let tip = found.check(disk, directories, &target.checkpoint, everything)?;
    if let Some(published) = published
        && found.root_at(disk, before)? != published.checkpoint.root
    {
        let lock = lock.path().to_owned();
        return Err(LogError::Forked { lock, locked, published: before });
    }
    Ok(tip)
}

/// Without any checkpoint there must be no tile either.
fn refuse_tiles(disk: &dyn Disk, directories: &Directories) -> Result<(), LogError> {
    match Found::look(disk, directories, 0) {
        Ok(_) => Ok(()),
        Err(LogError::Stranger { path: example, .. })
            if example.starts_with(directories.log.join("tile")) =>
        {
            Err(LogError::CheckpointMissing { path: directories.checkpoint(), example })
        }
        Err(error) => Err(error),
    }
}

/// The checkpoint in a file, if there is one and if this log's key, or its successor, and no other
/// signed it.
fn read_signed(
    disk: &dyn Disk,
    path: &Path,
    keys: &Keys,
    successor: Option<&PublicKey>,
) -> Result<Option<Signed>, LogError> {
    let Some(bytes) = read_if_there(disk, path).map_err(LogError::io("read", path))? else {
        return Ok(None);
    };
    let refuse = |reason: String| LogError::Checkpoint { path: path.to_owned(), reason };
    let note = Note::parse(&bytes).map_err(|error| refuse(error.to_string()))?;
    if successor.is_none_or(|successor| note.verify(successor).is_err()) {
        note.verify(keys.log().public()).map_err(|error| refuse(error.to_string()))?;
    }
    if note.signatures.len() != 1 {
        return Err(refuse("it carries more than one signature".to_owned()));
    }
    let checkpoint = Checkpoint::parse(&note.text).map_err(|error| refuse(error.to_string()))?;
    if checkpoint.origin != keys.origin() {
        return Err(refuse(format!("its origin is {}", checkpoint.origin)));
    }
    Ok(Some(Signed { bytes, checkpoint }))
}
