//! What a witness remembers: the latest checkpoint cosigned of each log, one file each.
//!
//! In: a request and the keys of its log. Out: a cosignature, after the checkpoint is on disk. The
//! question whether a tree may be cosigned and the writing of it are one step under one lock, or two
//! requests could overtake each other and the smaller tree be remembered last.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::note::{Note, PublicKey, SignatureLine, WitnessSigner};
use sealtap_common::tree::leaf_hash;
use sealtap_common::witness::{AddCheckpoint, Refusal, Seen};

use crate::clock::Reading;
use crate::seal::log::disk::{
    Access, Disk, read_if_there, remove_if_there, replace, settle_directories,
};

/// Why the memory could not be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum MemoryError {
    /// The system refused a step.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what this witness wrote.
    #[error("{} is not a checkpoint that this witness cosigned: restore it; without it a fork of that log could be cosigned", path.display())]
    Garbage {
        /// The file.
        path: PathBuf,
    },
}

/// Why a request was not cosigned.
#[derive(Debug, thiserror::Error)]
pub(super) enum CosignError {
    /// It may not be.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It may be, but could not be remembered.
    #[error(transparent)]
    Memory(#[from] MemoryError),
}

/// The latest tree of one log, and when it was cosigned.
#[derive(Clone, Copy)]
struct Latest {
    seen: Seen,
    time: u64,
}

/// The latest trees, on disk and at hand.
pub(super) struct Memory {
    disk: Box<dyn Disk>,
    directory: PathBuf,
    signer: WitnessSigner,
    latest: Mutex<HashMap<String, Latest>>,
}

impl Memory {
    /// What `directory`, made if missing, remembers.
    ///
    /// # Errors
    /// [`MemoryError::Io`]. Files are read when their log first asks.
    pub(super) fn open(
        disk: Box<dyn Disk>,
        directory: PathBuf,
        signer: WitnessSigner,
    ) -> Result<Self, MemoryError> {
        settle_directories(&*disk, &directory, Access::Private)
            .map_err(failed("create", &directory))?;
        Ok(Self { disk, directory, signer, latest: Mutex::default() })
    }

    /// Cosigns the request's checkpoint, once it is remembered. `keys` are those of its log.
    ///
    /// # Errors
    /// [`CosignError`]; nothing was changed then, or the file already holds the new checkpoint, which
    /// is then what the next request is held against after a restart.
    pub(super) fn cosign(
        &self,
        request: &AddCheckpoint,
        keys: &[&PublicKey],
    ) -> Result<SignatureLine, CosignError> {
        if keys.is_empty() {
            return Err(Refusal::UnknownLog.into());
        }
        let origin = request.origin().to_owned();
        let mut all = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = match all.get(&origin) {
            Some(latest) => *latest,
            None => self.read(&origin)?,
        };
        let accepted = request.consider(keys, latest.seen)?;
        // A clock that was set back must not make the witness seem to have seen less later.
        let time = (Reading::now().wall_us / 1_000_000).max(latest.time);
        let line = self.signer.cosign(&accepted.text, time);
        let note = Note { text: accepted.text, signatures: vec![line.clone()] };
        // Forgotten until it is on disk: after a failed write the file, old or new, is asked again.
        all.remove(&origin);
        self.write(&origin, note.emit().as_bytes())?;
        all.insert(origin, Latest { seen: accepted.seen, time });
        Ok(line)
    }

    fn read(&self, origin: &str) -> Result<Latest, MemoryError> {
        let path = self.path(origin);
        let temporary = path.with_added_extension("new");
        remove_if_there(&*self.disk, &temporary).map_err(failed("remove", &temporary))?;
        let found = read_if_there(&*self.disk, &path).map_err(failed("read", &path))?;
        let Some(bytes) = found else { return Ok(Latest { seen: Seen::NOTHING, time: 0 }) };
        self.understand(origin, &bytes).ok_or(MemoryError::Garbage { path })
    }

    fn understand(&self, origin: &str, bytes: &[u8]) -> Option<Latest> {
        let note = Note::parse(bytes).ok()?;
        let Checkpoint { origin: found, size, root } = Checkpoint::parse(&note.text).ok()?;
        let line = note.signatures.first()?;
        let time = self.signer.public().cosigned(&note.text, line)?;
        (found == origin).then_some(Latest { seen: Seen { size, root }, time })
    }

    fn write(&self, origin: &str, bytes: &[u8]) -> Result<(), MemoryError> {
        let path = self.path(origin);
        let temporary = path.with_added_extension("new");
        replace(&*self.disk, &temporary, &path, bytes, Access::Private)
            .map_err(failed("write", &path))
    }

    /// A log's file: as much of its origin as a file name takes, and a hash that tells the rest apart.
    fn path(&self, origin: &str) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-._".contains(c) { c } else { '_' };
        let name: String = origin.chars().take(100).map(plain).collect();
        let hash = leaf_hash(origin.as_bytes());
        let tail: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(format!("{name}+{tail}.checkpoint"))
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> MemoryError + use<> {
    let path = path.to_owned();
    move |source| MemoryError::Io { action, path, source }
}
