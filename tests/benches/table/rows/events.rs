//! Event streams: CPU and age of each event, and what a stream costs that is only held open.

use std::io::Result;

use serde_json::{Value, json};

use super::{Figures, sealed, stop};
use crate::process::{Cpu, resident};
use crate::setting::{Loading, Setting, load};
use crate::system::{Running, System};

/// Streams side by side, and microseconds between two events of each: 5,000 events a second.
const STREAMS: u64 = 100;
const DISTANCE: u64 = 20_000;

/// Microseconds between two events of a stream that is held.
const HELD_DISTANCE: u64 = 5_000_000;

/// Measures streams of `count` events each.
pub(super) fn measure(setting: &Setting, system: System, count: u64) -> Result<Figures> {
    let running = Running::start(system, setting)?;
    let streams = |streams: u64, count: u64| {
        let options = [("streams", streams), ("count", count), ("distance", DISTANCE)];
        load(&running, "events", &options)
    };
    let direct = system == System::Direct;
    let usage = || if direct { Ok(Cpu::default()) } else { Cpu::of(running.pid()?) };
    let count = setting.count(count);
    let leaves = running.leaves();
    streams(STREAMS, 10)?;
    if system.seals() {
        sealed(&running, leaves + STREAMS)?;
    }
    let (before, leaves) = (usage()?, running.leaves());
    let said = streams(STREAMS, count)?;
    if system.seals() {
        sealed(&running, leaves + STREAMS)?;
    }
    let spent = usage()?.since(&before);
    let scale = 10_000.0 / (STREAMS * count) as f64;
    let mut figures = Figures::new();
    if !direct {
        figures.insert("cpu_s".to_owned(), json!((spent.total - spent.thread("store")) * scale));
        let threads = spent.threads.iter();
        let threads = threads.map(|(name, spent)| (name.clone(), json!(spent * scale)));
        figures.insert("threads".to_owned(), Value::Object(threads.collect()));
    }
    figures.insert("p50_us".to_owned(), json!(said["p50_us"]));
    figures.insert("p99_us".to_owned(), json!(said["p99_us"]));
    stop(setting, running, 2 * STREAMS)?;
    Ok(figures)
}

/// Measures the memory of `streams` streams that are held open.
pub(super) fn hold(setting: &Setting, system: System, streams: u64) -> Result<Figures> {
    let running = Running::start(system, setting)?;
    // What the first few exchanges make a system lay in is not the streams'.
    load(&running, "events", &[("streams", 8), ("count", 2), ("distance", 1000)])?;
    if system.seals() {
        sealed(&running, 8)?;
    }
    let before = resident(running.pid()?)?;
    let options = [("streams", streams), ("distance", HELD_DISTANCE)];
    let mut loading = Loading::start(&running, "hold", &options)?;
    loading.said()?;
    // A second event for everyone, so that what is measured is a stream in its stride.
    std::thread::sleep(std::time::Duration::from_micros(HELD_DISTANCE + 500_000));
    let after = resident(running.pid()?)?;
    loading.finish()?;
    stop(setting, running, 8 + streams)?;
    let mut figures = Figures::new();
    let grown = after.saturating_sub(before) as f64;
    figures.insert("streams".to_owned(), json!(streams));
    figures.insert("kb_per_stream".to_owned(), json!(grown / 1e3 / streams as f64));
    figures.insert("mb".to_owned(), json!(after as f64 / 1e6));
    Ok(figures)
}
