//! Grace: until each program that runs now has ended.
//!
//! In: nothing. Out: whatever was written before is what every program finds that runs from now on. The kernel
//! waits for its programs where a map is put into a map of maps, before it returns: that is there so that
//! whoever turned from one map to another may read the old one (since Linux 4.20; `synchronize_rcu`). So there
//! is such a map, which no program uses, and whose one entry is written anew. `membarrier` waits in the same
//! way, but is refused where some processor runs without a tick (`nohz_full`), and does not wait at all where
//! there is one processor, whose programs may be interrupted as well.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::raw::{array_of_one, put_map};

/// What the kernel waits by.
pub(super) struct Grace {
    outer: OwnedFd,
    inner: OwnedFd,
}

impl Grace {
    /// Makes it, and waits once, so that it is known to work.
    pub(super) fn begin() -> io::Result<Self> {
        let inner = array_of_one(None)?;
        let outer = array_of_one(Some(inner.as_fd()))?;
        let grace = Self { outer, inner };
        grace.wait()?;
        Ok(grace)
    }

    /// Waits.
    pub(super) fn wait(&self) -> io::Result<()> {
        put_map(self.outer.as_fd(), self.inner.as_fd())
    }
}
