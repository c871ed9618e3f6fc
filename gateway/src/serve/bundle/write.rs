//! The file: every entry in its one order.

use std::io::{self, Write};

use sealtap_common::bundle::{
    CHECKPOINT, Part, RECORD, TlogProof, VERIFY, VERIFY_TEXT, Writer, key_text, leaf_folder,
    salt_text,
};
use sealtap_common::commit::{BodyKey, BodyRoot, Tuple, UnitKind, commit};

use super::BundleError;
use super::disclose::{Disclosure, Extent};
use super::gather::Gathered;
use crate::store::{Direction, Slot, StoreError, StoreReader, StoredExchange};

/// Writes all of it and gives the sink back.
pub(super) fn write<W: Write>(
    sink: W,
    gathered: &Gathered,
    store: &mut StoreReader,
    disclosure: &Disclosure,
    failed: &impl Fn(io::Error) -> BundleError,
) -> Result<W, BundleError> {
    let mut writer = Writer::new(sink);
    let mut entry = |name: &str, bytes: &[u8]| writer.entry(name, bytes).map_err(failed);
    entry(VERIFY, VERIFY_TEXT.as_bytes())?;
    entry(CHECKPOINT, &gathered.tree.signed)?;
    gathered.beside.write(&mut writer, &gathered.tree, failed)?;
    if let Some(record) = &gathered.record {
        writer.entry(RECORD, record).map_err(failed)?;
    }
    let (exchanges, coverings) = (gathered.exchanges.keys(), gathered.coverings.keys());
    let all = exchanges.chain(gathered.context.keys()).chain(coverings);
    let mut indices: Vec<u64> = all.copied().collect();
    indices.sort_unstable();
    let checkpoint = String::from_utf8_lossy(&gathered.tree.signed).into_owned();
    for index in indices {
        let folder = leaf_folder(index);
        let covering = gathered.coverings.get(&index);
        let other = gathered.context.get(&index).or(covering.map(|covering| &covering.leaf));
        let stored = match other {
            Some(_) => None,
            None => Some(store.at_leaf(index)?.ok_or(BundleError::Leaf { index })?),
        };
        let leaf = match (other, &stored) {
            (Some(leaf), _) => leaf.as_slice(),
            (None, Some(stored)) => stored.leaf.as_slice(),
            (None, None) => return Err(BundleError::Leaf { index }),
        };
        writer.entry(&format!("{folder}/leaf"), leaf).map_err(failed)?;
        let hashes = gathered.tree.proof(index)?;
        let proof = TlogProof { index, hashes, checkpoint: checkpoint.clone() };
        writer.entry(&format!("{folder}/proof"), proof.emit().as_bytes()).map_err(failed)?;
        if let Some(maker) = covering.and_then(|covering| covering.maker.as_ref()) {
            let carried = covering.map_or(&[][..], |covering| covering.carried.as_slice());
            let extent = disclosure.maker(carried);
            let (key, place) =
                (BodyKey::new(maker.key), Place::Unit(UnitKind::Maker, &maker.bytes));
            let mut source = Source { store, id: [0; 16], key, place };
            source.write(&mut writer, &format!("{folder}/{}", Part::Maker), |_| extent)?;
        }
        if let Some(stored) = stored {
            let position = gathered.exchanges.get(&index).copied().unwrap_or_default();
            for part in Part::ALL {
                let name = format!("{folder}/{part}");
                let source = Source::new(store, &stored, *part);
                if let Some(mut source) = source {
                    let extent = |count| disclosure.extent(position, *part, count);
                    source.write(&mut writer, &name, extent)?;
                }
            }
        }
    }
    writer.finish().map_err(failed)
}

/// What takes a segment's kind and bytes.
type EachPiece<'a> = dyn FnMut(u16, &[u8]) -> Result<(), StoreError> + 'a;

/// One part of a stored exchange.
struct Source<'a> {
    store: &'a mut StoreReader,
    id: [u8; 16],
    key: BodyKey,
    place: Place<'a>,
}

enum Place<'a> {
    Unit(UnitKind, &'a [u8]),
    Body(Direction, u64),
}

impl<'a> Source<'a> {
    /// The part, if the exchange has it and it has bytes.
    fn new(store: &'a mut StoreReader, stored: &'a StoredExchange, part: Part) -> Option<Self> {
        let (slot, direction) = match part {
            Part::Context => (Some(Slot::Context), Direction::Request),
            Part::RequestHead => (Some(Slot::RequestHead), Direction::Request),
            Part::RequestTrailers => (Some(Slot::RequestTrailers), Direction::Request),
            Part::RequestBody => (None, Direction::Request),
            Part::Interim => (Some(Slot::Interim), Direction::Response),
            Part::ResponseHead => (Some(Slot::ResponseHead), Direction::Response),
            Part::ResponseTrailers => (Some(Slot::ResponseTrailers), Direction::Response),
            Part::ResponseBody => (None, Direction::Response),
            Part::Messages => (Some(Slot::Messages), Direction::Response),
            // Of a connection, or of what went around.
            Part::Maker => return None,
        };
        let (key, place) = match slot {
            Some(slot) => {
                let unit = stored.units.iter().find(|unit| unit.slot == slot)?;
                (unit.key, Place::Unit(slot.kind(), unit.bytes.as_slice()))
            }
            None => {
                let body = stored.body(direction).filter(|body| body.length > 0)?;
                (body.key, Place::Body(direction, body.length))
            }
        };
        Some(Self { store, id: stored.id, key: BodyKey::new(key), place })
    }

    /// Hands each segment's kind and bytes to `each`, in order.
    fn each(&mut self, each: &mut EachPiece<'_>) -> Result<(), StoreError> {
        match self.place {
            Place::Unit(kind, bytes) => each(kind.number(), bytes),
            Place::Body(direction, _) => {
                let take =
                    &mut |segment: crate::store::Segment, bytes: &[u8]| each(segment.kind, bytes);
                self.store.each_segment(&self.id, direction, take).map(drop)
            }
        }
    }

    fn length(&self) -> u64 {
        match self.place {
            Place::Unit(_, bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Place::Body(_, length) => length,
        }
    }

    fn write(
        &mut self,
        writer: &mut Writer<impl Write>,
        name: &str,
        extent: impl FnOnce(u32) -> Extent,
    ) -> Result<(), BundleError> {
        let tuples = self.tuples()?;
        let count = u32::try_from(tuples.len() / 55).unwrap_or(u32::MAX);
        let output = |error| BundleError::Store(StoreError::Output(error));
        writer.entry(&format!("{name}.tuples"), &tuples).map_err(output)?;
        match extent(count) {
            Extent::Nothing => Ok(()),
            Extent::Whole => {
                let key = key_text(&self.key);
                writer.entry(&format!("{name}.key"), key.as_bytes()).map_err(output)?;
                writer.begin(name, self.length()).map_err(output)?;
                self.each(&mut |_, bytes| writer.write(bytes).map_err(StoreError::Output))?;
                Ok(())
            }
            Extent::Segments(picked) => {
                let key = self.key.clone();
                let (mut picked, mut at) = (picked.into_iter().peekable(), 0_u32);
                self.each(&mut |_, bytes| {
                    if picked.next_if_eq(&at).is_some() {
                        let name = format!("{name}.{at}");
                        let salt = salt_text(&key.salt(at));
                        writer
                            .entry(&format!("{name}.salt"), salt.as_bytes())
                            .and_then(|()| writer.entry(&name, bytes))
                            .map_err(StoreError::Output)?;
                    }
                    at = at.saturating_add(1);
                    Ok(())
                })?;
                Ok(())
            }
        }
    }

    /// The part's tuples, one behind the other; commitments are made anew.
    fn tuples(&mut self) -> Result<Vec<u8>, BundleError> {
        let key = self.key.clone();
        let (mut root, mut tuples) = (BodyRoot::new(), Vec::new());
        let id = sealtap_common::Id(self.id).to_string();
        self.each(&mut |kind, bytes| {
            let index = root.next_index();
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            let offset = tuples_end(&tuples);
            let commitment = commit(&key.salt(index), bytes);
            let tuple = Tuple { index, offset, length, kind, commitment };
            root.push_tuple(&tuple).map_err(|error| StoreError::Malformed {
                exchange: id.clone(),
                detail: format!("the segments do not tile: {error}"),
            })?;
            tuples.push(tuple);
            Ok(())
        })?;
        Ok(tuples.iter().flat_map(Tuple::encode).collect())
    }
}

/// Where the segments so far end.
fn tuples_end(tuples: &[Tuple]) -> u64 {
    tuples.last().map_or(0, |tuple| tuple.offset.saturating_add(tuple.length))
}
