//! Strays: rows that stand at no leaf of the log, or under no exchange.
//!
//! A check goes from the leaves to the rows; this goes the other way, so that a row which no leaf
//! leads to shows. Rows are read a page at a time, beside a writer.

use rusqlite::params;

use super::error::{Outcome, StoreError};
use super::place::{signed, unsigned};
use super::reader::StoreReader;
use super::schema;

/// Rows read in one snapshot.
const PAGE: i64 = 4_096;

/// Rows that belong to nothing in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strays {
    /// Exchanges at indices that the log has no leaf for.
    pub exchanges: u64,
    /// Heads and other units of no exchange.
    pub units: u64,
    /// Bodies of no exchange.
    pub bodies: u64,
    /// Rows on who made connections, who went around and which names were asked for, at indices that
    /// the log has no leaf for.
    pub beside: u64,
}

impl Strays {
    /// What there is, in words; nothing where there is none.
    #[must_use]
    pub fn words(self) -> Option<String> {
        let parts = [
            (self.exchanges, "exchange(s) at no leaf of the log"),
            (self.units, "head(s) or other unit(s) of no exchange"),
            (self.bodies, "body or bodies of no exchange"),
            (self.beside, "row(s) on connections, ways around or names at no leaf of the log"),
        ];
        let found: Vec<String> = parts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, what)| format!("{count} {what}"))
            .collect();
        (!found.is_empty()).then(|| format!("the store has {}", found.join(", ")))
    }
}

impl StoreReader {
    /// Counts the rows that belong to nothing; `published` gives how many leaves the log has, and is
    /// asked after the rows were read: a gateway publishes a leaf before it stores the exchange.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or what `published` says.
    pub fn strays(
        &self,
        published: &mut dyn FnMut() -> Result<u64, StoreError>,
    ) -> Result<Strays, StoreError> {
        let at = |fault: super::error::Fault| fault.at(&self.path);
        let beside = self.has_asides().map_err(at)?;
        let aside = schema::ASIDE_TABLES.into_iter().filter(|_| beside);
        let last =
            ["exchange"].into_iter().chain(aside).map(|table| Ok((table, self.last(table)?)));
        let last: Vec<_> = last.collect::<Outcome<_>>().map_err(at)?;
        let size = published()?;
        let (mut exchanges, mut rows) = (0, 0);
        for (table, last) in last {
            // Nothing was beyond the log then; what has come since is beside the point.
            let known = match last.is_none_or(|last| last < size) {
                true => u64::try_from(i64::MAX).unwrap_or(u64::MAX),
                false => size,
            };
            let found = self.outside(table, known).map_err(at)?;
            let count = if table == "exchange" { &mut exchanges } else { &mut rows };
            *count += found;
        }
        Ok(Strays {
            exchanges,
            beside: rows,
            units: self
                .orphans(
                    "SELECT place, EXISTS(SELECT 1 FROM exchange WHERE leaf = place >> 3)
                     FROM unit WHERE place >= ?1 ORDER BY place LIMIT ?2",
                )
                .map_err(at)?,
            bodies: self
                .orphans(
                    "SELECT place, EXISTS(SELECT 1 FROM exchange WHERE leaf = place >> 1)
                     FROM body WHERE place >= ?1 ORDER BY place LIMIT ?2",
                )
                .map_err(at)?,
        })
    }

    /// The last leaf that a row of this table names.
    fn last(&self, table: &str) -> Outcome<Option<u64>> {
        let mut statement =
            self.connection.prepare_cached(&format!("SELECT max(leaf) FROM {table}"))?;
        let last: Option<i64> = statement.query_row([], |row| row.get(0))?;
        // One that no log can have is counted among those outside of it.
        Ok(last.and_then(|last| u64::try_from(last).ok()))
    }

    /// Rows of this table at indices outside of a log of this size.
    fn outside(&self, table: &str, size: u64) -> Outcome<u64> {
        let text = format!("SELECT count(*) FROM {table} WHERE leaf < 0 OR leaf >= ?");
        let mut statement = self.connection.prepare_cached(&text)?;
        unsigned(statement.query_row(params![signed(size)?], |row| row.get(0))?)
    }

    fn orphans(&self, text: &str) -> Outcome<u64> {
        let mut statement = self.connection.prepare_cached(text)?;
        let (mut orphans, mut from) = (0, Some(i64::MIN));
        while let Some(first) = from {
            let mut rows = statement.query(params![first, PAGE])?;
            from = None;
            let mut read = 0;
            while let Some(row) = rows.next()? {
                let place: i64 = row.get(0)?;
                let belongs: bool = row.get(1)?;
                orphans += u64::from(!belongs);
                read += 1;
                from = place.checked_add(1).filter(|_| read == PAGE);
            }
        }
        Ok(orphans)
    }
}
