//! Rotation: a key of the gateway gives way to a new one, by a leaf that both sign.
//!
//! In: a data directory that nobody else is writing to. Out: the new key in `keys/`, and a log whose
//! last leaf says so. Can fail at any step, and this is what a crash leaves:
//!
//! | step | a crash in it leaves | the next start, or another try |
//! |---|---|---|
//! | 1 the new key to `ROLE.key.next` | nothing, or a key that nothing uses | removes it |
//! | 2 the leaf, under a checkpoint signed by the new key (for the log's own key) | the lock as before, or moved | before: as step 1; moved: publishes it, then as step 3 |
//! | 3 the checkpoint to a lock of the new key's name | none, or that lock | makes it again |
//! | 4 `ROLE.key.next` becomes `ROLE.key` | one or the other | takes this step again |
//!
//! The lock of the old name stays, with the first checkpoint of the new key in it: an old copy of the
//! data directory finds it signed by a key that it does not have, and refuses to go on.

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use sealtap_common::leaf::{EncodeError, KeyChange, KeyRole, Leaf};
use sealtap_common::note::{Note, PublicKey, Signer};

use super::keys::{Keys, KeysError, own_file};
use super::lock::{LockError, LockPlace, LockStore};
use super::log::disk::{Disk, RealDisk, remove_if_there};
use super::log::{Log, LogError, Options, ReadError};
use crate::clock::Reading;
use crate::data::{DataDir, DataError};

/// Why a key was not rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// Another process writes there, or the system refused.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The lock.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log's last leaf.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The leaf does not fit the format.
    #[error("the key change cannot be made a leaf: {0}")]
    Leaf(#[from] EncodeError),
}

/// A key that gave way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// The key until now.
    pub old: PublicKey,
    /// The key from now on.
    pub new: PublicKey,
    /// The leaf that says so.
    pub leaf: u64,
}

/// Gives the key of `role` a successor.
///
/// # Errors
/// [`RotationError`]; the old key is in force then, or the next start completes the change.
pub fn rotate(data: &DataDir, role: KeyRole, lock: LockPlace) -> Result<Rotated, RotationError> {
    let _writer = data.become_writer()?;
    Rotation { disk: Arc::new(RealDisk), data, lock }.rotate(role)
}

/// Completes or drops what a crash left of a rotation; the caller is the directory's writer.
///
/// # Errors
/// [`RotationError`].
pub fn resume(data: &DataDir, lock: LockPlace) -> Result<(), RotationError> {
    Rotation { disk: Arc::new(RealDisk), data, lock }.resume()
}

struct Rotation<'a> {
    disk: Arc<dyn Disk>,
    data: &'a DataDir,
    lock: LockPlace,
}

impl Rotation<'_> {
    fn rotate(&self, role: KeyRole) -> Result<Rotated, RotationError> {
        self.resume()?;
        let directory = self.data.keys();
        let keys = Arc::new(Keys::load(&directory)?);
        let (mut log, _) = Log::open_on(Arc::clone(&self.disk), &self.options(&keys), None)?;
        let old = match role {
            KeyRole::Log => keys.log(),
            KeyRole::RunRecord => keys.run_record(),
        };
        // 1. The new key. Nothing uses it until the leaf is signed for.
        let new = own_file::new_signer(old.name())?;
        own_file::create(&*self.disk, &directory, &next_name(role), &new.skey())?;
        // 2. The leaf. With the log's own key, the swap of the lock is where the new one takes over.
        let leaf = log.size();
        let sealed = last(&log)?.map_or(0, |leaf| leaf.sealed()).max(Reading::now().wall_us);
        let change = KeyChange::sign(role, old, &new, leaf, sealed);
        let signer = if role == KeyRole::Log { &new } else { keys.log() };
        log.append_as(&[change.encode()?], signer)?;
        self.settle(role, log, &new)?;
        Ok(Rotated { old: old.public().clone(), new: new.public().clone(), leaf })
    }

    fn resume(&self) -> Result<(), RotationError> {
        let directory = self.data.keys();
        for role in [KeyRole::Log, KeyRole::RunRecord] {
            let name = next_name(role);
            let half = own_file::temporary(&directory, &name);
            remove_if_there(&*self.disk, &half).map_err(own_file::failed("remove", &half))?;
            let next = directory.join(&name);
            if !own_file::exists(&next)? {
                continue;
            }
            let new = own_file::read_signer(&next)?;
            match self.committed(role, &new)? {
                Some(log) => self.settle(role, log, &new)?,
                None => {
                    self.disk.remove_file(&next).map_err(own_file::failed("remove", &next))?;
                }
            }
        }
        Ok(())
    }

    /// The log, published to its end, if the leaf that puts `new` in place is in it.
    fn committed(&self, role: KeyRole, new: &Signer) -> Result<Option<Log>, RotationError> {
        let keys = Arc::new(Keys::load(&self.data.keys())?);
        let successor = match role {
            KeyRole::Log => {
                let place = self.place()?;
                let lock = LockStore::take(&*self.disk, &place, keys.log().public())?;
                let signed = lock.read(&*self.disk)?;
                let by_new = |bytes: Vec<u8>| {
                    Note::parse(&bytes).is_ok_and(|note| note.verify(new.public()).is_ok())
                };
                if !signed.is_some_and(by_new) {
                    return Ok(None);
                }
                Some(new.public())
            }
            KeyRole::RunRecord => None,
        };
        let (log, _) = Log::open_on(Arc::clone(&self.disk), &self.options(&keys), successor)?;
        let there = matches!(
            last(&log)?,
            Some(Leaf::KeyChange(change)) if change.role == role && change.new == *new.public().bytes()
        );
        Ok(there.then_some(log))
    }

    /// Steps 3 and 4, each of which may be done again.
    fn settle(&self, role: KeyRole, log: Log, new: &Signer) -> Result<(), RotationError> {
        let signed = log.checkpoint().map(<[u8]>::to_vec);
        log.close()?;
        if role == KeyRole::Log
            && let Some(signed) = signed
        {
            let mut lock = LockStore::take(&*self.disk, &self.place()?, new.public())?;
            lock.swap(&*self.disk, None, &signed)?;
        }
        let directory = self.data.keys();
        let (next, path) = (directory.join(next_name(role)), directory.join(file_name(role)));
        self.disk.rename(&next, &path).map_err(own_file::failed("put in place", &path))?;
        let synced = self.disk.sync_directory(&directory);
        Ok(synced.map_err(own_file::failed("sync", &directory))?)
    }

    fn place(&self) -> Result<PathBuf, LockError> {
        self.lock.settle(&*self.disk, self.data, false)
    }

    fn options(&self, keys: &Arc<Keys>) -> Options<'_> {
        Options { data: self.data, keys: Arc::clone(keys), lock: self.lock.clone(), adopt: false }
    }
}

fn file_name(role: KeyRole) -> String {
    format!("{role}.key")
}

fn next_name(role: KeyRole) -> String {
    format!("{role}.key.next")
}

/// The log's last leaf.
fn last(log: &Log) -> Result<Option<Leaf>, ReadError> {
    let size = log.size();
    let leaves = log.entries(size.saturating_sub(1)..size)?;
    Ok(leaves.first().and_then(|leaf| Leaf::decode(leaf).ok()))
}
