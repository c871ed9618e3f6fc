//! Step 3: whose signatures the checkpoint bears. The log's own is checked under a given key, or under
//! one that key changes in the log itself lead to from a given one.

use super::dated::{Dated, DatedError};
use super::followed::Followed;
use super::walk::Marks;
use super::witnessed::Witnessed;
use super::{Check, Place, Report, Trust, What, WitnessedError};
use crate::checkpoint::Checkpoint;
use crate::leaf::{KeyChange, KeyRole};
use crate::note::{COSIGNATURE_LENGTH, Note, NoteError, PublicKey, SignatureLine};
use crate::policy::Policy;

/// The checkpoint's note with its one line by the log's key.
pub(crate) struct Signed {
    pub(crate) note: Note,
    pub(crate) checkpoint: Checkpoint,
    /// The line that bears the origin as its name; nothing if that was reported as wrong.
    line: Option<SignatureLine>,
}

impl Signed {
    /// One line by the log's key, and nothing else but well-formed cosignatures.
    pub(super) fn new(
        note: Note,
        checkpoint: Checkpoint,
        trust: &Trust<'_>,
        report: &mut Report,
    ) -> Self {
        let origin = &checkpoint.origin;
        let (own, others): (Vec<&SignatureLine>, Vec<_>) =
            note.signatures.iter().partition(|line| line.name == *origin);
        let known = |line: &SignatureLine| {
            trust.policy.is_some_and(|policy| policy.witnesses.iter().any(|w| w.key.made(line)))
        };
        for line in others {
            if line.signature.len() != COSIGNATURE_LENGTH {
                let detail = format!("the signature line by {} is no cosignature", line.name);
                report.find(What::Signature, place(), detail);
            } else if !known(line) {
                report.undecided(format!("the cosignature by {} is not checked", line.name));
            }
        }
        let line = match own.as_slice() {
            [line] if line.signature.len() == 64 => Some((*line).clone()),
            [_] => {
                report.find(What::Signature, place(), "not an Ed25519 signature of 64 bytes");
                None
            }
            lines => {
                let detail =
                    format!("{} signature lines by {origin}, where one belongs", lines.len());
                report.find(What::Signature, place(), detail);
                None
            }
        };
        Self { note, checkpoint, line }
    }

    /// Checks the log's signature, once the leaves are known. `changes` are the key changes whose
    /// own signatures hold, in the order of the log. Gives the keys to trust for this log.
    pub(crate) fn check(
        &self,
        trust: &Trust<'_>,
        changes: &[(u64, KeyChange)],
        report: &mut Report,
    ) -> Vec<PublicKey> {
        let origin = &self.checkpoint.origin;
        let given: Vec<PublicKey> = trust.log_keys().cloned().collect();
        let Some(line) = &self.line else { return given };
        let chain: Vec<(u64, PublicKey, PublicKey)> = changes
            .iter()
            .filter(|(_, change)| change.role == KeyRole::Log)
            .filter_map(|(index, change)| {
                let (old, new) = change.verify(origin).ok()?;
                Some((*index, old, new))
            })
            .collect();
        if let Some((index, _, last)) = chain.last()
            && !last.made(line)
        {
            let detail = format!("not signed by the key that leaf {index} put in place");
            report.find(What::Key, place(), detail);
        }
        if given.is_empty() {
            report.undecided("key not pinned: give the log's key with --key".to_owned());
            return given;
        }
        // Forward along the chain from every key that was given: each new key was put in place by
        // one that is trusted.
        let mut trusted = Followed::from(given.iter().cloned());
        chain.iter().for_each(|(_, old, new)| trusted.forward(old, new));
        match trusted.keys().iter().find(|(key, _)| key.made(line)) {
            Some((key, from)) => match self.note.verify(key) {
                Ok(()) => {
                    report.key = given.get(*from).map(PublicKey::vkey);
                    report.ran(Check::Signature);
                }
                Err(error) => report.find(What::Signature, place(), error.to_string()),
            },
            None => {
                let names: Vec<&str> = given.iter().map(PublicKey::name).collect();
                let names = names.join(", ");
                let detail = format!("signed by another key than those given ({names})");
                report.find(What::Signature, place(), detail);
            }
        }
        // Cosigned checkpoints may be older: every key of the chain once signed for this log.
        chain.iter().rev().for_each(|(_, old, new)| trusted.back(old, new));
        trusted.into_keys()
    }

    /// The cosignatures: those on the published checkpoint, else those on the note given beside it.
    /// `marks` are what the entries give at the size of that note, if they reach so far.
    pub(super) fn witnesses(
        &self,
        trust: &Trust<'_>,
        keys: &[PublicKey],
        marks: &Marks,
        report: &mut Report,
    ) {
        let Checkpoint { origin, size, .. } = &self.checkpoint;
        let mut witnessed = self.own_cosignatures(trust.policy, report);
        if let Some(bytes) = trust.cosigned
            && witnessed.is_none()
        {
            let beside = || Place::File("the cosigned checkpoint".to_owned());
            // Without a key that is trusted, the one that signed the log must have signed this too.
            let found = Witnessed::read(bytes, origin, keys, trust.policy);
            let root = found.as_ref().ok().and_then(|found| *marks.get(&found.size)?);
            match found {
                Ok(found) if found.size > *size => {
                    let detail = format!(
                        "witnesses saw {} leaves, the log has {size}: it was rolled back",
                        found.size
                    );
                    report.find(What::Cosignature, beside(), detail);
                }
                Ok(found) if root.is_some_and(|root| root != found.root) => {
                    let detail = format!(
                        "witnesses saw another tree of {} leaves: the log was rewritten",
                        found.size
                    );
                    report.find(What::Cosignature, beside(), detail);
                }
                Ok(found) if root.is_some() => witnessed = Some(found),
                // The leaves could not be read that far, which has been said.
                Ok(_) => {}
                // What the log's own key did not vouch for says nothing of the log.
                Err(_) if keys.is_empty() => report.cosignatures_unread = true,
                Err(WitnessedError::Note(NoteError::Unsigned(_))) if report.key.is_none() => {
                    report.cosignatures_unread = true;
                }
                Err(error) => report.find(What::Cosignature, beside(), error.to_string()),
            }
        }
        // With a key missing that is asked for, and not a quorum.
        if !report.cosignatures_unread {
            ask_for_quorum(trust.policy, witnessed.as_ref(), *size, report);
        }
        report.witnessed = witnessed;
    }

    /// The cosignatures on the published checkpoint itself, if a policy knows any of them.
    pub(crate) fn own_cosignatures(
        &self,
        policy: Option<&Policy>,
        report: &mut Report,
    ) -> Option<Witnessed> {
        match Witnessed::of(&self.note, &self.checkpoint, policy) {
            Ok(found) => Some(found).filter(|found| !found.by.is_empty()),
            Err(error) => {
                report.find(What::Cosignature, place(), error.to_string());
                None
            }
        }
    }

    /// The timestamp beside the log. A checkpoint that was dated is one that the log had: a log that
    /// lacks it is not the log any more. A token that dates nothing here says nothing.
    pub(super) fn dated(
        &self,
        trust: &Trust<'_>,
        keys: &[PublicKey],
        marks: &Marks,
        report: &mut Report,
    ) {
        let Some(given) = trust.dated else { return };
        let Checkpoint { origin, size, .. } = &self.checkpoint;
        let beside = || Place::File("the dated checkpoint".to_owned());
        let found = Dated::read(given, origin, keys);
        let root = found.as_ref().ok().and_then(|found| *marks.get(&found.size)?);
        match found {
            Ok(found) if found.size > *size => {
                let there = found.size;
                let detail =
                    format!("{there} leaves were dated, the log has {size}: it was rolled back");
                report.find(What::Timestamp, beside(), detail);
            }
            Ok(found) if root.is_some_and(|root| root != found.root) => {
                let there = found.size;
                let detail =
                    format!("another tree of {there} leaves was dated: the log was rewritten");
                report.find(What::Timestamp, beside(), detail);
            }
            Ok(found) if root.is_some() => report.dated = Some(found),
            // The leaves could not be read that far, which has been said.
            Ok(_) => {}
            Err(DatedError::Checkpoint(WitnessedError::Note(NoteError::Unsigned(_))))
                if report.key.is_none() => {}
            // A crash between the two files leaves a token that is not of this checkpoint.
            Err(error @ DatedError::Token(_)) => report.undated = Some(error.to_string()),
            Err(error) => report.find(What::Timestamp, beside(), error.to_string()),
        }
    }
}

/// What a policy asks of the first `wanted` leaves: that a quorum of its witnesses saw them.
pub(crate) fn ask_for_quorum(
    policy: Option<&Policy>,
    witnessed: Option<&Witnessed>,
    wanted: u64,
    report: &mut Report,
) {
    let Some(policy) = policy.filter(|policy| policy.asks_for_witnesses()) else { return };
    match witnessed {
        Some(found) if found.quorum && found.size >= wanted => report.ran(Check::Witnesses),
        Some(found) if found.quorum => {
            let rest = wanted.saturating_sub(found.size);
            report.undecided(format!("the last {rest} leaves are not witnessed yet"));
        }
        found => {
            let there = found.map_or(0, |found| found.by.len());
            let all = policy.witnesses.len();
            report.undecided(format!(
                "no quorum: {there} of {all} witnesses of the policy cosigned this log"
            ));
        }
    }
}

fn place() -> Place {
    Place::file(super::CHECKPOINT)
}
