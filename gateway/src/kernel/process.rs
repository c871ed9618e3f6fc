//! Process: who connected, read from `/proc` while it is still there.
//!
//! In: a process's number and when it connected. Out: who it is; nothing where the process is gone,
//! or where one that began later has its number. What cannot be read is left out, never guessed; of a process that
//! is there it is said what that was, and why.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::cgroup::of_process;
use super::message::Process;
use super::unread::Unread;

/// Nanoseconds of a clock tick as `/proc` has them: `USER_HZ` is 100 on every machine with Linux.
const TICK: u64 = 10_000_000;

/// Room for what `/proc/PID/stat` says, in bytes.
const STAT: usize = 1024;

/// What is said of a process that is not found, and may be there.
pub(super) const STATE: &str = "stat";

/// The longest command line that is kept, in bytes.
const COMMAND: usize = 4096;

/// What a process is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stat {
    /// When it started, in ticks since the machine did.
    pub(super) started: u64,
    /// Whether it waits for something that it need not have.
    pub(super) sleeps: bool,
    /// Its threads.
    pub(super) threads: u64,
    /// Whether the code that it runs has an address.
    pub(super) mapped: bool,
    /// The processor time that it has spent, in ticks.
    pub(super) spent: u64,
}

impl Stat {
    /// Whether it was there then.
    pub(super) fn was_there(&self, connected: u64) -> bool {
        was_there(self.started, connected)
    }
}

/// Whether a process that started then was there when it is said to have connected.
pub(super) fn was_there(started: u64, connected: u64) -> bool {
    started.saturating_mul(TICK) <= connected
}

/// The process of that number, if it was there at `connected` (`CLOCK_BOOTTIME`, nanoseconds); and what
/// could not be read of it though it was. Nothing that is read here can be kept waiting by the process; what may
/// be, and what it may have changed, is left out.
pub(super) fn see(process: u32, connected: u64) -> (Option<Process>, Vec<Unread>) {
    let place = PathBuf::from(format!("/proc/{process}"));
    let mut unread = Vec::new();
    let stat = read(&mut unread, STATE, stat_of(&place));
    let Some(stat) = stat.filter(|stat| stat.was_there(connected)) else {
        return (None, unread);
    };
    read(&mut unread, "executable", executable_of(&place));
    let listed = read(&mut unread, "cgroup", fs::read_to_string(place.join("cgroup")));
    let namespace = read(&mut unread, "network namespace", fs::metadata(place.join("ns/net")));
    let process = Process {
        started: stat.started,
        executable: None, // As it was then: see `readings`.
        digest: None,
        cgroup: listed.as_deref().and_then(of_process).map(str::to_owned),
        namespace: namespace.map(|namespace| namespace.ino()),
        command: None, // See `contents`, as for the digest.
    };
    // What was read is of one process only if that is still there.
    let mut untold = Vec::new();
    match read(&mut untold, STATE, stat_of(&place)) {
        Some(now) if now.started == stat.started => (Some(process), unread),
        _ => (None, untold),
    }
}

/// What a look at a process found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is there, and does this.
    There(Stat),
    /// It is gone.
    Gone,
    /// Neither is known, for this reason.
    Unread(String),
}

impl Found {
    /// What it does, as far as that was read.
    pub(super) fn there(&self) -> Option<&Stat> {
        match self {
            Self::There(stat) => Some(stat),
            Self::Gone | Self::Unread(_) => None,
        }
    }
}

impl From<io::Result<Stat>> for Found {
    fn from(read: io::Result<Stat>) -> Self {
        match read {
            Ok(stat) => Self::There(stat),
            Err(error) if is_gone(&error) => Self::Gone,
            Err(error) => Self::Unread(error.to_string()),
        }
    }
}

/// What a process is doing.
pub(super) fn found(process: u32) -> Found {
    stat_of(&PathBuf::from(format!("/proc/{process}"))).into()
}

/// The path of its executable, as it is now.
pub(super) fn executable_of(place: &Path) -> io::Result<String> {
    Ok(fs::read_link(place.join("exe"))?.to_string_lossy().into_owned())
}

/// What was read; of what was not, why, unless that says that the process is gone.
pub(super) fn read<T>(unread: &mut Vec<Unread>, what: &str, result: io::Result<T>) -> Option<T> {
    let error = match result {
        Ok(read) => return Some(read),
        Err(error) => error,
    };
    if !is_gone(&error) {
        unread.push(Unread { what: what.to_owned(), why: error.to_string() });
    }
    None
}

/// Whether an error says that there is no such process. No other one does: not that this process has too many files
/// open, nor that the system has no memory.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

/// When a process started, in ticks since the machine did; none where there is none, or that cannot be read.
pub(super) fn started_at(process: u32) -> Option<u64> {
    found(process).there().map(|stat| stat.started)
}

/// What it is doing.
pub(super) fn stat_of(place: &Path) -> io::Result<Stat> {
    // Told as a whole, and with room for it in one piece.
    let mut stat = Vec::with_capacity(STAT);
    File::open(place.join("stat"))?.read_to_end(&mut stat)?;
    let odd = || io::Error::other("what the system says of the process is in no known form");
    read_stat(&String::from_utf8_lossy(&stat)).ok_or_else(odd)
}

/// The fields of `/proc/PID/stat` that are of use (proc_pid_stat(5)); the name before them may hold any byte.
pub(super) fn read_stat(stat: &str) -> Option<Stat> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_ascii_whitespace().collect();
    // By its number there: what follows the name is the third.
    let field = |number: usize| fields.get(number.checked_sub(3)?).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    Some(Stat {
        started: number(22)?,
        // Not `D`: whatever the system does for a process may wait so.
        sleeps: matches!(field(3), Some("S" | "T" | "t")),
        threads: number(20)?,
        mapped: number(26)? != 0,
        spent: number(14)?.checked_add(number(15)?)?,
    })
}

/// Its command line, which its own memory holds.
pub(super) fn command(place: &Path) -> io::Result<Vec<u8>> {
    let mut command = Vec::new();
    let most = u64::try_from(COMMAND).unwrap_or_default();
    File::open(place.join("cmdline"))?.take(most).read_to_end(&mut command)?;
    Ok(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_told_apart_from_what_is_gone() {
        let mut unread = Vec::new();
        for gone in [Errno::NOENT, Errno::SRCH] {
            assert_eq!(read::<()>(&mut unread, "x", Err(gone.into())), None);
        }
        assert_eq!(read(&mut unread, "x", Ok(7)), Some(7));
        assert_eq!(unread, []);
        assert_eq!(read::<()>(&mut unread, "cgroup", Err(Errno::ACCESS.into())), None);
        assert_eq!((unread.len(), unread[0].what.as_str()), (1, "cgroup"));
        for gone in [Errno::NOENT, Errno::SRCH] {
            assert_eq!(Found::from(Err(gone.into())), Found::Gone);
        }
        for failed in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::IO, Errno::ACCESS] {
            let found = Found::from(Err(failed.into()));
            assert!(matches!(&found, Found::Unread(why) if !why.is_empty()), "{found:?}");
        }
    }

    /// What is in the place of `stat` here is no file of a process, and nobody is gone for that.
    #[test]
    fn what_says_nothing_of_a_process_is_no_end_of_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Found::from(stat_of(folder.path())), Found::Gone);
        fs::write(folder.path().join("stat"), "7 (a").unwrap();
        assert!(matches!(Found::from(stat_of(folder.path())), Found::Unread(_)));
        fs::remove_file(folder.path().join("stat")).unwrap();
        fs::create_dir(folder.path().join("stat")).unwrap();
        assert!(matches!(Found::from(stat_of(folder.path())), Found::Unread(_)));
    }

    #[test]
    fn what_a_process_does_is_read_behind_its_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 3 4 0 0 20 0 2 0 4711 0 0 0 77 0";
        let read = Stat { started: 4711, sleeps: true, threads: 2, mapped: true, spent: 7 };
        assert_eq!(read_stat(stat), Some(read.clone()));
        assert!(read.was_there(4711 * TICK) && !read.was_there(4711 * TICK - 1));
        for state in ["R", "D", "Z", "X"] {
            let other = read_stat(&stat.replace(" S ", &format!(" {state} "))).unwrap();
            assert!(!other.sleeps, "{state}");
        }
        assert!(!read_stat(&stat.replace(" 77 ", " 0 ")).unwrap().mapped);
        assert_eq!(read_stat("7 (a"), None);
    }
}
