//! The transparency log on disk: leaves in, signed checkpoints out (C2SP tlog-tiles).
//!
//! In: batches of leaves. Out: `log/checkpoint` and `log/tile/**`, durable and published when
//! [`Log::append`] returns. What can fail is in [`LogError`]; after a failure the log is as before,
//! or has the batch pending and completes it before it does anything else. Never publishes a tile
//! of a tree that was not signed, never signs two trees of which one does not begin with the other.
//!
//! A batch goes through five steps, and this is what a crash leaves in each:
//!
//! | step | a crash in it leaves | the next start |
//! |---|---|---|
//! | 1 stage: tiles to `staging/`, synced | some staged tiles; lock and log as before | empties staging: the batch never was |
//! | 2 swap: the lock moves to the new checkpoint | the lock as before, or the new one | before: as step 1; new: as step 3 |
//! | 3 publish: tiles move into `log/`, synced | some in `log/`, some staged, the old checkpoint | checks them all under the lock's checkpoint, moves the rest, goes on |
//! | 4 publish the checkpoint | all tiles, the old checkpoint or the new one | publishes the lock's checkpoint |
//! | 5 tidy: partial tiles of the checkpoint before the last go | some of them | removes those that are a true prefix of what took their place |
//!
//! Recovery is the same code as steps 3 to 5. Partial tiles of one earlier checkpoint stay while
//! running, for whoever has just read that checkpoint.

pub mod disk;

mod check;
mod error;
mod open;
mod read;
mod staging;
mod tip;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use sealtap_common::Hash;
use sealtap_common::note::{Note, PublicKey, Signer};

pub use sealtap_common::tile::MAX_ENTRY as MAX_LEAF;

pub use error::LogError;
pub use open::{Checked, OpenReport, Options};
pub use read::{ReadError, published, read_entries};

use crate::seal::keys::Keys;
use crate::seal::lock::{LockError, LockStore};
use disk::Disk;
use sealtap_common::tile::TilePath;
use staging::Directories;
use tip::{Files, Tip, partial_tiles};

/// The log, open for appending by this process alone.
pub struct Log {
    disk: Arc<dyn Disk>,
    directories: Directories,
    keys: Arc<Keys>,
    lock: LockStore,
    /// The published tree.
    tip: Tip,
    /// Its signed checkpoint; nothing before the first batch.
    signed: Option<Vec<u8>>,
    /// A batch that is signed, or may be, and not yet published.
    pending: Option<Pending>,
    /// Partial tiles that the next batch makes superfluous.
    lingering: Vec<TilePath>,
}

/// A batch on its way through steps 2 to 4.
struct Pending {
    tip: Tip,
    files: Files,
    hashes: Vec<Hash>,
    signed: Vec<u8>,
    /// Whether the lock is known to have moved.
    swapped: bool,
    /// Whether a try has failed, after which nothing staged or synced is relied upon.
    tried: bool,
}

impl Log {
    /// Opens the log of a data directory, makes it if there is none, completes what a crash cut
    /// off, and refuses with a [`LogError`] whatever a crash cannot have left.
    ///
    /// # Errors
    /// [`LogError`]; nothing in the log was changed then.
    pub fn open(options: &Options<'_>) -> Result<(Self, OpenReport), LogError> {
        open::open(Arc::new(disk::RealDisk), options, None)
    }

    /// As [`Log::open`], on any disk; `successor` is a key that may have signed the newest checkpoint
    /// although it is not in force yet, which only a rotation leaves.
    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        options: &Options<'_>,
        successor: Option<&PublicKey>,
    ) -> Result<(Self, OpenReport), LogError> {
        open::open(disk, options, successor)
    }

    /// Appends leaves in order and returns their indices. On return they are on disk, signed and
    /// published. A batch without leaves does nothing.
    ///
    /// # Errors
    /// If [`Log::pending`] is then nothing, the log is as before and the batch may be offered again
    /// or not. Otherwise the batch belongs to the log: offer *the same leaves* again until they are
    /// accepted, which gives their indices without appending twice, or call [`Log::complete`].
    pub fn append(&mut self, leaves: &[Vec<u8>]) -> Result<Range<u64>, LogError> {
        let keys = Arc::clone(&self.keys);
        self.append_as(leaves, keys.log())
    }

    /// As [`Log::append`], under a checkpoint that `signer` signs: the log's key, or the one that
    /// takes its place by these leaves.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub(crate) fn append_as(
        &mut self,
        leaves: &[Vec<u8>],
        signer: &Signer,
    ) -> Result<Range<u64>, LogError> {
        if self.pending.is_some() {
            let same = self.is_pending(leaves);
            let range = self.complete()?;
            if let (true, Some(range)) = (same, range) {
                return Ok(range);
            }
        }
        let before = self.size();
        if leaves.is_empty() {
            return Ok(before..before);
        }
        let grown = self.tip.grow(leaves)?;

        // 1. Stage. A crash or an error here leaves files in staging that the lock says nothing
        // about; they are overwritten, or dropped at the next start.
        if let Err(error) = self.directories.stage(&*self.disk, &grown.files) {
            // Not to fill a disk that may be full already; the error to report is the first one.
            let _ = self.directories.clear_staging(&*self.disk);
            return Err(error);
        }
        let checkpoint = grown.tip.checkpoint(self.keys.origin()).to_string();
        let signed = Note::sign(&checkpoint, signer).emit().into_bytes();
        let (tip, files, hashes) = (grown.tip, grown.files, grown.hashes);
        let pending = Pending { tip, files, hashes, signed, swapped: false, tried: false };
        self.pending = Some(pending);
        self.complete()?;
        Ok(before..self.size())
    }

    /// Completes the batch that an earlier error left pending, if there is one; returns its indices.
    ///
    /// # Errors
    /// [`LogError`]; the batch is still pending then, unless [`Log::pending`] says otherwise.
    pub fn complete(&mut self) -> Result<Option<Range<u64>>, LogError> {
        let Some(mut pending) = self.pending.take() else { return Ok(None) };
        let outcome = self.carry_through(&mut pending);
        match outcome {
            Ok(()) => {
                let before = self.size();
                self.tidy(&pending);
                self.tip = pending.tip;
                self.signed = Some(pending.signed);
                Ok(Some(before..self.size()))
            }
            Err(error) => {
                if pending.swapped || self.may_have_swapped(&pending, &error) {
                    pending.tried = true;
                    self.pending = Some(pending);
                } else {
                    let _ = self.directories.clear_staging(&*self.disk);
                }
                Err(error)
            }
        }
    }

    /// Steps 2 to 4, each of which may be done again.
    fn carry_through(&mut self, pending: &mut Pending) -> Result<(), LogError> {
        let disk = &*self.disk;
        if pending.tried {
            // Some of the staged files have moved, and after a failed sync none can be trusted.
            self.directories.stage(disk, &pending.files)?;
        }
        // 2. Swap. Before: the batch never was. After: it is signed and everything it needs is on
        // disk, so it will be published, by this process or the next.
        if !pending.swapped {
            self.lock.swap(disk, self.signed.as_deref(), &pending.signed)?;
            pending.swapped = true;
        }
        // 3. Publish the tiles. Readers hold the old checkpoint, whose tiles are all still there.
        // A crash leaves some tiles here and some staged; the names in both places are enough.
        self.directories.publish(disk, pending.files.keys())?;
        self.directories.sync(disk, pending.files.keys(), pending.tried)?;
        // 4. Publish the checkpoint. A crash before the rename leaves the old one with all tiles of
        // both; the lock is ahead of it and the next start takes this step again.
        self.directories.publish_checkpoint(disk, &pending.signed)
    }

    /// After an error in the swap: whether the lock may be the new one. Only if it is certainly the
    /// old one is the batch given back.
    fn may_have_swapped(&self, pending: &Pending, error: &LogError) -> bool {
        match error {
            LogError::Lock(LockError::Changed { .. }) => false,
            // Staging again failed: the swap was in doubt before, and still is.
            LogError::Io { .. } => pending.tried,
            _ => match self.lock.read(&*self.disk) {
                Ok(found) => found != self.signed,
                Err(_) => true,
            },
        }
    }

    /// Step 5, tidy. What cannot be removed now is tried again with the next batch; a crash leaves tiles
    /// that are the beginning of others, which the next start removes.
    fn tidy(&mut self, pending: &Pending) {
        let lingering = std::mem::take(&mut self.lingering);
        self.lingering = self.directories.remove(&*self.disk, lingering);
        let after: Vec<_> = partial_tiles(pending.tip.size()).collect();
        let superseded = partial_tiles(self.tip.size()).filter(|tile| !after.contains(tile));
        self.lingering.extend(superseded);
    }

    /// Completes what is pending and leaves in `log/` exactly the files of the last checkpoint.
    ///
    /// # Errors
    /// [`LogError`] if a pending batch could not be completed.
    pub fn close(mut self) -> Result<(), LogError> {
        self.complete()?;
        let lingering = std::mem::take(&mut self.lingering);
        self.directories.remove(&*self.disk, lingering);
        Ok(())
    }

    /// Leaves published.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.tip.size()
    }

    /// The root over the published leaves.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.tip.root()
    }

    /// The signed checkpoint as published; nothing before the first batch.
    #[must_use]
    pub fn checkpoint(&self) -> Option<&[u8]> {
        self.signed.as_deref()
    }

    /// The indices of the batch that is signed, or may be, and not yet published.
    #[must_use]
    pub fn pending(&self) -> Option<Range<u64>> {
        Some(self.size()..self.pending.as_ref()?.tip.size())
    }

    /// Published leaves, in order.
    ///
    /// # Errors
    /// [`ReadError`] if a bundle cannot be read or the range reaches past the end.
    pub fn entries(&self, range: Range<u64>) -> Result<Vec<Vec<u8>>, ReadError> {
        read::entries_of(&*self.disk, &self.directories.log, self.size(), range)
    }

    fn is_pending(&self, leaves: &[Vec<u8>]) -> bool {
        let hash = |leaf: &Vec<u8>| sealtap_common::tree::leaf_hash(leaf);
        self.pending
            .as_ref()
            .is_some_and(|pending| leaves.iter().map(hash).eq(pending.hashes.iter().copied()))
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log")
            .field("origin", &self.keys.origin())
            .field("size", &self.size())
            .field("pending", &self.pending())
            .finish_non_exhaustive()
    }
}
