//! Volumes: small file systems of their own, to be filled.
//!
//! A volume is an ext4 file system in a file where loop devices are to be had, else a tmpfs; either
//! needs root. It is unmounted when it is dropped.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Bytes written at a time when a volume is filled; the last ones are smaller.
const STRIDES: [usize; 3] = [1 << 20, 4096, 64];

/// Why file systems cannot be mounted here, if they cannot.
pub fn unavailable() -> Option<String> {
    let place = tempfile::tempdir().expect("a temporary directory can be made");
    if tmpfs(place.path(), 1) {
        unmount(place.path());
        return None;
    }
    Some("nothing can be mounted here, which takes root".to_owned())
}

/// A mounted file system.
pub struct Volume(PathBuf);

impl Volume {
    /// Mounts an empty file system of this many MiB at `place`, which is made.
    ///
    /// # Panics
    /// If it cannot.
    pub fn mount(place: &Path, mebibytes: u64) -> Self {
        fs::create_dir_all(place).expect("a place to mount at can be made");
        let mounted = ext4(place, mebibytes) || tmpfs(place, mebibytes);
        assert!(mounted, "nothing can be mounted at {}", place.display());
        Self(place.to_owned())
    }

    /// Leaves no byte free.
    ///
    /// # Panics
    /// If the file that fills it cannot be made.
    pub fn fill(&self) {
        let mut ballast = File::create(self.ballast()).expect("a file can be made");
        for stride in STRIDES {
            let bytes = vec![0xa5; stride];
            // Synced, so that a file system that allocates late says now that it is full.
            while ballast.write_all(&bytes).and_then(|()| ballast.sync_data()).is_ok() {}
        }
    }

    /// Takes away what filled it.
    ///
    /// # Panics
    /// If it was not filled.
    pub fn free(&self) {
        fs::remove_file(self.ballast()).expect("what fills a volume can be removed");
    }

    /// Takes away so many bytes of what filled it.
    ///
    /// # Panics
    /// If it was not filled, or with less.
    pub fn leave(&self, bytes: u64) {
        let ballast = File::options().write(true).open(self.ballast()).expect("a filled volume");
        let length = ballast.metadata().expect("a file has a length").len();
        let cut = ballast.set_len(length.checked_sub(bytes).expect("as many bytes"));
        cut.and_then(|()| ballast.sync_all()).expect("a file can be cut");
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

fn ext4(place: &Path, mebibytes: u64) -> bool {
    let image = place.with_extension("image");
    let sized = File::create(&image).and_then(|file| file.set_len(mebibytes << 20));
    let made = sized.is_ok()
        // Blocks as large as pages, as any disk of today has: a page of SQLite's shared index that
        // was allocated in part is fatal to touch on a full disk.
        && run("mkfs.ext4", &["-q", "-F", "-m", "0", "-b", "4096"], &[&image])
        && run("mount", &["-o", "loop"], &[&image, place]);
    if made {
        let _ = fs::remove_dir(place.join("lost+found"));
    }
    made
}

fn tmpfs(place: &Path, mebibytes: u64) -> bool {
    let options = format!("size={mebibytes}m,mode=0700");
    run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], &[place])
}

fn unmount(place: &Path) {
    // Lazily: a gateway that outlives its case must not keep the volume.
    run("umount", &["--lazy"], &[place]);
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).args(paths).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
