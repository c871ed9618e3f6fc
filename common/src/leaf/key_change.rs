//! A key gives way to another: the leaf that both sign (kind `key-change`).
//!
//! In: both keys, and the leaf's index. Out: the leaf, or why its signatures do not hold. Whoever
//! trusts the old key can follow it to the new one; whoever holds only one of the two can make none.

use super::{Extensions, KeyRole};
use crate::note::{KeyError, PublicKey, Signer};

/// Follows the origin in the name of the key that signs run records.
pub const RUN_RECORD_NAME: &str = "/run-record";

/// One key took the place of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// Extensions.
    pub ext: Extensions,
    /// The key that signs from now on.
    pub new: [u8; 32],
    /// Its signature of [`message`].
    pub new_signature: [u8; 64],
    /// The key that signed until now.
    pub old: [u8; 32],
    /// Its signature of [`message`].
    pub old_signature: [u8; 64],
    /// What the two sign.
    pub role: KeyRole,
    /// When the leaf was made, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// The leaves before this one.
    pub size: u64,
}

/// Why a key change does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyChangeError {
    /// One of the two is no usable key.
    #[error("the {0} key: {1}")]
    Key(&'static str, KeyError),
    /// Both are one key.
    #[error("the new key is the old one")]
    Same,
    /// One of the signatures does not hold.
    #[error("the signature by the {0} key does not hold")]
    Signature(&'static str),
}

impl KeyChange {
    /// The leaf by which `new` takes the place of `old`, as the leaf behind `size` others.
    #[must_use]
    pub fn sign(role: KeyRole, old: &Signer, new: &Signer, size: u64, sealed: u64) -> Self {
        let message = message(role, old.public(), new.public(), size);
        Self {
            ext: Extensions::new(),
            new: *new.public().bytes(),
            new_signature: new.sign(message.as_bytes()),
            old: *old.public().bytes(),
            old_signature: old.sign(message.as_bytes()),
            role,
            sealed,
            size,
        }
    }

    /// The old key and the new one, if both signed this; `origin` is the log's.
    ///
    /// # Errors
    /// [`KeyChangeError`].
    pub fn verify(&self, origin: &str) -> Result<(PublicKey, PublicKey), KeyChangeError> {
        let name = self.role.key_name(origin);
        let key = |which, bytes| {
            PublicKey::new(&name, bytes).map_err(|error| KeyChangeError::Key(which, error))
        };
        let (old, new) = (key("old", &self.old)?, key("new", &self.new)?);
        if old == new {
            return Err(KeyChangeError::Same);
        }
        let message = message(self.role, &old, &new, self.size);
        for (which, key, signature) in
            [("old", &old, &self.old_signature), ("new", &new, &self.new_signature)]
        {
            if !key.verify(message.as_bytes(), signature) {
                return Err(KeyChangeError::Signature(which));
            }
        }
        Ok((old, new))
    }
}

impl KeyRole {
    /// The name of a key with this role in the log of this origin.
    #[must_use]
    pub fn key_name(self, origin: &str) -> String {
        match self {
            Self::Log => origin.to_owned(),
            Self::RunRecord => format!("{origin}{RUN_RECORD_NAME}"),
        }
    }
}

/// What both keys sign: five lines, each ended by a newline.
#[must_use]
pub fn message(role: KeyRole, old: &PublicKey, new: &PublicKey, size: u64) -> String {
    format!("sealtap/v1/key-change\n{role}\n{}\n{}\n{size}\n", old.vkey(), new.vkey())
}
