//! Step 9.14, continued: the states of channels, held against the mode, the programs and the canaries.
//!
//! In: what a coverage was armed with, and what it counted. Out: why such programs, in such a mode, do not do
//! what is said of a channel; and the state that is shown of each. That the programs are attached where they
//! say remains the gateway's word.

use std::collections::BTreeMap;

use super::coverage::Covered;
use crate::leaf::{
    Armed, At, CanaryOutcome, Channel, ChannelState, Counts, CoverageMode, KernelProgram,
};

use KernelProgram::{
    Asked, Connect4, Connect6, Option as Options, Packets, Sendmsg4, Sendmsg6, Socket, Uplink,
};

/// What leads connections of TCP and tells where they were meant to go; and what sees those that were not led.
const TCP: &[KernelProgram] = &[Asked, Connect4, Connect6, Packets, Socket];
const UDP: &[KernelProgram] = &[Connect4, Connect6, Packets, Sendmsg4, Sendmsg6];
const ALL: &[KernelProgram] = &[Asked, Connect4, Connect6, Packets, Sendmsg4, Sendmsg6, Socket];
const RAW: &[KernelProgram] = &[Packets];
const FRAMES: &[KernelProgram] = &[Options, Uplink];

/// What is wrong with the states that a coverage was armed with.
pub(crate) fn unfounded(armed: &Armed) -> Result<(), String> {
    for (channel, state) in Channel::ALL.iter().zip(&armed.channels) {
        let said = format!("of {channel} it says {state}");
        // Of TCP gateways said that, while all of it was led but not what answers others: it is shown as less.
        let lets_go = armed.mode == CoverageMode::Observe && *channel != Channel::Tcp;
        if *state == ChannelState::ClosedByHook && lets_go {
            return Err(format!("{said}, and its mode lets go what cannot be redirected"));
        }
        let Some(programs) = rests_on(*channel, *state) else {
            return Err(format!("{said}, and there is no program that could do that"));
        };
        // What is not listed may be among the rest.
        if armed.programs.more().is_none() && !are_together(armed, programs) {
            let names: Vec<&str> = programs.iter().map(|program| program.as_str()).collect();
            return Err(format!("{said}, and lists no {} in one place", names.join(", ")));
        }
    }
    Ok(())
}

/// The programs without which a state cannot be; `None` where no program can bring it about.
fn rests_on(channel: Channel, state: ChannelState) -> Option<&'static [KernelProgram]> {
    use ChannelState::{ClosedByHook, DeniedByLaunchPolicy, NotCovered, ObservedOnly};
    match (channel, state) {
        (_, NotCovered | DeniedByLaunchPolicy) => Some(&[]),
        (Channel::Tcp, ClosedByHook | ObservedOnly) => Some(TCP),
        (Channel::Udp, ClosedByHook | ObservedOnly) | (Channel::Names, ObservedOnly) => Some(UDP),
        (Channel::Raw, ClosedByHook | ObservedOnly) => Some(RAW),
        // A device that appears later has no program, so that it is never closed.
        (Channel::Packet, ObservedOnly) => Some(FRAMES),
        // What is led or denied there goes by the same hooks.
        (Channel::Namespace, ClosedByHook) => Some(ALL),
        _ => None,
    }
}

/// Whether these are at one cgroup, all of them, and those that belong to devices at some device.
fn are_together(armed: &Armed, wanted: &[KernelProgram]) -> bool {
    let mut cgroups = BTreeMap::<u64, Vec<KernelProgram>>::new();
    let mut has_uplink = false;
    for attached in armed.programs.each() {
        match attached.at {
            At::Cgroup(id) => cgroups.entry(id).or_default().push(attached.program),
            At::Device(_) => has_uplink |= attached.program == Uplink,
            At::Machine => {}
        }
    }
    let at_cgroup: Vec<_> = wanted.iter().filter(|program| **program != Uplink).collect();
    let together = |there: &Vec<KernelProgram>| at_cgroup.iter().all(|one| there.contains(one));
    (at_cgroup.is_empty() || cgroups.values().any(together))
        && (has_uplink || !wanted.contains(&Uplink))
}

/// Whether it counts something that was let around though its programs deny what they do not redirect.
pub(crate) fn is_let_around(mode: CoverageMode, counts: &Counts) -> bool {
    let passed = counts.connections.bypass_passed.max(counts.packets.bypass_passed);
    mode == CoverageMode::Enforce && passed > 0
}

/// What both verifiers say of that.
pub(crate) const LET_AROUND: &str = "something was let around, and its mode denies all of that";

impl Covered {
    /// Every channel with the state that is shown of it. One that was closed is *observed only* where what cannot
    /// be redirected is let go, and once a cgroup came late, which sent what no hook saw; else, where the last canary found it closed by each way that
    /// can be gone, none ever having passed, it is *canary tested*: of a stretch nobody knows.
    pub fn states(&self) -> impl Iterator<Item = (Channel, ChannelState)> {
        Channel::ALL.iter().zip(&self.channels).map(|(channel, state)| match (channel, state) {
            (Channel::Tcp | Channel::Udp | Channel::Raw, ChannelState::ClosedByHook)
                if self.late > 0 || self.mode == CoverageMode::Observe =>
            {
                (*channel, ChannelState::ObservedOnly)
            }
            (_, ChannelState::ClosedByHook) if self.whole && self.is_tested(*channel) => {
                (*channel, ChannelState::CanaryTested)
            }
            (_, state) => (*channel, *state),
        })
    }

    fn is_tested(&self, channel: Channel) -> bool {
        let Some((_, canary)) = &self.canary else { return false };
        let mut found = false;
        for (way, trial) in canary.ways().filter(|(way, _)| way.channel() == channel) {
            match trial.outcome {
                _ if self.passed.contains(&way) => return false,
                CanaryOutcome::Led | CanaryOutcome::Denied => found = true,
                CanaryOutcome::Unavailable => {}
                CanaryOutcome::Passed | CanaryOutcome::Unseen => return false,
            }
        }
        found
    }
}
