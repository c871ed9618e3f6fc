//! Verification of a whole log, offline and pure.
//!
//! In: a view of the log's files, the keys that the caller trusts, optionally an [`Inspector`] that
//! knows the private store. Out: a [`Report`] that says which checks ran, what they found, and what
//! they cannot say. Never reads a clock, a socket or randomness, never trusts a key that it found
//! inside what it verifies. The steps are those of FORMAT.md, section "Verifying", by number.

mod content;
mod files;
mod history;
mod names;
mod numbers;
mod render;
mod report;
mod runs;
#[cfg(test)]
mod tests;
mod walk;

pub(crate) use runs::as_its_leaves_say;

pub(crate) use content::cut_as_said;
pub use content::{ContentError, check_body, check_unit};
pub use files::{FileError, LogFiles};
pub(crate) use render::{UNWITNESSED, object, plural, text, utc};
pub use report::{Bodies, Check, Counts, Finding, Place, Report, Verdict, What};

use crate::checkpoint::Checkpoint;
use crate::leaf::Leaf;
use crate::note::{Note, PublicKey, SignatureLine};

/// The name of the checkpoint's file below the log's root.
pub const CHECKPOINT: &str = "checkpoint";

/// Bytes of a cosignature after its key id: a time and an Ed25519 signature.
const COSIGNATURE: usize = 8 + 64;

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

/// Verifies a log under the given keys. With no key the best verdict is undecided.
pub fn verify(files: &impl LogFiles, keys: &[PublicKey], inspector: &mut impl Inspector) -> Report {
    let mut report = Report::default();
    if let Err(error) = run(files, keys, inspector, &mut report) {
        report.undecided(error.to_string());
    }
    report
}

/// The steps in order. What is wrong goes into the report; only unreadable files end it early.
fn run(
    files: &impl LogFiles,
    keys: &[PublicKey],
    inspector: &mut impl Inspector,
    report: &mut Report,
) -> Result<(), FileError> {
    let Some(bytes) = files.read(CHECKPOINT)? else {
        report.find(What::Missing, Place::file(CHECKPOINT), "the log has no checkpoint");
        return Ok(());
    };
    let Some(checkpoint) = checkpoint(&bytes, keys, report) else { return Ok(()) };
    let listed = names::check(&files.list()?, checkpoint.size, report);
    walk::check(files, &checkpoint, &listed, inspector, report)
}

/// Steps 1 to 3: the note, the checkpoint in it, the signatures on it.
pub(crate) fn checkpoint(
    bytes: &[u8],
    keys: &[PublicKey],
    report: &mut Report,
) -> Option<Checkpoint> {
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
    // Step 3.
    signatures(&note, &checkpoint.origin, keys, report);
    Some(checkpoint)
}

/// Step 3: one signature by the log's key, and nothing else but well-formed cosignatures.
fn signatures(note: &Note, origin: &str, keys: &[PublicKey], report: &mut Report) {
    let place = || Place::file(CHECKPOINT);
    let (own, others): (Vec<&SignatureLine>, Vec<_>) =
        note.signatures.iter().partition(|line| line.name == origin);
    for line in others {
        if line.signature.len() == COSIGNATURE {
            report.undecided(format!("the cosignature by {} is not checked", line.name));
        } else {
            let detail = format!("the signature line by {} is no cosignature", line.name);
            report.find(What::Signature, place(), detail);
        }
    }
    let [line] = own.as_slice() else {
        let detail = format!("{} signature lines by {origin}, where one belongs", own.len());
        return report.find(What::Signature, place(), detail);
    };
    if line.signature.len() != 64 {
        return report.find(What::Signature, place(), "not an Ed25519 signature of 64 bytes");
    }
    if keys.is_empty() {
        report.undecided("key not pinned: give the log's key with --key".to_owned());
        return;
    }
    match keys.iter().find(|key| key.made(line)) {
        Some(key) => match note.verify(key) {
            Ok(()) => {
                report.key = Some(key.vkey());
                report.ran(Check::Signature);
            }
            Err(error) => report.find(What::Signature, place(), error.to_string()),
        },
        None => {
            let names: Vec<&str> = keys.iter().map(PublicKey::name).collect();
            let detail = format!("signed by another key than those given ({})", names.join(", "));
            report.find(What::Signature, place(), detail);
        }
    }
}
