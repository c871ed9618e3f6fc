//! What can go wrong in the store, and what to do about it.

use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::retention::Pruned;
use super::sealed::Direction;

/// Why the store could not do what was asked. Nothing of a failed [`put`](super::Store::put) stays.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store at that path.
    #[error("{}: there is no store here; `sealtap serve` makes it when it first runs", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The directory could not be made or read.
    #[error("{}: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is a database of something else.
    #[error("{}: this is not a sealtap store; move the file away or choose another --data", path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The store was written by a later sealtap.
    #[error("{}: the store has format {found}, this sealtap reads up to {known}; use the newer sealtap that wrote it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version it carries.
        found: i64,
        /// The version known here.
        known: i64,
    },
    /// The store's own key is not the one it was made with.
    #[error("{}: the store was made with another store key; put the key file that belongs to it back into keys/", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
    /// No room on the disk.
    #[error("{}: the disk is full; free some space, it goes on by itself", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error("{}: the store is damaged ({detail}); restore it from a copy, the log is not affected", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// Another process holds the database for too long.
    #[error("{}: the store is held by another process; try again", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The permissions do not allow it.
    #[error("{}: no permission ({detail}); run as the user that owns the data directory", path.display())]
    Denied {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// The database does not take or give a value, now or later: too large, or against its rules.
    #[error("{}: the database refuses a value ({detail}), now and later", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        detail: String,
    },
    /// Any other failure of the database.
    #[error("{}: {source}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// Another record already stands where this one belongs.
    #[error("exchange {exchange}: {detail}; the store keeps the first record")]
    Conflict {
        /// The exchange's id.
        exchange: String,
        /// What is already there.
        detail: String,
    },
    /// The exchange does not hold together: a hole, an overlap, a leaf that says otherwise.
    #[error("exchange {exchange}: {detail}; it stays in the journal")]
    Malformed {
        /// The exchange's id.
        exchange: String,
        /// What does not hold.
        detail: String,
    },
    /// Bytes could not be read back from the journal.
    #[error(
        "exchange {exchange}, {} body: journal file {file} at byte {offset}: {source}; it stays in the journal",
        direction.as_str()
    )]
    Journal {
        /// The exchange's id.
        exchange: String,
        /// Which body.
        direction: Direction,
        /// The number of the journal file.
        file: u64,
        /// Where the read began.
        offset: u64,
        /// What the read said.
        source: std::io::Error,
    },
    /// No such exchange, body or unit.
    #[error("exchange {exchange}: the store has no {what} of it")]
    Absent {
        /// The exchange's id.
        exchange: String,
        /// What was asked for.
        what: &'static str,
    },
    /// Retention has destroyed it.
    #[error(
        "exchange {exchange}: its bodies and heads are no longer held: retention of {}, \
         stated in leaf {} of the log, sealed at {}",
        pruned.policy(), pruned.leaf, time(pruned.sealed)
    )]
    Pruned {
        /// The exchange's id.
        exchange: String,
        /// The statement that names it.
        pruned: Pruned,
    },
    /// A leaf of the log could not be looked up.
    #[error("leaf {index} of the log: {source}")]
    Leaf {
        /// The leaf's index.
        index: u64,
        /// What the look-up said.
        source: std::io::Error,
    },
    /// What waits in the journal could not be looked up.
    #[error("the journal: {source}")]
    Pending {
        /// What the look-up said.
        source: std::io::Error,
    },
    /// The bytes could not be written where they were asked for.
    #[error("cannot write the output: {0}")]
    Output(std::io::Error),
}

/// A time in microseconds since the Unix epoch, for people.
fn time(microseconds: u64) -> String {
    let time = i64::try_from(microseconds).ok();
    let time = time.and_then(|time| jiff::Timestamp::from_microsecond(time).ok());
    time.map_or_else(|| format!("{microseconds} us"), |time| format!("{time:.0}"))
}

impl StoreError {
    /// Whether trying again later, with no change to the store, can succeed.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Busy { .. } | Self::Database { .. })
    }
}

/// A failure inside the store, before the path is added.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    Corrupt(String),
    Other(StoreError),
}

pub(super) type Outcome<T> = Result<T, Fault>;

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Other(error)
    }
}

impl Fault {
    /// What it is, for a failure that is not the database's.
    pub(super) fn into_detail(self) -> String {
        match self {
            Self::Other(StoreError::Malformed { detail, .. }) | Self::Corrupt(detail) => detail,
            Self::Other(error) => error.to_string(),
            Self::Sqlite(error) => error.to_string(),
        }
    }

    /// The error that is shown, for the database at `path`.
    pub(super) fn at(self, path: &Path) -> StoreError {
        let path = path.to_path_buf();
        let error = match self {
            Self::Other(error) => return error,
            Self::Corrupt(detail) => return StoreError::Corrupt { path, detail },
            Self::Sqlite(error) => error,
        };
        let detail = error.to_string();
        match &error {
            // A column of another type than was written is damage, not a bug of the caller's.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..) => StoreError::Corrupt { path, detail },
            _ => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => StoreError::Full { path },
                Some(ErrorCode::DatabaseCorrupt) => StoreError::Corrupt { path, detail },
                Some(ErrorCode::NotADatabase) => StoreError::NotAStore { path },
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                    StoreError::Busy { path }
                }
                Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                    StoreError::Denied { path, detail }
                }
                Some(
                    ErrorCode::TooBig
                    | ErrorCode::ConstraintViolation
                    | ErrorCode::TypeMismatch
                    | ErrorCode::ApiMisuse
                    | ErrorCode::ParameterOutOfRange,
                ) => StoreError::Refused { path, detail },
                _ => StoreError::Database { path, source: error },
            },
        }
    }
}
