//! Earlier checkpoints of the log that others vouch for: witnesses, a timestamp authority.
//!
//! In: the entries behind `checkpoint`, the keys of the log. Out: which of the log's trees was
//! cosigned and by whom, which was dated and when; or what does not hold. Both trees are proven to be
//! beginnings of the one under which the bundle's leaves stand.

use std::io::Read;

use super::archive::{ArchiveError, Reader};
use super::content::is_next;
use super::proof::parse_consistency;
use super::{COSIGNED, DATED, TIMESTAMP, consistency};
use crate::checkpoint::Checkpoint;
use crate::note::{COSIGNATURE_LENGTH, Note, PublicKey};
use crate::policy::Policy;
use crate::timestamp::REPLY_LENGTH;
use crate::tree::{Hash, verify_consistency};
use crate::verify::{Dated, Timestamp, Witnessed};

/// The longest text that is read.
const TEXT: u64 = 64 << 10;

/// What is wrong with which entry.
type Wrong = (String, String);

/// The entries as they were read; nothing of them is checked yet.
#[derive(Default)]
pub(super) struct Beside {
    cosigned: Option<(Vec<u8>, Vec<u8>)>,
    dated: Option<(Vec<u8>, Vec<u8>, Vec<u8>)>,
}

/// What the caller trusts, and the tree that everything in the bundle is in.
pub(super) struct Under<'a> {
    pub(super) tree: &'a Checkpoint,
    pub(super) keys: &'a [PublicKey],
    pub(super) policy: Option<&'a Policy>,
}

impl Beside {
    /// Reads what stands here; the name of an entry that should be next and is not.
    pub(super) fn read(
        reader: &mut Reader<impl Read>,
    ) -> Result<Result<Self, String>, ArchiveError> {
        let mut beside = Self::default();
        if is_next(reader, COSIGNED)? {
            let note = reader.content(TEXT)?;
            let Some(proof) = wanted(reader, &consistency(COSIGNED), TEXT)? else {
                return Ok(Err(consistency(COSIGNED)));
            };
            beside.cosigned = Some((note, proof));
        }
        if is_next(reader, DATED)? {
            let note = reader.content(TEXT)?;
            let Some(proof) = wanted(reader, &consistency(DATED), TEXT)? else {
                return Ok(Err(consistency(DATED)));
            };
            let Some(reply) = wanted(reader, TIMESTAMP, REPLY_LENGTH)? else {
                return Ok(Err(TIMESTAMP.to_owned()));
            };
            beside.dated = Some((note, proof, reply));
        }
        Ok(Ok(beside))
    }

    /// Who cosigned which tree.
    pub(super) fn witnessed(&self, under: &Under<'_>) -> Result<Option<Witnessed>, Wrong> {
        let Some((note, proof)) = &self.cosigned else { return Ok(None) };
        let wrong = |detail: String| (COSIGNED.to_owned(), detail);
        let origin = &under.tree.origin;
        let found = Witnessed::read_under(note, origin, under.keys, under.policy);
        let found = found.map_err(|error| wrong(error.to_string()))?;
        let lines = Note::parse(note).map_err(|error| wrong(error.to_string()))?.signatures;
        let (own, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.name == *origin);
        let cosignatures = others.iter().all(|line| line.signature.len() == COSIGNATURE_LENGTH);
        if own.len() != 1 || others.is_empty() || !cosignatures {
            return Err(wrong("is not the log's line and cosignatures".to_owned()));
        }
        under.grew_out_of(COSIGNED, found.size, &found.root, proof)?;
        Ok(Some(found))
    }

    /// Which tree a token dates.
    pub(super) fn dated(&self, under: &Under<'_>) -> Result<Option<Dated>, Wrong> {
        let Some((note, proof, reply)) = &self.dated else { return Ok(None) };
        let given = Timestamp { checkpoint: note, reply };
        let found = Dated::read(given, &under.tree.origin, under.keys);
        let found = found.map_err(|error| (TIMESTAMP.to_owned(), error.to_string()))?;
        under.grew_out_of(DATED, found.size, &found.root, proof)?;
        Ok(Some(found))
    }
}

impl Under<'_> {
    /// Whether the bundle's tree grew out of the one in the entry `name`.
    fn grew_out_of(&self, name: &str, size: u64, root: &Hash, proof: &[u8]) -> Result<(), Wrong> {
        let wrong = |detail: String| (consistency(name), detail);
        let hashes = parse_consistency(proof);
        let hashes = hashes.ok_or_else(|| wrong("is no list of hashes".to_owned()))?;
        verify_consistency(size, root, self.tree.size, &self.tree.root, &hashes)
            .map_err(|error| wrong(error.to_string()))
    }
}

/// The content of the entry `name`, if it is next.
fn wanted(
    reader: &mut Reader<impl Read>,
    name: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, ArchiveError> {
    if is_next(reader, name)? { reader.content(limit).map(Some) } else { Ok(None) }
}
