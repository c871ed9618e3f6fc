//! Contents: what of a process may take its time to read, on threads that nobody else waits for.
//!
//! In: a process that was there, and the scope for which it is read. Out: its command line and its executable's
//! digest, each when it is known, and what could not be read. A page or a file of it can be somebody's who
//! never answers: a thread hangs there for good, so that no scope may have more of them than are left for
//! others. The digest is taken by threads of its own, slice by slice and the shortest first, so that none keeps
//! a shorter one waiting.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

use super::digests::{Answer, Digesters, Digests, Wanted};
use super::execs::Settling;
use super::mounts::Mounts;
use super::process::{self, Found, stat_of};
use super::readers::Readers;
use super::unread::{COMMAND, DIGEST, Unread};
use crate::clock::boottime_ns;

/// Threads that read command lines and open executables, and those that take digests. One scope alone may have
/// half of each, a second one half of the rest.
const READERS: usize = 16;
const DIGESTERS: usize = 8;

/// Processes that wait to be read.
const QUEUE: usize = 512;

/// The threads.
pub(super) struct Contents {
    readers: Readers<Asked>,
    read: Receiver<Read>,
    waker: Arc<OwnedFd>,
    digesters: Arc<Digesters>,
}

/// What is to be read.
pub(super) struct Asked {
    /// The reading's number.
    pub(super) number: u64,
    /// For whom: the id of the watched cgroup.
    pub(super) scope: u64,
    /// The process's folder, and when it started.
    pub(super) place: PathBuf,
    pub(super) started: u64,
}

/// What a thread has read.
pub(super) struct Read {
    pub(super) number: u64,
    pub(super) what: What,
    pub(super) unread: Vec<Unread>,
}

/// Which part of it.
pub(super) enum What {
    /// What comes first; of a process that is gone it is nothing.
    First {
        /// The command line.
        command: Option<Vec<u8>>,
        /// Before all of it was read, and what the process did afterwards.
        around: (u64, Settling),
        /// Whether a digest is to come.
        digest: bool,
    },
    /// The executable's digest.
    Digest(Option<[u8; 32]>),
}

/// Hands on what was read.
#[derive(Clone)]
struct Reads {
    sender: Sender<Read>,
    waker: Arc<OwnedFd>,
}

impl Reads {
    /// Whether anybody is left to be told.
    fn tell(&self, number: u64, what: What, unread: Vec<Unread>) -> bool {
        let told = self.sender.send(Read { number, what, unread }).is_ok();
        // Full, it wakes as well.
        let _ = rustix::io::write(&*self.waker, &1_u64.to_ne_bytes());
        told
    }

    /// Tells of an executable's digest, or why there is none.
    fn digest(&self, number: u64, digest: Option<[u8; 32]>, why: &str) -> bool {
        let unread = digest.is_none().then(|| lacks(DIGEST, why)).into_iter().collect();
        self.tell(number, What::Digest(digest), unread)
    }
}

impl Contents {
    /// Starts the threads.
    pub(super) fn begin() -> io::Result<Self> {
        let waker = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (sender, read) = channel();
        let reads = Reads { sender, waker: Arc::clone(&waker) };
        let known = Digests::default();
        let digesters = Arc::new(Digesters::new(DIGESTERS));
        for _ in 0..DIGESTERS {
            let (digesters, known, reads) = (Arc::clone(&digesters), known.clone(), reads.clone());
            let why = "it changed meanwhile, or cannot be read";
            let take = move || {
                digesters.take(&known, |number, digest| reads.digest(number, digest, why));
            };
            std::thread::Builder::new().name("digests".to_owned()).spawn(take)?;
        }
        let wants = Arc::clone(&digesters);
        let mounts = Arc::new(Mounts::default());
        let work = move |asked: Asked| read_of(&asked, (&known, &mounts), &wants, &reads);
        let readers = Readers::start(("looks", READERS), QUEUE, work)?;
        Ok(Self { readers, read, waker, digesters })
    }

    /// Has a process read; whether there was room.
    pub(super) fn ask(&self, asked: Asked) -> bool {
        self.readers.put(asked.scope, asked)
    }

    /// What becomes readable when there is something to tell.
    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    /// What was read by now.
    pub(super) fn read(&self) -> impl Iterator<Item = Read> {
        // What is read from here on wakes again.
        let _ = rustix::io::read(&*self.waker, &mut [0_u8; 8]);
        self.read.try_iter()
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.digesters.end();
    }
}

fn lacks(what: &str, why: &str) -> Unread {
    Unread { what: what.to_owned(), why: why.to_owned() }
}

/// Reads what may take its time; whether anybody is left to be told.
fn read_of(
    asked: &Asked,
    (known, mounts): (&Digests, &Mounts),
    digesters: &Digesters,
    reads: &Reads,
) -> bool {
    let Asked { number, scope, place, started } = asked;
    let mut unread = Vec::new();
    let before = boottime_ns();
    let command = process::read(&mut unread, COMMAND, process::command(place));
    let file = process::read(&mut unread, DIGEST, File::open(place.join("exe")));
    // As long as the process is there nobody writes to what it runs: as that is before the looks, it is what ran.
    let wants = file.map(|file| Wanted::new((*scope, *number), file, mounts));
    let mut settling = Settling::after(boottime_ns());
    for _ in 0..2 {
        let at = boottime_ns();
        let unseen = match Found::from(stat_of(place)) {
            Found::There(stat) if stat.started == *started => {
                settling.add(at, &stat);
                continue;
            }
            // By now it is gone, and another one may have its number.
            Found::There(_) | Found::Gone => Vec::new(),
            Found::Unread(why) => [COMMAND, DIGEST].map(|what| lacks(what, &why)).to_vec(),
        };
        let what = What::First { command: None, around: (before, settling), digest: false };
        return reads.tell(*number, what, unseen);
    }
    let around = (before, settling);
    let wants = match wants {
        Some(Ok(wants)) => wants,
        unfit => {
            unread.extend(unfit.and_then(Result::err).map(|why| lacks(DIGEST, &why)));
            if unread.iter().all(|unread| unread.what != DIGEST) {
                unread.push(lacks(DIGEST, "the process has none"));
            }
            return reads.tell(*number, What::First { command, around, digest: false }, unread);
        }
    };
    // Told before its digest can be.
    reads.tell(*number, What::First { command, around, digest: true }, unread)
        && digest_of(wants, known, digesters, reads)
}

/// Asks for a digest; whether anybody is left to be told.
fn digest_of(wants: Wanted, known: &Digests, digesters: &Digesters, reads: &Reads) -> bool {
    let number = wants.number();
    match known.ask(wants) {
        Answer::Known(digest) => reads.digest(number, Some(digest), ""),
        Answer::Shared => true,
        Answer::First(wants) => match digesters.read(wants) {
            Ok(()) => true,
            Err(wants) => {
                let mut numbers = known.leave(&wants).into_iter();
                numbers.all(|number| reads.digest(number, None, "too many wait to be read"))
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// What is told of a process of that folder, which began at 1.
    fn first_of(place: &Path) -> (Option<Vec<u8>>, bool, Vec<Unread>) {
        let waker = Arc::new(eventfd(0, EventfdFlags::NONBLOCK).unwrap());
        let (sender, read) = channel();
        let (known, digesters) = (Digests::default(), Digesters::new(1));
        let asked = Asked { number: 7, scope: 1, place: place.to_owned(), started: 1 };
        let known = (&known, &Mounts::default());
        assert!(read_of(&asked, known, &digesters, &Reads { sender, waker }));
        let Read { number: 7, what: What::First { command, digest, .. }, unread } =
            read.recv().unwrap()
        else {
            panic!("that comes first");
        };
        (command, digest, unread)
    }

    /// Who is gone is unknown without a word; of whom cannot be looked at, it is said why.
    #[test]
    fn what_cannot_be_read_has_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        assert_eq!(first_of(folder.path()), (None, false, Vec::new()));
        fs::write(place("cmdline"), b"a\0").unwrap();
        fs::write(place("exe"), b"#!").unwrap();
        fs::create_dir(place("stat")).unwrap();
        let (command, digest, unread) = first_of(folder.path());
        assert_eq!((command, digest), (None, false), "it may be of another process");
        let what: Vec<_> = unread.iter().map(|unread| unread.what.as_str()).collect();
        assert_eq!(what, [COMMAND, DIGEST]);
        assert!(unread.iter().all(|unread| unread.why.contains("directory")), "{unread:?}");
        // The control: it is there, and so is what it runs.
        fs::remove_dir(place("stat")).unwrap();
        fs::write(place("stat"), "7 (a) S 1 7 7 0 -1 0 0 0 0 0 3 4 0 0 20 0 2 0 1 0 0 0 77 0")
            .unwrap();
        assert_eq!(first_of(folder.path()), (Some(b"a\0".to_vec()), true, Vec::new()));
        fs::remove_file(place("exe")).unwrap();
        fs::create_dir(place("exe")).unwrap();
        let (command, digest, unread) = first_of(folder.path());
        assert_eq!((command, digest), (Some(b"a\0".to_vec()), false));
        assert_eq!(unread, [lacks(DIGEST, "it is no file")]);
    }
}
