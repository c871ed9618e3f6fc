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

    /// The next runs that have exchanges, in the order the store met them, at most `limit`; `after`
    /// is where the page before ended, and moves on. Nothing once there are no more.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn run_page(
        &self,
        after: &mut i64,
        limit: u32,
    ) -> Result<Option<Vec<RunSummary>>, StoreError> {
        let mut read = || -> Outcome<Option<Vec<RunSummary>>> {
            let text = format!("{RUN} WHERE run.key > ? ORDER BY run.key LIMIT ?");
            let mut statement = self.connection.prepare_cached(&text)?;
            let mut rows = statement.query(params![*after, limit])?;
            let (mut runs, mut met) = (Vec::new(), false);
            while let Some(row) = rows.next()? {
                (*after, met) = (row.get(0)?, true);
                runs.extend(summary(&self.connection, row)?);
            }
            Ok(met.then_some(runs))
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
            let text = format!("{RUN} WHERE run.id = ?");
            let mut statement = self.connection.prepare_cached(&text)?;
            let mut rows = statement.query(params![id])?;
            match rows.next()? {
                Some(row) => summary(&self.connection, row),
                None => Ok(None),
            }
        };
        read().map_err(|fault| fault.at(&self.path))
    }
}

/// A run and how far its exchanges reach; conditions come behind. Each look-up is one in the index
/// of exchanges by run.
const RUN: &str = "SELECT run.key, run.id, run.name,
    (SELECT count(*) FROM exchange WHERE exchange.run = run.key),
    (SELECT min(leaf) FROM exchange WHERE exchange.run = run.key),
    (SELECT max(leaf) FROM exchange WHERE exchange.run = run.key) FROM run";

/// The run of a row; nothing while none of its exchanges is stored.
fn summary(connection: &Connection, row: &Row<'_>) -> Outcome<Option<RunSummary>> {
    let key: i64 = row.get(0)?;
    let (first, last): (Option<i64>, Option<i64>) = (row.get(4)?, row.get(5)?);
    let Some((first, last)) = first.zip(last) else { return Ok(None) };
    let id: [u8; 16] = row.get(1)?;
    let boot = connection
        .prepare_cached("SELECT boot FROM exchange WHERE leaf = ?")?
        .query_row(params![first], |row| row.get(0))?;
    Ok(Some(RunSummary {
        id,
        name: row.get(2)?,
        boot,
        count: unsigned(row.get(3)?)?,
        first: unsigned(first)?,
        last: unsigned(last)?,
        record: record(connection, key, id)?,
    }))
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
