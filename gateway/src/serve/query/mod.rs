//! Query: what `ls` and `show` print, from the store and from what is not in it yet.
//!
//! In come a [`StoreReader`](crate::store::StoreReader) and an [`Overlay`] of exchanges that so far
//! are only in the journal; out go lines for people, or JSON. Works from any process, beside a
//! running writer. It never changes anything, never holds the whole list or a whole body in memory,
//! and lets no captured byte reach a terminal unescaped.

mod body;
mod detail;
mod error;
mod list;
mod octets;
mod overlay;
mod people;
mod show;
mod units;
mod view;
pub mod websocket;

#[cfg(test)]
mod tests;

pub use body::write_body;
pub use detail::Detail;
pub use error::QueryError;
pub use list::list;
pub use overlay::{NothingPending, Overlay};
pub use people::{Format, Paint};
pub use show::{find, show};
pub use units::Units;
pub use view::{ExchangeView, MessageView, OPEN, Parts, ResponseView, RunView};
