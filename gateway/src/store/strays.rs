//! Strays: rows that stand at no leaf of the log, or under no exchange.
//!
//! A check goes from the leaves to the rows; this goes the other way, so that a row which no leaf
//! leads to shows. Rows are read a page at a time, beside a writer.

use rusqlite::params;

use super::error::{Outcome, StoreError};
use super::place::{signed, unsigned};
use super::reader::StoreReader;

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
}

impl Strays {
    /// What there is, in words; nothing where there is none.
    #[must_use]
    pub fn words(self) -> Option<String> {
        let parts = [
            (self.exchanges, "exchange(s) at no leaf of the log"),
            (self.units, "head(s) or other unit(s) of no exchange"),
            (self.bodies, "body or bodies of no exchange"),
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
        // By pages from the end: a running gateway adds there.
        let outside = |size: u64| -> Outcome<u64> {
            let size = signed(size)?;
            let mut statement = self
                .connection
                .prepare_cached("SELECT count(*) FROM exchange WHERE leaf < 0 OR leaf >= ?")?;
            unsigned(statement.query_row(params![size], |row| row.get(0))?)
        };
        let last = || -> Outcome<Option<i64>> {
            let mut statement = self.connection.prepare_cached("SELECT max(leaf) FROM exchange")?;
            Ok(statement.query_row([], |row| row.get(0))?)
        };
        let last = last().map_err(at)?;
        let mut size = published()?;
        if let Some(last) = last.and_then(|last| u64::try_from(last).ok())
            && last < size
        {
            // Nothing was beyond the log then; what has come since is beside the point.
            size = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
        }
        Ok(Strays {
            exchanges: outside(size).map_err(at)?,
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
