//! Steps 9.15 and 9.16: which connection carried which exchange, and what went around, held against the
//! statements of their coverage.
//!
//! In: connections, exchanges, ways around and statements, in their order. Out: what does not fit; and
//! what is inside each coverage, by its leaves. A connection that is left out, told of twice, or put
//! under another statement shows here, and so does an exchange that no connection carried.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Broken, broken};
use super::numbers::Numbers;
use super::of_coverage::OfCoverage;
use super::queries::Queries;
use super::{Place, Report, What};
use crate::encoding::Id;
use crate::leaf::{
    Bypass, CONNECTION_EXTENSION, Connection, Coverage, CoverageMode, CoverageSaid, DnsQueries,
    Exchange, Ranges, connection_tag,
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
    /// What was asked of the resolver.
    queries: Queries,
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
                let Some(of) = self.coverages.get_mut(&leaf.coverage) else { return Ok(()) };
                return of.canary(canary);
            }
            CoverageSaid::Armed(armed) => {
                self.covered = true;
                let mut of = OfCoverage::new(leaf.coverage, leaf.boot);
                of.enforces = armed.mode == CoverageMode::Enforce;
                self.coverages.insert(leaf.coverage, of);
                return self.queries.coverage(leaf);
            }
            CoverageSaid::Heartbeat(said) => (Some(&said.counts), said.arrived, said.number),
            CoverageSaid::Closed(counts, arrived, number, _) => {
                (counts.as_ref(), *arrived, *number)
            }
        };
        let Some(of) = self.coverages.get_mut(&leaf.coverage) else { return Ok(()) };
        of.closed = matches!(leaf.said, CoverageSaid::Closed(..));
        of.statement(counts, arrived, number, (index, report))?;
        self.queries.coverage(leaf)
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

    /// Takes the next leaf about queries.
    pub(super) fn asked(&mut self, leaf: &DnsQueries, index: u64) -> Result<(), Broken> {
        self.queries.leaf(leaf, index)
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
    pub(super) fn finish(mut self, is_over: impl Fn(&Id) -> bool, report: &mut Report) {
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
        report.queries = self.queries.all();
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
pub(crate) fn goes_on(split: &Connection, next: &Connection) -> bool {
    let rest = Connection {
        exchanges: next.exchanges.clone(),
        ext: next.ext.clone(),
        part: split.part.saturating_add(1),
        sealed: next.sealed,
        ..split.clone()
    };
    let last = split.exchanges.highest().map(|last| last.saturating_add(1));
    let behind = last < next.exchanges.as_slice().first().map(|(first, _)| *first);
    behind && rest == *next
}
