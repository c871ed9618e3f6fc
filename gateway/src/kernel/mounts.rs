//! Mounts: whether what an overlay shows can be taken for what it is.
//!
//! In: the device of an open file on an overlay. Out: whether an overlay of that device is mounted where this
//! process is. Root of a namespace of users may lay an overlay over a file system that they serve themselves, and
//! then inode, times and each answer to a read are theirs to choose; they mount it in a tree of their own, which
//! nothing comes out of. Those of containers stand in the tree of whoever starts them as well, under the same device.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{major, minor};
use rustix::io::retry_on_intr;

/// This process's mounts (proc_pid_mountinfo(5)).
const TABLE: &str = "/proc/self/mountinfo";

/// The overlays among them, as they are by now.
#[derive(Debug, Default)]
pub(super) struct Mounts(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// It says when the mounts are others; none before it was read as a whole.
    file: Option<File>,
    overlays: HashSet<(u32, u32)>,
}

impl Mounts {
    /// Whether an overlay of that device is among them. The device is that of an open file, or it may be another
    /// one's by now.
    ///
    /// # Errors
    /// The table cannot be read.
    pub(super) fn has_overlay(&self, device: u64) -> io::Result<bool> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.refresh()?;
        Ok(table.overlays.contains(&(major(device), minor(device))))
    }
}

impl Table {
    /// Reads it where it is not known, or has changed since.
    fn refresh(&mut self) -> io::Result<()> {
        // What cannot be read to its end is not known next time either.
        let mut file = match self.file.take() {
            None => File::open(TABLE)?,
            Some(file) if has_changed(&file)? => file,
            Some(file) => {
                self.file = Some(file);
                return Ok(());
            }
        };
        let mut text = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut text)?;
        self.overlays = overlays(&String::from_utf8_lossy(&text)).collect();
        self.file = Some(file);
        Ok(())
    }
}

/// Whether the mounts are others than when that was asked the last time, or the file was opened.
fn has_changed(file: &File) -> io::Result<bool> {
    let mut ready = [PollFd::new(file, PollFlags::PRI)];
    retry_on_intr(|| poll(&mut ready, Some(&Timespec::default())))?;
    let [ready] = ready;
    Ok(ready.revents().intersects(PollFlags::PRI | PollFlags::ERR))
}

/// The devices of the overlays. What somebody names in a mount has its blanks written otherwise.
fn overlays(table: &str) -> impl Iterator<Item = (u32, u32)> {
    table.lines().filter_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let (major, minor) = mount.split(' ').nth(2)?.split_once(':')?;
        let is_overlay = kind.split(' ').next() == Some("overlay");
        Some((major.parse().ok()?, minor.parse().ok()?)).filter(|_| is_overlay)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn overlays_are_told_from_what_is_called_so() {
        let table = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
            31 22 0:57 / /var/lib/merged rw - overlay overlay rw,lowerdir=/a:/b\n\
            32 22 0:58 /x\\040-\\040overlay /overlay rw master:1 propagate_from:2 - tmpfs overlay rw\n\
            33 22 0:59 / /f rw - fuse.fuse-overlayfs overlay rw\n\
            34 22 1:300 / /g ro shared:4 - overlay none rw\n\
            odd\n";
        assert_eq!(overlays(table).collect::<Vec<_>>(), [(0, 57), (1, 300)]);
    }

    /// It is read once, and says of itself whether it is still so.
    #[test]
    fn the_table_is_read_and_kept() {
        let mounts = Mounts::default();
        let own = File::open("/proc/self/exe").unwrap().metadata().unwrap().dev();
        let is_overlay = mounts.has_overlay(own).unwrap();
        assert_eq!(mounts.has_overlay(own).unwrap(), is_overlay);
        let other = rustix::fs::makedev(4095, 1);
        assert!(!mounts.has_overlay(other).unwrap());
        assert!(mounts.0.lock().unwrap().file.is_some());
    }
}
