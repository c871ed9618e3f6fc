//! Rows: an exchange, its units and its bodies as they are read back.

use rusqlite::{Connection, Params, Row, params};
use sealtap_common::commit::Dialect;

use super::error::{Fault, Outcome};
use super::place::{body_place, unit_place, unsigned};
use super::retention::{self, Pruned};
use super::sealed::{Direction, Slot};

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
    /// The statement under which units and bodies were destroyed, if they were.
    pub pruned: Option<Pruned>,
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

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRun {
    /// Its id.
    pub id: [u8; 16],
    /// Its name, if it has one.
    pub name: Option<String>,
}

/// Every column of an exchange; conditions come behind.
pub(super) const EXCHANGE: &str = "SELECT exchange.leaf, exchange.record, exchange.id, run.id, run.name,
    exchange.ttfb, exchange.duration, exchange.boot, exchange.number FROM exchange LEFT JOIN run ON run.key = exchange.run";

/// The exchanges that a query beginning with [`EXCHANGE`] gives, in one snapshot.
pub(super) fn exchanges(
    connection: &Connection,
    text: &str,
    values: impl Params,
) -> Outcome<Vec<StoredExchange>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut statement = snapshot.prepare_cached(text)?;
    let mut rows = statement.query(values)?;
    let mut exchanges = Vec::new();
    while let Some(row) = rows.next()? {
        let mut exchange = exchange(row)?;
        exchange.units = units(&snapshot, exchange.leaf_index)?;
        exchange.bodies = bodies(&snapshot, exchange.leaf_index)?;
        // Every exchange that is held has its context at least.
        if exchange.units.is_empty() && exchange.bodies.is_empty() {
            exchange.pruned = retention::stated(&snapshot, exchange.leaf_index)?;
        }
        exchanges.push(exchange);
    }
    Ok(exchanges)
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
        pruned: None,
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

/// The bodies of the exchange at `leaf`, request first.
pub(super) fn bodies(connection: &Connection, leaf: u64) -> Outcome<Vec<StoredBody>> {
    let first = body_place(leaf, Direction::Request)?;
    let mut statement = connection.prepare_cached(
        "SELECT place - ?1, key, dialect, length, segments, sha256 FROM body
         WHERE place BETWEEN ?1 AND ?1 + 1 AND length(key) > 0 ORDER BY place",
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
