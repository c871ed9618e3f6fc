//! Store: sealed exchanges and their bodies, each content once.
//!
//! In come [`SealedExchange`]s, whose leaves are already in the log, and the places of their bytes
//! in the journal; out come, for `ls`, `show` and `verify` in any process, the same exchanges and
//! the exact bytes. After [`Store::put`] returns, what it took is on disk and the journal's copy is
//! no longer needed.
//!
//! One SQLite database, `exchanges.db`, in WAL mode: one process writes, others read beside it.
//!
//! | table | one row is |
//! |---|---|
//! | `exchange` | an exchange by leaf index: its leaf's bytes, its id, boot, number, run and durations |
//! | `unit` | a head, trailers, interim answers or context: key and committed bytes |
//! | `body` | a body: key, dialect, SHA-256, and its recipe (see `recipe`) |
//! | `segment` | a content's keyed tag, where it is, how many recipes list it, which body last began with it |
//! | `content` | the bytes of one segment, compressed if that helps |
//! | `run` | a run's id and name |
//! | `retention` | leaves of the log whose exchanges' contents are destroyed (see `retention`) |
//! | `record` | a closed run's closing leaf and the signature of its record |
//!
//! Before a batch commits, every commitment is made anew from the bytes that were read and held
//! against the leaf: the journal's copy goes once the store has its own, so what is stored must be
//! what was sealed.
//!
//! It fails, naming the file, when the disk is full, the database is damaged or of a newer version;
//! a failed `put` leaves nothing behind and may be tried again. It never changes a record, drops
//! one only after a `retention` leaf has named it, never keeps a whole body in memory, and never lets a reader hold the database open for longer
//! than one row takes.
mod asides;
mod audit;
mod bound;
mod check;
mod commitment;
mod content;
mod error;
mod facts;
mod gone;
mod lookup;
mod names;
mod payload;
mod place;
mod reader;
mod recipe;
pub mod retention;
mod rows;
mod runs;
mod schema;
mod strays;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use crate::seal::sealed;
pub use asides::{KeptAside, MadeBy};
pub use audit::audit;
pub use bound::Beside;
pub use check::{Check, Finding};
pub use error::StoreError;
pub(crate) use facts::readable;
pub use lookup::{LeafLookup, Waiting};
pub use reader::{EachSegment, Found, RunFilter, StoreReader};
pub use retention::{Pruned, PrunedNow};
pub use rows::{StoredBody, StoredExchange, StoredRun, StoredUnit};
pub use runs::{RunSummary, StoredRecord};
pub use sealed::{Direction, ExtentSource, SealedBody, SealedExchange, SealedUnit, Segment, Slot};
pub use strays::Strays;
pub use writer::{Store, Stored};
