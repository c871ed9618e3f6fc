//! The coverage that a run had, as far as a bundle shows it: the connections that its exchanges came
//! over, and what was stated while these were open.
//!
//! In: the exchanges of the run, and the leaves about coverages beside them, in the order of the log.
//! Out: what does not fit; and what each coverage saw between the statement before the first of those
//! connections and the one by which the last was over. What a bundle leaves out cannot be seen here, but
//! that it is not here can be.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::window::Window;
use crate::encoding::Id;
use crate::leaf::{
    Attribution, CONNECTION_EXTENSION, Connection, ConnectionEnd, Coverage, CoverageSaid, Exchange,
    Leaf, connection_tag,
};
use crate::tree::Hash;
use crate::verify::{Covered, Reach, goes_on, unfounded};

/// What the leaves of a bundle say of coverages.
#[derive(Default)]
pub(super) struct Coverings {
    of: BTreeMap<Id, Window>,
    /// What each exchange says of the connection it came over, by its number.
    exchanges: BTreeMap<u64, Option<Hash>>,
    /// How many exchanges name each connection.
    named: HashMap<Hash, u64>,
    /// Connections whose leaves are here.
    shown: HashSet<Hash>,
    /// A connection whose further parts are to come, the index of the last one, and how many of the
    /// run's exchanges it named so far.
    split: Option<(u64, Box<Connection>, u64)>,
    reach: Reached,
}

/// How many of the run's exchanges came over connections of a coverage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// Those that did.
    pub inside: u64,
    /// Those that came another way.
    pub outside: u64,
    /// Those that did, over connections whose leaves are in the bundle.
    pub shown: u64,
    /// Those connections.
    pub connections: u64,
    /// Those among them of which nobody knows who made them.
    pub unknown: u64,
}

impl Coverings {
    /// Takes the next exchange of the run; what is wrong with the connection that it names.
    pub(super) fn exchange(&mut self, leaf: &Exchange) -> Option<String> {
        let tag = leaf.ext.get(CONNECTION_EXTENSION).copied();
        let side = match tag {
            Some(_) => &mut self.reach.inside,
            None => &mut self.reach.outside,
        };
        *side = side.saturating_add(1);
        self.exchanges.insert(leaf.number, tag);
        let tag = tag?;
        let named = self.named.entry(tag).or_default();
        *named = named.saturating_add(1);
        let is_over = self.shown.contains(&tag);
        is_over.then(|| "came over a connection that had ended".to_owned())
    }

    /// Takes a leaf about a coverage; `None` where it is none, else what is wrong with it.
    pub(super) fn take(&mut self, index: u64, leaf: &Leaf) -> Option<Result<(), String>> {
        match leaf {
            Leaf::Coverage(leaf) => Some(self.coverage(index, leaf)),
            Leaf::Connection(leaf) => Some(self.connection(index, leaf)),
            Leaf::Bypass(leaf) => {
                Some(self.window(&leaf.coverage, &leaf.boot).and_then(|of| of.bypass(leaf)))
            }
            _ => None,
        }
    }

    fn window(&mut self, coverage: &Id, boot: &Id) -> Result<&mut Window, String> {
        let of = self.of.get_mut(coverage).filter(|of| of.covered.boot == *boot);
        of.ok_or_else(|| format!("is about coverage {coverage}, whose beginning is not here"))
    }

    fn coverage(&mut self, index: u64, leaf: &Coverage) -> Result<(), String> {
        let at = (index, leaf.sealed);
        if let CoverageSaid::Armed(armed) = &leaf.said {
            let window = Window::new(leaf.coverage, leaf.boot, armed, at);
            return match self.of.insert(leaf.coverage, window) {
                None => unfounded(armed),
                Some(_) => Err(format!("arms coverage {} twice", leaf.coverage)),
            };
        }
        let of = self.window(&leaf.coverage, &leaf.boot)?;
        match &leaf.said {
            CoverageSaid::Armed(_) => Ok(()),
            CoverageSaid::Canary(canary) => of.canary(canary, at),
            CoverageSaid::Heartbeat(said) => {
                of.statement(Some(&said.counts), said.arrived, said.number, at)
            }
            CoverageSaid::Closed(counts, arrived, number, reason) => {
                of.statement(counts.as_ref(), *arrived, *number, at)?;
                of.covered.end = Some(*reason);
                Ok(())
            }
        }
    }

    fn connection(&mut self, index: u64, leaf: &Connection) -> Result<(), String> {
        let tag = connection_tag(&leaf.connection);
        let split = self.split.take();
        let mut matched = match &split {
            Some((at, before, matched)) => {
                if at.checked_add(1) != Some(index) || !goes_on(before, leaf) {
                    return Err("is not the part that belongs here".to_owned());
                }
                *matched
            }
            None => {
                self.begins(leaf, tag)?;
                0
            }
        };
        for (first, last) in leaf.exchanges.as_slice() {
            for (number, own) in self.exchanges.range(*first..=*last) {
                if *own != Some(tag) {
                    return Err(format!("names exchange {number}, which did not come over it"));
                }
                matched = matched.saturating_add(1);
            }
        }
        if leaf.part < leaf.parts {
            self.split = Some((index, Box::new(leaf.clone()), matched));
            return Ok(());
        }
        self.reach.shown = self.reach.shown.saturating_add(matched);
        match self.named.get(&tag) {
            Some(named) if *named == matched => Ok(()),
            _ => Err("does not name every exchange that came over it".to_owned()),
        }
    }

    /// The first part of a connection.
    fn begins(&mut self, leaf: &Connection, tag: Hash) -> Result<(), String> {
        if leaf.part != 1 {
            return Err("is a part of a connection without those before".to_owned());
        }
        if !self.named.contains_key(&tag) || leaf.end == ConnectionEnd::Refused {
            return Err("is a connection that carried nothing of the run".to_owned());
        }
        if leaf.began > leaf.ended || leaf.ended > leaf.sealed {
            return Err("began, ended and sealed are out of order".to_owned());
        }
        if !self.shown.insert(tag) {
            return Err(format!("connection {} has a second leaf", leaf.connection));
        }
        self.reach.connections = self.reach.connections.saturating_add(1);
        let is_unknown = leaf.attribution == Attribution::Unknown;
        self.reach.unknown = self.reach.unknown.saturating_add(u64::from(is_unknown));
        self.window(&leaf.coverage, &leaf.boot)?.connection(leaf)
    }

    /// What is wrong with all of it, taken together with the boot of the run.
    pub(super) fn wrong(&self, boot: Id) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.split.is_some() {
            wrong.push("the last part of a connection is missing".to_owned());
        }
        for (id, of) in &self.of {
            if of.covered.boot != boot {
                wrong.push(format!("coverage {id} is of another boot than the run"));
            }
            wrong.extend(of.wrong().map(|detail| format!("coverage {id} {detail}")));
        }
        wrong
    }

    /// What is inside, and what each coverage saw meanwhile, the first armed first.
    pub(super) fn finish(self) -> (Reached, Vec<Covered>) {
        let mut all: Vec<_> = self.of.into_values().map(Window::finish).collect();
        all.sort_by_key(|covered| covered.from);
        (self.reach, all)
    }
}

impl Reached {
    /// The same as a log says it of a run.
    pub(super) fn of(&self, run: Id) -> Reach {
        Reach { run, inside: self.inside, outside: self.outside }
    }
}
