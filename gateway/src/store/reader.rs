//! The reader: the same exchanges and exact bytes, in any process, beside a running writer.
//!
//! Each call reads one row or one page in a snapshot of its own and lets go of the database before
//! it returns or writes anything: a slow terminal never keeps the writer's log from being folded in.

use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension as _, Row, ToSql, params};
use sealtap_common::Id;
use sealtap_common::commit::Dialect;
use sha2::{Digest as _, Sha256};

use super::content::Unpacker;
use super::error::{Fault, Outcome, StoreError, body_place, signed, unit_place, unsigned};
use super::facts::hex;
use super::recipe::{self, Entry};
use super::schema;
use super::sealed::{Direction, Segment, Slot};

/// How many candidates an ambiguous name or prefix lists at most.
const MANY: i64 = 20;

/// The store, open for reading.
pub struct StoreReader {
    path: PathBuf,
    connection: Connection,
    unpacker: Unpacker,
}

/// One unit as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredUnit {
    /// Which unit of the exchange.
    pub slot: Slot,
    /// The key of its commitment.
    pub key: [u8; 32],
    /// The bytes that were committed.
    pub bytes: Vec<u8>,
}

/// What the store says of one body, apart from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBody {
    /// Which way it went.
    pub direction: Direction,
    /// The key of its commitments.
    pub key: [u8; 32],
    /// How it was cut.
    pub dialect: Dialect,
    /// Its length in bytes.
    pub length: u64,
    /// How many segments it has.
    pub segments: u64,
    /// The plain SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// One exchange with everything but its bodies' bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredExchange {
    /// The index of its leaf in the log.
    pub leaf_index: u64,
    /// The leaf's bytes.
    pub leaf: Vec<u8>,
    /// Its id.
    pub id: [u8; 16],
    /// The boot of the gateway that captured it.
    pub boot: [u8; 16],
    /// Its number within that boot.
    pub number: u64,
    /// The id of its run.
    pub run: [u8; 16],
    /// The name of its run, if that has one.
    pub run_name: Option<String>,
    /// From the request's first byte to the response's, in nanoseconds.
    pub ttfb_ns: Option<u64>,
    /// From the request's first byte to the exchange's end, in nanoseconds.
    pub duration_ns: u64,
    /// Its units, in the order of [`Slot::ALL`].
    pub units: Vec<StoredUnit>,
    /// Its bodies, request first.
    pub bodies: Vec<StoredBody>,
}

impl StoredExchange {
    /// The bytes of one unit.
    #[must_use]
    pub fn unit(&self, slot: Slot) -> Option<&[u8]> {
        self.units.iter().find(|unit| unit.slot == slot).map(|unit| unit.bytes.as_slice())
    }

    /// What is known of one body.
    #[must_use]
    pub fn body(&self, direction: Direction) -> Option<&StoredBody> {
        self.bodies.iter().find(|body| body.direction == direction)
    }
}

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

const EXCHANGE: &str = "SELECT exchange.leaf, exchange.record, exchange.id, run.id, run.name,
    exchange.ttfb, exchange.duration, exchange.boot, exchange.number FROM exchange LEFT JOIN run ON run.key = exchange.run";

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
            self.read_exchanges(&text, params![signed(from)?, limit, value])
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
        let mut newest =
            self.read_exchanges(&text, params![limit]).map_err(|fault| fault.at(&self.path))?;
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
        let found = self.read_exchanges(&text, params![id]);
        Ok(found.map_err(|fault| fault.at(&self.path))?.pop())
    }

    /// The exchange whose leaf has this index.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn at_leaf(&self, index: u64) -> Result<Option<StoredExchange>, StoreError> {
        let text = format!("{EXCHANGE} WHERE exchange.leaf = ?");
        let found = signed(index).and_then(|index| self.read_exchanges(&text, params![index]));
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
    pub fn runs(&self, text: &str) -> Result<Vec<([u8; 16], Option<String>)>, StoreError> {
        let read = || -> Outcome<Vec<_>> {
            let (low, high) = prefix_range(text).unzip();
            let mut statement = self.connection.prepare_cached(
                "SELECT id, name FROM run WHERE name = ?1 OR id BETWEEN ?2 AND ?3 ORDER BY key",
            )?;
            let rows = statement
                .query_map(params![text, low, high], |row| Ok((row.get(0)?, row.get(1)?)))?;
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
        Err(StoreError::Corrupt { path: self.path.clone(), detail })
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
        each: &mut dyn FnMut(Segment, &[u8]) -> Result<(), StoreError>,
    ) -> Result<StoredBody, StoreError> {
        let recipe = self.recipe(id, direction);
        let (body, entries) = recipe.map_err(|fault| fault.at(&self.path))?;
        let mut offset = 0_u64;
        for Entry { content, length, kind } in entries {
            let bytes = self.unpacker.read(&self.connection, content, length);
            let bytes = bytes.map_err(|fault| fault.at(&self.path))?;
            each(Segment { offset, length, kind }, bytes)?;
            offset = offset.saturating_add(length);
        }
        Ok(body)
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
        let body = bodies(&snapshot, leaf)?.into_iter().find(|body| body.direction == direction);
        let body = body.ok_or_else(|| absent(what))?;
        let entries = recipe::entries(&snapshot, body_place(leaf, direction)?)?;
        let entries = entries.ok_or_else(|| absent(what))?;
        let counted = u64::try_from(entries.len()).ok();
        if recipe::length(&entries)? != body.length || counted != Some(body.segments) {
            let detail = format!("the recipe of the {what} of exchange {} is short", hex(id));
            return Err(Fault::Corrupt(detail));
        }
        Ok((body, entries))
    }

    fn read_exchanges(
        &self,
        text: &str,
        values: impl rusqlite::Params,
    ) -> Outcome<Vec<StoredExchange>> {
        let snapshot = self.connection.unchecked_transaction()?;
        let mut statement = snapshot.prepare_cached(text)?;
        let mut rows = statement.query(values)?;
        let mut exchanges = Vec::new();
        while let Some(row) = rows.next()? {
            let mut exchange = exchange(row)?;
            exchange.units = units(&snapshot, exchange.leaf_index)?;
            exchange.bodies = bodies(&snapshot, exchange.leaf_index)?;
            exchanges.push(exchange);
        }
        Ok(exchanges)
    }
}

fn exchange(row: &Row<'_>) -> Outcome<StoredExchange> {
    let run: Option<[u8; 16]> = row.get(3)?;
    Ok(StoredExchange {
        leaf_index: unsigned(row.get(0)?)?,
        leaf: row.get(1)?,
        id: row.get(2)?,
        run: run.ok_or_else(|| Fault::Corrupt("an exchange's run is missing".to_owned()))?,
        run_name: row.get(4)?,
        ttfb_ns: row.get::<_, Option<i64>>(5)?.map(unsigned).transpose()?,
        duration_ns: unsigned(row.get(6)?)?,
        boot: row.get(7)?,
        number: unsigned(row.get(8)?)?,
        units: Vec::new(),
        bodies: Vec::new(),
    })
}

fn units(connection: &Connection, leaf: u64) -> Outcome<Vec<StoredUnit>> {
    let first = unit_place(leaf, Slot::RequestHead)?;
    let mut statement = connection.prepare_cached(
        "SELECT place - ?1, key, bytes FROM unit WHERE place BETWEEN ?1 AND ?1 + 7 ORDER BY place",
    )?;
    let mut rows = statement.query(params![first])?;
    let mut units = Vec::with_capacity(4);
    while let Some(row) = rows.next()? {
        let slot = Slot::from_code(unsigned(row.get(0)?)?)
            .ok_or_else(|| Fault::Corrupt(format!("leaf {leaf} has a unit of unknown kind")))?;
        units.push(StoredUnit { slot, key: row.get(1)?, bytes: row.get(2)? });
    }
    Ok(units)
}

fn bodies(connection: &Connection, leaf: u64) -> Outcome<Vec<StoredBody>> {
    let first = body_place(leaf, Direction::Request)?;
    let mut statement = connection.prepare_cached(
        "SELECT place - ?1, key, dialect, length, segments, sha256 FROM body
         WHERE place BETWEEN ?1 AND ?1 + 1 ORDER BY place",
    )?;
    let mut rows = statement.query(params![first])?;
    let mut bodies = Vec::with_capacity(2);
    while let Some(row) = rows.next()? {
        bodies.push(StoredBody {
            direction: Direction::from_code(unsigned(row.get(0)?)?),
            key: row.get(1)?,
            dialect: Dialect::parse(row.get_ref(2)?.as_str().unwrap_or_default())
                .ok_or_else(|| Fault::Corrupt(format!("leaf {leaf} has an unknown dialect")))?,
            length: unsigned(row.get(3)?)?,
            segments: unsigned(row.get(4)?)?,
            sha256: row.get(5)?,
        });
    }
    Ok(bodies)
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
