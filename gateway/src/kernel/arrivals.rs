//! Arrivals: word from the system that a folder was made or taken away.
//!
//! In: folders. Out: a descriptor that becomes readable when something comes to be in one of them, or is
//! gone. Which it was is not told: whoever is woken looks at all. Where the system has no room for another
//! folder, there is no word of that one.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

/// Room for what is read at once.
const BUFFER: usize = 4096;

/// Folders that are listened to; one that goes is forgotten by the system.
pub(super) struct Arrivals(OwnedFd);

impl Arrivals {
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self(init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?))
    }

    /// Listens to a folder; once more is the same as once.
    pub(super) fn watch(&self, folder: &Path) {
        let what = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::ONLYDIR;
        // It may be gone; or there is no room, and all are looked at in a moment anyway.
        let _ = add_watch(&self.0, folder, what);
    }

    /// Takes in what was told so far.
    pub(super) fn forget(&self) {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut told = Reader::new(&self.0, &mut buffer);
        while told.next().is_ok() {}
    }
}

impl AsFd for Arrivals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    fn is_told(arrivals: &Arrivals, seconds: i64) -> bool {
        let patience = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(arrivals, PollFlags::IN)], Some(&patience)) == Ok(1)
    }

    #[test]
    fn what_comes_and_goes_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let arrivals = Arrivals::begin().unwrap();
        arrivals.watch(folder.path());
        arrivals.watch(folder.path());
        arrivals.watch(&folder.path().join("none"));
        assert!(!is_told(&arrivals, 0));
        std::fs::create_dir(folder.path().join("new")).unwrap();
        assert!(is_told(&arrivals, 10));
        arrivals.forget();
        assert!(!is_told(&arrivals, 0), "once");
        std::fs::create_dir(folder.path().join("new/below")).unwrap();
        assert!(!is_told(&arrivals, 0), "nobody listens there");
        std::fs::remove_dir_all(folder.path().join("new")).unwrap();
        assert!(is_told(&arrivals, 10));
    }
}
