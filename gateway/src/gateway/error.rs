//! Why the gateway could not start, or why it stopped.

use sealtap_common::leaf::EncodeError;

use crate::accept::ListenError;
use crate::accept::authority::AuthorityError;
use crate::capture::journal::JournalError;
use crate::data::DataError;
use crate::journey::SettingsError;
use crate::seal::keys::KeysError;
use crate::seal::log::LogError;
use crate::seal::recovery::RecoveryError;
use crate::seal::rotation::RotationError;
use crate::seal::timestamp::TimestampError;
use crate::seal::witness::{Testimony, WitnessError};
use crate::store::StoreError;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory, or another process that writes it.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The log or its lock.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What earlier boots left.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// A first leaf.
    #[error("a leaf cannot be made: {0}")]
    Leaf(#[from] EncodeError),
    /// The listener's address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The address of `/metrics` and `/healthz`.
    #[error("[observe] listen: {0}")]
    Observe(#[source] ListenError),
    /// A file that the configuration names.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The authority that vouches for opened hosts.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A rotation that a crash cut off.
    #[error(transparent)]
    Rotation(#[from] RotationError),
    /// The timestamp authority of the configuration.
    #[error(transparent)]
    Timestamp(#[from] TimestampError),
    /// The witnesses of the configuration.
    #[error(transparent)]
    Witness(#[from] WitnessError),
    /// A witness has seen another history of this log.
    #[error(transparent)]
    Testimony(#[from] Testimony),
    /// The system.
    #[error("cannot start: {0}")]
    System(#[from] std::io::Error),
}

/// Why the gateway did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Records could not be written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A witness has seen another history of this log; what was not published then is in the journal.
    #[error(transparent)]
    Testimony(#[from] Testimony),
}
