//! Looking: who connected, without anybody waiting for it.
//!
//! In: a process and when it connected. Out: who it is. What `/proc` says without asking the process's
//! memory or its files is read at once, and once for all that ask meanwhile; the rest by threads (`contents`).
//! What does not come in time, or finds no room, is left out: it is unknown, and nothing else waits for it. So is
//! what the process may have become after it connected (`execs`): an answer waits until that is told. While it
//! does, the process is looked at again and again, less often each time (`looked`).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::contents::{Asked, Contents};
use super::looked::{Key, Looked};
use super::message::{Process, Told};
use super::process;
use super::readings::Readings;
use super::shares::Shares;
use super::unread::Unread;
use super::waiting::{LIMIT, Waiting};
use crate::clock::boottime_ns;

/// Answers that wait; a scope alone may have half of that.
const WAITING: usize = 8192;

/// Processes that were seen in one round.
const SEEN: usize = 1024;

/// How long processes are looked at before others have a turn.
const ROUND: Duration = Duration::from_millis(20);

/// Who is being looked at.
pub(super) struct Looking {
    contents: Contents,
    processes: HashMap<Key, Looked>,
    /// When each is to be looked at again.
    due: BTreeSet<(Instant, Key)>,
    /// The processes of readings that are not done, by number; and the last of these.
    asked: HashMap<u64, Key>,
    number: u64,
    /// Answers in the order in which they will have waited too long.
    late: VecDeque<(Instant, Key)>,
    places: Shares,
    /// Who was seen in this round, and since when.
    seen: HashMap<u32, (u64, Process, Vec<Unread>)>,
}

/// Who asks.
#[derive(Clone, Copy)]
pub(super) struct Asks {
    /// Its number.
    pub(super) number: u64,
    /// The process.
    pub(super) process: u32,
    /// When it connected.
    pub(super) connected: u64,
    /// The id of the watched cgroup for which it is looked up.
    pub(super) scope: u64,
}

impl Looking {
    /// Starts the threads.
    pub(super) fn begin() -> io::Result<Self> {
        Ok(Self {
            contents: Contents::begin()?,
            processes: HashMap::new(),
            due: BTreeSet::new(),
            asked: HashMap::new(),
            number: 0,
            late: VecDeque::new(),
            places: Shares::new(WAITING),
            seen: HashMap::new(),
        })
    }

    /// What becomes readable when there is something to tell.
    pub(super) fn waker(&self) -> BorrowedFd<'_> {
        self.contents.waker()
    }

    /// How long there is nothing to look at unless something wakes; none for as long as that takes.
    pub(super) fn pause(&self) -> Option<Duration> {
        let (when, _) = self.due.first()?;
        Some(when.saturating_duration_since(Instant::now()))
    }

    /// Takes a question; gives answers that are known at once.
    pub(super) fn ask(&mut self, asks: Asks, readings: &mut Readings) -> Vec<Told> {
        let Asks { number, process, connected, scope } = asks;
        let (found, unread) = self.see(process, connected);
        let Some(found) = found else {
            return vec![Told::Looked { number, process: Box::new(None), unread }];
        };
        let key = (process, found.started);
        let waiting = Waiting::new((number, scope), found, connected, unread);
        if !self.places.take(scope) {
            return vec![waiting.refused("too many wait to be looked at")];
        }
        self.late.push_back((waiting.since + LIMIT, key));
        // Any moment it may be gone; one that is known can wait for who else asks.
        let is_new = !self.processes.contains_key(&key);
        self.processes.entry(key).or_insert_with(|| Looked::new(key)).push(waiting);
        if is_new {
            let told = self.look(key, readings);
            return told.into_iter().map(|(scope, told)| self.gives(scope, told)).collect();
        }
        self.plan(key, Some(Duration::ZERO));
        Vec::new()
    }

    /// Who a process is; what was read for another question serves, if this one's connection is older than that.
    fn see(&mut self, process: u32, connected: u64) -> (Option<Process>, Vec<Unread>) {
        if let Some((since, seen, unread)) = self.seen.get(&process)
            && connected < *since
            && process::was_there(seen.started, connected)
        {
            return (Some(seen.clone()), unread.clone());
        }
        let since = boottime_ns();
        let (seen, unread) = process::see(process, connected);
        if let Some(seen) = &seen
            && self.seen.len() < SEEN
        {
            self.seen.insert(process, (since, seen.clone(), unread.clone()));
        }
        (seen, unread)
    }

    /// Answers that are known by now, or that have waited long enough.
    pub(super) fn told(&mut self, readings: &mut Readings) -> Vec<Told> {
        self.seen.clear();
        let mut told = Vec::new();
        let read: Vec<_> = self.contents.read().collect();
        for read in read {
            let Some(key) = self.asked.get(&read.number).copied() else { continue };
            if let Some(looked) = self.processes.get_mut(&key) {
                looked.take(read);
                self.plan(key, Some(Duration::ZERO));
            }
        }
        let now = Instant::now();
        while let Some((when, key)) = self.due.first().copied()
            && when <= now
            && now.elapsed() < ROUND
        {
            told.extend(self.look(key, readings));
        }
        while let Some((when, key)) = self.late.front().copied()
            && when <= now
        {
            self.late.pop_front();
            let late = self.processes.get_mut(&key).map(Looked::late).unwrap_or_default();
            if !late.is_empty() {
                self.plan(key, Some(Duration::ZERO));
            }
            told.extend(late);
        }
        told.into_iter().map(|(scope, told)| self.gives(scope, told)).collect()
    }

    /// Looks once more at what is not known yet of a process.
    fn look(&mut self, key: Key, readings: &mut Readings) -> Vec<(u64, Told)> {
        self.plan(key, None);
        let Some(looked) = self.processes.get_mut(&key) else { return Vec::new() };
        self.number = self.number.saturating_add(1);
        let number = self.number;
        let next = looked.look(readings, number);
        let (mut told, mut again) = (next.told, next.again);
        if let Some(scope) = next.asks {
            let place = PathBuf::from(format!("/proc/{}", key.0));
            if self.contents.ask(Asked { number, scope, place, started: key.1 }) {
                self.asked.insert(number, key);
            } else {
                told.extend(looked.refuse(number, "too many wait to be looked at"));
                // What else is left of it is looked at, or forgotten.
                again = Some(Duration::ZERO);
            }
        }
        for number in next.forgotten {
            self.asked.remove(&number);
        }
        if looked.is_done() {
            self.processes.remove(&key);
        } else {
            self.plan(key, again);
        }
        told
    }

    fn gives(&mut self, scope: u64, told: Told) -> Told {
        self.places.give(scope);
        told
    }

    /// Has a process looked at after a while, and not before.
    fn plan(&mut self, key: Key, after: Option<Duration>) {
        let Some(looked) = self.processes.get_mut(&key) else { return };
        let when = after.map(|after| Instant::now() + after);
        if let Some(due) = std::mem::replace(&mut looked.due, when) {
            self.due.remove(&(due, key));
        }
        self.due.extend(when.map(|when| (when, key)));
    }
}
