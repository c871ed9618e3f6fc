//! Older: what was connected before it was watched.
//!
//! In: cgroups as they begin to be watched. Out: how many of them there are, and how many connected sockets
//! their processes had then; of each cgroup both at once, when it has been looked at, by threads for
//! nothing else: a machine may have tens of thousands of processes, and a process a million descriptors;
//! statements wait for none of them, and a cgroup for no other, unless several take long. While one is still
//! being looked at, that is said; so it is, as soon as it is known, of one that took too long or could not be
//! read to its end, which is in no number then: no part of it, and no zero.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Dir, Mode, OFlags, openat, readlinkat_raw};
use rustix::io::Errno;

use super::message::Uncounted;

/// How long one cgroup is looked at; and how much of it between two looks at the clock.
const LIMIT: Duration = Duration::from_secs(60);
const OFTEN: usize = 1024;

/// How many are looked at side by side: the machine has other things to do.
const SIDE_BY_SIDE: usize = 4;

/// Room for what a descriptor of a socket is called, by its inode.
const SOCKET: usize = 64;

/// A cgroup that is to be looked at, by its folder, and whether sealtap made it.
type Asked = (PathBuf, bool);

/// What came of it.
type Looked = (Asked, io::Result<u64>);

/// What is known.
pub(super) struct Older {
    asks: Sender<Asked>,
    looked: Receiver<Looked>,
    sockets: u64,
    found: u64,
    due: u64,
    unknown: u64,
    why: Option<String>,
    /// Those among the unknown that nobody was told of.
    uncounted: Vec<Uncounted>,
}

impl Older {
    /// Nobody is watched yet.
    pub(super) fn begin() -> io::Result<Self> {
        Self::within(LIMIT)
    }

    /// The same, with another limit for each cgroup.
    fn within(limit: Duration) -> io::Result<Self> {
        let (asks, asked) = channel();
        let (tells, looked) = channel();
        let asked = Arc::new(Mutex::new(asked));
        for _ in 0..SIDE_BY_SIDE {
            let (asked, tells) = (Arc::clone(&asked), tells.clone());
            let look = move || look(&asked, &tells, limit);
            std::thread::Builder::new().name("older".to_owned()).spawn(look)?;
        }
        let (why, uncounted) = (None, Vec::new());
        Ok(Self { asks, looked, sockets: 0, found: 0, due: 0, unknown: 0, why, uncounted })
    }

    /// A cgroup is watched from now on: `own` where sealtap made it; without a folder it is gone already.
    pub(super) fn count(&mut self, folder: Option<PathBuf>, own: bool) {
        match folder.map(|folder| self.asks.send((folder, own))) {
            Some(Ok(())) => self.due = self.due.saturating_add(1),
            Some(Err(SendError((folder, _)))) => {
                self.lacks(&folder, "the threads that count them are gone".to_owned());
            }
            None => self.found = self.found.saturating_add(u64::from(!own)),
        }
    }

    /// Hears of what was looked at.
    pub(super) fn hear(&mut self) {
        while let Ok(((folder, own), sockets)) = self.looked.try_recv() {
            self.due = self.due.saturating_sub(1);
            match sockets {
                Ok(sockets) => {
                    self.sockets = self.sockets.saturating_add(sockets);
                    self.found = self.found.saturating_add(u64::from(!own));
                }
                Err(error) => self.lacks(&folder, error.to_string()),
            }
        }
    }

    fn lacks(&mut self, folder: &Path, why: String) {
        self.unknown = self.unknown.saturating_add(1);
        self.why.get_or_insert_with(|| why.clone());
        self.uncounted.push(Uncounted { folder: folder.display().to_string(), why });
    }

    /// Cgroups that became unknown since this was asked last.
    pub(super) fn uncounted(&mut self) -> Vec<Uncounted> {
        std::mem::take(&mut self.uncounted)
    }

    /// Connected sockets that watched processes had when they began to be watched.
    pub(super) fn sockets(&self) -> u64 {
        self.sockets
    }

    /// Cgroups that began to be watched, other than sealtap's own.
    pub(super) fn found(&self) -> u64 {
        self.found
    }

    /// Cgroups that are watched and in none of these numbers yet.
    pub(super) fn due(&self) -> u64 {
        self.due
    }

    /// Cgroups that are watched and will be in none of these numbers, and why the first of them is not.
    pub(super) fn unknown(&self) -> (u64, Option<String>) {
        (self.unknown, self.why.clone())
    }
}

/// Looks at one cgroup after the other, beside other threads that do.
fn look(asked: &Mutex<Receiver<Asked>>, tells: &Sender<Looked>, limit: Duration) {
    loop {
        // Kept only until there is one: the others wait for the next.
        let next = asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(next) = next else { return };
        let counted = older(&next.0, &mut Left::of(limit));
        if tells.send((next, counted)).is_err() {
            return;
        }
    }
}

/// What is left of the time for one cgroup.
struct Left {
    until: Instant,
    since: usize,
}

impl Left {
    fn of(limit: Duration) -> Self {
        Self { until: Instant::now() + limit, since: 0 }
    }

    /// One thing more was looked at.
    fn one_more(&mut self) -> io::Result<()> {
        self.since = self.since.saturating_add(1);
        if self.since >= OFTEN {
            self.since = 0;
            self.look()?;
        }
        Ok(())
    }

    fn look(&self) -> io::Result<()> {
        match Instant::now() < self.until {
            true => Ok(()),
            false => Err(io::Error::new(io::ErrorKind::TimedOut, "their tables are too long")),
        }
    }
}

/// How many connected sockets of TCP and UDP the processes in a cgroup and below it hold.
///
/// # Errors
///
/// It took too long, or something is there and cannot be read: nothing is known then.
fn older(cgroup: &Path, left: &mut Left) -> io::Result<u64> {
    let processes = processes(cgroup, left)?;
    let mut held = HashSet::new();
    for process in &processes {
        // So it is where the first thread has ended, and others go on with what it held.
        if descriptors(process, &mut held, left)? == 0 {
            for thread in folders(&process.join("task"))? {
                descriptors(&thread, &mut held, left)?;
            }
        }
        left.look()?;
    }
    let (mut spaces, mut connected) = (HashSet::new(), 0_u64);
    for process in &processes {
        // Whatever else is connected is none of theirs.
        if held.is_empty() {
            break;
        }
        let Some(space) = there(fs::metadata(process.join("ns/net")))? else { continue };
        if spaces.contains(&space.ino()) {
            continue;
        }
        let (read, found) = connections(process, &mut held, left)?;
        connected = connected.saturating_add(found);
        if read {
            spaces.insert(space.ino());
        }
        left.look()?;
    }
    Ok(connected)
}

/// Where `/proc` has those that are in a cgroup or below it: processes, or threads where it may hold single ones.
fn processes(cgroup: &Path, left: &mut Left) -> io::Result<Vec<PathBuf>> {
    let (mut ahead, mut found) = (vec![cgroup.to_owned()], Vec::new());
    while let Some(folder) = ahead.pop() {
        let mut listed = fs::read_to_string(folder.join("cgroup.procs"));
        if listed.as_ref().is_err_and(|error| is(error, &[Errno::OPNOTSUPP])) {
            listed = fs::read_to_string(folder.join("cgroup.threads"));
        }
        let Some(listed) = there(listed)? else { continue };
        found.extend(listed.lines().map(|number| PathBuf::from("/proc").join(number)));
        ahead.extend(folders(&folder)?);
        left.look()?;
    }
    Ok(found)
}

/// The folders right below one; none where that is gone.
fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in there(fs::read_dir(folder))?.into_iter().flatten() {
        let Some(entry) = there(entry)? else { break };
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Adds the sockets that a process or thread holds, by inode; gives how many descriptors it has.
fn descriptors(process: &Path, held: &mut HashSet<u64>, left: &mut Left) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(CWD, process.join("fd"), flags, Mode::empty()).map_err(io::Error::from);
    let Some(folder) = there(folder)? else { return Ok(0) };
    let mut all = 0_u64;
    for entry in Dir::read_from(&folder)? {
        let Some(entry) = there(entry.map_err(io::Error::from))? else { break };
        let mut name = [0; SOCKET];
        let read = readlinkat_raw(&folder, entry.file_name(), &mut name);
        left.one_more()?;
        // It was closed meanwhile; the two that are no links are the folder and the one above it.
        let read = read.map_err(io::Error::from).or_else(no_link).or_else(no_socket);
        let Some(length) = there(read)? else { continue };
        all = all.saturating_add(1);
        held.extend(name.get(..length).and_then(inode));
    }
    Ok(all)
}

fn no_link(error: io::Error) -> io::Result<usize> {
    Err(if is(&error, &[Errno::INVAL]) { Errno::NOENT.into() } else { error })
}

/// What lies too deep for the system to name it is no socket: the names of those are short.
fn no_socket(error: io::Error) -> io::Result<usize> {
    if is(&error, &[Errno::NAMETOOLONG]) { Ok(0) } else { Err(error) }
}

/// The inode in the name of a socket's descriptor.
fn inode(name: &[u8]) -> Option<u64> {
    let name = std::str::from_utf8(name).ok()?;
    name.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Takes off the list of what is held what is connected in a process's network namespace; whether the process was
/// there, and how many of the list were connected.
fn connections(
    process: &Path,
    held: &mut HashSet<u64>,
    left: &mut Left,
) -> io::Result<(bool, u64)> {
    let (place, mut found) = (process.join("net"), 0_u64);
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        // One of a family that the kernel does not have is not there.
        let Some(table) = there(File::open(place.join(table)))? else { continue };
        for line in BufReader::with_capacity(1 << 16, table).lines() {
            let is_held = connection(&line?).is_some_and(|socket| held.remove(&socket));
            found = found.saturating_add(u64::from(is_held));
            left.one_more()?;
        }
    }
    // One that went meanwhile may not have shown all.
    Ok((there(fs::metadata(&place))?.is_some(), found))
}

/// What was read, where it is still there: what is gone holds nothing.
fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    const GONE: [Errno; 5] = [Errno::NOENT, Errno::SRCH, Errno::NODEV, Errno::NOTDIR, Errno::NXIO];
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if is(&error, &GONE) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is(error: &io::Error, codes: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|code| codes.contains(&code))
}

/// The inode in a line of such a table, if the socket has another end.
pub(super) fn connection(line: &str) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace();
    let (_, port) = fields.nth(2)?.rsplit_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let inode = fields.nth(6)?.parse().ok()?;
    (port != 0 && inode != 0).then_some(inode)
}

#[cfg(test)]
mod tests;
