//! A disk in memory that fails, forgets and tears, for tests.
//!
//! Content and names are durable only once synced. A power loss keeps what was synced, any of the
//! other blocks, and any number of the latest changes of names, in their order. A failed sync
//! behaves like Linux: the blocks count as clean, are read back as written, and may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{Disk, File};
use super::format::BLOCK;

/// What an operation does instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing, and says so.
    Fail,
    /// A write of some blocks, then says so; other operations fail.
    Tear,
    /// Fails for want of room.
    Full,
    /// Fails, and so does everything after it: the power is gone.
    Off,
}

#[derive(Clone)]
pub(super) struct Memory(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    names: BTreeMap<String, usize>,
    safe_names: BTreeMap<String, usize>,
    /// Changes of names since they were last durable.
    changes: Vec<Change>,
    files: Vec<Content>,
    locked: bool,
    off: bool,
    /// Operations done so far that could fail.
    pub(super) done: u64,
    faults: BTreeMap<u64, Fault>,
    /// Whether a write or sync of this file went wrong.
    failed: BTreeSet<usize>,
    /// Files that never take a write again.
    broken: BTreeSet<String>,
    /// Bytes all files together may take.
    room: Option<usize>,
    random: u64,
}

#[derive(Clone)]
enum Change {
    Link(String, usize),
    Rename(String, String),
    Remove(String),
}

#[derive(Clone, Default)]
struct Content {
    now: Vec<u8>,
    safe: Vec<u8>,
    /// Blocks that differ and would be written by a sync.
    dirty: BTreeSet<usize>,
    /// Blocks whose sync failed: they count as clean, and are perhaps not on disk.
    doubtful: BTreeSet<usize>,
}

impl Memory {
    pub(super) fn new(random: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner { random, ..Inner::default() })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// The operation `after` more from now goes wrong.
    pub(super) fn fail(&self, after: u64, fault: Fault) {
        let mut inner = self.inner();
        let at = inner.done + after;
        inner.faults.insert(at, fault);
    }

    /// Whether a write or sync of `name` has gone wrong.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        let inner = self.inner();
        inner.names.get(name).is_some_and(|file| inner.failed.contains(file))
    }

    pub(super) fn has_power(&self) -> bool {
        !self.inner().off
    }

    pub(super) fn heal(&self) {
        let mut inner = self.inner();
        inner.faults.clear();
        inner.broken.clear();
        inner.failed.clear();
    }

    pub(super) fn done(&self) -> u64 {
        self.inner().done
    }

    /// Every write to the file that has this name fails from now on.
    pub(super) fn break_file(&self, name: &str) {
        self.inner().broken.insert(name.to_owned());
    }

    pub(super) fn set_room(&self, room: Option<usize>) {
        self.inner().room = room;
    }

    pub(super) fn taken(&self) -> usize {
        let inner = self.inner();
        inner.names.values().map(|file| inner.files[*file].now.len()).sum()
    }

    /// Everything fails from now on; what comes back when the power does is the answer.
    pub(super) fn lose_power(&self) -> Self {
        let mut inner = self.inner();
        inner.off = true;
        let changes = inner.changes.len();
        let kept = inner.pick(changes + 1);
        let mut names = inner.safe_names.clone();
        for change in inner.changes[..kept].iter().cloned() {
            apply(&mut names, change);
        }
        let mut files = inner.files.clone();
        for file in &mut files {
            let mut after = file.safe.clone();
            let unsure: Vec<usize> = file.dirty.union(&file.doubtful).copied().collect();
            for block in unsure {
                if inner.pick(2) == 0 {
                    continue;
                }
                let from = block * BLOCK;
                let end = (from + BLOCK).min(file.now.len());
                if after.len() < end {
                    after.resize(end, 0);
                }
                after[from..end].copy_from_slice(&file.now[from..end]);
            }
            *file = Content { now: after.clone(), safe: after, ..Content::default() };
        }
        let random = inner.pick(usize::MAX) as u64;
        let safe_names = names.clone();
        Self(Arc::new(Mutex::new(Inner { names, safe_names, files, random, ..Inner::default() })))
    }

    /// The bytes of a file, to look at or to change behind the journal's back.
    pub(super) fn edit(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut inner = self.inner();
        let file = inner.names[name];
        let content = &mut inner.files[file];
        change(&mut content.now);
        content.safe = content.now.clone();
    }

    pub(super) fn forget(&self, name: &str) {
        let mut inner = self.inner();
        inner.names.remove(name);
        inner.safe_names.remove(name);
    }
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap()
}

fn apply(names: &mut BTreeMap<String, usize>, change: Change) {
    match change {
        Change::Link(name, file) => drop(names.insert(name, file)),
        Change::Rename(from, to) => {
            if let Some(file) = names.remove(&from) {
                names.insert(to, file);
            }
        }
        Change::Remove(name) => drop(names.remove(&name)),
    }
}

impl Inner {
    fn pick(&mut self, below: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        size((z ^ (z >> 31)) % below as u64)
    }

    /// Counts an operation; the fault it meets, if any.
    fn step(&mut self) -> Result<(), (Fault, io::Error)> {
        if self.off {
            return Err((Fault::Fail, io::Error::other("no power")));
        }
        self.done += 1;
        match self.faults.remove(&(self.done - 1)) {
            None => Ok(()),
            Some(Fault::Full) => Err((Fault::Full, io::ErrorKind::StorageFull.into())),
            Some(fault) => {
                self.off = fault == Fault::Off;
                Err((fault, io::Error::from_raw_os_error(5)))
            }
        }
    }

    fn plain(&mut self) -> io::Result<()> {
        self.step().map_err(|(_, error)| error)
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, change.clone());
        self.changes.push(change);
    }

    fn room_for(&self, file: usize, length: usize) -> io::Result<()> {
        let grown = length.saturating_sub(self.files[file].now.len());
        let total: usize = self.names.values().map(|name| self.files[*name].now.len()).sum();
        if grown > 0 && self.room.is_some_and(|room| total + grown > room) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn write(&mut self, file: usize, bytes: &[u8], offset: usize) -> io::Result<()> {
        let end = offset + bytes.len();
        self.room_for(file, end)?;
        let content = &mut self.files[file];
        if content.now.len() < end {
            content.now.resize(end, 0);
        }
        content.now[offset..end].copy_from_slice(bytes);
        content.dirty.extend(offset / BLOCK..end.div_ceil(BLOCK));
        Ok(())
    }
}

impl Disk for Memory {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from("journal").join(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = self.inner();
        inner.plain()?;
        Ok(inner.names.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.plain()?;
        let file = inner.files.len();
        inner.files.push(Content::default());
        inner.change(Change::Link(name.to_owned(), file));
        Ok(Arc::new(Open { disk: self.clone(), file }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut inner = self.inner();
        inner.plain()?;
        let file = *inner.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Open { disk: self.clone(), file }))
    }

    fn open_to_read(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.plain()?;
        if !inner.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.plain()?;
        if !inner.names.contains_key(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        inner.change(Change::Remove(name.to_owned()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.plain()?;
        inner.safe_names = inner.names.clone();
        inner.changes.clear();
        Ok(())
    }

    fn lock(&self, _name: &str) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let mut inner = self.inner();
        if std::mem::replace(&mut inner.locked, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Unlock(self.clone()))))
    }
}

struct Unlock(Memory);

impl Drop for Unlock {
    fn drop(&mut self) {
        self.0.inner().locked = false;
    }
}

struct Open {
    disk: Memory,
    file: usize,
}

impl File for Open {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let offset = size(offset);
        let broken = inner.broken.iter().any(|name| inner.names.get(name) == Some(&self.file));
        if broken {
            return Err(io::Error::from_raw_os_error(5));
        }
        let step = inner.step();
        if step.is_err() && !inner.off {
            inner.failed.insert(self.file);
        }
        match step {
            Ok(()) => inner.write(self.file, bytes, offset),
            Err((Fault::Tear | Fault::Off, error)) => {
                let blocks = bytes.len() / BLOCK;
                let torn = inner.pick(blocks + 1) * BLOCK;
                inner.write(self.file, &bytes[..torn.min(bytes.len())], offset)?;
                Err(error)
            }
            Err((_, error)) => Err(error),
        }
    }

    fn reserve(&self, length: u64) -> io::Result<bool> {
        let mut inner = self.disk.inner();
        inner.plain()?;
        let length = size(length);
        inner.room_for(self.file, length)?;
        let content = &mut inner.files[self.file];
        let longer = content.now.len().max(length);
        content.now.resize(longer, 0);
        Ok(true)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut inner = self.disk.inner();
        inner.plain()?;
        let now = &inner.files[self.file].now;
        let from = size(offset).min(now.len());
        let count = bytes.len().min(now.len() - from);
        bytes[..count].copy_from_slice(&now[from..from + count]);
        Ok(count)
    }

    fn sync(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        let step = inner.step();
        if step.is_err() && !inner.off {
            inner.failed.insert(self.file);
        }
        let content = &mut inner.files[self.file];
        let dirty = std::mem::take(&mut content.dirty);
        if let Err((_, error)) = step {
            content.doubtful.extend(dirty);
            return Err(error);
        }
        content.safe.resize(content.now.len(), 0);
        for block in dirty {
            content.doubtful.remove(&block);
            let from = block * BLOCK;
            let end = (from + BLOCK).min(content.now.len());
            let bytes = content.now[from..end].to_vec();
            content.safe[from..end].copy_from_slice(&bytes);
        }
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        let mut inner = self.disk.inner();
        inner.plain()?;
        Ok(inner.files[self.file].now.len() as u64)
    }
}
