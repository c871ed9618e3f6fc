//! Bound: what leaves bind that are none of exchanges, held against them.
//!
//! In: the leaves in their order, and the rows of who made connections, who went around, and which
//! names were asked for. Out: what does not agree. Commitments are made anew from the stored bytes
//! and keys; when a leaf was sealed and what its connection carried must be as the leaf says; a leaf
//! without its unit shows, and a row at a leaf that binds none.

use rusqlite::{OptionalExtension as _, params};
use sealtap_common::commit::{self, BodyKey, Unit, UnitKind};
use sealtap_common::leaf::{Connection, Leaf};

use super::error::{Fault, Outcome, StoreError};
use super::gone::{Accounted, LOST, Missing, Stated};
use super::lookup::LeafLookup;
use super::place::{signed, unsigned};
use super::reader::StoreReader;
use super::schema;

/// The entry of `meta` below which every unit was stored, or left in the journal.
pub(super) const MARK: &str = "asides";
/// Where a finding is that is of no unit by itself.
const ROW: &str = "unit";

/// What a leaf binds, if it is none of an exchange and binds anything.
pub(super) struct Bound {
    part: &'static str,
    kind: UnitKind,
    unit: Unit,
    sealed: u64,
    carried: Option<Carried>,
}

/// What a connection carried, as far as its parts were met.
struct Carried {
    boot: [u8; 16],
    exchanges: Vec<(u64, u64)>,
    part: u64,
    parts: u64,
}

impl Bound {
    /// What this leaf binds.
    pub(super) fn by(leaf: &Leaf) -> Option<Self> {
        let bound = |part, kind, unit: &Option<Unit>, sealed| {
            unit.map(|unit| Self { part, kind, unit, sealed, carried: None })
        };
        match leaf {
            Leaf::Connection(leaf) => {
                let Connection { part, parts, boot, .. } = **leaf;
                let exchanges = leaf.exchanges.as_slice().to_vec();
                let carried = Carried { boot: boot.0, exchanges, part, parts };
                let made = bound("maker", UnitKind::Maker, &Some(leaf.maker), leaf.sealed)?;
                Some(Self { carried: Some(carried), ..made })
            }
            Leaf::Bypass(leaf) => bound("who went around", UnitKind::Maker, &leaf.who, leaf.sealed),
            Leaf::DnsQueries(leaf) => bound("names", UnitKind::Questions, &leaf.names, leaf.sealed),
            _ => None,
        }
    }
}

/// What the check of them went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Units held against their leaves.
    pub checked: u64,
    /// Those that are in the journal as they were sealed, and not in the store.
    pub pending: u64,
    /// Those that are in neither, where the store does not claim to have them.
    pub absent: u64,
    /// Those that are held no longer, as leaves of the log state.
    pub pruned: u64,
    /// Those that are held no longer, as only leaves state that came after the ones that were checked.
    pub since: u64,
}

/// The rows of one leaf.
#[derive(Default)]
pub(super) struct Rows {
    unit: Option<(Vec<u8>, Vec<u8>)>,
    sealed: Option<u64>,
    pub(super) carried: Vec<(Vec<u8>, u64, u64)>,
}

impl Rows {
    fn is_empty(&self) -> bool {
        self.unit.is_none() && self.sealed.is_none() && self.carried.is_empty()
    }
}

/// Takes findings: the leaf, the part, and what is wrong.
type At<'a> = dyn FnMut(u64, &'static str, String) + 'a;

/// The check, leaf after leaf.
pub(super) struct BoundCheck {
    /// Below it the store claims to have all.
    mark: u64,
    /// The first leaf that has rows, of those not asked for yet.
    next: Option<u64>,
    /// A connection with parts to come, and where its first one stands.
    open: Option<(u64, Bound)>,
    missing: Missing,
    beside: Beside,
}

impl BoundCheck {
    pub(super) fn new(store: &StoreReader) -> Result<Self, StoreError> {
        let mark = || schema::meta::<i64>(&store.connection, MARK)?.map_or(Ok(0), unsigned);
        let mark = mark().map_err(|fault: Fault| fault.at(&store.path))?;
        let (missing, beside) = (Missing::default(), Beside::default());
        Ok(Self { mark, next: None, open: None, missing, beside })
    }

    /// Takes the leaf at `index`, and what it binds.
    pub(super) fn take(
        &mut self,
        store: &StoreReader,
        index: u64,
        bound: Option<Bound>,
        leaves: &mut dyn LeafLookup,
        at: &mut At<'_>,
    ) -> Result<(), StoreError> {
        let further = match (&bound, &mut self.open) {
            (
                Some(Bound { carried: Some(part), .. }),
                Some((_, Bound { carried: Some(all), .. })),
            ) if part.part > 1 => {
                all.exchanges.extend_from_slice(&part.exchanges);
                all.part = part.part;
                true
            }
            _ => false,
        };
        match bound {
            Some(bound) if !further => self.open = Some((index, bound)),
            _ if self.next_row(store, index)? == Some(index) => {
                at(index, ROW, "the log binds no such unit there".to_owned());
            }
            _ => {}
        }
        let whole = |(_, bound): &mut (u64, Bound)| {
            bound.carried.as_ref().is_none_or(|carried| carried.part >= carried.parts)
        };
        match self.open.take_if(whole) {
            Some((first, bound)) => self.settle(store, first, &bound, leaves, at),
            None => Ok(()),
        }
    }

    /// The first leaf from `index` on that has rows. Those that a gateway stores meanwhile are at leaves
    /// that bind them.
    fn next_row(&mut self, store: &StoreReader, index: u64) -> Result<Option<u64>, StoreError> {
        if self.next.is_none_or(|next| next < index) {
            let next = store.first_bound_row(index).map_err(|fault| fault.at(&store.path))?;
            self.next = Some(next.unwrap_or(u64::MAX));
        }
        Ok(self.next)
    }

    fn settle(
        &mut self,
        store: &StoreReader,
        index: u64,
        bound: &Bound,
        leaves: &mut dyn LeafLookup,
        at: &mut At<'_>,
    ) -> Result<(), StoreError> {
        let part = bound.part;
        let ranges = bound.carried.as_ref().map_or(0, |carried| carried.exchanges.len());
        let mut rows = store.bound_rows(index, ranges);
        let mut waits = false;
        if let Ok(found) = &rows
            && found.is_empty()
        {
            let kept = leaves.keeps(&bound.unit);
            waits = kept.map_err(|source| StoreError::Pending { source })?;
            // What is not in the journal any more may have moved into the store meanwhile.
            if !waits {
                rows = store.bound_rows(index, ranges);
            }
        }
        let rows = match rows {
            Ok(rows) => rows,
            Err(fault) => {
                at(index, part, fault.at(&store.path).to_string());
                return Ok(());
            }
        };
        if rows.is_empty() && !waits {
            self.missing.push(index, index < self.mark);
            return Ok(());
        }
        self.missing.interrupted();
        if waits {
            self.beside.pending += 1;
            return Ok(());
        }
        self.beside.checked += 1;
        match &rows.unit {
            None => at(index, part, "it is not in the store".to_owned()),
            Some((key, bytes)) => {
                let made = <[u8; 32]>::try_from(key.as_slice())
                    .map(|key| commit::unit(&BodyKey::new(key), bound.kind, bytes));
                if made.ok() != Some(bound.unit) {
                    at(index, part, "its bytes or key are not those that were sealed".to_owned());
                }
            }
        }
        if rows.sealed != Some(bound.sealed) {
            at(index, part, "it is not stored under the time when it was sealed".to_owned());
        }
        let carried = bound.carried.iter().flat_map(|carried| {
            let row = |(first, last): &(u64, u64)| (carried.boot.to_vec(), *first, *last);
            carried.exchanges.iter().map(row)
        });
        if rows.carried.len() > ranges {
            at(index, part, "more exchanges are stored as its own than were sealed".to_owned());
        } else if !carried.eq(rows.carried) {
            at(index, part, "its exchanges are not those that were sealed".to_owned());
        }
        Ok(())
    }

    /// Whether statements account for all that is missing.
    pub(super) fn is_within(&self, stated: &Stated) -> bool {
        self.missing.is_within(stated)
    }

    /// What is missing, once all that retention stated is known; how many were checked.
    pub(super) fn finish(
        self,
        stated: &Stated,
        since: &Stated,
        leaves: &mut dyn LeafLookup,
        at: &mut At<'_>,
    ) -> Result<Beside, StoreError> {
        let mut binds = |index| {
            let bytes = leaves.leaf(index).map_err(|source| StoreError::Leaf { index, source })?;
            let leaf = Leaf::decode(&bytes).ok();
            let bound = leaf.as_ref().and_then(Bound::by);
            let first = |bound: &Bound| bound.carried.as_ref().is_none_or(|it| it.part <= 1);
            Ok::<_, StoreError>(bound.filter(first).map(|bound| bound.part))
        };
        let found = self.missing.resolve(stated, since, &mut binds, &mut |index, part| {
            at(index, part, LOST.to_owned());
        })?;
        let Accounted { pruned, since, absent } = found;
        Ok(Beside { pruned, since, absent, ..self.beside })
    }
}

impl StoreReader {
    /// All rows of what the leaf at `index` binds, as of one moment; of a leaf that seals so many
    /// `ranges` at most one row more than that, and of no id more than tells it from another.
    pub(super) fn bound_rows(&self, index: u64, ranges: usize) -> Outcome<Rows> {
        let mut rows = Rows::default();
        if !self.has_asides()? {
            return Ok(rows);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT 0, key, bytes, NULL, NULL FROM aside WHERE leaf = ?1
             UNION ALL SELECT 1, NULL, NULL, sealed, NULL FROM aside_time WHERE leaf = ?1
             UNION ALL SELECT * FROM (
               SELECT 2, substr(boot, 1, 17), NULL, first, last FROM carried
               WHERE leaf = ?1 LIMIT ?2)",
        )?;
        let most = i64::try_from(ranges).unwrap_or(i64::MAX).saturating_add(1);
        let mut found = statement.query(params![signed(index)?, most])?;
        while let Some(row) = found.next()? {
            match row.get::<_, i64>(0)? {
                0 => rows.unit = Some((row.get(1)?, row.get(2)?)),
                1 => rows.sealed = Some(unsigned(row.get(3)?)?),
                _ => {
                    let (first, last) = (unsigned(row.get(3)?)?, unsigned(row.get(4)?)?);
                    rows.carried.push((row.get(1)?, first, last));
                }
            }
        }
        rows.carried.sort_unstable();
        Ok(rows)
    }

    /// The first leaf from `index` on that has any of these rows.
    fn first_bound_row(&self, index: u64) -> Outcome<Option<u64>> {
        if !self.has_asides()? {
            return Ok(None);
        }
        let first: Option<Option<i64>> = self
            .connection
            .prepare_cached(
                "SELECT min(leaf) FROM (
                   SELECT min(leaf) AS leaf FROM aside WHERE leaf >= ?1
                   UNION ALL SELECT min(leaf) FROM aside_time WHERE leaf >= ?1
                   UNION ALL SELECT min(leaf) FROM carried WHERE leaf >= ?1)",
            )?
            .query_row(params![signed(index)?], |row| row.get(0))
            .optional()?;
        first.flatten().map(unsigned).transpose()
    }
}
