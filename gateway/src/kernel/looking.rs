//! Looking: who connected, on threads that nobody else waits for.
//!
//! In: a process and when it connected. Out: who it is. What `/proc` says without asking the process's
//! memory or its files is read at once. Its command line and its executable are read by threads of their
//! own, since a page or a file of it can be somebody's who never answers; the executable's digest is taken
//! by others, slice by slice and the shortest first, so that none keeps a shorter one waiting. What does
//! not come in time, or finds no room, is left out: it is unknown, and nothing else waits for it. So is what
//! the process may have become after it connected (`execs`): an answer waits until that is told.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};

use super::digests::{self, Answer, Digesters, Digests, Wanted};
use super::execs::{Holds, Settling, holds};
use super::message::{Process, Told};
use super::process::{self, Seen, stat_of};
use super::readers::share;
use super::readings::{Executable, Now, Readings};
use super::unread::{BECAME, COMMAND, DIGEST, EXECUTABLE, UNNOTED, UNTOLD, Unread};
use crate::clock::boottime_ns;

/// How long an answer waits for what a thread reads.
const LIMIT: Duration = Duration::from_secs(5);

/// Threads that read command lines and open executables, and those that take digests: as many may hang, for
/// good, in files that somebody serves who never answers. Then no more of that is read of anybody.
const READERS: usize = 8;
const DIGESTERS: usize = 4;

/// Processes that wait to be read.
const QUEUE: usize = 256;

/// Answers that wait.
const WAITING: usize = 4096;

/// Who is being looked at.
pub(super) struct Looking {
    seen: SyncSender<(u64, Seen)>,
    read: Receiver<Read>,
    waker: Arc<OwnedFd>,
    waiting: HashMap<u64, Waiting>,
}

/// An answer that is not whole.
struct Waiting {
    process: Process,
    /// Its number, and when it connected.
    of: (u32, u64),
    unread: Vec<Unread>,
    /// Whether the path of its executable is still to come.
    path_due: bool,
    /// Whether what a thread reads first is still to come, and the digest, which is read last.
    due: (bool, bool),
    content: Content,
    since: Instant,
}

/// Whether command line and executable are of the program that connected.
enum Content {
    /// Not known yet: when they were read, and what the process did since; nothing before that.
    Asked(Option<(u64, Settling)>),
    /// They are.
    Good,
    /// They are not, or it is not known.
    Other,
}

/// What a thread has read.
struct Read {
    number: u64,
    command: Option<Vec<u8>>,
    digest: Digest,
    /// Before all of it was read, and what the process did afterwards; none with a digest that follows.
    around: Option<(u64, Settling)>,
    unread: Vec<Unread>,
}

impl Read {
    /// An executable's digest.
    fn digest(number: u64, digest: [u8; 32]) -> Self {
        let digest = Digest::Known(Some(digest));
        Self { number, command: None, digest, around: None, unread: Vec::new() }
    }

    /// There is no room to read an executable.
    fn none(number: u64) -> Self {
        let (digest, unread) = (Digest::Known(None), vec![lacks("too many wait to be read")]);
        Self { number, command: None, digest, around: None, unread }
    }
}

/// What is known of an executable's content.
enum Digest {
    /// It is still to come.
    ToCome,
    /// It is known, or will not be.
    Known(Option<[u8; 32]>),
}

/// Hands on what was read.
#[derive(Clone)]
struct Reads {
    sender: Sender<Read>,
    waker: Arc<OwnedFd>,
}

impl Reads {
    /// Whether anybody is left to be told.
    fn tell(&self, read: Read) -> bool {
        let told = self.sender.send(read).is_ok();
        // Full, it wakes as well.
        let _ = rustix::io::write(&*self.waker, &1_u64.to_ne_bytes());
        told
    }
}

impl Looking {
    /// Starts the threads.
    pub(super) fn begin() -> io::Result<Self> {
        let waker = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        let (sender, read) = channel();
        let reads = Reads { sender, waker: Arc::clone(&waker) };
        let (seen, to_read) = sync_channel::<(u64, Seen)>(QUEUE);
        let (wanted, to_digest) = sync_channel::<Wanted>(digests::QUEUE);
        let digests = Digests::default();
        let (known, told) = (digests.clone(), reads.clone());
        let digesters = Arc::new(Digesters::new(to_digest));
        let digest = move || {
            digesters.take(&digests, |number, digest| {
                let why = "it changed meanwhile, or cannot be read";
                let unread = digest.is_none().then(|| lacks(why)).into_iter().collect();
                let digest = Digest::Known(digest);
                told.tell(Read { number, command: None, digest, around: None, unread })
            });
        };
        for _ in 0..DIGESTERS {
            std::thread::Builder::new().name("digests".to_owned()).spawn(digest.clone())?;
        }
        share(("looks", READERS), to_read, move |(number, seen): (u64, Seen)| {
            look_at((number, &seen), &known, &wanted, &reads)
        })?;
        Ok(Self { seen, read, waker, waiting: HashMap::new() })
    }

    /// What becomes readable when there is something to tell.
    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.waker.as_fd()
    }

    /// Whether an answer waits for what a process does, and for nothing that wakes.
    pub(super) fn is_unsettled(&self) -> bool {
        self.waiting
            .values()
            .any(|waiting| waiting.path_due || matches!(waiting.content, Content::Asked(Some(_))))
    }

    /// Looks a process up; gives the answer where there is nothing to wait for.
    pub(super) fn look(
        &mut self,
        (number, process, connected): (u64, u32, u64),
        readings: &mut Readings,
    ) -> Option<Told> {
        let of = (process, connected);
        let (seen, unread) = process::see(process, connected);
        let Some(seen) = seen else {
            return Some(Told::Looked { number, process: Box::new(None), unread });
        };
        let process = seen.process.clone();
        let (path_due, due, content) = (true, (true, true), Content::Asked(None));
        let since = Instant::now();
        let mut waiting = Waiting { process, of, unread, path_due, due, content, since };
        let now = readings.now(of.0);
        waiting.ask_path(readings, &now);
        if waiting.is_whole() {
            return Some(waiting.looked(number));
        }
        if self.waiting.len() >= WAITING || self.seen.try_send((number, seen)).is_err() {
            let why = "too many wait to be looked at";
            if waiting.path_due {
                waiting.lack(EXECUTABLE, why);
            }
            waiting.is_other(Some(why));
            return Some(waiting.looked(number));
        }
        self.waiting.insert(number, waiting);
        None
    }

    /// Answers that are known by now, or that have waited long enough.
    pub(super) fn told(&mut self, readings: &mut Readings) -> Vec<Told> {
        // What is read from here on wakes again.
        let _ = rustix::io::read(&*self.waker, &mut [0_u8; 8]);
        while let Ok(read) = self.read.try_recv() {
            // One that waited too long has been answered.
            let Some(waiting) = self.waiting.get_mut(&read.number) else { continue };
            waiting.take(read);
        }
        let mut known = HashMap::new();
        for waiting in self.waiting.values_mut() {
            waiting.settle(readings, &mut known);
        }
        let done = |waiting: &Waiting| waiting.is_whole() || waiting.since.elapsed() >= LIMIT;
        let done = self.waiting.extract_if(|_, waiting| done(waiting));
        done.map(|(number, waiting)| waiting.looked(number)).collect()
    }
}

impl Waiting {
    /// Takes what a thread has read.
    fn take(&mut self, read: Read) {
        self.unread.extend(read.unread);
        self.due.0 = false;
        if let Some(around) = read.around {
            self.process.command = read.command;
            if let Content::Asked(asked) = &mut self.content {
                *asked = Some(around);
            }
        }
        if let Digest::Known(digest) = read.digest {
            self.due.1 = false;
            self.process.digest = digest;
        }
    }

    /// Asks for the path of the executable, as it was.
    fn ask_path(&mut self, readings: &mut Readings, now: &Now) {
        let (process, connected) = self.of;
        self.path_due = false;
        let why = match readings.of(process, connected, now) {
            Executable::Is(path) => {
                self.process.executable = Some(path);
                return;
            }
            Executable::Unknown => return,
            Executable::NotYet => {
                self.path_due = true;
                return;
            }
            Executable::Became => BECAME,
            Executable::Unnoted => UNNOTED,
        };
        self.lack(EXECUTABLE, why);
        // What else could be read is of another program as well.
        self.is_other(Some(why));
    }

    /// Command line and executable are not those of the program that connected; why, where that is known.
    fn is_other(&mut self, why: Option<&str>) {
        self.content = Content::Other;
        self.due = (false, false);
        if let Some(why) = why {
            self.lack(COMMAND, why);
            self.lack(DIGEST, why);
        }
    }

    /// Looks once more at what is not known yet.
    fn settle(&mut self, readings: &mut Readings, known: &mut HashMap<u32, Now>) {
        let (process, connected) = self.of;
        let mut now = || known.entry(process).or_insert_with(|| readings.now(process)).clone();
        if self.path_due {
            let now = now();
            self.ask_path(readings, &now);
            return self.settle_content(connected, &now);
        }
        if matches!(self.content, Content::Asked(Some(_))) {
            let now = now();
            self.settle_content(connected, &now);
        }
    }

    fn settle_content(&mut self, connected: u64, now: &Now) {
        let Content::Asked(Some((read, settling))) = &mut self.content else { return };
        let stat = now.stat.as_ref().filter(|stat| stat.started == self.process.started);
        if let Some(stat) = stat {
            settling.add(stat);
        }
        match holds(now.noted, connected, *read, settling) {
            Holds::Yes => self.content = Content::Good,
            Holds::NotYet if stat.is_some() => {}
            // It is gone, and nobody will know.
            Holds::NotYet => self.is_other(None),
            Holds::No => self.is_other(Some(BECAME)),
            Holds::Unnoted => self.is_other(Some(UNNOTED)),
        }
    }

    fn is_whole(&self) -> bool {
        let told = matches!(self.content, Content::Good | Content::Other);
        told && !self.path_due && self.due == (false, false)
    }

    fn lack(&mut self, what: &str, why: &str) {
        if self.unread.iter().all(|unread| unread.what != what) {
            self.unread.push(Unread { what: what.to_owned(), why: why.to_owned() });
        }
    }

    /// What is known of it by now.
    fn looked(mut self, number: u64) -> Told {
        if !self.is_whole() && self.since.elapsed() >= LIMIT {
            let late = "it was not read in time";
            if self.path_due {
                self.lack(EXECUTABLE, UNTOLD);
            }
            let why = if matches!(self.content, Content::Asked(Some(_))) { UNTOLD } else { late };
            if self.process.command.is_none() || why == UNTOLD {
                self.lack(COMMAND, why);
            }
            if self.process.digest.is_none() || why == UNTOLD {
                self.lack(DIGEST, why);
            }
        }
        if !matches!(self.content, Content::Good) {
            (self.process.command, self.process.digest) = (None, None);
        }
        let Self { process, unread, .. } = self;
        Told::Looked { number, process: Box::new(Some(process)), unread }
    }
}

fn lacks(why: &str) -> Unread {
    Unread { what: DIGEST.to_owned(), why: why.to_owned() }
}

/// Reads what may take its time; whether anybody is left to be told.
fn look_at(
    (number, seen): (u64, &Seen),
    known: &Digests,
    wanted: &SyncSender<Wanted>,
    reads: &Reads,
) -> bool {
    let mut unread = Vec::new();
    let before = boottime_ns();
    let command = process::read(&mut unread, COMMAND, process::command(&seen.place));
    let file = process::read(&mut unread, DIGEST, File::open(seen.place.join("exe")));
    let mut settling = Settling::default();
    for _ in 0..2 {
        // By now it may be gone, and another one have its number.
        match stat_of(&seen.place) {
            Ok(Some(stat)) if stat.started == seen.process.started => settling.add(&stat),
            _ => {
                let around = Some((before, Settling::default()));
                let (command, digest, unread) = (None, Digest::Known(None), Vec::new());
                return reads.tell(Read { number, command, digest, around, unread });
            }
        }
    }
    let around = Some((before, settling));
    let digest = match file.and_then(|file| Wanted::new(number, file)) {
        None => {
            if unread.iter().all(|unread| unread.what != DIGEST) {
                unread.push(lacks("it is too long, no file, or served by a process"));
            }
            Digest::Known(None)
        }
        Some(wants) => {
            // Told before its digest can be.
            let digest = Digest::ToCome;
            if !reads.tell(Read { number, command, digest, around, unread }) {
                return false;
            }
            return digest_of(wants, known, wanted, reads);
        }
    };
    reads.tell(Read { number, command, digest, around, unread })
}

/// Asks for a digest; whether anybody is left to be told.
fn digest_of(wants: Wanted, known: &Digests, wanted: &SyncSender<Wanted>, reads: &Reads) -> bool {
    let number = wants.number();
    match known.ask(wants) {
        Answer::Known(digest) => reads.tell(Read::digest(number, digest)),
        Answer::Shared => true,
        Answer::First(wants) => match wanted.try_send(wants) {
            Ok(()) => true,
            Err(TrySendError::Full(wants) | TrySendError::Disconnected(wants)) => {
                known.leave(&wants).into_iter().all(|number| reads.tell(Read::none(number)))
            }
        },
    }
}
