//! The gateway's programs, attached as its loader attaches them.

use std::any::Any;
use std::fs::File;
use std::io::{Error, Result};
use std::net::SocketAddrV4;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSkbAttachType, Program, ProgramError, ProgramInfo};
use aya::{Ebpf, EbpfLoader};
use sealtap_common::kernel::{Settings, mode};

use super::{Scope, other};

pub(crate) const PACKETS: &str = "sealtap_packets";
const NAMES: [&str; 8] = [
    "sealtap_connect4",
    "sealtap_connect6",
    "sealtap_sendmsg4",
    "sealtap_sendmsg6",
    "sealtap_asked",
    "sealtap_option",
    "sealtap_socket",
    PACKETS,
];

/// How often the loader reads what went around.
const LOOK: Duration = Duration::from_millis(100);

/// What a program took, by the kernel's own measure.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) ns: u64,
    pub(crate) runs: u64,
}

impl Spent {
    /// Since an earlier look.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { ns: self.ns - earlier.ns, runs: self.runs - earlier.runs }
    }

    /// For one run.
    pub(crate) fn each(self) -> f64 {
        self.ns as f64 / self.runs.max(1) as f64
    }
}

/// All of them, until this goes. The one at devices is not among them: the loop has none.
pub(crate) struct Programs {
    ebpf: Ebpf,
    root: File,
    /// Each takes its program off where it is dropped.
    links: Vec<Box<dyn Any>>,
    reading: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
}

impl Programs {
    /// Loads them; nothing is attached yet.
    pub(crate) fn load(object: &Path, scope: &Scope) -> Result<Self> {
        let bytes = std::fs::read(object)?;
        let mut ebpf = EbpfLoader::new().load(&bytes).map_err(other)?;
        for name in NAMES {
            load(ebpf.program_mut(name).ok_or_else(lacks)?).map_err(other)?;
        }
        let ring = RingBuf::try_from(ebpf.take_map("EVENTS").ok_or_else(lacks)?).map_err(other)?;
        let stop = Arc::new(AtomicBool::new(false));
        let reading = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || read(ring, &stop)
        });
        Ok(Self { ebpf, root: scope.open_root()?, reading: Some(reading), stop, links: Vec::new() })
    }

    /// Loads and attaches them.
    pub(crate) fn attached(object: &Path, scope: &Scope) -> Result<Self> {
        let mut programs = Self::load(object, scope)?;
        programs.attach()?;
        Ok(programs)
    }

    /// Attaches them at the root.
    pub(crate) fn attach(&mut self) -> Result<()> {
        for name in NAMES {
            let program = self.ebpf.program_mut(name).ok_or_else(lacks)?;
            self.links.push(attach(program, &self.root).map_err(other)?);
        }
        Ok(())
    }

    /// Takes them off; what they were told stays.
    pub(crate) fn detach(&mut self) {
        self.links.clear();
    }

    /// Redirects what `scope` sends to a port of the loopback; leaves one place there alone.
    pub(crate) fn watch(&mut self, scope: &Scope, port: u16, alone: SocketAddrV4) -> Result<()> {
        let watched = self.ebpf.map_mut("WATCHED").ok_or_else(lacks)?;
        let mut watched: HashMap<_, u64, [u32; 2]> = watched.try_into().map_err(other)?;
        let (id, watch) = (scope.id()?, [mode::OBSERVE, port.into()]);
        watched.insert(id, watch, 0).map_err(other)?;
        let places = self.ebpf.map_mut("LOOPBACK").ok_or_else(lacks)?;
        let mut places: HashMap<_, [u32; 5], u32> = places.try_into().map_err(other)?;
        let address = u32::from_ne_bytes(alone.ip().octets());
        let place = [0, 0, 0xffff_u32.to_be(), address, alone.port().into()];
        places.insert(place, 0, 0).map_err(other)?;
        let settings = self.ebpf.map_mut("SETTINGS").ok_or_else(lacks)?;
        const WORDS: usize = size_of::<Settings>() / size_of::<u32>();
        let mut settings: Array<_, [u32; WORDS]> = settings.try_into().map_err(other)?;
        // One level below the root; no other cgroup is watched; one place that is left alone; whose network
        // namespace is whose is not asked; no resolver; this is the gateway.
        let ([low, high], [mode, port]) = (halves(id), watch);
        let [some, others] = halves(Settings::port_bit(alone.port().into()));
        let own = std::process::id();
        let whole = [2, 0, 2, 1, low, high, mode, port, some, others, 0, 0, 0, 0, 0, 0, 0, own];
        settings.set(0, whole, 0).map_err(other)
    }

    /// What one of them took so far, while the kernel was asked to measure.
    pub(crate) fn spent(&self, name: &str) -> Result<Spent> {
        let program = self.ebpf.program(name).ok_or_else(lacks)?;
        let info: ProgramInfo = program.info().map_err(other)?;
        let ns = u64::try_from(info.run_time().as_nanos()).map_err(other)?;
        Ok(Spent { ns, runs: info.run_count() })
    }

    /// What all of them took so far, likewise.
    pub(crate) fn spent_by_all(&self) -> Result<Spent> {
        NAMES.into_iter().map(|name| self.spent(name)).try_fold(Spent::default(), |all, one| {
            let one = one?;
            Ok(Spent { ns: all.ns + one.ns, runs: all.runs + one.runs })
        })
    }

    /// Packets in scope so far.
    pub(crate) fn packets(&self) -> Result<u64> {
        let counted = self.ebpf.map("COUNTED").ok_or_else(lacks)?;
        let counted: PerCpuArray<_, [u64; 16]> = counted.try_into().map_err(other)?;
        let bank = counted.get(&0, 0).map_err(other)?;
        Ok(bank.iter().map(|processor| processor[8]).sum())
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.reading.take().map(JoinHandle::join);
    }
}

/// Loads one by its type.
fn load(program: &mut Program) -> std::result::Result<(), ProgramError> {
    match program {
        Program::CgroupSockAddr(program) => program.load(),
        Program::CgroupSockopt(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupSkb(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

/// Attaches one at the root, likewise; its link.
fn attach(program: &mut Program, root: &File) -> std::result::Result<Box<dyn Any>, ProgramError> {
    let mode = CgroupAttachMode::Single;
    match program {
        Program::CgroupSockAddr(program) => {
            let link = program.attach(root, mode)?;
            Ok(Box::new(program.take_link(link)?))
        }
        Program::CgroupSockopt(program) => {
            let link = program.attach(root, mode)?;
            Ok(Box::new(program.take_link(link)?))
        }
        Program::SockOps(program) => {
            let link = program.attach(root, mode)?;
            Ok(Box::new(program.take_link(link)?))
        }
        Program::CgroupSkb(program) => {
            let link = program.attach(root, CgroupSkbAttachType::Egress, mode)?;
            Ok(Box::new(program.take_link(link)?))
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn read(mut ring: RingBuf<MapData>, stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        while ring.next().is_some() {}
        std::thread::sleep(LOOK);
    }
}

/// A double word, as two words of memory.
fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}

fn lacks() -> Error {
    Error::other("the kernel programs are not what the bench knows")
}
