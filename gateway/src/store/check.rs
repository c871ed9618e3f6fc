//! Check: holds everything stored against the leaves of the published log.
//!
//! In: the store, and a way to look leaves up. Out: what does not agree, one [`Finding`] at a time.
//! Commitments are made anew from the stored bytes and keys, so an edited blob, an edited key and a
//! missing row all show. Whether the log itself is sound is not asked here.

use std::collections::HashMap;
use std::fmt;

use sealtap_common::commit::Body;
use sealtap_common::leaf::{Exchange, Leaf, ProgressEntry};
use sealtap_common::websocket::{Indexer, MessageIndex, Side};
use sha2::{Digest as _, Sha256};

use super::bound::{Beside, Bound, BoundCheck};
use super::commitment::{self, Recommitment};
use super::error::StoreError;
use super::facts::hex;
use super::gone::{Accounted, LOST, Missing, Stated};
use super::lookup::{LeafLookup, Waiting};
use super::names::Names;
use super::reader::StoreReader;
use super::rows::StoredExchange;
use super::sealed::{Direction, Slot};

/// Something stored that does not agree with the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The index of the leaf.
    pub leaf: u64,
    /// The exchange's id in hex, where one is known.
    pub exchange: Option<String>,
    /// Which part: `record`, `request head`, `response body`, ...
    pub part: &'static str,
    /// What is wrong with it.
    pub detail: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "leaf {}", self.leaf)?;
        if let Some(exchange) = &self.exchange {
            write!(f, ", exchange {exchange}")?;
        }
        write!(f, ", {}: {}", self.part, self.detail)
    }
}

/// What a check went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Exchanges held against their leaves.
    pub exchanges: u64,
    /// Exchanges that are in the journal and not in the store, and are as they were sealed.
    pub pending: u64,
    /// Exchanges that are in neither, where the store does not claim to have them.
    pub absent: u64,
    /// Body bytes that were hashed.
    pub bytes: u64,
    /// Exchanges whose contents are no longer held, as leaves of the log state.
    pub pruned: u64,
    /// The same, as only leaves state that came after the ones that were checked.
    pub since: u64,
    /// What else leaves bind: who made connections, who went around, which names were asked for.
    pub beside: Beside,
    /// Findings that were reported.
    pub findings: u64,
}

impl StoreReader {
    /// Holds every stored exchange against the first `size` leaves of the log.
    ///
    /// # Errors
    ///
    /// A leaf or the journal cannot be looked up, or the database cannot be read at all.
    pub fn check(
        &mut self,
        size: u64,
        leaves: &mut dyn LeafLookup,
        report: &mut dyn FnMut(Finding),
    ) -> Result<Check, StoreError> {
        let watermark = self.watermark()?;
        let mut check = Check::default();
        let mut findings = 0;
        // A statement stands behind what it names.
        let mut missing = Missing::default();
        let mut stated = Stated::default();
        let mut names = Names::default();
        let mut bound = BoundCheck::new(self)?;
        let mut told: HashMap<([u8; 16], u64), Vec<ProgressEntry>> = HashMap::new();
        for index in 0..size {
            let bytes = leaves.leaf(index).map_err(|source| StoreError::Leaf { index, source })?;
            let mut stored = self.at_leaf(index);
            let decoded = Leaf::decode(&bytes);
            let binds = decoded.as_ref().ok().and_then(Bound::by);
            let leaf = match decoded {
                Ok(Leaf::Exchange(leaf)) => Some(leaf),
                Ok(Leaf::Retention(leaf)) => {
                    stated.push(&leaf.leaves);
                    None
                }
                Ok(Leaf::Progress(leaf)) => {
                    for entry in leaf.entries {
                        told.entry((leaf.boot.0, entry.number)).or_default().push(entry);
                    }
                    None
                }
                _ => None,
            };
            bound.take(self, index, binds, leaves, &mut |leaf, part, detail| {
                findings += 1;
                report(Finding { leaf, exchange: None, part, detail });
            })?;
            let mut waiting = Waiting::No;
            if let (Some(leaf), Ok(None)) = (&leaf, &stored) {
                let found = leaves.waiting(index, &bytes, leaf);
                waiting = found.map_err(|source| StoreError::Pending { source })?;
                // What is not in the journal any more may have moved into the store meanwhile.
                if waiting == Waiting::No {
                    stored = self.at_leaf(index);
                }
            }
            let mut at = |part, detail| {
                findings += 1;
                let exchange = leaf.as_ref().map(|leaf| hex(&leaf.exchange.0));
                report(Finding { leaf: index, exchange, part, detail });
            };
            match (&leaf, stored) {
                (None, Ok(None)) => {}
                (None, Ok(Some(_))) => at("record", "the log has no exchange there".to_owned()),
                (Some(leaf), Ok(Some(stored))) if is_emptied(&stored) => {
                    check_record(&stored, &bytes, leaf, &mut at);
                    missing.push(index, true);
                    names.unknown(&stored);
                }
                (Some(leaf), Ok(Some(stored))) => {
                    names.take(&stored, &mut at);
                    let told = told.remove(&(leaf.boot.0, leaf.number)).unwrap_or_default();
                    match self.held(&stored, &bytes, leaf, &told, &mut at) {
                        None => missing.push(index, true),
                        Some(hashed) => {
                            missing.interrupted();
                            check.exchanges += 1;
                            check.bytes += hashed;
                        }
                    }
                }
                (Some(_), Ok(None)) => match waiting {
                    Waiting::No => missing.push(index, index < watermark),
                    waiting => {
                        missing.interrupted();
                        match waiting {
                            Waiting::Otherwise(detail) => at("journal", detail),
                            _ => check.pending += 1,
                        }
                    }
                },
                (_, Err(error)) => at("record", error.to_string()),
            }
        }
        for (index, detail) in names.unheard() {
            findings += 1;
            report(Finding { leaf: index, exchange: None, part: "run", detail });
        }
        let stated = stated.merged();
        let mut since = Stated::default();
        // Retention may have gone on beside this, under leaves behind those that are held against here.
        if !(missing.is_within(&stated) && bound.is_within(&stated)) {
            let further = leaves.stated_since(size);
            let further = further.map_err(|source| StoreError::Leaf { index: size, source })?;
            further.iter().for_each(|leaves| since.push(leaves));
        }
        let since = since.merged();
        check.beside = bound.finish(&stated, &since, leaves, &mut |leaf, part, detail| {
            findings += 1;
            report(Finding { leaf, exchange: None, part, detail });
        })?;
        let mut exchange_at = |index| {
            let bytes = leaves.leaf(index).map_err(|source| StoreError::Leaf { index, source })?;
            Ok::<_, StoreError>(match Leaf::decode(&bytes) {
                Ok(Leaf::Exchange(leaf)) => Some(hex(&leaf.exchange.0)),
                _ => None,
            })
        };
        let found = missing.resolve(&stated, &since, &mut exchange_at, &mut |leaf, exchange| {
            findings += 1;
            let (exchange, detail) = (Some(exchange), LOST.to_owned());
            report(Finding { leaf, exchange, part: "record", detail });
        })?;
        Accounted { pruned: check.pruned, since: check.since, absent: check.absent } = found;
        check.findings = findings;
        Ok(check)
    }

    /// Holds an exchange against its leaf, and gives how many bytes of bodies were hashed. Nothing, where
    /// retention took its contents since it was read: what differs then says nothing.
    pub(super) fn held(
        &mut self,
        stored: &StoredExchange,
        bytes: &[u8],
        leaf: &Exchange,
        told: &[ProgressEntry],
        at: &mut dyn FnMut(&'static str, String),
    ) -> Option<u64> {
        check_record(stored, bytes, leaf, at);
        let mut found = Vec::new();
        let hashed = self.check_one(stored, leaf, told, &mut |part, detail| {
            found.push((part, detail));
        });
        if !found.is_empty()
            && let Ok(Some(now)) = self.at_leaf(stored.leaf_index)
            && is_emptied(&now)
        {
            return None;
        }
        found.into_iter().for_each(|(part, detail)| at(part, detail));
        Some(hashed)
    }

    fn check_one(
        &mut self,
        stored: &StoredExchange,
        leaf: &Exchange,
        told: &[ProgressEntry],
        at: &mut dyn FnMut(&'static str, String),
    ) -> u64 {
        check_units(stored, leaf, at);
        let index = message_index(stored, at);
        let mut hashed = 0;
        for direction in [Direction::Request, Direction::Response] {
            let part = match direction {
                Direction::Request => "request body",
                Direction::Response => "response body",
            };
            let side = index.as_ref().map(|index| match direction {
                Direction::Request => &index.request,
                Direction::Response => &index.response,
            });
            match (direction.bound_by(leaf), stored.body(direction)) {
                (None, None) => {}
                (None, Some(_)) => at(part, "the log binds no such body".to_owned()),
                (Some(_), None) => at(part, "it is not in the store".to_owned()),
                (Some(bound), Some(body))
                    if body.length != bound.length
                        || body.segments != u64::from(bound.segments) =>
                {
                    at(part, "its length or cuts are not those that were sealed".to_owned());
                }
                (Some(bound), Some(_)) => match self.remade(stored, direction, told) {
                    Ok(made) => {
                        hashed += bound.length;
                        if made.body != *bound {
                            let detail = "its bytes, key or cuts are not those that were sealed";
                            at(part, detail.to_owned());
                        } else if !made.sha256_agrees {
                            at(part, "its SHA-256 is not that of its bytes".to_owned());
                        } else if let Some(Err(detail)) =
                            side.map(|side| side.check(&made.messages))
                        {
                            at(
                                Slot::Messages.as_str(),
                                format!("{}: {detail}", direction.as_str()),
                            );
                        } else if !made.begins {
                            at(part, "it does not begin as a progress leaf says".to_owned());
                        }
                    }
                    Err(error) => at(part, error.to_string()),
                },
            }
        }
        hashed
    }

    /// The body as its stored bytes give it.
    fn remade(
        &mut self,
        stored: &StoredExchange,
        direction: Direction,
        told: &[ProgressEntry],
    ) -> Result<Remade, StoreError> {
        let prefixes = told.iter().filter_map(|entry| match direction {
            Direction::Request => Some(&entry.request),
            Direction::Response => entry.response.as_ref(),
        });
        let mut prefixes = prefixes.peekable();
        let mut begins = true;
        let mut index = 0_u32;
        let key = stored.body(direction).map(|body| body.key).unwrap_or_default();
        let mut made = Recommitment::new(key);
        let mut hash = Sha256::new();
        let mut indexer = stored.unit(Slot::Messages).map(|_| Indexer::default());
        let body = self.each_segment(&stored.id, direction, &mut |segment, bytes| {
            hash.update(bytes);
            if let Some(indexer) = &mut indexer {
                indexer.push(bytes);
            }
            while let Some(prefix) = prefixes.next_if(|prefix| prefix.segments <= index) {
                begins &= prefix.segments == index && made.continues(prefix, Some(bytes));
            }
            index = index.saturating_add(1);
            made.take(segment, bytes).map_err(|error| {
                let detail = format!("the segments do not tile: {error}");
                StoreError::Malformed { exchange: hex(&stored.id), detail }
            })
        })?;
        begins &= prefixes.all(|prefix| prefix.segments == index && made.continues(prefix, None));
        let agrees = <[u8; 32]>::from(hash.finalize()) == body.sha256;
        Ok(Remade {
            body: made.finish(body.dialect),
            sha256_agrees: agrees,
            messages: indexer.map(Indexer::finish).unwrap_or_default(),
            begins,
        })
    }
}

/// A body made anew from what is stored.
struct Remade {
    body: Body,
    /// Whether the stored SHA-256 is that of its bytes.
    sha256_agrees: bool,
    /// Of a WebSocket session, the messages in it.
    messages: Side,
    /// Whether it begins as was told while it was open.
    begins: bool,
}

/// The stored message index; that it is the sealed one is asked elsewhere.
fn message_index(
    stored: &StoredExchange,
    at: &mut dyn FnMut(&'static str, String),
) -> Option<MessageIndex> {
    let bytes = stored.unit(Slot::Messages)?;
    let index = MessageIndex::decode(bytes);
    index.map_err(|error| at(Slot::Messages.as_str(), error.to_string())).ok()
}

/// Whether nothing but the row is left of it.
fn is_emptied(stored: &StoredExchange) -> bool {
    stored.units.is_empty() && stored.bodies.is_empty()
}

fn check_record(
    stored: &StoredExchange,
    bytes: &[u8],
    leaf: &Exchange,
    at: &mut dyn FnMut(&'static str, String),
) {
    if stored.leaf != bytes {
        at("record", "the stored leaf is not the one in the log".to_owned());
    }
    if stored.id != leaf.exchange.0 || stored.run != leaf.run.id.0 {
        at("record", "it is stored under another id or run".to_owned());
    }
    if stored.boot != leaf.boot.0 || stored.number != leaf.number {
        at("record", "it is stored under another boot or number".to_owned());
    }
}

fn check_units(stored: &StoredExchange, leaf: &Exchange, at: &mut dyn FnMut(&'static str, String)) {
    for slot in Slot::ALL {
        let found = stored.units.iter().find(|unit| unit.slot == slot);
        match (slot.bound_by(leaf), found) {
            (None, None) => {}
            (None, Some(_)) => at(slot.as_str(), "the log binds no such unit".to_owned()),
            (Some(_), None) => at(slot.as_str(), "it is not in the store".to_owned()),
            (Some(bound), Some(found)) => {
                if !bound.is(&commitment::unit(slot, found.key, &found.bytes)) {
                    let detail = "its bytes or key are not those that were sealed";
                    at(slot.as_str(), detail.to_owned());
                }
            }
        }
    }
}
