//! Process: who connected, read from `/proc` while it is still there.
//!
//! In: a process's number and when it connected. Out: who it is; nothing where the process is gone,
//! or where one that began later has its number. What cannot be read is left out, never guessed.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::cgroup::of_process;
use super::message::Process;

/// Nanoseconds of a clock tick as `/proc` has them: `USER_HZ` is 100 on every machine with Linux.
const TICK: u64 = 10_000_000;

/// The longest command line that is kept, in bytes.
const COMMAND: usize = 4096;

/// The longest executable whose digest is taken, in bytes.
const LARGEST: u64 = 1 << 30;

/// Executables whose digests are remembered.
const REMEMBERED: usize = 1024;

/// What names a file's content as long as nobody sets clocks back.
type Version = (u64, u64, u64, i64, i64);

/// Looks processes up.
#[derive(Default)]
pub(super) struct Processes {
    digests: HashMap<Version, [u8; 32]>,
}

impl Processes {
    /// The process of that number, if it was there at `connected` (`CLOCK_BOOTTIME`, nanoseconds).
    pub(super) fn look(&mut self, process: u32, connected: u64) -> Option<Process> {
        let place = PathBuf::from(format!("/proc/{process}"));
        let started = start(&place)?;
        if started.saturating_mul(TICK) > connected {
            return None;
        }
        let executable = fs::read_link(place.join("exe")).ok();
        let digest = self.digest(&place.join("exe")).ok();
        let listed = fs::read_to_string(place.join("cgroup")).unwrap_or_default();
        let found = Process {
            started,
            executable: executable.map(|path| path.to_string_lossy().into_owned()),
            digest,
            cgroup: of_process(&listed).map(str::to_owned),
            namespace: fs::metadata(place.join("ns/net")).ok().map(|namespace| namespace.ino()),
            command: command(&place),
        };
        // What was read is of one process only if that is still there.
        (start(&place) == Some(started)).then_some(found)
    }

    /// The path of its executable alone.
    pub(super) fn executable(process: u32, connected: u64) -> Option<String> {
        let place = PathBuf::from(format!("/proc/{process}"));
        let started = start(&place)?;
        let path = fs::read_link(place.join("exe")).ok()?;
        let same = start(&place) == Some(started) && started.saturating_mul(TICK) <= connected;
        same.then(|| path.to_string_lossy().into_owned())
    }

    fn digest(&mut self, path: &Path) -> io::Result<[u8; 32]> {
        let mut file = File::open(path)?;
        let meta = file.metadata()?;
        // Whoever waits for the loader does not wait for what somebody made large.
        if meta.len() > LARGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let version = (meta.dev(), meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
        if let Some(digest) = self.digests.get(&version) {
            return Ok(*digest);
        }
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = file.read(&mut buffer)?;
            match buffer.get(..count) {
                Some(bytes) if count > 0 => hash.update(bytes),
                _ => break,
            }
        }
        let digest = hash.finalize().into();
        if self.digests.len() >= REMEMBERED {
            self.digests.clear();
        }
        self.digests.insert(version, digest);
        Ok(digest)
    }
}

/// When a process started, in ticks since the machine did; none where there is none.
pub(super) fn started_at(process: u32) -> Option<u64> {
    start(&PathBuf::from(format!("/proc/{process}")))
}

/// When it started, in ticks since the machine did; none where there is no such process.
fn start(place: &Path) -> Option<u64> {
    let stat = fs::read(place.join("stat")).ok()?;
    started(&String::from_utf8_lossy(&stat))
}

/// Field 22 of `/proc/PID/stat` (proc_pid_stat(5)); the name before it may hold any byte.
pub(super) fn started(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    after.split_ascii_whitespace().nth(19)?.parse().ok()
}

fn command(place: &Path) -> Option<Vec<u8>> {
    let mut command = Vec::new();
    let most = u64::try_from(COMMAND).unwrap_or_default();
    File::open(place.join("cmdline")).ok()?.take(most).read_to_end(&mut command).ok()?;
    Some(command)
}
