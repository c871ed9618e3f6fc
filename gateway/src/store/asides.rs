//! What leaves bind that are none of exchanges, and which exchange came over which connection.

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};
use sealtap_common::unit::{Maker, Questions};

use super::error::{Fault, Outcome};
use super::place::{signed, unsigned};
use super::{Store, StoreError, StoreReader, bound, retention, schema};
use crate::seal::aside::SealedAside;

/// Who made the connection that an exchange came over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeBy {
    /// The index of the connection's leaf.
    pub leaf: u64,
    /// Who made it.
    pub maker: Maker<'static>,
}

/// A unit that is kept for a leaf which is none of an exchange.
#[derive(Clone, PartialEq, Eq)]
pub struct KeptAside {
    /// The index of the leaf.
    pub leaf: u64,
    /// The key of its commitment.
    pub key: [u8; 32],
    /// The bytes that were committed.
    pub bytes: Vec<u8>,
}

impl Store {
    /// Stores what leaves bind.
    ///
    /// # Errors
    ///
    /// The database cannot be written; then none was stored.
    pub fn put_asides(&mut self, asides: &[SealedAside]) -> Result<(), StoreError> {
        if asides.is_empty() {
            return Ok(());
        }
        let path = self.path.clone();
        self.insert_asides(asides).map_err(|fault| fault.at(&path))
    }

    fn insert_asides(&mut self, asides: &[SealedAside]) -> Outcome<()> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // What retention stated is gone, also where it comes late.
        let kept_from = retention::kept_from(&transaction)?;
        for aside in asides.iter().filter(|aside| aside.leaf >= kept_from) {
            let Some(unit) = &aside.unit else { continue };
            let leaf = signed(aside.leaf)?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO aside(leaf, key, bytes) VALUES (?, ?, ?)")?
                .execute(params![leaf, unit.key, unit.bytes])?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO aside_time(leaf, sealed) VALUES (?, ?)")?
                .execute(params![leaf, signed(aside.sealed)?])?;
            let Some((boot, exchanges)) = &aside.carried else { continue };
            for (first, last) in exchanges.as_slice() {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO carried(boot, first, last, leaf) VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![boot.0, signed(*first)?, signed(*last)?, leaf])?;
            }
        }
        if let Some(last) = asides.iter().map(|aside| aside.leaf).max() {
            transaction
                .prepare_cached(
                    "INSERT INTO meta(name, value) VALUES (?, ?)
                     ON CONFLICT(name) DO UPDATE SET value = max(value, excluded.value)",
                )?
                .execute(params![bound::MARK, signed(last.saturating_add(1))?])?;
        }
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// Who made the connection that exchange `number` of `boot` came over, where that is known.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or what it holds is no such unit.
    pub fn made_by(&self, boot: &[u8; 16], number: u64) -> Result<Option<MadeBy>, StoreError> {
        let read = || -> Outcome<Option<MadeBy>> {
            let Some(kept) = self.carrier(boot, number)? else { return Ok(None) };
            let maker = Maker::decode(&kept.bytes)
                .map_err(|error| Fault::Corrupt(format!("who made leaf {}: {error}", kept.leaf)))?;
            Ok(Some(MadeBy { leaf: kept.leaf, maker }))
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// Who made the connections that exchanges of `boot` came over, and how many came over each.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or what it holds is no such unit.
    pub fn makers(&self, boot: &[u8; 16]) -> Result<Vec<(MadeBy, u64)>, StoreError> {
        let read = || -> Outcome<Vec<(MadeBy, u64)>> {
            if !self.has_asides()? {
                return Ok(Vec::new());
            }
            let mut statement = self.connection.prepare_cached(
                "SELECT aside.leaf, aside.bytes, sum(carried.last - carried.first + 1)
                 FROM carried JOIN aside ON aside.leaf = carried.leaf
                 WHERE carried.boot = ? GROUP BY aside.leaf ORDER BY aside.leaf",
            )?;
            let mut rows = statement.query(params![boot])?;
            let mut makers = Vec::new();
            while let Some(row) = rows.next()? {
                let (leaf, bytes) = (unsigned(row.get(0)?)?, row.get::<_, Vec<u8>>(1)?);
                let maker = Maker::decode(&bytes)
                    .map_err(|error| Fault::Corrupt(format!("who made leaf {leaf}: {error}")))?;
                makers.push((MadeBy { leaf, maker }, unsigned(row.get(2)?)?));
            }
            Ok(makers)
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// Whether it is known of any exchange who made its connection.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn has_makers(&self) -> Result<bool, StoreError> {
        let read = || -> Outcome<bool> {
            let mut any = match self.has_asides()? {
                true => self.connection.prepare_cached("SELECT 1 FROM carried LIMIT 1")?,
                false => return Ok(false),
            };
            Ok(any.exists([])?)
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// Whether retention stated that what the leaf at this index binds is held no longer.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn is_gone(&self, leaf: u64) -> Result<bool, StoreError> {
        let stated = retention::stated(&self.connection, leaf);
        Ok(stated.map_err(|fault| fault.at(&self.path))?.is_some())
    }

    /// What is kept for the leaf of a connection, or of a way around, at this index.
    ///
    /// # Errors
    ///
    /// The database cannot be read.
    pub fn aside(&self, leaf: u64) -> Result<Option<KeptAside>, StoreError> {
        let read = || -> Outcome<Option<KeptAside>> {
            if !self.has_asides()? {
                return Ok(None);
            }
            let found = self
                .connection
                .prepare_cached("SELECT key, bytes FROM aside WHERE leaf = ?")?
                .query_row(params![signed(leaf)?], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            Ok(found.map(|(key, bytes)| KeptAside { leaf, key, bytes }))
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// The next unit behind that leaf which lists names that were asked for, and its own leaf.
    ///
    /// # Errors
    ///
    /// The database cannot be read, or what it holds is no such unit.
    pub fn questions_after(
        &self,
        leaf: Option<u64>,
    ) -> Result<Option<(u64, Questions<'static>)>, StoreError> {
        let read = || -> Outcome<Option<(u64, Questions<'static>)>> {
            if !self.has_asides()? {
                return Ok(None);
            }
            let from = leaf.map_or(Ok(-1), signed)?;
            // Units are canonical: each of this kind begins so, and no other does.
            let found: Option<(i64, Vec<u8>)> = self
                .connection
                .prepare_cached(
                    "SELECT leaf, bytes FROM aside
                     WHERE leaf > ? AND substr(bytes, 1, 14) = CAST('{\"questions\":[' AS BLOB)
                     ORDER BY leaf LIMIT 1",
                )?
                .query_row(params![from], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((leaf, bytes)) = found else { return Ok(None) };
            let leaf = unsigned(leaf)?;
            let questions = Questions::decode(&bytes)
                .map_err(|error| Fault::Corrupt(format!("names of leaf {leaf}: {error}")))?;
            Ok(Some((leaf, questions)))
        };
        read().map_err(|fault| fault.at(&self.path))
    }

    /// The connection that an exchange came over: of ranges that share no number, the one that begins
    /// last before it.
    fn carrier(&self, boot: &[u8; 16], number: u64) -> Outcome<Option<KeptAside>> {
        if !self.has_asides()? {
            return Ok(None);
        }
        let found = self
            .connection
            .prepare_cached(
                "SELECT carried.last, carried.leaf, aside.key, aside.bytes
                 FROM carried JOIN aside ON aside.leaf = carried.leaf
                 WHERE carried.boot = ? AND carried.first <= ?
                 ORDER BY carried.first DESC LIMIT 1",
            )?
            .query_row(params![boot, signed(number)?], |row| {
                let last: i64 = row.get(0)?;
                Ok((last, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        let Some((last, leaf, key, bytes)) = found else { return Ok(None) };
        let carried = unsigned(last)? >= number;
        let leaf = unsigned(leaf)?;
        Ok(carried.then_some(KeptAside { leaf, key, bytes }))
    }

    /// Whether the tables are there, all of them: a store that only an earlier version wrote has none.
    pub(super) fn has_asides(&self) -> Outcome<bool> {
        let there = self
            .connection
            .prepare_cached(
                "SELECT count(*) = 3 FROM sqlite_schema
                 WHERE type = 'table' AND name IN (?, ?, ?)",
            )?
            .query_row(schema::ASIDE_TABLES, |row| row.get(0))?;
        Ok(there)
    }
}
