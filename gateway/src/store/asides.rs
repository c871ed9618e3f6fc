//! What leaves bind that are none of exchanges, and which exchange came over which connection.

use rusqlite::{OptionalExtension as _, TransactionBehavior, params};
use sealtap_common::unit::Maker;

use super::error::{Fault, Outcome};
use super::place::{signed, unsigned};
use super::{Store, StoreError, StoreReader};
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
        for aside in asides {
            let leaf = signed(aside.leaf)?;
            transaction
                .prepare_cached("INSERT OR IGNORE INTO aside(leaf, key, bytes) VALUES (?, ?, ?)")?
                .execute(params![leaf, aside.unit.key, aside.unit.bytes])?;
            let Some((boot, exchanges)) = &aside.carried else { continue };
            for (first, last) in exchanges.as_slice() {
                transaction
                    .prepare_cached(
                        "INSERT OR IGNORE INTO carried(boot, first, last, leaf) VALUES (?, ?, ?, ?)",
                    )?
                    .execute(params![boot.0, signed(*first)?, signed(*last)?, leaf])?;
            }
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

    /// Whether the tables are there: a store that only an earlier version wrote has none.
    fn has_asides(&self) -> Outcome<bool> {
        let there = self
            .connection
            .prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = 'carried'")?
            .exists([])?;
        Ok(there)
    }
}
