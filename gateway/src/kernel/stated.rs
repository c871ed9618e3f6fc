//! Stated: what the loader says, as leaves have it.
//!
//! In: what is attached, and what was counted. Out: the parts of leaves, or why there can be none: numbers
//! that do not add up, or a program that no list names.

use std::time::{Duration, Instant};

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    Armed, At, Attached, Channel, ChannelState, Counts, CoverageMode, Foreign, KernelProgram,
    Listed,
};

use super::execs::EXEC;
use super::statements::Terms;
use super::{Counted, Observer, ObserverError, ProgramAt};

/// How long the last statement waits for sockets to be counted that were there before, and the first one: whatever
/// is not counted by then counts as what came later. Between two looks whether they are.
const PATIENCE: Duration = Duration::from_secs(10);
const START: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(50);

/// Why what a coverage rests on is gone.
pub(super) const CHANGED: &str = "a program of the kernel was detached or replaced";
pub(super) const REWRITTEN: &str =
    "what the kernel's programs go by was changed: somebody else wrote to their maps";

/// Before the programs' names in the kernel.
const PREFIX: &str = "sealtap_";

/// What cannot be stated.
const NO_NAME: &str = "a program of the kernel has no registered name";

/// What this coverage rests on, and what it says nothing of; and how many cgroups are watched by now.
pub(super) fn armed(observer: &Observer, terms: &Terms) -> Result<(Armed, u64), String> {
    let armed = observer.armed();
    if !held(&armed.programs, &armed.programs) {
        return Err("the kernel does not name the links that were made".to_owned());
    }
    // Who else is there, and what was open before, is known by now.
    let counted = count_within(observer, START).map_err(|error| error.to_string())?;
    match all_known(&counted) {
        Ok(()) => {}
        // It says of itself that it holds none.
        Err(why) if terms.launched => return Err(why),
        // Nobody is kept waiting by what somebody else has open: counted later, it counts as late.
        Err(why) => tracing::warn!(%why, "coverage begins all the same"),
    }
    let attached = |at: &ProgramAt| {
        Some(Attached {
            at: match (at.device, at.cgroup) {
                (0, 0) => At::Machine,
                (0, cgroup) => At::Cgroup(cgroup),
                (device, _) => At::Device(device.into()),
            },
            id: u64::from(at.id),
            link: (at.link != 0).then(|| at.link.into()),
            program: program(&at.name)?,
            tag: at.tag,
        })
    };
    let programs: Option<Vec<_>> = armed.programs.iter().map(attached).collect();
    let option = armed.programs.iter().any(|at| program(&at.name) == Some(KernelProgram::Option));
    let frames = option && armed.programs.iter().any(|at| at.device != 0);
    let programs = Listed::of(programs.ok_or(NO_NAME)?).map_err(|error| error.to_string())?;
    let armed = Armed {
        channels: Channel::ALL.iter().map(|channel| state(*channel, terms, frames)).collect(),
        foreign: foreign(&counted)?,
        machine: machine(&armed.boot).ok_or("the kernel does not name its boot")?,
        mode: terms.mode,
        object: armed.object,
        older: counted.older,
        programs,
    };
    Ok((armed, counted.watched))
}

fn program(name: &str) -> Option<KernelProgram> {
    KernelProgram::parse(name.strip_prefix(PREFIX)?)
}

/// What is known of a channel where these programs are attached, by what else was done.
fn state(channel: Channel, terms: &Terms, frames: bool) -> ChannelState {
    let denied = terms.mode == CoverageMode::Enforce;
    match channel {
        // What comes later is closed from when it is seen, and not before.
        Channel::Tcp | Channel::Udp | Channel::Raw if terms.late => ChannelState::ObservedOnly,
        Channel::Tcp | Channel::Udp if denied => ChannelState::ClosedByHook,
        // What a server in scope answers, what is older and what another namespace holds goes on where nothing is denied.
        Channel::Tcp => ChannelState::ObservedOnly,
        // The resolver may be asked, whatever the question says.
        Channel::Udp | Channel::Names => ChannelState::ObservedOnly,
        // No capability to make them, no family; and none was brought along.
        // And it sees no other cgroup to go to.
        Channel::Raw | Channel::Packet | Channel::Vsock | Channel::Older | Channel::Moved
            if terms.launched =>
        {
            ChannelState::DeniedByLaunchPolicy
        }
        // Denied, since the gateway is not reached from there, and no way in.
        Channel::Namespace if denied && terms.launched => ChannelState::ClosedByHook,
        Channel::Raw if denied => ChannelState::ClosedByHook,
        Channel::Raw => ChannelState::ObservedOnly,
        // A packet counts for the cgroup that its socket was made in: one that was brought along from
        // elsewhere, and connected there, is not seen.
        Channel::Older => ChannelState::NotCovered,
        // At devices that were there when the programs came.
        Channel::Packet if frames => ChannelState::ObservedOnly,
        Channel::Packet
        | Channel::Vsock
        | Channel::Helper
        | Channel::Namespace
        | Channel::Moved => ChannelState::NotCovered,
    }
}

/// The kernel's name of its boot: a UUID.
fn machine(boot: &str) -> Option<Id> {
    let digits: String = boot.chars().filter(|c| *c != '-').collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32)?;
    Some(Id(number.to_be_bytes()))
}

/// What was counted, if it adds up; `watched` cgroups were there when the coverage was armed.
pub(super) fn counts(counted: &Counted, watched: u64) -> Result<Counts, String> {
    if !counted.holds() {
        return Err("the kernel's numbers do not add up".to_owned());
    }
    Ok(Counts {
        connections: counted.connections,
        foreign: foreign(counted)?,
        late: counted.watched.saturating_sub(watched),
        older: counted.older,
        packets: counted.packets,
    })
}

/// What was counted once the sockets of all that is watched are, or it takes too long (`due` says so).
pub(super) fn count_all(observer: &Observer) -> Result<Counted, ObserverError> {
    count_within(observer, PATIENCE)
}

fn count_within(observer: &Observer, patience: Duration) -> Result<Counted, ObserverError> {
    let deadline = Instant::now() + patience;
    loop {
        let counted = observer.count()?;
        if counted.due == 0 || Instant::now() >= deadline {
            return Ok(counted);
        }
        std::thread::sleep(PAUSE);
    }
}

/// Whether the sockets of all that is watched are counted; why not.
pub(super) fn all_known(counted: &Counted) -> Result<(), String> {
    match (counted.due, counted.unknown) {
        (0, 0) => Ok(()),
        (due, 0) => {
            Err(format!("the older sockets of {due} watched cgroups are still being counted"))
        }
        (_, unknown) => {
            let why = counted.why_unknown.as_deref().unwrap_or_default();
            Err(format!("the older sockets of {unknown} watched cgroups cannot be counted: {why}"))
        }
    }
}

fn foreign(counted: &Counted) -> Result<Listed<Foreign>, String> {
    let other = |other: &super::Foreign| {
        Some(Foreign { beside: program(&other.beside)?, id: u64::from(other.id) })
    };
    let all: Option<Vec<_>> = counted.foreign.iter().map(other).collect();
    Listed::of(all.ok_or(NO_NAME)?).map_err(|error| error.to_string())
}

/// Whether all is as it was made: each program at its place, and told what it was told; why not.
pub(super) fn kept(before: &[ProgramAt], counted: &Counted) -> Result<(), &'static str> {
    match (held(before, &counted.programs), counted.rewritten) {
        (true, false) => Ok(()),
        (true, true) => Err(REWRITTEN),
        (false, _) => Err(CHANGED),
    }
}

/// Whether each program is where it was attached, by its own link.
fn held(before: &[ProgramAt], now: &[ProgramAt]) -> bool {
    let placed = |at: &ProgramAt| at.cgroup != 0 || at.device != 0 || at.name == EXEC;
    let there = |at: &ProgramAt| placed(at) && at.held == at.id;
    !before.is_empty() && before == now && now.iter().all(there)
}
