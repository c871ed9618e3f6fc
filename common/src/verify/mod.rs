//! Verification of a whole log, offline and pure.
//!
//! In: a view of the log's files, the keys that the caller trusts, optionally an [`Inspector`] that
//! knows the private store. Out: a [`Report`] that says which checks ran, what they found, and what
//! they cannot say. Never reads a clock, a socket or randomness, never trusts a key that it found
//! inside what it verifies. The steps are those of FORMAT.md, section "Verifying", by number.

mod around;
mod connections;
mod content;
mod coverage;
mod dated;
mod files;
mod followed;
mod grown;
mod history;
mod joined;
mod names;
mod numbers;
mod of_coverage;
mod queries;
mod render;
mod report;
mod runs;
mod signatures;
mod states;
#[cfg(test)]
mod tests;
mod walk;
mod witnessed;

pub(crate) use around::{Around, MORE_THAN_COUNTED};
pub(crate) use connections::goes_on;
pub(crate) use content::cut_as_said;
pub(crate) use of_coverage::{canary_led, next_up_to};
pub(crate) use runs::as_its_leaves_say;

pub use connections::{Joined, Reach};
pub use content::{ContentError, check_body, check_prefix, check_unit};
pub use coverage::Covered;
pub use dated::{Dated, DatedError, Timestamp};
pub use files::{FileError, LogFiles};
pub(crate) use followed::Followed;
pub use queries::Queried;
pub(crate) use render::{object, plural, text, utc, witness_lines, witnesses_json};
pub use report::{Bodies, Check, Counts, Finding, Place, Report, Verdict, What};
pub(crate) use signatures::{Signed, ask_for_quorum};
pub(crate) use states::{LET_AROUND, is_let_around, unfounded};
pub use witnessed::{Cosignature, Witnessed, WitnessedError};

use crate::checkpoint::Checkpoint;
use crate::leaf::Leaf;
use crate::note::{Note, PublicKey};
use crate::policy::Policy;
use history::History as Leaves;

/// The name of the checkpoint's file below the log's root.
pub const CHECKPOINT: &str = "checkpoint";

/// Sees every leaf in order, and may report more than the log alone shows.
pub trait Inspector {
    /// Looks at one leaf; what it returns makes the log invalid.
    fn leaf(&mut self, index: u64, leaf: &Leaf) -> Vec<Finding>;
}

/// Looks at nothing further.
impl Inspector for () {
    fn leaf(&mut self, _: u64, _: &Leaf) -> Vec<Finding> {
        Vec::new()
    }
}

/// What the caller trusts, and what came beside the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trust<'a> {
    /// Keys of logs.
    pub keys: &'a [PublicKey],
    /// Further keys of logs, and the witnesses whose cosignatures count.
    pub policy: Option<&'a Policy>,
    /// A cosigned checkpoint of this log, to be held against it; nothing in it is trusted.
    pub cosigned: Option<&'a [u8]>,
    /// A timestamp of this log, to be held against it; nothing in it is trusted.
    pub dated: Option<Timestamp<'a>>,
}

impl<'a> Trust<'a> {
    /// The keys of logs from both sources.
    pub fn log_keys(&self) -> impl Iterator<Item = &'a PublicKey> {
        self.keys.iter().chain(self.policy.into_iter().flat_map(|policy| &policy.logs))
    }
}

/// Verifies a log under the given keys. With no key the best verdict is undecided.
pub fn verify(files: &impl LogFiles, keys: &[PublicKey], inspector: &mut impl Inspector) -> Report {
    verify_under(files, &Trust { keys, ..Trust::default() }, inspector)
}

/// Verifies a log under the given keys and policy.
pub fn verify_under(
    files: &impl LogFiles,
    trust: &Trust<'_>,
    inspector: &mut impl Inspector,
) -> Report {
    let mut report = Report::default();
    if let Err(error) = run(files, trust, inspector, &mut report) {
        report.undecided(error.to_string());
    }
    report
}

/// The steps in order. What is wrong goes into the report; only unreadable files end it early.
fn run(
    files: &impl LogFiles,
    trust: &Trust<'_>,
    inspector: &mut impl Inspector,
    report: &mut Report,
) -> Result<(), FileError> {
    let Some(bytes) = files.read(CHECKPOINT)? else {
        report.find(What::Missing, Place::file(CHECKPOINT), "the log has no checkpoint");
        return Ok(());
    };
    let Some(signed) = signed(&bytes, trust, report) else { return Ok(()) };
    let mut leaves = Leaves::new(&signed.checkpoint.origin);
    // Where witnesses saw the log, and where it was dated, the root is taken on the way.
    let beside = [trust.cosigned, trust.dated.map(|dated| dated.checkpoint)];
    let sizes = beside.into_iter().flatten().filter_map(|bytes| {
        let note = Note::parse(bytes).ok()?;
        Some((Checkpoint::parse(&note.text).ok()?.size, None))
    });
    let mut marks = sizes.collect();
    let listed = names::check(&files.list()?, signed.checkpoint.size, report);
    let walked =
        walk::check(files, &signed.checkpoint, &mut marks, &listed, &mut leaves, inspector, report);
    // Step 3, whose keys may be found on the way through the leaves.
    let keys = signed.check(trust, &leaves.key_changes, report);
    signed.witnesses(trust, &keys, &marks, report);
    signed.dated(trust, &keys, &marks, report);
    report.key_changes = leaves.key_changes;
    walked
}

/// Steps 1 and 2: the note, and the checkpoint in it.
pub(crate) fn signed(bytes: &[u8], trust: &Trust<'_>, report: &mut Report) -> Option<Signed> {
    let place = || Place::file(CHECKPOINT);
    // Step 1.
    let note = match Note::parse(bytes) {
        Ok(note) => note,
        Err(error) => {
            report.find(What::Checkpoint, place(), error.to_string());
            return None;
        }
    };
    // Step 2.
    let checkpoint = match Checkpoint::parse(&note.text) {
        Ok(checkpoint) => checkpoint,
        Err(error) => {
            report.find(What::Checkpoint, place(), error.to_string());
            return None;
        }
    };
    report.ran(Check::Checkpoint);
    report.origin = Some(checkpoint.origin.clone());
    report.size = checkpoint.size;
    report.root = Some(checkpoint.root);
    Some(Signed::new(note, checkpoint, trust, report))
}
