//! Older: what was connected before it was watched.
//!
//! In: cgroups as they begin to be watched. Out: how many of them there are, and how many connected sockets
//! their processes had then; of each cgroup both at once, when it has been looked at, by a thread of its
//! own: a machine may have tens of thousands of processes, and statements wait for none of them. While one
//! is still being looked at, that is said.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::cgroup::below;

/// What is known.
pub(super) struct Older {
    asks: Sender<(PathBuf, bool)>,
    looked: Receiver<(u64, bool)>,
    sockets: u64,
    found: u64,
    due: u64,
}

impl Older {
    /// Nobody is watched yet.
    pub(super) fn begin() -> io::Result<Self> {
        let (asks, asked) = channel::<(PathBuf, bool)>();
        let (tells, looked) = channel();
        let look = move || {
            while let Ok((cgroup, own)) = asked.recv() {
                if tells.send((older(&cgroup), own)).is_err() {
                    return;
                }
            }
        };
        std::thread::Builder::new().name("older".to_owned()).spawn(look)?;
        Ok(Self { asks, looked, sockets: 0, found: 0, due: 0 })
    }

    /// A cgroup is watched from now on: `own` where sealtap made it; without a folder it is gone already.
    pub(super) fn count(&mut self, folder: Option<PathBuf>, own: bool) {
        match folder.and_then(|folder| self.asks.send((folder, own)).ok()) {
            Some(()) => self.due = self.due.saturating_add(1),
            None => self.found = self.found.saturating_add(u64::from(!own)),
        }
    }

    /// Hears of what was looked at.
    pub(super) fn hear(&mut self) {
        while let Ok((sockets, own)) = self.looked.try_recv() {
            self.sockets = self.sockets.saturating_add(sockets);
            self.found = self.found.saturating_add(u64::from(!own));
            self.due = self.due.saturating_sub(1);
        }
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
}

/// How many connected sockets of TCP and UDP the processes in a cgroup and below it hold.
fn older(cgroup: &Path) -> u64 {
    let mut left = vec![cgroup.to_owned()];
    let (mut held, mut connected) = (BTreeSet::new(), BTreeMap::new());
    while let Some(folder) = left.pop() {
        let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for process in processes.lines().map(|number| PathBuf::from("/proc").join(number)) {
            held.extend(sockets(&process));
            let Ok(space) = fs::metadata(process.join("ns/net")) else { continue };
            connected.entry(space.ino()).or_insert_with(|| connections(&process));
        }
        left.extend(below(&folder));
    }
    let both = held.iter().filter(|socket| connected.values().any(|all| all.contains(socket)));
    u64::try_from(both.count()).unwrap_or(u64::MAX)
}

/// The sockets that a process holds, by inode.
fn sockets(process: &Path) -> Vec<u64> {
    let entries = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    let inode = |entry: fs::DirEntry| {
        let target = fs::read_link(entry.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

/// The connected sockets of a process's network namespace, by inode.
fn connections(process: &Path) -> BTreeSet<u64> {
    let tables = ["tcp", "tcp6", "udp", "udp6"];
    let text =
        tables.map(|table| fs::read_to_string(process.join("net").join(table)).unwrap_or_default());
    text.iter().flat_map(|table| table.lines()).filter_map(connection).collect()
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
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    /// However long it takes, nobody waits; and a cgroup is in both numbers or in none.
    #[test]
    fn a_long_look_keeps_nobody_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let slow = folder.path().join("cgroup.procs");
        mknodat(CWD, &slow, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut older = Older::begin().unwrap();
        older.count(Some(folder.path().to_owned()), false);
        older.count(None, false);
        older.hear();
        assert_eq!((older.sockets(), older.found(), older.due()), (0, 1, 1));
        // Its list comes only now.
        fs::write(&slow, format!("{}\n", std::process::id())).unwrap();
        while older.due() > 0 {
            std::thread::yield_now();
            older.hear();
        }
        assert_eq!(older.found(), 2);
        assert!(older.sockets() > 0);
    }
}
