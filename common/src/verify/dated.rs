//! A timestamp held against the log: which of its trees a token (RFC 3161) dates.
//!
//! In: a checkpoint that was dated, the authority's reply, the keys of the log. Out: [`Dated`], or
//! why the two do not belong together. The authority's own signature is **not** checked: that takes
//! its certificates, and `openssl ts -verify` does it. Whether the log at hand grew out of that tree
//! is asked elsewhere.

use super::witnessed::{Witnessed, WitnessedError};
use crate::note::PublicKey;
use crate::timestamp::{Token, TokenError};
use crate::tree::Hash;

/// A timestamp as it lies beside a log or in a bundle.
#[derive(Debug, Clone, Copy)]
pub struct Timestamp<'a> {
    /// The checkpoint that was dated, whole.
    pub checkpoint: &'a [u8],
    /// The authority's reply.
    pub reply: &'a [u8],
}

/// A tree of the log, and the time that a token gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    /// The tree's leaves.
    pub size: u64,
    /// Its root.
    pub root: Hash,
    /// The time, as the token has it: `YYYYMMDDHHMMSS[.f]Z`.
    pub time: String,
}

/// Why a timestamp was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatedError {
    /// What was dated is not a checkpoint of this log.
    #[error(transparent)]
    Checkpoint(#[from] WitnessedError),
    /// The reply is no token, or one of other bytes.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl Dated {
    /// Reads a timestamp: a checkpoint of `origin`, signed by one of `log_keys` where there are any,
    /// and a token whose imprint is the SHA-256 of exactly that file.
    ///
    /// # Errors
    /// [`DatedError`].
    pub fn read(
        given: Timestamp<'_>,
        origin: &str,
        log_keys: &[PublicKey],
    ) -> Result<Self, DatedError> {
        let checkpoint = Witnessed::read_under(given.checkpoint, origin, log_keys, None)?;
        let token = Token::read(given.reply)?;
        token.dates(given.checkpoint)?;
        Ok(Self { size: checkpoint.size, root: checkpoint.root, time: token.time })
    }

    /// The time as other times are written, where the token has it in that form.
    pub(crate) fn time(&self) -> String {
        let (digits, rest) = self.time.split_at_checked(14).unwrap_or((&self.time, ""));
        match digits.as_bytes().as_chunks::<2>() {
            ([c, y, mo, d, h, mi, s], []) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let two = |pair: &[u8; 2]| String::from_utf8_lossy(pair).into_owned();
                let date = format!("{}{}-{}-{}", two(c), two(y), two(mo), two(d));
                format!("{date}T{}:{}:{}{rest}", two(h), two(mi), two(s))
            }
            _ => self.time.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Dated;

    #[test]
    fn times_print_as_others_do() {
        let dated = |time: &str| Dated { size: 1, root: [0; 32], time: time.to_owned() }.time();
        assert_eq!(dated("20261121072914Z"), "2026-11-21T07:29:14Z");
        assert_eq!(dated("20261121072914.5Z"), "2026-11-21T07:29:14.5Z");
        for odd in ["", "2026", "2026112107291xZ", "\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}"] {
            assert_eq!(dated(odd), odd);
        }
    }
}
