//! Readings: the executables of processes, as long as what was read holds.
//!
//! In: a process and when it connected. Out: the path of what it ran then, that nobody knows, or that it
//! cannot be told yet. What was read once is kept for what the process does next: it holds until it becomes
//! another program, and whatever it does settles what was read before.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use super::execs::{Holds, Noted, Settling, holds};
use super::process::{self, Found};
use crate::clock::boottime_ns;

/// Processes that are remembered.
const REMEMBERED: usize = 4096;

/// What was read, by process.
pub(super) struct Readings {
    noted: Box<dyn Noted>,
    known: HashMap<u32, Reading>,
}

/// One reading.
struct Reading {
    started: u64,
    path: String,
    /// Before it.
    before: u64,
    settling: Settling,
}

/// What a process does, and then what is noted of it.
#[derive(Clone)]
pub(super) struct Now {
    /// Before it was asked.
    pub(super) at: u64,
    pub(super) found: Found,
    pub(super) noted: Option<u64>,
}

/// The executable of a process when it connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Executable {
    /// It is this.
    Is(String),
    /// It is not known: the process is gone, or is another one.
    Unknown,
    /// It is not known, since it cannot be read, for this reason.
    Unread(String),
    /// It is not known, since the process may have become another program.
    Became,
    /// It is not known, since nothing is noted of that.
    Unnoted,
    /// It is not known yet.
    NotYet,
}

impl Executable {
    /// That of a process that was not found to be there, or not the same.
    fn of_none(found: &Found) -> Self {
        match found {
            Found::Unread(why) => Self::Unread(why.clone()),
            Found::There(_) | Found::Gone => Self::Unknown,
        }
    }

    /// The path, where it is known.
    pub(super) fn known(self) -> Option<String> {
        match self {
            Self::Is(path) => Some(path),
            _ => None,
        }
    }
}

impl Readings {
    pub(super) fn new(noted: Box<dyn Noted>) -> Self {
        Self { noted, known: HashMap::new() }
    }

    /// How a process is now.
    pub(super) fn now(&self, process: u32) -> Now {
        let at = boottime_ns();
        let found = process::found(process);
        // Behind what it was seen to do.
        Now { at, found, noted: self.noted.latest(process) }
    }

    /// What a process ran when it `connected`, by how it was afterwards; that is looked at anew where it is older
    /// than what is known by now.
    pub(super) fn of(&mut self, process: u32, connected: u64, now: &mut Now) -> Executable {
        if let Some(reading) = self.known.get_mut(&process) {
            // Whatever it does settles what was read before.
            reading.settling.went_on(connected);
            if reading.settling.is_behind(now.at) {
                *now = self.now(process);
            }
        }
        let stat = match &now.found {
            Found::There(stat) if stat.was_there(connected) => stat,
            found => return Executable::of_none(found),
        };
        if let Some(reading) = self.known.get_mut(&process)
            && reading.started == stat.started
            && now.noted.is_some_and(|noted| noted < reading.before)
        {
            reading.settling.add(now.at, stat);
            return reading.at(connected, now.noted);
        }
        let mut reading = match read(process, stat.started) {
            Ok(reading) => reading,
            Err(error) if process::is_gone(&error) => return Executable::Unknown,
            Err(error) => return Executable::Unread(error.to_string()),
        };
        for _ in 0..2 {
            *now = self.now(process);
            let stat = match &now.found {
                Found::There(stat) if stat.started == reading.started => stat,
                found => return Executable::of_none(found),
            };
            reading.settling.add(now.at, stat);
        }
        let executable = reading.at(connected, now.noted);
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(process, reading);
        executable
    }
}

impl Reading {
    fn at(&self, connected: u64, noted: Option<u64>) -> Executable {
        match holds(noted, connected, self.before, &self.settling) {
            Holds::Yes => Executable::Is(self.path.clone()),
            Holds::No => Executable::Became,
            Holds::Unnoted => Executable::Unnoted,
            Holds::NotYet => Executable::NotYet,
        }
    }
}

/// Reads it, of the process that started then.
fn read(process: u32, started: u64) -> io::Result<Reading> {
    let place = PathBuf::from(format!("/proc/{process}"));
    let before = boottime_ns();
    let path = process::executable_of(&place)?;
    let settling = Settling::after(boottime_ns());
    Ok(Reading { started, path, before, settling })
}

#[cfg(test)]
mod tests;
