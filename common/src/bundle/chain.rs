//! What the leaves of a bundle say of the run, and of the keys, and whether they agree.

use super::leaf_folder;
use crate::leaf::{
    Exchange, Heartbeat, KeyChange, KeyRole, Leaf, Restart, RunClosed, RunOpened, RunRecord,
};
use crate::note::PublicKey;
use crate::record::{Tally, record_hash, statement};
use crate::tree::Hash;
use crate::unit::RunNamedBy;
use crate::verify::{Followed, as_its_leaves_say};

/// What the leaves of a bundle say.
#[derive(Default)]
pub(super) struct Run {
    /// The exchanges, while every one from the first on is there.
    pub(super) tally: Option<Tally>,
    pub(super) last: Option<Last>,
    pub(super) restart: Option<(u64, Restart)>,
    pub(super) opened: Option<(u64, RunOpened)>,
    pub(super) heartbeat: Option<(u64, Heartbeat)>,
    pub(super) closed: Option<(u64, RunClosed)>,
    pub(super) sealed: Option<(u64, RunRecord)>,
    /// The restart behind the run, of the next boot.
    pub(super) next_boot: Option<(u64, Restart)>,
    /// What a disclosed context says of how the run was delimited.
    pub(super) by: Option<(u64, RunNamedBy)>,
    /// Exchanges in the bundle, and positions that are not.
    pub(super) count: u64,
    pub(super) missing: Vec<(u64, u64)>,
    pub(super) highest: u64,
}

/// The last exchange seen.
#[derive(Clone, Copy)]
pub(super) struct Last {
    pub(super) index: u64,
    pub(super) hash: Hash,
    pub(super) position: u64,
    pub(super) run: crate::Id,
    pub(super) boot: crate::Id,
}

fn place<T>(place: &mut Option<(u64, T)>, index: u64, leaf: T) -> bool {
    let free = place.is_none();
    *place = Some((index, leaf));
    free
}

impl Run {
    /// Takes a leaf that says something about the run; whether it may stand here.
    pub(super) fn take(&mut self, index: u64, leaf: Leaf) -> bool {
        let begun = self.last.is_some();
        match leaf {
            Leaf::Restart(leaf) if self.restart.is_none() => place(&mut self.restart, index, leaf),
            Leaf::Restart(leaf) => place(&mut self.next_boot, index, leaf),
            Leaf::RunOpened(leaf) if !begun => place(&mut self.opened, index, leaf),
            Leaf::Heartbeat(leaf) if begun => place(&mut self.heartbeat, index, leaf),
            Leaf::RunClosed(leaf) => place(&mut self.closed, index, *leaf),
            Leaf::RunRecord(leaf) => place(&mut self.sealed, index, leaf),
            _ => false,
        }
    }

    /// Takes the next exchange; what is wrong with its place in the run.
    pub(super) fn push(&mut self, leaf: &Exchange, hash: Hash, index: u64) -> Option<String> {
        let link = &leaf.run;
        self.count += 1;
        self.highest = self.highest.max(leaf.number);
        let before = self.last.as_ref().map_or(0, |last| last.position);
        let mut wrong = None;
        if let Some(last) = &self.last {
            if (last.run, last.boot) != (link.id, leaf.boot) {
                wrong = Some("is of another run or boot".to_owned());
            } else if link.position <= last.position {
                wrong = Some(format!("position {} comes after {}", link.position, last.position));
            } else if link.position == last.position + 1 && link.previous != Some(last.hash) {
                wrong = Some("does not name the leaf before it in the run".to_owned());
            }
        }
        if link.position > before + 1 {
            self.missing.push((before + 1, link.position - 1));
            self.tally = None;
        } else if link.position == 1 {
            if link.previous.is_some() {
                wrong = Some("is the first of its run and names one before".to_owned());
            }
            self.tally = Some(Tally::new(leaf, hash, index));
        } else if let Some(tally) = &mut self.tally {
            tally.push(leaf, hash, index);
        }
        let (position, run, boot) = (link.position, link.id, leaf.boot);
        self.last = Some(Last { index, hash, position, run, boot });
        wrong
    }

    /// What the leaves beside the exchanges say that is not so.
    pub(super) fn wrong(&mut self, last: &Last, origin: &str) -> Vec<(String, String)> {
        let mut wrong = Vec::new();
        let mut at = |index: u64, detail: &str| wrong.push((leaf_folder(index), detail.to_owned()));
        match &self.restart {
            Some((_, leaf)) if leaf.boot == last.boot => {}
            Some((index, _)) => at(*index, "is the restart of another boot"),
            None => at(last.index, "the restart of its boot is missing"),
        }
        if let Some((index, leaf)) = &self.opened {
            let first = self.tally.as_ref().map(|tally| tally.first());
            if leaf.run != last.run || first != index.checked_add(1) {
                at(*index, "does not stand in front of the run's first exchange");
            }
        }
        if let Some((index, leaf)) = &self.heartbeat {
            if leaf.boot != last.boot || *index < last.index {
                at(*index, "is no heartbeat of the run's boot behind the run");
            } else if leaf.highest < self.highest {
                at(*index, "says that fewer numbers were given than the run has");
            }
        }
        if let Some((index, leaf)) = &self.next_boot {
            let named = leaf.previous.as_ref().is_some_and(|boot| boot.boot == last.boot);
            if !named || self.closed.is_some() {
                at(*index, "is not the restart behind a run that was left open");
            }
        }
        if let Some((index, leaf)) = &self.closed {
            if (leaf.run, leaf.boot) != (last.run, last.boot) || *index < last.index {
                at(*index, "closes another run");
            } else if let Some(tally) = self.tally.as_ref().filter(|_| self.missing.is_empty())
                && (leaf.count <= last.position)
            {
                if let Err(detail) = as_its_leaves_say(tally, leaf) {
                    at(*index, &detail);
                }
            } else if leaf.count < last.position {
                at(*index, "closes the run at fewer exchanges than are here");
            } else if leaf.count > last.position {
                self.missing.push((last.position + 1, leaf.count));
            } else if leaf.last.hash != last.hash {
                at(*index, "names another last leaf");
            }
            if let Some((shown, by)) = &self.by
                && *by != leaf.by
                && *shown == leaf.first
            {
                at(*shown, "its context says that the run was delimited in another way");
            }
        }
        match (&self.sealed, &self.closed) {
            (Some((index, leaf)), Some((before, closed))) => {
                let hash = record_hash(&statement(origin, *before, closed));
                if Some(*index) != before.checked_add(1)
                    || leaf.run != last.run
                    || leaf.boot != last.boot
                    || leaf.record != hash
                {
                    at(*index, "is not the record of this run");
                }
            }
            (Some((index, _)), None) => at(*index, "records a run that is not closed here"),
            (None, _) => {}
        }
        wrong
    }
}

/// The key changes of a bundle.
#[derive(Default)]
pub(super) struct KeyChain(Vec<(u64, KeyChange)>);

impl KeyChain {
    pub(super) fn push(&mut self, index: u64, leaf: KeyChange) {
        self.0.push((index, leaf));
    }

    /// What does not hold of them by themselves: rule 9.13, as far as it asks for one key role.
    pub(super) fn wrong(&self, origin: &str) -> Vec<(u64, String)> {
        let mut wrong = Vec::new();
        let (mut log, mut run_record) = (None, None);
        for (index, leaf) in &self.0 {
            let newest = match leaf.role {
                KeyRole::Log => &mut log,
                KeyRole::RunRecord => &mut run_record,
            };
            let before = newest.replace(leaf.new);
            if let Err(error) = leaf.verify(origin) {
                wrong.push((*index, error.to_string()));
            } else if leaf.size != *index {
                wrong.push((*index, format!("was signed as leaf {}", leaf.size)));
            } else if before.is_some_and(|before| before != leaf.old) {
                wrong.push((*index, "replaces a key that had been replaced".to_owned()));
            }
        }
        wrong
    }

    /// Those that hold by themselves.
    pub(super) fn holding(&self, origin: &str) -> Vec<(u64, KeyChange)> {
        let holds =
            |(index, leaf): &&(u64, KeyChange)| leaf.size == *index && leaf.verify(origin).is_ok();
        self.0.iter().filter(holds).cloned().collect()
    }

    /// The keys that may have signed run records: those given, and those that changes lead to from
    /// them, in either direction, since both keys sign a change.
    pub(super) fn run_record(&self, origin: &str, given: Vec<PublicKey>) -> Vec<PublicKey> {
        let changes = self.0.iter().filter(|(_, leaf)| leaf.role == KeyRole::RunRecord);
        let changes: Vec<_> = changes.filter_map(|(_, leaf)| leaf.verify(origin).ok()).collect();
        let mut keys = Followed::from(given);
        changes.iter().for_each(|(old, new)| keys.forward(old, new));
        changes.iter().rev().for_each(|(old, new)| keys.back(old, new));
        keys.into_keys()
    }
}
