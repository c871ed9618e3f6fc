//! Lists that a leaf has no room for: the first of one, and how many more there are.

use sha2::{Digest as _, Sha256};

use super::decode::{hash, positive};
use super::encode::{EncodeError, Writer};
use crate::json::{Problem, Refusal, Value};
use crate::tree::Hash;

/// The most that is listed one by one.
pub const LISTED: usize = 256;

/// A list, or the first [`LISTED`] of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    each: Vec<T>,
    more: Option<More>,
}

/// What is not listed one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct More {
    /// How many.
    pub count: u64,
    /// SHA-256 over them, written as an array.
    pub digest: Hash,
}

/// What can be listed in a leaf.
pub(super) trait Entry {
    /// Writes it in its canonical form.
    fn write(&self, w: &mut Writer);
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self { each: Vec::new(), more: None }
    }
}

#[expect(private_bounds, reason = "what can be listed is what leaves list")]
impl<T: Entry> Listed<T> {
    /// Lists all of these, or as many as there is room for.
    ///
    /// # Errors
    /// [`EncodeError::Integer`] where a number of one cannot be written.
    pub fn of(mut all: Vec<T>) -> Result<Self, EncodeError> {
        let left = all.split_off(all.len().min(LISTED));
        if left.is_empty() {
            return Ok(Self { each: all, more: None });
        }
        let mut digest = Sha256::new();
        for (place, entry) in left.iter().enumerate() {
            digest.update(if place == 0 { "[" } else { "," });
            let mut w = Writer::new(128);
            entry.write(&mut w);
            digest.update(w.finish()?);
        }
        digest.update("]");
        let count = u64::try_from(left.len()).unwrap_or(u64::MAX);
        Ok(Self { each: all, more: Some(More { count, digest: digest.finalize().into() }) })
    }

    /// Writes what is listed as `name`, and the rest as `more`.
    pub(super) fn write(&self, w: &mut Writer, name: &str, more: &str) {
        w.fixed(name).fixed("[");
        for (place, entry) in self.each.iter().enumerate() {
            w.fixed(if place == 0 { "" } else { "," });
            entry.write(w);
        }
        w.fixed("]").fixed(more);
        w.optional(self.more.as_ref(), |w, more| {
            w.fixed("{\"count\":").number(more.count).fixed(",\"digest\":").hash(&more.digest);
            w.fixed("}");
        });
    }
}

impl<T> Listed<T> {
    /// Those that are listed.
    #[must_use]
    pub fn each(&self) -> &[T] {
        &self.each
    }

    /// The others, if there are any.
    #[must_use]
    pub const fn more(&self) -> Option<&More> {
        self.more.as_ref()
    }

    /// Puts a list together that was read in two members.
    pub(super) fn read(each: Vec<T>, more: Option<More>) -> Result<Self, Problem> {
        match more.is_none() || each.len() == LISTED {
            true if each.len() <= LISTED => Ok(Self { each, more }),
            true => Err(Problem::Value(format!("lists more than {LISTED}"))),
            false => Err(Problem::Value(format!("counts more beside fewer than {LISTED}"))),
        }
    }
}

/// What is not listed.
pub(super) fn more(value: &Value<'_>) -> Result<Option<More>, Refusal> {
    value.optional(|value| -> Result<More, Refusal> {
        let mut m = value.members()?;
        let more = More { count: m.take("count", positive)?, digest: m.take("digest", hash)? };
        m.end()?;
        Ok(more)
    })
}
