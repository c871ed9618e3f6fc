//! How long it takes until somebody else vouches for an exchange: from its end, as its leaf has it, to
//! the cosigned checkpoint on disk that covers that leaf, by a real `sealtap witness`.
//!
//! A cosigned checkpoint is what a receipt needs beside an inclusion proof, which anybody can make from
//! the tiles. Its file is looked at every few milliseconds, which is what the figures may be too long.

use std::io::{BufRead as _, BufReader, Error, Result};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sealtap::data::DataDir;
use sealtap::seal::keys::Keys;
use sealtap::seal::log::read_entries;
use sealtap_common::leaf::Leaf;
use serde_json::json;

use super::{Figures, PATIENCE, sealed, stop_under};
use crate::setting::{Setting, load};
use crate::system::{Running, System};

/// Requests a second when there is little to do.
const IDLE_RATE: u64 = 10;
/// Connections under load.
const CONNECTIONS: u64 = 32;
/// Bytes of each body.
const SIZE: u64 = 1 << 10;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(4);

/// Measures so many exchanges at a low rate, then so many as fast as they are answered.
pub(super) fn measure(
    setting: &Setting,
    system: System,
    (idle, loaded): (u64, u64),
) -> Result<Figures> {
    let mut witness = None;
    let running = Running::start_with(system, setting, |home| {
        let (started, config) = Witness::start(setting, home)?;
        witness = Some(started);
        Ok(config)
    })?;
    let (warm, idle, loaded) = (50, setting.count(idle), setting.count(loaded));
    let paced = |count, rate| {
        load(&running, "paced", &[("size", SIZE), ("rate", rate), ("count", count)]).map(drop)
    };
    paced(warm, 50)?;
    let watch = Watch::start(&running.data());
    let from = running.leaves();
    paced(idle, IDLE_RATE)?;
    sealed(&running, from + idle)?;
    let between = micros();
    let options =
        [("request", SIZE), ("answer", SIZE), ("count", loaded), ("connections", CONNECTIONS)];
    load(&running, "chats", &options)?;
    let last = ended(&running, warm + idle + loaded)?;
    let seen = watch.finish(last.last().map_or(0, |(index, _)| index + 1))?;

    let times = |wanted: &dyn Fn(u64) -> bool| -> Result<Vec<f64>> {
        let mut times = Vec::new();
        for (index, ended) in last.iter().filter(|(_, ended)| wanted(*ended)) {
            let at = seen.partition_point(|(_, size)| size <= index);
            let (when, _) = seen.get(at).ok_or_else(|| Error::other("a leaf nobody cosigned"))?;
            times.push(when.saturating_sub(*ended) as f64 / 1e6);
        }
        times.sort_by(f64::total_cmp);
        Ok(times)
    };
    // What came before anybody watched is left out.
    let began = seen.first().map_or(0, |(when, _)| *when);
    let at_rest = times(&|ended| ended > began && ended < between)?;
    let under_load = times(&|ended| ended > between)?;
    let mut figures = Figures::new();
    for (name, times) in [("idle", &at_rest), ("load", &under_load)] {
        for (share, quantile) in [(0.5, "p50_s"), (0.99, "p99_s")] {
            let index = (times.len() as f64 * share) as usize;
            let value = times.get(index.min(times.len().saturating_sub(1)));
            figures.insert(format!("{name}_{quantile}"), json!(value));
        }
        figures.insert(format!("{name}_count"), json!(times.len()));
    }
    let policy = running.data().with_file_name("witnesses.policy");
    stop_under(setting, running, warm + idle + loaded, Some(&policy))?;
    drop(witness);
    Ok(figures)
}

/// When each of `count` exchanges ended, by its leaf's index, once all are sealed.
fn ended(running: &Running, count: u64) -> Result<Vec<(u64, u64)>> {
    let began = Instant::now();
    loop {
        let leaves = read_entries(&running.data().join("log"), 0..running.leaves());
        let leaves = leaves.map_err(Error::other)?;
        let ended: Vec<(u64, u64)> = (0_u64..)
            .zip(leaves)
            .filter_map(|(index, leaf)| match Leaf::decode(&leaf) {
                Ok(Leaf::Exchange(leaf)) => Some((index, leaf.ended)),
                _ => None,
            })
            .collect();
        if ended.len() as u64 >= count {
            return Ok(ended);
        }
        if began.elapsed() > PATIENCE {
            return Err(Error::other(format!("{} of {count} exchanges are sealed", ended.len())));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Now, in microseconds since the Unix epoch.
fn micros() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// Looks at the cosigned checkpoint, and notes when it covers how much.
struct Watch {
    stop: Arc<AtomicBool>,
    path: std::path::PathBuf,
    thread: JoinHandle<Vec<(u64, u64)>>,
}

impl Watch {
    fn start(data: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let path = data.join("witness/checkpoint");
        let (stopped, looked_at) = (Arc::clone(&stop), path.clone());
        let thread = std::thread::spawn(move || {
            let mut seen = Vec::new();
            let mut last = 0;
            while !stopped.load(Ordering::Relaxed) {
                let size = size_in(&looked_at);
                if size > last {
                    seen.push((micros(), size));
                    last = size;
                }
                std::thread::sleep(LOOK);
            }
            seen
        });
        Self { stop, path, thread }
    }

    /// Stops once so many leaves are cosigned.
    fn finish(self, leaves: u64) -> Result<Vec<(u64, u64)>> {
        let began = Instant::now();
        while size_in(&self.path) < leaves {
            if began.elapsed() > PATIENCE {
                return Err(Error::other("the witness does not cosign what is there"));
            }
            std::thread::sleep(LOOK);
        }
        std::thread::sleep(LOOK * 4);
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| Error::other("nobody watched"))
    }
}

/// Leaves that a checkpoint covers; none where there is no file.
fn size_in(checkpoint: &Path) -> u64 {
    let text = std::fs::read_to_string(checkpoint).unwrap_or_default();
    text.lines().nth(1).and_then(|size| size.parse().ok()).unwrap_or_default()
}

/// A running `sealtap witness`.
struct Witness(Child);

impl Witness {
    /// Makes the log's keys in `home`, starts a witness that knows them, and writes the policy; gives
    /// what the gateway's configuration says of it.
    fn start(setting: &Setting, home: &Path) -> Result<(Self, String)> {
        let data = DataDir::new(home.join("data"));
        let writer = data.become_writer().map_err(Error::other)?;
        drop(Keys::load_or_create(&data.keys(), None).map_err(Error::other)?);
        drop(writer);
        let mut keys = Command::new(&setting.sealtap);
        let keys = keys.arg("keys").arg("--data").arg(data.root()).output()?;
        std::fs::write(home.join("log-keys.txt"), &keys.stdout)?;
        let mut command = Command::new(&setting.sealtap);
        command.arg("witness").arg("--data").arg(home.join("witness"));
        command.args(["--listen", "127.0.0.1:0", "--log"]).arg(home.join("log-keys.txt"));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let out = child.stdout.take().ok_or_else(|| Error::other("no standard output"))?;
        let started = Self(child);
        let mut lines = BufReader::new(out).lines();
        let mut line = || lines.next().transpose()?.ok_or_else(|| Error::other("no witness"));
        let (vkey, policy, _listening) = (line()?, line()?, line()?);
        let name = vkey.split('+').next().unwrap_or_default();
        let path = home.join("witnesses.policy");
        std::fs::write(&path, format!("{policy}\nquorum {name}\n"))?;
        Ok((started, format!("[witness]\npolicy = {path:?}\n")))
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // What it remembers goes with the scratch directory.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
