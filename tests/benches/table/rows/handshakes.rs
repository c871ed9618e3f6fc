//! TLS that begins: what a full handshake with a client takes, and how much later the first answer of
//! a new host comes than without anything in between.

use std::io::Result;

use serde_json::json;

use super::{Figures, sealed, stop};
use crate::distance::ROUND_TRIP;
use crate::process::Cpu;
use crate::setting::{Setting, load};
use crate::system::{Running, System};
use crate::upstream::distant;

/// Handshakes side by side.
const CONNECTIONS: u64 = 16;

/// Handshakes before those that are measured.
const FIRST: u64 = 100;

/// Measures `count` handshakes, each through a tunnel of its own to a host whose leaf is kept and
/// whose protocol is known. Nothing is asked for in them, and nothing is resumed; each tunnel has its
/// leaf, and CPU is counted until it does.
pub(super) fn measure(setting: &Setting, system: System, count: u64) -> Result<Figures> {
    let running = Running::start_tls(system, setting, &setting.secure)?;
    let (warm, count) = (1, setting.count(count));
    let leaves = running.leaves();
    let chat = [("request", 1024), ("answer", 1024), ("count", warm), ("connections", 1)];
    load(&running, "chats", &chat)?;
    sealed(&running, leaves + warm)?;
    let handshakes = |count: u64| {
        load(&running, "handshakes", &[("count", count), ("connections", CONNECTIONS)])
    };
    handshakes(FIRST)?;
    sealed(&running, leaves + warm + FIRST)?;
    let before = Cpu::of(running.pid()?)?;
    let said = handshakes(count)?;
    sealed(&running, leaves + warm + FIRST + count)?;
    let spent = Cpu::of(running.pid()?)?.since(&before);
    stop(setting, running, warm + FIRST + count)?;
    let seconds = said["seconds"].as_f64().unwrap_or(f64::INFINITY);
    let mut figures = Figures::new();
    figures.insert("per_s".to_owned(), json!(count as f64 / seconds));
    figures.insert("cpu_us".to_owned(), json!(spent.total * 1e6 / count as f64));
    Ok(figures)
}

/// Measures the first request to each of `count` hosts that are a round trip away: from before the
/// client connects until the answer's first byte.
pub(super) fn first_requests(setting: &Setting, system: System, count: u64) -> Result<Figures> {
    let host = |number| format!("{}:{}", distant(number), setting.distant);
    let running = Running::start_tls(system, setting, &host(0))?;
    let requests = |from: u64, count: u64| {
        let options = [("port", u64::from(setting.distant)), ("from", from), ("count", count)];
        load(&running, "first", &options)
    };
    // What a system lays in for its first connections of all is not the hosts'.
    let (warm, count) = (10, setting.count(count));
    requests(0, warm)?;
    let said = requests(warm, count)?;
    stop(setting, running, warm + count)?;
    let round_trips =
        |figure: &str| said[figure].as_f64().map(|micros| micros / 1e6 / ROUND_TRIP.as_secs_f64());
    let mut figures = Figures::new();
    figures.insert("p50_round_trips".to_owned(), json!(round_trips("p50_us")));
    figures.insert("p99_round_trips".to_owned(), json!(round_trips("p99_us")));
    Ok(figures)
}
