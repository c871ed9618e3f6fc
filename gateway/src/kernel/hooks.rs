//! Hooks: who else has programs where ours are, and what was open before ours were there.
//!
//! In: the watched cgroups. Out: numbers of programs that are not ours on the hooks of a watched
//! cgroup and of all above it, and the count of sockets that were connected before. Whoever has a
//! program there can send packets elsewhere after ours have looked, so it is stated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::message::{Foreign, ProgramAt};
use super::raw::{Place, programs_at};

/// Our programs at cgroups, and the numbers of their hooks (`bpf_attach_type` of the kernel).
const AT_CGROUPS: [(&str, u32); 8] = [
    ("sealtap_packets", 1),
    ("sealtap_socket", 3),
    ("sealtap_connect4", 10),
    ("sealtap_connect6", 11),
    ("sealtap_sendmsg4", 14),
    ("sealtap_sendmsg6", 15),
    ("sealtap_asked", 21),
    ("sealtap_option", 22),
];
/// The same at a device, where the kernel can be asked: from 6.6 on.
const AT_DEVICES: (&str, u32) = ("sealtap_uplink", 47);

/// The cgroups of interest.
pub(super) struct Hooks {
    root: File,
    path: PathBuf,
    watched: BTreeMap<u64, File>,
    older: u64,
}

impl Hooks {
    /// Nobody is watched yet.
    pub(super) fn new(root: File, path: PathBuf) -> Self {
        Self { root, path, watched: BTreeMap::new(), older: 0 }
    }

    /// A cgroup is watched from now on.
    pub(super) fn watch(&mut self, cgroup: u64) {
        if self.watched.contains_key(&cgroup) {
            return;
        }
        let Some(path) = find(&self.path, cgroup) else { return };
        self.older = self.older.saturating_add(older(&path));
        if let Ok(folder) = File::open(path) {
            self.watched.insert(cgroup, folder);
        }
    }

    /// Connected sockets that watched processes had when they began to be watched.
    pub(super) fn older(&self) -> u64 {
        self.older
    }

    /// Every program on these hooks that is none of `own`.
    pub(super) fn foreign(&self, own: &[ProgramAt]) -> Vec<Foreign> {
        let mut found = BTreeSet::new();
        let mut add = |name: &str, ids: Vec<u32>| {
            for id in ids.into_iter().filter(|id| own.iter().all(|program| program.id != *id)) {
                found.insert(Foreign { beside: name.to_owned(), id });
            }
        };
        for (name, hook) in AT_CGROUPS {
            for folder in std::iter::once(&self.root).chain(self.watched.values()) {
                add(name, programs_at(Place::Cgroup(folder.as_fd()), hook));
            }
        }
        let (name, hook) = AT_DEVICES;
        for device in own.iter().map(|program| program.device).filter(|device| *device != 0) {
            add(name, programs_at(Place::Device(device), hook));
        }
        found.into_iter().collect()
    }
}

/// The folder of a cgroup, by its number.
fn find(root: &Path, id: u64) -> Option<PathBuf> {
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        if fs::metadata(&folder).is_ok_and(|meta| meta.ino() == id) {
            return Some(folder);
        }
        left.extend(below(&folder));
    }
    None
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
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
