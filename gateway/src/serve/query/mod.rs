//! Query: what `ls` and `show` print, from the store and from what is not in it yet.
//!
//! In come a [`StoreReader`] and an [`Overlay`] of exchanges that so far
//! are only in the journal; out go lines for people, or JSON. Works from any process, beside a
//! running writer. It never changes anything, never holds the whole list or a whole body in memory,
//! and lets no captured byte reach a terminal unescaped.

pub mod deflate;
mod detail;
mod error;
mod find;
mod json;
mod list;
mod maker;
mod octets;
mod overlay;
mod people;
mod show;
mod table;
mod tunnel;
mod units;
mod view;
pub mod websocket;

#[cfg(test)]
mod tests;

pub use detail::{BodyFacts, Detail, SealFacts};
pub use error::QueryError;
pub use maker::MakerView;
pub use overlay::{NothingPending, Overlay, PendingUnits};
pub use people::{Format, Paint};
pub use tunnel::{AlertView, TunnelView};
pub use units::Units;
pub(crate) use view::rfc3339 as time;
pub use view::{ExchangeView, MessageView, OPEN, Parts, PrunedView, ResponseView, RunView};

use std::path::Path;

use super::records;
use crate::store::StoreReader;

/// A data directory's exchanges, stored and pending.
pub struct Query<O> {
    store: Option<StoreReader>,
    overlay: O,
}

impl<O: Overlay> Query<O> {
    /// Opens the store in `directory`, if there is one, under `overlay`.
    ///
    /// # Errors
    ///
    /// There is a store and it cannot be opened.
    pub fn open(directory: &Path, overlay: O) -> Result<Self, QueryError> {
        Ok(Self { store: records::store(directory)?, overlay })
    }
}
