//! A cgroup to be watched.

use std::fs::{self, File};
use std::io::{Error, Result};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// It, just below the root, until this goes.
pub(crate) struct Scope {
    root: PathBuf,
    path: PathBuf,
}

impl Scope {
    /// Makes it.
    pub(crate) fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let root = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let place = fields.next()?;
            (fields.next() == Some("cgroup2")).then(|| PathBuf::from(place))
        });
        let root = root.ok_or_else(|| Error::other("no cgroup v2 is mounted"))?;
        let path = root.join(format!("sealtap-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self { root, path })
    }

    /// The root's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The root, for programs to be attached to.
    pub(crate) fn open_root(&self) -> Result<File> {
        File::open(&self.root)
    }

    /// Its number, as the kernel has it.
    pub(crate) fn id(&self) -> Result<u64> {
        Ok(fs::metadata(&self.path)?.ino())
    }

    /// Puts a process there.
    pub(crate) fn take(&self, process: u32) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), process.to_string())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.path);
    }
}
