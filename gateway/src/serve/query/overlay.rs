//! Overlay: exchanges that are in the journal and not, or not for certain, in the store.

use std::io::{self, Write};

use super::view::ExchangeView;
use crate::store::{Direction, Slot};

/// The units of one exchange, by slot, as their committed bytes will be.
pub type PendingUnits = Vec<(Slot, Vec<u8>)>;

/// Rows, units and bytes of exchanges that the store may not have yet.
///
/// An exchange may move into the store at any moment; then the store's row is shown, and an overlay
/// that no longer knows it answers `None`.
pub trait Overlay {
    /// Every such exchange, in the order they started.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    fn rows(&mut self) -> io::Result<Vec<ExchangeView>>;

    /// The units of one of them.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    fn units(&mut self, id: &[u8; 16]) -> io::Result<Option<PendingUnits>>;

    /// Writes the bytes captured so far of one body to `out`; gives how many.
    ///
    /// # Errors
    ///
    /// The journal cannot be read, or what `out` says, as it is.
    fn write_body(
        &mut self,
        id: &[u8; 16],
        direction: Direction,
        out: &mut dyn Write,
    ) -> io::Result<Option<u64>>;
}

/// The overlay of a data directory whose journal holds nothing more than the store.
#[derive(Clone, Copy, Debug, Default)]
pub struct NothingPending;

impl Overlay for NothingPending {
    fn rows(&mut self) -> io::Result<Vec<ExchangeView>> {
        Ok(Vec::new())
    }

    fn units(&mut self, _: &[u8; 16]) -> io::Result<Option<PendingUnits>> {
        Ok(None)
    }

    fn write_body(
        &mut self,
        _: &[u8; 16],
        _: Direction,
        _: &mut dyn Write,
    ) -> io::Result<Option<u64>> {
        Ok(None)
    }
}
