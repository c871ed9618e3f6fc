//! What went around, on its way into the log.
//!
//! In: what the loader tells, one by one. Out: with each statement, leaves about what that statement
//! counts: the first of it one by one, the rest by its numbers, so that a flood costs no more than
//! a few leaves and nothing is left out.

use std::collections::{BTreeMap, VecDeque};

use sealtap_common::kernel::{Flow, flag, way};
use sealtap_common::leaf::{BypassUnit, BypassVerdict, BypassWay};

use super::Whose;
use super::message::Bypass;
use crate::capture::connection::{Notes, WentAround, WhoWent};
use crate::serve::observe::Kernel;

/// Numbers of protocols within IP.
const TCP: u16 = 6;
const UDP: u16 = 17;

/// Those that are told of one by one between two statements.
const EACH: usize = 64;

/// By what way an event says that something went around.
pub(super) fn way(event: &Flow) -> BypassWay {
    match event.way {
        way::STREAM => BypassWay::Tcp,
        way::RAW => BypassWay::Raw,
        way::FRAME => BypassWay::Frame,
        _ => match event.protocol {
            TCP => BypassWay::Tcp,
            UDP => BypassWay::Udp,
            _ => BypassWay::Unknown,
        },
    }
}

/// Whether an event says that it was stopped.
pub(super) fn is_denied(event: &Flow) -> bool {
    event.flags & flag::DENIED != 0
}

/// Whether an event was counted among the packets.
pub(super) fn is_packet(event: &Flow) -> bool {
    event.flags & flag::PACKET != 0
}

impl Bypass {
    /// Who it came from.
    #[must_use]
    pub fn whose(&self) -> Whose<'_> {
        let executable = self.executable.as_deref();
        Whose { packet: self.packet, process: self.process.into(), executable }
    }

    /// What was counted: a connect, or a send without one; or a packet.
    #[must_use]
    pub const fn unit(&self) -> BypassUnit {
        if self.packet { BypassUnit::Packet } else { BypassUnit::Connect }
    }
}

/// What is the same of several: way, whether it was stopped, whether packets were counted.
type OfAKind = (String, bool, bool);

/// What went around in a time.
#[derive(Debug, Default)]
pub struct Around {
    each: Vec<Bypass>,
    more: BTreeMap<OfAKind, u64>,
    /// All of it but what canaries tried.
    counted: BTreeMap<OfAKind, u64>,
}

impl Around {
    /// Takes one in, of a canary or not.
    pub(super) fn add(&mut self, bypass: Bypass, canary: bool) {
        if !canary {
            let kind = (bypass.way.clone(), bypass.denied, bypass.packet);
            let count = self.counted.entry(kind).or_default();
            *count = count.saturating_add(bypass.times);
        }
        self.keep(bypass);
    }

    fn keep(&mut self, mut bypass: Bypass) {
        // One says who and where; what says the same of others is a number.
        let mut more = std::mem::replace(&mut bypass.times, 1);
        let kind = (bypass.way.clone(), bypass.denied, bypass.packet);
        if self.each.len() < EACH {
            self.each.push(bypass);
            more = more.saturating_sub(1);
        }
        if more > 0 {
            let count = self.more.entry(kind).or_default();
            *count = count.saturating_add(more);
        }
    }

    pub(super) fn append(&mut self, later: Self) {
        later.each.into_iter().for_each(|bypass| self.keep(bypass));
        for (own, later) in [(&mut self.more, later.more), (&mut self.counted, later.counted)] {
            for (kind, count) in later {
                let sum = own.entry(kind).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }

    /// Counts it.
    pub(super) fn count(&self, counts: &Kernel) {
        for ((way, denied, packet), count) in &self.counted {
            let unit = if *packet { BypassUnit::Packet } else { BypassUnit::Connect };
            let verdict = if *denied { BypassVerdict::Denied } else { BypassVerdict::Passed };
            counts.around((unit.as_str(), way, verdict.as_str()), *count);
        }
    }
}

/// Has leaves made about it.
pub(super) struct Telling {
    coverage: [u8; 16],
    told: u64,
    untold: VecDeque<WentAround<'static>>,
}

impl Telling {
    pub(super) fn new(coverage: [u8; 16]) -> Self {
        Self { coverage, told: 0, untold: VecDeque::new() }
    }

    /// What this statement counts.
    pub(super) fn add(&mut self, around: Around, statement: u64) {
        for bypass in around.each {
            let Bypass { destination, process, executable, way, denied, packet, .. } = bypass;
            let who = WhoWent { destination, process, executable };
            self.push((way, denied, packet), (statement, 1), Some(who));
        }
        for (kind, count) in around.more {
            self.push(kind, (statement, count), None);
        }
    }

    fn push(
        &mut self,
        (way, denied, packet): OfAKind,
        (statement, count): (u64, u64),
        who: Option<WhoWent>,
    ) {
        self.told = self.told.saturating_add(1);
        let unit = if packet { BypassUnit::Packet } else { BypassUnit::Connect };
        let verdict = if denied { BypassVerdict::Denied } else { BypassVerdict::Passed };
        self.untold.push_back(WentAround {
            coverage: self.coverage,
            number: self.told,
            statement,
            count,
            unit: unit.as_str().into(),
            verdict: verdict.as_str().into(),
            way: way.into(),
            who: who.map(|who| ([0; 32], who)),
        });
    }

    /// Notes what is not noted; whether the journal took all of it.
    pub(super) fn tell(&mut self, notes: &Notes) -> bool {
        while let Some(around) = self.untold.front_mut() {
            if let Some((key, _)) = &mut around.who {
                *key = notes.key();
            }
            if !notes.went_around(around) {
                return false;
            }
            self.untold.pop_front();
        }
        true
    }
}
