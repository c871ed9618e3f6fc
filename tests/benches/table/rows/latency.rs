//! What a system adds to the time until the first byte of an answer, at a rate that is no burden.

use std::io::Result;

use serde_json::json;

use super::{Figures, stop};
use crate::setting::{Setting, load};
use crate::system::{Running, System};

/// Requests a second.
const RATE: u64 = 200;

/// Measures `count` chats of `size` bytes each way.
pub(super) fn measure(setting: &Setting, system: System, size: u64, count: u64) -> Result<Figures> {
    let running = Running::start(system, setting)?;
    let chats =
        |count: u64| load(&running, "paced", &[("size", size), ("rate", RATE), ("count", count)]);
    let (warm, count) = (100, setting.count(count));
    chats(warm)?;
    let said = chats(count)?;
    stop(setting, running, warm + count)?;
    let mut figures = Figures::new();
    figures.insert("p50_us".to_owned(), json!(said["p50_us"]));
    figures.insert("p99_us".to_owned(), json!(said["p99_us"]));
    Ok(figures)
}
