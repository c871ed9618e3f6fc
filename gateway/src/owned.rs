//! Directories that nobody else can change: what the gateway asks of a place before it writes there.
//!
//! In: a path. Out: nothing, or [`OwnedError`], which says what to do. Who can write to a directory
//! can put links and files of theirs where the gateway is about to write, or take its keys.
//! Never changes an owner or a mode: that is for whoever knows how it came about.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// Why nothing is written to a directory.
#[derive(Debug, thiserror::Error)]
pub enum OwnedError {
    /// The system refused a step.
    #[error("cannot look at {}: {source}", path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It, or the link that leads to it, is another user's.
    #[error(
        "{} belongs to user {owner}, and this is user {own}: that user can put anything there; \
         choose another directory, run as user {owner}, or, if nobody else has been at it, give it \
         to user {own} with chown -hR",
        path.display()
    )]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Who asks.
        own: u32,
    },
    /// Others than its owner may write there.
    #[error(
        "others than its owner may write to {} (mode {mode:04o}): look what they have left there, \
         then run chmod go-w on it, or choose another directory",
        path.display()
    )]
    Writable {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Whether the directory at `path` is this process's own user's, and nobody else may write to it.
///
/// # Errors
/// [`OwnedError`].
pub fn check(path: &Path) -> Result<(), OwnedError> {
    let failed = |source| OwnedError::Io { path: path.to_owned(), source };
    let own = geteuid().as_raw();
    // A link of one's own may lead to a directory of one's own.
    let link = fs::symlink_metadata(path).map_err(failed)?;
    let directory = File::options()
        .read(true)
        .custom_flags(flags(OFlags::DIRECTORY))
        .open(path)
        .and_then(|directory| directory.metadata())
        .map_err(failed)?;
    for owner in [link.uid(), directory.uid()] {
        if owner != own {
            return Err(OwnedError::Foreign { path: path.to_owned(), owner, own });
        }
    }
    let mode = directory.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(OwnedError::Writable { path: path.to_owned(), mode });
    }
    Ok(())
}

/// Options to open a file for locking: made for its owner alone, never behind a link.
#[must_use]
pub fn lock_file() -> fs::OpenOptions {
    let mut options = File::options();
    options.create(true).truncate(false).read(true).write(true).mode(0o600);
    options.custom_flags(flags(OFlags::NOFOLLOW));
    options
}

fn flags(flags: OFlags) -> i32 {
    // The kernel's own type; no flag reaches its sign.
    i32::try_from(flags.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn only_ones_own_directory_that_nobody_else_writes_to() {
        let root = tempfile::TempDir::new().unwrap();
        let path = root.path().join("data");
        fs::create_dir(&path).unwrap();
        for mode in [0o700, 0o755, 0o1755] {
            set_mode(&path, mode);
            check(&path).unwrap();
        }
        for mode in [0o770, 0o757, 0o1777, 0o2775] {
            set_mode(&path, mode);
            let error = check(&path).unwrap_err();
            assert!(matches!(error, OwnedError::Writable { .. }), "{error}");
            assert!(error.to_string().contains("chmod go-w"), "{error}");
        }
        set_mode(&path, 0o700);
        let link = root.path().join("link");
        symlink(&path, &link).unwrap();
        check(&link).unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(matches!(check(&file), Err(OwnedError::Io { .. })));
        assert!(matches!(check(&root.path().join("none")), Err(OwnedError::Io { .. })));
    }

    /// Only root can give something away, or find something of root's that is not its own.
    #[test]
    fn another_users_directory_is_refused() {
        let root = tempfile::TempDir::new().unwrap();
        let path = root.path().join("data");
        fs::create_dir(&path).unwrap();
        let foreign = if geteuid().is_root() {
            chown(&path, Some(65_534), None).unwrap();
            path
        } else {
            PathBuf::from("/usr")
        };
        let error = check(&foreign).unwrap_err();
        assert!(matches!(error, OwnedError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains("chown"), "{error}");
    }

    #[test]
    fn a_lock_file_is_no_link() {
        let root = tempfile::TempDir::new().unwrap();
        let (victim, link) = (root.path().join("victim"), root.path().join("writer"));
        fs::write(&victim, "important").unwrap();
        symlink(&victim, &link).unwrap();
        lock_file().open(&link).unwrap_err();
        assert_eq!(fs::read(&victim).unwrap(), b"important");
        lock_file().open(root.path().join("other")).unwrap();
    }
}
