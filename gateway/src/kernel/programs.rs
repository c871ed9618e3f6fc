//! The programs: loaded, attached, told what to watch, counted.
//!
//! Attached at the root, since a socket that was made outside of a watched cgroup and is used in it
//! would pass a hook at that cgroup unseen. Detached when this is dropped, unless pinned.

use std::collections::HashMap as Table;
use std::fs;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSockAddr, CgroupSockopt, ProgramInfo, SockOps};
use aya::{Ebpf, EbpfLoader};
use rustix::thread::{MembarrierCommand, membarrier};
use sealtap_common::kernel::{Bank, Counters, Endpoint, Flow, Settings, Watch, flag};

use super::cgroup::{CgroupError, open_root};
use super::message::{Counted, ProgramAt};
use super::pins::{self, PinsError};
use super::raw::{Value, flow_in};

/// The programs at addresses: connections and sends of both families.
const ADDRESSES: [&str; 4] =
    ["sealtap_connect4", "sealtap_connect6", "sealtap_sendmsg4", "sealtap_sendmsg6"];
const SOCKET: &str = "sealtap_socket";
const ASKED: &str = "sealtap_asked";

/// Why the programs are not there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramsError {
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    #[error("the kernel programs cannot be read: {0}")]
    Object(#[from] aya::EbpfError),
    #[error("the kernel takes no program {name}: {source}")]
    Program { name: &'static str, source: Box<aya::programs::ProgramError> },
    #[error("the kernel programs lack {0}")]
    Lacks(&'static str),
    #[error("a map of the kernel programs cannot be used: {0}")]
    Map(#[from] aya::maps::MapError),
    #[error(transparent)]
    Pins(#[from] PinsError),
    #[error("the kernel cannot wait for its programs: {0}")]
    Wait(#[from] rustix::io::Errno),
}

/// The programs, attached.
pub(super) struct Programs {
    ebpf: Ebpf,
    events: RingBuf<MapData>,
    attached: Vec<ProgramAt>,
    settings: Settings,
    /// Events that were read, by the bank that they were counted in.
    events_read: [u64; 2],
    /// The same when that bank was closed last.
    events_closed: [u64; 2],
    /// Where the links are pinned.
    pins: Option<PathBuf>,
}

impl Programs {
    /// Loads and attaches all of them.
    pub(super) fn attach(object: &[u8]) -> Result<Self, ProgramsError> {
        let (root, _) = open_root()?;
        let mut ebpf = EbpfLoader::new().load(object)?;
        let mut attached = Vec::new();
        for name in ADDRESSES {
            let failed = |source| ProgramsError::Program { name, source: Box::new(source) };
            let program = ebpf.program_mut(name).ok_or(ProgramsError::Lacks(name))?;
            let program: &mut CgroupSockAddr = program.try_into().map_err(failed)?;
            program.load().map_err(failed)?;
            program.attach(&root, CgroupAttachMode::Single).map_err(failed)?;
            let info = program.info().map_err(failed)?;
            attached.push(program_at(name, &info));
        }
        {
            let failed = |source| ProgramsError::Program { name: SOCKET, source: Box::new(source) };
            let program = ebpf.program_mut(SOCKET).ok_or(ProgramsError::Lacks(SOCKET))?;
            let program: &mut SockOps = program.try_into().map_err(failed)?;
            program.load().map_err(failed)?;
            program.attach(&root, CgroupAttachMode::Single).map_err(failed)?;
            let info = program.info().map_err(failed)?;
            attached.push(program_at(SOCKET, &info));
        }
        {
            let failed = |source| ProgramsError::Program { name: ASKED, source: Box::new(source) };
            let program = ebpf.program_mut(ASKED).ok_or(ProgramsError::Lacks(ASKED))?;
            let program: &mut CgroupSockopt = program.try_into().map_err(failed)?;
            program.load().map_err(failed)?;
            program.attach(&root, CgroupAttachMode::Single).map_err(failed)?;
            let info = program.info().map_err(failed)?;
            attached.push(program_at(ASKED, &info));
        }
        let events = ebpf.take_map("EVENTS").ok_or(ProgramsError::Lacks("EVENTS"))?;
        let events = RingBuf::try_from(events)?;
        let links = own_links();
        for program in &mut attached {
            let link = links.iter().find(|(_, link)| link.program == program.id);
            program.link = link.map_or(0, |(id, _)| *id);
        }
        let settings = Settings::default();
        let (events_read, events_closed, pins) = ([0; 2], [0; 2], None);
        Ok(Self { ebpf, events, attached, settings, events_read, events_closed, pins })
    }

    /// Pins every link; they stay when this process is gone.
    pub(super) fn pin(&mut self, folder: PathBuf) -> Result<(), ProgramsError> {
        let links = own_links();
        let pinned: Vec<_> = links
            .iter()
            .map(|(id, link)| {
                let program = self.attached.iter().find(|program| program.link == *id);
                let name = program.map_or_else(|| format!("link_{id}"), |at| at.name.clone());
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
        resolver: Option<Endpoint>,
    ) -> Result<(), ProgramsError> {
        let watched = self.ebpf.map_mut("WATCHED").ok_or(ProgramsError::Lacks("WATCHED"))?;
        let mut watched: HashMap<_, u64, Value<Watch>> = watched.try_into()?;
        watched.insert(cgroup, Value(watch), 0)?;
        self.settings.levels |= levels;
        self.settings.resolver = resolver.unwrap_or_default();
        self.set()
    }

    /// Leaves a cgroup alone that was watched.
    pub(super) fn unwatch(&mut self, cgroup: u64) -> Result<(), ProgramsError> {
        let watched = self.ebpf.map_mut("WATCHED").ok_or(ProgramsError::Lacks("WATCHED"))?;
        let mut watched: HashMap<_, u64, Value<Watch>> = watched.try_into()?;
        match watched.remove(&cgroup) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set(&mut self) -> Result<(), ProgramsError> {
        let settings = self.ebpf.map_mut("SETTINGS").ok_or(ProgramsError::Lacks("SETTINGS"))?;
        let mut settings: Array<_, Value<Settings>> = settings.try_into()?;
        Ok(settings.set(0, Value(self.settings), 0)?)
    }

    /// What was counted up to now. The bank is turned and the programs that still count into the old
    /// one are waited for, so that its numbers belong together. What the other bank holds of before is
    /// stable as well, except for what it counts from now on, and that is not read.
    pub(super) fn count(&mut self, told: impl FnMut(&Flow)) -> Result<Counted, ProgramsError> {
        let before = self.sum(1 - self.settings.bank)?;
        self.settings.bank = 1 - self.settings.bank;
        self.set()?;
        // Waits until each program that runs now has ended (`synchronize_rcu`).
        membarrier(MembarrierCommand::Global)?;
        let closed = self.sum(1 - self.settings.bank)?;
        self.read_events(told);
        // What was read already of the bank that counts now is for the next statement.
        let [even, odd] = self.events_read;
        match self.settings.bank {
            0 => self.events_closed[1] = odd,
            _ => self.events_closed[0] = even,
        }
        let [even, odd] = self.events_closed;
        let add = |field: fn(&Counters) -> u64| {
            field(&before.connections).saturating_add(field(&closed.connections))
        };
        Ok(Counted {
            seen: add(|counters| counters.seen),
            via_gateway: add(|counters| counters.via_gateway),
            loopback: add(|counters| counters.loopback),
            allowed: add(|counters| counters.allowed),
            bypass_denied: add(|counters| counters.bypass_denied),
            bypass_passed: add(|counters| counters.bypass_passed),
            unparsable: add(|counters| counters.unparsable),
            events_lost: add(|counters| counters.events_lost),
            events_read: even.saturating_add(odd),
            programs: self.links(),
        })
    }

    fn sum(&self, bank: u32) -> Result<Bank, ProgramsError> {
        let counted = self.ebpf.map("COUNTED").ok_or(ProgramsError::Lacks("COUNTED"))?;
        let counted: PerCpuArray<_, Value<Bank>> = counted.try_into()?;
        let mut sum = Bank::default();
        for processor in counted.get(&bank, 0)?.iter() {
            sum.connections = together(&sum.connections, &processor.0.connections);
            sum.packets = together(&sum.packets, &processor.0.packets);
        }
        Ok(sum)
    }

    /// Hands on what went around since the last look.
    pub(super) fn read_events(&mut self, mut told: impl FnMut(&Flow)) {
        while let Some(event) = self.events.next() {
            let Some(flow) = flow_in(&event) else { continue };
            let [even, odd] = &mut self.events_read;
            let read = if flow.flags & flag::ODD_BANK == 0 { even } else { odd };
            *read = read.saturating_add(1);
            told(&flow);
        }
    }

    /// What becomes readable when something went around.
    pub(super) fn events(&self) -> &RingBuf<MapData> {
        &self.events
    }

    /// Each program with its link as the kernel has it now.
    pub(super) fn links(&self) -> Vec<ProgramAt> {
        let links = own_links();
        let pins = self.pins.as_ref().map(|folder| pins::names(folder).unwrap_or_default());
        // One whose pin is gone ends with this process, so it does not hold what it is to hold.
        let stays =
            |program: &ProgramAt| pins.as_ref().is_none_or(|pins| pins.contains(&program.name));
        let now = |program: &ProgramAt| {
            let link = links.get(&program.link).filter(|_| stays(program));
            let (held, cgroup) = link.map_or((0, 0), |link| (link.program, link.cgroup));
            ProgramAt { held, cgroup, ..program.clone() }
        };
        self.attached.iter().map(now).collect()
    }
}

fn program_at(name: &str, info: &ProgramInfo) -> ProgramAt {
    ProgramAt { name: name.to_owned(), id: info.id(), tag: info.tag(), ..ProgramAt::default() }
}

/// A link as the kernel describes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The descriptor by which it is held.
    pub(super) descriptor: RawFd,
    pub(super) program: u32,
    pub(super) cgroup: u64,
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
    Some((id, Link { descriptor, program, cgroup: field("cgroup_id")?.parse().ok()? }))
}

fn together(one: &Counters, other: &Counters) -> Counters {
    let add = |field: fn(&Counters) -> u64| field(one).wrapping_add(field(other));
    Counters {
        seen: add(|counters| counters.seen),
        via_gateway: add(|counters| counters.via_gateway),
        loopback: add(|counters| counters.loopback),
        allowed: add(|counters| counters.allowed),
        bypass_denied: add(|counters| counters.bypass_denied),
        bypass_passed: add(|counters| counters.bypass_passed),
        unparsable: add(|counters| counters.unparsable),
        events_lost: add(|counters| counters.events_lost),
    }
}
