//! The programs: loaded, attached, counted; what they watch is told by [`super::watched`].
//!
//! Attached at the root, since a socket that was made outside of a watched cgroup and is used in it
//! would pass a hook at that cgroup unseen. Detached when this is dropped, unless pinned.

use std::collections::HashMap as Table;
use std::fs::{self, File};
use std::os::fd::RawFd;
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};

use aya::maps::{MapData, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError, ProgramInfo};
use aya::{Ebpf, EbpfLoader};
use sealtap_common::kernel::{Endpoint, Flow, QUERIES, Query, RING, VERSION, Watch};

use super::cgroup::{CgroupError, open_root};
use super::counting::{self, Counting};
use super::execs::Slots;
use super::hooks::Hooks;
use super::message::{Counted, ProgramAt, Uncounted};
use super::names::{Queue, lost};
use super::pins::{self, PinsError};
use super::uplinks;
use super::watched::Watched;

/// The programs at the root without which nothing is watched: connections and sends of both families, what
/// becomes of sockets, what is asked of one, packets.
const REQUIRED: [&str; 7] = [
    "sealtap_connect4",
    "sealtap_connect6",
    "sealtap_sendmsg4",
    "sealtap_sendmsg6",
    "sealtap_socket",
    "sealtap_asked",
    "sealtap_packets",
];
const OPTION: &str = "sealtap_option";

/// How much room the programs have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Bytes for events that wait: a power of two, a page at least.
    pub(super) ring: u32,
    /// The same for queries on their way to the resolver.
    pub(super) queries: u32,
}

impl Default for Sizes {
    fn default() -> Self {
        let size = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { ring: size(RING), queries: size(QUERIES) }
    }
}

/// Why the programs are not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramsError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the kernel programs cannot be read: {0}")]
    Object(#[from] aya::EbpfError),
    #[error("the kernel takes no program {name}: {source}")]
    Program { name: &'static str, source: Box<ProgramError> },
    #[error("the kernel programs lack {0}")]
    Lacks(&'static str),
    #[error("a map of the kernel programs cannot be used: {0}")]
    Map(#[from] aya::maps::MapError),
    #[error(transparent)]
    Pins(#[from] PinsError),
    #[error(
        "the kernel cannot wait for its programs ({0}): that takes a map of maps \
         (BPF_MAP_TYPE_ARRAY_OF_MAPS), at whose writing Linux waits from 4.20 on; sealtap needs Linux 5.15 or \
         later"
    )]
    Wait(std::io::Error),
    #[error("no thread can be had: {0}")]
    Thread(#[from] std::io::Error),
}

/// The programs, attached.
pub(super) struct Programs {
    ebpf: Ebpf,
    counting: Counting,
    queue: Queue,
    /// When processes became other programs, until somebody takes it.
    execs: Option<Slots>,
    attached: Vec<ProgramAt>,
    watched: Watched,
    hooks: Hooks,
    /// Where the links are pinned.
    pins: Option<PathBuf>,
}

impl Programs {
    /// Loads and attaches all of them.
    pub(super) fn attach(object: &[u8], sizes: Sizes) -> Result<Self, ProgramsError> {
        let (root, path) = open_root()?;
        let version = format!("ABI_{VERSION}");
        let mut loader = EbpfLoader::new();
        loader.override_global(&version, &VERSION, true);
        loader.map_max_entries("EVENTS", sizes.ring).map_max_entries("NAMES", sizes.queries);
        let mut ebpf = loader.override_global("RING_BYTES", &sizes.ring, true).load(object)?;
        let mut attached = Vec::new();
        for name in REQUIRED {
            attached.push(attach(&mut ebpf, &root, name)?);
        }
        // An older kernel may not take it; then nothing is said of what it would see.
        if let Ok(option) = attach(&mut ebpf, &root, OPTION) {
            attached.push(option);
        }
        let (execs, exec) = Slots::attach(&mut ebpf)?;
        attached.extend(exec);
        let uplinks = uplinks::attach(&mut ebpf)?;
        let events = ebpf.take_map("EVENTS").ok_or(ProgramsError::Lacks("EVENTS"))?;
        let events = RingBuf::try_from(events)?;
        let queue = ebpf.take_map("NAMES").ok_or(ProgramsError::Lacks("NAMES"))?;
        let queue = Queue::new(RingBuf::try_from(queue)?);
        let links = own_links();
        for program in &mut attached {
            let link = links.iter().find(|(_, link)| link.program == program.id);
            program.link = link.map_or(0, |(id, _)| *id);
        }
        attached.extend(uplinks.into_iter().map(|mut program| {
            let link = links
                .iter()
                .find(|(_, link)| (link.program, link.device) == (program.id, program.device));
            program.link = link.map_or(0, |(id, _)| *id);
            program
        }));
        let (counting, hooks) = (Counting::new(events), Hooks::new(root, path)?);
        let (watched, execs) = (Watched::by(parent_id())?, Some(execs));
        Ok(Self { ebpf, counting, queue, execs, attached, watched, hooks, pins: None })
    }

    /// When processes became other programs; once.
    pub(super) fn take_execs(&mut self) -> Option<Slots> {
        self.execs.take()
    }

    /// Pins every link; they stay when this process is gone.
    pub(super) fn pin(&mut self, folder: PathBuf) -> Result<(), ProgramsError> {
        let links = own_links();
        let pinned: Vec<_> = links
            .iter()
            .map(|(id, link)| {
                let program = self.attached.iter().find(|program| program.link == *id);
                let name = program.map_or_else(|| format!("link_{id}"), pin_name);
                (link.descriptor, name)
            })
            .collect();
        pins::pin(&folder, &pinned)?;
        self.pins = Some(folder);
        Ok(())
    }

    /// Takes the pins away; the links stay with this process.
    pub(super) fn unpin(&mut self) -> Result<(), ProgramsError> {
        if let Some(folder) = self.pins.take() {
            pins::remove(&folder)?;
        }
        Ok(())
    }

    /// Redirects what a cgroup sends; what cannot be redirected is counted, and denied where so said.
    pub(super) fn watch(
        &mut self,
        cgroup: u64,
        levels: u32,
        watch: Watch,
        (resolver, own): (Option<Endpoint>, bool),
    ) -> Result<(), ProgramsError> {
        self.watched.watch(&mut self.ebpf, cgroup, levels, watch, resolver)?;
        self.hooks.watch(cgroup, own);
        Ok(())
    }

    /// Leaves a cgroup alone that was watched.
    pub(super) fn unwatch(&mut self, cgroup: u64) -> Result<(), ProgramsError> {
        self.hooks.unwatch(cgroup);
        self.watched.unwatch(&mut self.ebpf, cgroup)
    }

    /// Leaves these places on the machine alone, and no others.
    pub(super) fn leave_alone(&mut self, places: &[Endpoint]) -> Result<(), ProgramsError> {
        self.watched.leave_alone(&mut self.ebpf, places)
    }

    /// What was counted up to now. The bank is turned and the programs that still count into the old
    /// one are waited for, so that its numbers belong together. What the other bank holds of before is
    /// stable as well, except for what it counts from now on, and that is not read. Tells what went
    /// around and what was asked, and whether these numbers count it.
    pub(super) fn count(
        &mut self,
        mut told: impl FnMut(&Flow, bool),
        mut asked: impl FnMut(&Query, bool),
    ) -> Result<Counted, ProgramsError> {
        let closing = self.watched.bank();
        let before = counting::bank(&self.ebpf, 1 - closing)?;
        let lost_before = lost(&self.ebpf, 1 - closing)?;
        self.watched.turn(&mut self.ebpf)?;
        let closed = counting::bank(&self.ebpf, closing)?;
        let mut told = |flow: &Flow| told(flow, counting::bank_of(flow) == closing);
        self.counting.settle(closing, &closed, &mut told);
        let lost = (lost_before, lost(&self.ebpf, closing)?);
        let names = self.queue.settle(closing, closed.packets.allowed, lost, &mut asked);
        let (connections, packets) = self.counting.together(&before, &closed);
        let foreign = self.hooks.foreign(&self.attached);
        let older = self.hooks.older();
        let (unknown, why_unknown) = older.unknown();
        let (older, watched, due) = (older.sockets(), older.found(), older.due());
        // Behind the numbers, as the links are: what was done while they came about shows.
        let rewritten = self.watched.is_changed(&self.ebpf)?;
        Ok(Counted {
            connections,
            packets,
            names,
            programs: self.links(),
            rewritten,
            foreign,
            older,
            watched,
            due,
            unknown,
            why_unknown,
        })
    }

    /// Cgroups whose sockets could not be counted, since this was asked last.
    pub(super) fn uncounted(&mut self) -> Vec<Uncounted> {
        self.hooks.uncounted()
    }

    /// Hands on what went around since the last look.
    pub(super) fn read_events(&mut self, mut told: impl FnMut(&Flow)) {
        self.counting.read(&mut told);
    }

    /// Hands on what was asked since the last look.
    pub(super) fn read_queries(&mut self, mut told: impl FnMut(&Query)) {
        self.queue.read(&mut told);
    }

    /// What becomes readable when somebody asks.
    pub(super) fn queries(&self) -> &RingBuf<MapData> {
        self.queue.ring()
    }

    /// What becomes readable when something went around.
    pub(super) fn events(&self) -> &RingBuf<MapData> {
        self.counting.ring()
    }

    /// Each program with its link as the kernel has it now.
    pub(super) fn links(&self) -> Vec<ProgramAt> {
        let links = own_links();
        let pins = self.pins.as_ref().map(|folder| pins::names(folder).unwrap_or_default());
        // One whose pin is gone ends with this process, so it does not hold what it is to hold.
        let stays = |program: &ProgramAt| {
            pins.as_ref().is_none_or(|pins| pins.contains(&pin_name(program)))
        };
        let now = |program: &ProgramAt| {
            if program.device != 0 && (program.link == 0 || !uplinks::is_there(program.device)) {
                // No link by which to ask, or its device is gone, and with it the way out.
                return program.clone();
            }
            let link = links.get(&program.link).filter(|_| stays(program));
            let (held, cgroup, device) =
                link.map_or((0, 0, 0), |link| (link.program, link.cgroup, link.device));
            ProgramAt { held, cgroup, device, ..program.clone() }
        };
        self.attached.iter().map(now).collect()
    }
}

/// The name of a link's pin: one program is at several devices.
fn pin_name(program: &ProgramAt) -> String {
    match program.device {
        0 => program.name.clone(),
        device => format!("{}_{device}", program.name),
    }
}

/// Loads a program and attaches it at the root.
fn attach(ebpf: &mut Ebpf, root: &File, name: &'static str) -> Result<ProgramAt, ProgramsError> {
    let program = ebpf.program_mut(name).ok_or(ProgramsError::Lacks(name))?;
    let failed = |source| ProgramsError::Program { name, source: Box::new(source) };
    attach_at(program, root).map_err(failed)?;
    Ok(program_at(name, &program.info().map_err(failed)?))
}

/// The same by its type.
fn attach_at(program: &mut Program, root: &File) -> Result<(), ProgramError> {
    let mode = CgroupAttachMode::Single;
    match program {
        Program::CgroupSockAddr(program) => {
            program.load()?;
            program.attach(root, mode).map(drop)
        }
        Program::CgroupSockopt(program) => {
            program.load()?;
            program.attach(root, mode).map(drop)
        }
        Program::SockOps(program) => {
            program.load()?;
            program.attach(root, mode).map(drop)
        }
        Program::CgroupSkb(program) => {
            program.load()?;
            program.attach(root, CgroupSkbAttachType::Egress, mode).map(drop)
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

pub(super) fn program_at(name: &str, info: &ProgramInfo) -> ProgramAt {
    ProgramAt { name: name.to_owned(), id: info.id(), tag: info.tag(), ..ProgramAt::default() }
}

/// A link as the kernel describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The descriptor by which it is held.
    pub(super) descriptor: RawFd,
    pub(super) program: u32,
    pub(super) cgroup: u64,
    pub(super) device: u32,
}

/// The links that this process holds, by id. `/proc` has what the library does not read: the cgroup.
fn own_links() -> Table<u32, Link> {
    links_of(Path::new("/proc/self"))
}

/// The links that a process holds, by id.
pub(super) fn links_of(process: &Path) -> Table<u32, Link> {
    let entries = fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten();
    let read = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        link(number, &fs::read_to_string(entry.path()).ok()?)
    };
    entries.filter_map(read).collect()
}

/// The link in a descriptor's description, and its id.
pub(super) fn link(descriptor: RawFd, text: &str) -> Option<(u32, Link)> {
    let field = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(field, _)| *field == name).map(|(_, value)| value.trim())
    };
    let (id, program) = (field("link_id")?.parse().ok()?, field("prog_id")?.parse().ok()?);
    let cgroup = field("cgroup_id").and_then(|value| value.parse().ok());
    let device = field("ifindex").and_then(|value| value.parse().ok());
    cgroup.or(device.map(u64::from)).or(field("tp_name").map(|_| 0))?;
    let (cgroup, device) = (cgroup.unwrap_or(0), device.unwrap_or(0));
    Some((id, Link { descriptor, program, cgroup, device }))
}
