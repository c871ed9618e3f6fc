//! Records: the data directory that a command reads, and the store in it.
//!
//! In: the path from `--data`. Out: the directory, once there is something to list in it, and its store, where
//! there is one already. Nothing is made or changed.

use std::path::Path;

use crate::command::Failure;
use crate::data::DataDir;
use crate::store::{StoreError, StoreReader};

/// The data directory at this path.
///
/// # Errors
///
/// There is none, or it may not be looked into.
pub(super) fn directory(path: &Path) -> Result<DataDir, Failure> {
    let data = DataDir::new(path);
    let there = data.has_records().map_err(|error| {
        Failure::new(format!("the data directory cannot be looked into: {error}"))
            .at(path.display().to_string())
            .fix("run this as the user that the gateway runs as")
    })?;
    match there {
        true => Ok(data),
        false => Err(Failure::new("there is no data directory")
            .at(path.display().to_string())
            .fix("give the one of a gateway with --data DIR, or start one with `sealtap serve`")),
    }
}

/// The store in this directory; none where a gateway has only just started: all is in the journal then.
///
/// # Errors
///
/// There is one and it cannot be opened.
pub(super) fn store(directory: &Path) -> Result<Option<StoreReader>, StoreError> {
    match StoreReader::open(directory) {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
