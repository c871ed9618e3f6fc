//! The kernel's part: what its programs cost those that they watch, and those that they do not.
//!
//! The programs are the gateway's own, loaded and attached here as its loader does it, so that they can be
//! taken away between two measurements of one run. What is in scope is a process in a cgroup that is made for it.

mod counting;
mod programs;
mod scope;
mod worker;

use std::io::{Error, Result};

pub(crate) use self::counting::Counting;
pub(crate) use self::programs::{PACKETS, Programs, Spent};
pub(crate) use self::scope::Scope;
pub(crate) use self::worker::{Work, Worker, work};

/// Whatever the kernel or its library says, as an error of input and output.
fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::other(error)
}

/// The middle one.
pub(crate) fn median(mut values: Vec<f64>) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().ok_or_else(|| Error::other("nothing was measured"))
}
