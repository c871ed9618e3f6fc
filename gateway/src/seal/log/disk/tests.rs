//! The real disk, and that the faulty one loses what it should.

use std::fs;

use tempfile::TempDir;

use super::faulty::{FAULTS, Fault, FaultyDisk};
use super::*;

#[test]
fn files_and_directories_are_made_for_whom_they_are_meant() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = TempDir::new().unwrap();
    let deep = root.path().join("a/b/c");
    create_directories(&RealDisk, &deep, Access::Private).unwrap();
    settle_directories(&RealDisk, &deep, Access::Private).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&deep), 0o700);
    let file = deep.join("file");
    replace(&RealDisk, &deep.join("new"), &file, b"one", Access::Private).unwrap();
    assert_eq!((mode(&file), fs::read(&file).unwrap()), (0o600, b"one".to_vec()));
    replace(&RealDisk, &deep.join("new"), &file, b"two", Access::Private).unwrap();
    let names: Vec<_> = RealDisk.list(&deep).unwrap().into_iter().map(|entry| entry.name).collect();
    assert_eq!(
        (names, read_if_there(&RealDisk, &file).unwrap()),
        (vec!["file".into()], Some(b"two".to_vec()))
    );
    remove_if_there(&RealDisk, &file).unwrap();
    remove_if_there(&RealDisk, &file).unwrap();
    assert_eq!(read_if_there(&RealDisk, &file).unwrap(), None);
}

#[test]
fn a_replaced_file_is_the_old_or_the_new_whatever_goes_wrong() {
    for step in 1..=4 {
        for fault in FAULTS {
            for kept in [false, true] {
                let (root, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
                let path = root.path().join("file");
                fs::write(&path, b"old").unwrap();
                let disk = FaultyDisk::over(root.path());
                disk.plan(step, fault);
                replace(&disk, &root.path().join("new"), &path, b"whole", Access::Public)
                    .unwrap_err();
                disk.lose_power(root.path(), other.path(), || kept);
                for place in [&root, &other] {
                    let bytes = fs::read(place.path().join("file")).unwrap();
                    assert!(bytes == b"old" || bytes == b"whole", "{step} {fault:?}");
                }
            }
        }
    }
}

#[test]
fn a_power_loss_takes_what_was_not_synced() {
    let (root, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let disk = FaultyDisk::over(root.path());
    for name in ["synced", "late"] {
        disk.write(&root.path().join(name), b"bytes", Access::Public).unwrap();
        if name == "synced" {
            disk.sync_directory(root.path()).unwrap();
        }
    }
    disk.plan(1, Fault::KillPersisted);
    disk.write(&root.path().join("unsynced"), b"bytes", Access::Public).unwrap_err();
    assert!(disk.read(&root.path().join("synced")).is_err(), "the dead do not read");
    disk.lose_power(root.path(), other.path(), || false);
    let names: Vec<_> = RealDisk.list(other.path()).unwrap().into_iter().map(|e| e.name).collect();
    assert_eq!(names, ["synced"]);
    disk.lose_power(root.path(), other.path(), || true);
    assert_eq!(fs::read(other.path().join("unsynced")).unwrap(), b"bytes");
}

#[test]
fn a_name_that_was_waited_for_is_known_until_it_is_another_directory() {
    use std::os::unix::fs::MetadataExt as _;
    let root = TempDir::new().unwrap();
    let deep = root.path().join("a/b");
    settle_directories(&RealDisk, &deep, Access::Private).unwrap();
    let known = |path: &Path| settled().iter().filter(|name| name.0 == path).count();
    let above = root.path().join("a");
    assert_eq!([known(&deep), known(&above), known(root.path())], [1; 3]);
    settle_directories(&RealDisk, &deep, Access::Private).unwrap();
    assert_eq!([known(&deep), known(&above), known(root.path())], [1; 3]);
    // Another one by what the system says of it: it may give the number again, and the clock by which it says
    // when one was made stands still for some milliseconds.
    let told = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        (found.ino(), found.created().ok())
    };
    let (before, begin) = (told(&deep), std::time::Instant::now());
    while told(&deep) == before {
        assert!(begin.elapsed().as_secs() < 20, "directories cannot be told apart: {before:?}");
        fs::remove_dir(&deep).unwrap();
        fs::create_dir(&deep).unwrap();
    }
    RealDisk.sync_name(&above, &deep).unwrap();
    assert_eq!(known(&deep), 2, "one made later was taken for the one before");
    fs::remove_dir(&deep).unwrap();
    RealDisk.sync_name(&above, &deep).unwrap_err();
}
