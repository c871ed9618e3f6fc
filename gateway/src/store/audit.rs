//! Audit: a data directory's store held against its own published log, for `sealtap verify`.
//!
//! In: a report on the log. Out: the same report with what the store adds: each stored head and
//! body opened against its leaf, every difference a finding.

use std::io;
use std::ops::Range;

use sealtap_common::verify::{Bodies, Finding, Place, Report, What};

use super::{Check, LeafLookup, StoreError, StoreReader};
use crate::data::DataDir;
use crate::seal::log::read_entries;

/// Leaves read at a time.
const STRIDE: u64 = 1_024;

/// Opens everything in the store of `data` against the leaves that `report` has checked.
pub fn audit(data: &DataDir, report: &mut Report) {
    let mut store = match StoreReader::open(&data.store()) {
        Ok(store) => store,
        // Nothing has been stored yet: everything is in the journal.
        Err(StoreError::Missing { .. }) => return,
        Err(error) => return report.add(content(Place::Log, error.to_string())),
    };
    let mut leaves =
        Leaves { data: data.clone(), size: report.size, held: 0..0, bytes: Vec::new() };
    let mut found = Vec::new();
    let checked = store.check(report.size, &mut leaves, &mut |finding| {
        found.push(content(Place::Leaf(finding.leaf), finding.to_string()));
    });
    let sound = found.is_empty();
    found.into_iter().for_each(|finding| report.add(finding));
    match checked {
        Ok(check) if sound => {
            let Check { exchanges: opened, bytes, pruned, .. } = check;
            report.bodies = Bodies::Checked { opened, bytes, pruned };
        }
        Ok(_) => {}
        Err(error) => report.add(content(Place::Log, error.to_string())),
    }
}

fn content(place: Place, detail: String) -> Finding {
    Finding { what: What::Content, place, detail }
}

/// The published leaves, a stretch at a time.
struct Leaves {
    data: DataDir,
    size: u64,
    held: Range<u64>,
    bytes: Vec<Vec<u8>>,
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
}
