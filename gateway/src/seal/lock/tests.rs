//! Where the lock is, and that it only moves on.

use std::fs;

use sealtap_common::note::Signer;
use tempfile::TempDir;

use super::*;
use crate::data::DataDir;
use crate::seal::log::disk::RealDisk;
use crate::seal::log::disk::faulty::{FAULTS, FaultyDisk};

fn key(name: &str) -> PublicKey {
    let key = ed25519_dalek::SigningKey::from_bytes(&[3; 32]);
    Signer::new(name, key).unwrap().public().clone()
}

#[test]
fn the_first_place_there_is_wins() {
    let mut around = Surroundings {
        state_directory: Some("/state/one:/state/two".into()),
        system: Some("/var/lib/sealtap".into()),
        xdg_state_home: Some("/xdg".into()),
        home: Some("/home/a".into()),
    };
    let choose = |around: &Surroundings| {
        let root = TempDir::new().unwrap();
        let place = LockPlace { explicit: None, surroundings: around.clone() };
        place.settle(&RealDisk, &DataDir::new(root.path()), false)
    };
    assert_eq!(choose(&around).unwrap(), Path::new("/state/one"));
    around.state_directory = None;
    assert_eq!(choose(&around).unwrap(), Path::new("/var/lib/sealtap"));
    around.system = None;
    assert_eq!(choose(&around).unwrap(), Path::new("/xdg/sealtap"));
    around.xdg_state_home = Some("relative".into());
    assert_eq!(choose(&around).unwrap(), Path::new("/home/a/.local/state/sealtap"));
    around.home = Some("".into());
    let error = choose(&around).unwrap_err();
    assert!(matches!(error, LockError::Nowhere), "{error}");
    assert!(error.to_string().contains("--lock DIR"));
}

#[test]
fn the_place_is_remembered() {
    let root = TempDir::new().unwrap();
    let data = DataDir::new(root.path().join("data"));
    let (here, there) = (root.path().join("here"), root.path().join("there"));
    let settle = |explicit: Option<&Path>, moving| {
        let surroundings = Surroundings { home: Some("/elsewhere".into()), ..Default::default() };
        LockPlace { explicit: explicit.map(Path::to_owned), surroundings }
            .settle(&RealDisk, &data, moving)
    };
    assert_eq!(settle(Some(&here), false).unwrap(), here);
    assert_eq!(settle(None, false).unwrap(), here);
    assert_eq!(settle(Some(&here), false).unwrap(), here);
    let error = settle(Some(&there), false).unwrap_err();
    assert!(matches!(error, LockError::Elsewhere { .. }), "{error}");
    let text = error.to_string();
    for part in [&here, &there, &data.lock_path()] {
        assert!(text.contains(part.to_str().unwrap()), "{text}");
    }
    // The same directory by another name.
    fs::create_dir(&here).unwrap();
    assert_eq!(settle(Some(&data.root().join("../here")), false).unwrap(), here);
    assert_eq!(settle(Some(&there), true).unwrap(), there);
    assert_eq!(settle(None, false).unwrap(), there);
    for bad in ["", "\n", "/a\n/b\n"] {
        fs::write(data.lock_path(), bad).unwrap();
        assert!(settle(None, false).unwrap_err().to_string().contains("lock-path"));
    }
}

#[test]
fn a_lock_inside_the_data_directory_moves_with_it() {
    let root = TempDir::new().unwrap();
    let (before, after) = (root.path().join("before"), root.path().join("after"));
    let place =
        |explicit: Option<PathBuf>| LockPlace { explicit, surroundings: Surroundings::default() };
    let lock = before.join("lock");
    let found = place(Some(lock.clone())).settle(&RealDisk, &DataDir::new(&before), false);
    assert_eq!(found.unwrap(), lock);
    fs::rename(&before, &after).unwrap();
    let found = place(None).settle(&RealDisk, &DataDir::new(&after), false);
    assert_eq!(found.unwrap(), after.join("lock"));
}

#[test]
fn one_lock_for_each_log() {
    let root = TempDir::new().unwrap();
    let names: Vec<_> = ["example.org/a", "example.org_a", "../x", "\u{e9}"]
        .map(|name| LockStore::take(&RealDisk, root.path(), &key(name)).unwrap())
        .iter()
        .map(|store| store.path().to_owned())
        .collect();
    assert!(names.iter().all(|path| path.parent() == Some(root.path())));
    for (at, name) in names.iter().enumerate() {
        assert!(!names[at + 1..].contains(name), "{}", name.display());
    }
    assert!(names[0].to_str().unwrap().contains("example.org_a+"));
}

#[test]
fn the_lock_only_moves_from_what_its_writer_knows() {
    let root = TempDir::new().unwrap();
    let mut store = LockStore::take(&RealDisk, root.path(), &key("log")).unwrap();
    assert!(matches!(
        LockStore::take(&RealDisk, root.path(), &key("log")),
        Err(LockError::Held { .. })
    ));
    assert_eq!(store.read(&RealDisk).unwrap(), None);
    let mut swap = |old: Option<&[u8]>, new: &[u8]| store.swap(&RealDisk, old, new);
    assert!(matches!(swap(Some(b"none"), b"one"), Err(LockError::Changed { .. })));
    swap(None, b"one").unwrap();
    assert!(matches!(swap(None, b"two"), Err(LockError::Changed { .. })));
    swap(Some(b"one"), b"two").unwrap();
    swap(Some(b"one"), b"two").unwrap();
    assert!(matches!(swap(Some(b"one"), b"three"), Err(LockError::Changed { .. })));
    assert_eq!(store.read(&RealDisk).unwrap().as_deref(), Some(&b"two"[..]));
}

#[test]
fn a_swap_that_goes_wrong_is_old_or_new_and_can_be_done_again() {
    for step in 1..=4 {
        for fault in FAULTS {
            let root = TempDir::new().unwrap();
            let disk = FaultyDisk::over(root.path());
            let mut store = LockStore::take(&disk, root.path(), &key("log")).unwrap();
            store.swap(&disk, None, b"old").unwrap();
            disk.plan(step, fault);
            store.swap(&disk, Some(b"old"), b"new").unwrap_err();
            let found = store.read(&RealDisk).unwrap().unwrap();
            assert!(found == b"old" || found == b"new");
            let disk = disk.survivor();
            store.swap(&disk, Some(b"old"), b"new").unwrap();
            let other = TempDir::new().unwrap();
            disk.lose_power(root.path(), other.path(), || false);
            let kept = other.path().join(store.path().file_name().unwrap());
            assert_eq!(fs::read(kept).unwrap(), b"new", "{step} {fault:?}");
        }
    }
}
