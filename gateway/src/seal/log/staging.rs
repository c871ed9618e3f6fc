//! Where files of the log are until they may be seen: `staging/`, beside `log/`.
//!
//! In: whole tile files. Out: the same under their names in `log/`, each put there by one rename, so
//! that nobody looking at `log/` ever meets a part of a file or a file of a tree that was not signed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use sealtap_common::tile::TilePath;

use super::LogError;
use super::disk::{
    Access, Disk, Entry, Kind, create_directories, remove_if_there, replace, settle_directories,
};
use super::tip::Files;

/// Stands for the slash of a tile's path in its staged name; no path has one.
const SLASH: &str = "+";

/// The two directories, on one file system.
#[derive(Clone, Debug)]
pub(super) struct Directories {
    /// The published log.
    pub(super) log: PathBuf,
    /// Files that wait.
    pub(super) staging: PathBuf,
}

impl Directories {
    /// Where a tile is published.
    pub(super) fn tile(&self, path: &TilePath) -> PathBuf {
        self.log.join(path.to_string())
    }

    /// Where the checkpoint is published.
    pub(super) fn checkpoint(&self) -> PathBuf {
        self.log.join("checkpoint")
    }

    fn staged(&self, path: &TilePath) -> PathBuf {
        self.staging.join(path.to_string().replace('/', SLASH))
    }

    /// Makes both directories where they are missing.
    pub(super) fn create(&self, disk: &dyn Disk) -> Result<(), LogError> {
        create_directories(disk, &self.staging, Access::Public)
            .map_err(LogError::io("create", &self.staging))?;
        settle_directories(disk, &self.log, Access::Public)
            .map_err(LogError::io("create", &self.log))
    }

    /// Puts files into staging; on return they are on disk, names included.
    pub(super) fn stage(&self, disk: &dyn Disk, files: &Files) -> Result<(), LogError> {
        for (path, bytes) in files {
            let staged = self.staged(path);
            disk.write(&staged, bytes, Access::Public).map_err(LogError::io("write", &staged))?;
        }
        disk.sync_directory(&self.staging).map_err(LogError::io("sync", &self.staging))
    }

    /// Moves staged files into the log. Their names there are on disk only after [`Self::sync`].
    pub(super) fn publish<'a>(
        &self,
        disk: &dyn Disk,
        tiles: impl Iterator<Item = &'a TilePath>,
    ) -> Result<(), LogError> {
        let mut made = BTreeSet::new();
        for tile in tiles {
            let published = self.tile(tile);
            let Some(parent) = published.parent() else { continue };
            if made.insert(parent.to_owned()) {
                create_directories(disk, parent, Access::Public)
                    .map_err(LogError::io("create", parent))?;
            }
            disk.rename(&self.staged(tile), &published)
                .map_err(LogError::io("publish", &published))?;
        }
        Ok(())
    }

    /// Waits until the names of published tiles are on disk.
    ///
    /// `again`: an earlier try may have made directories without having synced the ones above.
    pub(super) fn sync<'a>(
        &self,
        disk: &dyn Disk,
        tiles: impl Iterator<Item = &'a TilePath>,
        again: bool,
    ) -> Result<(), LogError> {
        let mut directories = BTreeSet::new();
        for tile in tiles {
            let path = self.tile(tile);
            let above = path.ancestors().skip(1).take_while(|above| above.starts_with(&self.log));
            directories.extend(above.take(if again { usize::MAX } else { 1 }).map(Path::to_owned));
        }
        // The deepest first, so that what a directory holds is on disk before its own name is.
        for directory in directories.iter().rev() {
            disk.sync_directory(directory).map_err(LogError::io("sync", directory))?;
        }
        Ok(())
    }

    /// Publishes a checkpoint in one step.
    pub(super) fn publish_checkpoint(
        &self,
        disk: &dyn Disk,
        signed: &[u8],
    ) -> Result<(), LogError> {
        let path = self.checkpoint();
        replace(disk, &self.staging.join("checkpoint"), &path, signed, Access::Public)
            .map_err(LogError::io("publish", &path))
    }

    /// Waits until the name of the published checkpoint is on disk.
    pub(super) fn sync_checkpoint(&self, disk: &dyn Disk) -> Result<(), LogError> {
        disk.sync_directory(&self.log).map_err(LogError::io("sync", &self.log))
    }

    /// The tiles that wait in staging; what else is there is of no use.
    pub(super) fn waiting(&self, disk: &dyn Disk) -> Result<BTreeMap<TilePath, PathBuf>, LogError> {
        let entries = self.staged_entries(disk)?;
        let tile = |entry: &Entry| {
            if entry.kind != Kind::File {
                return None;
            }
            let path = entry.name.to_str()?.replace(SLASH, "/").parse().ok()?;
            Some((path, self.staging.join(&entry.name)))
        };
        Ok(entries.iter().filter_map(tile).collect())
    }

    /// Empties staging. Nothing depends on it, so it is not synced.
    pub(super) fn clear_staging(&self, disk: &dyn Disk) -> Result<(), LogError> {
        for entry in self.staged_entries(disk)? {
            let path = self.staging.join(entry.name);
            remove_if_there(disk, &path).map_err(LogError::io("remove", &path))?;
        }
        Ok(())
    }

    fn staged_entries(&self, disk: &dyn Disk) -> Result<Vec<Entry>, LogError> {
        match disk.list(&self.staging) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            result => result.map_err(LogError::io("list", &self.staging)),
        }
    }

    /// Removes superseded tiles, and the directories of partial tiles that this empties. What cannot
    /// be removed now is returned, to be tried again later.
    pub(super) fn remove(&self, disk: &dyn Disk, tiles: Vec<TilePath>) -> Vec<TilePath> {
        let mut kept = Vec::new();
        for tile in tiles {
            let path = self.tile(&tile);
            if remove_if_there(disk, &path).is_err() {
                kept.push(tile);
            } else if let Some(parent) = path.parent() {
                // Only an empty directory goes; the others hold the next partial tile.
                let _ = disk.remove_directory(parent);
            }
        }
        kept
    }
}

/// The name of a path relative to a directory, in a tile's own terms.
pub(super) fn relative<'a>(path: &'a Path, directory: &Path) -> Option<&'a str> {
    path.strip_prefix(directory).ok()?.to_str()
}
