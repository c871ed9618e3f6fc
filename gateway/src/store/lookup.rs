//! Look-up: what a check asks of the log, and of the journal where the store has nothing.

use std::io;

use sealtap_common::commit::Unit;
use sealtap_common::leaf::{Exchange, Ranges};

/// What is known of an exchange that the store does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing: it is not in the journal either.
    No,
    /// It is in the journal, and there it is what was sealed.
    AsSealed,
    /// It is in the journal, and differs from what was sealed: how.
    Otherwise(String),
}

/// Where the log's leaves are looked up, and what the store does not have yet.
pub trait LeafLookup {
    /// The bytes of the leaf with this index.
    ///
    /// # Errors
    ///
    /// Whatever stops the look-up.
    fn leaf(&mut self, index: u64) -> io::Result<Vec<u8>>;

    /// What the journal has of the exchange of the leaf with this index.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    fn waiting(&mut self, index: u64, bytes: &[u8], leaf: &Exchange) -> io::Result<Waiting> {
        let _ = (index, bytes, leaf);
        Ok(Waiting::No)
    }

    /// What statements of retention name that were published since, in leaves from index `size` on.
    /// They are not checked.
    ///
    /// # Errors
    ///
    /// Whatever stops the look-up.
    fn stated_since(&mut self, size: u64) -> io::Result<Vec<Ranges>> {
        let _ = size;
        Ok(Vec::new())
    }

    /// Whether the journal has this unit of a leaf that is none of an exchange.
    ///
    /// # Errors
    ///
    /// The journal cannot be read.
    fn keeps(&mut self, unit: &Unit) -> io::Result<bool> {
        let _ = unit;
        Ok(false)
    }
}

impl<F: FnMut(u64) -> io::Result<Vec<u8>>> LeafLookup for F {
    fn leaf(&mut self, index: u64) -> io::Result<Vec<u8>> {
        self(index)
    }
}
