//! CPU of chats: requests and answers of one size, over kept connections, in a closed loop.
//!
//! The connections are there, and have carried chats, before anything is counted: what it takes to
//! begin one is a row of its own. sealtap's CPU is counted until every exchange has its leaf; the thread that compacts bodies into
//! the store afterwards is counted by itself, until it has nothing left to do.

use std::io::Result;

use serde_json::{Value, json};

use super::{Figures, sealed, stop, stored};
use crate::process::Cpu;
use crate::setting::{Loading, Setting};
use crate::system::{Running, System};

/// Connections of the load generator.
const CONNECTIONS: u64 = 32;

/// Measures `count` chats of so many bytes up and down.
pub(super) fn plain(
    setting: &Setting,
    system: System,
    sizes: (u64, u64),
    count: u64,
) -> Result<Figures> {
    measure(setting, Running::start(system, setting)?, sizes, count)
}

/// As [`plain`], through tunnels that `system` opens: TLS from the client and TLS to the upstream.
pub(super) fn over_tls(
    setting: &Setting,
    system: System,
    sizes: (u64, u64),
    count: u64,
) -> Result<Figures> {
    let running = Running::start_tls(system, setting, &setting.secure)?;
    measure(setting, running, sizes, count)
}

fn measure(
    setting: &Setting,
    running: Running,
    (request, answer): (u64, u64),
    count: u64,
) -> Result<Figures> {
    let system = running.system;
    let count = system.share(setting.count(count));
    let warm = system.share(500);
    let leaves = running.leaves();
    let options = [
        ("request", request),
        ("answer", answer),
        ("warm", warm),
        ("count", count),
        ("connections", CONNECTIONS),
    ];
    let mut chats = Loading::start(&running, "chats", &options)?;
    chats.said()?;
    if system.seals() {
        sealed(&running, leaves + warm)?;
        stored(&running)?;
    }
    let (before, leaves) = (Cpu::of(running.pid()?)?, running.leaves());
    chats.go_on()?;
    let said = chats.said()?;
    if system.seals() {
        sealed(&running, leaves + count)?;
    }
    let spent = Cpu::of(running.pid()?)?.since(&before);
    chats.finish()?;
    let scale = 10_000.0 / count as f64;
    let mut figures = Figures::new();
    let seconds = said["seconds"].as_f64().unwrap_or_default();
    figures.insert("cpu_s".to_owned(), json!((spent.total - spent.thread("store")) * scale));
    figures.insert("per_s".to_owned(), json!(count as f64 / seconds));
    if system.seals() {
        let stored = stored(&running)?.since(&before).thread("store");
        let megabytes = (count * (request + answer)) as f64 / 1e6;
        figures.insert("store_cpu_s".to_owned(), json!(stored * scale));
        figures.insert("store_ms_per_mb".to_owned(), json!(stored * 1e3 / megabytes));
    }
    let threads = spent.threads.iter().map(|(name, spent)| (name.clone(), json!(spent * scale)));
    figures.insert("threads".to_owned(), Value::Object(threads.collect()));
    stop(setting, running, warm + count)?;
    Ok(figures)
}
