//! What can go wrong in a query, and what to do about it.

use std::io;

use crate::store::StoreError;

/// Why `ls` or `show` could not answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The store could not answer.
    #[error(transparent)]
    Store(StoreError),
    /// The journal, where exchanges are that the store does not have yet, could not be read.
    #[error("the journal: {0}")]
    Pending(io::Error),
    /// Nothing has that id, prefix or name.
    #[error("no exchange or run is called {text:?}; `sealtap ls` lists what there is")]
    NotFound {
        /// What was asked for.
        text: String,
    },
    /// Several have it.
    #[error("{text:?} stands for more than one: {}; give more of the id", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// The ids it stands for, at most twenty.
        candidates: Vec<String>,
    },
    /// The exchange has no such body.
    #[error("exchange {exchange} has no {what}")]
    Absent {
        /// The exchange's id.
        exchange: String,
        /// What was asked for.
        what: &'static str,
    },
    /// A leaf or a unit that is stored cannot be read.
    #[error(
        "exchange {exchange}: its {part} cannot be read: {detail}; `sealtap verify` says what else is damaged"
    )]
    Unreadable {
        /// The exchange's id.
        exchange: String,
        /// Which part.
        part: &'static str,
        /// What is wrong.
        detail: String,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl QueryError {
    /// Whether whoever read the output has gone, as `head` does; not worth a message.
    #[must_use]
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Output(error) => Self::Output(error),
            StoreError::Absent { exchange, what } => Self::Absent { exchange, what },
            other => Self::Store(other),
        }
    }
}
