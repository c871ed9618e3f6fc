//! Digests: what executables are, by their bytes.
//!
//! In: open files. Out: SHA-256 of each, remembered as long as nothing about the file changes. Files are
//! read in slices, that with the least left first, so that a large one delays no smaller one by more than a
//! slice. None for a file that is too long, changes meanwhile, cannot be read, or finds no room.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::fstatfs;
use rustix::process::setpriority_process;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use sha2::{Digest as _, Sha256};

use super::mounts::Mounts;
use super::shares::Shares;

/// Files that are read side by side; each is open.
const SIDE_BY_SIDE: usize = 256;

/// The longest executable whose digest is taken, in bytes, and how much of one is read at once.
pub(super) const LARGEST: u64 = 1 << 30;
const SLICE: usize = 1 << 20;

/// Executables whose digests are remembered.
const REMEMBERED: usize = 1024;

/// Questions about one file that wait for the same answer.
const ASKING: usize = 4096;

/// How much less of the machine this takes than others get.
const NICENESS: i32 = 10;

/// How long a file must have been left alone before its digest is remembered: within a tick of the clock it
/// can be written to again and looks as it did.
const SETTLED: Duration = Duration::from_secs(1);

/// Of a file system that a process serves (`statfs(2)`): it may keep a reader waiting, and answer each
/// otherwise. And of an overlay, which may be laid over one.
const SERVED: u64 = 0x6573_5546;
const OVERLAY: u64 = 0x794c_7630;

/// What names a file's content, once the last of it is some time ago: each write makes that anew, as the
/// system's clock has it, and without a right to set the clock nobody sets it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Version {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Version {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            length: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a write after `at` is sure to change it.
    fn is_settled(&self, at: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.changed;
        let parts = (u64::try_from(seconds), u32::try_from(nanoseconds));
        let (Ok(seconds), Ok(nanoseconds)) = parts else { return false };
        let settled = Duration::new(seconds, nanoseconds).saturating_add(SETTLED);
        at.duration_since(UNIX_EPOCH).is_ok_and(|at| at >= settled)
    }
}

/// A file whose digest is wanted, for which scope, and for which question.
pub(super) struct Wanted {
    scope: u64,
    number: u64,
    file: File,
    version: Version,
}

impl Wanted {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Or why it has no digest.
    pub(super) fn new(
        (scope, number): (u64, u64),
        file: File,
        mounts: &Mounts,
    ) -> Result<Self, String> {
        let meta = file.metadata().map_err(|error| error.to_string())?;
        if !meta.is_file() {
            return Err("it is no file".to_owned());
        }
        let system = fstatfs(&file).map_err(|error| error.to_string())?;
        let known = match u64::try_from(system.f_type) {
            Ok(SERVED) => return Err("a process serves it".to_owned()),
            Ok(OVERLAY) => mounts.has_overlay(meta.dev()).map_err(|error| error.to_string())?,
            _ => true,
        };
        if !known {
            return Err(
                "it is on an overlay that is mounted elsewhere, maybe over what a process serves"
                    .to_owned(),
            );
        }
        let version = Version::of(&meta);
        if version.length > LARGEST {
            return Err("it is too long".to_owned());
        }
        Ok(Self { scope, number, file, version })
    }
}

/// Digests that are known, and those that are on their way.
#[derive(Clone, Default)]
pub(super) struct Digests(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    known: HashMap<Version, [u8; 32]>,
    /// Who asked for a file that is being read, or waits for that; by scope, since one may wait for long.
    asked: HashMap<(u64, Version), VecDeque<u64>>,
}

/// What becomes of a question for a digest.
pub(super) enum Answer {
    /// It is known.
    Known([u8; 32]),
    /// It comes with that of whoever asked first: however many of a scope ask for a file, it takes one place.
    Shared,
    /// Nobody of that scope asked before: the file is to be read.
    First(Wanted),
}

impl Digests {
    pub(super) fn ask(&self, wanted: Wanted) -> Answer {
        let mut table = self.lock();
        if let Some(digest) = table.known.get(&wanted.version) {
            return Answer::Known(*digest);
        }
        let key = (wanted.scope, wanted.version);
        if let Some(numbers) = table.asked.get_mut(&key) {
            // Of a file that is never read to its end, whoever asked first was answered long ago.
            if numbers.len() >= ASKING {
                numbers.pop_front();
            }
            numbers.push_back(wanted.number);
            return Answer::Shared;
        }
        table.asked.insert(key, VecDeque::from([wanted.number]));
        Answer::First(wanted)
    }

    /// That a file is not read after all; whose questions that leaves without an answer.
    pub(super) fn leave(&self, wanted: &Wanted) -> VecDeque<u64> {
        self.learn((wanted.scope, wanted.version), None)
    }

    fn known(&self, version: &Version) -> Option<[u8; 32]> {
        self.lock().known.get(version).copied()
    }

    /// Remembers what it is, if that is known; who asked.
    fn learn(&self, key: (u64, Version), digest: Option<[u8; 32]>) -> VecDeque<u64> {
        let mut table = self.lock();
        if let Some(digest) = digest {
            if table.known.len() >= REMEMBERED {
                table.known.clear();
            }
            table.known.insert(key.1, digest);
        }
        table.asked.remove(&key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        lock(&self.0)
    }
}

/// A file that is being read.
struct Reading {
    scope: u64,
    began: SystemTime,
    file: File,
    version: Version,
    hash: Sha256,
    done: u64,
}

/// Who takes digests: some threads, any of which may hang in a file that somebody serves who never answers. It
/// keeps that one file then, and the others go on with what else there is. No scope may have more of them, or more
/// open files, than are left for others.
pub(super) struct Digesters {
    files: Mutex<Files>,
    changed: Condvar,
}

struct Files {
    reading: BTreeMap<(u64, u64), Reading>,
    places: Shares,
    threads: Shares,
    ended: bool,
}

impl Digesters {
    /// For so many threads.
    pub(super) fn new(threads: usize) -> Self {
        let (places, threads) = (Shares::new(SIDE_BY_SIDE), Shares::new(threads));
        let files = Files { reading: BTreeMap::new(), places, threads, ended: false };
        Self { files: Mutex::new(files), changed: Condvar::new() }
    }

    /// Has a file read; gives it back where there is no room.
    pub(super) fn read(&self, wanted: Wanted) -> Result<(), Wanted> {
        let mut files = lock(&self.files);
        if files.ended || !files.places.take(wanted.scope) {
            return Err(wanted);
        }
        let Wanted { scope, number, file, version } = wanted;
        let (began, hash) = (SystemTime::now(), Sha256::new());
        let reading = Reading { scope, began, file, version, hash, done: 0 };
        files.reading.insert((version.length, number), reading);
        drop(files);
        self.changed.notify_one();
        Ok(())
    }

    /// What there is will be read, and then no more.
    pub(super) fn end(&self) {
        lock(&self.files).ended = true;
        self.changed.notify_all();
    }

    /// Takes digests until that is the end, or nobody is told.
    pub(super) fn take(&self, known: &Digests, told: impl Fn(u64, Option<[u8; 32]>) -> bool) {
        // The files are open: it takes no right to read them, and nobody waits for it.
        let none = CapabilitySet::empty();
        let _ = set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        );
        let _ = setpriority_process(None, NICENESS);
        let mut buffer = vec![0; SLICE];
        while let Some(((_, number), mut file)) = self.next() {
            let scope = file.scope;
            let told = match file.read(&mut buffer, known) {
                Read::Slice => {
                    let left = file.version.length.saturating_sub(file.done);
                    lock(&self.files).reading.insert((left, number), file);
                    self.done(scope, false);
                    continue;
                }
                Read::All(digest) => {
                    // Whoever asked is told, also what is not to be remembered.
                    let settled = file.version.is_settled(file.began);
                    let remembered = digest.filter(|_| settled);
                    let asked = known.learn((scope, file.version), remembered);
                    asked.into_iter().all(|number| told(number, digest))
                }
            };
            self.done(scope, true);
            if !told {
                return;
            }
        }
    }

    /// What has the least left to read, of a scope that may have a thread; none at the end.
    fn next(&self) -> Option<((u64, u64), Reading)> {
        let mut files = lock(&self.files);
        loop {
            if let Some(next) = files.next() {
                return Some(next);
            }
            if files.ended {
                return None;
            }
            files = self.changed.wait(files).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread is free, and the place if there is no more to read.
    fn done(&self, scope: u64, all: bool) {
        let mut files = lock(&self.files);
        files.threads.give(scope);
        if all {
            files.places.give(scope);
        }
        drop(files);
        self.changed.notify_all();
    }
}

impl Files {
    fn next(&mut self) -> Option<((u64, u64), Reading)> {
        let threads = &self.threads;
        let (key, _) = self.reading.iter().find(|(_, reading)| threads.may(reading.scope))?;
        let key = *key;
        let reading = self.reading.remove(&key)?;
        self.threads.take(reading.scope);
        Some((key, reading))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What became of a file.
enum Read {
    /// There is more to read.
    Slice,
    /// Its digest; none where it cannot be told what it is.
    All(Option<[u8; 32]>),
}

impl Reading {
    /// Reads a slice, unless another scope's has been read to its end.
    fn read(&mut self, buffer: &mut [u8], known: &Digests) -> Read {
        if let Some(digest) = known.known(&self.version) {
            return Read::All(Some(digest));
        }
        match self.slice(buffer) {
            Some(true) => Read::Slice,
            Some(false) => Read::All(Some(self.hash.finalize_reset().into())),
            None => Read::All(None),
        }
    }

    /// Reads a slice; whether there is more to read, none where it cannot be told what it is.
    fn slice(&mut self, buffer: &mut [u8]) -> Option<bool> {
        let count = self.file.read(buffer).ok()?;
        self.hash.update(buffer.get(..count)?);
        self.done = self.done.saturating_add(u64::try_from(count).ok()?);
        if count > 0 && self.done <= self.version.length {
            return Some(true);
        }
        // What grew, shrank or was written to meanwhile has no digest.
        let now = Version::of(&self.file.metadata().ok()?);
        (now == self.version && self.done == self.version.length).then_some(false)
    }
}

#[cfg(test)]
mod tests;
