//! What the journal holds and the store does not have yet, for `ls` and `show` in any process.
//!
//! Reads the journal with the code that seals it, and changes nothing.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use sealtap_common::encoding::Id;
use sealtap_common::leaf::Leaf;
use sealtap_common::tree::Hash;
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, Digested, Event};
use super::log::{published, read_entries};
use super::sealed::{Direction, Slot};
use crate::capture::journal::{Extents, JournalError, Reader};
use crate::data::DataDir;
use crate::serve::query::{ExchangeView, OPEN, Overlay, Parts, Units};
use crate::store::{StoreError, StoreReader};

/// Times the journal is read again when its files moved on meanwhile.
const ATTEMPTS: usize = 5;

/// The exchanges of a journal.
pub struct Preview {
    data: DataDir,
    exchanges: Vec<(Box<Digested>, bool)>,
    leaves: HashMap<[u8; 16], u64>,
}

impl Preview {
    /// Reads the journal of `data`.
    ///
    /// # Errors
    ///
    /// Journal or log cannot be read.
    pub fn read(data: DataDir) -> io::Result<Self> {
        if !data.journal().is_dir() {
            return Ok(Self { data, exchanges: Vec::new(), leaves: HashMap::new() });
        }
        let exchanges = settled(&data)?.exchanges;
        let leaves = if exchanges.is_empty() { HashMap::new() } else { leaves(&data)? };
        Ok(Self { data, exchanges, leaves })
    }

    fn find(&self, id: &[u8; 16]) -> Option<&Digested> {
        self.exchanges
            .iter()
            .find(|(digested, _)| digested.id == *id)
            .map(|(digested, _)| &**digested)
    }

    fn view(&self, digested: &Digested, open: bool) -> io::Result<ExchangeView> {
        // What has a leaf is over, whatever its own boot did not live to say.
        let open = open && !self.leaves.contains_key(&digested.id);
        let units = digested.units.iter().map(|(unit, _)| (unit.slot, unit.bytes.as_slice()));
        let units = Units::decode(units).map_err(|(_, error)| io::Error::other(error))?;
        let body = |direction: Direction, length: u64, end: &'static str| {
            let mut hash = Sha256::new();
            self.each(digested, direction, &mut |bytes| {
                hash.update(bytes);
                Ok(())
            })?;
            Ok::<_, io::Error>((length, hash.finalize().into(), end))
        };
        let end = |end: sealtap_common::leaf::End| {
            if open && end == sealtap_common::leaf::End::Interrupted { OPEN } else { end.as_str() }
        };
        let (request, request_end, _) = digested.request;
        let request = body(Direction::Request, request.length, end(request_end))?;
        // Interim answers alone are no response yet.
        let response = match digested.response.filter(|_| digested.answered_us.is_some()) {
            Some((response, response_end, ..)) => {
                Some(body(Direction::Response, response.length, end(response_end))?)
            }
            None => None,
        };
        let ns = |until: u64| until.saturating_sub(digested.started_us).saturating_mul(1_000);
        let parts = Parts {
            id: Id(digested.id),
            run: Id(digested.run),
            outcome: if open { OPEN } else { digested.outcome.as_str() },
            error: digested.error,
            started: digested.started_us,
            duration_ns: ns(digested.ended_us),
            ttfb_ns: digested.answered_us.map(ns),
            leaf: self.leaves.get(&digested.id).copied(),
            request,
            response,
            tunnel: digested.tunnel,
        };
        Ok(ExchangeView::new(&parts, &units))
    }

    fn each(
        &self,
        digested: &Digested,
        direction: Direction,
        take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Option<u64>> {
        let Some(body) = digested.bodies.iter().find(|body| body.direction == direction) else {
            return Ok(None);
        };
        let mut extents = Extents::new(&self.data.journal());
        let mut bytes = Vec::new();
        let mut total = 0;
        for extent in &body.extents {
            bytes.clear();
            extents.read_part(*extent, &mut bytes).map_err(io::Error::other)?;
            total += u64::from(extent.length);
            take(&bytes)?;
        }
        Ok(Some(total))
    }
}

impl Overlay for Preview {
    fn rows(&mut self) -> io::Result<Vec<ExchangeView>> {
        let mut rows = Vec::with_capacity(self.exchanges.len());
        for (digested, open) in &self.exchanges {
            // What moved into the store in between is met there.
            if let Ok(row) = self.view(digested, *open) {
                rows.push(row);
            }
        }
        rows.sort_by_key(|row| row.started);
        Ok(rows)
    }

    fn units(&mut self, id: &[u8; 16]) -> io::Result<Option<Vec<(Slot, Vec<u8>)>>> {
        let units = self.find(id).map(|digested| {
            digested.units.iter().map(|(unit, _)| (unit.slot, unit.bytes.clone())).collect()
        });
        Ok(units)
    }

    fn write_body(
        &mut self,
        id: &[u8; 16],
        direction: Direction,
        out: &mut dyn Write,
    ) -> io::Result<Option<u64>> {
        match self.find(id) {
            Some(digested) => self.each(digested, direction, &mut |bytes| out.write_all(bytes)),
            None => Ok(None),
        }
    }
}

/// An exchange in the journal, and whether the journal ends before it does.
pub(crate) type Journaled = (Box<Digested>, bool);

/// What a journal holds.
#[derive(Default)]
struct Found {
    exchanges: Vec<Journaled>,
    units: HashSet<Hash>,
}

/// Every exchange in a journal, by its id, and the roots of the units that are of none.
#[derive(Default)]
pub(crate) struct InJournal {
    pub(crate) exchanges: HashMap<[u8; 16], Journaled>,
    pub(crate) units: HashSet<Hash>,
}

/// Everything in the journal of `data`.
///
/// # Errors
///
/// The journal cannot be read.
pub(crate) fn journaled(data: &DataDir) -> io::Result<InJournal> {
    if !data.journal().is_dir() {
        return Ok(InJournal::default());
    }
    let Found { exchanges, units } = settled(data)?;
    let exchanges = exchanges.into_iter().map(|found| (found.0.id, found)).collect();
    Ok(InJournal { exchanges, units })
}

/// What is in a journal that a gateway may be at work on.
fn settled(data: &DataDir) -> io::Result<Found> {
    let mut attempt = 0;
    loop {
        match found(data) {
            Ok(found) => return Ok(found),
            // A running gateway takes files away once their content is in the store.
            Err(error) if attempt >= ATTEMPTS => return Err(io::Error::other(error)),
            Err(_) => attempt += 1,
        }
    }
}

/// Everything in the journal, and of each exchange whether it is still under way.
fn found(data: &DataDir) -> Result<Found, JournalError> {
    let mut reader = Reader::open(&data.journal())?;
    let mut found = Found::default();
    let mut digest = Digest::default();
    let mut boot = None;
    while let Some(batch) = reader.next()? {
        if boot != Some(batch.boot) {
            digest.interrupt(|event| keep(&mut found, event, false));
            digest = Digest::default();
            boot = Some(batch.boot);
        }
        digest.batch(&batch, |event| keep(&mut found, event, false));
    }
    digest.interrupt(|event| keep(&mut found, event, true));
    Ok(found)
}

fn keep(found: &mut Found, event: Event, open: bool) {
    let unit = match event {
        Event::Exchange(digested) => {
            let open = open && digested.outcome == sealtap_common::leaf::Outcome::Interrupted;
            return found.exchanges.push((digested, open));
        }
        Event::Connection(connection) => Some(connection.leaf.maker),
        Event::Bypass(bypass) => bypass.leaf.who,
        Event::DnsQueries(queries) => queries.leaf.names,
        _ => None,
    };
    found.units.extend(unit.map(|unit| unit.root));
}

/// The leaves of exchanges that may not be in the store yet.
fn leaves(data: &DataDir) -> io::Result<HashMap<[u8; 16], u64>> {
    let from = match StoreReader::open(&data.store()) {
        Ok(store) => store.watermark().map_err(io::Error::other)?,
        Err(StoreError::Missing { .. }) => 0,
        Err(error) => return Err(io::Error::other(error)),
    };
    let log = data.log();
    let size = published(&log).map_err(io::Error::other)?.map_or(0, |checkpoint| checkpoint.size);
    if from >= size {
        return Ok(HashMap::new());
    }
    let entries = read_entries(&log, from..size).map_err(io::Error::other)?;
    let mut found = HashMap::new();
    for (index, bytes) in (from..size).zip(entries) {
        if let Ok(Leaf::Exchange(exchange)) = Leaf::decode(&bytes) {
            found.insert(exchange.exchange.0, index);
        }
    }
    Ok(found)
}
