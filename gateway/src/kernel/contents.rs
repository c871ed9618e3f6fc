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
use super::process::{self, stat_of};
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
        let unread = digest.is_none().then(|| lacks(why)).into_iter().collect();
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
        let work = move |asked: Asked| read_of(&asked, &known, &wants, &reads);
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

fn lacks(why: &str) -> Unread {
    Unread { what: DIGEST.to_owned(), why: why.to_owned() }
}

/// Reads what may take its time; whether anybody is left to be told.
fn read_of(asked: &Asked, known: &Digests, digesters: &Digesters, reads: &Reads) -> bool {
    let Asked { number, scope, place, started } = asked;
    let mut unread = Vec::new();
    let before = boottime_ns();
    let command = process::read(&mut unread, COMMAND, process::command(place));
    let file = process::read(&mut unread, DIGEST, File::open(place.join("exe")));
    let mut settling = Settling::after(boottime_ns());
    for _ in 0..2 {
        let at = boottime_ns();
        match stat_of(place) {
            Ok(Some(stat)) if stat.started == *started => settling.add(at, &stat),
            // By now it is gone, and another one may have its number.
            _ => {
                let what = What::First { command: None, around: (before, settling), digest: false };
                return reads.tell(*number, what, Vec::new());
            }
        }
    }
    let around = (before, settling);
    let wants = file.and_then(|file| Wanted::new((*scope, *number), file));
    let Some(wants) = wants else {
        if unread.iter().all(|unread| unread.what != DIGEST) {
            unread.push(lacks("it is too long, no file, or served by a process"));
        }
        return reads.tell(*number, What::First { command, around, digest: false }, unread);
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
