//! C2SP tlog-proof: that a leaf is in the tree of a checkpoint, as one text; and the text of a proof
//! that one tree grew out of another.

use crate::encoding::{base64, base64_array};
use crate::tree::Hash;

const HEADER: &str = "c2sp.org/tlog-proof@v1\n";

/// An inclusion proof with its checkpoint. Bundles hold no `extra` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// The leaf's index.
    pub index: u64,
    /// The hashes on the way to the root, nearest first.
    pub hashes: Vec<Hash>,
    /// The signed checkpoint.
    pub checkpoint: String,
}

/// A text that is not the one text of a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a C2SP tlog-proof without an extra line")]
pub struct ProofTextError;

impl TlogProof {
    /// The proof's one text.
    #[must_use]
    pub fn emit(&self) -> String {
        let mut text = format!("{HEADER}index {}\n", self.index);
        for hash in &self.hashes {
            text.push_str(&base64(hash));
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.checkpoint);
        text
    }

    /// Reads a proof; whether it holds is another question.
    ///
    /// # Errors
    /// [`ProofTextError`] for any text that [`TlogProof::emit`] would not give.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofTextError> {
        let parse = || {
            let text = std::str::from_utf8(bytes).ok()?;
            let (index, rest) =
                text.strip_prefix(HEADER)?.strip_prefix("index ")?.split_once('\n')?;
            let (hashes, checkpoint) = match rest.strip_prefix('\n') {
                Some(checkpoint) => ("", checkpoint),
                None => rest.split_once("\n\n")?,
            };
            let hashes = hashes.lines().map(|line| base64_array(line).ok());
            Some(Self {
                index: index.parse().ok()?,
                hashes: hashes.collect::<Option<_>>()?,
                checkpoint: checkpoint.to_owned(),
            })
        };
        let proof: Self = parse().ok_or(ProofTextError)?;
        if proof.emit().as_bytes() == bytes { Ok(proof) } else { Err(ProofTextError) }
    }
}

/// The text of a consistency proof: its hashes in base64, a line each; none for a tree and itself.
#[must_use]
pub fn consistency_text(hashes: &[Hash]) -> String {
    hashes.iter().flat_map(|hash| [base64(hash), "\n".to_owned()]).collect()
}

/// Reads the text of a consistency proof; `None` for any that [`consistency_text`] would not give.
pub(super) fn parse_consistency(bytes: &[u8]) -> Option<Vec<Hash>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let hashes: Option<Vec<Hash>> = text.lines().map(|line| base64_array(line).ok()).collect();
    hashes.filter(|hashes| consistency_text(hashes).as_bytes() == bytes)
}
