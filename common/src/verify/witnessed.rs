//! Cosignatures held against a policy: who saw which tree of the log, and when.
//!
//! In: the bytes of a cosigned checkpoint, the keys of the log, the policy. Out: [`Witnessed`], or why
//! the note is not what it claims. Whether the log at hand grew out of that tree is asked elsewhere.

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{Note, NoteError, PublicKey, SignatureLine};
use crate::policy::Policy;
use crate::tree::Hash;

/// One witness's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cosignature {
    /// The witness's name, out of the policy's vkey.
    pub witness: String,
    /// When it cosigned, in seconds since the Unix epoch, by its own clock.
    pub time: u64,
}

/// A tree of the log, and who vouches that it has seen no other history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witnessed {
    /// The tree's leaves.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The cosignatures that hold, in the order of the policy.
    pub by: Vec<Cosignature>,
    /// Whether they make the policy's quorum.
    pub quorum: bool,
    /// Signature lines that belong to no key of the policy, and were not checked.
    pub unknown: usize,
}

/// Why a cosigned checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WitnessedError {
    /// Not a note.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Not a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The checkpoint is of another log.
    #[error("it is a checkpoint of {0}")]
    Origin(String),
    /// The line bears a trusted witness's name and key id, and does not hold, or is there twice.
    #[error("the cosignature by {0} does not hold: text or cosignature was changed")]
    Forged(String),
}

impl Witnessed {
    /// Reads the cosigned checkpoint of `origin` in `bytes`: the log's own signature under one of
    /// `log_keys`, and every cosignature by a witness of `policy`. Lines by other keys are counted.
    ///
    /// # Errors
    /// [`WitnessedError`]: the note is not the log's, or a trusted witness did not make what bears
    /// its name.
    pub fn read(
        bytes: &[u8],
        origin: &str,
        log_keys: &[PublicKey],
        policy: Option<&Policy>,
    ) -> Result<Self, WitnessedError> {
        let (note, checkpoint) = checkpoint_of(bytes, origin)?;
        // Exactly the line that one of the keys made; without any line of theirs, none is trusted.
        let made = |line: &SignatureLine| log_keys.iter().find(|key| key.made(line));
        match note.signatures.iter().find_map(made) {
            Some(key) => note.verify(key)?,
            None => return Err(NoteError::Unsigned(origin.to_owned()).into()),
        }
        Self::of(&note, &checkpoint, policy)
    }

    /// As [`Witnessed::read`] where no key is given: that the log's key signed is then not checked,
    /// which is one reason why nothing is decided.
    pub(crate) fn read_under(
        bytes: &[u8],
        origin: &str,
        log_keys: &[PublicKey],
        policy: Option<&Policy>,
    ) -> Result<Self, WitnessedError> {
        if log_keys.is_empty() {
            let (note, checkpoint) = checkpoint_of(bytes, origin)?;
            return Self::of(&note, &checkpoint, policy);
        }
        Self::read(bytes, origin, log_keys, policy)
    }

    /// The cosignatures on a note whose own signature was checked.
    pub(crate) fn of(
        note: &Note,
        checkpoint: &Checkpoint,
        policy: Option<&Policy>,
    ) -> Result<Self, WitnessedError> {
        let Checkpoint { size, root, origin } = checkpoint;
        let mut by = Vec::new();
        let mut known = Vec::new();
        for witness in policy.into_iter().flat_map(|policy| &policy.witnesses) {
            let mut lines = note.signatures.iter().filter(|line| witness.key.made(line));
            let Some(line) = lines.next() else { continue };
            let name = witness.key.name().to_owned();
            let time = witness.key.cosigned(&note.text, line).filter(|_| lines.next().is_none());
            let time = time.ok_or_else(|| WitnessedError::Forged(name.clone()))?;
            known.push(witness.key.clone());
            by.push(Cosignature { witness: name, time });
        }
        let quorum = policy.is_some_and(|policy| policy.quorum_of(|key| known.contains(key)));
        let others = note.signatures.iter().filter(|line| line.name != *origin).count();
        let unknown = others.saturating_sub(by.len());
        Ok(Self { size: *size, root: *root, by, quorum, unknown })
    }
}

/// The note in `bytes`, and the checkpoint of `origin` in it.
fn checkpoint_of(bytes: &[u8], origin: &str) -> Result<(Note, Checkpoint), WitnessedError> {
    let note = Note::parse(bytes)?;
    let checkpoint = Checkpoint::parse(&note.text)?;
    if checkpoint.origin != origin {
        return Err(WitnessedError::Origin(checkpoint.origin));
    }
    Ok((note, checkpoint))
}
