//! Leaves: how many are sealed a second, with HTTP in front and without, and verified a second.

use std::io::{Error, Result};
use std::process::Command;
use std::time::Instant;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

use super::{Figures, sealed, stop};
use crate::setting::{Setting, load};
use crate::system::{Running, System};

/// Connections of the load generator.
const CONNECTIONS: u64 = 64;

/// Measures `count` exchanges without bodies, as fast as the gateway takes them.
pub(super) fn flood(setting: &Setting, system: System, count: u64) -> Result<Figures> {
    let running = Running::start(system, setting)?;
    let chats = |count: u64| {
        let options =
            [("request", 0), ("answer", 0), ("count", count), ("connections", CONNECTIONS)];
        load(&running, "chats", &options)
    };
    let (warm, count) = (500, setting.count(count));
    let leaves = running.leaves();
    chats(warm)?;
    sealed(&running, leaves + warm)?;
    let leaves = running.leaves();
    let began = Instant::now();
    chats(count)?;
    sealed(&running, leaves + count)?;
    let seconds = began.elapsed().as_secs_f64();
    stop(setting, running, warm + count)?;
    let mut figures = Figures::new();
    figures.insert("sealed_per_s".to_owned(), json!(count as f64 / seconds));
    Ok(figures)
}

/// Measures journal, seal and log by themselves with `count` exchanges, then how fast the log they
/// made is verified on one core.
pub(super) fn alone(setting: &Setting, count: u64) -> Result<Figures> {
    let home = tempfile::Builder::new().prefix("sealing-").tempdir_in(&setting.scratch)?;
    let (data, count) = (home.path().join("data"), setting.count(count));
    let mut command = Command::new(std::env::current_exe()?);
    let command = command.arg("sealing").arg(&data).arg(count.to_string());
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::other("journal, seal and log failed by themselves"))?;
    let seconds = said["seconds"].as_f64().unwrap_or(f64::INFINITY);
    let mut figures = Figures::new();
    figures.insert("sealed_per_s".to_owned(), json!(count as f64 / seconds));

    let keys = Command::new(&setting.sealtap).arg("keys").arg("--data").arg(&data).output()?;
    let path = home.path().join("keys.txt");
    std::fs::write(&path, &keys.stdout)?;
    // What is started now inherits the one core.
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).rfind(|core| all.is_set(*core)).unwrap_or_default());
    sched_setaffinity(None, &one)?;
    let began = Instant::now();
    let verify =
        Command::new(&setting.verifier).arg(data.join("log")).arg("--key").arg(path).output();
    let seconds = began.elapsed().as_secs_f64();
    sched_setaffinity(None, &all)?;
    let verify = verify?;
    let said = String::from_utf8_lossy(&verify.stdout).into_owned();
    if !verify.status.success() || !said.contains(&format!("holds: {count} exchange")) {
        return Err(Error::other(format!("not {count} exchanges in a valid log: {said}")));
    }
    figures.insert("verified_per_s".to_owned(), json!(count as f64 / seconds));
    Ok(figures)
}
