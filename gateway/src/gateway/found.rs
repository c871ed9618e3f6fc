//! What a start finds in the data directory and must take over.
//!
//! In: the log, the data directory. Out: the store told what the log states. Never
//! writes to the log.

use super::StartError;
use crate::data::DataDir;
use crate::seal::keys::Keys;
use crate::seal::log::Log;
use crate::seal::recovery::RecoveryError;
use crate::store::{Store, retention};

/// Tells the store what the log states of retention and a crash kept from it.
fn recall(log: &Log, store: &mut Store) -> Result<(), StartError> {
    const STRIDE: u64 = 4_096;
    let mut at = store.watermark()?;
    while at < log.size() {
        let end = at.saturating_add(STRIDE).min(log.size());
        let leaves = log.entries(at..end).map_err(RecoveryError::from)?;
        let stated = retention::statements(at, &leaves)
            .map_err(|source| RecoveryError::Leaf { index: at, source })?;
        store.state(&stated)?;
        at = end;
    }
    Ok(())
}

/// The store, told what the log states.
pub(super) fn opened_store(data: &DataDir, keys: &Keys, log: &Log) -> Result<Store, StartError> {
    let mut store = Store::open(&data.store(), keys.store())?;
    recall(log, &mut store)?;
    Ok(store)
}
