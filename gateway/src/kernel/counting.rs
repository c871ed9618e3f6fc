//! Counting: two banks of numbers, and the events that belong to each.
//!
//! In: the maps of the programs. Out: numbers that belong together, in connections and in packets,
//! with the events that were read of each. A bank that is closed no longer moves, so that its events
//! can be waited for; a flood that goes on meanwhile goes into the other and is not waited for.

use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::{MapData, PerCpuArray, RingBuf};
use sealtap_common::kernel::{Bank, Counters, Flow, flag};

use super::message::Sums;
use super::programs::ProgramsError;
use super::raw::{Value, flow_in};

/// Events that are read before somebody else has a turn.
const AT_ONCE: usize = 4096;

/// How long an event may be on its way that was counted as told of, and between two looks for it.
const ON_ITS_WAY: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_micros(200);

/// Events that were read, of one bank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Read {
    connections: u64,
    packets: u64,
}

/// The events, and how many were read.
pub(super) struct Counting {
    ring: RingBuf<MapData>,
    /// By the bank that they were counted in: of number 0, and of number 1.
    read: (Read, Read),
    /// The same when that bank was closed last.
    closed: (Read, Read),
}

impl Counting {
    /// With nothing read so far.
    pub(super) fn new(ring: RingBuf<MapData>) -> Self {
        Self { ring, read: Default::default(), closed: Default::default() }
    }

    /// What becomes readable when something went around.
    pub(super) fn ring(&self) -> &RingBuf<MapData> {
        &self.ring
    }

    /// Hands on what went around since the last look, as much as is read at once.
    pub(super) fn read(&mut self, told: &mut impl FnMut(&Flow)) {
        for _ in 0..AT_ONCE {
            if !self.next(told) {
                return;
            }
        }
    }

    fn next(&mut self, told: &mut impl FnMut(&Flow)) -> bool {
        let Some(event) = self.ring.next() else { return false };
        let Some(flow) = flow_in(&event) else { return true };
        let (even, odd) = &mut self.read;
        let read = if bank_of(&flow) == 0 { even } else { odd };
        let unit = match flow.flags & flag::PACKET {
            0 => &mut read.connections,
            _ => &mut read.packets,
        };
        *unit = unit.saturating_add(1);
        told(&flow);
        true
    }

    /// Reads every event of a bank that is closed; what it counted says how many there are.
    pub(super) fn settle(&mut self, bank: u32, counted: &Bank, told: &mut impl FnMut(&Flow)) {
        let (connections, packets) = (due(&counted.connections), due(&counted.packets));
        let deadline = Instant::now() + ON_ITS_WAY;
        loop {
            let (even, odd) = self.read;
            let read = if bank == 0 { even } else { odd };
            if read.connections >= connections && read.packets >= packets {
                break;
            }
            // A record in front of it may still be on its way, of the bank that counts now.
            if !self.next(told) {
                if Instant::now() >= deadline {
                    break;
                }
                std::thread::sleep(PAUSE);
            }
        }
        // What was read already of the bank that counts now is for the next statement.
        match bank {
            0 => self.closed.0 = self.read.0,
            _ => self.closed.1 = self.read.1,
        }
    }

    /// The numbers of both banks together, the one in which nothing is counted yet and the closed one.
    pub(super) fn together(&self, before: &Bank, closed: &Bank) -> (Sums, Sums) {
        let (even, odd) = self.closed;
        let connections = even.connections.saturating_add(odd.connections);
        let packets = even.packets.saturating_add(odd.packets);
        (
            sums(&before.connections, &closed.connections, connections),
            sums(&before.packets, &closed.packets, packets),
        )
    }
}

/// The bank that an event was counted in.
pub(super) fn bank_of(event: &Flow) -> u32 {
    u32::from(event.flags & flag::ODD_BANK != 0)
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
