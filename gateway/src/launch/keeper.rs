//! Keeper: the one thread of `sealtap run` that keeps the caller's privileges, until the command has begun.
//!
//! In: what takes privileges, one after the other: the loader, a place for pins, the command itself. Out: what
//! came of each. All other threads, which read what comes from the network, are born without a capability and
//! can get none; once the command has begun, the keeper ends, and with it the last one of this process. Fails
//! before anything is served. Where the caller has no privileges there is nothing to keep.
//!
//! What needs none at the end: the cgroup and its pins are files of the user that made them, and what ends the
//! cgroup's processes is held open since before the command began.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread::{self, JoinHandle};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, capabilities};

use crate::privileges::{PrivilegeError, keep_only};

type Task = Box<dyn FnOnce() + Send>;

/// What may do what others may not.
pub(super) struct Keeper {
    thread: Option<(Sender<Task>, JoinHandle<()>)>,
    note: Option<String>,
}

impl Keeper {
    /// Has this thread, and each that comes later, have no capability any more. What is to be written lies
    /// in these `folders`; where one is somebody else's, the right to write there stays, and is told of.
    pub(super) fn begin(folders: &[PathBuf]) -> Result<Self, PrivilegeError> {
        let has = capabilities(None).map(|sets| sets.permitted).unwrap_or(CapabilitySet::empty());
        if has.is_empty() {
            return Ok(Self { thread: None, note: None });
        }
        let (tasks, asked) = channel::<Task>();
        let keeper = thread::Builder::new().name("keeper".to_owned());
        let keeper = keeper.spawn(move || asked.into_iter().for_each(|task| task()));
        let keeper = keeper.map_err(|source| PrivilegeError::Step {
            step: "start a thread that keeps them",
            source,
        })?;
        // The command may be of the same user, which could look into this process otherwise.
        set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|source| {
            PrivilegeError::Step { step: "close this process to others", source: source.into() }
        })?;
        let foreign = foreign(folders);
        let kept = match &foreign {
            Some(_) => CapabilitySet::DAC_OVERRIDE & has,
            None => CapabilitySet::empty(),
        };
        keep_only(kept)?;
        let note = foreign.map(|folder| {
            format!(
                "{} is not writable by the files' rights alone: the gateway keeps CAP_DAC_OVERRIDE, by which \
                 it may write to files of others",
                folder.display()
            )
        });
        Ok(Self { thread: Some((tasks, keeper)), note })
    }

    /// Does something with the caller's privileges.
    pub(super) fn run<T: Send + 'static>(
        &self,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let Some((tasks, _)) = &self.thread else { return Ok(task()) };
        let (answer, answered) = channel();
        // Whoever asked waits for it.
        let task = move || drop(answer.send(task()));
        tasks.send(Box::new(task)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())
    }

    /// What is kept beyond, and why.
    pub(super) fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Gives up the rest.
    pub(super) fn end(self) {
        if let Some((tasks, thread)) = self.thread {
            drop(tasks);
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that keeps privileges has ended")
}

/// The first of these that cannot be written to without a capability, tried by a thread that has none.
fn foreign(folders: &[PathBuf]) -> Option<PathBuf> {
    thread::scope(|scope| {
        let tried = scope.spawn(|| {
            keep_only(CapabilitySet::empty()).ok()?;
            folders.iter().find(|folder| !is_writable(folder)).cloned()
        });
        tried.join().unwrap_or_default()
    })
}

/// Whether files can be made there, or in the next folder above that is there.
fn is_writable(folder: &Path) -> bool {
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let there = folder.ancestors().find_map(|above| match above.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        // One that cannot be looked at cannot be written to either.
        _ => Some(above.to_owned()),
    });
    there.is_some_and(|there| tempfile::tempfile_in(there).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_folder_above_that_is_there_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_writable(folder.path()));
        assert!(is_writable(&folder.path().join("a/b/c")));
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(!is_writable(&file) && !is_writable(Path::new("/proc/none")));
    }

    #[test]
    fn what_is_asked_is_done_in_order_by_one_thread() {
        let (tasks, asked) = channel::<Task>();
        let thread = thread::spawn(move || asked.into_iter().for_each(|task| task()));
        let keeper = Keeper { thread: Some((tasks, thread)), note: None };
        let by = || keeper.run(|| thread::current().id()).unwrap();
        assert_eq!(by(), by());
        assert_ne!(by(), thread::current().id());
        keeper.end();
        // Where there is nothing to keep, the caller does it.
        let none = Keeper { thread: None, note: None };
        assert_eq!(none.run(|| thread::current().id()).unwrap(), thread::current().id());
    }
}
