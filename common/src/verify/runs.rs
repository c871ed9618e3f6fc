//! Steps 9.5 and 9.9 to 9.11: each run is a chain, and what is said of it when it is opened, closed
//! and recorded is what its leaves say.

use std::collections::HashMap;

use super::What;
use super::history::{Broken, broken};
use crate::encoding::Id;
use crate::leaf::{Exchange, Leaf, RunClosed, RunOpened, RunRecord};
use crate::record::{Closing, Tally, record_hash, statement};
use crate::tree::Hash;

/// The runs of a log so far.
#[derive(Debug, Default)]
pub(super) struct Runs {
    origin: String,
    runs: HashMap<Id, Run>,
    /// The run that a leaf directly in front opened: its first exchange is next.
    opened: Option<Id>,
    /// The leaf directly in front, if it closed a run, and its index.
    closed: Option<(u64, RunClosed)>,
}

#[derive(Debug)]
enum Run {
    Open(Box<Tally>),
    /// The hash of its closing leaf.
    Closed(Hash),
}

impl Runs {
    pub(super) fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    pub(super) fn count(&self) -> usize {
        self.runs.len()
    }

    /// Whether a leaf may stand where it stands, next to those of runs.
    pub(super) fn fits(&mut self, leaf: &Leaf) -> Result<(), Broken> {
        if !matches!(leaf, Leaf::RunRecord(_)) {
            self.closed = None;
        }
        let Some(opened) = self.opened.take() else { return Ok(()) };
        match leaf {
            Leaf::Exchange(next) if next.run.id == opened && next.run.position == 1 => Ok(()),
            _ => broken(What::Run, format!("the first exchange of run {opened} belongs here")),
        }
    }

    /// Step 9.5.
    pub(super) fn exchange(
        &mut self,
        leaf: &Exchange,
        hash: Hash,
        index: u64,
    ) -> Result<(), Broken> {
        let link = &leaf.run;
        let expected = match self.runs.get_mut(&link.id) {
            None => {
                self.runs.insert(link.id, Run::Open(Box::new(Tally::new(leaf, hash, index))));
                (1, None)
            }
            Some(Run::Open(tally)) => {
                let expected = tally.next();
                tally.push(leaf, hash, index);
                (expected.position, expected.previous)
            }
            Some(Run::Closed(_)) => {
                return broken(What::Run, format!("run {} was closed before", link.id));
            }
        };
        if link.position != expected.0 {
            let (id, found, expected) = (link.id, link.position, expected.0);
            let detail = format!("position {found} of run {id} where {expected} belongs");
            return broken(What::Run, detail);
        }
        if link.previous != expected.1 {
            let detail = format!("does not name the leaf before it in run {}", link.id);
            return broken(What::Run, detail);
        }
        Ok(())
    }

    /// Step 9.9.
    pub(super) fn opened(&mut self, leaf: &RunOpened) -> Result<(), Broken> {
        if self.runs.contains_key(&leaf.run) {
            return broken(What::Run, format!("run {} has leaves before this one", leaf.run));
        }
        self.opened = Some(leaf.run);
        match self.runs.get(&leaf.previous.run) {
            Some(Run::Closed(hash)) if *hash == leaf.previous.closed => Ok(()),
            _ => broken(What::Run, format!("run {} was not closed so", leaf.previous.run)),
        }
    }

    /// Step 9.10.
    pub(super) fn closed(
        &mut self,
        leaf: &RunClosed,
        hash: Hash,
        index: u64,
    ) -> Result<(), Broken> {
        self.closed = Some((index, leaf.clone()));
        let Some(Run::Open(tally)) = self.runs.insert(leaf.run, Run::Closed(hash)) else {
            return broken(What::Run, format!("there is no open run {} to close", leaf.run));
        };
        as_its_leaves_say(&tally, leaf).map_err(|detail| (What::Run, detail))
    }

    /// Step 9.11.
    pub(super) fn record(&mut self, leaf: &RunRecord) -> Result<(), Broken> {
        match self.closed.take() {
            Some((index, closed)) if closed.run == leaf.run => {
                if record_hash(&statement(&self.origin, index, &closed)) == leaf.record {
                    return Ok(());
                }
                let detail =
                    format!("is not the record that the closing of run {} gives", leaf.run);
                broken(What::Run, detail)
            }
            _ => broken(What::Run, format!("the closing of run {} is not in front", leaf.run)),
        }
    }
}

/// Whether a closing leaf says what the run's leaves say; else what it should say.
pub(crate) fn as_its_leaves_say(tally: &Tally, leaf: &RunClosed) -> Result<(), String> {
    let closing = Closing {
        by: leaf.by,
        isolation: leaf.isolation,
        reason: leaf.reason,
        sealed: leaf.sealed,
    };
    let mut expected = tally.close(closing);
    expected.ext.clone_from(&leaf.ext);
    if leaf.count != expected.count {
        let (found, count) = (leaf.count, expected.count);
        return Err(format!("closes run {} at {found} exchanges, it has {count}", leaf.run));
    }
    if !tally.is_of_one_boot() || *leaf != expected {
        return Err(format!("does not say of run {} what its leaves say", leaf.run));
    }
    Ok(())
}
