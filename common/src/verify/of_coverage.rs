//! What the leaves of one coverage say of connections and of ways around, held against its statements.

use std::collections::BTreeMap;

use super::connections::Joined;
use super::history::{Broken, broken};
use super::numbers::Numbers;
use super::{Place, Report, What};
use crate::encoding::Id;
use crate::leaf::{
    Arrived, Attribution, Bypass, BypassUnit, BypassVerdict, Connection, ConnectionEnd, Counts,
};

/// What there is of one coverage so far.
#[derive(Debug)]
pub(super) struct OfCoverage {
    pub(super) boot: Id,
    /// What had come by each statement.
    pub(super) stated: Vec<Arrived>,
    via_gateway: u64,
    /// Numbers of connections that have a leaf, and of those refused.
    pub(super) numbers: Numbers,
    refused: Numbers,
    /// Refused ones that the kernel had led here, by their first statement.
    led_refused: BTreeMap<u64, u64>,
    /// Connections that wait for their first statement.
    early: Vec<(u64, u64, u64)>,
    /// Connections of canaries that were led to these: as of the last statement, and since.
    pub(super) canary: (u64, u64),
    /// Whether it was said that it is over.
    pub(super) closed: bool,
    /// Leaves about ways around.
    told: u64,
    /// What these count, in connections and in packets.
    connects: Told,
    packets: Told,
    pub(super) joined: Joined,
}

/// Ways around of one unit.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Read by the last statement.
    before: u64,
    /// Told of since.
    since: u64,
    /// Told of as stopped, and as let go.
    denied: u64,
    passed: u64,
}

impl OfCoverage {
    pub(super) fn new(coverage: Id, boot: Id) -> Self {
        Self {
            boot,
            stated: Vec::new(),
            via_gateway: 0,
            canary: (0, 0),
            closed: false,
            numbers: Numbers::default(),
            refused: Numbers::default(),
            led_refused: BTreeMap::new(),
            early: Vec::new(),
            told: 0,
            connects: Told::default(),
            packets: Told::default(),
            joined: Joined { coverage, ..Joined::default() },
        }
    }

    /// What had come by the statement before the one with this number.
    pub(super) fn before(&self, number: u64) -> Option<Arrived> {
        let Some(before) = number.checked_sub(2) else { return Some(Arrived::default()) };
        self.stated.get(usize::try_from(before).ok()?).copied()
    }

    pub(super) fn statement(
        &mut self,
        counts: Option<&Counts>,
        arrived: Arrived,
        number: u64,
        (index, report): (u64, &mut Report),
    ) -> Result<(), Broken> {
        let before = self.stated.last().copied().unwrap_or_default();
        self.stated.push(arrived);
        for (at, first, own) in std::mem::take(&mut self.early) {
            if first > number {
                self.early.push((at, first, own));
            } else if own <= before.known || own > arrived.known {
                report.find(What::Coverage, Place::Leaf(at), elsewhere(own, first));
            }
        }
        if arrived.known < before.known || arrived.refused < before.refused {
            return broken(What::Coverage, "fewer connections had come than before".to_owned());
        }
        let Some(counts) = counts else { return Ok(()) };
        let connections = &counts.connections;
        self.via_gateway = connections.via_gateway;
        let (counted, since) = self.canary;
        self.canary = (counted.saturating_add(since), 0);
        let units = [
            (&mut self.connects, connections.events_read),
            (&mut self.packets, counts.packets.events_read),
        ];
        let mut untold = None;
        for (told, read) in units {
            let since = read.saturating_sub(told.before);
            if since != told.since {
                untold = untold.or(Some((since, told.since)));
            }
            *told = Told { before: read, since: 0, ..*told };
        }
        if let Some((read, told)) = untold {
            let detail = format!(
                "{read} ways around were read since the statement before leaf {index}, {told} are told of"
            );
            return broken(What::Coverage, detail);
        }
        for (told, sums) in [(&self.connects, connections), (&self.packets, &counts.packets)] {
            if told.denied > sums.bypass_denied || told.passed > sums.bypass_passed {
                let detail =
                    "more was stopped, or let go, by its leaves than by the kernel's numbers";
                return broken(What::Coverage, detail.to_owned());
            }
        }
        let led = self.led_refused.range(..=number).map(|(_, count)| *count).sum::<u64>();
        if arrived.known.saturating_add(led) > connections.via_gateway {
            let detail = "more connections came, or were refused, than were led to the gateway";
            return broken(What::Coverage, detail.to_owned());
        }
        Ok(())
    }

    pub(super) fn connection(&mut self, leaf: &Connection, index: u64) -> Result<(), Broken> {
        let (number, first) = (leaf.number, leaf.first);
        let is_refused = leaf.end == ConnectionEnd::Refused;
        let numbers = if is_refused { &mut self.refused } else { &mut self.numbers };
        if !numbers.insert(number) {
            let detail = format!("connection {number} of {} has a second leaf", leaf.coverage);
            return broken(What::Coverage, detail);
        }
        let count = |counter: &mut u64, counts: bool| {
            *counter = counter.saturating_add(u64::from(counts));
        };
        count(&mut self.joined.refused, is_refused);
        count(&mut self.joined.carried, !is_refused);
        let is_unknown = !is_refused && leaf.attribution == Attribution::Unknown;
        count(&mut self.joined.unknown, is_unknown);
        count(&mut self.joined.interrupted, leaf.end == ConnectionEnd::Interrupted);
        if is_refused {
            if leaf.cookie.is_some() {
                count(self.led_refused.entry(first).or_default(), true);
            }
            return Ok(());
        }
        let stated = usize::try_from(first.saturating_sub(1)).ok();
        match stated.and_then(|at| self.stated.get(at)) {
            None => self.early.push((index, first, number)),
            Some(by_then) => {
                let before = self.before(first).unwrap_or_default();
                if number <= before.known || number > by_then.known {
                    return broken(What::Coverage, elsewhere(number, first));
                }
            }
        }
        Ok(())
    }

    pub(super) fn bypass(&mut self, leaf: &Bypass) -> Result<(), Broken> {
        let (told, next) = (self.told.saturating_add(1), self.stated.len().saturating_add(1));
        self.told = leaf.number;
        let is_denied = leaf.verdict == BypassVerdict::Denied;
        let of = match leaf.unit {
            BypassUnit::Connect => &mut self.connects,
            BypassUnit::Packet => &mut self.packets,
        };
        of.since = of.since.saturating_add(leaf.count);
        let of_a_kind = if is_denied { &mut of.denied } else { &mut of.passed };
        *of_a_kind = of_a_kind.saturating_add(leaf.count);
        if is_denied {
            self.joined.denied = self.joined.denied.saturating_add(leaf.count);
        }
        self.joined.around = self.joined.around.saturating_add(leaf.count);
        if self.closed {
            return broken(What::Coverage, "stands behind the end of its coverage".to_owned());
        }
        if leaf.number != told {
            let detail = format!("way around {} follows {}", leaf.number, told.saturating_sub(1));
            return broken(What::Coverage, detail);
        }
        if u64::try_from(next) != Ok(leaf.statement) {
            let detail = format!("is counted by statement {}, and {next} follows", leaf.statement);
            return broken(What::Coverage, detail);
        }
        Ok(())
    }

    pub(super) fn finish(mut self, known: u64) -> Joined {
        let led = self.led_refused.values().sum::<u64>();
        self.joined.open = known.saturating_sub(self.joined.carried);
        let came = known.saturating_add(led);
        self.joined.missed = self.via_gateway.saturating_sub(came.saturating_add(self.canary.0));
        self.joined
    }
}

fn elsewhere(number: u64, first: u64) -> String {
    format!("connection {number} is not among those that statement {first} is the first to count")
}
