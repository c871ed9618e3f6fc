//! Restricted canonical JSON: the part of RFC 8785 that leaves and units are written in.
//!
//! In: bytes. Out: a [`Value`] that prints to those very bytes, or where they stop being canonical.
//! Strings, booleans, null, arrays, objects with ASCII member names, and integers from -(2^53-1) to
//! 2^53-1. No other number, no duplicate name, no nesting past [`MAX_DEPTH`], one text per value.

mod read;
#[cfg(test)]
mod tests;
mod value;
mod write;

pub use read::{JsonError, parse};
pub(crate) use read::{read, same};
pub use value::{FieldError, Members, Problem, Refusal, Value};
pub use write::{write_integer, write_octets, write_string, write_unsigned};

/// The largest integer that the format carries: 2^53-1.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 16;
