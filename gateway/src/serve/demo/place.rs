//! The demonstration's directory: made anew each time, and never in the place of anything else.
//!
//! In: a path. Out: the paths within. An earlier demonstration is known by its marker file, which is
//! written first and is never taken away, so that a half-made directory is still known as ours.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::DemoError;
use crate::data::DataDir;

const MARKER: &str = ".sealtap-demo";
const MARKER_TEXT: &str = "Made by `sealtap demo`, which replaces this directory when run again.\n";

/// The directory and what it holds.
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    /// Makes the directory, or empties the one that an earlier demonstration left.
    pub(super) fn prepare(root: &Path) -> Result<Self, DemoError> {
        let place = Self { root: root.to_owned() };
        let marker = place.root.join(MARKER);
        match fs::symlink_metadata(root) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::create_dir(root).map_err(DemoError::file("create", root))?;
                fs::write(&marker, MARKER_TEXT).map_err(DemoError::file("write", &marker))?;
            }
            Err(error) => return Err(DemoError::file("look at", root)(error)),
            // A link could lead anywhere.
            Ok(found) if found.is_dir() && is_ours(&marker) => place.empty()?,
            Ok(_) => return Err(DemoError::NotOurs { path: root.to_owned() }),
        }
        Ok(place)
    }

    fn empty(&self) -> Result<(), DemoError> {
        if self.data().root().is_dir() {
            // Not under the feet of a gateway that somebody started on it.
            drop(self.data().become_writer()?);
        }
        let list = || fs::read_dir(&self.root)?.collect::<Result<Vec<_>, _>>();
        for entry in list().map_err(DemoError::file("list", &self.root))? {
            let path = entry.path();
            if entry.file_name() == MARKER {
                continue;
            }
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            match is_directory {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            }
            .map_err(DemoError::file("remove", &path))?;
        }
        Ok(())
    }

    /// The gateway's data directory.
    pub(super) fn data(&self) -> DataDir {
        DataDir::new(self.root.join("data"))
    }

    /// The public keys, as `sealtap keys` prints them.
    pub(super) fn keys(&self) -> PathBuf {
        self.root.join("keys.txt")
    }

    /// The copy of the log in which one byte is changed.
    pub(super) fn tampered(&self) -> PathBuf {
        self.root.join("tampered-log")
    }

    /// The run in one file.
    pub(super) fn bundle(&self) -> PathBuf {
        self.root.join("demo.tar")
    }

    /// What the app says that it sent.
    pub(super) fn claims(&self) -> PathBuf {
        self.root.join("claims.jsonl")
    }

    /// Every file below the directory.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, DemoError> {
        files(&self.root)
    }
}

fn is_ours(marker: &Path) -> bool {
    let is_file = fs::symlink_metadata(marker).is_ok_and(|found| found.is_file());
    is_file && fs::read(marker).is_ok_and(|text| text == MARKER_TEXT.as_bytes())
}

/// Every plain file below `root`.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>, DemoError> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let failed = || DemoError::file("list", &folder);
        for entry in fs::read_dir(&folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            match entry.file_type().map_err(failed())?.is_dir() {
                true => folders.push(entry.path()),
                false => found.push(entry.path()),
            }
        }
    }
    found.sort();
    Ok(found)
}
