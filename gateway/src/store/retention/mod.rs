//! Retention: what is older than allowed, or more than fits, is destroyed; the log never is.
//!
//! In: a policy, and statements of the log. Out: contents, heads, bodies and their keys that are
//! gone from the database for good. The order is fixed, and each step may be the last one before a
//! crash:
//!
//! 1. [`Store::due`] names the leaves whose exchanges are due: always the oldest.
//! 2. A `retention` leaf that names them is sealed and published.
//! 3. [`Store::state`] notes that leaf in the table `retention`. A crash before it is made good at
//!    the next start, which reads the leaves behind the watermark ([`statements`]).
//! 4. [`Store::prune`] destroys a few exchanges a transaction, and notes in it how far it came.
//! 5. [`Store::tidy`] gives pages back to the file system and cuts the write-ahead log, once nobody reads what
//!    was before: until then it, or the database's file, still has copies.
//!
//! What stays of an exchange is its row: the leaf, which is safe to publish, id, number and times.
//! A content stays as long as a body that is held lists it. A body whose recipe others build on
//! leaves the shared part of that recipe behind, without its key, until they go too.
//!
//! Nothing is destroyed that no leaf has named. Deleted bytes are overwritten in the database
//! (`secure_delete`); what the file system or the disk keeps of freed blocks is out of reach here.

mod keeper;
mod prune;
mod size;
#[cfg(test)]
mod tests;

use std::ops::{AddAssign, Range};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, params};
use sealtap_common::leaf::{Leaf, Limit, Retention};

use super::error::{Fault, Outcome, StoreError};
use super::place::{signed, unsigned};
use super::schema;
use super::writer::Store;

pub use keeper::{Ask, Keeper};
pub use size::Tidied;

/// How long the store may hold what, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The longest that anything is held after it was sealed.
    pub max_age: Option<Duration>,
    /// Bytes of the database above which the oldest go.
    pub max_bytes: Option<u64>,
}

impl Policy {
    /// Whether anything is ever to be destroyed.
    #[must_use]
    pub fn is_on(self) -> bool {
        self.max_age.is_some() || self.max_bytes.is_some()
    }

    /// As a leaf states it.
    #[must_use]
    pub fn limit(self) -> Limit {
        let microseconds = |age: Duration| u64::try_from(age.as_micros()).unwrap_or(u64::MAX);
        Limit { age: self.max_age.map(microseconds), bytes: self.max_bytes }
    }
}

/// What was destroyed in one step, or since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrunedNow {
    /// Exchanges.
    pub exchanges: u64,
    /// Contents that no body listed any more.
    pub contents: u64,
    /// Bytes of those contents, as they were kept.
    pub bytes: u64,
}

impl AddAssign for PrunedNow {
    fn add_assign(&mut self, other: Self) {
        self.exchanges = self.exchanges.saturating_add(other.exchanges);
        self.contents = self.contents.saturating_add(other.contents);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Which statement of the log an exchange was destroyed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The index of the `retention` leaf.
    pub leaf: u64,
    /// When it was sealed, in microseconds since the Unix epoch.
    pub sealed: u64,
    /// The limits it gives.
    pub limit: Limit,
}

impl Pruned {
    /// The limits in words, such as `30d` or `30d and 50 GiB`.
    #[must_use]
    pub fn policy(&self) -> String {
        let age = self.limit.age.map(|age| in_words(Duration::from_micros(age)));
        let bytes = self.limit.bytes.map(|bytes| match bytes {
            bytes if bytes % (1 << 30) == 0 => format!("{} GiB", bytes >> 30),
            bytes if bytes % (1 << 20) == 0 => format!("{} MiB", bytes >> 20),
            bytes => format!("{bytes} bytes"),
        });
        age.into_iter().chain(bytes).collect::<Vec<_>>().join(" and ")
    }
}

fn in_words(age: Duration) -> String {
    match age.as_secs() {
        seconds if seconds >= 86_400 && seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
        seconds if seconds >= 3_600 && seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
        seconds if seconds >= 60 && seconds % 60 == 0 => format!("{}min", seconds / 60),
        _ => format!("{age:?}"),
    }
}

/// A statement of the log: the leaf's index, and what it says.
pub type Statement = (u64, Retention);

/// The statements among `leaves`, which begin at index `from`.
///
/// # Errors
///
/// A leaf cannot be decoded.
pub fn statements(
    from: u64,
    leaves: &[Vec<u8>],
) -> Result<Vec<Statement>, sealtap_common::leaf::DecodeError> {
    let mut found = Vec::new();
    for (index, bytes) in (from..).zip(leaves) {
        if let Leaf::Retention(retention) = Leaf::decode(bytes)? {
            found.push((index, retention));
        }
    }
    Ok(found)
}

impl Store {
    /// Where pruning stands: everything below `start` is destroyed, and what lies below `end` has
    /// been stated and is to be.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn to_prune(&self) -> Result<Range<u64>, StoreError> {
        let read = || Ok(kept_from(&self.connection)?..stated_below(&self.connection)?);
        read().map_err(|fault: Fault| fault.at(&self.path))
    }

    /// Notes what leaves of the log state; stating the same again changes nothing.
    ///
    /// # Errors
    ///
    /// The database cannot be written; then nothing of it is noted.
    pub fn state(&mut self, statements: &[Statement]) -> Result<(), StoreError> {
        let noted = note(&mut self.connection, statements);
        noted.map_err(|fault| fault.at(&self.path))
    }
}

fn note(connection: &mut Connection, statements: &[Statement]) -> Outcome<()> {
    let transaction = connection.transaction()?;
    for (index, retention) in statements {
        for (first, last) in retention.leaves.as_slice() {
            transaction
                .prepare_cached(
                    "INSERT INTO retention(leaf, first, last, sealed, age, bytes)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    signed(*index)?,
                    signed(*first)?,
                    signed(*last)?,
                    signed(retention.sealed)?,
                    retention.limit.age.map(signed).transpose()?,
                    retention.limit.bytes.map(signed).transpose()?,
                ])?;
        }
    }
    Ok(transaction.commit()?)
}

/// The index below which everything is destroyed.
pub(super) fn kept_from(connection: &Connection) -> Outcome<u64> {
    schema::meta::<i64>(connection, "kept_from")?.map_or(Ok(0), unsigned)
}

fn stated_below(connection: &Connection) -> Outcome<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(last) FROM retention")?
        .query_row([], |row| row.get(0))?;
    last.map_or(Ok(0), |last| Ok(unsigned(last)?.saturating_add(1)))
}

/// The first statement that names the leaf at `index`, if any does.
pub(super) fn stated(connection: &Connection, index: u64) -> Outcome<Option<Pruned>> {
    let known: bool = connection
        .prepare_cached("SELECT EXISTS(SELECT 1 FROM sqlite_schema WHERE name = 'retention')")?
        .query_row([], |row| row.get(0))?;
    if !known {
        // Written before there was retention, and not opened for writing since.
        return Ok(None);
    }
    let found = connection
        .prepare_cached(
            "SELECT leaf, sealed, age, bytes FROM retention WHERE first <= ?1 AND last >= ?1
             ORDER BY leaf LIMIT 1",
        )?
        .query_row(params![signed(index)?], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<_, Option<i64>>(2)?, row.get(3)?))
        })
        .optional()?;
    let Some((leaf, sealed, age, bytes)) = found else { return Ok(None) };
    let bytes: Option<i64> = bytes;
    Ok(Some(Pruned {
        leaf: unsigned(leaf)?,
        sealed: unsigned(sealed)?,
        limit: Limit {
            age: age.map(unsigned).transpose()?,
            bytes: bytes.map(unsigned).transpose()?,
        },
    }))
}
