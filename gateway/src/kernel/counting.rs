//! Counting: two banks of numbers, and the events that belong to each.
//!
//! In: the maps of the programs. Out: numbers that belong together, in connections and in packets,
//! with the events that were read of each. A bank that is closed no longer moves, so that its events
//! can be waited for; a flood that goes on meanwhile goes into the other and is not waited for.

use std::ops::AddAssign;

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use sealtap_common::kernel::{Bank, Counters, Flow, flag};
use sealtap_common::leaf::Sums;

use super::banks::{Record, Ring, Source};
use super::programs::ProgramsError;
use super::raw::{Value, flow_in};

/// Events that were read, of one bank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Read {
    connections: u64,
    packets: u64,
}

impl AddAssign for Read {
    fn add_assign(&mut self, more: Self) {
        self.connections = self.connections.saturating_add(more.connections);
        self.packets = self.packets.saturating_add(more.packets);
    }
}

impl Record for Flow {
    type Read = Read;

    const AT_ONCE: usize = 4096;

    fn within(bytes: &[u8]) -> Option<Self> {
        flow_in(bytes)
    }

    fn flags(&self) -> u32 {
        self.flags
    }

    fn counted(&self) -> Read {
        match self.flags & flag::PACKET {
            0 => Read { connections: 1, packets: 0 },
            _ => Read { connections: 0, packets: 1 },
        }
    }
}

/// The events, and how many were read.
pub(super) struct Counting<S = RingBuf<MapData>> {
    events: Ring<Flow, S>,
}

impl<S: Source> Counting<S> {
    /// With nothing read so far.
    pub(super) fn new(ring: S) -> Self {
        Self { events: Ring::new(ring) }
    }

    /// What becomes readable when something went around.
    pub(super) fn ring(&self) -> &S {
        self.events.readable()
    }

    /// Hands on what went around since the last look, as much as is read at once.
    pub(super) fn read(&mut self, told: &mut impl FnMut(&Flow)) {
        self.events.read(told);
    }

    /// Reads every event of a bank that is closed; what it counted says how many there are.
    pub(super) fn settle(&mut self, bank: u32, counted: &Bank, told: &mut impl FnMut(&Flow)) {
        let (connections, packets) = (due(&counted.connections), due(&counted.packets));
        let all = |read: Read| read.connections >= connections && read.packets >= packets;
        self.events.settle(bank, all, told);
    }

    /// The numbers of both banks together, the one in which nothing is counted yet and the closed one.
    pub(super) fn together(&self, before: &Bank, closed: &Bank) -> (Sums, Sums) {
        let read = self.events.together();
        (
            sums(&before.connections, &closed.connections, read.connections),
            sums(&before.packets, &closed.packets, read.packets),
        )
    }
}

/// The bank that an event was counted in.
pub(super) fn bank_of(event: &Flow) -> u32 {
    event.bank()
}

/// A bank's numbers, all processors together.
pub(super) fn bank(ebpf: &Ebpf, bank: u32) -> Result<Bank, ProgramsError> {
    let counted = ebpf.map("COUNTED").ok_or(ProgramsError::Lacks("COUNTED"))?;
    let counted: PerCpuArray<_, Value<Bank>> = counted.try_into()?;
    let mut sum = Bank::default();
    for processor in counted.get(&bank, 0)?.iter() {
        sum.connections = both(&sum.connections, &processor.0.connections);
        sum.packets = both(&sum.packets, &processor.0.packets);
    }
    Ok(sum)
}

/// How many events were written.
fn due(counters: &Counters) -> u64 {
    let around = counters.bypass_denied.saturating_add(counters.bypass_passed);
    around.saturating_sub(counters.events_lost)
}

fn both(one: &Counters, other: &Counters) -> Counters {
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

fn sums(before: &Counters, closed: &Counters, events_read: u64) -> Sums {
    let sum = both(before, closed);
    Sums {
        seen: sum.seen,
        via_gateway: sum.via_gateway,
        loopback: sum.loopback,
        allowed: sum.allowed,
        bypass_denied: sum.bypass_denied,
        bypass_passed: sum.bypass_passed,
        unparsable: sum.unparsable,
        events_lost: sum.events_lost,
        events_read,
    }
}

#[cfg(test)]
mod tests;
