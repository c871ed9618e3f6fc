//! Step 9: what the leaves say, taken together: times, boots, numbers, runs. Nothing may be left out
//! without showing.

use std::collections::{BTreeMap, HashMap};

use super::connections::Joins;
use super::coverage::Coverages;
use super::grown::{begins_with, continues};
use super::numbers::Numbers;
use super::runs::Runs;
use super::{Place, Report, What};
use crate::encoding::Id;
use crate::leaf::{
    Adopted, Exchange, Gap, Heartbeat, KeyChange, KeyRole, Leaf, Outcome, Previous, Progress,
    ProgressEntry, Ranges, Restart, Retention,
};
use crate::tree::Hash;

/// What the leaves so far have established.
#[derive(Debug, Default)]
pub(super) struct History {
    /// The log's name, which is in the names of its keys.
    origin: String,
    /// Key changes whose signatures hold, with their indices.
    pub(super) key_changes: Vec<(u64, KeyChange)>,
    /// The newest key of the log, and of run records, that a change put in place.
    newest: (Option<[u8; 32]>, Option<[u8; 32]>),
    sealed: u64,
    boots: HashMap<Id, Boot>,
    /// The boot of the latest restart leaf.
    current: Option<Id>,
    /// What the runs are.
    runs: Runs,
    /// What the kernel said.
    coverages: Coverages,
    /// Which connections carried what.
    joins: Joins,
    /// A heartbeat whose further parts are to come.
    split: Option<Heartbeat>,
}

#[derive(Debug, Default)]
struct Boot {
    /// Numbers that have a leaf.
    sealed: Numbers,
    /// The highest number that a heartbeat has stated.
    stated: u64,
    /// What progress leaves last said of exchanges that have no leaf yet.
    progress: BTreeMap<u64, ProgressEntry>,
    /// The numbers of those.
    told: Numbers,
    /// It said goodbye.
    closed: bool,
    /// What the next restart said of it.
    ended: Option<Previous>,
}

/// A rule that a leaf breaks, and how.
pub(super) type Broken = (What, String);

impl History {
    /// Before the first leaf of the log of this origin.
    pub(super) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), runs: Runs::new(origin), ..Self::default() }
    }

    /// Takes the next leaf.
    pub(super) fn leaf(&mut self, index: u64, leaf: &Leaf, hash: Hash, report: &mut Report) {
        report.count(leaf);
        // Step 9.1.
        if leaf.sealed() < self.sealed {
            let detail = format!("sealed at {}, before the leaf in front of it", leaf.sealed());
            report.find(What::Time, Place::Leaf(index), detail);
        }
        self.sealed = self.sealed.max(leaf.sealed());
        let fits = self.split_goes_on(leaf).and_then(|()| self.runs.fits(leaf));
        let fits = fits.and_then(|()| self.joins.fits(leaf));
        let result = fits.and_then(|()| match leaf {
            Leaf::Exchange(leaf) => self.exchange(leaf, hash, index),
            Leaf::Restart(leaf) => self.restart(leaf),
            Leaf::Heartbeat(leaf) => self.heartbeat(leaf),
            Leaf::Gap(leaf) => self.gap(leaf),
            Leaf::Adopted(leaf) => self.adopted(leaf, index),
            Leaf::Retention(leaf) => self.retention(leaf, index),
            Leaf::Progress(leaf) => self.progress(leaf),
            Leaf::KeyChange(leaf) => self.key_change(leaf, index),
            Leaf::RunOpened(leaf) => {
                self.speaker(leaf.boot).map(drop).and_then(|()| self.runs.opened(leaf))
            }
            Leaf::RunClosed(leaf) => {
                self.speaker(leaf.boot).map(drop).and_then(|()| self.runs.closed(leaf, hash, index))
            }
            Leaf::RunRecord(leaf) => {
                self.speaker(leaf.boot).map(drop).and_then(|()| self.runs.record(leaf))
            }
            Leaf::Coverage(leaf) => {
                let held = self.speaker(leaf.boot).map(drop);
                let held = held.and_then(|()| self.coverages.leaf(leaf, index));
                held.and_then(|()| self.joins.coverage(leaf, index, report))
            }
            Leaf::Connection(leaf) => {
                self.taker(leaf.boot).and_then(|()| self.joins.connection(leaf, index))
            }
            Leaf::Bypass(leaf) => {
                self.speaker(leaf.boot).map(drop).and_then(|()| self.joins.bypass(leaf))
            }
            Leaf::DnsQueries(leaf) => {
                self.speaker(leaf.boot).map(drop).and_then(|()| self.joins.asked(leaf, index))
            }
            Leaf::Unchecked(_) => Ok(()),
        });
        if let Err((what, detail)) = result {
            report.find(what, Place::Leaf(index), detail);
        }
    }

    /// Steps 9.17 and 9.18, after the last leaf.
    pub(super) fn finish(&mut self, report: &mut Report) {
        report.counts.boots = to_u64(self.boots.len());
        report.counts.runs = to_u64(self.runs.count());
        report.coverage = self.coverages.all();
        let over =
            |id: &Id| self.boots.get(id).is_some_and(|boot| boot.closed || boot.ended.is_some());
        std::mem::take(&mut self.joins).finish(over, report);
        if let Some(split) = &self.split {
            let detail = format!("the log ends after part {} of {}", split.part, split.parts);
            report.find(What::Heartbeat, Place::Log, detail);
        }
        let mut ended: Vec<_> =
            self.boots.iter().filter(|(_, boot)| boot.ended.is_some()).collect();
        ended.sort_by_key(|(id, _)| **id);
        for (id, boot) in ended {
            let highest = boot.ended.as_ref().map_or(0, |ended| ended.highest);
            if let Some(number) = boot.sealed.first_missing(highest, &Ranges::default()) {
                let detail = format!("exchange {number} of boot {id} has no leaf");
                report.find(What::Number, Place::Log, detail);
            }
        }
    }

    /// Step 9.2: one restart leaf opens each boot and settles the one before.
    fn restart(&mut self, leaf: &Restart) -> Result<(), Broken> {
        if self.boots.contains_key(&leaf.boot) {
            return broken(What::Boot, format!("boot {} restarts a second time", leaf.boot));
        }
        let last = self.current.replace(leaf.boot);
        self.boots.insert(leaf.boot, Boot::default());
        match (last, &leaf.previous) {
            (None, None) => Ok(()),
            (Some(last), Some(previous)) if previous.boot == last => self.settle(previous),
            (None, Some(previous)) => {
                broken(What::Boot, format!("the boot before, {}, is not in the log", previous.boot))
            }
            (Some(last), _) => broken(What::Boot, format!("does not name the boot before, {last}")),
        }
    }

    fn settle(&mut self, previous: &Previous) -> Result<(), Broken> {
        let Some(boot) = self.boots.get_mut(&previous.boot) else { return Ok(()) };
        boot.ended = Some(previous.clone());
        if previous.clean != boot.closed {
            let detail = if boot.closed {
                "says unclean after a closing heartbeat"
            } else {
                "says clean, but no heartbeat closed the boot"
            };
            return broken(What::Boot, detail.to_owned());
        }
        let reached = boot.sealed.highest().max(boot.stated);
        if previous.highest < reached || boot.closed && previous.highest != reached {
            let detail =
                format!("says {} was the highest number, it was {reached}", previous.highest);
            return broken(What::Number, detail);
        }
        Ok(())
    }

    /// Steps 9.3 to 9.5: times in order, each number once, each run a chain.
    fn exchange(&mut self, leaf: &Exchange, hash: Hash, index: u64) -> Result<(), Broken> {
        // The run goes on from this leaf even if another rule is broken, to report each break once.
        let run = self.runs.exchange(leaf, hash, index);
        if leaf.started > leaf.ended || leaf.ended > leaf.sealed {
            let (started, ended, sealed) = (leaf.started, leaf.ended, leaf.sealed);
            let detail =
                format!("started {started}, ended {ended}, sealed {sealed} are out of order");
            return broken(What::Time, detail);
        }
        let Some(boot) = self.boots.get_mut(&leaf.boot) else {
            return broken(
                What::Boot,
                format!("no restart leaf of boot {} came before", leaf.boot),
            );
        };
        if !boot.sealed.insert(leaf.number) {
            let detail =
                format!("exchange {} of boot {} has a second leaf", leaf.number, leaf.boot);
            return broken(What::Number, detail);
        }
        if let Some(earlier) = boot.progress.remove(&leaf.number) {
            boot.told.remove(leaf.number);
            begins_with(leaf, &earlier)?;
        }
        if boot.closed {
            return broken(What::Boot, format!("boot {} was closed before", leaf.boot));
        }
        if let Some(ended) = &boot.ended {
            if leaf.number > ended.highest {
                let detail = format!(
                    "number {} is above its boot's highest, {}",
                    leaf.number, ended.highest
                );
                return broken(What::Number, detail);
            }
            if ended.open.contains(leaf.number) && leaf.outcome != Outcome::Interrupted {
                let detail =
                    format!("exchange {} was open at a crash, so interrupted", leaf.number);
                return broken(What::Number, detail);
            }
        }
        run?;
        self.joins.exchange(leaf)
    }

    /// Step 9.6: parts of one heartbeat lie side by side.
    fn split_goes_on(&mut self, leaf: &Leaf) -> Result<(), Broken> {
        let Some(split) = &self.split else { return Ok(()) };
        let next = match leaf {
            Leaf::Heartbeat(next) => {
                next.part == split.part + 1
                    && (next.boot, next.parts, next.highest, next.clock, next.closing)
                        == (split.boot, split.parts, split.highest, split.clock, split.closing)
            }
            _ => false,
        };
        if next {
            return Ok(());
        }
        let detail =
            format!("part {} of {} of a heartbeat belongs here", split.part + 1, split.parts);
        self.split = None;
        broken(What::Heartbeat, detail)
    }

    /// Step 9.7: every number up to the highest is open or has a leaf.
    fn heartbeat(&mut self, leaf: &Heartbeat) -> Result<(), Broken> {
        let mut whole = leaf.clone();
        if let Some(split) = self.split.take() {
            whole.open = split.open;
            let extended = whole.open.extend(&leaf.open);
            extended.map_err(|error| (What::Heartbeat, error.to_string()))?;
        } else if leaf.part != 1 {
            return broken(What::Heartbeat, format!("part {} without those before it", leaf.part));
        }
        if whole.part < whole.parts {
            self.split = Some(whole);
            return Ok(());
        }
        let boot = self.speaker(leaf.boot)?;
        let reached = boot.sealed.highest().max(boot.stated);
        if leaf.highest < reached {
            let detail =
                format!("says {} is the highest number, {reached} came before", leaf.highest);
            return broken(What::Number, detail);
        }
        boot.stated = leaf.highest;
        boot.closed = leaf.closing;
        match boot.sealed.first_missing(leaf.highest, &whole.open) {
            Some(number) => {
                broken(What::Number, format!("exchange {number} is neither open nor sealed"))
            }
            None => Ok(()),
        }
    }

    /// Step 9.8.
    fn gap(&mut self, leaf: &Gap) -> Result<(), Broken> {
        self.speaker(leaf.boot)?;
        let ended = leaf.ended.unwrap_or(leaf.began);
        if leaf.began > ended || ended > leaf.sealed {
            return broken(What::Time, "began, ended and sealed are out of order".to_owned());
        }
        Ok(())
    }

    /// Step 9.8.
    fn adopted(&mut self, leaf: &Adopted, index: u64) -> Result<(), Broken> {
        self.speaker(leaf.boot)?;
        if leaf.size > index {
            let detail =
                format!("adopted a tree of {} leaves, only {index} came before", leaf.size);
            return broken(What::Boot, detail);
        }
        Ok(())
    }

    /// Step 9.8.
    fn retention(&mut self, leaf: &Retention, index: u64) -> Result<(), Broken> {
        self.speaker(leaf.boot)?;
        match leaf.leaves.highest() {
            Some(last) if last >= index => {
                broken(What::Leaf, format!("names leaf {last}, which does not come before it"))
            }
            _ => Ok(()),
        }
    }

    /// Step 9.12: what is said of an open exchange only grows.
    fn progress(&mut self, leaf: &Progress) -> Result<(), Broken> {
        let boot = self.speaker(leaf.boot)?;
        for (first, last) in leaf.unchanged.as_slice() {
            if !boot.told.covers(*first, *last) {
                let detail = format!("of {first} to {last}, not every one has an earlier entry");
                return broken(What::Progress, detail);
            }
        }
        for entry in &leaf.entries {
            let number = entry.number;
            if boot.sealed.contains(number) {
                return broken(What::Progress, format!("exchange {number} has its leaf already"));
            }
            boot.told.insert(number);
            if let Some(earlier) = boot.progress.insert(number, *entry)
                && !continues(entry, &earlier)
            {
                let detail = format!("exchange {number} is not what it was before, and more");
                return broken(What::Progress, detail);
            }
            boot.stated = boot.stated.max(number);
        }
        Ok(())
    }

    /// Step 9.13: both keys signed it, at this place, and it goes on from the change before.
    fn key_change(&mut self, leaf: &KeyChange, index: u64) -> Result<(), Broken> {
        if leaf.size != index {
            return broken(What::Key, format!("made to be leaf {}, not this one", leaf.size));
        }
        leaf.verify(&self.origin).map_err(|error| (What::Key, error.to_string()))?;
        let last = match leaf.role {
            KeyRole::Log => &mut self.newest.0,
            KeyRole::RunRecord => &mut self.newest.1,
        };
        if last.is_some_and(|newest| newest != leaf.old) {
            return broken(What::Key, "the key it replaces had been replaced before".to_owned());
        }
        *last = Some(leaf.new);
        self.key_changes.push((index, leaf.clone()));
        Ok(())
    }

    /// A boot that took something whose leaf may stand behind a later restart.
    fn taker(&self, id: Id) -> Result<(), Broken> {
        match self.boots.get(&id) {
            Some(boot) if !boot.closed => Ok(()),
            Some(_) => broken(What::Boot, format!("boot {id} was closed before")),
            None => broken(What::Boot, format!("no restart leaf of boot {id} came before")),
        }
    }

    /// The boot that may speak of itself now: the latest, unless it said goodbye.
    fn speaker(&mut self, id: Id) -> Result<&mut Boot, Broken> {
        let current = self.current == Some(id);
        match self.boots.get_mut(&id) {
            Some(boot) if current && !boot.closed => Ok(boot),
            Some(_) if current => broken(What::Boot, format!("boot {id} was closed before")),
            _ => broken(What::Boot, format!("boot {id} is not the one that runs")),
        }
    }
}

pub(super) fn broken<T>(what: What, detail: String) -> Result<T, Broken> {
    Err((what, detail))
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
