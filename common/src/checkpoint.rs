//! The checkpoint's text (C2SP tlog-checkpoint): what a log's key signs about its tree.
//!
//! In: the text of a signed note. Out: origin, size and root, or why the text is not canonical.
//! Three lines exactly; extension lines are refused. Signatures are the note's affair.

use std::fmt;

use crate::encoding::{EncodingError, base64, base64_array};
use crate::tree::Hash;

/// The tree that a log's key vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name; the name of its key is the same.
    pub origin: String,
    /// Number of leaves.
    pub size: u64,
    /// RFC 6962 root over them.
    pub root: Hash,
}

/// Why a checkpoint's text was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Not three lines, each ended by a newline.
    #[error("a checkpoint is three lines: origin, size, root")]
    Lines,
    /// The first line is empty.
    #[error("the checkpoint's origin is empty")]
    Origin,
    /// The second line is not a decimal number without leading zeros that fits 64 bits.
    #[error("the checkpoint's size is not a canonical decimal number")]
    Size,
    /// The third line is not the base64 of 32 bytes.
    #[error("the checkpoint's root: {0}")]
    Root(EncodingError),
}

impl Checkpoint {
    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// [`CheckpointError`] for any text that [`Checkpoint`]'s own printing would not give.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?;
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        if origin.is_empty() {
            return Err(CheckpointError::Origin);
        }
        let number: u64 = size.parse().map_err(|_| CheckpointError::Size)?;
        if number.to_string() != size {
            return Err(CheckpointError::Size);
        }
        let root = base64_array(root).map_err(CheckpointError::Root)?;
        Ok(Self { origin: origin.to_owned(), size: number, root })
    }
}

impl fmt::Display for Checkpoint {
    /// The signed text: origin, size and root, each on its line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}\n", self.origin, self.size, base64(&self.root))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_text_is_read() {
        let checkpoint = Checkpoint { origin: "example.org/log".into(), size: 10, root: [7; 32] };
        let text = checkpoint.to_string();
        assert_eq!(Checkpoint::parse(&text), Ok(checkpoint));
        let swap = |from: &str, to: &str| Checkpoint::parse(&text.replacen(from, to, 1));
        assert_eq!(swap("\n10\n", "\n010\n"), Err(CheckpointError::Size));
        assert_eq!(swap("\n10\n", "\n+10\n"), Err(CheckpointError::Size));
        assert_eq!(swap("\n10\n", "\n\n"), Err(CheckpointError::Size));
        assert_eq!(swap("\n10\n", "\n18446744073709551616\n"), Err(CheckpointError::Size));
        assert_eq!(swap("example.org/log", ""), Err(CheckpointError::Origin));
        assert_eq!(swap("=\n", "\n"), Err(CheckpointError::Root(EncodingError::Base64)));
        assert_eq!(Checkpoint::parse(&format!("{text}more\n")), Err(CheckpointError::Lines));
        assert_eq!(Checkpoint::parse(text.trim_end()), Err(CheckpointError::Lines));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_prints_the_same(text in "[a+]{0,3}\n?[0-9]{0,3}\n[A-Za-z=]{43,45}\n\n?") {
            if let Ok(checkpoint) = Checkpoint::parse(&text) {
                prop_assert_eq!(checkpoint.to_string(), text);
            }
        }
    }
}
