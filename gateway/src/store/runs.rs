//! Runs: their records in, what is known of each out.

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};

use super::error::{Outcome, StoreError};
use super::place::{signed, unsigned};
use super::reader::StoreReader;
use super::schema;
use super::writer::Store;
use crate::seal::run::SealedRecord;

/// A run's record as it is stored.
pub type StoredRecord = SealedRecord;

/// What is stored of one run, without its exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Its id.
    pub id: [u8; 16],
    /// Its name, if it has one.
    pub name: Option<String>,
    /// The boot of its first exchange.
    pub boot: [u8; 16],
    /// Stored exchanges.
    pub count: u64,
    /// The first one's leaf.
    pub first: u64,
    /// The last one's leaf.
    pub last: u64,
    /// Its record, once it is closed.
    pub record: Option<StoredRecord>,
}

impl Store {
    /// Stores run records in one transaction; one that is there already is left alone.
    ///
    /// # Errors
    ///
    /// The database cannot be written; then none was stored.
    pub fn put_records(&mut self, records: &[SealedRecord]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        self.insert_records(records).map_err(|fault| fault.at(&path))
    }

    fn insert_records(&mut self, records: &[SealedRecord]) -> Outcome<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for record in records {
            transaction
                .prepare_cached("INSERT OR IGNORE INTO run(id, name) VALUES (?, NULL)")?
                .execute(params![record.run])?;
            transaction
                .prepare_cached(
                    "INSERT OR IGNORE INTO record(run, closed, leaf, record, key, signature)
                     VALUES ((SELECT key FROM run WHERE id = ?), ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    record.run,
                    signed(record.closed_index)?,
                    record.closed,
                    signed(record.record_index)?,
                    record.key_id,
                    record.signature.as_slice()
                ])?;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Notes which boot writes from now on; runs of others are over.
    ///
    /// # Errors
    ///
    /// The database cannot be written.
    pub fn begin_boot(&mut self, boot: &[u8; 16]) -> Result<(), StoreError> {
        let noted = self.connection.execute(
            "INSERT INTO meta(name, value) VALUES ('boot', ?)
             ON CONFLICT(name) DO UPDATE SET value = excluded.value",
            params![boot],
        );
        noted.map(drop).map_err(|error| super::error::Fault::from(error).at(&self.path))
    }
}

impl StoreReader {
    /// The boot that wrote last, once one has said so.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn latest_boot(&self) -> Result<Option<[u8; 16]>, StoreError> {
        schema::meta(&self.connection, "boot").map_err(|fault| fault.at(&self.path))
    }

    /// Up to `limit` runs that have exchanges, by the leaf of the first one, which comes after
    /// `after`.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn run_page(&self, after: Option<u64>, limit: u32) -> Result<Vec<RunSummary>, StoreError> {
        let read = || -> Outcome<Vec<RunSummary>> {
            let after = after.map_or(Ok(-1), signed)?;
            let mut statement = self.connection.prepare_cached(
                "SELECT run.key, run.id, run.name, count(*), min(exchange.leaf), max(exchange.leaf)
                 FROM exchange JOIN run ON run.key = exchange.run
                 GROUP BY exchange.run HAVING min(exchange.leaf) > ?
                 ORDER BY min(exchange.leaf) LIMIT ?",
            )?;
            let mut rows = statement.query(params![after, limit])?;
            let mut runs = Vec::new();
            while let Some(row) = rows.next()? {
                runs.push(summary(&self.connection, row)?);
            }
            Ok(runs)
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// The run with this id, if it has exchanges.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn run(&self, id: &[u8; 16]) -> Result<Option<RunSummary>, StoreError> {
        let read = || -> Outcome<Option<RunSummary>> {
            let mut statement = self.connection.prepare_cached(
                "SELECT run.key, run.id, run.name, count(*), min(exchange.leaf), max(exchange.leaf)
                 FROM exchange JOIN run ON run.key = exchange.run WHERE run.id = ?
                 GROUP BY exchange.run",
            )?;
            let mut rows = statement.query(params![id])?;
            rows.next()?.map(|row| summary(&self.connection, row)).transpose()
        };
        read().map_err(|fault| fault.at(&self.path))
    }
}

fn summary(connection: &Connection, row: &Row<'_>) -> Outcome<RunSummary> {
    let key: i64 = row.get(0)?;
    let first: i64 = row.get(4)?;
    let id: [u8; 16] = row.get(1)?;
    let boot = connection
        .prepare_cached("SELECT boot FROM exchange WHERE leaf = ?")?
        .query_row(params![first], |row| row.get(0))?;
    Ok(RunSummary {
        id,
        name: row.get(2)?,
        boot,
        count: unsigned(row.get(3)?)?,
        first: unsigned(first)?,
        last: unsigned(row.get(5)?)?,
        record: record(connection, key, id)?,
    })
}

fn record(connection: &Connection, key: i64, run: [u8; 16]) -> Outcome<Option<StoredRecord>> {
    // A store that only an earlier version wrote has no such table.
    let there = connection
        .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'record'")?
        .exists([])?;
    if !there {
        return Ok(None);
    }
    let found = connection
        .prepare_cached("SELECT closed, leaf, record, key, signature FROM record WHERE run = ?")?
        .query_row(params![key], |row| {
            let index = |at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.unsigned_abs());
            Ok(StoredRecord {
                run,
                closed_index: index(0)?,
                closed: row.get(1)?,
                record_index: index(2)?,
                key_id: row.get(3)?,
                signature: row.get(4)?,
            })
        })
        .optional()?;
    Ok(found)
}
