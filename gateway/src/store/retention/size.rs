//! Size: how much the database takes, what is due, and giving room back.

use rusqlite::{Connection, OptionalExtension as _, params};
use sealtap_common::leaf::Leaf;

use super::{Policy, kept_from, stated_below};
use crate::store::error::{Fault, Outcome, StoreError};
use crate::store::place::{signed, unsigned};
use crate::store::schema;
use crate::store::writer::Store;

/// Pages given back at a time: 16 MiB.
const PAGES: u32 = 1_024;
/// `auto_vacuum` as a database has it that can shrink by pages.
const INCREMENTAL: i64 = 2;

/// How far what was destroyed is gone from the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tidied {
    /// It is.
    Wholly,
    /// There are pages that have yet to be given back.
    PagesAreLeft,
    /// Somebody who reads is in the way of folding the log in.
    LogIsLeft,
}

impl Store {
    /// The bytes of pages in use. The write-ahead log, at most 64 MiB at rest, comes on top.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn size(&self) -> Result<u64, StoreError> {
        used(&self.connection).map_err(|fault| fault.at(&self.path))
    }

    /// The last leaf whose exchange is due for destruction at `now_us`, if any is: what is older
    /// than allowed, or the oldest of what is too much. Nothing is due while something that a leaf
    /// has named is still there.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn due(&self, policy: Policy, now_us: u64) -> Result<Option<(u64, u64)>, StoreError> {
        due(&self.connection, policy, now_us).map_err(|fault| fault.at(&self.path))
    }

    /// Gives free pages back to the file system, some at a time. After the last ones the write-ahead log is
    /// folded in and cut: it has copies of what was destroyed, or the database still has what it says is.
    ///
    /// # Errors
    ///
    /// The database cannot be written; what was given back stays so.
    pub fn tidy(&mut self) -> Result<Tidied, StoreError> {
        self.tidied().map_err(|fault| fault.at(&self.path))
    }

    fn tidied(&mut self) -> Outcome<Tidied> {
        if number(&self.connection, "freelist_count")? > 0 {
            if number(&self.connection, "auto_vacuum")? != INCREMENTAL {
                self.write_anew();
            } else if give_back(&self.connection)? {
                return Ok(Tidied::PagesAreLeft);
            }
        }
        Ok(if self.fold_log(schema::READERS_PATIENCE)? {
            Tidied::Wholly
        } else {
            Tidied::LogIsLeft
        })
    }

    /// Writes a database of an earlier version anew, so that it can shrink, which needs as much room again.
    /// Where that fails, its free pages are used again and it just does not shrink; it is tried once.
    fn write_anew(&mut self) {
        if std::mem::replace(&mut self.was_written_anew, true) {
            return;
        }
        let anew = "PRAGMA auto_vacuum = INCREMENTAL; VACUUM";
        if let Err(error) = self.connection.execute_batch(anew) {
            tracing::warn!(%error, path = %self.path.display(), "the store of an earlier version does not shrink");
        }
    }

    /// Whether any leaf ever named something to destroy.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn has_stated(&self) -> Result<bool, StoreError> {
        let below = stated_below(&self.connection).map_err(|fault| fault.at(&self.path))?;
        Ok(below > 0)
    }
}

fn number(connection: &Connection, pragma: &str) -> Outcome<i64> {
    Ok(connection.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn used(connection: &Connection) -> Outcome<u64> {
    let pages = number(connection, "page_count")?;
    let free = number(connection, "freelist_count")?;
    let size = number(connection, "page_size")?;
    unsigned(pages.saturating_sub(free).saturating_mul(size))
}

fn due(connection: &Connection, policy: Policy, now_us: u64) -> Outcome<Option<(u64, u64)>> {
    let first = stated_below(connection)?.max(1);
    let end = schema::watermark(connection)?.max(behind_asides(connection)?);
    if kept_from(connection)? < stated_below(connection)? || first >= end {
        return Ok(None);
    }
    let mut last = None;
    if let Some(age) = policy.limit().age {
        last = sealed_until(connection, first..end, now_us.saturating_sub(age))?;
    }
    if let Some(most) = policy.max_bytes {
        let used = used(connection)?;
        if used > most {
            // Some room below the limit, or each new exchange would need a statement of its own. A
            // leaf takes about as much as another, as far as one can know beforehand.
            let excess = used.saturating_sub(most - most / 16);
            let span = end - first;
            let share = u128::from(excess) * u128::from(span) / u128::from(used.max(1));
            let count = u64::try_from(share).unwrap_or(span).clamp(1, span);
            last = last.max(Some(first + count - 1));
        }
    }
    // Without anything that is held among them there would be nothing to state.
    let last = last.map(|last| held_at_or_before(connection, last)).transpose()?.flatten();
    Ok(last.filter(|last| *last >= first).map(|last| (first, last)))
}

/// The last of `leaves` that something is held of and that was sealed at `cutoff` or before. `sealed`
/// never decreases.
fn sealed_until(
    connection: &Connection,
    leaves: std::ops::Range<u64>,
    cutoff: u64,
) -> Outcome<Option<u64>> {
    let (mut low, mut high) = (leaves.start, leaves.end);
    let mut found = None;
    while low < high {
        let middle = low + (high - low) / 2;
        let held =
            [exchange_from(connection, middle, high)?, aside_from(connection, middle, high)?];
        match held.into_iter().flatten().min() {
            None => high = middle,
            Some((leaf, sealed)) if sealed <= cutoff => {
                found = Some(leaf);
                low = leaf + 1;
            }
            Some(_) => high = middle,
        }
    }
    Ok(found)
}

/// The first exchange from leaf `from` on and before `end`, and when it was sealed.
fn exchange_from(connection: &Connection, from: u64, end: u64) -> Outcome<Option<(u64, u64)>> {
    let row: Option<(i64, Vec<u8>)> = connection
        .prepare_cached(
            "SELECT leaf, record FROM exchange WHERE leaf >= ? AND leaf < ? ORDER BY leaf LIMIT 1",
        )?
        .query_row(params![signed(from)?, signed(end)?], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((leaf, record)) = row else { return Ok(None) };
    let sealed = Leaf::decode(&record)
        .map_err(|error| Fault::Corrupt(format!("the record of leaf {leaf}: {error}")))?
        .sealed();
    Ok(Some((unsigned(leaf)?, sealed)))
}

/// The same of who made a connection, or went around; one of which no time is known is as old as any.
fn aside_from(connection: &Connection, from: u64, end: u64) -> Outcome<Option<(u64, u64)>> {
    let row: Option<(i64, i64)> = connection
        .prepare_cached(
            "SELECT aside.leaf, coalesce(aside_time.sealed, 0)
             FROM aside LEFT JOIN aside_time ON aside_time.leaf = aside.leaf
             WHERE aside.leaf >= ? AND aside.leaf < ? ORDER BY aside.leaf LIMIT 1",
        )?
        .query_row(params![signed(from)?, signed(end)?], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    row.map(|(leaf, sealed)| Ok((unsigned(leaf)?, unsigned(sealed)?))).transpose()
}

/// Behind the last leaf that something but an exchange is held of: what is published is stored in the
/// order of the log before anything is due, so nothing in front of it is still to come.
fn behind_asides(connection: &Connection) -> Outcome<u64> {
    let last: Option<i64> = connection
        .prepare_cached("SELECT max(leaf) FROM aside")?
        .query_row([], |row| row.get(0))?;
    last.map_or(Ok(0), |last| Ok(unsigned(last)?.saturating_add(1)))
}

fn held_at_or_before(connection: &Connection, leaf: u64) -> Outcome<Option<u64>> {
    let mut held = None;
    for table in ["exchange", "aside"] {
        let found: Option<i64> = connection
            .prepare_cached(&format!("SELECT max(leaf) FROM {table} WHERE leaf <= ?"))?
            .query_row(params![signed(leaf)?], |row| row.get(0))?;
        held = held.max(found.map(unsigned).transpose()?);
    }
    Ok(held)
}

/// Gives some free pages back; whether there are more.
fn give_back(connection: &Connection) -> Outcome<bool> {
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(number(connection, "freelist_count")? > 0)
}
