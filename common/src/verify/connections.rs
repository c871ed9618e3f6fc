//! Steps 9.15 and 9.16: which connection carried which exchange, and what went around, held against the
//! statements of their coverage.
//!
//! In: connections, exchanges, ways around and statements, in their order. Out: what does not fit; and
//! what is inside each coverage, by its leaves. A connection that is left out, told of twice, or put
//! under another statement shows here, and so does an exchange that no connection carried.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Broken, broken};
use super::numbers::Numbers;
use super::{Place, Report, What};
use crate::encoding::Id;
use crate::leaf::{
    Arrived, Attribution, Bypass, BypassUnit, BypassVerdict, CONNECTION_EXTENSION, Connection,
    ConnectionEnd, Counts, Coverage, CoverageSaid, Exchange, Ranges, connection_tag,
};
use crate::tree::Hash;

/// What the leaves of connections and of ways around say of one coverage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Joined {
    /// The coverage.
    pub coverage: Id,
    /// Connections that were led here and have a leaf.
    pub carried: u64,
    /// Those among them of which nobody knows who made them.
    pub unknown: u64,
    /// Those among them that the gateway did not outlive.
    pub interrupted: u64,
    /// Connections that were refused and have a leaf.
    pub refused: u64,
    /// Connections that the gateway counted and that have no leaf yet.
    pub open: u64,
    /// Connections that the kernel led here, as of the last statement, and that never came.
    pub missed: u64,
    /// Exchanges that came over these connections.
    pub exchanges: u64,
    /// Ways around that leaves tell of.
    pub around: u64,
    /// Those among them that were stopped.
    pub denied: u64,
}

/// How many exchanges of a run came over connections of a coverage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reach {
    /// The run.
    pub run: Id,
    /// Those that did.
    pub inside: u64,
    /// Those that came another way.
    pub outside: u64,
}

/// All of a log.
#[derive(Debug, Default)]
pub(super) struct Joins {
    coverages: BTreeMap<Id, OfCoverage>,
    /// Exchanges that no connection has named yet, by what their leaves say of it.
    waiting: HashMap<Hash, (Id, Numbers)>,
    /// What leaves of exchanges say of connections that have their leaf.
    over: HashSet<Hash>,
    /// A connection whose further parts are to come.
    split: Option<Connection>,
    /// Runs with an exchange inside.
    runs: HashMap<Id, Reach>,
    /// The same, in the order of their first.
    order: Vec<Id>,
    /// Whether any coverage was armed.
    covered: bool,
}

#[derive(Debug)]
struct OfCoverage {
    boot: Id,
    /// What had come by each statement.
    stated: Vec<Arrived>,
    via_gateway: u64,
    /// Numbers of connections that have a leaf, and of those refused.
    numbers: Numbers,
    refused: Numbers,
    /// Refused ones that the kernel had led here, by their first statement.
    led_refused: BTreeMap<u64, u64>,
    /// Connections that wait for their first statement.
    early: Vec<(u64, u64, u64)>,
    /// Connections of canaries that were led to these: as of the last statement, and since.
    canary: (u64, u64),
    /// Leaves about ways around.
    told: u64,
    /// What these count, in connections and in packets.
    connects: Told,
    packets: Told,
    joined: Joined,
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

impl Joins {
    /// Whether a leaf may stand between the parts of a connection.
    pub(super) fn fits(&mut self, leaf: &crate::leaf::Leaf) -> Result<(), Broken> {
        let Some(split) = self.split.take() else { return Ok(()) };
        match leaf {
            crate::leaf::Leaf::Connection(next) if goes_on(&split, next) => {
                self.split = Some(split);
                Ok(())
            }
            _ => {
                let (part, parts) = (split.part.saturating_add(1), split.parts);
                broken(
                    What::Coverage,
                    format!("part {part} of {parts} of a connection belongs here"),
                )
            }
        }
    }

    /// Takes the next leaf about a coverage, once that is known to hold by itself.
    pub(super) fn coverage(
        &mut self,
        leaf: &Coverage,
        index: u64,
        report: &mut Report,
    ) -> Result<(), Broken> {
        let (counts, arrived, number) = match &leaf.said {
            CoverageSaid::Canary(canary) => {
                if let Some(of) = self.coverages.get_mut(&leaf.coverage) {
                    of.canary.1 = of.canary.1.saturating_add(canary.led);
                }
                return Ok(());
            }
            CoverageSaid::Armed(_) => {
                self.covered = true;
                self.coverages.insert(leaf.coverage, OfCoverage::new(leaf.coverage, leaf.boot));
                return Ok(());
            }
            CoverageSaid::Heartbeat(said) => (Some(&said.counts), said.arrived, said.number),
            CoverageSaid::Closed(counts, arrived, number, _) => {
                (counts.as_ref(), *arrived, *number)
            }
        };
        let Some(of) = self.coverages.get_mut(&leaf.coverage) else { return Ok(()) };
        of.statement(counts, arrived, number, (index, report))
    }

    /// Takes the next exchange.
    pub(super) fn exchange(&mut self, leaf: &Exchange) -> Result<(), Broken> {
        let tag = leaf.ext.get(CONNECTION_EXTENSION);
        if self.covered || tag.is_some() {
            let order = &mut self.order;
            let reach = self.runs.entry(leaf.run.id).or_insert_with(|| {
                order.push(leaf.run.id);
                Reach { run: leaf.run.id, ..Reach::default() }
            });
            let side = if tag.is_some() { &mut reach.inside } else { &mut reach.outside };
            *side = side.saturating_add(1);
        }
        let Some(tag) = tag else { return Ok(()) };
        if self.over.contains(tag) {
            let detail = format!("exchange {} came over a connection that had ended", leaf.number);
            return broken(What::Coverage, detail);
        }
        let (boot, numbers) =
            self.waiting.entry(*tag).or_insert_with(|| (leaf.boot, Numbers::default()));
        if *boot != leaf.boot {
            let detail = format!("exchange {} came over a connection of another boot", leaf.number);
            return broken(What::Coverage, detail);
        }
        numbers.insert(leaf.number);
        Ok(())
    }

    /// Takes the next connection.
    pub(super) fn connection(&mut self, leaf: &Connection, index: u64) -> Result<(), Broken> {
        if leaf.began > leaf.ended || leaf.ended > leaf.sealed {
            return broken(What::Time, "began, ended and sealed are out of order".to_owned());
        }
        let id = leaf.coverage;
        let Some(of) = self.coverages.get_mut(&id).filter(|of| of.boot == leaf.boot) else {
            let detail = format!("names coverage {id}, which boot {} never armed", leaf.boot);
            return broken(What::Coverage, detail);
        };
        let tag = connection_tag(&leaf.connection);
        let first = self.split.take().is_none();
        if first {
            if leaf.part != 1 {
                let detail = format!("part {} of a connection without those before", leaf.part);
                return broken(What::Coverage, detail);
            }
            if !self.over.insert(tag) {
                let detail = format!("connection {} has a second leaf", leaf.connection);
                return broken(What::Coverage, detail);
            }
            of.connection(leaf, index)?;
        }
        of.joined.exchanges =
            of.joined.exchanges.saturating_add(carried(&mut self.waiting, &tag, leaf)?);
        if leaf.part < leaf.parts {
            self.split = Some(leaf.clone());
            return Ok(());
        }
        match self.waiting.remove(&tag) {
            Some((_, left)) if left.highest() > 0 => {
                let detail =
                    format!("does not name exchange {}, which came over it", left.highest());
                broken(What::Coverage, detail)
            }
            _ => Ok(()),
        }
    }

    /// Takes the next way around.
    pub(super) fn bypass(&mut self, leaf: &Bypass) -> Result<(), Broken> {
        let id = leaf.coverage;
        let Some(of) = self.coverages.get_mut(&id).filter(|of| of.boot == leaf.boot) else {
            let detail = format!("names coverage {id}, which boot {} never armed", leaf.boot);
            return broken(What::Coverage, detail);
        };
        of.bypass(leaf)
    }

    /// Step 9.17, after the last leaf: nothing is left out of a boot that is over.
    pub(super) fn finish(self, is_over: impl Fn(&Id) -> bool, report: &mut Report) {
        if self.split.is_some() {
            let detail = "the log ends before the last part of a connection";
            report.find(What::Coverage, Place::Log, detail);
        }
        let mut left: Vec<(Id, u64)> = self
            .waiting
            .values()
            .filter(|(boot, _)| is_over(boot))
            .map(|(boot, numbers)| (*boot, numbers.highest()))
            .collect();
        left.sort();
        for (boot, number) in left {
            let detail =
                format!("exchange {number} of boot {boot} came over a connection that has no leaf");
            report.find(What::Coverage, Place::Log, detail);
        }
        for (id, of) in self.coverages {
            let known = of.stated.last().map_or(0, |arrived| arrived.known);
            let missing = of.numbers.first_missing(known, &Ranges::default());
            if let Some(number) = missing.filter(|_| is_over(&of.boot)) {
                let detail = format!("connection {number} of coverage {id} has no leaf");
                report.find(What::Coverage, Place::Log, detail);
            }
            report.joined.push(of.finish(known));
        }
        for run in &self.order {
            report.reach.extend(self.runs.get(run).copied());
        }
    }
}

/// Takes from what waits the exchanges that a leaf names.
fn carried(
    waiting: &mut HashMap<Hash, (Id, Numbers)>,
    tag: &Hash,
    leaf: &Connection,
) -> Result<u64, Broken> {
    let mut count = 0_u64;
    for (first, last) in leaf.exchanges.as_slice() {
        let own = waiting.get_mut(tag).filter(|(boot, _)| *boot == leaf.boot);
        let Some((_, own)) = own.filter(|(_, own)| own.covers(*first, *last)) else {
            let detail = format!("of exchanges {first} to {last}, not every one came over it");
            return broken(What::Coverage, detail);
        };
        (*first..=*last).for_each(|number| own.remove(number));
        count = count.saturating_add(last.saturating_sub(*first)).saturating_add(1);
    }
    Ok(count)
}

/// Whether `next` is the next part of the same connection.
fn goes_on(split: &Connection, next: &Connection) -> bool {
    let rest = Connection {
        exchanges: next.exchanges.clone(),
        ext: next.ext.clone(),
        part: split.part.saturating_add(1),
        sealed: next.sealed,
        ..split.clone()
    };
    let behind =
        split.exchanges.highest() < next.exchanges.as_slice().first().map(|(first, _)| *first);
    behind && rest == *next
}

impl OfCoverage {
    fn new(coverage: Id, boot: Id) -> Self {
        Self {
            boot,
            stated: Vec::new(),
            via_gateway: 0,
            canary: (0, 0),
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
    fn before(&self, number: u64) -> Option<Arrived> {
        let Some(before) = number.checked_sub(2) else { return Some(Arrived::default()) };
        self.stated.get(usize::try_from(before).ok()?).copied()
    }

    fn statement(
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

    fn connection(&mut self, leaf: &Connection, index: u64) -> Result<(), Broken> {
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

    fn bypass(&mut self, leaf: &Bypass) -> Result<(), Broken> {
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

    fn finish(mut self, known: u64) -> Joined {
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
