//! When a running gateway reads its configuration again: at SIGHUP, and when a file of it changed.
//!
//! Files are asked for once a second, by what `stat` says of where their paths lead: that sees edits,
//! renames and links that are turned to another directory (as Kubernetes does) alike, on any file
//! system, and costs a system call a file. A change counts once it is the same at two looks, so that
//! a file that is being written is not read in the middle. Never ends the gateway: what is refused is
//! said, and the configuration before goes on.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use crate::command::Failure;
use crate::command::serve::Source;
use crate::config::Config;
use crate::gateway::{Reloaded, Reloader};

/// Between two looks for a rotation that was forgotten.
const HOUR: Duration = Duration::from_secs(3_600);

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Hears SIGHUP from here on.
///
/// # Errors
/// The system takes no handler.
pub(super) fn hangups() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Reloads whenever there is reason to, for as long as the gateway runs.
pub(super) async fn follow(source: Source, reloader: Reloader, mut hangups: Signal) {
    let (source, reloader) = (Arc::new(source), Arc::new(reloader));
    let mut files = Files::of(&source, &reloader.present());
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut hours = interval(HOUR);
    loop {
        let why = tokio::select! {
            _ = hours.tick() => {
                catch_up(&reloader).await;
                continue;
            }
            hangup = hangups.recv() => match hangup {
                Some(()) => "SIGHUP",
                None => return,
            },
            _ = ticks.tick() => match files.changed() {
                true => "a file changed",
                false => continue,
            },
        };
        let (from, to) = (Arc::clone(&source), Arc::clone(&reloader));
        // Reads files, and makes keys: nothing for a thread of traffic.
        let reloaded = tokio::task::spawn_blocking(move || reload(&from, &to)).await;
        match reloaded {
            Ok(Ok(reloaded)) => tell(why, &reloaded),
            Ok(Err(failure)) => tracing::error!(
                why,
                "the new configuration is refused, and the one before goes on: {}",
                failure.in_one_line()
            ),
            Err(error) => tracing::error!(why, %error, "the configuration could not be read again"),
        }
        // What a new one names is looked at from now on; of a refused one nothing is known.
        files = files.again(Files::of(&source, &reloader.present()));
    }
}

async fn catch_up(reloader: &Arc<Reloader>) {
    let reloader = Arc::clone(reloader);
    match tokio::task::spawn_blocking(move || reloader.catch_up()).await {
        Ok(Ok(true)) => tracing::info!("the authority that was rotated a day ago is in use now"),
        Ok(Err(error)) => tracing::error!(%error, "the authority cannot be looked at"),
        Ok(Ok(false)) | Err(_) => {}
    }
}

/// The longest file that is read again.
const LONGEST: u64 = 16 << 20;

fn reload(source: &Source, reloader: &Reloader) -> Result<Reloaded, Failure> {
    source.file.iter().try_for_each(readable)?;
    let config = source.load()?;
    let tls = config.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
    let trusted = config.upstreams.values().flat_map(|upstream| &upstream.ca);
    tls.chain(&config.upstream_ca).chain(trusted).try_for_each(readable)?;
    reloader.reload(config).map_err(|error| {
        let failure = Failure::of(&error).fix(error.fix());
        match &source.file {
            Some(path) => failure.at(path.display().to_string()),
            None => failure,
        }
    })
}

/// Nothing but a plain file is read again: a pipe would be waited for, and a device read, without end,
/// and the gateway would neither reload nor end any more. What is not there is for its reader to say.
fn readable(path: &PathBuf) -> Result<(), Failure> {
    let Ok(found) = std::fs::metadata(path) else { return Ok(()) };
    let what = match (found.is_file(), found.is_dir()) {
        (true, _) if found.len() <= LONGEST => return Ok(()),
        (true, _) => "is longer than 16 MiB",
        (_, true) => "is a directory",
        _ => "is no plain file, so it cannot be read again",
    };
    let failure = Failure::new(format!("{} {what}", path.display()));
    Err(failure
        .fix("put a plain file there; the gateway looks again at SIGHUP and when it changes"))
}

fn tell(why: &'static str, reloaded: &Reloaded) {
    let changed = match reloaded.changed.as_slice() {
        [] => "nothing".to_owned(),
        changed => changed.join(", "),
    };
    let authority = if reloaded.authority { "a new one" } else { "the same" };
    tracing::info!(
        why,
        changed,
        authority,
        "configuration reloaded; it counts for exchanges from now on"
    );
}

/// What `stat` says of a file: device, inode, length, and when it was changed in any way.
type Stamp = Option<(u64, u64, u64, i64, i64)>;

/// The files that a configuration is read from, as they were at the last look.
struct Files {
    paths: Vec<PathBuf>,
    /// What the configuration in place was read from.
    read: Vec<Stamp>,
    /// What was there at the last look.
    last: Vec<Stamp>,
}

impl Files {
    fn of(source: &Source, config: &Config) -> Self {
        let tls = config.tls.iter().flat_map(|tls| [tls.certificate.clone(), tls.key.clone()]);
        let paths: Vec<PathBuf> = source.file.iter().cloned().chain(tls).collect();
        let read = stamps(&paths);
        Self { paths, last: read.clone(), read }
    }

    /// Whether they differ from what was read, and did so at the last look.
    fn changed(&mut self) -> bool {
        let now = stamps(&self.paths);
        let settled = now == self.last && now != self.read;
        self.last = now;
        settled
    }

    /// These or `other`, after a reload. A file that changed while it was read is looked at again.
    fn again(self, other: Self) -> Self {
        match self.paths == other.paths {
            true => Self { read: self.last.clone(), ..self },
            false => other,
        }
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    paths.iter().map(|path| stamp(path)).collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn files(path: &Path) -> Files {
        let source = Source { file: Some(path.to_owned()), flags: Flags::default() };
        Files::of(&source, &Config::default())
    }

    #[test]
    fn a_change_counts_when_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, "one").unwrap();
        let mut files = files(&path);
        assert!(!files.changed() && !files.changed());
        std::fs::write(&path, "").unwrap();
        assert!(!files.changed(), "it may be in the middle of a write");
        std::fs::write(&path, "two of them").unwrap();
        assert!(!files.changed());
        assert!(files.changed());
        let again = self::files(&path);
        files = files.again(again);
        assert!(!files.changed() && !files.changed(), "it was read");
        std::fs::remove_file(&path).unwrap();
        assert!(!files.changed());
        assert!(files.changed(), "that it is gone is to be said");
    }

    /// As a Kubernetes ConfigMap is updated: the file's path is a link through a link.
    #[test]
    fn a_link_that_leads_elsewhere_is_a_change() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for version in ["v1", "v2"] {
            std::fs::create_dir(root.join(version)).unwrap();
            std::fs::write(root.join(version).join("c.toml"), "same").unwrap();
        }
        symlink("v1", root.join("..data")).unwrap();
        symlink("..data/c.toml", root.join("c.toml")).unwrap();
        let mut files = files(&root.join("c.toml"));
        assert!(!files.changed());
        symlink("v2", root.join("..new")).unwrap();
        std::fs::rename(root.join("..new"), root.join("..data")).unwrap();
        assert!(!files.changed());
        assert!(files.changed());
    }
}
