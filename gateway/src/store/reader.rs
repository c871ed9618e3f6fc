//! The reader: the same exchanges and exact bytes, in any process, beside a running writer.
//!
//! Each call reads one row or one page in a snapshot of its own and lets go of the database before
//! it returns or writes anything: a slow terminal never keeps the writer's log from being folded in.

use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, ToSql, params};
use sealtap_common::Id;
use sha2::{Digest as _, Sha256};

use super::content::Unpacker;
use super::error::{Fault, Outcome, StoreError};
use super::facts::hex;
use super::place::{body_place, signed, unsigned};
use super::recipe::{self, Entry};
use super::retention;
use super::rows::{self, EXCHANGE, StoredBody, StoredExchange, StoredRun};
use super::schema;
use super::sealed::{Direction, Segment};

/// How many candidates an ambiguous name or prefix lists at most.
const MANY: i64 = 20;

/// The store, open for reading.
pub struct StoreReader {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    unpacker: Unpacker,
}

/// What takes a segment and its bytes.
pub type EachSegment<'a> = dyn FnMut(Segment, &[u8]) -> Result<(), StoreError> + 'a;

/// Whose exchanges are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunFilter<'a> {
    /// Everybody's.
    All,
    /// Those of the run with this id.
    Id([u8; 16]),
    /// Those of every run with this name.
    Name(&'a str),
}

/// What a name or a prefix stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    None,
    /// One exchange, by id.
    One([u8; 16]),
    /// Several, oldest first; at most twenty are listed.
    Many(Vec<[u8; 16]>),
}

impl StoreReader {
    /// Opens the store in `directory`; nothing there is changed.
    ///
    /// # Errors
    ///
    /// There is no store, no permission, or it is damaged, foreign, or of a newer version.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
        let connection = schema::open_reader(directory)?;
        let path = schema::file(directory);
        let unpacker = Unpacker::new()
            .map_err(|source| StoreError::Directory { path: path.clone(), source })?;
        Ok(Self { path, connection, unpacker })
    }

    /// A store with nothing in it, where there is none in `directory`; nothing is made there.
    ///
    /// # Errors
    ///
    /// SQLite finds no memory.
    pub(super) fn empty(directory: &Path) -> Result<Self, StoreError> {
        let path = schema::file(directory);
        let connection = schema::in_memory().map_err(|fault| fault.at(&path))?;
        let unpacker = Unpacker::new()
            .map_err(|source| StoreError::Directory { path: path.clone(), source })?;
        Ok(Self { path, connection, unpacker })
    }

    /// Up to `limit` exchanges in the order of their leaves, the first one at or after `from`.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn page(
        &self,
        from: u64,
        limit: u32,
        runs: RunFilter<'_>,
    ) -> Result<Vec<StoredExchange>, StoreError> {
        let read = |condition: &str, value: &dyn ToSql| {
            let text = format!(
                "{EXCHANGE} WHERE exchange.leaf >= ?1 AND {condition}
                 ORDER BY exchange.leaf LIMIT ?2"
            );
            rows::exchanges(&self.connection, &text, params![signed(from)?, limit, value])
        };
        let page = match runs {
            RunFilter::All => read("?3 IS NULL", &None::<i64>),
            RunFilter::Id(id) => read("exchange.run = (SELECT key FROM run WHERE id = ?3)", &id),
            RunFilter::Name(name) => {
                read("exchange.run IN (SELECT key FROM run WHERE name = ?3)", &name)
            }
        };
        page.map_err(|fault| fault.at(&self.path))
    }

    /// The newest `limit` exchanges, newest last.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn newest(&self, limit: u32) -> Result<Vec<StoredExchange>, StoreError> {
        let text = format!("{EXCHANGE} ORDER BY exchange.leaf DESC LIMIT ?");
        let mut newest = rows::exchanges(&self.connection, &text, params![limit])
            .map_err(|fault| fault.at(&self.path))?;
        newest.reverse();
        Ok(newest)
    }

    /// The exchange with this id.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn exchange(&self, id: &[u8; 16]) -> Result<Option<StoredExchange>, StoreError> {
        let text = format!("{EXCHANGE} WHERE exchange.id = ?");
        let found = rows::exchanges(&self.connection, &text, params![id]);
        Ok(found.map_err(|fault| fault.at(&self.path))?.pop())
    }

    /// The exchange whose leaf has this index.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn at_leaf(&self, index: u64) -> Result<Option<StoredExchange>, StoreError> {
        let text = format!("{EXCHANGE} WHERE exchange.leaf = ?");
        let found = signed(index)
            .and_then(|index| rows::exchanges(&self.connection, &text, params![index]));
        Ok(found.map_err(|fault| fault.at(&self.path))?.pop())
    }

    /// The index below which every exchange's leaf is in the store.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn watermark(&self) -> Result<u64, StoreError> {
        schema::watermark(&self.connection).map_err(|fault| fault.at(&self.path))
    }

    /// The runs that `text` stands for, by id and name: a name, an id, or the beginning of an id.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn runs(&self, text: &str) -> Result<Vec<StoredRun>, StoreError> {
        let read = || -> Outcome<Vec<_>> {
            let (low, high) = prefix_range(text).unzip();
            let mut statement = self.connection.prepare_cached(
                "SELECT id, name FROM run WHERE name = ?1 OR id BETWEEN ?2 AND ?3 ORDER BY key",
            )?;
            let rows = statement.query_map(params![text, low, high], |row| {
                Ok(StoredRun { id: row.get(0)?, name: row.get(1)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// The exchange that `text` stands for: an id, the beginning of one, or the name or id of a run
    /// with a single exchange.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn find(&self, text: &str) -> Result<Found, StoreError> {
        let read = || -> Outcome<Found> {
            let (low, high) = prefix_range(text).unzip();
            let mut statement = self.connection.prepare_cached(
                "SELECT id FROM exchange WHERE id BETWEEN ?2 AND ?3
                   OR run IN (SELECT key FROM run WHERE name = ?1 OR id BETWEEN ?2 AND ?3)
                 ORDER BY leaf LIMIT ?4",
            )?;
            let rows = statement.query_map(params![text, low, high, MANY], |row| row.get(0))?;
            let mut ids: Vec<[u8; 16]> = rows.collect::<Result<_, _>>()?;
            Ok(match (ids.pop(), ids.is_empty()) {
                (None, _) => Found::None,
                (Some(id), true) => Found::One(id),
                (Some(id), false) => {
                    ids.push(id);
                    Found::Many(ids)
                }
            })
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// The segments of a body: offset, length and kind of each, in order.
    ///
    /// # Errors
    ///
    /// There is no such body, or the database cannot be read.
    pub fn segments(
        &self,
        id: &[u8; 16],
        direction: Direction,
    ) -> Result<Vec<Segment>, StoreError> {
        let read = || {
            let (_, entries) = self.recipe(id, direction)?;
            let mut offset = 0_u64;
            let segments = entries.iter().map(|entry| {
                let segment = Segment { offset, length: entry.length, kind: entry.kind };
                offset = offset.saturating_add(entry.length);
                segment
            });
            Ok(segments.collect())
        };
        read().map_err(|fault: Fault| fault.at(&self.path))
    }

    /// Writes exactly the captured bytes of a body to `out`, a segment at a time; gives how many.
    ///
    /// The bytes are held against the body's SHA-256 while they pass.
    ///
    /// # Errors
    ///
    /// There is no such body, the database cannot be read, the bytes are damaged, or `out` fails.
    /// Bytes may have been written by then.
    pub fn write_body(
        &mut self,
        id: &[u8; 16],
        direction: Direction,
        out: &mut dyn Write,
    ) -> Result<u64, StoreError> {
        let mut hash = Sha256::new();
        let expected = self.each_segment(id, direction, &mut |_, bytes| {
            hash.update(bytes);
            out.write_all(bytes).map_err(StoreError::Output)
        })?;
        out.flush().map_err(StoreError::Output)?;
        if <[u8; 32]>::from(hash.finalize()) == expected.sha256 {
            return Ok(expected.length);
        }
        let detail = format!(
            "the {} body of exchange {} has other bytes than were stored",
            direction.as_str(),
            hex(id)
        );
        Err(self.unless_gone(id, direction, Fault::Corrupt(detail)))
    }

    /// Hands the bytes of each segment of a body to `each`, in order.
    ///
    /// # Errors
    ///
    /// There is no such body, the database cannot be read, or `each` fails.
    pub fn each_segment(
        &mut self,
        id: &[u8; 16],
        direction: Direction,
        each: &mut EachSegment<'_>,
    ) -> Result<StoredBody, StoreError> {
        let recipe = self.recipe(id, direction);
        let (body, entries) = recipe.map_err(|fault| fault.at(&self.path))?;
        let mut offset = 0_u64;
        for Entry { content, length, kind } in entries {
            let bytes = match self.unpacker.read(&self.connection, content, length) {
                Ok(bytes) => bytes,
                Err(fault) => return Err(self.unless_gone(id, direction, fault)),
            };
            each(Segment { offset, length, kind }, bytes)?;
            offset = offset.saturating_add(length);
        }
        Ok(body)
    }

    /// What was wrong with a body, unless retention took it while it was read: whoever takes the bytes may take his
    /// time, and no snapshot is held for that long.
    fn unless_gone(&self, id: &[u8; 16], direction: Direction, fault: Fault) -> StoreError {
        match self.recipe(id, direction) {
            Err(Fault::Other(gone @ StoreError::Pruned { .. })) => gone,
            _ => fault.at(&self.path),
        }
    }

    /// A body's row and its entries, checked against each other.
    fn recipe(&self, id: &[u8; 16], direction: Direction) -> Outcome<(StoredBody, Vec<Entry>)> {
        let absent = |what| StoreError::Absent { exchange: hex(id), what };
        // One snapshot for the row and its parents; it ends with this function.
        let snapshot = self.connection.unchecked_transaction()?;
        let leaf: Option<i64> = snapshot
            .prepare_cached("SELECT leaf FROM exchange WHERE id = ?")?
            .query_row(params![id], |row| row.get(0))
            .optional()?;
        let leaf = unsigned(leaf.ok_or_else(|| absent("record"))?)?;
        let what = match direction {
            Direction::Request => "request body",
            Direction::Response => "response body",
        };
        let body =
            rows::bodies(&snapshot, leaf)?.into_iter().find(|body| body.direction == direction);
        let Some(body) = body else {
            let pruned = retention::stated(&snapshot, leaf)?;
            let held_no_longer = |pruned| StoreError::Pruned { exchange: hex(id), pruned };
            return Err(pruned.map_or_else(|| absent(what), held_no_longer).into());
        };
        let entries = recipe::entries(&snapshot, body_place(leaf, direction)?, body.segments)?;
        let entries = entries.ok_or_else(|| absent(what))?;
        let counted = u64::try_from(entries.len()).ok();
        if recipe::length(&entries)? != body.length || counted != Some(body.segments) {
            let detail = format!("the recipe of the {what} of exchange {} is short", hex(id));
            return Err(Fault::Corrupt(detail));
        }
        Ok((body, entries))
    }
}

/// The lowest and the highest id that begin with the hex digits `text`.
fn prefix_range(text: &str) -> Option<([u8; 16], [u8; 16])> {
    if text.is_empty() || text.len() > 32 {
        return None;
    }
    let low: Id = format!("{text:0<32}").parse().ok()?;
    let high: Id = format!("{text:f<32}").parse().ok()?;
    Some((low.0, high.0))
}
