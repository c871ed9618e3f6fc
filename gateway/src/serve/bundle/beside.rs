//! What others vouch for, as it goes into a bundle: the cosigned checkpoint, the timestamp.
//!
//! In: `witness/` of a data directory. Out: notes of earlier trees of the log, whose proofs that the
//! log grew out of them are made when the bundle is written. What is not whole is left out: nothing
//! of it is needed for the rest.

use std::thread::sleep;

use sealtap_common::bundle::{COSIGNED, DATED, TIMESTAMP, Writer, consistency, consistency_text};
use sealtap_common::checkpoint::Checkpoint;
use sealtap_common::directory::{cosigned, dated};
use sealtap_common::note::Note;
use sealtap_common::verify::{Dated, Timestamp};

use super::BundleError;
use super::gather::PAUSE;
use super::tree::Tree;
use crate::data::DataDir;

/// How often a token that is not of the checkpoint beside it is looked at again: the gateway writes
/// one after the other.
const LOOKS: u32 = 3;

/// A checkpoint of the log that somebody vouches for.
struct Earlier {
    note: Vec<u8>,
    size: u64,
}

/// All that there is.
#[derive(Default)]
pub(super) struct Beside {
    cosigned: Option<Earlier>,
    dated: Option<(Earlier, Vec<u8>)>,
}

impl Beside {
    /// Reads it; to be done before the log is read, which then reaches at least as far.
    pub(super) fn read(data: &DataDir) -> Self {
        let cosigned = cosigned(data.root()).ok().flatten().and_then(|note| {
            let parsed = Note::parse(&note).ok()?;
            let size = Checkpoint::parse(&parsed.text).ok()?.size;
            (parsed.signatures.len() > 1).then_some(Earlier { note, size })
        });
        let dated = (0..LOOKS).find_map(|look| {
            if look > 0 {
                sleep(PAUSE);
            }
            let there = dated(data.root()).ok().flatten();
            // None at all: there is nothing to wait for.
            let Some((note, reply)) = there else { return Some(None) };
            let origin = String::from_utf8_lossy(&note);
            let origin = origin.lines().next().unwrap_or_default();
            let given = Timestamp { checkpoint: &note, reply: &reply };
            let size = Dated::read(given, origin, &[]).ok()?.size;
            Some(Some((Earlier { note, size }, reply)))
        });
        Self { cosigned, dated: dated.flatten() }
    }

    /// Whether there are witnesses, and they have not seen the leaf at this index yet.
    pub(super) fn lags(&self, index: u64) -> bool {
        self.cosigned.as_ref().is_some_and(|seen| seen.size <= index)
    }

    /// The leaves that witnesses saw, if they saw the one at this index.
    pub(super) fn seen_beyond(&self, index: u64) -> Option<u64> {
        self.cosigned.as_ref().map(|seen| seen.size).filter(|size| *size > index)
    }

    /// Leaves a timestamp out that dates no leaf from this index on.
    pub(super) fn about(mut self, first: u64) -> Self {
        self.dated = self.dated.filter(|(earlier, _)| earlier.size > first);
        self
    }

    /// Writes the entries, with their proofs in `tree`.
    pub(super) fn write<W: std::io::Write>(
        &self,
        writer: &mut Writer<W>,
        tree: &Tree,
        failed: &impl Fn(std::io::Error) -> BundleError,
    ) -> Result<(), BundleError> {
        let both = |writer: &mut Writer<W>, name: &str, earlier: &Earlier| {
            let proof = consistency_text(&tree.consistency(earlier.size)?);
            writer.entry(name, &earlier.note).map_err(failed)?;
            writer.entry(&consistency(name), proof.as_bytes()).map_err(failed)
        };
        if let Some(seen) = &self.cosigned {
            both(writer, COSIGNED, seen)?;
        }
        if let Some((dated, reply)) = &self.dated {
            both(writer, DATED, dated)?;
            writer.entry(TIMESTAMP, reply).map_err(failed)?;
        }
        Ok(())
    }
}
