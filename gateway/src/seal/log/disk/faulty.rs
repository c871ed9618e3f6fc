//! A disk that goes wrong at one chosen step, over real files.
//!
//! Every change counts as one step. At the chosen one the disk fails, with or without the change
//! having reached the file system, or "the process dies": every step after it fails too and changes
//! nothing. Beside the real files it keeps what is certainly on disk and what is only in memory, so
//! that [`FaultyDisk::lose_power`] can lay out a directory in which any unsynced change may be lost.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use super::{Access, Disk, Entry, Kind, RealDisk, write_unsynced};

/// How the chosen step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An error, and the change was not made.
    Fails,
    /// An error, and yet the change was made.
    FailsPersisted,
    /// The process dies before the change.
    Kill,
    /// The process dies after the change.
    KillPersisted,
    /// Out of space: a write leaves half of its bytes; other steps fail and change nothing.
    Torn,
}

pub(crate) const FAULTS: [Fault; 5] =
    [Fault::Fails, Fault::FailsPersisted, Fault::Kill, Fault::KillPersisted, Fault::Torn];

/// What a name stands for: a directory, or a file's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(usize),
}

/// A change to names that no sync of their directory has yet followed. A rename is one change in
/// two directories, which file systems make in one step.
#[derive(Clone, Debug)]
struct Change {
    names: Vec<(PathBuf, Option<Node>)>,
}

#[derive(Default)]
struct State {
    /// Steps so far.
    steps: u64,
    plan: Option<(u64, Fault)>,
    dead: bool,
    /// Names on disk for certain.
    durable: BTreeMap<PathBuf, Node>,
    /// Names as the running system sees them.
    current: BTreeMap<PathBuf, Node>,
    /// Between the two, in order.
    changes: Vec<Change>,
    /// Contents of files, by number, and whether they are on disk.
    contents: Vec<(Vec<u8>, bool)>,
}

/// See the module.
pub(crate) struct FaultyDisk {
    state: Mutex<State>,
}

impl FaultyDisk {
    /// A disk that knows of what already lies below `root`, all of it on disk.
    pub(crate) fn over(root: &Path) -> Self {
        let mut state = State::default();
        load(&mut state, root);
        state.current = state.durable.clone();
        Self { state: Mutex::new(state) }
    }

    /// Goes wrong in this way at the step with this number, counted from 1 from now on.
    pub(crate) fn plan(&self, step: u64, fault: Fault) {
        let mut state = self.lock();
        state.plan = Some((state.steps + step, fault));
    }

    /// Goes wrong no more.
    pub(crate) fn calm(&self) {
        self.lock().plan = None;
    }

    /// What the next process finds after one has died: the same files, as unsynced as they were.
    pub(crate) fn survivor(&self) -> Self {
        let mut state = self.lock();
        let state = State { plan: None, dead: false, ..std::mem::take(&mut *state) };
        Self { state: Mutex::new(state) }
    }

    /// Steps so far.
    pub(crate) fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// Whether the chosen step has come.
    pub(crate) fn struck(&self) -> bool {
        let state = self.lock();
        state.plan.is_some_and(|(step, _)| state.steps >= step)
    }

    /// Lays out below `to` what of `from` a power loss leaves: everything synced, and of the rest
    /// what `keep` says, asked once for each unsynced change and content.
    pub(crate) fn lose_power(&self, from: &Path, to: &Path, mut keep: impl FnMut() -> bool) {
        let state = self.lock();
        let mut names = state.durable.clone();
        for change in &state.changes {
            if keep() {
                for (path, node) in &change.names {
                    match node {
                        Some(node) => names.insert(path.clone(), *node),
                        None => names.remove(path),
                    };
                }
            }
        }
        for (path, node) in &names {
            // A name whose directory was lost is lost with it.
            let Ok(relative) = path.strip_prefix(from) else { continue };
            let target = to.join(relative);
            if !target.parent().unwrap().is_dir() {
                continue;
            }
            match node {
                Node::Directory if target.is_dir() => {}
                Node::Directory => std::fs::create_dir(target).unwrap(),
                Node::File(number) => {
                    let (bytes, durable) = &state.contents[*number];
                    let kept = if *durable || keep() {
                        &bytes[..]
                    } else if keep() {
                        &bytes[..bytes.len() / 2]
                    } else {
                        &[]
                    };
                    std::fs::write(target, kept).unwrap();
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// One step: `act` on the real files and `note` in the model, or what the plan says instead.
    fn step(
        &self,
        act: impl FnOnce() -> io::Result<()>,
        torn: impl FnOnce(&mut State) -> io::Result<()>,
        note: impl FnOnce(&mut State),
    ) -> io::Result<()> {
        let mut state = self.lock();
        if state.dead {
            return Err(io::Error::other("the process is dead"));
        }
        state.steps += 1;
        let fault = match state.plan {
            Some((step, fault)) if step == state.steps => Some(fault),
            _ => None,
        };
        match fault {
            None => {
                act()?;
                note(&mut state);
                Ok(())
            }
            Some(fault) => {
                state.dead = matches!(fault, Fault::Kill | Fault::KillPersisted);
                match fault {
                    Fault::FailsPersisted | Fault::KillPersisted => {
                        act()?;
                        note(&mut state);
                    }
                    Fault::Torn => torn(&mut state)?,
                    Fault::Fails | Fault::Kill => {}
                }
                Err(io::Error::from_raw_os_error(5))
            }
        }
    }
}

impl State {
    fn change(&mut self, names: Vec<(PathBuf, Option<Node>)>) {
        for (path, node) in &names {
            match node {
                Some(node) => self.current.insert(path.clone(), *node),
                None => self.current.remove(path),
            };
        }
        self.changes.push(Change { names });
    }

    /// New bytes under a name: in the file that has it, or in a new one.
    fn contain(&mut self, path: &Path, bytes: &[u8], durable: bool) {
        if let Some(Node::File(number)) = self.current.get(path) {
            self.contents[*number] = (bytes.to_vec(), durable);
            return;
        }
        self.contents.push((bytes.to_vec(), durable));
        let node = Node::File(self.contents.len() - 1);
        self.change(vec![(path.to_owned(), Some(node))]);
    }
}

impl Disk for FaultyDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if self.lock().dead {
            return Err(io::Error::other("the process is dead"));
        }
        RealDisk.read(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<Entry>> {
        if self.lock().dead {
            return Err(io::Error::other("the process is dead"));
        }
        RealDisk.list(directory)
    }

    fn create_directory(&self, path: &Path, access: Access) -> io::Result<()> {
        self.step(
            || RealDisk.create_directory(path, access),
            |_| Ok(()),
            |state| state.change(vec![(path.to_owned(), Some(Node::Directory))]),
        )
    }

    fn write(&self, path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
        // Two steps, for the two ways of going wrong: bytes that are there but not on disk, and a
        // sync whose answer is lost. The real sync is left out: nothing here loses the page cache.
        let half = &bytes[..bytes.len() / 2];
        self.step(
            || write_unsynced(path, bytes, access).map(drop),
            |state| {
                state.contain(path, half, false);
                write_unsynced(path, half, access).map(drop)
            },
            |state| state.contain(path, bytes, false),
        )?;
        self.step(|| Ok(()), |_| Ok(()), |state| state.contain(path, bytes, true))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.step(
            || Ok(()),
            |_| Ok(()),
            |state| {
                let here = |name: &Path| name.parent() == Some(path);
                // A rename into or out of this directory is on disk as a whole.
                let (synced, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut state.changes)
                    .into_iter()
                    .partition(|change| change.names.iter().any(|(name, _)| here(name)));
                state.changes = rest;
                for (name, node) in synced.into_iter().flat_map(|change| change.names) {
                    match node {
                        Some(node) => state.durable.insert(name, node),
                        None => state.durable.remove(&name),
                    };
                }
            },
        )
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(
            || RealDisk.rename(from, to),
            |_| Ok(()),
            |state| {
                let node = state.current.get(from).copied();
                state.change(vec![(from.to_owned(), None), (to.to_owned(), node)]);
            },
        )
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.step(
            || RealDisk.remove_file(path),
            |_| Ok(()),
            |state| state.change(vec![(path.to_owned(), None)]),
        )
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.step(
            || RealDisk.remove_directory(path),
            |_| Ok(()),
            |state| state.change(vec![(path.to_owned(), None)]),
        )
    }
}

fn load(state: &mut State, path: &Path) {
    for entry in RealDisk.list(path).unwrap() {
        let path = path.join(AsRef::<OsStr>::as_ref(&entry.name));
        let node = if entry.kind == Kind::Directory {
            load(state, &path);
            Node::Directory
        } else {
            state.contents.push((std::fs::read(&path).unwrap(), true));
            Node::File(state.contents.len() - 1)
        };
        state.durable.insert(path, node);
    }
}
