//! What a verification found, and what it cannot say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::connections::{Joined, Reach};
use super::coverage::Covered;
use super::dated::Dated;
use super::queries::Queried;
use super::witnessed::Witnessed;
use crate::leaf::{KeyChange, Leaf};
use crate::tree::Hash;
use crate::words::words;

/// Findings that are kept; one broken file can lead to thousands, which are only counted.
const KEPT: usize = 100;

words! {
    /// What a finding is about.
    What {
        /// A file that the tree has is not there.
        Missing = "missing file",
        /// A file that the tree does not have is there.
        Stranger = "file that does not belong",
        /// The checkpoint is not canonical.
        Checkpoint = "checkpoint",
        /// The log's signature does not hold, or a line is no signature.
        Signature = "signature",
        /// An entry bundle is misshapen.
        Bundle = "entry bundle",
        /// An entry is not a leaf.
        Leaf = "leaf",
        /// A hash tile differs from the entries.
        HashTile = "hash tile",
        /// A left-over partial tile differs from what took its place.
        Superseded = "superseded tile",
        /// The entries lead to another root.
        Root = "root",
        /// Times run backwards.
        Time = "time",
        /// A boot does not begin, end or follow as it must.
        Boot = "boot",
        /// An exchange number is missing, double or out of bounds.
        Number = "number",
        /// A run is not a chain.
        Run = "run",
        /// A heartbeat's parts do not fit.
        Heartbeat = "heartbeat",
        /// A progress leaf and what follows do not fit each other.
        Progress = "progress",
        /// A bundle is not the one archive of its content.
        Archive = "bundle file",
        /// A run record is not what the log says.
        Record = "run record",
        /// The private store does not hold what a leaf commits to.
        Content = "content",
        /// What the kernel is said to have seen cannot be true together.
        Coverage = "coverage",
        /// A key change, or the key that should sign after it.
        Key = "key",
        /// A witness saw another tree, or did not cosign what bears its name.
        Cosignature = "cosignature",
        /// A token dates another tree.
        Timestamp = "timestamp",
    }
}

words! {
    /// A check that ran to its end, whatever it found.
    Check {
        /// Steps 1 and 2.
        Checkpoint = "checkpoint is canonical",
        /// Step 3.
        Signature = "signature under a given key",
        /// Step 4.
        Names = "every file belongs",
        /// Steps 5, 6 and 8.
        Tree = "every entry and hash tile, byte for byte",
        /// Step 7.
        Root = "root over all entries",
        /// Steps 9 and 10.
        Leaves = "times, boots, numbers and runs of all leaves",
        /// Step 12.
        Witnesses = "cosignatures of the policy's quorum",
        /// Of a bundle: the run record.
        Record = "run record's signature under a given key",
    }
}

/// Where a finding lies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The log as a whole.
    Log,
    /// A file, by its path below the log's root.
    File(String),
    /// A leaf, by its index.
    Leaf(u64),
}

impl Place {
    /// A file, by its path below the log's root.
    pub fn file(path: impl ToString) -> Self {
        Self::File(path.to_string())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Log => f.write_str("the log"),
            Self::File(path) => f.write_str(path),
            Self::Leaf(index) => write!(f, "leaf {index}"),
        }
    }
}

/// One thing that makes the log invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub what: What,
    /// Where it lies.
    pub place: Place,
    /// What exactly is wrong.
    pub detail: String,
}

/// The answer in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was checked and holds, under a key that was given.
    Valid,
    /// Something does not hold.
    Invalid,
    /// Nothing was found wrong, but not everything could be decided.
    Undecided,
}

impl Verdict {
    /// The exit code of `verify`: 0, 1 or 2.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Valid => 0,
            Self::Invalid => 1,
            Self::Undecided => 2,
        }
    }

    /// The verdict as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Undecided => "undecided",
        }
    }
}

/// What is known of the bodies that leaves commit to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bodies {
    /// Only the log was given.
    #[default]
    Absent,
    /// They are there, but this verification did not open them.
    NotChecked,
    /// They were held against the log, and some differ: the findings say which.
    Differ,
    /// Each stored one was opened against its leaf.
    Checked {
        /// Exchanges whose bodies and heads were opened.
        opened: u64,
        /// Their bytes.
        bytes: u64,
        /// Exchanges whose bodies and heads are held no longer, as leaves state.
        pruned: u64,
        /// Exchanges that are not in the store yet, and in the journal as they were sealed.
        waiting: u64,
        /// Units of other leaves that were opened, or found in the journal as they were sealed: who
        /// made connections, who went around, which names were asked for.
        units: u64,
    },
}

/// How much of what the log holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Leaves by kind.
    pub leaves: BTreeMap<String, u64>,
    /// Exchanges: leaves of kinds exchange, refused and interrupted.
    pub exchanges: u64,
    /// Boots.
    pub boots: u64,
    /// Runs.
    pub runs: u64,
}

/// Everything that a verification has to say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// The log's name, once its checkpoint could be read.
    pub origin: Option<String>,
    /// Leaves according to the checkpoint.
    pub size: u64,
    /// The root according to the checkpoint.
    pub root: Option<Hash>,
    /// The given key under which the signature holds, as a vkey.
    pub key: Option<String>,
    /// What makes the log invalid; at most a hundred.
    pub findings: Vec<Finding>,
    /// Findings beyond those kept.
    pub further_findings: u64,
    /// What could not be decided, and why.
    pub undecided: BTreeSet<String>,
    /// Checks that ran to their end.
    pub checks: Vec<Check>,
    /// How much the log holds.
    pub counts: Counts,
    /// The earliest and latest `sealed`, in microseconds since the Unix epoch.
    pub span: Option<(u64, u64)>,
    /// What is known of the bodies.
    pub bodies: Bodies,
    /// Who saw which tree of this log, as far as that was shown and holds.
    pub witnessed: Option<Witnessed>,
    /// Whether there are cosignatures that could not be read for want of the log's key.
    pub cosignatures_unread: bool,
    /// Which tree of this log a token dates, and when.
    pub dated: Option<Dated>,
    /// Why a token that is there dates nothing of this log.
    pub undated: Option<String>,
    /// Key changes that hold, with their indices.
    pub key_changes: Vec<(u64, KeyChange)>,
    /// What the kernel said of traffic that went around, in the order of its beginning.
    pub coverage: Vec<Covered>,
    /// What connections and ways around say of each coverage, by its id.
    pub joined: Vec<Joined>,
    /// What leaves say of queries at the resolver, for each coverage with any.
    pub queries: Vec<Queried>,
    /// Of each run since the first coverage, how much of it came over its connections.
    pub reach: Vec<Reach>,
}

impl Report {
    /// The answer in one word.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        if !self.findings.is_empty() {
            Verdict::Invalid
        } else if !self.undecided.is_empty() || self.key.is_none() {
            Verdict::Undecided
        } else {
            Verdict::Valid
        }
    }

    /// Adds a finding.
    pub fn add(&mut self, finding: Finding) {
        if self.findings.len() < KEPT {
            self.findings.push(finding);
        } else {
            self.further_findings += 1;
        }
    }

    pub(crate) fn find(&mut self, what: What, place: Place, detail: impl Into<String>) {
        self.add(Finding { what, place, detail: detail.into() });
    }

    /// Adds a reason why not everything could be decided.
    pub fn undecided(&mut self, reason: String) {
        self.undecided.insert(reason);
    }

    pub(crate) fn ran(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// Counts a leaf; step 10 for kinds and extensions that this version does not check.
    pub(crate) fn count(&mut self, leaf: &Leaf) {
        match self.counts.leaves.get_mut(leaf.kind()) {
            Some(count) => *count += 1,
            None => {
                self.counts.leaves.insert(leaf.kind().to_owned(), 1);
            }
        }
        let (first, last) = self.span.unwrap_or((leaf.sealed(), leaf.sealed()));
        self.span = Some((first.min(leaf.sealed()), last.max(leaf.sealed())));
        match leaf {
            Leaf::Exchange(_) => self.counts.exchanges += 1,
            Leaf::Unchecked(leaf) => {
                self.undecided(format!("leaves of kind {} are not checked", leaf.kind));
            }
            _ => {}
        }
        let names = leaf.ext().into_iter().flat_map(|ext| ext.keys());
        for name in names.filter(|name| !leaf.knows(name)) {
            self.undecided(format!("the extension {name:?} is not checked"));
        }
    }
}
