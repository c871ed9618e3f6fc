//! What the command leaves behind: waited for, within a bound, and named.
//!
//! In: how long to wait. Out: the processes that still run, by id and name. They are read from
//! `/proc`; a process that ends while it is looked at is not one that still runs.

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{WaitOptions, wait};

use super::signals::Watching;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// How long it may take before a word is said about it.
const SILENT: Duration = Duration::from_secs(1);

/// A process that descends from the command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Its id.
    pub(super) id: u32,
    /// Its name, as the kernel has it: at most 15 bytes.
    pub(super) name: String,
}

/// Waits until nothing of the command runs, at most for `bound`; gives what does. `own` is a child of
/// this process that is none of the command's.
pub(super) fn wait_for(bound: Duration, watching: &Watching, own: Option<u32>) -> Vec<Process> {
    let began = Instant::now();
    let mut said = false;
    let running = || {
        let mut running = running();
        running.retain(|process| Some(process.id) != own);
        running
    };
    let any_child = || any_child() && (own.is_none() || !running().is_empty());
    while any_child() && began.elapsed() < bound && !watching.is_hurried() {
        if !said && began.elapsed() >= SILENT {
            said = true;
            say(&running(), bound);
        }
        sleep(PAUSE);
    }
    if any_child() { running() } else { Vec::new() }
}

/// Takes notice of children that have ended; whether there are any others.
fn any_child() -> bool {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

fn say(left: &[Process], bound: Duration) {
    let left: Vec<_> = left.iter().map(Process::to_string).collect();
    let mut error = anstream::stderr().lock();
    // Where standard error is gone there is nobody to tell.
    let _ = writeln!(
        error,
        "sealtap: waiting up to {} s for what the command left running: {}; Ctrl-C ends the wait",
        bound.as_secs(),
        left.join(", ")
    );
}

impl std::fmt::Display for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.id)
    }
}

/// Every process below this one, by id.
pub(super) fn running() -> Vec<Process> {
    let mut children: HashMap<u32, Vec<Process>> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
        let Some(id) = id else { continue };
        let stat = fs::read(entry.path().join("stat")).unwrap_or_default();
        if let Some((name, parent)) = parse(&String::from_utf8_lossy(&stat)) {
            children.entry(parent).or_default().push(Process { id, name });
        }
    }
    let mut found = Vec::new();
    let mut open = vec![std::process::id()];
    while let Some(parent) = open.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            open.push(child.id);
            found.push(child);
        }
    }
    found.sort_by_key(|process| process.id);
    found
}

/// Name and parent of a process that has not ended (proc_pid_stat(5)). The name stands in brackets
/// and may hold any byte.
fn parse(stat: &str) -> Option<(String, u32)> {
    let (before, after) = stat.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    let mut fields = after.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let plain = |c: char| if c.is_control() { '?' } else { c };
    (!matches!(state, "Z" | "X")).then(|| (name.chars().map(plain).collect(), parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_tells_its_name_and_parent() {
        assert_eq!(parse("7 (a) b) S 3 7 7"), Some(("a) b".to_owned(), 3)));
        assert_eq!(parse("7 (gone) Z 3 7 7"), None);
        assert_eq!(parse("7 (\u{1b}[2J) R 1 7"), Some(("?[2J".to_owned(), 1)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn a_child_and_its_child_are_found() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sleep 60 & echo $!; wait"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut line).unwrap();
        // By its id: its name comes a moment later, and other tests have children of that name.
        let sleeping: u32 = line.trim().parse().unwrap();
        let found = running();
        for id in [child.id(), sleeping] {
            assert!(found.iter().any(|process| process.id == id), "{id} in {found:?}");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let id = i32::try_from(sleeping).unwrap();
        let id = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::KILL).unwrap();
    }
}
