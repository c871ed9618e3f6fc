//! What a process and its children have used, as the kernel counts it.
//!
//! CPU comes from each thread's run time in nanoseconds (`schedstat`), so that a short run is not
//! measured in ticks of 10 ms. Where threads have ended in between, whose time that loses, the
//! process's own sum (`stat`) is taken instead.

use std::collections::BTreeMap;
use std::fs;
use std::io::Result;

/// Ticks a second in `stat`: USER_HZ, which is 100 on every Linux that runs this.
const TICKS: f64 = 100.0;

/// CPU seconds so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cpu {
    /// Of the whole tree.
    pub(crate) total: f64,
    /// By the names of threads.
    pub(crate) threads: BTreeMap<String, f64>,
}

impl Cpu {
    /// What `pid` and its children have used.
    pub(crate) fn of(pid: u32) -> Result<Self> {
        let (mut cpu, mut by_thread, mut by_process) = (Self::default(), 0.0, 0.0);
        for pid in tree(pid)? {
            by_process += process_seconds(pid)?;
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let task = task?.path();
                // A thread may end while it is looked at.
                let Ok(schedule) = fs::read_to_string(task.join("schedstat")) else { continue };
                let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
                let ran = schedule.split(' ').next().and_then(|ran| ran.parse::<f64>().ok());
                let seconds = ran.unwrap_or_default() / 1e9;
                by_thread += seconds;
                *cpu.threads.entry(name.trim().to_owned()).or_default() += seconds;
            }
        }
        cpu.total = if by_process > by_thread + 0.05 { by_process } else { by_thread };
        Ok(cpu)
    }

    /// What was used since `earlier`.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |name: &String| earlier.threads.get(name).copied().unwrap_or_default();
        let threads = self.threads.iter();
        Self {
            total: self.total - earlier.total,
            threads: threads.map(|(name, spent)| (name.clone(), spent - before(name))).collect(),
        }
    }

    /// Of threads called `name`.
    pub(crate) fn thread(&self, name: &str) -> f64 {
        self.threads.get(name).copied().unwrap_or_default()
    }
}

/// Resident memory of `pid` and its children, in bytes.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    let of = |pid: u32| -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        Ok(kilobytes.unwrap_or_default() * 1024)
    };
    tree(pid)?.into_iter().map(of).sum()
}

fn process_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold blanks; utime and stime are fields 14 and 15.
    let fields = stat.rsplit_once(") ").map(|(_, fields)| fields).unwrap_or_default();
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    Ok(ticks.sum::<f64>() / TICKS)
}

/// `pid` and everything below it.
fn tree(pid: u32) -> Result<Vec<u32>> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let children = fs::read_to_string(task?.path().join("children"))?;
            all.extend(children.split_ascii_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    Ok(all)
}
