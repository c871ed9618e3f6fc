//! Prune: the rows of one exchange after the other, and the contents that nobody lists any more.

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::{PrunedNow, kept_from, stated_below};
use crate::store::error::{Outcome, StoreError};
use crate::store::place::{signed, unsigned};
use crate::store::recipe;
use crate::store::schema;
use crate::store::writer::Store;

impl Store {
    /// Destroys up to `most` exchanges that a leaf has named, oldest first, in one transaction;
    /// what it gives is zero when there are none left.
    ///
    /// # Errors
    ///
    /// The database cannot be written; then nothing of it was destroyed.
    pub fn prune(&mut self, most: u32) -> Result<PrunedNow, StoreError> {
        let pruned = prune(&mut self.connection, most);
        pruned.map_err(|fault| fault.at(&self.path))
    }
}

fn prune(connection: &mut Connection, most: u32) -> Outcome<PrunedNow> {
    let (from, end) = (kept_from(connection)?, stated_below(connection)?);
    let mut pruned = PrunedNow::default();
    if from >= end {
        return Ok(pruned);
    }
    connection.execute_batch(schema::SEGMENT_CONTENT)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let due: Vec<(i64, i64)> = transaction
        .prepare_cached(
            "SELECT leaf, run FROM exchange WHERE leaf >= ? AND leaf < ? ORDER BY leaf LIMIT ?",
        )?
        .query_map(params![signed(from)?, signed(end)?, most], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?
        .collect::<Result<_, _>>()?;
    let mut work = Work { connection: &transaction, pruned: &mut pruned };
    for (leaf, run) in &due {
        work.exchange(*leaf, *run)?;
    }
    let full = u32::try_from(due.len()).is_ok_and(|count| count == most);
    let kept_from = match due.last() {
        Some((last, _)) if full => unsigned(*last)?.saturating_add(1),
        _ => end,
    };
    // Who made a connection, or went around, goes with the leaves around it; a connection's leaf stands
    // behind those of all its exchanges.
    for table in schema::ASIDE_TABLES {
        transaction
            .prepare_cached(&format!("DELETE FROM {table} WHERE leaf < ?"))?
            .execute(params![signed(kept_from)?])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO meta(name, value) VALUES ('kept_from', ?)
             ON CONFLICT(name) DO UPDATE SET value = excluded.value",
        )?
        .execute(params![signed(kept_from)?])?;
    // A crash before this line leaves these exchanges whole, a crash after it none of them.
    transaction.commit()?;
    Ok(pruned)
}

struct Work<'a> {
    connection: &'a Connection,
    pruned: &'a mut PrunedNow,
}

impl Work<'_> {
    fn exchange(&mut self, leaf: i64, run: i64) -> Outcome<()> {
        let units = leaf.saturating_mul(8);
        self.connection
            .prepare_cached("DELETE FROM unit WHERE place BETWEEN ?1 AND ?1 + 7")?
            .execute(params![units])?;
        let request = leaf.saturating_mul(2);
        for place in [request, request.saturating_add(1)] {
            self.body(place)?;
        }
        // A run's name came from an app: it goes with the last exchange that is held.
        self.connection
            .prepare_cached(
                "UPDATE run SET name = NULL WHERE key = ?1 AND name IS NOT NULL
                 AND NOT EXISTS(SELECT 1 FROM exchange WHERE run = ?1 AND leaf > ?2)",
            )?
            .execute(params![run, leaf])?;
        self.pruned.exchanges = self.pruned.exchanges.saturating_add(1);
        Ok(())
    }

    /// Destroys a body: its key, its digest, and what of its recipe no other body builds on. A row
    /// that others need stays without its key; it goes with the last of them.
    fn body(&mut self, place: i64) -> Outcome<()> {
        let mut next = Some(place);
        while let Some(place) = next {
            let row: Option<(Option<i64>, i64, Vec<u8>)> = self
                .connection
                .prepare_cached("SELECT parent, shared, recipe FROM body WHERE place = ?")?
                .query_row(params![place], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            let Some((parent, shared, packed)) = row else { return Ok(()) };
            let own = recipe::own_entries(&packed, place)?;
            let needed: Option<i64> = self
                .connection
                .prepare_cached("SELECT max(shared) FROM body WHERE parent = ?")?
                .query_row(params![place], |row| row.get(0))?;
            let keep = needed.map_or(0, |needed| needed.saturating_sub(shared).max(0));
            let keep = usize::try_from(keep).unwrap_or(usize::MAX).min(own.len());
            let (kept, released) = own.split_at_checked(keep).unwrap_or((&own, &[]));
            for entry in released {
                self.release(entry.content)?;
            }
            if needed.is_some() {
                self.connection
                    .prepare_cached(
                        "UPDATE body SET key = x'', sha256 = x'', length = 0, segments = 0,
                         recipe = ? WHERE place = ?",
                    )?
                    .execute(params![recipe::pack(kept), place])?;
                return Ok(());
            }
            self.connection
                .prepare_cached("DELETE FROM body WHERE place = ?")?
                .execute(params![place])?;
            // A parent that was pruned before and stayed only for this one.
            let orphan = match parent {
                None => false,
                Some(parent) => self
                    .connection
                    .prepare_cached("SELECT 1 FROM body WHERE place = ? AND length(key) = 0")?
                    .exists(params![parent])?,
            };
            next = parent.filter(|_| orphan);
        }
        Ok(())
    }

    /// One recipe less lists a content; the last one takes it along.
    fn release(&mut self, content: i64) -> Outcome<()> {
        let left: Option<i64> = self
            .connection
            .prepare_cached(
                "UPDATE segment SET lists = lists - 1 WHERE content = ? RETURNING lists",
            )?
            .query_row(params![content], |row| row.get(0))
            .optional()?;
        if left.is_some_and(|left| left > 0) {
            return Ok(());
        }
        self.connection
            .prepare_cached("DELETE FROM segment WHERE content = ?")?
            .execute(params![content])?;
        let bytes: Option<i64> = self
            .connection
            .prepare_cached("DELETE FROM content WHERE key = ? RETURNING length(bytes)")?
            .query_row(params![content], |row| row.get(0))
            .optional()?;
        if let Some(bytes) = bytes {
            self.pruned.contents = self.pruned.contents.saturating_add(1);
            self.pruned.bytes = self.pruned.bytes.saturating_add(unsigned(bytes)?);
        }
        Ok(())
    }
}
