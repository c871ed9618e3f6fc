//! Audit: a data directory's store held against its own published log, for `sealtap verify`.
//!
//! In: a report on the log. Out: the same report with what the store adds: each stored head and
//! body, and who made connections, went around or asked for which names, opened against its leaf,
//! every difference a finding. What the store does not have must be in
//! the journal, as it was sealed, or be named by a statement of retention. Where the store claims to
//! have it all the same, that is a finding; elsewhere its being gone is all that is known of it, and
//! the verdict is undecided. So it is where a gateway prunes meanwhile, under leaves that the report
//! has not checked.

#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

use sealtap_common::commit::Unit;
use sealtap_common::leaf::{Exchange, Leaf, Outcome, Ranges};
use sealtap_common::verify::{Bodies, Finding, Place, Report, What};

use super::{Check, Direction, LeafLookup, StoreError, StoreReader, Waiting, facts};
use crate::data::DataDir;
use crate::seal::digest::Digested;
use crate::seal::log::{published, read_entries};
use crate::seal::preview::{InJournal, journaled};

/// Leaves read at a time.
const STRIDE: u64 = 1_024;

/// Opens everything in the store of `data` against the leaves that `report` has checked.
pub fn audit(data: &DataDir, report: &mut Report) {
    let opened = match StoreReader::open(&data.store()) {
        // What a gateway had before its first exchange was stored; all must be in the journal.
        Err(StoreError::Missing { .. }) => StoreReader::empty(&data.store()),
        opened => opened,
    };
    let mut store = match opened {
        Ok(store) => store,
        Err(error) => return report.add(content(Place::Log, error.to_string())),
    };
    let mut leaves = Leaves {
        data: data.clone(),
        size: report.size,
        held: 0..0,
        bytes: Vec::new(),
        journal: None,
    };
    let mut found = Vec::new();
    let checked = store.check(report.size, &mut leaves, &mut |finding| {
        found.push(content(Place::Leaf(finding.leaf), finding.to_string()));
    });
    let strays = store.strays(&mut || {
        let size = published(&data.log()).ok().flatten().map_or(0, |checkpoint| checkpoint.size);
        Ok(size.max(report.size))
    });
    match strays.map(super::Strays::words) {
        Ok(None) => {}
        Ok(Some(words)) => found.push(content(Place::Log, words)),
        Err(error) => found.push(content(Place::Log, error.to_string())),
    }
    let sound = found.is_empty();
    found.into_iter().for_each(|finding| report.add(finding));
    if !sound {
        report.bodies = Bodies::Differ;
    }
    match checked {
        Ok(check) => {
            let Check { exchanges: opened, bytes, pruned, pending: waiting, absent, .. } = check;
            let beside = check.beside;
            if sound {
                let units = beside.checked.saturating_add(beside.pending);
                report.bodies = Bodies::Checked { opened, bytes, pruned, waiting, units };
            }
            if beside.absent > 0 {
                let units = if beside.absent == 1 { "unit is" } else { "units are" };
                report.undecided(format!(
                    "{} sealed {units} neither in the store nor in the journal: who made connections, \
                     who went around or which names were asked for is not checked",
                    beside.absent
                ));
            }
            let since = check.since.saturating_add(beside.since);
            if since > 0 {
                let leaves = if since == 1 { "leaf binds" } else { "leaves bind" };
                report.undecided(format!(
                    "what {since} {leaves} went while this ran, under leaves that came after those that \
                     were checked: check again"
                ));
            }
            if absent > 0 {
                let exchanges = if absent == 1 { "exchange is" } else { "exchanges are" };
                report.undecided(format!(
                    "{absent} sealed {exchanges} neither in the store nor in the journal: not checked"
                ));
            }
        }
        // It says nothing of what was sealed, and it may be a gateway that is at work.
        Err(error @ StoreError::Pending { .. }) => report.undecided(error.to_string()),
        Err(error) => report.add(content(Place::Log, error.to_string())),
    }
}

fn content(place: Place, detail: String) -> Finding {
    Finding { what: What::Content, place, detail }
}

/// The published leaves, a stretch at a time, and the journal once something is looked up in it.
struct Leaves {
    data: DataDir,
    size: u64,
    held: Range<u64>,
    bytes: Vec<Vec<u8>>,
    journal: Option<InJournal>,
}

/// How the journal's exchange differs from the one that was sealed, if it does.
fn differs(digested: Digested, index: u64, bytes: &[u8], leaf: &Exchange) -> Option<String> {
    let request = digested.request.0;
    let response = digested.response.as_ref().map(|(body, ..)| *body);
    let sealed = digested.into_sealed(index, bytes.to_vec());
    let facts = match facts::of(&sealed) {
        Ok(facts) => facts,
        Err(fault) => return Some(fault.into_detail()),
    };
    let made = [(Direction::Request, Some(request)), (Direction::Response, response)];
    made.into_iter().find_map(|(direction, made)| match made {
        Some(made) if direction.bound_by(leaf).is_some() => {
            facts.check_body(&sealed, direction, &made).err().map(|fault| fault.into_detail())
        }
        _ => None,
    })
}

impl Leaves {
    fn journal(&mut self) -> io::Result<&mut InJournal> {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => journaled(&self.data)?,
        };
        Ok(self.journal.insert(journal))
    }
}

impl LeafLookup for Leaves {
    fn leaf(&mut self, index: u64) -> io::Result<Vec<u8>> {
        if !self.held.contains(&index) {
            let end = index.saturating_add(STRIDE).min(self.size);
            self.bytes = read_entries(&self.data.log(), index..end).map_err(io::Error::other)?;
            self.held = index..end;
        }
        let place = usize::try_from(index.saturating_sub(self.held.start)).unwrap_or(usize::MAX);
        self.bytes.get(place).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn waiting(&mut self, index: u64, bytes: &[u8], leaf: &Exchange) -> io::Result<Waiting> {
        let found = self.journal()?.exchanges.remove(&leaf.exchange.0);
        // Where the journal ends before an exchange that was sealed whole, its rest is damaged or gone:
        // that says nothing of what is there.
        let found = found.filter(|(_, open)| !open || leaf.outcome == Outcome::Interrupted);
        Ok(match found.map(|(digested, _)| differs(*digested, index, bytes, leaf)) {
            None => Waiting::No,
            Some(None) => Waiting::AsSealed,
            Some(Some(detail)) => Waiting::Otherwise(detail),
        })
    }

    fn stated_since(&mut self, size: u64) -> io::Result<Vec<Ranges>> {
        let log = self.data.log();
        let end = published(&log).map_err(io::Error::other)?.map_or(0, |now| now.size);
        let (mut from, mut stated) = (size, Vec::new());
        while from < end {
            let next = from.saturating_add(STRIDE).min(end);
            let leaves = read_entries(&log, from..next).map_err(io::Error::other)?;
            stated.extend(leaves.iter().filter_map(|bytes| match Leaf::decode(bytes) {
                Ok(Leaf::Retention(leaf)) => Some(leaf.leaves),
                _ => None,
            }));
            from = next;
        }
        Ok(stated)
    }

    fn keeps(&mut self, unit: &Unit) -> io::Result<bool> {
        // Of what was never sealed the journal may hold as much as it likes.
        Ok(self.journal()?.units.contains(&unit.root))
    }
}
