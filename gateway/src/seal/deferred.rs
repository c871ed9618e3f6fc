//! A sealed exchange that the store has no time for yet, reduced to where its records are.
//!
//! In: a digested exchange and how its leaf links it. Out: some two hundred bytes that stand for it
//! in memory, and from the journal's records the very same exchange again, held against the hash of
//! its leaf. So sealing need not wait for the store, however far that is behind. The journal keeps the
//! records until the exchange is stored; reading them can fail, and so can the comparison.

#[cfg(test)]
mod tests;

use sealtap_common::leaf::RunLink;
use sealtap_common::tree::{Hash, leaf_hash};

use super::digest::Digested;
use super::known::Known;
use super::sealed::{ExtentSource, SealedExchange};
use super::under_way::Exchange;
use crate::capture::journal::{Extent, RecordRef};
use crate::capture::record::{Closed, kind, opened};

/// An exchange of more records than this stays in memory as it is.
const RECORDS: usize = 64;

/// The records of one exchange: their kinds, and where their payloads are.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<(u8, Extent)>);

/// What the ledger adds to a digested exchange.
#[derive(Clone, Copy, Debug)]
pub struct Linked {
    /// Its place in its run.
    pub run: RunLink,
    /// When its leaf was made, in microseconds since the Unix epoch.
    pub sealed_us: u64,
    /// The hash of its leaf.
    pub hash: Hash,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Deferred {
    boot: [u8; 16],
    number: u64,
    leaf_index: u64,
    linked: Linked,
    /// Its records, each told by what differs from the one before.
    records: Box<[u8]>,
    body_bytes: u64,
}

/// Why an exchange cannot be put together again.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeferredError {
    /// The journal cannot be read.
    #[error("its records cannot be read: {0}")]
    Journal(#[from] std::io::Error),
    /// The journal has something else there.
    #[error("its records come to another leaf than the one that was sealed")]
    OtherLeaf,
}

impl Records {
    /// Notes a record; past the limit none is remembered.
    pub(super) fn push(&mut self, kind: u8, at: Extent) {
        if self.0.len() < RECORDS {
            if self.0.capacity() == 0 {
                self.0.reserve_exact(8);
            }
            self.0.push((kind, at));
        }
    }

    /// Memory taken, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.0.capacity() * size_of::<(u8, Extent)>()
    }

    fn pack(&self) -> Option<Box<[u8]>> {
        let whole = self.0.len() < RECORDS
            && self.0.first().is_some_and(|(first, _)| *first == kind::OPENED)
            && self.0.last().is_some_and(|(last, _)| *last == kind::CLOSED);
        if !whole {
            return None;
        }
        let mut before = (0, 0);
        let differences: Vec<(u8, u64, u64, u32)> = self
            .0
            .iter()
            .map(|(kind, at)| {
                let offset = if at.file == before.0 { before.1 } else { 0 };
                let told = (*kind, at.file.wrapping_sub(before.0), at.offset.wrapping_sub(offset));
                before = (at.file, at.offset);
                (told.0, told.1, told.2, at.length)
            })
            .collect();
        postcard::to_stdvec(&differences).ok().map(Vec::into_boxed_slice)
    }

    fn unpack(packed: &[u8]) -> Vec<(u8, Extent)> {
        let differences: Vec<(u8, u64, u64, u32)> =
            postcard::from_bytes(packed).unwrap_or_default();
        let mut before = (0_u64, 0_u64);
        let place = |(kind, file, offset, length): (u8, u64, u64, u32)| {
            let from = if file == 0 { before.1 } else { 0 };
            before = (before.0.wrapping_add(file), from.wrapping_add(offset));
            (kind, Extent { file: before.0, offset: before.1, length })
        };
        differences.into_iter().map(place).collect()
    }
}

impl Deferred {
    /// Stands for `digested`, whose leaf stands at `leaf_index`; `None` where it is not known where all
    /// of its records are.
    pub(super) fn of(digested: &Digested, leaf_index: u64, linked: Linked) -> Option<Self> {
        let records = digested.records.pack()?;
        let Digested { boot, number, .. } = *digested;
        let response = digested.response.as_ref().map_or(0, |(body, ..)| body.length);
        let body_bytes = digested.request.0.length.saturating_add(response);
        Some(Self { boot, number, leaf_index, linked, records, body_bytes })
    }

    /// The bytes of its bodies.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    /// Memory taken, in bytes.
    pub(super) fn weight(&self) -> u64 {
        let bytes = size_of::<Self>().saturating_add(self.records.len()).saturating_add(16);
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The exchange itself again.
    ///
    /// # Errors
    ///
    /// [`DeferredError`].
    pub(super) fn restore(
        &self,
        journal: &mut dyn ExtentSource,
    ) -> Result<SealedExchange, DeferredError> {
        let mut payload = Vec::new();
        let mut exchange: Option<Box<Exchange>> = None;
        for (kind, at) in Records::unpack(&self.records) {
            payload.clear();
            journal.read(at, &mut payload)?;
            let record = RecordRef { kind, number: self.number, payload: &payload, at };
            match (&mut exchange, kind) {
                (None, kind::OPENED) => {
                    let (opened, ingress) =
                        opened(record.payload).ok_or(DeferredError::OtherLeaf)?;
                    let known = Known::of(&opened, ingress);
                    let begun = Exchange::new(self.boot, self.number, at.file, known);
                    exchange = Some(Box::new(begun));
                }
                // The last one: its payload is still at hand below.
                (Some(_), kind::CLOSED) => {}
                (Some(exchange), _) => exchange.record(&record),
                (None, _) => return Err(DeferredError::OtherLeaf),
            }
        }
        let closed = postcard::from_bytes::<Closed<'_>>(&payload).ok();
        let digested = exchange.ok_or(DeferredError::OtherLeaf)?.finish(closed);
        let leaf = digested.leaf(self.linked.run, self.linked.sealed_us).encode();
        match leaf {
            Ok(leaf) if leaf_hash(&leaf) == self.linked.hash => {
                Ok(digested.into_sealed(self.leaf_index, leaf))
            }
            _ => Err(DeferredError::OtherLeaf),
        }
    }
}
