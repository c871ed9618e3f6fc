//! A log that lies in a directory: the one part of this library that reads files.
//!
//! In: a path. Out: the log's files by name, and a report that a gateway writing beside us cannot
//! have spoiled. Can fail: files that cannot be read, which leaves the verdict undecided. Never
//! writes, never follows a symbolic link below the path.

use std::fs;
use std::io::{Error, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use crate::note::PublicKey;
use crate::tile::TilePath;
use crate::verify::{
    CHECKPOINT, FileError, Inspector, LogFiles, Report, Trust, Verdict, What, verify_under,
};

/// Where a data directory has its cosigned checkpoint.
pub const COSIGNED: &str = "witness/checkpoint";

/// Where a data directory has the checkpoint that was dated last, and the token that dates it.
pub const DATED: [&str; 2] = ["witness/timestamp.checkpoint", "witness/timestamp.tsr"];

/// How often a log that looks wrong is looked at again while a gateway may be writing to it.
const ATTEMPTS: u32 = 6;

/// Pause before looking again; a gateway publishes all tiles of a checkpoint well within it.
const PAUSE: Duration = Duration::from_millis(200);

/// One byte more than the longest bundle (256 entries of 65,535 bytes, each behind its length):
/// whoever grows a file past that cannot make us hold all of it.
const LONGEST: u64 = 256 * (2 + 65_535) + 1;

/// A log directory as it was when its checkpoint was read.
#[derive(Debug)]
pub struct LogDirectory {
    root: PathBuf,
    /// Read first: tiles only ever grow beyond what it needs.
    checkpoint: Option<Vec<u8>>,
}

impl LogDirectory {
    /// Reads the checkpoint of the log at `root`.
    ///
    /// # Errors
    /// [`FileError`] when it is there but cannot be read.
    pub fn open(root: &Path) -> Result<Self, FileError> {
        let checkpoint = read(root, CHECKPOINT)?;
        Ok(Self { root: root.to_owned(), checkpoint })
    }

    /// Whether the checkpoint has been replaced since.
    fn has_moved(&self) -> Result<bool, FileError> {
        Ok(read(&self.root, CHECKPOINT)? != self.checkpoint)
    }
}

impl LogFiles for LogDirectory {
    fn list(&self) -> Result<Vec<String>, FileError> {
        let mut files = Vec::new();
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let failed = |error| failure(&folder, &error);
            let entries = match fs::read_dir(self.root.join(&folder)) {
                // A folder of a superseded partial tile may go at any moment.
                Err(error) if error.kind() == ErrorKind::NotFound && !folder.is_empty() => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let separator = if folder.is_empty() { "" } else { "/" };
                let path = format!("{folder}{separator}{}", name.to_string_lossy());
                let kind = entry.file_type().map_err(failed)?;
                if name.to_str().is_none() {
                    // Its name as text is not its name: nothing below could be opened by it.
                    files.push(format!("{path} (not UTF-8)"));
                } else if kind.is_dir() && !may_hold_tiles(&path) {
                    // A folder is a stranger as a file is, whatever lies in it, and is not entered.
                    files.push(format!("{path} (a folder)"));
                } else if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    files.push(path);
                } else {
                    // A link or a device has no place in a log, whatever its name.
                    files.push(format!("{path} (not a plain file)"));
                }
            }
        }
        Ok(files)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, FileError> {
        if path == CHECKPOINT { Ok(self.checkpoint.clone()) } else { read(&self.root, path) }
    }
}

/// Whether the path of some tile begins with this folder. A gateway makes such folders before their
/// first tile is there, and takes them away after the last one, so they may also be empty.
fn may_hold_tiles(folder: &str) -> bool {
    // Groups of digits that come before the last one begin with an x; the first is never x000.
    let below = ["/0/000", "/000", "/x001/000", "/1"];
    below.iter().any(|rest| format!("{folder}{rest}").parse::<TilePath>().is_ok())
}

/// Verifies the log at `root`. When something is wrong that a gateway publishing at this moment
/// would explain, looks again until two looks agree; `inspector` makes a new one for each look.
pub fn verify_directory<I: Inspector>(
    root: &Path,
    keys: &[PublicKey],
    inspector: impl FnMut() -> I,
) -> (Report, I) {
    verify_directory_under(root, &Trust { keys, ..Trust::default() }, inspector)
}

/// As [`verify_directory`], under keys and a policy. The cosigned checkpoint must have been read
/// before this is called, or a gateway beside us could have cosigned more than we look at.
pub fn verify_directory_under<I: Inspector>(
    root: &Path,
    trust: &Trust<'_>,
    mut inspector: impl FnMut() -> I,
) -> (Report, I) {
    let mut attempt = 1;
    loop {
        let mut inspecting = inspector();
        let (report, moved) = look(root, trust, &mut inspecting);
        if attempt == ATTEMPTS || !(moved || may_settle(&report)) {
            return (report, inspecting);
        }
        attempt += 1;
        sleep(PAUSE);
    }
}

/// One look, and whether it was spoiled by a new checkpoint.
fn look(root: &Path, trust: &Trust<'_>, inspector: &mut impl Inspector) -> (Report, bool) {
    let mut attempt = || {
        let files = LogDirectory::open(root)?;
        let report = verify_under(&files, trust, inspector);
        let spoiled = report.verdict() == Verdict::Invalid && files.has_moved()?;
        Ok((report, spoiled))
    };
    attempt().unwrap_or_else(|error: FileError| {
        let mut report = Report::default();
        report.undecided(error.to_string());
        (report, false)
    })
}

/// The cosigned checkpoint of a data directory, if there is one.
///
/// # Errors
/// [`FileError`] when it is there but cannot be read.
pub fn cosigned(data: &Path) -> Result<Option<Vec<u8>>, FileError> {
    read(data, COSIGNED)
}

/// A dated checkpoint, and the reply that dates it.
pub type DatedFiles = (Vec<u8>, Vec<u8>);

/// The timestamp of a data directory, if there is one.
///
/// # Errors
/// [`FileError`] when one of the two is there but cannot be read.
pub fn dated(data: &Path) -> Result<Option<DatedFiles>, FileError> {
    let [checkpoint, reply] = DATED;
    Ok(read(data, checkpoint)?.zip(read(data, reply)?))
}

/// Whether all that is wrong could be tiles that lie ready for the next checkpoint, or old ones
/// just taken away.
fn may_settle(report: &Report) -> bool {
    report.verdict() == Verdict::Invalid
        && report.findings.iter().all(|found| matches!(found.what, What::Stranger | What::Missing))
}

/// The bytes of a plain file, as far as a file of a log can reach.
fn read(root: &Path, path: &str) -> Result<Option<Vec<u8>>, FileError> {
    let full = root.join(path);
    let bytes = fs::symlink_metadata(&full).and_then(|found| {
        // A pipe would keep us waiting; a link leads out of the log.
        if !found.is_file() {
            return Err(ErrorKind::NotFound.into());
        }
        let mut bytes = Vec::new();
        fs::File::open(&full)?.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    match bytes {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure(path, &error)),
    }
}

fn failure(path: &str, error: &Error) -> FileError {
    let path = if path.is_empty() { "the log's directory" } else { path };
    FileError { path: path.to_owned(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::may_hold_tiles;

    #[test]
    fn only_folders_that_some_tile_path_begins_with_belong() {
        let belong = [
            "tile",
            "tile/0",
            "tile/63",
            "tile/entries",
            "tile/entries/x001",
            "tile/0/x001/x000",
            "tile/0/x001/234.p",
            "tile/entries/000.p",
        ];
        for folder in belong {
            assert!(may_hold_tiles(folder), "{folder}");
        }
        let strangers = [
            "x",
            "tile/x",
            "tile/64",
            "tile/00",
            "tile/0/000",
            "tile/0/x1",
            "tile/0/x000.p",
            "tile/0/000.p/1",
            "tile/0/x001/000.p/x",
            "tile/0/000.q",
            "checkpoint",
            "tile/entries/y",
        ];
        for folder in strangers {
            assert!(!may_hold_tiles(folder), "{folder}");
        }
    }
}
