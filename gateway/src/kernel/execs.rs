//! Execs: whether what is read of a process is what it was when it connected.
//!
//! In: when the kernel noted that a process became another program (`ebpf/src/exec.rs`), and what `/proc`
//! says of what it does now. Out: whether a reading holds for a moment before or after it, or does not, or
//! cannot be told yet. Where the kernel notes nothing, no reading holds.
//!
//! The kernel notes it when a process has become another, and `/proc` names the other program a while before:
//! as long as that is being mapped, which takes as long as whoever serves its file likes. So it is not enough
//! to read first and to look at what was noted then. A reading is *settled* once the process was seen, after it,
//! to be no longer becoming what was read ([`Settling`]); what was noted by then is all there is to know.

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray};
use aya::programs::RawTracePoint;
use sealtap_common::kernel::EXECS;

use super::message::ProgramAt;
use super::process::Stat;
use super::programs::{ProgramsError, program_at};

/// The program, and where it is.
pub(super) const EXEC: &str = "sealtap_exec";
const TRACEPOINT: &str = "sched_process_exec";
const SLOTS: &str = "EXECUTED";

/// Processor time, in ticks, that nobody spends between the end of mapping a program and word of it:
/// that is a few microseconds, and a machine that stands still is often charged to whoever runs.
const RAN: u64 = 10;

/// What the kernel notes.
pub(super) trait Noted {
    /// When a process became another program the last time (`CLOCK_BOOTTIME`, nanoseconds), or one whose number
    /// shares a slot with it; 0 for never, none where nothing is noted.
    fn latest(&self, process: u32) -> Option<u64>;
}

/// The slots, by processor.
pub(super) struct Slots(Option<PerCpuArray<MapData, u64>>);

impl Slots {
    /// Attaches the program; where the kernel does not take it, nothing is noted.
    pub(super) fn attach(ebpf: &mut Ebpf) -> Result<(Self, Option<ProgramAt>), ProgramsError> {
        let Ok(program) = attach(ebpf) else { return Ok((Self(None), None)) };
        let slots = ebpf.take_map(SLOTS).ok_or(ProgramsError::Lacks(SLOTS))?;
        Ok((Self(Some(PerCpuArray::try_from(slots)?)), Some(program)))
    }
}

fn attach(ebpf: &mut Ebpf) -> Result<ProgramAt, ProgramsError> {
    let failed = |source| ProgramsError::Program { name: EXEC, source: Box::new(source) };
    let program = ebpf.program_mut(EXEC).ok_or(ProgramsError::Lacks(EXEC))?;
    let program: &mut RawTracePoint = program.try_into().map_err(failed)?;
    program.load().map_err(failed)?;
    program.attach(TRACEPOINT).map_err(failed)?;
    Ok(program_at(EXEC, &program.info().map_err(failed)?))
}

impl Noted for Slots {
    fn latest(&self, process: u32) -> Option<u64> {
        let slot = process.checked_rem(u32::try_from(EXECS).ok()?)?;
        self.0.as_ref()?.get(&slot, 0).ok()?.iter().copied().max()
    }
}

/// Whether a process has been seen, since something was read of it, to be done with becoming what was read.
///
/// Who becomes another program has one thread until that runs. The end of mapping it is that its code has an
/// address, which is none before; from there to word of it nothing waits for anybody, and little is
/// done. So it is over for a process with another thread, and for one that sleeps or has worked for long
/// after its code was seen to have an address.
#[derive(Clone, Debug)]
pub(super) struct Settling {
    /// When it was read (`CLOCK_BOOTTIME`, nanoseconds), and when what was taken in last was so.
    read: u64,
    last: u64,
    /// The processor time that it had spent when its code was seen first.
    mapped: Option<u64>,
    settled: bool,
}

impl Settling {
    /// Of what had been read by then.
    pub(super) fn after(read: u64) -> Self {
        Self { read, last: read, mapped: None, settled: false }
    }

    /// Takes in what a process was seen to do by a look that began `at` then. A look says nothing of what was read
    /// after it began, and nothing more when it is taken in again: what it sees, it sees one after the other.
    pub(super) fn add(&mut self, at: u64, seen: &Stat) {
        if at <= self.last {
            return;
        }
        self.last = at;
        if let Some(spent) = self.mapped {
            let worked = seen.spent.saturating_sub(spent) >= RAN;
            self.settled = self.settled || worked || seen.sleeps;
        } else if seen.mapped {
            self.mapped = Some(seen.spent);
        }
        self.settled = self.settled || seen.threads > 1;
    }

    /// The process did something else `at` then, if that is after what was read.
    pub(super) fn went_on(&mut self, at: u64) {
        if at > self.read {
            self.settled = true;
            self.last = self.last.max(at);
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether what was noted by `at` is too old to go by: something was taken in since.
    pub(super) fn is_behind(&self, at: u64) -> bool {
        at < self.last
    }
}

/// Whether a reading is of the program that connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// It is.
    Yes,
    /// It may be of one that the process became afterwards.
    No,
    /// Nothing is noted of it: nobody knows.
    Unnoted,
    /// That is not known yet.
    NotYet,
}

/// Whether what was read of a process holds for the moment in which it `connected`. What was `noted` is known from
/// after whatever settled the reading; `read` is from before it.
pub(super) fn holds(noted: Option<u64>, connected: u64, read: u64, settling: &Settling) -> Holds {
    match noted {
        None => Holds::Unnoted,
        // Who connected later was not becoming anything then: only what is between the two counts.
        Some(noted) if noted >= connected.min(read) => Holds::No,
        Some(_) if settling.is_settled() => Holds::Yes,
        Some(_) => Holds::NotYet,
    }
}
