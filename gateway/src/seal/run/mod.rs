//! Runs as the ledger sees them: chained while open, closed by a leaf, recorded and forgotten.
//!
//! In: exchanges in the order of their leaves, and which runs are over. Out: the leaves of runs, and
//! [`SealedRecord`]s for the store. Holds one frontier for each open run, and the closing hashes of
//! the last named ones, which a later run of the same name may go on from. Never keeps a run that
//! is over.

mod recover;
#[cfg(test)]
mod tests;
mod under_way;

use std::collections::HashMap;
use std::sync::Arc;

use sealtap_common::encoding::Id;
use sealtap_common::leaf::{
    ClosedReason, EncodeError, Exchange, Extensions, Isolation, RunAfter, RunClosed, RunLink,
    RunOpened, RunRecord,
};
use sealtap_common::record::{Closing, Tally, key_id, record_hash, sign};
use sealtap_common::tree::{Hash, leaf_hash};
use sealtap_common::unit::RunNamedBy;

use super::keys::Keys;

pub use recover::unstored;
pub use under_way::UnderWay;

/// Closed names whose closing leaf is remembered, before the older half is forgotten.
const GENERATION: usize = 10_000;

/// A run's signed record, on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedRecord {
    /// The run.
    pub run: [u8; 16],
    /// The index of its closing leaf.
    pub closed_index: u64,
    /// The closing leaf, of which the record is a function.
    pub closed: Vec<u8>,
    /// The index of its run-record leaf.
    pub record_index: u64,
    /// Which key signed.
    pub key_id: String,
    /// The signature of the DSSE envelope.
    pub signature: [u8; 64],
}

/// The leaves that end a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedRun {
    /// Its closing leaf.
    pub closed: Vec<u8>,
    /// The leaf of its record, directly behind.
    pub leaf: Vec<u8>,
    /// The record.
    pub record: SealedRecord,
}

/// The open runs of this boot.
#[derive(Debug)]
pub struct Runs {
    boot: [u8; 16],
    keys: Arc<Keys>,
    isolation: Isolation,
    open: HashMap<[u8; 16], Open>,
    /// Closing hashes of named runs, by age.
    young: HashMap<[u8; 16], Hash>,
    old: HashMap<[u8; 16], Hash>,
    /// The run whose name a run that has no leaf yet took over.
    after: HashMap<[u8; 16], [u8; 16]>,
    /// Where the runs of earlier boots stand, until the first exchange of this one.
    earlier: HashMap<[u8; 16], (u64, Hash)>,
}

#[derive(Debug)]
struct Open {
    by: RunNamedBy,
    tally: Box<Tally>,
}

impl Runs {
    /// No run yet; `earlier` says where the runs stand that recovered exchanges belong to.
    #[must_use]
    pub fn new(
        boot: [u8; 16],
        keys: Arc<Keys>,
        isolation: Isolation,
        earlier: HashMap<[u8; 16], (u64, Hash)>,
    ) -> Self {
        Self {
            boot,
            keys,
            isolation,
            open: HashMap::new(),
            young: HashMap::new(),
            old: HashMap::new(),
            after: HashMap::new(),
            earlier,
        }
    }

    /// Open runs.
    #[must_use]
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// The place of a run's next exchange.
    #[must_use]
    pub fn link(&self, run: [u8; 16]) -> RunLink {
        if let Some(open) = self.open.get(&run) {
            return open.tally.next();
        }
        let last = self.earlier.get(&run);
        RunLink {
            id: Id(run),
            position: last.map_or(1, |(position, _)| position.saturating_add(1)),
            previous: last.map(|(_, hash)| *hash),
        }
    }

    /// Takes an exchange's leaf, which stands at `index`, and gives its hash.
    pub fn push(&mut self, leaf: &Exchange, by: RunNamedBy, bytes: &[u8], index: u64) -> Hash {
        let (run, hash) = (leaf.run.id.0, leaf_hash(bytes));
        if leaf.boot.0 != self.boot {
            // A run of an earlier boot ended with it: it is chained, and never closed.
            self.earlier.insert(run, (leaf.run.position, hash));
            return hash;
        }
        if !self.earlier.is_empty() {
            self.earlier = HashMap::new();
        }
        match self.open.get_mut(&run) {
            Some(open) => open.tally.push(leaf, hash, index),
            None => {
                let tally = Box::new(Tally::new(leaf, hash, index));
                self.open.insert(run, Open { by, tally });
            }
        }
        hash
    }

    /// Remembers that `run` took over the name of `previous`, which is closed.
    pub fn took_over(&mut self, run: [u8; 16], previous: [u8; 16]) {
        self.after.insert(run, previous);
    }

    /// The leaf in front of a run's first one, where there is something to say.
    ///
    /// # Errors
    ///
    /// The leaf does not fit the format.
    pub fn opening(&mut self, run: [u8; 16], sealed: u64) -> Result<Option<Vec<u8>>, EncodeError> {
        let Some(previous) = self.after.remove(&run) else { return Ok(None) };
        let closed = self.young.remove(&previous).or_else(|| self.old.remove(&previous));
        let Some(closed) = closed else { return Ok(None) };
        let leaf = RunOpened {
            boot: Id(self.boot),
            ext: Extensions::new(),
            previous: RunAfter { closed, run: Id(previous) },
            run: Id(run),
            sealed,
        };
        leaf.encode().map(Some)
    }

    /// Closes a run: its closing leaf, which will stand at `index`, and its record's leaf behind it.
    /// Nothing for a run without leaves.
    ///
    /// # Errors
    ///
    /// A leaf does not fit the format.
    pub fn close(
        &mut self,
        run: [u8; 16],
        reason: ClosedReason,
        sealed: u64,
        index: u64,
    ) -> Result<Option<ClosedRun>, EncodeError> {
        self.after.remove(&run);
        let Some(Open { by, tally }) = self.open.remove(&run) else { return Ok(None) };
        let closing = Closing { by, isolation: self.isolation, reason, sealed };
        let closed = tally.close(closing);
        let bytes = closed.encode()?;
        if by != RunNamedBy::Connection {
            self.remember(run, leaf_hash(&bytes));
        }
        let (leaf, record) = self.record(&closed, &bytes, sealed, index)?;
        Ok(Some(ClosedRun { closed: bytes, leaf, record }))
    }

    fn record(
        &self,
        closed: &RunClosed,
        bytes: &[u8],
        sealed: u64,
        index: u64,
    ) -> Result<(Vec<u8>, SealedRecord), EncodeError> {
        let signer = self.keys.run_record();
        let envelope = sign(self.keys.origin(), index, closed, signer);
        let leaf = RunRecord {
            boot: Id(self.boot),
            ext: Extensions::new(),
            record: record_hash(&envelope.payload),
            run: closed.run,
            sealed,
        };
        let record = SealedRecord {
            run: closed.run.0,
            closed_index: index,
            closed: bytes.to_vec(),
            record_index: index.saturating_add(1),
            key_id: key_id(signer.public()),
            signature: envelope.signature,
        };
        Ok((leaf.encode()?, record))
    }

    /// The runs that are open, in a fixed order.
    #[must_use]
    pub fn all(&self) -> Vec<[u8; 16]> {
        let mut all: Vec<_> = self.open.keys().copied().collect();
        all.sort_unstable();
        all
    }

    fn remember(&mut self, run: [u8; 16], closed: Hash) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(run, closed);
    }
}
