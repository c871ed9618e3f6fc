//! The writer: takes sealed exchanges in, one transaction per batch.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};
use sha2::{Digest as _, Sha256};

use super::commitment::Recommitment;
use super::content::{self, Contents};
use super::error::{Outcome, StoreError};
use super::facts::{self, Facts, hex};
use super::payload::{self, Payload};
use super::place::{body_place, signed, unit_place};
use super::recipe::{self, Entry, Trunk};
use super::retention;
use super::schema;
use super::sealed::{ExtentSource, SealedBody, SealedExchange};

/// The store, open for writing. One process at a time holds one.
pub struct Store {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    contents: Contents,
    segment: Vec<u8>,
    /// It was tried to give a database of an earlier version the form that can shrink.
    pub(super) was_written_anew: bool,
}

/// What one [`Store::put`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Exchanges that are new in the store.
    pub exchanges: u64,
    /// Exchanges that were there already, leaf for leaf; they were left alone.
    pub present: u64,
    /// Segments whose content was new.
    pub segments_new: u64,
    /// Segments whose content was there already.
    pub segments_shared: u64,
    /// Body bytes read from the journal.
    pub bytes_read: u64,
    /// Content bytes written, after compression.
    pub bytes_kept: u64,
}

impl std::ops::AddAssign for Stored {
    fn add_assign(&mut self, other: Self) {
        let sums = [
            (&mut self.exchanges, other.exchanges),
            (&mut self.present, other.present),
            (&mut self.segments_new, other.segments_new),
            (&mut self.segments_shared, other.segments_shared),
            (&mut self.bytes_read, other.bytes_read),
            (&mut self.bytes_kept, other.bytes_kept),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}

impl Store {
    /// Opens the store in `directory`, making it if it is not there.
    ///
    /// `store_key` keys the index of contents; it is the same for the life of the store.
    ///
    /// # Errors
    ///
    /// No permission, no room, a database of something else, of a newer version, damaged, or made
    /// with another key.
    pub fn open(directory: &Path, store_key: &[u8; 32]) -> Result<Self, StoreError> {
        let connection = schema::open_writer(directory)?;
        let path = schema::file(directory);
        let contents = Contents::new(store_key)
            .map_err(|source| StoreError::Directory { path: path.clone(), source })?;
        let store =
            Self { path, connection, contents, segment: Vec::new(), was_written_anew: false };
        store.check_key().map_err(|fault| fault.at(&store.path))?;
        Ok(store)
    }

    fn check_key(&self) -> Outcome<()> {
        let expected = self.contents.key_check();
        let found: Option<Vec<u8>> = schema::meta(&self.connection, "key_check")?;
        match found {
            Some(found) if found == expected => Ok(()),
            Some(_) => Err(StoreError::WrongKey { path: self.path.clone() }.into()),
            None => {
                self.connection.execute(
                    "INSERT INTO meta(name, value) VALUES ('key_check', ?)",
                    params![expected],
                )?;
                Ok(())
            }
        }
    }

    /// Stores a batch in one transaction; on return it is on disk.
    ///
    /// An exchange that is already there with the same leaf is left alone, so a batch whose fate is
    /// unknown may be given again. Exchanges come in the order of their leaves: afterwards the
    /// [watermark](Self::watermark) stands behind the last one.
    ///
    /// # Errors
    ///
    /// Anything that stops the batch; then nothing of it was stored and the store can be used on.
    pub fn put(
        &mut self,
        batch: &[SealedExchange],
        bytes: &mut dyn ExtentSource,
    ) -> Result<Stored, StoreError> {
        let stored = self.put_batch(batch, bytes).map_err(|fault| fault.at(&self.path));
        self.bound_log();
        stored
    }

    /// Folds a log that readers or one large batch let grow into the database, and cuts it; where
    /// the disk is nearly full, any log, also after a failure, since what it frees may be what the
    /// next batch needs.
    fn bound_log(&self) {
        let length = self.log_length();
        if length > schema::LOG_KEPT_BYTES || (length > 0 && schema::is_short_of_room(&self.path)) {
            // Only tidiness: a log that stays behind is read, and folded in at the next chance.
            let _ = self.fold_log(schema::READERS_PATIENCE);
        }
    }

    /// Bytes of the write-ahead log: what folding it may take, at most.
    #[must_use]
    pub fn log_length(&self) -> u64 {
        schema::log_length(&self.path)
    }

    /// Folds the log in and cuts it, unless somebody reads for longer than `patience`; whether none is left.
    pub(super) fn fold_log(&self, patience: Duration) -> Outcome<bool> {
        self.connection.busy_timeout(patience)?;
        // A reader in the way is no error, but said in the first column.
        let fold = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = self.connection.query_row(fold, [], |row| row.get::<_, i64>(0));
        self.connection.busy_timeout(schema::PATIENCE)?;
        Ok(busy? == 0)
    }

    fn put_batch(
        &mut self,
        batch: &[SealedExchange],
        bytes: &mut dyn ExtentSource,
    ) -> Outcome<Stored> {
        let mut stored = Stored::default();
        let Some(last) = batch.iter().map(|exchange| exchange.leaf_index).max() else {
            return Ok(stored);
        };
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut work = Work {
            kept_from: retention::kept_from(&transaction)?,
            connection: &transaction,
            contents: &mut self.contents,
            segment: &mut self.segment,
            stored: &mut stored,
        };
        for exchange in batch {
            work.exchange(exchange, bytes)?;
        }
        schema::advance(&transaction, last.saturating_add(1))?;
        // A crash before this line leaves nothing of the batch, a crash after it leaves all of it.
        transaction.commit()?;
        Ok(stored)
    }

    /// Whether exchange `number` of `boot` is in the store, so that the journal may drop it.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn compacted(&self, boot: &[u8; 16], number: u64) -> Result<bool, StoreError> {
        let found = || -> Outcome<bool> {
            let number = signed(number)?;
            let mut statement = self
                .connection
                .prepare_cached("SELECT 1 FROM exchange WHERE boot = ? AND number = ?")?;
            Ok(statement.exists(params![boot, number])?)
        };
        found().map_err(|fault| fault.at(&self.path))
    }

    /// The index below which every exchange's leaf is in the store.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn watermark(&self) -> Result<u64, StoreError> {
        schema::watermark(&self.connection).map_err(|fault| fault.at(&self.path))
    }

    /// Moves the watermark up to `index` over leaves that are no exchanges. It never moves down.
    ///
    /// # Errors
    ///
    /// The database cannot be written.
    pub fn advance(&mut self, index: u64) -> Result<(), StoreError> {
        schema::advance(&self.connection, index).map_err(|fault| fault.at(&self.path))
    }
}

impl Drop for Store {
    /// Folds the write-ahead log into the database, so that a store at rest is one file.
    fn drop(&mut self) {
        let _ = self.fold_log(schema::PATIENCE);
    }
}

/// One batch under way.
struct Work<'a> {
    /// What was sealed below this is stated to be held no longer.
    kept_from: u64,
    connection: &'a Connection,
    contents: &'a mut Contents,
    segment: &'a mut Vec<u8>,
    stored: &'a mut Stored,
}

impl Work<'_> {
    fn exchange(&mut self, exchange: &SealedExchange, bytes: &mut dyn ExtentSource) -> Outcome<()> {
        let leaf = signed(exchange.leaf_index)?;
        if self.is_present(exchange, leaf)? {
            self.stored.present += 1;
            return Ok(());
        }
        let facts = facts::of(exchange)?;
        // Where it waited in the journal while retention went past it, only its row may come.
        let is_held = exchange.leaf_index >= self.kept_from;
        let run = self.run(&facts, facts.run_name.as_deref().filter(|_| is_held))?;
        self.connection
            .prepare_cached(
                "INSERT INTO exchange(leaf, id, boot, number, run, record, ttfb, duration)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                leaf,
                exchange.id,
                exchange.boot,
                signed(exchange.number)?,
                run,
                exchange.leaf,
                exchange.ttfb_ns.map(signed).transpose()?,
                signed(exchange.duration_ns)?
            ])?;
        self.stored.exchanges += 1;
        if !is_held {
            return Ok(());
        }
        for unit in &exchange.units {
            self.connection
                .prepare_cached("INSERT INTO unit(place, key, bytes) VALUES (?, ?, ?)")?
                .execute(params![
                    unit_place(exchange.leaf_index, unit.slot)?,
                    unit.key,
                    unit.bytes
                ])?;
        }
        for body in &exchange.bodies {
            self.body(exchange, body, &facts, bytes)?;
        }
        Ok(())
    }

    fn is_present(&self, exchange: &SealedExchange, leaf: i64) -> Outcome<bool> {
        let record: Option<Vec<u8>> = self
            .connection
            .prepare_cached("SELECT record FROM exchange WHERE leaf = ?")?
            .query_row(params![leaf], |row| row.get(0))
            .optional()?;
        let conflict =
            |detail: String| StoreError::Conflict { exchange: hex(&exchange.id), detail };
        match record {
            Some(record) if record == exchange.leaf => return Ok(true),
            Some(_) => {
                return Err(conflict(format!("another record stands at leaf {leaf}")).into());
            }
            None => {}
        }
        let elsewhere: Option<i64> = self
            .connection
            .prepare_cached("SELECT leaf FROM exchange WHERE id = ? OR (boot = ? AND number = ?)")?
            .query_row(params![exchange.id, exchange.boot, signed(exchange.number)?], |row| {
                row.get(0)
            })
            .optional()?;
        match elsewhere {
            Some(other) => Err(conflict(format!("its id or number stands at leaf {other}")).into()),
            None => Ok(false),
        }
    }

    /// The row of the exchange's run; made, or given its name, when that is new.
    fn run(&self, facts: &Facts, named: Option<&str>) -> Outcome<i64> {
        let found: Option<(i64, Option<String>)> = self
            .connection
            .prepare_cached("SELECT key, name FROM run WHERE id = ?")?
            .query_row(params![facts.leaf.run.id.0], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match found {
            Some((key, name)) => {
                if name.is_none() && named.is_some() {
                    self.connection
                        .prepare_cached("UPDATE run SET name = ? WHERE key = ?")?
                        .execute(params![named, key])?;
                }
                Ok(key)
            }
            None => {
                self.connection
                    .prepare_cached("INSERT INTO run(id, name) VALUES (?, ?)")?
                    .execute(params![facts.leaf.run.id.0, named])?;
                Ok(self.connection.last_insert_rowid())
            }
        }
    }

    fn body(
        &mut self,
        exchange: &SealedExchange,
        body: &SealedBody,
        facts: &Facts,
        bytes: &mut dyn ExtentSource,
    ) -> Outcome<()> {
        let length = payload::check_tiling(exchange, body, content::LONGEST)?;
        let place = body_place(exchange.leaf_index, body.direction)?;
        let mut payload = Payload::new(exchange, body, bytes);
        let mut made = Recommitment::new(body.key);
        let mut hash = Sha256::new();
        let mut entries = Vec::with_capacity(body.segments.len());
        let mut first = None;
        // Contents that were there before, with the index of the segment that found them.
        let mut found_again = Vec::new();
        for (index, segment) in body.segments.iter().enumerate() {
            payload.next(segment.length, self.segment)?;
            hash.update(&self.segment);
            made.take(*segment, self.segment).map_err(|error| StoreError::Malformed {
                exchange: hex(&exchange.id),
                detail: format!("the segments do not tile: {error}"),
            })?;
            let placed = self.contents.place(self.connection, self.segment)?;
            match placed.added {
                Some(kept) => {
                    self.stored.segments_new += 1;
                    self.stored.bytes_kept += kept;
                }
                None => {
                    self.stored.segments_shared += 1;
                    found_again.push((index, placed.tag));
                }
            }
            first = first.or(Some(placed));
            let (length, kind) = (segment.length, segment.kind);
            entries.push(Entry { content: placed.content, length, kind });
        }
        // The journal's copy is the last other one, and goes once this one is stored: what was
        // read must be, to the byte, what was sealed.
        facts.check_body(exchange, body.direction, &made.finish(body.dialect))?;
        self.stored.bytes_read += length;
        let trunk = match first.and_then(|placed| placed.opens) {
            Some(alike) => recipe::trunk(self.connection, alike, &entries)?,
            None => Trunk::default(),
        };
        for (_, tag) in found_again.iter().filter(|(index, _)| *index >= trunk.shared) {
            content::listed_again(self.connection, tag)?;
        }
        if let Some(placed) = first {
            content::opened_by(self.connection, &placed.tag, place)?;
        }
        let own = entries.get(trunk.shared..).unwrap_or_default();
        self.connection
            .prepare_cached(
                "INSERT INTO body(place, key, dialect, length, segments, sha256, parent, shared,
                 depth, recipe) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?
            .execute(params![
                place,
                body.key,
                body.dialect.as_str(),
                signed(length)?,
                signed(count(entries.len()))?,
                <[u8; 32]>::from(hash.finalize()),
                trunk.parent,
                signed(count(trunk.shared))?,
                trunk.depth,
                recipe::pack(own)
            ])?;
        Ok(())
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
