//! The disk that a data directory is on: how fast it keeps its word, whether it can be written past the
//! cache, how much is left. Measured with a file of its own, which is removed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::Finding;

/// How often a write is waited for.
const TIMES: usize = 15;

/// What each of them writes, in bytes.
const BLOCK: usize = 4096;

/// How long one may take before every answer that waits for it feels it.
const SLOW: Duration = Duration::from_millis(20);

/// Bytes below which a start makes no sense.
const LEFT: u64 = 512 << 20;

/// File systems that a restart empties (`TMPFS_MAGIC`, `RAMFS_MAGIC` of the kernel's `magic.h`).
const FLEETING: [u64; 2] = [0x0102_1994, 0x8584_58f6];

pub(super) fn look(data: &Path) -> Vec<Finding> {
    let place = existing(data);
    vec![space(&place), synchronised(&place), direct(&place)]
}

/// The directory itself, or the one that it would be made in.
fn existing(data: &Path) -> PathBuf {
    let mut above = data.ancestors().filter(|path| path.is_dir());
    above.next().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn space(place: &Path) -> Finding {
    let shown = place.display();
    let found = rustix::fs::statfs(place).map(|found| {
        let unit = u64::try_from(found.f_bsize).unwrap_or(1);
        let kind = u64::try_from(found.f_type).unwrap_or_default();
        (found.f_bavail.saturating_mul(unit), kind)
    });
    match found {
        Ok((_, kind)) if FLEETING.contains(&kind) => Finding::short(
            "disk",
            format!("{shown} is in memory: a restart of the machine empties it"),
            "choose a data directory on a disk with --data DIR",
        ),
        Ok((left, _)) if left < LEFT => Finding::short(
            "disk",
            format!("{} MiB are left at {shown}", left >> 20),
            "make room, or bound the store with `max_bytes` in [retention]",
        ),
        Ok((left, _)) => Finding::well("disk", format!("{} MiB are left at {shown}", left >> 20)),
        Err(error) => Finding::unknown("disk", format!("{shown}: {error}"), "check --data DIR"),
    }
}

fn synchronised(place: &Path) -> Finding {
    match measure(place) {
        Ok(median) if median > SLOW => Finding::short(
            "fdatasync",
            format!("{} ms each: every answer that is promised waits so long", median.as_millis()),
            "use a local disk with a write cache that survives power loss, or `durability = \
             \"relaxed\"`, which promises less",
        ),
        Ok(median) => Finding::well("fdatasync", format!("{} us each", median.as_micros())),
        Err(error) => unwritable("fdatasync", place, &error),
    }
}

fn measure(place: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(place)?;
    let block = [0x5a; BLOCK];
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        file.write_all(&block)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    Ok(times.get(TIMES / 2).copied().unwrap_or_default())
}

/// Past the cache the journal writes what is waited for; where that cannot be, it goes without.
fn direct(place: &Path) -> Finding {
    let flags = i32::try_from(OFlags::DIRECT.bits()).unwrap_or_default();
    let file = tempfile::Builder::new().prefix("sealtap-doctor-").tempfile_in(place);
    let opened = file.and_then(|file| {
        File::options().write(true).custom_flags(flags).open(file.path()).map(drop)
    });
    match opened {
        Ok(()) => Finding::well("o_direct", "files can be written past the cache"),
        Err(error) if error.raw_os_error() == Some(22) => Finding::well(
            "o_direct",
            "files cannot be written past the cache: slower where many messages end at once",
        ),
        Err(error) => unwritable("o_direct", place, &error),
    }
}

fn unwritable(name: &'static str, place: &Path, error: &io::Error) -> Finding {
    let what = format!("{} cannot be written: {error}", place.display());
    match fs::metadata(place) {
        Ok(_) => Finding::unknown(name, what, "run this as the user that the gateway runs as"),
        Err(_) => Finding::short(name, what, "check --data DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_is_looked_at_where_it_would_be() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")), folder.path());
        assert!(look(&folder.path().join("a/b")).iter().all(|f| f.state != State::Unknown));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing stays");
    }
}
