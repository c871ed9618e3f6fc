//! The witness protocol (C2SP tlog-witness) without its transport: what `add-checkpoint` carries, and
//! what a witness answers.
//!
//! In: the bytes of a request, the keys of the logs that are known, and the latest tree cosigned of
//! the log. Out: the tree to remember and the text to cosign, or a [`Refusal`] with its status. Never
//! accepts a tree that does not begin with the one cosigned last: no fork, no rollback.

#[cfg(test)]
mod tests;

use crate::checkpoint::Checkpoint;
use crate::encoding::{base64, base64_array};
use crate::note::{Note, PublicKey};
use crate::tree::{EMPTY_ROOT, Hash, verify_consistency};

/// Hashes in a consistency proof, at most (C2SP tlog-witness).
pub const MAX_PROOF: usize = 63;

/// The media type of the body of a 409: the size of the latest cosigned checkpoint.
pub const SIZE_TYPE: &str = "text/x.tlog.size";

/// The body of an `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the tree that the witness is believed to have cosigned last.
    pub old: u64,
    /// The consistency proof from that tree to the checkpoint's.
    pub proof: Vec<Hash>,
    /// The checkpoint as a signed note.
    pub note: Note,
}

/// The largest tree of a log that a witness has cosigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its leaves.
    pub size: u64,
    /// Its root.
    pub root: Hash,
}

impl Seen {
    /// Nothing cosigned yet.
    pub const NOTHING: Self = Self { size: 0, root: EMPTY_ROOT };
}

/// A checkpoint that a witness may cosign, once it has remembered the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What to remember of this log from now on.
    pub seen: Seen,
    /// The text to cosign.
    pub text: String,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a request as the protocol has it.
    #[error(
        "not an add-checkpoint request: want `old SIZE`, proof lines, an empty line, a checkpoint"
    )]
    Malformed,
    /// The old size is above the checkpoint's.
    #[error("the old size {old} is above the checkpoint's, {size}")]
    OldAbove {
        /// The old size in the request.
        old: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// No log of this origin is known.
    #[error("no log of this origin is known here")]
    UnknownLog,
    /// No known key of the log signed it.
    #[error("no known key of this log signed the checkpoint")]
    NotSigned,
    /// The latest cosigned tree has another size than the request says.
    #[error("the latest checkpoint cosigned here has {size} leaves")]
    Conflict {
        /// The size cosigned last.
        size: u64,
    },
    /// The tree of this very size had another root: the log was forked.
    #[error("another tree of {size} leaves was cosigned here: the log has forked")]
    Forked {
        /// The size of both.
        size: u64,
    },
    /// The proof does not lead from the tree cosigned last to this one.
    #[error("the proof does not show that this tree grew out of the one cosigned last")]
    Inconsistent,
}

impl Refusal {
    /// The HTTP status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed | Self::OldAbove { .. } => 400,
            Self::NotSigned => 403,
            Self::UnknownLog => 404,
            Self::Conflict { .. } | Self::Forked { .. } => 409,
            Self::Inconsistent => 422,
        }
    }

    /// Of a 409, the size that its body states.
    #[must_use]
    pub const fn size(self) -> Option<u64> {
        match self {
            Self::Conflict { size } | Self::Forked { size } => Some(size),
            _ => None,
        }
    }
}

impl AddCheckpoint {
    /// Reads a request's body.
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        parse(bytes).ok_or(Refusal::Malformed)
    }

    /// The request's body.
    #[must_use]
    pub fn emit(&self) -> String {
        let mut out = format!("old {}\n", self.old);
        for hash in &self.proof {
            out.push_str(&base64(hash));
            out.push('\n');
        }
        out.push('\n');
        out + &self.note.emit()
    }

    /// The first line of the checkpoint: which log it claims to be of.
    #[must_use]
    pub fn origin(&self) -> &str {
        self.note.text.lines().next().unwrap_or_default()
    }

    /// What a witness makes of this request. `keys` are those of the log with this
    /// [origin](Self::origin), none if it is not known; `seen` is its tree cosigned last.
    ///
    /// # Errors
    /// [`Refusal`], in the order of the protocol.
    pub fn consider(&self, keys: &[&PublicKey], seen: Seen) -> Result<Accepted, Refusal> {
        if keys.is_empty() {
            return Err(Refusal::UnknownLog);
        }
        if !keys.iter().any(|key| key.name() == self.origin() && self.note.verify(key).is_ok()) {
            return Err(Refusal::NotSigned);
        }
        // Extension lines are no part of what this witness vouches for, so it takes none.
        let checkpoint = Checkpoint::parse(&self.note.text).map_err(|_| Refusal::Malformed)?;
        let Checkpoint { size, root, .. } = checkpoint;
        if self.old > size {
            return Err(Refusal::OldAbove { old: self.old, size });
        }
        if self.old != seen.size {
            return Err(Refusal::Conflict { size: seen.size });
        }
        if size == seen.size && root != seen.root {
            return Err(Refusal::Forked { size });
        }
        verify_consistency(seen.size, &seen.root, size, &root, &self.proof)
            .map_err(|_| Refusal::Inconsistent)?;
        Ok(Accepted { seen: Seen { size, root }, text: self.note.text.clone() })
    }
}

fn parse(bytes: &[u8]) -> Option<AddCheckpoint> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (first, mut rest) = text.split_once('\n')?;
    let old = decimal(first.strip_prefix("old ")?)?;
    let mut proof = Vec::new();
    loop {
        let (line, after) = rest.split_once('\n')?;
        rest = after;
        if line.is_empty() {
            break;
        }
        if proof.len() == MAX_PROOF {
            return None;
        }
        proof.push(base64_array(line).ok()?);
    }
    let note = Note::parse(rest.as_bytes()).ok()?;
    Some(AddCheckpoint { old, proof, note })
}

/// A size as the protocol writes it: decimal, without leading zeros.
#[must_use]
pub fn decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}
