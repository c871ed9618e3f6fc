//! Records whose leaf is in the log and which the store did not live to take.

use sealtap_common::leaf::{Leaf, RunClosed};
use sealtap_common::record::{key_id, record_hash, sign};

use super::SealedRecord;
use crate::seal::keys::Keys;
use crate::seal::log::{Log, ReadError};

/// Leaves read at a time.
const STRIDE: u64 = 4_096;

/// The records behind leaf `from`, signed again: a record is a function of its closing leaf, and an
/// Ed25519 signature of its key and what it signs. One that another key had signed is left out.
///
/// # Errors
///
/// The log cannot be read.
pub fn unstored(log: &Log, from: u64, keys: &Keys) -> Result<Vec<SealedRecord>, ReadError> {
    let mut found = Vec::new();
    let mut closed: Option<(u64, Vec<u8>, Box<RunClosed>)> = None;
    let mut at = from;
    while at < log.size() {
        let end = at.saturating_add(STRIDE).min(log.size());
        for (index, bytes) in (at..end).zip(log.entries(at..end)?) {
            match (Leaf::decode(&bytes), closed.take()) {
                (Ok(Leaf::RunClosed(leaf)), _) => closed = Some((index, bytes, leaf)),
                (Ok(Leaf::RunRecord(record)), Some((closed_index, closed, leaf))) => {
                    let signer = keys.run_record();
                    let envelope = sign(keys.origin(), closed_index, &leaf, signer);
                    if record.run == leaf.run && record.record == record_hash(&envelope.payload) {
                        found.push(SealedRecord {
                            run: leaf.run.0,
                            closed_index,
                            closed,
                            record_index: index,
                            key_id: key_id(signer.public()),
                            signature: envelope.signature,
                        });
                    }
                }
                _ => {}
            }
        }
        at = end;
    }
    Ok(found)
}
