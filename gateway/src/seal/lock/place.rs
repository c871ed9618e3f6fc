//! Where the lock lives: outside the data directory, and the same place at every start.
//!
//! In: the data directory, `--lock`, the environment. Out: a directory, remembered in the data
//! directory's `lock-path`. Were the lock beside the log, restoring an old copy of the data
//! directory would restore it too, and nobody would notice that leaves are gone.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::LockError;
use crate::data::DataDir;
use crate::seal::log::disk::{Access, Disk, read_if_there, replace, settle_directories};

/// What the machine says about places to keep state in.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// `$STATE_DIRECTORY`: what systemd made for this service.
    pub state_directory: Option<OsString>,
    /// `/var/lib/sealtap`, if this process may use it.
    pub system: Option<PathBuf>,
    /// `$XDG_STATE_HOME`.
    pub xdg_state_home: Option<OsString>,
    /// `$HOME`.
    pub home: Option<OsString>,
}

impl Surroundings {
    /// Those of this process.
    #[must_use]
    pub fn read() -> Self {
        let system = Path::new("/var/lib/sealtap");
        let usable = rustix::process::geteuid().is_root()
            || rustix::fs::access(system, rustix::fs::Access::WRITE_OK).is_ok();
        Self {
            state_directory: std::env::var_os("STATE_DIRECTORY"),
            system: usable.then(|| system.to_owned()),
            xdg_state_home: std::env::var_os("XDG_STATE_HOME"),
            home: std::env::var_os("HOME"),
        }
    }

    /// The first place that there is, in the order of the documentation.
    fn choose(&self) -> Option<PathBuf> {
        let absolute = |value: &Option<OsString>| {
            value.as_ref().map(PathBuf::from).filter(|path| path.is_absolute())
        };
        // systemd lists several directories with colons between; the first one is the service's own.
        let service = self
            .state_directory
            .as_ref()
            .and_then(|list| std::env::split_paths(list).find(|path| path.is_absolute()));
        service
            .or_else(|| self.system.clone())
            .or_else(|| absolute(&self.xdg_state_home).map(|path| path.join("sealtap")))
            .or_else(|| absolute(&self.home).map(|path| path.join(".local/state/sealtap")))
    }
}

/// What the caller wants of the lock.
#[derive(Clone, Debug)]
pub struct LockPlace {
    /// `--lock DIR`.
    pub explicit: Option<PathBuf>,
    /// Where to look when nothing is said.
    pub surroundings: Surroundings,
}

impl LockPlace {
    /// As the command line and the environment say.
    #[must_use]
    pub fn new(explicit: Option<PathBuf>) -> Self {
        Self { explicit, surroundings: Surroundings::read() }
    }

    /// The lock's directory: what `lock-path` says, else what was chosen now, which is then written
    /// there. A lock inside the data directory is written as a relative path, so that it moves with
    /// throw-away data.
    ///
    /// `moving` lets `--lock` overrule `lock-path`: a log that is adopted starts with a new lock.
    pub(crate) fn settle(
        &self,
        disk: &dyn Disk,
        data: &DataDir,
        moving: bool,
    ) -> Result<PathBuf, LockError> {
        let failed = |action, path: &Path| {
            let path = path.to_owned();
            move |source| LockError::Io { action, path, source }
        };
        let note = data.lock_path();
        let root = std::path::absolute(data.root()).map_err(failed("locate", data.root()))?;
        let explicit = match &self.explicit {
            Some(path) => Some(std::path::absolute(path).map_err(failed("locate", path))?),
            None => None,
        };
        let recorded = read_if_there(disk, &note).map_err(failed("read", &note))?;
        let recorded = recorded.map(|bytes| parse(&note, &root, bytes)).transpose()?;
        match (recorded, explicit) {
            (Some(recorded), None) => Ok(recorded),
            (Some(recorded), Some(explicit)) if same(&recorded, &explicit) => Ok(recorded),
            (Some(recorded), Some(explicit)) if !moving => {
                Err(LockError::Elsewhere { note, recorded, explicit })
            }
            (_, explicit) => {
                let chosen =
                    explicit.or_else(|| self.surroundings.choose()).ok_or(LockError::Nowhere)?;
                settle_directories(disk, data.root(), Access::Private)
                    .map_err(failed("create", data.root()))?;
                // A crash before this line leaves no note, and the next start chooses again;
                // after it, the next start follows the note, whether or not a lock is there yet.
                let text = chosen.strip_prefix(&root).unwrap_or(&chosen);
                let line = [text.as_os_str().as_encoded_bytes(), b"\n"].concat();
                replace(disk, &note.with_extension("new"), &note, &line, Access::Public)
                    .map_err(failed("write", &note))?;
                Ok(chosen)
            }
        }
    }
}

/// The directory that a `lock-path` file names.
fn parse(note: &Path, root: &Path, bytes: Vec<u8>) -> Result<PathBuf, LockError> {
    use std::os::unix::ffi::OsStringExt as _;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes).to_vec();
    if line.is_empty() || line.contains(&b'\n') || line.contains(&0) {
        let source = io::Error::new(io::ErrorKind::InvalidData, "not one line with one path");
        return Err(LockError::Io { action: "understand", path: note.to_owned(), source });
    }
    Ok(root.join(OsString::from_vec(line)))
}

/// Whether two paths are one directory, by their text or, if both exist, by what they lead to.
fn same(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}
