//! Places: numbers as SQLite keeps them, and where the rows of a leaf are.

use super::error::{Fault, Outcome};
use super::sealed::{Direction, Slot};

/// A number as SQLite keeps it; everything stored here lies below 2^53.
pub(super) fn signed(value: u64) -> Outcome<i64> {
    i64::try_from(value).map_err(|_| Fault::Corrupt(format!("{value} is beyond the format")))
}

/// A number read back from SQLite.
pub(super) fn unsigned(value: i64) -> Outcome<u64> {
    u64::try_from(value).map_err(|_| Fault::Corrupt(format!("a negative number, {value}")))
}

/// Where a unit's row is: eight places to a leaf.
pub(super) fn unit_place(leaf: u64, slot: Slot) -> Outcome<i64> {
    signed(leaf.saturating_mul(8).saturating_add(slot.code()))
}

/// Where a body's row is: two places to a leaf.
pub(super) fn body_place(leaf: u64, direction: Direction) -> Outcome<i64> {
    signed(leaf.saturating_mul(2).saturating_add(direction.code()))
}
