//! Hooks: who else has programs where ours are, and what was open before ours were there.
//!
//! In: the watched cgroups. Out: numbers of programs that are not ours on the hooks of a watched
//! cgroup and of all above it, and the count of sockets that were connected before (`older.rs`). Whoever has a
//! program there can send packets elsewhere after ours have looked, so it is stated.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use super::cgroup::folder_of;
use super::message::{Foreign, ProgramAt, Uncounted};
use super::older::Older;
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
    /// Those of sealtap's own that were looked at.
    own: BTreeSet<u64>,
    older: Older,
}

impl Hooks {
    /// Nobody is watched yet.
    pub(super) fn new(root: File, path: PathBuf) -> io::Result<Self> {
        let (watched, own, older) = (BTreeMap::new(), BTreeSet::new(), Older::begin()?);
        Ok(Self { root, path, watched, own, older })
    }

    /// A cgroup is watched from now on: `own` where sealtap made it, and nobody is in it yet.
    pub(super) fn watch(&mut self, cgroup: u64, own: bool) {
        if self.watched.contains_key(&cgroup) {
            return;
        }
        let path = folder_of(&self.path, cgroup);
        // One of sealtap's own that is watched again is as empty as before: a look that came late would find whom
        // it is watched for.
        if !own || self.own.insert(cgroup) {
            self.older.count(path.clone(), own);
        }
        let Some(path) = path else { return };
        if let Ok(folder) = File::open(path) {
            self.watched.insert(cgroup, folder);
        }
    }

    /// What was open before, as far as it is known by now.
    pub(super) fn older(&mut self) -> &Older {
        self.older.hear();
        &self.older
    }

    /// Cgroups whose sockets could not be counted, since this was asked last.
    pub(super) fn uncounted(&mut self) -> Vec<Uncounted> {
        self.older.hear();
        self.older.uncounted()
    }

    /// Nobody is in it any more, or it is left alone: watched again, it counts again.
    pub(super) fn unwatch(&mut self, cgroup: u64) {
        self.watched.remove(&cgroup);
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
